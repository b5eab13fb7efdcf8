//! Delegates: accounts that manage a patient's grants under a grant with MANAGE. What the node demands of them beyond the statement, and what
//! it tells them.
//!
//! The statement keeps a delegate within their own grant. The node sees to it that a delegate neither fills the patient's slots nor the queue of
//! operations on the patient, and that nothing counts under a grant that the patient has signed away.

use std::collections::{BTreeMap, BTreeSet};

use emr_api::{DelegatedGrant, ManagedGrants, ManagedSlot, MedicalProof, OperationStatus};
use emr_core::{AccountIndex, Class, GrantSlot, Rights, UnixTime};
use emr_rollup::{
    operation::{Action, Authority, DirectoryCommitment, SignedOperation},
    state::{
        leaf::{GrantLeaf, Target},
        ledger::Ledger,
    },
};

use crate::{
    mempool::{Acknowledged, Mempool, Pointer, Sequence},
    request_error::{RequestError, RequestErrorKind},
    state::{NodeState, history::Delegated},
};

/// How many operations of delegates may wait on one patient. A patient's Revoke names a version that is further ahead.
const WAITING: usize = 8;
/// How many grants of one delegate for one patient the node takes within a day.
const A_DAY: usize = 50;
/// If this many slots of a patient hold a grant, delegates open no further one: the rest is for the patient.
const HELD: usize = 480;

/// How many of a slot's newest grants are looked at: the one in the settled state, the one in the soft state, and some that may come back after a
/// reorganisation of L1.
const NEWEST: usize = 4;
/// Of how many key directories the ended grants are shown, for each class: with 16 classes, at most 64 ended grants.
const DIRECTORIES: usize = 4;

/// Which ended grants a patient is shown: for each class, one under each of the newest key directories of which delegates handed on keys.
///
/// These are enough. Epochs never go back, so a class whose epoch is later than in the newest of these directories is later than in all of them.
/// The bound does not count grants, so a delegate cannot push one out with many others. One directory would do if operations were always settled in
/// the order of their acknowledgement.
#[derive(Debug, Default)]
struct EndedKeys {
    shown: BTreeMap<Class, BTreeSet<DirectoryCommitment>>,
}

impl EndedKeys {
    fn lacks_class(&self, directory: DirectoryCommitment, class: Class) -> bool {
        let shown = self.shown.get(&class);
        shown.is_none_or(|shown| shown.len() < DIRECTORIES && !shown.contains(&directory))
    }

    /// Whether a grant tells something that those before, which are newer, do not.
    fn lacks(&self, given: &Delegated) -> bool {
        given.keys.classes().any(|class| self.lacks_class(given.directory, class))
    }

    fn add(&mut self, given: &Delegated) {
        for class in given.keys.classes() {
            if self.lacks_class(given.directory, class) {
                self.shown.entry(class).or_default().insert(given.directory);
            }
        }
    }
}

/// Whether the slot of a leaf holds a grant.
fn holds(leaf: Option<&GrantLeaf>) -> bool {
    leaf.is_some_and(|leaf| leaf.grantee.is_some())
}

/// Whether a grant is within the bounds of one with MANAGE: in its classes, and without MANAGE itself.
fn is_within(leaf: &GrantLeaf, manage: &GrantLeaf) -> bool {
    let rights = Rights::READ | Rights::WRITE;
    rights.contains(leaf.rights) && leaf.scope.bits() & manage.scope.bits() == leaf.scope.bits()
}

impl NodeState {
    /// The grants under which an account manages the grants of a patient now, without what signed operations of the patient have taken away.
    fn managing(
        &self,
        delegate: AccountIndex,
        patient: AccountIndex,
        now: UnixTime,
    ) -> impl Iterator<Item = (GrantSlot, GrantLeaf)> {
        let own = self.live_grants(patient, delegate, now);
        own.filter(move |(_, grant)| grant.grantee == Some(delegate) && grant.rights.contains(Rights::MANAGE))
    }

