//! Which operations on a patient a Revoke needs first: they would have another effect after it.

use std::collections::{BTreeSet, HashSet};

use emr_core::GrantSlot;
use emr_rollup::{
    operation::{Action, Authority, SignedOperation},
    state::leaf::Target,
};

use super::Position;
use crate::mempool::{Acknowledged, Sequence, Turn};

/// The urgent operations on one patient, collected from the last acknowledged one to the first.
#[derive(Debug, Default)]
pub(super) struct UrgentOnPatient {
    /// The Revoke with a turn that was collected last. Operations before it that are needed first go with it.
    position: Option<Position>,
    /// The grants that they set or end.
    changed: BTreeSet<GrantSlot>,
    /// The grants that they use.
    used: BTreeSet<GrantSlot>,
    /// The leaves that they write without setting or ending a grant.
    written: HashSet<Target>,
}

impl UrgentOnPatient {
    /// Takes the operation before those already seen. Returns its position among the urgent operations, or `None` if it
    /// is not urgent.
    pub(super) fn take(&mut self, sequence: Sequence, open: &Acknowledged) -> Option<Position> {
        match &open.reserved {
            Some(reserved) => Some(self.take_revoke(sequence, reserved.turn, &open.signed)),
            None => self.take_if_needed(sequence, &open.signed),
        }
    }

    /// Takes a Revoke with a turn. It goes before the Revokes on its patient that follow it: after a reorganisation of L1, its turn may be higher
    /// than theirs.
    pub(super) fn take_revoke(&mut self, sequence: Sequence, turn: Turn, signed: &SignedOperation) -> Position {
        let turn = self.position.map_or(turn, |later| turn.min(later.turn));
        let position = Position { turn, revoke: sequence, sequence };
        self.position = Some(position);
        self.add(signed);
        position
    }

    fn take_if_needed(&mut self, sequence: Sequence, signed: &SignedOperation) -> Option<Position> {
        let position = self.position?;
        if self.commutes(signed) {
            return None;
        }
        self.add(signed);
        Some(Position { sequence, ..position })
    }

    fn add(&mut self, signed: &SignedOperation) {
        let action = &signed.operation.action;
        self.used.extend(signed.used_grant());
        match changed_grant(action) {
            Some(slot) => drop(self.changed.insert(slot)),
            None => drop(self.written.insert(action.target())),
        }
    }

    /// Whether an operation has the same effect before and after all of these.
    fn commutes(&self, signed: &SignedOperation) -> bool {
        let action = &signed.operation.action;
        match changed_grant(action) {
            // An emergency grant leaves the key directory as it is.
            Some(slot) if action.directories().is_none() => !self.changed.contains(&slot) && !self.used.contains(&slot),
            // Two other operations that change grants may both change the key directory.
            Some(slot) => self.changed.is_empty() && !self.used.contains(&slot),
            None => {
                signed.used_grant().is_none_or(|slot| !self.changed.contains(&slot))
                    && !self.written.contains(&action.target())
            }
        }
    }
}

/// The grant that an operation sets or ends, other than by using it.
fn changed_grant(action: &Action) -> Option<GrantSlot> {
    match (action.rule().authority, action.target()) {
        (Authority::Target(_), _) | (_, Target::Record(_)) => None,
        (Authority::None | Authority::UnlessOwn(_) | Authority::ManageUnlessOwn, Target::Grant(slot)) => Some(slot),
    }
}
