//! The order in which what waits goes into batches.

use std::collections::{BTreeMap, BTreeSet};

use emr_core::{AccountIndex, GrantSlot};
use emr_rollup::operation::{Action, Kind, SignedOperation};

use crate::mempool::{Acknowledged, Sequence};

/// Revokes first, with what must come before them on the same patient; then everything else. Both in the order of
/// acknowledgement.
pub(super) fn in_order(open: &BTreeMap<Sequence, Acknowledged>) -> Vec<(Sequence, &Acknowledged)> {
    let mut patients: BTreeMap<AccountIndex, Vec<(Sequence, &SignedOperation)>> = BTreeMap::new();
    for (sequence, open) in open {
        patients.entry(open.signed.operation.patient).or_default().push((*sequence, &open.signed));
    }
    let mut urgent = BTreeSet::new();
    for operations in patients.values() {
        let mut ahead: Vec<&SignedOperation> = Vec::new();
        for (sequence, signed) in operations.iter().rev() {
            let ends = signed.operation.action.kind() == Kind::Revoke;
            if ends || ahead.iter().any(|later| !commute(signed, later)) {
                ahead.push(signed);
                urgent.insert(*sequence);
            }
        }
    }
    let (first, rest): (Vec<_>, Vec<_>) =
        open.iter().map(|(sequence, open)| (*sequence, open)).partition(|(sequence, _)| urgent.contains(sequence));
    [first, rest].concat()
}

/// Whether two operations on one patient have the same effect in either order.
fn commute(one: &SignedOperation, other: &SignedOperation) -> bool {
    let (a, b) = (&one.operation.action, &other.operation.action);
    match (changed_grant(a), changed_grant(b)) {
        // Both may change the key directory.
        (Some(_), Some(_)) => false,
        (Some(slot), None) => used_grant(other) != Some(slot),
        (None, Some(slot)) => used_grant(one) != Some(slot),
        (None, None) => a.target() != b.target(),
    }
}

fn changed_grant(action: &Action) -> Option<GrantSlot> {
    match *action {
        Action::SetGrant { slot, .. } | Action::Revoke { slot, .. } => Some(slot),
        Action::PutRecord { .. } | Action::Tombstone { .. } | Action::RequestAccess { .. } => None,
    }
}

/// The grant that an operation needs.
pub(super) fn used_grant(signed: &SignedOperation) -> Option<GrantSlot> {
    let operation = &signed.operation;
    match operation.action {
        Action::RequestAccess { slot, .. } => Some(slot),
        Action::PutRecord { .. } | Action::Tombstone { .. } => {
            signed.authority.filter(|_| operation.signer != operation.patient)
        }
        Action::SetGrant { .. } | Action::Revoke { .. } => None,
    }
}

#[cfg(test)]
mod tests;
