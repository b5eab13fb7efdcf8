//! An Ethereum node that lies about receipts and nonces.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy::primitives::B256;
use emr_chain::{RollupError, submitter::SubmitError};
use emr_testkit::{Outcome, chain::account};
use serde_json::{Value, json};

use super::{GAS, Stage, submit};

/// The receipt of another transaction is not taken for the call's.
#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_of_another_transaction_is_refused() -> Outcome {
    let Some(stage) = Stage::new().await? else { return Ok(()) };
    let submitter = stage.open()?;
    for (field, value) in
        [("transactionHash", format!("{:#x}", B256::repeat_byte(7))), ("from", format!("{:#x}", stage.contract))]
    {
        stage.proxy.tamper(move |request, mut answer| {
            if request["method"] == "eth_getTransactionReceipt" && answer["result"].is_object() {
                answer["result"][field] = value.clone().into();
            }
            Some(answer)
        });
        let refused = submit(&submitter, &stage.order(1)).await.expect_err("another receipt");
        assert!(matches!(refused, RollupError::Malformed(_)), "{refused}");
    }
    stage.proxy.be_honest();
    submit(&submitter, &stage.order(1)).await?;
    assert_eq!(stage.made().await?, (1, 1));
    Ok(())
}

/// Nothing is mined, but the node gives a receipt. When it stops lying, the call is made, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_only_claimed_to_be_mined_is_made_later() -> Outcome {
    let Some(stage) = Stage::new().await? else { return Ok(()) };
    let submitter = stage.open()?;
    submit(&submitter, &stage.order(1)).await?;
    let told: Value = stage.anvil("eth_getTransactionReceipt", [submitter.sent().await[0]]).await?;
    stage.mining(false).await?;
    let sent = AtomicU64::new(0);
    stage.proxy.tamper(move |request, mut answer| {
        match request["method"].as_str() {
            Some("eth_sendRawTransaction") => drop(sent.fetch_add(1, Ordering::SeqCst)),
            Some("eth_getTransactionCount") => {
                answer["result"] = json!(format!("{:#x}", 1 + sent.load(Ordering::SeqCst)));
            }
            Some("eth_getTransactionReceipt") => {
                answer["result"] = told.clone();
                answer["result"]["transactionHash"] = request["params"][0].clone();
            }
            _ => {}
        }
        Some(answer)
    });
    let claimed = submit(&submitter, &stage.order(2)).await?;
    assert_eq!(stage.made().await?, (1, 1));
    stage.proxy.be_honest();
    stage.anvil::<Value>("anvil_dropAllTransactions", ()).await?;
    stage.mining(true).await?;
    let mined = submit(&submitter, &stage.order(2)).await?;
    assert_eq!((mined.transaction_hash, stage.made().await?), (claimed.transaction_hash, (2, 2)));
    Ok(())
}

/// The receipt of the first transaction of a block.
async fn receipt_of(stage: &Stage, block: Value) -> Outcome<Value> {
    stage.anvil("eth_getTransactionReceipt", [block["transactions"][0].clone()]).await
}

/// A nonce that the account has not reached is never mined. Once the node tells the truth, the call gets the right one.
#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_far_ahead_is_given_up() -> Outcome {
    let Some(stage) = Stage::new().await? else { return Ok(()) };
    let submitter = stage.open()?;
    let far = |request: &Value, mut answer: Value| {
        if request["method"] == "eth_getTransactionCount" {
            answer["result"] = json!("0x3e8");
        }
        Some(answer)
    };
    stage.proxy.tamper(far);
    let sent = submitter.turn(Duration::from_secs(1)).await.send(&stage.order(1), GAS).await;
    assert!(matches!(sent, Err(RollupError::NotMined { .. })), "{sent:?}");
    assert_eq!(stage.made().await?, (0, 0));
    stage.proxy.be_honest();
    submit(&submitter, &stage.order(1)).await?;
    assert_eq!(stage.made().await?, (1, 1));
    Ok(())
}

/// A node that says again and again that a transaction was lost or failed would collect many transactions of one call, and could have
/// all of them mined. The submitter stops, also after restarts. Another call is still sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_never_succeeds_is_not_sent_for_ever() -> Outcome {
    for failed in [false, true] {
        let Some(stage) = Stage::new().await? else { return Ok(()) };
        stage.mining(false).await?;
        let (sent, own) = (Arc::new(AtomicU64::new(0)), account(1)?.address());
        let told = receipt_of(&stage, stage.anvil::<Value>("eth_getBlockByNumber", ("0x1", false)).await?).await?;
        let counted = Arc::clone(&sent);
        stage.proxy.tamper(move |request, mut answer| {
            match request["method"].as_str() {
                Some("eth_sendRawTransaction") => drop(counted.fetch_add(1, Ordering::SeqCst)),
                Some("eth_getTransactionCount") => {
                    answer["result"] = json!(format!("{:#x}", counted.load(Ordering::SeqCst)));
                }
                Some("eth_getTransactionReceipt") if failed => {
                    answer["result"] = told.clone();
                    answer["result"]["transactionHash"] = request["params"][0].clone();
                    answer["result"]["from"] = json!(own);
                    answer["result"]["status"] = json!("0x0");
                }
                Some("eth_getTransactionReceipt") => answer["result"] = Value::Null,
                _ => {}
            }
            Some(answer)
        });
        let mut stopped = None;
        for _ in 0..20 {
            // A new process each time.
            stopped = submit(&*stage.open()?, &stage.order(1)).await.err();
            if matches!(stopped, Some(RollupError::Submit(SubmitError::NoncesLost { .. }))) {
                break;
            }
        }
        let stopped = stopped.ok_or("it is sent for ever")?;
        assert!(stopped.to_string().contains("transaction.json and start again"), "{stopped}");
        assert_eq!(sent.load(Ordering::SeqCst), 6);
        assert!(submit(&*stage.open()?, &stage.order(1)).await.is_err());
        assert_eq!(sent.load(Ordering::SeqCst), 6);
        let _ = submit(&*stage.open()?, &stage.order(2)).await;
        assert!(sent.load(Ordering::SeqCst) > 6, "another call is sent");
    }
    Ok(())
}
