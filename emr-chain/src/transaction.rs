//! Sends transactions: estimates gas for the next block, waits a bounded time, and decodes the contract's reason for a
//! failure.

use std::{marker::PhantomData, time::Duration};

use alloy::{
    contract::CallBuilder,
    eips::BlockId,
    network::Ethereum,
    primitives::B256,
    providers::{PendingTransactionBuilder, Provider},
    rpc::types::{TransactionReceipt, TransactionRequest},
    sol_types::SolCall,
};
use serde::{Deserialize, Serialize};

use crate::{
    bindings::EmrRollup,
    revert::RollupError,
    rollup::Rollup,
    submitter::{Order, SubmitError, Submitter},
};

/// The highest gas limit of a transaction (EIP-7825).
pub const TRANSACTION_GAS_CAP: u64 = 1 << 24;

/// The gas limit for relaying what another owner signed. A registration with an RSA-4096 key takes about 370,000, and half
/// as much again by the rules of forks to come, which charge more for new storage (533,000 with RSA-3072 on `geth --dev`
/// 1.17). Without a limit, an owner that is a contract could burn any amount while it checks its signature.
pub(crate) const RELAY_GAS_CAP: u64 = 1_000_000;

/// How long to wait for a transaction to be mined: fifteen blocks of mainnet.
pub(crate) const MINED_WITHIN: Duration = Duration::from_secs(180);

/// How often a call gets another nonce, because another program used the one that it had.
const NONCES: usize = 3;

/// A transaction that was mined and did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct L1Receipt {
    /// Its hash.
    pub tx_hash: B256,
    /// The block that holds it.
    pub block_number: u64,
    /// Gas it used.
    pub gas_used: u64,
}

impl L1Receipt {
    pub(crate) fn of(receipt: &TransactionReceipt) -> Self {
        Self {
            tx_hash: receipt.transaction_hash,
            block_number: receipt.block_number.unwrap_or_default(),
            gas_used: receipt.gas_used,
        }
    }
}

impl<P: Provider> Rollup<P> {
    /// Sends a call and waits a bounded time until it is mined. A failure gives the contract's own error, if possible
    /// before it costs gas.
    pub(crate) async fn send<C: SolCall>(
        &self,
        call: CallBuilder<&P, PhantomData<C>, Ethereum>,
    ) -> Result<TransactionReceipt, RollupError> {
        self.send_within(call, TRANSACTION_GAS_CAP).await
    }

    /// The same as [`Self::send`], with at most `limit` gas.
    pub(crate) async fn send_within<C: SolCall>(
        &self,
        call: CallBuilder<&P, PhantomData<C>, Ethereum>,
        limit: u64,
    ) -> Result<TransactionReceipt, RollupError> {
        let receipt = match self.submitter() {
            Some(submitter) => self.submit(submitter, &call, limit).await?,
            None => {
                let sent = call.clone().gas(gas(&call, limit).await?).send().await?;
                mined(sent, self.patience()).await?
            }
        };
        if receipt.status() {
            return Ok(receipt);
        }
        // Repeats the call on the state after the failed block. This gives the reason, unless the block changed the
        // state again.
        let at = receipt.block_number.unwrap_or_default();
        match call.from(receipt.from).block(at.into()).call_raw().await {
            Err(reason) => Err(reason.into()),
            Ok(_) => Err(RollupError::Failed(receipt.transaction_hash)),
        }
    }

    /// Sends a call through a submitter. The call is simulated before it gets a nonce, and when the Ethereum node has
    /// forgotten it. Otherwise a waiting transaction goes on as it is: a simulation would see it in the next block.
    async fn submit<C: SolCall>(
        &self,
        submitter: &Submitter,
        call: &CallBuilder<&P, PhantomData<C>, Ethereum>,
        limit: u64,
    ) -> Result<TransactionReceipt, RollupError> {
        let call = call.clone().from(submitter.account());
        let request: &TransactionRequest = call.as_ref();
        let value = request.value.unwrap_or_default();
        let to = request.to.and_then(|to| to.to().copied()).unwrap_or(self.instance().contract);
        let order = Order { to, value, input: call.calldata().clone() };
        // Only a settlement takes back another one, which L1 would refuse after it. Everything else goes in order.
        let first = |other: &[u8]| !(is_settlement(other) && is_settlement(&order.input));
        let mut turn = submitter.turn(self.patience()).await;
        for _ in 0..NONCES {
            if turn.is_forgotten(&order).await? {
                gas(&call, limit).await?;
            }
            if let Some(receipt) = turn.resume(&order, first).await? {
                return Ok(receipt);
            }
            if let Some(receipt) = turn.send(&order, gas(&call, limit).await?).await? {
                return Ok(receipt);
            }
        }
        Err(SubmitError::NonceUsed(submitter.account()).into())
    }

    /// Takes back the nonce of a settlement that waits, if there is a submitter and one waits. The caller knows that no
    /// settlement is wanted. Takes one step, and does not wait until the nonce is free.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node fails, or if a higher fee would be above the limit.
    pub async fn withdraw_settlement(&self) -> Result<(), RollupError> {
        let Some(submitter) = self.submitter() else { return Ok(()) };
        submitter.withdraw(is_settlement).await
    }
}

fn is_settlement(calldata: &[u8]) -> bool {
    calldata.starts_with(&EmrRollup::settleCall::SELECTOR)
}

/// The gas limit of a call: what it needs and a fifth more, because the state may change after the estimate.
async fn gas<P: Provider, C: SolCall>(
    call: &CallBuilder<&P, PhantomData<C>, Ethereum>,
    limit: u64,
) -> Result<u64, RollupError> {
    let needed = estimate(call, limit).await?;
    Ok((needed + needed / 5).min(limit))
}

/// Waits a bounded time until a transaction is mined.
pub(crate) async fn mined(
    sent: PendingTransactionBuilder<Ethereum>,
    within: Duration,
) -> Result<TransactionReceipt, RollupError> {
    let tx_hash = *sent.tx_hash();
    let receipt = tokio::time::timeout(within, sent.get_receipt()).await;
    Ok(receipt.map_err(|_| RollupError::NotMined { tx_hash, seconds: within.as_secs() })??)
}

/// The gas that a call needs, at most `limit`.
///
/// The estimate is for the next block, not the newest one. On a chain that makes blocks on demand, the newest block may
/// be hours old, and the contract would refuse a batch with the current time. Also, the next block includes waiting
/// transactions. If a node has no next block, the estimate is for the newest one.
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
