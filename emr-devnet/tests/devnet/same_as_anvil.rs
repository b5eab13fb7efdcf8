//! Runs the same signed transactions on the embedded chain and on anvil, from the same first block. Receipts and state
//! must be equal.

use std::collections::BTreeMap;

use alloy::{
    consensus::{TxEnvelope, proofs::storage_root_unhashed},
    eips::eip2718::Encodable2718,
    network::{Ethereum, EthereumWallet, NetworkWallet, TransactionBuilder},
    primitives::{Address, B256, Bytes, TxKind, U256, uint},
    providers::{DynProvider, Provider},
    rpc::types::TransactionRequest,
    sol_types::SolCall,
};
use emr_chain::endpoint::Endpoint;
use emr_testkit::{
    Outcome,
    chain::{Node, Probe, account},
};

/// The transactions, signed once: (sender, target, value, data, gas).
async fn signed() -> Outcome<Vec<Vec<u8>>> {
    let ann = account(0)?.address();
    let probe = TxKind::Call(ann.create(0));
    let deploy = [Probe::BYTECODE.as_ref(), &uint!(5_U256).to_be_bytes::<32>()].concat();
    let modexp = |size: u8| -> Bytes {
        // base 2, exponent 2^(8 * size - 1), modulus all ones, each `size` bytes.
        let len = B256::with_last_byte(size);
        let mut exponent = vec![0; usize::from(size)];
        exponent[0] = 0x80;
        [&len[..], &len[..], &len[..], &vec![2; usize::from(size)], &exponent, &vec![0xff; usize::from(size)]]
            .concat()
            .into()
    };
    let call = |data: Vec<u8>| (0, probe, U256::ZERO, Bytes::from(data), 400_000);
    let steps: Vec<(u8, TxKind, U256, Bytes, u64)> = vec![
        (0, TxKind::Create, U256::ZERO, deploy.into(), 2_000_000),
        call(Probe::storeCall { key: uint!(1_U256), value: uint!(2_U256) }.abi_encode()),
        call(Probe::storeCall { key: uint!(1_U256), value: uint!(3_U256) }.abi_encode()),
        // Clears a slot: a refund.
        call(Probe::storeCall { key: uint!(1_U256), value: U256::ZERO }.abi_encode()),
        call(Probe::refuseCall { key: uint!(1_U256) }.abi_encode()),
        call(Probe::refuseInWordsCall {}.abi_encode()),
        call(Probe::spinCall {}.abi_encode()),
        (
            0,
            probe,
            U256::ZERO,
            Probe::storeManyCall { first: uint!(100_U256), n: uint!(300_U256) }.abi_encode().into(),
            9_000_000,
        ),
        (1, TxKind::Call(ann), uint!(123_U256), Bytes::new(), 21_000),
        (1, TxKind::Call(Address::repeat_byte(0xaa)), uint!(1_U256), Bytes::new(), 21_000),
        // Calldata at the floor price (EIP-7623).
        (1, TxKind::Call(ann), U256::ZERO, vec![0xff; 5_000].into(), 1_000_000),
        // modexp at the price of EIP-7883.
        (1, TxKind::Call(Address::with_last_byte(5)), U256::ZERO, modexp(32), 1_000_000),
        (1, TxKind::Call(Address::with_last_byte(5)), U256::ZERO, modexp(192), 10_000_000),
        // P-256 (EIP-7951), which only this fork has.
        (1, TxKind::Call(Address::with_last_byte(0)), U256::ZERO, vec![1; 160].into(), 1_000_000),
        (1, TxKind::Create, U256::ZERO, vec![0xfe].into(), 100_000),
        (1, TxKind::Create, U256::ZERO, vec![0x60, 0xef, 0x5f, 0x53, 0x60, 0x01, 0x5f, 0xf3].into(), 100_000),
    ];
    let mut nonces: BTreeMap<u8, u64> = BTreeMap::new();
    let mut raw = Vec::new();
    for (sender, to, value, data, gas) in steps {
        let nonce = nonces.entry(sender).or_default();
        let request = TransactionRequest::default()
            .with_kind(to)
            .with_value(value)
            .with_input(data)
            .with_gas_limit(gas)
            .with_max_fee_per_gas(10_000_000_000)
            .with_max_priority_fee_per_gas(1_000_000_000)
            .with_nonce(*nonce)
            .with_chain_id(31_337);
        *nonce += 1;
        let wallet = EthereumWallet::from(account(sender)?);
        let envelope: TxEnvelope = NetworkWallet::<Ethereum>::sign_request(&wallet, request).await?;
        raw.push(envelope.encoded_2718());
    }
    Ok(raw)
}

async fn provider(node: &Node) -> Outcome<DynProvider> {
    let endpoint: Endpoint = node.endpoint()?;
    let provider = endpoint.connect(None)?;
    endpoint.expect_chain_id(&provider, 31_337).await?;
    Ok(provider)
}

#[tokio::test]
async fn receipts_and_state_agree() -> Outcome {
    let Some(anvil) = Node::anvil()? else { return Ok(()) };
    let embedded = Node::embedded()?;
    let (theirs, ours) = (provider(&anvil).await?, provider(&embedded).await?);
    let (ann, ben) = (account(0)?.address(), account(1)?.address());
    let contract = ann.create(0);
    let accounts = [ann, ben, contract, ben.create(7), Address::ZERO, Address::repeat_byte(0xaa)];
    for (step, raw) in signed().await?.into_iter().enumerate() {
        let (a, b) = (theirs.send_raw_transaction(&raw).await?, ours.send_raw_transaction(&raw).await?);
        let (a, b) = (a.get_receipt().await?, b.get_receipt().await?);
        assert_eq!(a.transaction_hash, b.transaction_hash, "step {step}");
        assert_eq!(a.status(), b.status(), "step {step}");
        assert_eq!(a.gas_used, b.gas_used, "gas of step {step}");
        assert_eq!(a.effective_gas_price, b.effective_gas_price, "price of step {step}");
        assert_eq!(a.contract_address, b.contract_address, "step {step}");
        assert_eq!(a.inner.into_primitives_receipt(), b.inner.into_primitives_receipt(), "receipt of step {step}");

        // Does not compare state roots: anvil has a contract with block hashes (EIP-2935), and its block hashes differ.
        for address in accounts {
            let slots = vec![B256::with_last_byte(1)];
            let (a, b) = (theirs.get_proof(address, slots.clone()).await?, ours.get_proof(address, slots).await?);
            assert_eq!((a.nonce, a.balance, a.code_hash), (b.nonce, b.balance, b.code_hash), "{address} at {step}");
            assert_eq!(a.storage_proof[0].value, b.storage_proof[0].value, "{address} at {step}");
            // After a slot was cleared (step 3), anvil's trie holds a zero there. There should be no entry.
            if step < 3 || address != contract {
                assert_eq!(a.storage_hash, b.storage_hash, "storage of {address} after step {step}");
            }
            if step == 3 && address == contract {
                let count = (B256::with_last_byte(1), b.storage_proof[0].value);
                assert_eq!(b.storage_hash, storage_root_unhashed([count]));
            }
        }
    }
    let (a, b) = (theirs.get_block_by_number(3.into()).await?, ours.get_block_by_number(3.into()).await?);
    let (a, b) = (a.ok_or("no block")?.header, b.ok_or("no block")?.header);
    assert_eq!(a.transactions_root, b.transactions_root);
    assert_eq!(a.receipts_root, b.receipts_root);
    assert_eq!(a.base_fee_per_gas, b.base_fee_per_gas);
    Ok(())
}
