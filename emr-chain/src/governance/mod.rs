//! Who holds the rollup's offices, and what each of them does: registrars propose changes, guardians halt settlement and cancel
//! proposals, hospitals vote for a sequencer. `docs/contracts.md` explains the rules.

mod bond;
mod change;
mod guardians;
mod offices;
mod proposal;
mod refusal;
mod succession;

use alloy::{
    contract::CallBuilder,
    primitives::{Address, U256},
    providers::Provider,
    rpc::types::TransactionReceipt,
    sol_types::SolCall,
};
pub use bond::Claim;
pub use change::Change;
pub use offices::{Halt, Offices};
pub use proposal::{Proposal, ProposalState};
pub use refusal::GovernanceRefusal;

use crate::{
    bindings::governance::Governance::GovernanceInstance, revert::RollupError, rollup::Rollup, transaction::L1Receipt,
};

impl<P: Provider> Rollup<P> {
    /// The contract that says who holds the offices. The rollup made it.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn governance(&self) -> Result<GovernanceInstance<&P>, RollupError> {
        Ok(GovernanceInstance::new(self.governance_address().await?, self.provider()))
    }

    async fn governance_address(&self) -> Result<Address, RollupError> {
        Ok(self.contract().governance().call().await?)
    }

    /// Sends a call to the contract of the offices.
    async fn act<C: SolCall>(&self, call: C) -> Result<L1Receipt, RollupError> {
        Ok(L1Receipt::of(&self.act_with(call, U256::ZERO).await?))
    }

    async fn act_with<C: SolCall>(&self, call: C, value: U256) -> Result<TransactionReceipt, RollupError> {
        let to = self.governance_address().await?;
        self.send(CallBuilder::new_sol(self.provider(), &to, &call).value(value)).await
    }
}
