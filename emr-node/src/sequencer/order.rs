//! The order in which waiting operations go into batches.
//!
//! A Revoke that has a [`Turn`] is urgent, together with the operations that must come before it on the same patient. All other operations are
//! ordinary. Each kind has half of each batch. If one kind leaves places free, the other kind takes them. Two operations on the same patient
//! keep their order if the order changes their effect.

use std::collections::{BTreeMap, BTreeSet};

use emr_core::{AccountIndex, GrantSlot};
use emr_rollup::{
    operation::{Action, Authority, SignedOperation},
    state::leaf::Target,
    version::CircuitVersion,
};

use crate::mempool::{Acknowledged, Sequence, Turn};

/// How many places of a batch each kind has.
pub(super) const fn share(version: &CircuitVersion) -> usize {
    version.max_l2 / 2
}

type Waiting<'a> = (Sequence, &'a Acknowledged);

/// The open operations, sorted into urgent and ordinary ones.
#[derive(Debug)]
pub(super) struct Queue<'a> {
    /// In the order of their turns.
    urgent: Vec<(Turn, Waiting<'a>)>,
    /// In the order of acknowledgement.
    ordinary: Vec<Waiting<'a>>,
}

impl<'a> Queue<'a> {
    pub(super) fn of(open: &'a BTreeMap<Sequence, Acknowledged>) -> Self {
        let turns = urgent(open);
        let mut urgent = Vec::new();
        let mut ordinary = Vec::new();
        for (sequence, open) in open {
            match turns.get(sequence) {
                Some(turn) => urgent.push((*turn, (*sequence, open))),
                None => ordinary.push((*sequence, open)),
            }
        }
        // An operation that must come before a Revoke has the Revoke's turn, and was acknowledged earlier.
        urgent.sort_by_key(|(turn, (sequence, _))| (*turn, *sequence));
        Self { urgent, ordinary }
    }

    /// The urgent operations, with their turns.
    pub(super) fn urgent(&self) -> &[(Turn, Waiting<'a>)] {
        &self.urgent
    }

    /// All operations in order, with half of each batch for each kind. An ordinary operation waits for the urgent operations on its patient
    /// that were acknowledged before it.
    pub(super) fn in_order(self, share: usize) -> Vec<Waiting<'a>> {
        let mut first: BTreeMap<AccountIndex, BTreeSet<Sequence>> = BTreeMap::new();
        for (_, (sequence, open)) in &self.urgent {
            first.entry(open.signed.operation.patient).or_default().insert(*sequence);
        }
        let (mut urgent, mut ordinary) = (self.urgent.into_iter().peekable(), self.ordinary);
        let mut order = Vec::new();
        while urgent.peek().is_some() {
            for (_, (sequence, open)) in urgent.by_ref().take(share) {
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
                // If an operation is held, the later ordinary operations on the same patient are held too.
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

/// The Revokes that have a turn, and the operations that must come before them on the same patient. Such an operation gets the turn of the
/// Revoke.
fn urgent(open: &BTreeMap<Sequence, Acknowledged>) -> BTreeMap<Sequence, Turn> {
    let mut patients: BTreeMap<AccountIndex, Vec<(Sequence, &Acknowledged)>> = BTreeMap::new();
    for (sequence, open) in open {
        patients.entry(open.signed.operation.patient).or_default().push((*sequence, open));
    }
    let mut urgent = BTreeMap::new();
    for operations in patients.values() {
        let mut ahead = Ahead::default();
        for (sequence, open) in operations.iter().rev() {
            if let Some(turn) = ahead.take(&open.signed, open.turn) {
                urgent.insert(*sequence, turn);
            }
        }
    }
    urgent
}

/// How many operations become urgent with a new Revoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Along {
    /// The number of operations, including the Revoke.
    pub(super) all: usize,
    /// How many of them the patient signed.
    pub(super) own: usize,
}

/// How many operations would become urgent with a new Revoke.
pub(super) fn taken_along(open: &BTreeMap<Sequence, Acknowledged>, new: &SignedOperation) -> Along {
    let urgent = urgent(open);
    let mut ahead = Ahead::default();
    ahead.take(new, Some(0));
    let mut along = Along { all: 1, own: 1 };
    for (sequence, open) in open.iter().rev() {
        let operation = &open.signed.operation;
        if operation.patient == new.operation.patient
            && ahead.take(&open.signed, open.turn).is_some()
            && !urgent.contains_key(sequence)
        {
            along.all += 1;
            along.own += usize::from(operation.signer == operation.patient);
        }
    }
    along
}

/// The urgent operations on one patient, from the last one to the first.
#[derive(Default)]
struct Ahead<'a> {
    operations: Vec<&'a SignedOperation>,
    turn: Turn,
}

impl<'a> Ahead<'a> {
    /// Takes the operation before those already seen. Returns its turn if it is urgent.
    fn take(&mut self, signed: &'a SignedOperation, turn: Option<Turn>) -> Option<Turn> {
        if turn.is_none() && self.operations.iter().all(|later| commute(signed, later)) {
            return None;
        }
        self.turn = turn.unwrap_or(self.turn);
        self.operations.push(signed);
        Some(self.turn)
    }
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

/// The grant that an operation changes, other than by using it.
fn changed_grant(action: &Action) -> Option<GrantSlot> {
    match (action.rule().authority, action.target()) {
        (Authority::Target(_), _) | (_, Target::Record(_)) => None,
        (Authority::None | Authority::UnlessOwn(_), Target::Grant(slot)) => Some(slot),
    }
}

#[cfg(test)]
mod tests;
