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
    /// The contract that says who holds the offices.
    pub fn governance(&self) -> GovernanceInstance<&P> {
        GovernanceInstance::new(self.governance_address(), self.provider())
    }

    /// It is the first contract that the rollup created, so its address follows from the rollup's (EIP-161: a contract's nonces begin with 1). An
    /// Ethereum node that lies cannot name another one, which would take bonds.
    pub fn governance_address(&self) -> Address {
        self.instance().contract.create(1)
    }

    /// Sends a call to the contract of the offices.
    async fn act<C: SolCall>(&self, call: C) -> Result<L1Receipt, RollupError> {
        Ok(L1Receipt::of(&self.act_with(call, U256::ZERO).await?))
    }

    async fn act_with<C: SolCall>(&self, call: C, value: U256) -> Result<TransactionReceipt, RollupError> {
        let to = self.governance_address();
        self.send(CallBuilder::new_sol(self.provider(), &to, &call).value(value)).await
    }
}
