//! Blocks are taken back, and fees are set, as anvil does it. The embedded chain does it durably.

use alloy::{
    eips::BlockNumberOrTag,
    primitives::{B256, Bytes, U256},
    providers::{DynProvider, Provider},
};
use emr_chain::{endpoint::Endpoint, proof};
use emr_devnet::EmbeddedChain;
use emr_testkit::{
    Outcome,
    chain::{Node, Probe, account, config},
};
use serde_json::Value;

const GWEI: u64 = 1_000_000_000;

#[tokio::test]
async fn the_embedded_chain_takes_blocks_back() -> Outcome {
    takes_blocks_back(&Node::embedded()?).await
}

#[tokio::test]
async fn anvil_takes_blocks_back() -> Outcome {
    match Node::anvil()? {
        Some(node) => takes_blocks_back(&node).await,
        None => Ok(()),
    }
}

async fn hash_of(provider: &DynProvider, number: u64) -> Outcome<B256> {
    let block = provider.get_block_by_number(BlockNumberOrTag::Number(number)).await?;
    Ok(block.ok_or("no such block")?.header.hash)
}

async fn reorganise(provider: &DynProvider, depth: u64) -> Outcome {
    let _: Value = provider.raw_request("anvil_reorg".into(), (depth, Vec::<Value>::new())).await?;
    Ok(())
}

/// Stores values in slots of the contract, each in a block of its own.
async fn store(probe: &Probe::ProbeInstance<DynProvider>, keys: std::ops::Range<u64>) -> Outcome<Vec<B256>> {
    let mut hashes = Vec::new();
    for key in keys {
        let sent = probe.store(U256::from(key), U256::from(key + 1000)).send().await?;
        hashes.push(sent.get_receipt().await?.transaction_hash);
    }
    Ok(hashes)
}

async fn takes_blocks_back(node: &Node) -> Outcome {
    let signer = account(0)?;
    let provider = node.endpoint()?.connect(Some(signer.clone()))?;
    let probe = Probe::deploy(provider.clone(), U256::ZERO).await?;
    store(&probe, 0..2).await?;
    let (number, nonce) = (provider.get_block_number().await?, provider.get_transaction_count(signer.address()).await?);
    let snapshot: String = provider.raw_request("evm_snapshot".into(), ()).await?;

    let hashes = store(&probe, 2..5).await?;
    let raw: Bytes = provider.raw_request("eth_getRawTransactionByHash".into(), [hashes[0]]).await.unwrap_or_default();
    assert!(provider.raw_request::<_, bool>("evm_revert".into(), [&snapshot]).await?);
    assert_eq!(provider.get_block_number().await?, number);
    assert_eq!(provider.get_transaction_count(signer.address()).await?, nonce);
    assert_eq!((probe.count().call().await?, probe.load(U256::from(2)).call().await?), (U256::from(2), U256::ZERO));
    assert!(provider.get_transaction_receipt(hashes[0]).await?.is_none());
    // What was taken back can be sent again.
    if !raw.is_empty() {
        assert_eq!(*provider.send_raw_transaction(&raw).await?.tx_hash(), hashes[0]);
    }

    // Other blocks of the same number, and the state without the transactions.
    let node = node.endpoint()?.connect(Some(account(1)?))?;
    let probe = Probe::deploy(node.clone(), U256::ZERO).await?;
    for depth in [1_u64, 3, 10, 64] {
        store(&probe, 0..depth).await?;
        let head = node.get_block_number().await?;
        let (before, base) = (hash_of(&node, head).await?, hash_of(&node, head - depth).await?);
        reorganise(&node, depth).await?;
        assert_eq!(node.get_block_number().await?, head);
        assert_ne!(hash_of(&node, head).await?, before);
        assert_eq!(hash_of(&node, head - depth).await?, base);
        assert_eq!(probe.count().call().await?, U256::ZERO, "depth {depth}");
        let header = proof::fetch_header(&node, head.into()).await?;
        let count = proof::verified_storage(&node, *probe.address(), U256::from(1), &header).await?;
        assert_eq!(count, U256::ZERO);
    }

    // The fee of the next block, from which the later ones follow.
    let _: Value = node.raw_request("anvil_setNextBlockBaseFeePerGas".into(), [U256::from(70 * GWEI)]).await?;
    let cheap = probe.store(U256::ZERO, U256::ZERO).max_fee_per_gas(2 * u128::from(GWEI)).max_priority_fee_per_gas(1);
    assert!(cheap.call().await.is_err() || cheap.send().await.is_err(), "below the base fee");
    // Wallets look at the newest block, so this one names its fee.
    let dear =
        probe.store(U256::from(9), U256::ZERO).max_fee_per_gas(100 * u128::from(GWEI)).max_priority_fee_per_gas(1);
    assert!(dear.send().await?.get_receipt().await?.status());
    let block = node.get_block_by_number(BlockNumberOrTag::Latest).await?.ok_or("the newest block")?;
    assert_eq!(block.header.base_fee_per_gas, Some(70 * GWEI));
    let next = node.get_fee_history(1, BlockNumberOrTag::Latest, &[]).await?.next_block_base_fee();
    assert!(next.is_some_and(|fee| fee < u128::from(70 * GWEI) && fee > u128::from(60 * GWEI)), "{next:?}");
    Ok(())
}

/// What is taken back stays so after a restart. The states that are gone do not come back.
#[tokio::test]
async fn a_restarted_chain_knows_what_was_taken_back() -> Outcome {
    let folder = tempfile::tempdir()?;
    let open = || -> Outcome<(EmbeddedChain, DynProvider)> {
        let chain = EmbeddedChain::open(folder.path(), &config()?)?;
        let provider = Endpoint::in_process(chain.transport()).connect(Some(account(0)?))?;
        Ok((chain, provider))
    };
    let (chain, provider) = open()?;
    let probe = Probe::deploy(provider.clone(), U256::ZERO).await?;
    let contract = *probe.address();
    store(&probe, 0..150).await?;
    let snapshot: B256 = provider.raw_request("evm_snapshot".into(), ()).await?;
    let early = hash_of(&provider, 5).await?;
    assert!(!provider.raw_request::<_, bool>("evm_revert".into(), [early]).await?, "its state is no longer kept");
    assert!(!provider.raw_request::<_, bool>("evm_revert".into(), [B256::repeat_byte(1)]).await?, "not on the chain");
    assert!(reorganise(&provider, 140).await.is_err());
    assert!(reorganise(&provider, 1000).await.is_err());
    assert_eq!(probe.count().call().await?, U256::from(150), "nothing was taken back");
    store(&probe, 200..260).await?;
    assert!(provider.raw_request::<_, bool>("evm_revert".into(), [snapshot]).await?);
    reorganise(&provider, 50).await?;
    let head = hash_of(&provider, 151).await?;
    drop((probe, provider, chain));

    let (_chain, provider) = open()?;
    assert_eq!((provider.get_block_number().await?, hash_of(&provider, 151).await?), (151, head));
    let probe = Probe::new(contract, provider.clone());
    assert_eq!(probe.count().call().await?, U256::from(100));
    // Block 84 is the oldest whose state was kept when block 211 was the newest.
    assert_eq!(probe.count().block(84.into()).call().await?, U256::from(83));
    assert!(probe.count().block(83.into()).call().await.is_err());
    store(&probe, 300..301).await?;
    assert_eq!(probe.load(U256::from(300)).call().await?, U256::from(1300));
    Ok(())
}