    fn no_delegate(&self, account: AccountIndex, patient: AccountIndex) -> RequestError {
        let kind = match self.history.knows(patient, account) {
            true => RequestErrorKind::Revoked,
            false => RequestErrorKind::Forbidden,
        };
        RequestError::new(
            kind,
            format!(
                "you hold no grant that lets you manage the grants of patient {patient}: ask the patient to name you"
            ),
        )
    }

    /// Checks what the node demands of a delegate's operation, whatever its slot holds.
    ///
    /// # Errors
    /// [`RequestError`] that says what is wrong.
    pub(crate) fn check_delegate(&self, signed: &SignedOperation, now: UnixTime) -> Result<(), RequestError> {
        let operation = &signed.operation;
        if !operation.is_by_delegate() {
            return Ok(());
        }
        let (delegate, patient) = (operation.signer, operation.patient);
        let mut managing = self.managing(delegate, patient, now);
        let manage = managing.find(|(slot, _)| Some(*slot) == signed.authority);
        // A signed Revoke of the patient counts even if it expires before it is settled.
        let (_, manage) = manage.ok_or_else(|| self.no_delegate(delegate, patient))?;
        let grant = match operation.action {
            Action::SetGrant(set) => Some(set.leaf),
            _ => None,
        };
        if grant.is_some_and(|grant| !is_within(&grant, &manage) || grant.not_after > manage.not_after) {
            return Err(RequestError::refused(
                "the grant goes beyond yours: in its classes, in its end, or with MANAGE",
            ));
        }
        // The patient's program needs the reader's key.
        if let Some(reader) = grant.and_then(|grant| grant.grantee)
            && self.soft.identity(reader).is_none()
        {
            return Err(RequestError::refused(format!("account {reader} is not registered: check the number")));
        }
        let waits = |open: &Acknowledged| open.signed.operation.is_by_delegate();
        if self.open.on_patient(patient).filter(|(_, open)| waits(open)).count() >= WAITING {
            return Err(RequestError::unavailable(format!(
                "{WAITING} operations of delegates of patient {patient} wait for a batch: try again when one of them is settled"
            )));
        }
        if grant.is_some() && self.history.given_by(patient, delegate, now) >= A_DAY {
            return Err(RequestError::refused(format!(
                "a delegate may give {A_DAY} grants of one patient within 24 hours: wait, or let the patient grant"
            )));
        }
        Ok(())
    }

    /// Checks what the node demands of the slot of a delegate's operation. The statement allows the operation.
    ///
    /// # Errors
    /// [`RequestError`] that says what is wrong.
    pub(crate) fn check_delegate_slot(&self, signed: &SignedOperation, now: UnixTime) -> Result<(), RequestError> {
        let operation = &signed.operation;
        let Target::Grant(slot) = operation.action.target() else { return Ok(()) };
        if !operation.is_by_delegate() {
            return Ok(());
        }
        let leaves = self.soft.patient(operation.patient);
        let leaf = leaves.and_then(|leaves| leaves.grants.get(&slot));
        let mut managing = self.managing(operation.signer, operation.patient, now);
        let manage = managing.find(|(slot, _)| Some(*slot) == signed.authority);
        // What the patient's signed operations left of the delegate's grant must cover the old grant too.
        if let (Some(leaf), Some((_, manage))) = (leaf, manage)
            && !is_within(leaf, &manage)
        {
            return Err(RequestError::refused("the slot holds a grant that is not yours to change"));
        }
        if holds(leaf) {
            return Ok(());
        }
        if operation.action.rule().ends_rights {
            return Err(RequestError::refused("the slot holds no grant: there is nothing to revoke"));
        }
        if self.held_slots(operation.patient) >= HELD {
            return Err(RequestError::refused(format!(
                "{HELD} slots of patient {} hold a grant, and the rest is for the patient: revoke grants that nobody needs",
                operation.patient
            )));
        }
        Ok(())
    }

