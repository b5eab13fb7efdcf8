//! How the sequencer's office goes to somebody else.

use alloy::{
    primitives::{Address, aliases::U24},
    providers::Provider,
};
use emr_core::AccountIndex;

use crate::{
    bindings::governance::Governance::{acceptCall, countCall, installCall, offerCall, voteCall},
    registry::number,
    revert::RollupError,
    rollup::Rollup,
    transaction::L1Receipt,
};

impl<P: Provider> Rollup<P> {
    /// As a hospital that was active for 30 days, votes for a hospital as sequencer; with `None` for no one.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn vote(&self, candidate: Option<AccountIndex>) -> Result<L1Receipt, RollupError> {
        self.act(voteCall { candidate: candidate.map_or(U24::ZERO, number) }).await
    }

    /// Counts the votes for a hospital again, because the hospitals that count change with time. Anyone can do this.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn count_votes(&self, candidate: AccountIndex) -> Result<L1Receipt, RollupError> {
        self.act(countCall { candidate: number(candidate) }).await
    }

    /// As the hospital that has had the majority for two days, takes the sequencer's office.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn install(&self) -> Result<L1Receipt, RollupError> {
        self.act(installCall {}).await
    }

    /// As the sequencer, offers the office to another account, with the bond; with `None`, takes the offer back.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn offer_office(&self, to: Option<Address>) -> Result<L1Receipt, RollupError> {
        self.act(offerCall { to: to.unwrap_or_default() }).await
    }

    /// Takes the office that the sequencer offered, at once.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn accept_office(&self) -> Result<L1Receipt, RollupError> {
        let from = self.sequencer().await?;
        self.act(acceptCall { from }).await
    }
}
