//! Fees that rise, and the limit.

use alloy::{consensus::Transaction, providers::Provider};
use emr_chain::{RollupError, submitter::SubmitError};
use emr_testkit::Outcome;

use super::{GWEI, Stage, on_anvil_and_geth, spawn, submit, until_sent};

on_anvil_and_geth!(fees_stay_while_no_block_comes);

/// The transaction waits at a fee that is too low. It is replaced, and the call is made once.
#[tokio::test(flavor = "multi_thread")]
async fn a_spike_is_followed_with_the_same_nonce() -> Outcome {
    let Some(stage) = Stage::new().await? else { return Ok(()) };
    stage.mining(false).await?;
    let submitter = stage.open()?;
    let sending = spawn(&submitter, stage.order(1));
    stage.until_waiting(1).await?;
    let first = stage.direct.get_transaction_by_hash(until_sent(&stage, 1).await?[0]).await?.ok_or("it waits")?;
    for _ in 1..super::PACE.raise_blocks {
        stage.mine_at(20 * GWEI).await?;
    }
    assert_eq!(stage.made().await?, (0, 0), "too low a fee is not mined");
    stage.mine_at(20 * GWEI).await?;
    until_sent(&stage, 2).await?;
    stage.until_waiting(1).await?;
    stage.mine_at(20 * GWEI).await?;
    let receipt = sending.await??;
    let mined = stage.direct.get_transaction_by_hash(receipt.transaction_hash).await?.ok_or("mined")?;
    assert_eq!((mined.nonce(), first.nonce()), (0, 0));
    assert!(mined.max_fee_per_gas() * 8 >= first.max_fee_per_gas() * 9 && mined.max_fee_per_gas() >= 20 * GWEI);
    let tips = (mined.max_priority_fee_per_gas(), first.max_priority_fee_per_gas());
    assert!(tips.0.zip(tips.1).is_some_and(|(mined, first)| mined * 8 >= first * 9), "{tips:?}");
    assert_eq!(stage.made().await?, (1, 1));
    Ok(())
}

/// If L1 makes no blocks, a higher fee does not help.
async fn fees_stay_while_no_block_comes(stage: Stage) -> Outcome {
    stage.mining(false).await?;
    let submitter = stage.open()?;
    let sending = spawn(&submitter, stage.order(1));
    stage.until_waiting(1).await?;
    tokio::time::sleep(super::PACE.raise * 4).await;
    assert_eq!(super::recorded(&stage)?.len(), 1);
    stage.mine().await?;
    sending.await??;
    assert_eq!(stage.made().await?, (1, 1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn above_the_limit_nothing_is_sent_until_fees_fall() -> Outcome {
    let Some(stage) = Stage::new().await? else { return Ok(()) };
    stage.mine_at(9 * GWEI).await?;
    let submitter = stage.limited(4 * GWEI)?;
    let refused = submit(&submitter, &stage.order(1)).await.expect_err("above the limit");
    assert!(matches!(refused, RollupError::Submit(SubmitError::FeeLimit { limit, .. }) if limit == 4 * GWEI));
    let text = refused.to_string();
    assert!(text.contains("limit is 4 gwei") && text.contains("--max-fee-gwei"), "{text}");
    assert!(!stage.record().exists() && stage.made().await? == (0, 0));

    stage.mine_at(2 * GWEI).await?;
    let receipt = submit(&submitter, &stage.order(1)).await?;
    assert!(receipt.effective_gas_price <= 4 * GWEI);
    assert_eq!(stage.made().await?, (1, 1));
    Ok(())
}

/// The fee rises above the limit after the transaction was sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_transaction_stops_at_the_limit_and_goes_on_when_fees_fall() -> Outcome {
    let Some(stage) = Stage::new().await? else { return Ok(()) };
    stage.mining(false).await?;
    let submitter = stage.limited(6 * GWEI)?;
    let sending = spawn(&submitter, stage.order(1));
    stage.until_waiting(1).await?;
    for _ in 0..4 {
        stage.mine_at(30 * GWEI).await?;
    }
    let refused = sending.await?.expect_err("above the limit");
    assert!(matches!(refused, RollupError::Submit(SubmitError::FeeLimit { .. })), "{refused}");

    stage.mine_at(GWEI).await?;
    let sending = spawn(&submitter, stage.order(1));
    stage.until_waiting(1).await?;
    stage.mine_at(GWEI).await?;
    assert!(sending.await??.effective_gas_price <= 6 * GWEI);
    assert_eq!(stage.made().await?, (1, 1));
    Ok(())
}