    fn held_slots(&self, patient: AccountIndex) -> usize {
        let grants = self.soft.patient(patient).into_iter().flat_map(|leaves| leaves.grants.values());
        grants.filter(|leaf| holds(Some(leaf))).count()
    }

    /// What a delegate needs to change the grants of a patient.
    ///
    /// # Errors
    /// [`RequestError`] if the account is not a delegate of the patient, or the patient is not settled.
    pub(crate) fn managed_grants(
        &self,
        delegate: AccountIndex,
        patient: AccountIndex,
        now: UnixTime,
        proof: MedicalProof,
    ) -> Result<ManagedGrants, RequestError> {
        let managing: Vec<_> = self.managing(delegate, patient, now).map(|(_, grant)| grant).collect();
        if managing.is_empty() {
            return Err(self.no_delegate(delegate, patient));
        }
        let waits = || RequestError::unavailable("the patient is not settled yet: ask again when the next batch is");
        let leaves = self.settled.patient(patient).ok_or_else(waits)?;
        let subtree = self.settled.trees().subtree(patient).ok_or_else(waits)?;
        // A request for access uses a grant, and leaves it as it is.
        let changes = |open: &Acknowledged, slot: GrantSlot| {
            let action = &open.signed.operation.action;
            action.target() == Target::Grant(slot) && !matches!(action.rule().authority, Authority::Target(_))
        };
        let is_changing = |slot: GrantSlot| self.open.on_patient(patient).any(|(_, open)| changes(open, slot));
        let view = |slot: GrantSlot| ManagedSlot {
            slot,
            leaf: leaves.grants.get(&slot).copied(),
            path: subtree.grants.path(slot.get() as u32),
            waits: is_changing(slot),
        };
        let ordinary =
            leaves.grants.iter().filter(|(slot, leaf)| **slot >= GrantSlot::FIRST_ORDINARY && holds(Some(leaf)));
        let own = ordinary.filter(|(_, leaf)| managing.iter().any(|manage| is_within(leaf, manage)));
        let grants = own.map(|(slot, _)| view(*slot)).collect();
        // Patients take the lowest slots first. Delegates take the highest, so the two seldom want the same.
        let slots =
            (GrantSlot::FIRST_ORDINARY.get()..=GrantSlot::MAX).rev().filter_map(|slot| GrantSlot::new(slot).ok());
        let soft = self.soft.patient(patient);
        let is_free = |slot: &GrantSlot| {
            !holds(leaves.grants.get(slot))
                && !holds(soft.and_then(|leaves| leaves.grants.get(slot)))
                && !is_changing(*slot)
        };
        let free = slots.into_iter().find(is_free).filter(|_| self.held_slots(patient) < HELD).map(view);
        Ok(ManagedGrants { proof, grants, free })
    }

    /// The grants in force or waiting that delegates gave: for the patient all, for others their own. For the patient also those that ended and that
    /// [`EndedKeys`] chooses.
    ///
    /// # Errors
    /// [`RequestError`] if the account may not see the patient, or the disk fails.
    pub(crate) fn delegated_grants(
        &self,
        account: AccountIndex,
        patient: AccountIndex,
        now: UnixTime,
        mempool: &Mempool,
    ) -> Result<Vec<DelegatedGrant>, RequestError> {
        self.may_see(account, patient, now)?;
        let live: Vec<GrantSlot> = self.live_grants(patient, account, now).map(|(slot, _)| slot).collect();
        let (mut grants, mut ended) = (Vec::new(), EndedKeys::default());
        let mut newest: BTreeMap<GrantSlot, usize> = BTreeMap::new();
        for (sequence, given) in self.history.delegated(patient) {
            if account != patient && !live.contains(&given.slot) {
                continue;
            }
            let of_slot = newest.entry(given.slot).or_default();
            *of_slot += 1;
            let wanted = account == patient && ended.lacks(&given);
            if *of_slot > NEWEST && !wanted {
                continue;
            }
            match self.delegated_grant(patient, sequence, mempool)? {
                Some((grant, true)) => grants.push(grant),
                Some((grant, false)) if wanted && grant.batch.is_some() => {
                    ended.add(&given);
                    grants.push(grant);
                }
                Some((_, false)) | None => {}
            }
        }
        Ok(grants)
    }

