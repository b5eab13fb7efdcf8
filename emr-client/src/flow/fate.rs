//! What became of operations that former runs had signed.

use emr_core::AccountIndex;
use emr_rollup::operation::{Kind, OperationId};

use crate::{error::ClientError, profile::outbox::Entry};

/// What became of an operation that a former run had signed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// It had not been acknowledged, and now is.
    Acknowledged,
    /// It waits for a batch.
    Waiting,
    /// It is in force.
    Settled {
        /// Since this batch.
        batch: u64,
    },
    /// A newer Revoke of this participant took its place.
    Replaced {
        /// The newer one.
        by: OperationId,
    },
    /// The node gave it back.
    Returned {
        /// Why.
        reason: String,
    },
    /// The node does not take it.
    Refused {
        /// Why.
        reason: String,
    },
    /// It can no longer take effect.
    Lapsed,
}

impl Fate {
    /// Whether nothing more will happen to it.
    pub const fn is_final(&self) -> bool {
        !matches!(self, Self::Acknowledged | Self::Waiting)
    }
}

/// An operation of a former run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// What it is called.
    pub operation: OperationId,
    /// Its kind.
    pub kind: Kind,
    /// On whose subtree.
    pub patient: AccountIndex,
    /// What became of it.
    pub fate: Fate,
}

impl Resumed {
    pub(crate) fn of(entry: &Entry, fate: Fate) -> Self {
        let draft = entry.draft();
        let operation = &draft.submission.signed.operation;
        Self { operation: draft.operation, kind: entry.kind(), patient: operation.patient, fate }
    }
}

/// Nobody who embeds this may miss that a revocation came to nothing.
pub(crate) fn lost_revocation(resumed: &[Resumed]) -> Result<(), ClientError> {
    let lost = resumed.iter().filter(|resumed| resumed.kind.ends_rights()).find_map(|resumed| match &resumed.fate {
        Fate::Returned { reason } | Fate::Refused { reason } => Some(reason.clone()),
        Fate::Lapsed => Some("no batch took it in time".to_owned()),
        _ => None,
    });
    lost.map_or(Ok(()), |reason| Err(ClientError::RevocationLost { reason }))
}

/// An operation of before names an account that is somebody else's now.
pub(crate) fn other_owner(account: AccountIndex) -> Fate {
    Fate::Refused {
        reason: format!(
            "account {account} has another owner since L1 was reorganised, for whom this was not signed: do it again for the account that it was meant for"
        ),
    }
}
