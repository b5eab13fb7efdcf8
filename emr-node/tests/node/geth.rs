//! The whole way of a batch on geth, which most of mainnet runs. The other chains of these tests are made for development.

use emr_api::{AccountView, BatchView, NodeStatus, OperationStatus};
use emr_chain::SettlementLayer;
use emr_core::Class;

use crate::{stage::*, unmined::prove_batch};

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_settled_on_geth_and_a_restart_finds_it() -> Outcome {
    let Some(testnet) = Testnet::geth().await? else { return Ok(()) };
    let node = testnet.start().await?;
    let operator = testnet.operator(&node).await?;
    let patient = testnet.register(&people().patient).await?;
    let account = format!("v1/accounts/{patient}");
    let account = account.as_str();
    until(|| async { operator.get::<AccountView>(account).await.is_ok() }).await?;
    let hers = Caller::log_in(node.url().clone(), testnet.domain(), &people().patient, patient).await?;
    let record = hers.upload(&[b"content"]).await?;
    let put = hers.put_record(patient, 0, Class::Summary, &record);
    hers.submit(&put).await?;

    let proof = prove_batch(&operator).await?;
    let sealed: BatchView = operator.get("v1/batches/1").await?;
    assert_eq!((sealed.public.n1, sealed.public.n), (2, 1), "two registrations and a record");
    operator.post_bytes("v1/prover/jobs/1", proof).await?;
    let status = async || operator.get::<NodeStatus>("v1/status").await;
    until(|| async { status().await.is_ok_and(|status| (status.batches, status.activity.as_str()) == (1, "idle")) })
        .await?;
    let head = testnet.rollup.head().await?;
    assert_eq!((head.batch_count, head.state_root), (1, sealed.public.post));
    let settled: BatchView = operator.get("v1/batches/1").await?;
    println!("settlement on geth: {:?} gas", settled.gas_used);
    assert!(settled.gas_used.is_some_and(|gas| gas < 900_000) && settled.tx_hash.is_some(), "{settled:?}");
    let before = status().await?;
    assert_eq!((before.state_root, before.queued, before.pending), (sealed.public.post, 0, 0));
    node.shutdown().await;

    let node = testnet.start().await?;
    let operator = testnet.operator(&node).await?;
    let after: NodeStatus = operator.get("v1/status").await?;
    assert_eq!(
        (after.batches, after.state_root, after.hospital, after.queued, after.pending),
        (before.batches, before.state_root, before.hospital, before.queued, before.pending)
    );
    let again: BatchView = operator.get("v1/batches/1").await?;
    assert_eq!((again.tx_hash, again.gas_used, again.state), (settled.tx_hash, settled.gas_used, settled.state));
    let hers = Caller::log_in(node.url().clone(), testnet.domain(), &people().patient, patient).await?;
    let id = put.signed.id(testnet.domain());
    let known: OperationStatus = hers.get(&format!("v1/operations/{id}")).await?;
    assert_eq!(known, OperationStatus::Settled { batch: 1 });
    assert!(hers.block(&record).await.is_ok());
    node.shutdown().await;
    Ok(())
}