    /// A grant that a delegate gave, and whether the slot holds it in one of the two states.
    fn delegated_grant(
        &self,
        patient: AccountIndex,
        sequence: Sequence,
        mempool: &Mempool,
    ) -> Result<Option<(DelegatedGrant, bool)>, RequestError> {
        let Some(known) = mempool.acknowledged(sequence)?.filter(|known| self.is_of_its_principals(known)) else {
            return Ok(None);
        };
        let Action::SetGrant(set) = known.signed.operation.action else { return Ok(None) };
        let is_held = |ledger: &Ledger| {
            let leaf = ledger.patient(patient).and_then(|leaves| leaves.grants.get(&set.slot));
            leaf.is_some_and(|leaf| *leaf == GrantLeaf { uses: leaf.uses, ..set.leaf })
        };
        let keys = match self.pointer(&known.signed.operation.salt) {
            Some(Pointer::HandedOn(at)) => Some(*at),
            _ => None,
        };
        let batch = match known.status {
            OperationStatus::Settled { batch } => Some(batch),
            _ => None,
        };
        let held = is_held(&self.settled) || is_held(&self.soft);
        Ok(Some((DelegatedGrant { signed: known.signed, keys, batch }, held)))
    }

    /// Whether the grant that came with keys is still in its slot, settled or not.
    pub(crate) fn needs_delegated_keys(&self, patient: AccountIndex, slot: GrantSlot, leaf: &GrantLeaf) -> bool {
        [&self.settled, &self.soft].into_iter().any(|ledger| {
            let now = ledger.patient(patient).and_then(|leaves| leaves.grants.get(&slot));
            now.is_some_and(|now| now.version == leaf.version && now.salt == leaf.salt)
        })
    }
}

/// The slot of a delegate's grant that lets the grantee read. Such a grant comes with keys.
pub(crate) fn handed_on(signed: &SignedOperation) -> Option<GrantSlot> {
    let Action::SetGrant(set) = signed.operation.action else { return None };
    let reads = signed.operation.is_by_delegate() && set.leaf.rights.contains(Rights::READ);
    reads.then_some(set.slot)
}

#[cfg(test)]
mod tests {
    use emr_core::{ClassMask, OutOfRange};
    use emr_rollup::primitive::field::Fr;

    use super::*;

    fn given(directory: u64, keys: ClassMask) -> Result<Delegated, OutOfRange> {
        Ok(Delegated { slot: GrantSlot::new(70)?, directory: Fr::from(directory).into(), keys })
    }

    /// A delegate who gives many grants hides none that ended.
    #[test]
    fn a_few_ended_grants_tell_what_all_of_them_tell() -> Result<(), OutOfRange> {
        let (lab, imaging) = (ClassMask::from(Class::Laboratory), ClassMask::from(Class::Imaging));
        let both = [Class::Laboratory, Class::Imaging].into_iter().collect();
        let mut ended = EndedKeys::default();
        let mut shown = |directory, keys| -> Result<bool, OutOfRange> {
            let given = given(directory, keys)?;
            let lacks = ended.lacks(&given);
            if lacks {
                ended.add(&given);
            }
            Ok(lacks)
        };
        assert!(!shown(9, ClassMask::default())?, "it handed on no keys");
        assert!(shown(9, imaging)?);
        for _ in 0..1000 {
            assert!(!shown(9, imaging)?, "the same directory and class again");
        }
        assert!(shown(9, both)?, "another class");
        assert!(shown(8, imaging)? && shown(7, imaging)? && shown(6, imaging)?);
        assert!(!shown(5, imaging)?, "enough directories of this class");
        assert!(shown(5, both)? && shown(4, lab)? && shown(3, lab)?, "but not of the other one");
        assert!(!shown(2, both)?);
        Ok(())
    }
}
