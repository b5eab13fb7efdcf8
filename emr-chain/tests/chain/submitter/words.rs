//! What a node says when it refuses a transaction. The submitter reads these words.

use alloy::{
    eips::eip2718::Encodable2718,
    network::{EthereumWallet, NetworkTransactionBuilder, TransactionBuilder},
    primitives::U256,
    providers::Provider,
    rpc::types::TransactionRequest,
};
use emr_chain::{RollupError, submitter::SubmitterConfig};
use emr_testkit::{Outcome, chain::account};

use super::{GWEI, Stage, Submitter, on_anvil_and_geth, spawn, submit};

on_anvil_and_geth!(an_account_without_ether_is_told_so);

/// It is not taken for a fee that is too low, which the submitter would raise.
async fn an_account_without_ether_is_told_so(stage: Stage) -> Outcome {
    let poor = SubmitterConfig { signer: account(9)?, ..stage.config()? };
    let submitter = Submitter::open(emr_durable::Disk::default(), poor)?;
    let refused = submit(&submitter, &stage.order(1)).await.expect_err("no ether");
    assert!(
        matches!(&refused, RollupError::Node { message, .. } if message.to_lowercase().contains("insufficient funds")),
        "{refused}"
    );
    assert_eq!(submitter.sent().await.len(), 1);
    Ok(())
}

/// The words are geth's own. The unit test of the submitter says how it reads each.
#[tokio::test(flavor = "multi_thread")]
async fn geth_refuses_with_the_words_that_are_known() -> Outcome {
    let Some(stage) = Stage::geth().await? else { return Ok(()) };
    let own = account(1)?.address();
    let wallet = EthereumWallet::from(account(1)?);
    let refusal = async |nonce: u64, cap: u128, tip: u128| {
        let transfer = TransactionRequest::default().with_to(own).with_value(U256::ZERO).with_nonce(nonce);
        let transfer = transfer.with_gas_limit(21_000).with_chain_id(31_337);
        let transfer = transfer.with_max_fee_per_gas(cap).with_max_priority_fee_per_gas(tip).build(&wallet).await?;
        let answer = stage.direct.send_raw_transaction(&transfer.encoded_2718()).await;
        Outcome::Ok(answer.err().and_then(|error| Some(error.as_error_resp()?.message.to_string())))
    };
    let is = |refused: Option<String>, words: &str| assert_eq!(refused.as_deref(), Some(words));
    is(refusal(0, 2 * GWEI, 0).await?, "transaction gas price below minimum: gas tip cap 0, minimum needed 1");
    assert_eq!(refusal(0, 8 * GWEI, GWEI).await?, None);
    is(refusal(0, 8 * GWEI, GWEI).await?, "already known");
    // One of both fees is not a tenth higher.
    is(refusal(0, 16 * GWEI, GWEI).await?, "replacement transaction underpriced");
    is(refusal(0, 8 * GWEI, 2 * GWEI).await?, "replacement transaction underpriced");
    stage.mine().await?;
    is(refusal(0, 9 * GWEI, 2 * GWEI).await?, "nonce too low: next nonce 1, tx nonce 0");

    // The submitter goes on after each of them.
    let submitter = stage.open()?;
    assert_eq!(refusal(1, 9 * GWEI, 8 * GWEI).await?, None);
    let sending = spawn(&submitter, stage.order(1));
    super::until_sent(&stage, 2).await?;
    stage.mine().await?;
    sending.await??;
    assert_eq!(stage.made().await?, (1, 2));
    Ok(())
}
