//! Connections, pools, blocks and processes that are lost between sending and the receipt.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use alloy::{consensus::Transaction, eips::BlockId, providers::Provider};
use emr_chain::submitter::SubmitError;
use emr_testkit::{Outcome, chain::account};
use serde_json::Value;

use super::{Stage, Submitter, SubmitterConfig, on_anvil_and_geth, recorded, spawn, submit, submit_after, until_sent};

on_anvil_and_geth!(
    after_a_node_that_vanished_the_same_nonce_goes_on,
    an_unwanted_call_is_taken_back,
    a_transaction_of_a_block_that_l1_took_back_is_sent_again
);

/// The node takes the transaction, but its answer is lost. It is not sent with another nonce.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_drops_after_the_transaction_makes_no_second_one() -> Outcome {
    let Some(stage) = Stage::new().await? else { return Ok(()) };
    let dropped = AtomicBool::new(false);
    stage.proxy.tamper(move |request, answer| {
        let lost = request["method"] == "eth_sendRawTransaction" && !dropped.swap(true, Ordering::SeqCst);
        (!lost).then_some(answer)
    });
    submit(&*stage.open()?, &stage.order(1)).await?;
    assert_eq!((stage.made().await?, recorded(&stage)?.len()), ((1, 1), 1));
    Ok(())
}

/// The Ethereum node cannot be reached when the receipt is due. The next attempt finds the transaction.
async fn after_a_node_that_vanished_the_same_nonce_goes_on(stage: Stage) -> Outcome {
    stage.mining(false).await?;
    let submitter = stage.open()?;
    let sending = spawn(&submitter, stage.order(1));
    stage.until_waiting(1).await?;
    stage.proxy.tamper(|_, _| None);
    let error = sending.await?.expect_err("nobody answers");
    assert!(error.to_string().contains("cannot be reached"), "{error}");
    assert!(submit(&submitter, &stage.order(1)).await.is_err());

    stage.proxy.be_honest();
    let sending = spawn(&submitter, stage.order(1));
    stage.mine().await?;
    sending.await??;
    assert_eq!((stage.made().await?, recorded(&stage)?.len()), ((1, 1), 1));
    Ok(())
}

/// The Ethereum node restarts with an empty pool.
#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_transaction_is_sent_again_as_it_is() -> Outcome {
    let Some(stage) = Stage::new().await? else { return Ok(()) };
    stage.mining(false).await?;
    let submitter = stage.open()?;
    let sending = spawn(&submitter, stage.order(1));
    stage.until_waiting(1).await?;
    stage.anvil::<Value>("anvil_dropAllTransactions", ()).await?;
    stage.until_waiting(1).await?;
    stage.mine().await?;
    let receipt = sending.await??;
    assert_eq!((stage.made().await?, recorded(&stage)?), ((1, 1), vec![receipt.transaction_hash]));
    Ok(())
}

/// The process ends between sending and the receipt. The transaction waits, is mined, or is lost meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_with_the_same_nonce() -> Outcome {
    let Some(stage) = Stage::new().await? else { return Ok(()) };
    for (made, fate) in [(1, "waits"), (2, "mined"), (3, "lost")] {
        stage.mining(false).await?;
        let submitter = stage.open()?;
        let sending = spawn(&submitter, stage.order(made));
        stage.until_waiting(1).await?;
        sending.abort();
        assert!(sending.await.is_err_and(|error| error.is_cancelled()));
        drop(submitter);
        let before = recorded(&stage)?;
        match fate {
            "mined" => stage.mine().await?,
            "lost" => drop(stage.anvil::<Value>("anvil_dropAllTransactions", ()).await?),
            _ => {}
        }

        let submitter = stage.open()?;
        assert_eq!(submitter.sent().await, before);
        let forgotten = submitter.turn(super::PATIENCE).await.is_forgotten(&stage.order(made)).await?;
        assert_eq!(forgotten, fate == "lost", "{fate}");
        let sending = spawn(&submitter, stage.order(made));
        if fate != "mined" {
            stage.until_waiting(1).await?;
            stage.mine().await?;
        }
        let receipt = sending.await??;
        assert_eq!((recorded(&stage)?, stage.made().await?), (before, (made, made)), "{fate}");
        assert_eq!(recorded(&stage)?, [receipt.transaction_hash], "{fate}");
    }
    Ok(())
}

/// A reorganisation takes the block back, and the pool forgets the transaction.
async fn a_transaction_of_a_block_that_l1_took_back_is_sent_again(stage: Stage) -> Outcome {
    stage.mining(false).await?;
    let submitter = stage.open()?;
    let before = stage.remember().await?;
    let sending = spawn(&submitter, stage.order(1));
    stage.until_waiting(1).await?;
    stage.mine().await?;
    let first = sending.await??;
    assert_eq!(stage.made().await?, (1, 1));
    stage.take_back_to(before).await?;
    assert_eq!(stage.made().await?, (0, 0));
    let sending = spawn(&submitter, stage.order(1));
    stage.until_waiting(1).await?;
    stage.mine().await?;
    let again = sending.await??;
    assert_eq!((again.transaction_hash, stage.made().await?), (first.transaction_hash, (1, 1)));
    Ok(())
}

