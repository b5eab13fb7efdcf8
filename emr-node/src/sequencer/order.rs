//! The order in which what waits goes into batches.

use std::collections::{BTreeMap, BTreeSet};

use emr_core::{AccountIndex, GrantSlot};
use emr_rollup::{
    operation::{Action, Authority, SignedOperation},
    state::leaf::Target,
};

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
            let ends = signed.operation.action.rule().ends_rights;
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
        (Some(slot), None) => other.used_grant() != Some(slot),
        (None, Some(slot)) => one.used_grant() != Some(slot),
        (None, None) => a.target() != b.target(),
    }
}

/// The grant that an operation writes otherwise than by using it.
fn changed_grant(action: &Action) -> Option<GrantSlot> {
    match (action.rule().authority, action.target()) {
        (Authority::Target(_), _) | (_, Target::Record(_)) => None,
        (Authority::None | Authority::UnlessOwn(_), Target::Grant(slot)) => Some(slot),
    }
}

#[cfg(test)]
mod tests;
