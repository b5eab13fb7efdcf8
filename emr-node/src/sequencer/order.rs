//! The order in which what waits goes into batches.
//!
//! Urgent is a Revoke with what must come before it on the same patient. Urgent and ordinary operations have half of each batch; what one
//! sort leaves free the other takes. Among the urgent, turns go round between patients, those first who were served longest ago, so that
//! nobody's many Revokes delay another's first. On one patient everything keeps its order where that matters.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use emr_core::{AccountIndex, GrantSlot};
use emr_rollup::{
    operation::{Action, Authority, SignedOperation},
    state::leaf::Target,
    version::CircuitVersion,
};

use crate::mempool::{Acknowledged, Sequence};

/// How many places of a batch either sort has for itself.
pub(super) const fn share(version: &CircuitVersion) -> usize {
    version.max_l2 / 2
}

/// Patient to the batch that last took an urgent operation on them.
pub(crate) type Served = BTreeMap<AccountIndex, u64>;

type Waiting<'a> = (Sequence, &'a Acknowledged);

/// What waits, sorted.
#[derive(Debug)]
pub(super) struct Queue<'a> {
    /// In the order of their turns.
    urgent: Vec<Waiting<'a>>,
    /// In the order of acknowledgement.
    ordinary: Vec<Waiting<'a>>,
}

impl<'a> Queue<'a> {
    pub(super) fn of(open: &'a BTreeMap<Sequence, Acknowledged>, served: &Served) -> Self {
        let urgent = urgent(open);
        let mut of_patient: BTreeMap<AccountIndex, VecDeque<Waiting<'a>>> = BTreeMap::new();
        let mut ordinary = Vec::new();
        for (sequence, open) in open {
            if urgent.contains(sequence) {
                of_patient.entry(open.signed.operation.patient).or_default().push_back((*sequence, open));
            } else {
                ordinary.push((*sequence, open));
            }
        }
        let mut turns: Vec<_> = of_patient.into_iter().collect();
        turns.sort_by_key(|(patient, waiting)| {
            (served.get(patient).copied().unwrap_or(0), waiting.front().map(|(sequence, _)| *sequence))
        });
        let mut urgent = Vec::new();
        while !turns.is_empty() {
            turns.retain_mut(|(_, waiting)| {
                urgent.extend(waiting.pop_front());
                !waiting.is_empty()
            });
        }
        Self { urgent, ordinary }
    }

    /// How many urgent operations there are up to the last one on a patient; all of them if there is none on the patient yet.
    pub(super) fn turn_of(&self, patient: AccountIndex) -> usize {
        let last = self.urgent.iter().rposition(|(_, open)| open.signed.operation.patient == patient);
        last.map_or(self.urgent.len(), |last| last + 1)
    }

    /// The whole, half of each batch for either sort. An ordinary operation waits for the urgent ones on its patient that were
    /// acknowledged before it.
    pub(super) fn in_order(self, share: usize) -> Vec<Waiting<'a>> {
        let mut first: BTreeMap<AccountIndex, BTreeSet<Sequence>> = BTreeMap::new();
        for (sequence, open) in &self.urgent {
            first.entry(open.signed.operation.patient).or_default().insert(*sequence);
        }
        let (mut urgent, mut ordinary) = (self.urgent.into_iter().peekable(), self.ordinary);
        let mut order = Vec::new();
        while urgent.peek().is_some() {
            for (sequence, open) in urgent.by_ref().take(share) {
                if let Some(waits) = first.get_mut(&open.signed.operation.patient) {
                    waits.remove(&sequence);
                }
                order.push((sequence, open));
            }
            let mut held = BTreeSet::new();
            let mut taken = 0;
            ordinary.retain(|(sequence, open)| {
                let patient = open.signed.operation.patient;
                let early = first.get(&patient).and_then(|waits| waits.first()).is_none_or(|waits| waits > sequence);
                // What comes after one that is held, on the same patient, is held too.
                let goes = taken < share && early && !held.contains(&patient);
                if goes {
                    taken += 1;
                    order.push((*sequence, *open));
                } else {
                    held.insert(patient);
                }
                !goes
            });
        }
        order.extend(ordinary);
        order
    }
}

/// Revokes, and what must come before them on the same patient.
fn urgent(open: &BTreeMap<Sequence, Acknowledged>) -> BTreeSet<Sequence> {
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
    urgent
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