/// Another call comes while one waits that nobody wants any more. Its nonce is taken back, so that it cannot be mined later.
async fn an_unwanted_call_is_taken_back(stage: Stage) -> Outcome {
    stage.mining(false).await?;
    let submitter = stage.open()?;
    let sending = spawn(&submitter, stage.order(1));
    stage.until_waiting(1).await?;
    sending.abort();
    drop((sending.await, submitter));

    // The first call is unwanted by a restarted process, which has another one.
    let submitter = stage.open()?;
    let sending = spawn(&submitter, stage.order(2));
    let transfer = until_sent(&stage, 2).await?[1];
    stage.until_waiting(1).await?;
    stage.mine().await?;
    stage.until_waiting(1).await?;
    stage.mine().await?;
    let receipt = sending.await??;
    assert_eq!(stage.made().await?, (1, 2), "one call, and a transfer");
    let transfer = stage.direct.get_transaction_by_hash(transfer).await?.ok_or("mined")?;
    assert_eq!((transfer.to(), transfer.value().is_zero()), (Some(account(1)?.address()), true));
    assert_eq!(receipt.logs().first().map(|log| log.topics()[1].0[31]), Some(2));

    // Without another call, it is taken back step by step, and only if it is of the kind that is unwanted.
    let sending = spawn(&submitter, stage.order(3));
    stage.until_waiting(1).await?;
    sending.abort();
    let _ = sending.await;
    for _ in 0..10 {
        submitter.withdraw(|_| false).await?;
    }
    assert_eq!(submitter.sent().await.len(), 1);
    for _ in 0..4 {
        submitter.withdraw(|input| *input == stage.order(3).input).await?;
    }
    assert_eq!(submitter.sent().await.len(), 2);
    stage.mine().await?;
    submitter.withdraw(|_| false).await?;
    assert_eq!(stage.made().await?, (1, 3));
    let pending = stage.direct.get_transaction_count(account(1)?.address()).block_id(BlockId::pending()).await?;
    assert_eq!(pending, 3);
    Ok(())
}

/// A call whose caller went away comes first, unless the Ethereum node has forgotten it.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_still_wanted_comes_first() -> Outcome {
    let Some(stage) = Stage::new().await? else { return Ok(()) };
    for forgotten in [false, true] {
        stage.mining(false).await?;
        let (calls, transactions) = stage.made().await?;
        let submitter = stage.open()?;
        let sending = spawn(&submitter, stage.order(2 * transactions + 1));
        stage.until_waiting(1).await?;
        sending.abort();
        let _ = sending.await;
        if forgotten {
            stage.anvil::<Value>("anvil_dropAllTransactions", ()).await?;
        }
        let (next, order) = (Arc::clone(&submitter), stage.order(2 * transactions + 2));
        let sending = tokio::spawn(async move { submit_after(&next, &order, true).await });
        stage.until_waiting(1).await?;
        stage.mining(true).await?;
        stage.mine().await?;
        sending.await??;
        assert_eq!(stage.made().await?, (calls + if forgotten { 1 } else { 2 }, transactions + 2));
    }
    Ok(())
}

/// A record that is not this account's is not used.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_another_account_or_a_damaged_one_is_refused() -> Outcome {
    let Some(stage) = Stage::new().await? else { return Ok(()) };
    submit(&*stage.open()?, &stage.order(1)).await?;
    let open = |config| Submitter::open(emr_durable::Disk::default(), config);
    let another = SubmitterConfig { signer: account(2)?, ..stage.config()? };
    assert!(matches!(open(another), Err(SubmitError::Another { chain_id: 31_337, .. })));
    let elsewhere = SubmitterConfig { chain_id: 1, ..stage.config()? };
    assert!(matches!(open(elsewhere), Err(SubmitError::Another { .. })));

    let text = std::fs::read_to_string(stage.record())?;
    let mut other: Value = serde_json::from_str(&text)?;
    other["sent"][0]["hash"] = Value::from(format!("{:#x}", alloy::primitives::B256::ZERO));
    for damaged in ["", "{}", &text[..text.len() / 2], &other.to_string()] {
        std::fs::write(stage.record(), damaged)?;
        let refused = open(stage.config()?).expect_err("damaged");
        assert!(matches!(refused, SubmitError::Damaged { .. }), "{refused}");
        assert!(refused.to_string().contains("remove the file"));
    }
    Ok(())
}
