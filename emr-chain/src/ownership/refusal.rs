//! Why the contract refuses a change of owner or guardians.

use crate::bindings::EmrRollup::EmrRollupErrors as Abi;

/// Why the contract refuses a change of an account's owner or guardians.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OwnershipRefusal {
    /// The account waits for admission.
    #[error("account {0} waits for admission: its owner cannot change before, but can withdraw the registration")]
    NotAdmitted(u64),
    /// The guardians cannot be set.
    #[error(
        "guardians are at most 16 other accounts, and at least one and at most all of them must agree: name others"
    )]
    InvalidGuardians,
    /// The account has other guardians.
    #[error("account {0} has other guardians now, or none: let them agree to a new request")]
    OtherGuardians(u64),
    /// Too few guardians agreed.
    #[error("{needed} guardians must agree, but {given} did: collect more approvals")]
    ApprovalsMissing {
        /// How many must.
        needed: u64,
        /// How many did.
        given: u64,
    },
    /// No recovery waits.
    #[error("no recovery of account {0} waits")]
    NoRecovery(u64),
    /// The recovery's delay is not over.
    #[error("the owner can cancel the recovery for seven days: finish it from second {0} on (Unix time)")]
    RecoveryWaits(u64),
}

impl OwnershipRefusal {
    /// The refusal of a contract's error; `None` if it is about something else.
    pub(crate) fn of(error: &Abi) -> Option<Self> {
        let account = |account: alloy::primitives::aliases::U24| account.to();
        Some(match error {
            Abi::NotAdmitted(e) => Self::NotAdmitted(account(e.account)),
            Abi::InvalidGuardians(_) => Self::InvalidGuardians,
            Abi::OtherGuardians(e) => Self::OtherGuardians(account(e.account)),
            Abi::ApprovalsMissing(e) => {
                Self::ApprovalsMissing { needed: e.needed.saturating_to(), given: e.given.saturating_to() }
            }
            Abi::NoRecovery(e) => Self::NoRecovery(account(e.account)),
            Abi::RecoveryWaits(e) => Self::RecoveryWaits(e.ripeAt.to()),
            _ => return None,
        })
    }
}
