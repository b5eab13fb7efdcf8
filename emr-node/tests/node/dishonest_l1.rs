//! A lying Ethereum node does not harm a running node.

use alloy::{primitives::U64, sol_types::SolCall};
use emr_api::{AccountView, BatchView, NodeStatus, OperationStatus, ProofJob};
use emr_chain::bindings::EmrRollup;
use emr_core::{Class, UnixTime};
use emr_node::{DerivationError, FollowError, Node, NodeConfig, StartError};
use serde_json::{Value, json};

use crate::{settlement::prove, stage::*};

const TEN_YEARS: u64 = 10 * 365 * 24 * 3600;

/// Dates every block ten years ahead.
fn dated_ahead(_: &Value, answer: &mut Value) {
    if let Some(time) = answer.get_mut("result").and_then(|block| block.get_mut("timestamp")) {
        let told: U64 = serde_json::from_value(time.clone()).expect("a time");
        *time = json!(told + U64::from(TEN_YEARS));
    }
}

/// Gives every owner the patient's account.
fn mistakes_the_hospital(request: &Value, answer: &mut Value) {
    let selector = EmrRollup::accountOfCall::SELECTOR;
    let call = &request["params"][0];
    let data = call["input"].as_str().or(call["data"].as_str()).unwrap_or_default();
    if request["method"] == "eth_call" && data.starts_with(&format!("0x{}", hex::encode(selector))) {
        answer["result"] = json!(format!("0x{:064x}", 2));
    }
}

/// Even if the Ethereum node names a patient as the hospital, the patient cannot seal batches.
#[tokio::test(flavor = "multi_thread")]
async fn it_cannot_make_a_patient_the_hospital() -> Outcome {
    let Some(testnet) = Testnet::new().await? else { return Ok(()) };
    let patient = testnet.register(&people().patient).await?;
    assert_eq!(patient.get(), 2);
    let liar = Liar::before(testnet.endpoint()).await?;
    let config = || Outcome::Ok(NodeConfig { endpoint: liar.endpoint(), ..testnet.config()? });
    liar.tell(Some(mistakes_the_hospital));
    let error = Node::start(config()?).await.map(drop).expect_err("must be refused");
    assert!(
        matches!(error, StartError::Follow(FollowError::Derive(DerivationError::NotHospital(account))) if account == patient),
        "{error}"
    );

    liar.tell(None);
    let node = Node::start(config()?).await?;
    let hers = Caller::log_in(node.url().clone(), testnet.domain(), &people().patient, patient).await?;
    let operator = testnet.operator(&node).await?;
    liar.tell(Some(mistakes_the_hospital));
    // A change of the queue makes the node ask again.
    testnet.register(&people().other).await?;
    let refused = operator.post::<BatchView>("v1/batches/seal", &()).await.expect_err("must be refused");
    assert!(refused.message.contains("is not a hospital"), "{refused}");
    let record = hers.upload(&[b"content"]).await?;
    let put = hers.put_record(patient, 0, Class::Summary, &record);
    assert_eq!(code(hers.submit(&put).await), "unavailable");
    assert_eq!(code(hers.post::<BatchView>("v1/batches/seal", &()).await), "forbidden");
    liar.tell(None);
    until(|| async { hers.submit(&put).await.is_ok() }).await?;
    node.shutdown().await;
    Ok(())
}

