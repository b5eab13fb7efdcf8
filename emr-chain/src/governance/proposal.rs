//! Proposals: changes that wait in OpenZeppelin's timelock.

use std::collections::BTreeMap;

use alloy::{
    primitives::{Address, B256, U256, keccak256},
    providers::Provider,
    sol_types::{SolEvent, SolValue},
};
use emr_core::UnixTime;
use serde::{Deserialize, Serialize};

use super::{change::Change, offices::time};
use crate::{
    bindings::governance::Governance::{CallSalt, CallScheduled, executeCall, scheduleCall, withdrawProposalCall},
    revert::RollupError,
    rollup::Rollup,
    settlement_layer::decode,
    transaction::L1Receipt,
};

/// A change that a registrar proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Its identifier: a hash of what it does and of its salt.
    pub id: B256,
    /// What it does. `None` for a call, or several calls, that this program does not propose: look at them yourself before you let it happen.
    pub change: Option<Change>,
    /// Makes the identifier differ from that of an earlier proposal of the same change.
    pub salt: B256,
    /// How it stands.
    pub state: ProposalState,
}

/// How a proposal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProposalState {
    /// It waits until this time. Then anyone can execute it for 30 days.
    Waiting(UnixTime),
    /// It was executed.
    Done,
    /// It was withdrawn, guardians cancelled it, nobody executed it in time, or its registrar was dismissed.
    Cancelled,
}

/// `OperationState.Unset` of OpenZeppelin's timelock.
const UNSET: u8 = 0;
/// `OperationState.Done`.
const DONE: u8 = 3;

/// The identifier that the timelock gives to a single call without predecessor.
fn operation_id(target: Address, data: &[u8], salt: B256) -> B256 {
    // `abi.encode` of several values is that of a tuple as parameters.
    keccak256((target, U256::ZERO, data.to_vec(), B256::ZERO, salt).abi_encode_params())
}

impl<P: Provider> Rollup<P> {
    /// As a registrar, proposes a change. It can be executed after the timelock's delay, at least 14 days. The salt makes its identifier
    /// differ from that of an earlier proposal of the same change. Returns the identifier.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn propose(&self, change: &Change, salt: B256) -> Result<(B256, L1Receipt), RollupError> {
        let governance = self.governance();
        let too_large = || RollupError::Malformed("a number is larger than the contract can hold".to_owned());
        let data = change.calldata().ok_or_else(too_large)?;
        let delay = governance.getMinDelay().call().await?;
        let target = *governance.address();
        let id = operation_id(target, &data, salt);
        let (value, predecessor) = (U256::ZERO, B256::ZERO);
        let receipt = self.act(scheduleCall { target, value, data, predecessor, salt, delay }).await?;
        Ok((id, receipt))
    }

    /// All proposals, in their order, with those that were executed or cancelled.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn proposals(&self) -> Result<Vec<Proposal>, RollupError> {
        self.proposals_in(self.deployed_at(), None).await
    }

    /// The proposal with this identifier; `None` if there is none.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn proposal(&self, id: B256) -> Result<Option<Proposal>, RollupError> {
        Ok(self.proposals_in(self.deployed_at(), Some(id)).await?.pop())
    }

    async fn proposals_in(&self, from_block: u64, only: Option<B256>) -> Result<Vec<Proposal>, RollupError> {
        let governance = self.governance();
        let events = |signature| {
            let filter = self.events(signature).address(*governance.address());
            only.map_or(filter.clone(), |id| filter.topic1(id))
        };
        let mut calls: BTreeMap<B256, Vec<CallScheduled>> = BTreeMap::new();
        let mut order = Vec::new();
        for log in self.logs(events(CallScheduled::SIGNATURE_HASH), from_block).await? {
            let call: CallScheduled = decode(&log)?;
            let of_it = calls.entry(call.id).or_default();
            if of_it.is_empty() {
                order.push(call.id);
            }
            of_it.push(call);
        }
        let mut salts = BTreeMap::new();
        for log in self.logs(events(CallSalt::SIGNATURE_HASH), from_block).await? {
            let salt: CallSalt = decode(&log)?;
            salts.insert(salt.id, salt.salt);
        }
        let mut proposals = Vec::new();
        for id in order {
            let salt = salts.get(&id).copied().unwrap_or_default();
            // A batch of calls, or a call with a predecessor, has another identifier, and is not what `execute` repeats.
            let call = calls[&id].first().filter(|call| operation_id(call.target, &call.data, salt) == id);
            let own = call.filter(|call| call.target == *governance.address() && call.value.is_zero());
            let change = own.and_then(|call| Change::of_calldata(&call.data));
            let state = match governance.getOperationState(id).call().await? {
                UNSET => ProposalState::Cancelled,
                DONE => ProposalState::Done,
                _ => ProposalState::Waiting(time(governance.getTimestamp(id).call().await?.saturating_to())?),
            };
            proposals.push(Proposal { id, change, salt, state });
        }
        Ok(proposals)
    }

    /// Executes a proposal that has waited long enough. Anyone can do this.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn execute(&self, change: &Change, salt: B256) -> Result<L1Receipt, RollupError> {
        let too_large = || RollupError::Malformed("a number is larger than the contract can hold".to_owned());
        let payload = change.calldata().ok_or_else(too_large)?;
        let target = self.governance_address();
        let (value, predecessor) = (U256::ZERO, B256::ZERO);
        self.act(executeCall { target, value, payload, predecessor, salt }).await
    }

    /// As the registrar who made a proposal, withdraws it.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn withdraw_proposal(&self, proposal: B256) -> Result<L1Receipt, RollupError> {
        self.act(withdrawProposalCall { proposal }).await
    }
}
