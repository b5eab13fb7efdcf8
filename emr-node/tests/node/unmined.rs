//! Batches that wait for a block: the node dies before L1 has mined it, or L1 makes blocks only on demand.

use alloy::{consensus::Transaction, eips::BlockNumberOrTag, providers::Provider, rpc::types::TransactionRequest};
use emr_api::{BatchView, NodeStatus, OperationStatus, ProofJob};
use emr_core::{Class, UnixTime};
use emr_node::RunningNode;
use serde_json::Value;

use crate::{settlement::prove, stage::*};

/// The transaction was mined while the node was down, or it was lost. In both cases the batch is settled once after the
/// next start.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_before_a_crash_is_settled_once() -> Outcome {
    let Some(testnet) = Testnet::new().await? else { return Ok(()) };
    let patient = testnet.register(&people().patient).await?;
    let mut node = testnet.start().await?;
    for (number, fate) in [(1, "mined"), (2, "lost"), (3, "waiting")] {
        let hers = Caller::log_in(node.url().clone(), testnet.domain(), &people().patient, patient).await?;
        let record = hers.upload(&[fate.as_bytes()]).await?;
        let put = hers.put_record(patient, number, Class::Summary, &record);
        hers.submit(&put).await?;
        let before = transactions(&testnet).await?;
        send_batch(&testnet, &node, number).await?;
        node.shutdown().await;
        match fate {
            "mined" => drop(testnet.anvil::<Value>("evm_mine", ()).await?),
            "lost" => drop(testnet.anvil::<Value>("anvil_dropAllTransactions", ()).await?),
            _ => {}
        }

        node = testnet.start().await?;
        if fate == "waiting" {
            // The node does not pay for the waiting batch a second time.
            tokio::time::sleep(std::time::Duration::from_secs(3)).await;
            until(|| waits(&testnet)).await?;
            testnet.anvil::<Value>("evm_mine", ()).await?;
        }
        testnet.anvil::<Value>("evm_setAutomine", [true]).await?;
        let operator = testnet.operator(&node).await?;
        until(|| async {
            let status = operator.get::<NodeStatus>("v1/status").await;
            status.is_ok_and(|status| (status.batches, status.activity.as_str()) == (number, "idle"))
        })
        .await?;
        let id = put.signed.id(testnet.domain());
        let hers = Caller::log_in(node.url().clone(), testnet.domain(), &people().patient, patient).await?;
        let status: OperationStatus = hers.get(&format!("v1/operations/{id}")).await?;
        assert_eq!(status, OperationStatus::Settled { batch: number }, "{fate}");
        let settled: BatchView = operator.get(&format!("v1/batches/{number}")).await?;
        assert!(settled.gas_used.is_some() && settled.tx_hash.is_some(), "{fate}: {settled:?}");
        assert_eq!(transactions(&testnet).await?, before + 1, "{fate}: it was paid for once");
    }
    node.shutdown().await;
    Ok(())
}

/// A node whose first batch waits for a block, and how many transactions the hospital sent before.
async fn with_a_batch_that_waits(testnet: &Testnet) -> Outcome<(RunningNode, u64)> {
    let patient = testnet.register(&people().patient).await?;
    let node = testnet.start().await?;
    let hers = Caller::log_in(node.url().clone(), testnet.domain(), &people().patient, patient).await?;
    let record = hers.upload(&[b"content"]).await?;
    hers.submit(&hers.put_record(patient, 1, Class::Summary, &record)).await?;
    let before = transactions(testnet).await?;
    send_batch(testnet, &node, 1).await?;
    Ok((node, before))
}

/// The fee on L1 rises while the batch waits. The node replaces its transaction, and pays once.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_follows_a_spike_of_fees() -> Outcome {
    let Some(testnet) = Testnet::new().await? else { return Ok(()) };
    let (node, before) = with_a_batch_that_waits(&testnet).await?;
    let operator = testnet.operator(&node).await?;
    let dear = async || {
        testnet.anvil::<Value>("anvil_setNextBlockBaseFeePerGas", ["0x4a817c800"]).await?;
        testnet.anvil::<Value>("evm_mine", ()).await
    };
    for _ in 0..4 {
        dear().await?;
        assert_eq!(transactions(&testnet).await?, before, "20 gwei are more than the first transaction pays");
    }
    let mut settled = false;
    for _ in 0..60 {
        dear().await?;
        settled = operator.get::<NodeStatus>("v1/status").await?.batches == 1;
        if settled {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    assert!(settled && transactions(&testnet).await? == before + 1);
    node.shutdown().await;
    Ok(())
}

/// Another program with the hospital's key replaces the node's transaction, and settles the same batch. The node does not settle it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_another_program_settled_is_not_sent_again() -> Outcome {
    let Some(testnet) = Testnet::new().await? else { return Ok(()) };
    let (node, before) = with_a_batch_that_waits(&testnet).await?;

    let pool = testnet.anvil::<Value>("txpool_content", ()).await?;
    let own = pool["pending"].as_object().and_then(|pool| pool.values().next()).ok_or("it waits")?;
    let mut same: TransactionRequest = serde_json::from_value(own[before.to_string()].clone())?;
    same.gas_price = None;
    same.max_fee_per_gas = same.max_fee_per_gas.map(|fee| fee * 4);
    same.max_priority_fee_per_gas = same.max_priority_fee_per_gas.map(|fee| fee * 4);
    let other = *testnet.rollup.provider().send_transaction(same).await?.tx_hash();
    testnet.anvil::<Value>("evm_mine", ()).await?;
    testnet.anvil::<Value>("evm_setAutomine", [true]).await?;

    let operator = testnet.operator(&node).await?;
    until(|| async {
        let status = operator.get::<NodeStatus>("v1/status").await;
        status.is_ok_and(|status| (status.batches, status.activity.as_str()) == (1, "idle"))
    })
    .await?;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    let settled: BatchView = operator.get("v1/batches/1").await?;
    assert_eq!((settled.tx_hash, transactions(&testnet).await?), (Some(other), before + 1));
    node.shutdown().await;
    Ok(())
}