/// An impossible time makes nothing expire. The node takes only Revokes and seals nothing until L1 shows a possible
/// time.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_cannot_be_returns_no_operation() -> Outcome {
    let Some(testnet) = Testnet::new().await? else { return Ok(()) };
    let patient = testnet.register(&people().patient).await?;
    let liar = Liar::before(testnet.endpoint()).await?;
    let config = || Outcome::Ok(NodeConfig { endpoint: liar.endpoint(), ..testnet.config()? });
    let node = Node::start(config()?).await?;
    let hers = Caller::log_in(node.url().clone(), testnet.domain(), &people().patient, patient).await?;
    let operator = testnet.operator(&node).await?;
    let record = hers.upload(&[b"content"]).await?;
    let put = |slot| hers.put_record(patient, slot, Class::Summary, &record);
    let (first, second) = (put(0), put(1));
    hers.submit(&first).await?;

    liar.tell(Some(dated_ahead));
    let refused = operator.post::<BatchView>("v1/batches/seal", &()).await.expect_err("must be refused");
    assert_eq!((refused.status, refused.code.as_str()), (503, "unavailable"));
    assert!(refused.message.contains("ahead of this machine's clock"), "{refused}");
    assert_eq!(code(hers.submit(&second).await), "unavailable");
    let halted = hers.get::<NodeStatus>("v1/status").await?.health.halted.ok_or("not halted")?;
    assert!(halted.starts_with("it takes only Revokes: L1 is ") && halted.contains("clock"), "{halted}");
    // Neither the patient's login nor the patient's operation has expired.
    let id = format!("v1/operations/{}", first.signed.id(testnet.domain()));
    assert_eq!(hers.get::<OperationStatus>(&id).await?, OperationStatus::Pending);
    node.shutdown().await;
    // A node does not start on such a chain.
    let error = Node::start(config()?).await.map(drop).expect_err("must be refused");
    assert!(matches!(error, StartError::Follow(FollowError::Time(_))), "{error}");

    // The Ethereum node tells the truth again.
    liar.tell(None);
    let node = Node::start(config()?).await?;
    let hers = Caller::log_in(node.url().clone(), testnet.domain(), &people().patient, patient).await?;
    let operator = testnet.operator(&node).await?;
    liar.tell(Some(dated_ahead));
    assert_eq!(code(operator.post::<BatchView>("v1/batches/seal", &()).await), "unavailable");
    assert_eq!(code(hers.submit(&second).await), "unavailable");
    liar.tell(None);
    until(|| async { hers.submit(&second).await.is_ok() }).await?;
    let sealed: BatchView = operator.post("v1/batches/seal", &()).await?;
    assert_eq!((sealed.number, sealed.public.n1, sealed.public.n), (1, 2, 2));
    assert!(sealed.public.time <= UnixTime::now().get() + 60);
    assert_eq!(hers.get::<OperationStatus>(&id).await?, OperationStatus::Sealed { batch: 1 });
    operator.get::<AccountView>(&format!("v1/accounts/{patient}")).await?;
    node.shutdown().await;
    Ok(())
}

/// Makes every answer an error, like a proxy in front of a node that is down.
fn down(_: &Value, answer: &mut Value) {
    if let Some(answer) = answer.as_object_mut() {
        answer.remove("result");
        answer.insert("error".to_owned(), json!({ "code": -32000, "message": "down for repair" }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_while_settling_shows_in_the_status() -> Outcome {
    let Some(testnet) = Testnet::new().await? else { return Ok(()) };
    let patient = testnet.register(&people().patient).await?;
    let liar = Liar::before(testnet.endpoint()).await?;
    let node = Node::start(NodeConfig { endpoint: liar.endpoint(), ..testnet.config()? }).await?;
    let hers = Caller::log_in(node.url().clone(), testnet.domain(), &people().patient, patient).await?;
    let record = hers.upload(&[b"content"]).await?;
    let receipt = hers.submit(&hers.put_record(patient, 0, Class::Summary, &record)).await?;
    let operator = testnet.operator(&node).await?;
    operator.post::<BatchView>("v1/batches/seal", &()).await?;
    let job = || operator.get::<Option<ProofJob>>("v1/prover/job");
    until(|| async { matches!(job().await, Ok(Some(_))) }).await?;
    let proof = prove(job().await?.ok_or("no job")?).await?;

    liar.tell(Some(down));
    operator.post_bytes("v1/prover/jobs/1", proof).await?;
    let status = || hers.get::<NodeStatus>("v1/status");
    let stuck = |status: &NodeStatus| status.activity.starts_with("stuck at 1: ") && status.activity.contains("repair");
    until(|| async { status().await.is_ok_and(|status| stuck(&status)) }).await?;
    // The status shows the fault as long as it lasts, also while the node tries again.
    for _ in 0..70 {
        let now = status().await?;
        assert!(stuck(&now), "{}", now.activity);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let now = status().await?.health;
    assert!(now.l1_block > 0 && now.l1_block_time > 0 && now.l1_reached < now.now, "{now:?}");
    assert!(now.now.get() - now.l1_reached.get() >= 5, "{now:?}");
    assert_eq!((now.halted, now.oldest, now.overdue), (None, Some(receipt.acknowledged), 0));

    liar.tell(None);
    until(|| async { status().await.is_ok_and(|now| (now.batches, now.activity.as_str()) == (1, "idle")) }).await?;
    let now = status().await?.health;
    assert!(now.oldest.is_none() && now.now.get() - now.l1_reached.get() < 5, "{now:?}");
    node.shutdown().await;
    Ok(())
}
