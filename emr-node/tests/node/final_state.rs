//! A grant opens nothing as long as L1 can take its block back. On anvil, the block 64 blocks back is final.

use emr_api::{AccountView, NodeStatus, RecordView};
use emr_chain::header::Finality;
use emr_core::{Class, Rights, Uses};
use emr_node::{Node, NodeConfig, RunningNode};
use serde_json::Value;

use crate::{stage::*, unmined::prove_batch};

async fn start(testnet: &Testnet) -> Outcome<RunningNode> {
    Ok(Node::start(NodeConfig { finality: Finality::Finalized, ..testnet.config()? }).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_opens_a_record_when_its_block_is_final() -> Outcome {
    let Some(testnet) = Testnet::new().await? else { return Ok(()) };
    let node = start(&testnet).await?;
    let operator = testnet.operator(&node).await?;
    let (patient, reader) = (testnet.register(&people().patient).await?, testnet.register(&people().stranger).await?);
    let known = format!("v1/accounts/{reader}");
    let known = known.as_str();
    until(|| async { operator.get::<AccountView>(known).await.is_ok() }).await?;
    let log_in = async |node: &RunningNode, person, account| {
        Caller::log_in(node.url().clone(), testnet.domain(), person, account).await
    };
    let (hers, theirs) =
        (log_in(&node, &people().patient, patient).await?, log_in(&node, &people().stranger, reader).await?);
    let content = hers.upload(&[b"content"]).await?;
    hers.submit(&hers.put_record(patient, 0, Class::Summary, &content)).await?;
    hers.grant(FIRST, reader, Rights::READ, &[Class::Summary], next_year()).await?;
    theirs.submit(&theirs.request_access(patient, FIRST, Uses::ZERO, Class::Summary)).await?;
    let record = format!("v1/patients/{patient}/records/0");
    let record = record.as_str();

    let proof = prove_batch(&operator).await?;
    operator.post_bytes("v1/prover/jobs/1", proof).await?;
    until(|| async { operator.get::<NodeStatus>("v1/status").await.is_ok_and(|status| status.batches == 1) }).await?;
    let early = async |theirs: &Caller| -> Outcome {
        let refused = theirs.get::<RecordView>(record).await.map(|_| ()).expect_err("its block is not final");
        assert!(refused.code == "unavailable" && refused.message.contains("take back"), "{refused:?}");
        assert_eq!(code(theirs.block(&content).await), "unavailable");
        Ok(())
    };
    early(&theirs).await?;
    hers.get::<RecordView>(record).await?;
    node.shutdown().await;
    // The snapshot of the stop is not final either.
    let node = start(&testnet).await?;
    let theirs = log_in(&node, &people().stranger, reader).await?;
    early(&theirs).await?;

    testnet.anvil::<Value>("anvil_mine", [70]).await?;
    testnet.anvil::<Value>("evm_increaseTime", [70]).await?;
    until(|| async { theirs.get::<RecordView>(record).await.is_ok() }).await?;
    assert!(theirs.block(&content).await.is_ok());
    node.shutdown().await;
    let node = start(&testnet).await?;
    let (hers, theirs) =
        (log_in(&node, &people().patient, patient).await?, log_in(&node, &people().stranger, reader).await?);
    theirs.get::<RecordView>(record).await?;
    // What denies waits for nothing.
    hers.revoke(FIRST).await?;
    assert_eq!(code(theirs.get::<RecordView>(record).await), "revoked");
    node.shutdown().await;
    Ok(())
}
