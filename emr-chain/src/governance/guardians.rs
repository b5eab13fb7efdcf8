//! What guardians do. Each call is an agreement; the last one that is needed has the effect.

use alloy::{primitives::B256, providers::Provider};

use crate::{
    bindings::governance::Governance::{haltCall, resumeCall, vetoCall},
    revert::RollupError,
    rollup::Rollup,
    transaction::L1Receipt,
};

impl<P: Provider> Rollup<P> {
    /// As a guardian, agrees to halt settlement for 21 days.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn agree_to_halt(&self) -> Result<L1Receipt, RollupError> {
        self.act(haltCall {}).await
    }

    /// As a guardian, agrees to end a halt.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn agree_to_resume(&self) -> Result<L1Receipt, RollupError> {
        self.act(resumeCall {}).await
    }

    /// As a guardian, agrees to cancel a proposal.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn agree_to_veto(&self, proposal: B256) -> Result<L1Receipt, RollupError> {
        self.act(vetoCall { proposal }).await
    }
}
