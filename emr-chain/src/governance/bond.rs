//! The sequencer's bond, and what overdue entries take from it.

use alloy::{
    primitives::{Address, U256, aliases::U56},
    providers::Provider,
    sol_types::SolEvent,
};

use super::offices::time;
use crate::{
    bindings::governance::Governance::{Forfeited, SettledLate, claimForfeitCall, depositBondCall, withdrawBondCall},
    queue::QueueName,
    revert::RollupError,
    rollup::Rollup,
    settlement_layer::{SettlementLayer, decode},
    transaction::L1Receipt,
};

/// What the owner of an overdue entry got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The sequencer whose bond paid.
    pub sequencer: Address,
    /// In wei.
    pub amount: U256,
    /// The transaction.
    pub receipt: L1Receipt,
}

impl<P: Provider> Rollup<P> {
    /// Adds to the bond of an account.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn deposit_bond(&self, sequencer: Address, amount: U256) -> Result<L1Receipt, RollupError> {
        Ok(L1Receipt::of(&self.act_with(depositBondCall { sequencer }, amount).await?))
    }

    /// Withdraws the caller's bond, 30 days after the caller's last term as sequencer.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn withdraw_bond(&self, to: Address) -> Result<L1Receipt, RollupError> {
        self.act(withdrawBondCall { to }).await
    }

    /// As the owner of an urgent entry that was overdue when it was settled, takes the forfeit from the bond of the sequencer in whose
    /// term it became overdue. Returns `None` if it was not settled late.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses, and another [`RollupError`] if the node does not have the events.
    pub async fn claim_forfeit(&self, index: u64, to: Address) -> Result<Option<Claim>, RollupError> {
        let governance = self.governance();
        let filter = self.events(SettledLate::SIGNATURE_HASH).address(*governance.address());
        let mut late = None;
        for log in self.logs(filter, self.deployed_at()).await? {
            let event: SettledLate = decode(&log)?;
            if (event.first.to::<u64>()..event.end.to()).contains(&index) {
                late = Some(event.late);
            }
        }
        let Some(late) = late else { return Ok(None) };
        let entry = self.queue_entries(QueueName::Urgent, index..index + 1, self.deployed_at()).await?;
        let entry = entry.first().ok_or(RollupError::QueueEntryMissing { queue: QueueName::Urgent, index })?;
        let overdue = self.overdue_from(QueueName::Urgent, index, &entry.words).await?;
        let overdue = overdue.ok_or(RollupError::QueueEntryMissing { queue: QueueName::Urgent, index })?;
        // The last term that began before it was overdue. Terms are in order.
        let (mut term, mut after) = (U256::ZERO, governance.terms().call().await?);
        while after - term > U256::ONE {
            let middle = term + (after - term) / U256::from(2);
            let began = time(governance.termAt(middle).call().await?.from.to())? <= overdue;
            *if began { &mut term } else { &mut after } = middle;
        }
        let words = entry.words.map(U256::from_be_bytes);
        let call = claimForfeitCall { late, index: U56::from(index).to(), words, term, to };
        let mined = self.act_with(call, U256::ZERO).await?;
        let event = mined.decoded_log::<Forfeited>();
        let event = event.ok_or_else(|| RollupError::Malformed("a claim without its event".to_owned()))?;
        let (sequencer, amount) = (event.data.sequencer, event.data.amount);
        Ok(Some(Claim { sequencer, amount, receipt: L1Receipt::of(&mined) }))
    }
}
