//! Contracts of an attacker.

use alloy::{
    network::TransactionBuilder,
    primitives::{Address, Bytes, U256},
    providers::{DynProvider, Provider},
    rpc::types::TransactionRequest,
};

use crate::Outcome;

/// Creation code that writes a word to slot 0 and then returns this code.
pub fn with_state_root(code: &[u8], root: U256) -> Vec<u8> {
    let size = u16::try_from(code.len()).expect("a contract's code").to_be_bytes();
    // PUSH32 root, PUSH1 0, SSTORE; PUSH2 size, DUP1, PUSH1 49, PUSH1 0, CODECOPY, PUSH1 0, RETURN
    let mut creation = vec![0x7f];
    creation.extend(root.to_be_bytes::<32>());
    creation.extend([0x60, 0, 0x55, 0x61, size[0], size[1], 0x80, 0x60, 49, 0x60, 0, 0x39, 0x60, 0, 0xf3]);
    creation.resize(49, 0);
    creation.extend(code);
    creation
}

/// Creates a contract with CREATE, as an ordinary transaction does.
///
/// # Errors
/// Fails if the chain refuses.
pub async fn create(provider: &DynProvider, code: Vec<u8>) -> Outcome<Address> {
    let request = TransactionRequest::default().with_deploy_code(Bytes::from(code));
    let receipt = provider.send_transaction(request).await?.get_receipt().await?;
    Ok(receipt.contract_address.ok_or("no contract")?)
}
