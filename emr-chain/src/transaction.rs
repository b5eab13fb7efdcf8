//! Transactions: gas for the next block, a bounded wait, and the contract's own reason for a failure.

use std::{marker::PhantomData, time::Duration};

use alloy::{
    contract::CallBuilder,
    eips::BlockId,
    network::Ethereum,
    primitives::B256,
    providers::{PendingTransactionBuilder, Provider},
    rpc::types::TransactionReceipt,
    sol_types::SolCall,
};
use serde::{Deserialize, Serialize};

use crate::{revert::RollupError, rollup::Rollup};

/// The most gas that one transaction may ask for (EIP-7825).
pub const TRANSACTION_GAS_CAP: u64 = 1 << 24;

/// How long a transaction is waited for: fifteen blocks of mainnet.
pub(crate) const MINED_WITHIN: Duration = Duration::from_secs(180);

/// A transaction that was mined and did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Its hash.
    pub tx_hash: B256,
    /// The block that holds it.
    pub block_number: u64,
    /// Gas it used.
    pub gas_used: u64,
}

impl Receipt {
    pub(crate) fn of(receipt: &TransactionReceipt) -> Self {
        Self {
            tx_hash: receipt.transaction_hash,
            block_number: receipt.block_number.unwrap_or_default(),
            gas_used: receipt.gas_used,
        }
    }
}

impl<P: Provider> Rollup<P> {
    /// Sends a call and waits until it is mined, but not for ever. A failure is told by the contract's own error, before it
    /// costs gas if possible.
    pub(crate) async fn send<C: SolCall>(
        &self,
        call: CallBuilder<&P, PhantomData<C>, Ethereum>,
    ) -> Result<TransactionReceipt, RollupError> {
        self.send_within(call, TRANSACTION_GAS_CAP).await
    }

    /// The same with no more gas than `limit`.
    pub(crate) async fn send_within<C: SolCall>(
        &self,
        call: CallBuilder<&P, PhantomData<C>, Ethereum>,
        limit: u64,
    ) -> Result<TransactionReceipt, RollupError> {
        let needed = estimate(&call, limit).await?;
        // A fifth more, as the state that the estimate saw may change.
        let call = call.gas((needed + needed / 5).min(limit));
        let sent = call.send().await?;
        let receipt = mined(sent, self.patience()).await?;
        if receipt.status() {
            return Ok(receipt);
        }
        // The state after the block that holds the failure tells the reason, unless it changed once more.
        let at = receipt.block_number.unwrap_or_default();
        match call.from(receipt.from).block(at.into()).call_raw().await {
            Err(reason) => Err(reason.into()),
            Ok(_) => Err(RollupError::Failed(receipt.transaction_hash)),
        }
    }
}

/// Waits until a transaction is mined, but not for ever.
pub(crate) async fn mined(
    sent: PendingTransactionBuilder<Ethereum>,
    within: Duration,
) -> Result<TransactionReceipt, RollupError> {
    let tx_hash = *sent.tx_hash();
    let receipt = tokio::time::timeout(within, sent.get_receipt()).await;
    Ok(receipt.map_err(|_| RollupError::NotMined { tx_hash, seconds: within.as_secs() })??)
}

/// The gas that a call needs, which may be no more than `limit`.
///
/// It is asked for the next block, not the newest: on a chain that makes blocks on demand the newest may be hours old, and would
/// refuse a batch of now; and a transaction that waits already counts. A node that knows no next block is asked for the newest.
pub(crate) async fn estimate<P: Provider, C: SolCall>(
    call: &CallBuilder<&P, PhantomData<C>, Ethereum>,
    limit: u64,
) -> Result<u64, RollupError> {
    let next = call.clone().block(BlockId::pending()).estimate_gas().await.map_err(RollupError::from);
    let needed = match next {
        Err(error) if error.revert().is_none() => call.estimate_gas().await?,
        next => next?,
    };
    if needed > limit { Err(RollupError::TooMuchGas { needed, limit }) } else { Ok(needed) }
}
