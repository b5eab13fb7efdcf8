//! An Ethereum node is behind, or leaves out what happened. The node does not undo anything for that.

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use alloy::{primitives::U64, sol_types::SolEvent};
use emr_api::{BatchView, OperationStatus, ProofJob};
use emr_chain::bindings::EmrRollup;
use emr_core::Class;
use emr_node::{FollowError, Node, NodeConfig, StartError};
use serde_json::{Value, json};

use crate::{settlement::prove, stage::*};

/// Removes the batches from logs.
fn leaves_batches_out(request: &Value, answer: &mut Value) {
    let topic = format!("{:?}", EmrRollup::BatchSettled::SIGNATURE_HASH);
    if request["method"] == "eth_getLogs" && request["params"][0]["topics"].to_string().contains(&topic) {
        answer["result"] = json!([]);
    }
}

/// Two of four successive answers come from a node that is one block behind.
fn behind_now_and_then(request: &Value, answer: &mut Value) {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    if request["method"] == "eth_blockNumber" && ASKED.fetch_add(1, Ordering::SeqCst) % 4 < 2 {
        let number: U64 = serde_json::from_value(answer["result"].clone()).expect("a number");
        answer["result"] = json!(number - U64::ONE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_undone_for_a_node_that_does_not_show_everything() -> Outcome {
    let Some(testnet) = Testnet::new().await? else { return Ok(()) };
    let patient = testnet.register(&people().patient).await?;
    let liar = Liar::before(testnet.endpoint()).await?;
    let config = || Outcome::Ok(NodeConfig { endpoint: liar.endpoint(), ..testnet.config()? });
    let node = Node::start(config()?).await?;
    let hers = Caller::log_in(node.url().clone(), testnet.domain(), &people().patient, patient).await?;
    let operator = testnet.operator(&node).await?;
    let record = hers.upload(&[b"content"]).await?;
    let put = hers.put_record(patient, 0, Class::Summary, &record);
    hers.submit(&put).await?;
    operator.post::<BatchView>("v1/batches/seal", &()).await?;
    until(|| async { matches!(operator.get::<Option<ProofJob>>("v1/prover/job").await, Ok(Some(_))) }).await?;
    let job = operator.get::<Option<ProofJob>>("v1/prover/job").await?.ok_or("a job")?;
    operator.post_bytes("v1/prover/jobs/1", prove(job).await?).await?;
    let id = format!("v1/operations/{}", put.signed.id(testnet.domain()));
    let settled = OperationStatus::Settled { batch: 1 };
    until(|| async { hers.get::<OperationStatus>(&id).await.is_ok_and(|status| status == settled) }).await?;

    // One block behind is before the batch. This is not a reorganisation.
    liar.tell(Some(behind_now_and_then));
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        // Nothing waits to be sealed, but this makes the node look at L1.
        let _ = operator.post::<BatchView>("v1/batches/seal", &()).await;
        assert_eq!(hers.get::<OperationStatus>(&id).await?, settled);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    node.shutdown().await;

    // If L1 does not show the batch, and no snapshot holds it, the start fails before the node writes anything.
    fs::remove_dir_all(config()?.data_dir.join("snapshots"))?;
    liar.tell(Some(leaves_batches_out));
    let error = Node::start(config()?).await.map(drop).expect_err("must be refused");
    assert!(matches!(error, StartError::Follow(FollowError::Incomplete { shown: 0, settled: 1 })), "{error}");
    liar.tell(None);
    let node = Node::start(config()?).await?;
    let hers = Caller::log_in(node.url().clone(), testnet.domain(), &people().patient, patient).await?;
    assert_eq!(hers.get::<OperationStatus>(&id).await?, settled);
    let batch: BatchView = hers.get("v1/batches/1").await?;
    assert!(batch.gas_used.is_some(), "what was known of the batch is still known");
    node.shutdown().await;
    Ok(())
}
