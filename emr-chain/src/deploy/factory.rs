//! The contract that creates the others with CREATE2, so that their addresses commit to their creation code
//! (EIP-1014).
//!
//! It is the deterministic deployment proxy (github.com/Arachnid/deterministic-deployment-proxy, CC0), which many
//! chains have at [`COMMON_FACTORY`]. On a chain without it, a copy is created. Which factory it is does not matter for
//! what an address commits to.

use std::time::{Duration, Instant};

use alloy::{
    eips::BlockId,
    network::TransactionBuilder,
    primitives::{Address, B256, Bytes, address, hex},
    providers::Provider,
    rpc::types::TransactionRequest,
};

use super::{CODE_SIZE_LIMIT, DeployError, mine};
use crate::{
    revert::RollupError,
    transaction::{L1Receipt, MINED_WITHIN},
};

/// Where most chains have the factory.
pub const COMMON_FACTORY: Address = address!("0x4e59b44847b379578588920cA78FbF26c0B4956C");

/// How often to look whether a waiting transaction is mined.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How often to look for a contract whose transaction is mined.
const SHOWN_WITHIN: u32 = 4;

/// Its code. The calldata are a salt of 32 bytes and creation code; it returns the 20 bytes of the address.
const CODE: [u8; 69] = hex!(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd"
    "5b8082525050506014600cf3"
);
/// What creates this code: PUSH1 69, DUP1, PUSH1 14, PUSH1 0, CODECOPY, DUP1, PUSH1 0, RETURN, INVALID.
const PREFIX: [u8; 14] = hex!("604580600e600039806000f350fe");

/// The factory of a chain: the common one, or a new copy, which the provider's default signer pays.
///
/// # Errors
/// Returns [`DeployError`] if the node does not answer, or if the copy is not created.
pub async fn find_or_create<P: Provider>(provider: &P) -> Result<(Address, Option<L1Receipt>), DeployError> {
    if is_factory(provider, COMMON_FACTORY).await? {
        return Ok((COMMON_FACTORY, None));
    }
    let code: Bytes = [&PREFIX[..], &CODE].concat().into();
    let receipt = mine(provider, TransactionRequest::default().with_deploy_code(code)).await?;
    let created = receipt.contract_address.filter(|_| receipt.status());
    let address = created.ok_or(DeployError::NotCreated("the factory"))?;
    if !is_factory(provider, address).await? {
        return Err(DeployError::NotCreated("the factory"));
    }
    Ok((address, Some(L1Receipt::of(&receipt))))
}

pub(super) async fn is_factory<P: Provider>(provider: &P, address: Address) -> Result<bool, RollupError> {
    Ok(provider.get_code_at(address).await?[..] == CODE)
}

/// Creates a contract at the address that its salt and creation code give, if it is not there yet. Returns no receipt
/// if somebody else created it: an earlier, interrupted deployment, one that shares it, or anybody who saw this one.
pub(super) async fn create<P: Provider>(
    provider: &P,
    factory: Address,
    name: &'static str,
    salt: B256,
    code: &Bytes,
) -> Result<(Address, Option<L1Receipt>), DeployError> {
    let address = factory.create2_from_code(salt, code);
    let mut receipt = None;
    if size_of(provider, address).await? == 0 && !arrives(provider, address, name).await? {
        // The factory does not pass on why a constructor refuses. A creation by the sender would be refused for the same
        // reason, because no constructor asks who called it.
        let direct = TransactionRequest::default().with_deploy_code(code.clone());
        provider.estimate_gas(direct).await.map_err(RollupError::from)?;
        let input: Bytes = [&salt[..], code].concat().into();
        let sent = mine(provider, TransactionRequest::default().with_to(factory).with_input(input)).await;
        // A second creation fails.
        let others = size_of(provider, address).await? > 0;
        receipt = match sent {
            Ok(sent) => sent.status().then(|| L1Receipt::of(&sent)),
            Err(_) if others => None,
            Err(error) => return Err(error.into()),
        };
    }
    // One of several nodes behind an address may be a little late.
    let mut size = size_of(provider, address).await?;
    for _ in 0..SHOWN_WITHIN {
        if size > 0 {
            break;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        size = size_of(provider, address).await?;
    }
    match size {
        0 => Err(DeployError::NotCreated(name)),
        1..=CODE_SIZE_LIMIT => Ok((address, receipt)),
        size => Err(DeployError::CodeTooLarge { contract: name, size }),
    }
}

/// Whether a transaction that waits already creates the contract, for example one of a process that was killed. Then waits a bounded
/// time until it is mined. A second one would fail, and cost all its gas.
async fn arrives<P: Provider>(provider: &P, address: Address, name: &'static str) -> Result<bool, DeployError> {
    // Nodes that know no next block answer with an error, or with the newest one.
    let waits = provider.get_code_at(address).block_id(BlockId::pending()).await.is_ok_and(|code| !code.is_empty());
    if !waits {
        return Ok(false);
    }
    let begun = Instant::now();
    while begun.elapsed() < MINED_WITHIN {
        if size_of(provider, address).await? > 0 {
            return Ok(true);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Err(DeployError::Waits(name))
}

async fn size_of<P: Provider>(provider: &P, address: Address) -> Result<usize, RollupError> {
    Ok(provider.get_code_at(address).await?.len())
}

#[cfg(test)]
mod tests {
    use alloy::primitives::keccak256;

    use super::*;

    /// Example 4 of EIP-1014.
    #[test]
    fn addresses_are_those_of_eip_1014() {
        let deployer = address!("0x00000000000000000000000000000000deadbeef");
        let salt = B256::left_padding_from(&hex!("cafebabe"));
        let expected = address!("0x60f3f640a8508fC6a86d45DF051962668E1e8AC7");
        assert_eq!(deployer.create2(salt, keccak256(hex!("deadbeef"))), expected);
    }
}