/// The transaction is lost, and L1 would refuse the batch by now. It is not sent again, which would cost the gas of a failure. Its nonce is
/// taken back, and its operations wait again.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_became_too_old_while_the_node_was_down_is_not_sent_again() -> Outcome {
    let down = 2 * 3600;
    let began = UnixTime::new(UnixTime::now().get() - down)?;
    let Some(testnet) = Testnet::since(began).await? else { return Ok(()) };
    let patient = testnet.register(&people().patient).await?;
    let node = testnet.start().await?;
    let hers = Caller::log_in(node.url().clone(), testnet.domain(), &people().patient, patient).await?;
    let record = hers.upload(&[b"content"]).await?;
    hers.submit(&hers.put_record(patient, 1, Class::Summary, &record)).await?;
    let before = transactions(&testnet).await?;
    send_batch(&testnet, &node, 1).await?;
    node.shutdown().await;
    testnet.anvil::<Value>("anvil_dropAllTransactions", ()).await?;
    testnet.anvil::<Value>("evm_increaseTime", [down]).await?;
    testnet.anvil::<Value>("evm_setAutomine", [true]).await?;
    testnet.anvil::<Value>("evm_mine", ()).await?;

    let node = testnet.start().await?;
    until(|| async { transactions(&testnet).await.is_ok_and(|now| now > before) }).await?;
    let newest = testnet.rollup.provider().get_block_by_number(BlockNumberOrTag::Latest).full().await?;
    let newest = newest.ok_or("a block")?;
    let own = newest.transactions.as_transactions().and_then(|all| all.first()).ok_or("a transaction")?;
    assert_eq!((own.to(), own.input().is_empty()), (Some(people().hospital.address()), true));
    let operator = testnet.operator(&node).await?;
    until(|| async { operator.get::<NodeStatus>("v1/status").await.is_ok_and(|status| status.activity == "idle") })
        .await?;
    assert_eq!(operator.get::<NodeStatus>("v1/status").await?.batches, 0);
    assert_eq!(transactions(&testnet).await?, before + 1);
    node.shutdown().await;
    Ok(())
}

/// Seals and proves the next batch.
pub(crate) async fn prove_batch(operator: &Caller) -> Outcome<Vec<u8>> {
    operator.post::<BatchView>("v1/batches/seal", &()).await?;
    until(|| async { matches!(operator.get::<Option<ProofJob>>("v1/prover/job").await, Ok(Some(_))) }).await?;
    prove(operator.get::<Option<ProofJob>>("v1/prover/job").await?.ok_or("no job")?).await
}

/// Lets the node send batch `number`. Its transaction waits, because L1 makes no more blocks.
async fn send_batch(testnet: &Testnet, node: &RunningNode, number: u64) -> Outcome {
    let operator = testnet.operator(node).await?;
    let proof = prove_batch(&operator).await?;
    testnet.anvil::<Value>("evm_setAutomine", [false]).await?;
    // On a chain that makes blocks on demand, a batch is up to a minute ahead of the newest block.
    testnet.anvil::<Value>("evm_increaseTime", [60]).await?;
    operator.post_bytes(&format!("v1/prover/jobs/{number}"), proof).await?;
    until(|| waits(testnet)).await
}

/// Whether one transaction waits.
async fn waits(testnet: &Testnet) -> bool {
    testnet.anvil::<Value>("txpool_status", ()).await.is_ok_and(|pool| pool["pending"] == "0x1")
}

/// How many transactions of the hospital are mined.
async fn transactions(testnet: &Testnet) -> Outcome<u64> {
    Ok(testnet.rollup.provider().get_transaction_count(people().hospital.address()).await?)
}

/// A development chain makes blocks only on demand. The newest may be hours old, so a batch with the current time does
/// not fit.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_made_no_block_for_hours_takes_a_batch() -> Outcome {
    let idle = 2 * 3600;
    let began = UnixTime::new(UnixTime::now().get() - idle)?;
    let Some(testnet) = Testnet::since(began).await? else { return Ok(()) };
    let patient = testnet.register(&people().patient).await?;
    testnet.anvil::<Value>("evm_increaseTime", [idle]).await?;
    let node = testnet.start().await?;
    let hers = Caller::log_in(node.url().clone(), testnet.domain(), &people().patient, patient).await?;
    let record = hers.upload(&[b"content"]).await?;
    hers.submit(&hers.put_record(patient, 0, Class::Summary, &record)).await?;
    let operator = testnet.operator(&node).await?;
    let sealed: BatchView = operator.post("v1/batches/seal", &()).await?;
    assert_eq!((sealed.public.n1, sealed.public.n), (2, 1));
    assert!(sealed.public.time + 600 > UnixTime::now().get(), "it has the current time");
    until(|| async { matches!(operator.get::<Option<ProofJob>>("v1/prover/job").await, Ok(Some(_))) }).await?;
    let job = operator.get::<Option<ProofJob>>("v1/prover/job").await?.ok_or("no job")?;
    operator.post_bytes("v1/prover/jobs/1", prove(job).await?).await?;
    until(|| async { operator.get::<NodeStatus>("v1/status").await.is_ok_and(|status| status.batches == 1) }).await?;
    node.shutdown().await;
    Ok(())
}
