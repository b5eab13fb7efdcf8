//! What became of operations that earlier runs signed.

use emr_core::{AccountIndex, UnixTime};
use emr_rollup::operation::{Kind, OperationId};

use crate::{error::ClientError, profile::outbox::Entry};

/// What became of an operation that an earlier run signed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// The node had not acknowledged it before, and acknowledged it now.
    Acknowledged,
    /// It waits for a batch.
    Waiting,
    /// It is in force.
    Settled {
        /// The batch that settled it.
        batch: u64,
    },
    /// A newer Revoke by this participant took its place.
    Replaced {
        /// The newer Revoke.
        by: OperationId,
    },
    /// The node returned it.
    Returned {
        /// The reason.
        reason: String,
    },
    /// The node refused it.
    Refused {
        /// The reason.
        reason: String,
    },
    /// It can no longer take effect.
    Lapsed,
}

/// An operation that has no effect this long after its validity ended never has one, in seconds. L1 takes a batch up to an hour after its time,
/// and finalizes it within minutes.
const LATEST_EFFECT: u64 = 3 * 3600;

impl Fate {
    /// The fate of an acknowledged operation that has no effect on L1 yet. The node may say that it waits as long as it likes; a revocation that
    /// the patient relies on must not wait for ever.
    pub(crate) fn without_effect(valid_until: UnixTime, now: UnixTime) -> Self {
        if valid_until.saturating_add(LATEST_EFFECT) < now { Self::Lapsed } else { Self::Waiting }
    }

    /// Whether nothing more will happen to the operation.
    pub const fn is_final(&self) -> bool {
        !matches!(self, Self::Acknowledged | Self::Waiting)
    }
}

/// An operation that an earlier run signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// The operation's name.
    pub operation: OperationId,
    /// Its kind.
    pub kind: Kind,
    /// The patient whose subtree it changes.
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

/// An error if a revocation was returned or refused or has lapsed. It is an error and not a value, so that no caller
/// can overlook it.
pub(crate) fn lost_revocation(resumed: &[Resumed]) -> Result<(), ClientError> {
    let lost = resumed.iter().filter(|resumed| resumed.kind.ends_rights()).find_map(|resumed| match &resumed.fate {
        Fate::Returned { reason } | Fate::Refused { reason } => Some(reason.clone()),
        Fate::Lapsed => Some("no batch took it in time".to_owned()),
        _ => None,
    });
    lost.map_or(Ok(()), |reason| Err(ClientError::RevocationLost { reason }))
}

/// The fate of an operation that names an account which has another owner now.
pub(crate) fn other_owner(account: AccountIndex) -> Fate {
    Fate::Refused {
        reason: format!(
            "account {account} has another owner since L1 was reorganised, for whom this was not signed: do it again for the account that it was meant for"
        ),
    }
}

#[cfg(test)]
mod tests {
    use emr_core::OutOfRange;

    use super::*;

    /// A node that acknowledged a revocation, and never settles it, cannot call it waiting for ever: the patient learns that it is lost.
    #[test]
    fn a_revocation_without_effect_is_lost_when_its_time_is_over() -> Result<(), OutOfRange> {
        let valid_until = UnixTime::new(1_000_000)?;
        for (now, lost) in [(999_999, false), (1_000_001, false), (1_010_800, false), (1_010_801, true)] {
            let fate = Fate::without_effect(valid_until, UnixTime::new(now)?);
            let (operation, patient) = (OperationId::from_bytes([1; 32]), AccountIndex::new(4)?);
            let resumed = Resumed { operation, kind: Kind::Revoke, patient, fate };
            assert_eq!(lost_revocation(&[resumed]).is_err(), lost, "{now}");
        }
        Ok(())
    }
}
