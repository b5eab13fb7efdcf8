//! Another program uses the same key.

use alloy::{network::TransactionBuilder, primitives::U256, providers::Provider, rpc::types::TransactionRequest};
use emr_chain::{RollupError, submitter::SubmitError};
use emr_testkit::{Outcome, chain::account};

use super::{GWEI, Stage, on_anvil_and_geth, spawn};

on_anvil_and_geth!(a_stuck_transaction_of_another_program_is_replaced, a_lost_nonce_is_followed_by_the_next_one);

/// A transfer of the account, with these fees.
fn transfer(nonce: u64, cap: u128, tip: u128) -> Outcome<TransactionRequest> {
    let own = account(1)?.address();
    let transfer = TransactionRequest::default().with_from(own).with_to(own).with_value(U256::ZERO).with_nonce(nonce);
    Ok(transfer.with_gas_limit(21_000).with_max_fee_per_gas(cap).with_max_priority_fee_per_gas(tip))
}

/// The other program's transaction is replaced after a while, at a price below the limit.
async fn a_stuck_transaction_of_another_program_is_replaced(stage: Stage) -> Outcome {
    stage.mining(false).await?;
    let _ = stage.direct.send_transaction(transfer(0, 9 * GWEI, 3 * GWEI)?).await?;
    // It gives up at the limit, and says what to do.
    let limited = super::SubmitterConfig { record: stage.folder.path().join("limited"), ..stage.config()? };
    let limited = super::SubmitterConfig { max_fee: Some(9 * GWEI), ..limited };
    let limited = super::Submitter::open(emr_durable::Disk::default(), limited)?;
    let refused = super::submit(&limited, &stage.order(2)).await.expect_err("above the limit");
    assert!(matches!(refused, RollupError::Submit(SubmitError::NonceHeld { nonce: 0, .. })), "{refused}");
    assert!(refused.to_string().contains("--max-fee-gwei"), "{refused}");

    let submitter = stage.open()?;
    let sending = spawn(&submitter, stage.order(1));
    let mut newest = None;
    for _ in 0..500 {
        tokio::time::sleep(super::PACE.poll).await;
        let Some(last) = super::recorded(&stage).ok().and_then(|hashes| hashes.last().copied()) else { continue };
        if stage.direct.get_transaction_by_hash(last).await?.is_some() {
            newest = Some(last);
            break;
        }
    }
    stage.mine().await?;
    assert_eq!(Some(sending.await??.transaction_hash), newest);
    assert_eq!(stage.made().await?, (1, 1));
    assert!((3..8).contains(&super::recorded(&stage)?.len()), "the fees were doubled each time");
    Ok(())
}

/// A transaction of another program that will be mined soon is not touched.
#[tokio::test(flavor = "multi_thread")]
async fn another_programs_transaction_may_be_mined_first() -> Outcome {
    let Some(stage) = Stage::new().await? else { return Ok(()) };
    stage.mining(false).await?;
    let other = *stage.direct.send_transaction(transfer(0, 9 * GWEI, GWEI)?).await?.tx_hash();
    let submitter = stage.open()?;
    let sending = spawn(&submitter, stage.order(1));
    tokio::time::sleep(super::PACE.raise / 4).await;
    stage.mining(true).await?;
    stage.mine().await?;
    sending.await??;
    assert!(stage.direct.get_transaction_receipt(other).await?.is_some());
    assert_eq!((stage.made().await?, submitter.sent().await.len()), ((1, 2), 1));
    Ok(())
}

/// Another program's transaction is mined with the nonce of one that waits. The call gets the next nonce.
async fn a_lost_nonce_is_followed_by_the_next_one(stage: Stage) -> Outcome {
    stage.mining(false).await?;
    let submitter = stage.open()?;
    let sending = spawn(&submitter, stage.order(1));
    stage.until_waiting(1).await?;
    let _ = stage.direct.send_transaction(transfer(0, 40 * GWEI, 20 * GWEI)?).await?;
    stage.mine().await?;
    assert_eq!(stage.made().await?, (0, 1));
    stage.until_waiting(1).await?;
    stage.mine().await?;
    sending.await??;
    assert_eq!(stage.made().await?, (1, 2));
    Ok(())
}
