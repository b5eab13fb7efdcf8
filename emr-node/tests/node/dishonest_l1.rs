//! What an Ethereum node that lies cannot do to a running node.

use alloy::{primitives::U64, sol_types::SolCall};
use emr_api::{AccountView, BatchView, OperationStatus};
use emr_chain::bindings::EmrRollup;
use emr_core::{Class, UnixTime};
use emr_node::{DeriveError, FollowError, Node, NodeConfig, StartError};
use serde_json::{Value, json};

use crate::stage::*;

const TEN_YEARS: u64 = 10 * 365 * 24 * 3600;

/// Every block is ten years younger than it is.
fn dated_ahead(_: &Value, answer: &mut Value) {
    if let Some(time) = answer.get_mut("result").and_then(|block| block.get_mut("timestamp")) {
        let told: U64 = serde_json::from_value(time.clone()).expect("a time");
        *time = json!(told + U64::from(TEN_YEARS));
    }
}

/// Everybody's account is the patient's.
fn mistakes_the_hospital(request: &Value, answer: &mut Value) {
    let selector = EmrRollup::accountOfCall::SELECTOR;
    let call = &request["params"][0];
    let data = call["input"].as_str().or(call["data"].as_str()).unwrap_or_default();
    if request["method"] == "eth_call" && data.starts_with(&format!("0x{}", hex::encode(selector))) {
        answer["result"] = json!(format!("0x{:064x}", 2));
    }
}

/// Whoever the Ethereum node names, a patient does not seal batches.
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
        matches!(error, StartError::Follow(FollowError::Derive(DeriveError::NotHospital(account))) if account == patient),
        "{error}"
    );

    liar.tell(None);
    let node = Node::start(config()?).await?;
    let hers = Caller::log_in(node.url().clone(), testnet.domain(), &people().patient, patient).await?;
    let operator = testnet.operator(&node).await?;
    liar.tell(Some(mistakes_the_hospital));
    // Whatever moves the queue makes the node ask again.
    testnet.register(&people().other).await?;
    let refused = operator.post::<BatchView>("v1/batches/seal", &()).await.expect_err("must be refused");
    assert!(refused.message.contains("no hospital's"), "{refused}");
    let record = hers.upload(&[b"content"]).await?;
    let put = hers.put_record(patient, 0, Class::Summary, &record);
    assert_eq!(code(hers.submit(&put).await), "unavailable");
    assert_eq!(code(hers.post::<BatchView>("v1/batches/seal", &()).await), "forbidden");
    liar.tell(None);
    until(|| async { hers.submit(&put).await.is_ok() }).await?;
    node.shutdown().await;
    Ok(())
}

/// A time that cannot be makes nothing lapse: the node takes nothing and seals nothing until it is told another one.
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
    // Nothing has lapsed: neither her login nor what she signed.
    let id = format!("v1/operations/{}", first.signed.id(testnet.domain()));
    assert_eq!(hers.get::<OperationStatus>(&id).await?, OperationStatus::Pending);
    node.shutdown().await;
    // Nor does it start on such a chain.
    let error = Node::start(config()?).await.map(drop).expect_err("must be refused");
    assert!(matches!(error, StartError::Follow(FollowError::Time(_))), "{error}");

    // Another Ethereum node, or the same one put right.
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
