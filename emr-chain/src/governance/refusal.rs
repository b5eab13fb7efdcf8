//! Why the contract of the offices refuses, and what to do next.

use alloy::{
    primitives::{Address, B256, U256},
    sol_types::SolInterface,
};

use crate::bindings::governance::Governance::GovernanceErrors as Abi;

/// The reason of the contract that holds the offices.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GovernanceRefusal {
    /// The caller lacks the role.
    #[error(
        "{0} does not hold this office: use the key of a registrar to propose, and of a guardian to halt, resume or veto"
    )]
    NotInOffice(Address),
    /// Only a proposal that has waited does this.
    #[error("{0} cannot do this: a registrar must propose it, and it waits 14 days")]
    ThroughTimelockOnly(Address),
    /// The proposal is not in a state for this.
    #[error("proposal {0} does not wait, or not long enough yet, or was executed or cancelled")]
    ProposalState(B256),
    /// Another proposal must come first.
    #[error("proposal {0} must be executed first")]
    Predecessor(B256),
    /// The delay of a proposal is too short.
    #[error("a proposal waits at least {minimum} seconds, not {delay}")]
    DelayTooShort {
        /// What was asked for, in seconds.
        delay: U256,
        /// The least, in seconds.
        minimum: U256,
    },
    /// The new delay is out of range.
    #[error("proposals wait from 14 to 90 days, not {0} seconds")]
    DelayOutOfRange(U256),
    /// The role is neither a registrar's nor a guardian's.
    #[error("only registrars and guardians come and go: role {0} is fixed")]
    FixedRole(B256),
    /// The proposal does something that no proposal may do.
    #[error("a proposal calls only the contract of the offices, and sends no ether: this one is for {0}")]
    OtherTarget(Address),
    /// A call in the proposal failed without a reason, or the proposal is malformed.
    #[error("a call of the proposal fails, or its parts do not fit together")]
    CallFails,
    /// There must be a registrar.
    #[error("the last registrar stays until there is another one: propose a successor first")]
    RegistrarRequired,
    /// The threshold does not fit the number of guardians.
    #[error(
        "{threshold} of {guardians} guardians cannot be asked for: change guardians and threshold in an order that fits"
    )]
    Threshold {
        /// How many would have to agree.
        threshold: U256,
        /// How many there are.
        guardians: U256,
    },
    /// Somebody else made the proposal.
    #[error("{0} did not make this proposal: its registrar withdraws it, or guardians cancel it")]
    NotProposer(Address),
    /// The account is no active hospital.
    #[error("{0} is no hospital that is admitted and not suspended")]
    NotActiveHospital(Address),
    /// The hospital is too new.
    #[error("a hospital votes when it was active for 30 days: this one from {0} (Unix time) on")]
    VotesFrom(u64),
    /// The hospital has not the majority, or not for two days.
    #[error("hospital {account} has not had the majority for two days{}", later(.from))]
    NotElected {
        /// The hospital.
        account: u64,
        /// From when on it could take the office, Unix seconds; 0 without a majority.
        from: u64,
    },
    /// No offer is for the caller.
    #[error("the sequencer's office was not offered to {0}, or {0} does not hold it")]
    NotOffered(Address),
    /// The next halt can only begin later.
    #[error("settlement was halted before: the next halt can begin at {from} (Unix time)")]
    HaltedBefore {
        /// From this second on.
        from: u64,
    },
    /// Nothing is halted.
    #[error("settlement is not halted")]
    NotHalted,
    /// The bond is locked.
    #[error("the bond stays until 30 days after the last term as sequencer")]
    BondLocked,
    /// There is no bond.
    #[error("nothing is left of the bond of {0}, or nothing is paid for late entries")]
    NoBond(Address),
    /// The entry takes nothing from the bond.
    #[error("entry {0} was not settled late, is older than 150 days, is not this account's, or was paid already")]
    NoForfeit(u64),
    /// Only the rollup calls this.
    #[error("only the rollup itself does this")]
    RollupOnly,
}

/// When a hospital with a majority can take the office.
fn later(from: &u64) -> String {
    if *from == 0 { String::new() } else { format!(": try again from {from} (Unix time) on") }
}

impl GovernanceRefusal {
    /// Decodes revert data; `None` if they are none of this contract's.
    pub(crate) fn decode(data: &[u8]) -> Option<Self> {
        let time = |time: U256| time.saturating_to::<u64>();
        Some(match Abi::abi_decode(data).ok()? {
            Abi::AccessControlUnauthorizedAccount(e) => Self::NotInOffice(e.account),
            Abi::TimelockRequired(e) => Self::ThroughTimelockOnly(e.caller),
            Abi::TimelockUnauthorizedCaller(e) => Self::ThroughTimelockOnly(e.caller),
            Abi::TimelockUnexpectedOperationState(e) => Self::ProposalState(e.operationId),
            Abi::TimelockUnexecutedPredecessor(e) => Self::Predecessor(e.predecessorId),
            Abi::TimelockInsufficientDelay(e) => Self::DelayTooShort { delay: e.delay, minimum: e.minDelay },
            Abi::DelayOutOfRange(e) => Self::DelayOutOfRange(e.delay),
            Abi::FixedRole(e) => Self::FixedRole(e.role),
            Abi::NotThroughTimelock(e) => Self::OtherTarget(e.target),
            Abi::TimelockInvalidOperationLength(_) | Abi::FailedCall(_) => Self::CallFails,
            Abi::RegistrarRequired(_) => Self::RegistrarRequired,
            Abi::InvalidThreshold(e) => Self::Threshold { threshold: e.threshold, guardians: e.guardians },
            Abi::NotProposer(e) => Self::NotProposer(e.caller),
            Abi::NotActiveHospital(e) => Self::NotActiveHospital(e.caller),
            Abi::VotesFrom(e) => Self::VotesFrom(time(e.time)),
            Abi::NotElected(e) => Self::NotElected { account: e.candidate.to(), from: time(e.from) },
            Abi::NotOffered(e) => Self::NotOffered(e.caller),
            Abi::BondLocked(_) => Self::BondLocked,
            Abi::NoBond(e) => Self::NoBond(e.sequencer),
            Abi::NoForfeit(e) => Self::NoForfeit(e.index.to()),
            Abi::RollupRequired(_) => Self::RollupOnly,
            _ => return None,
        })
    }
}
