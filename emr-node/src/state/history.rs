//! What acknowledged operations mean for access, beyond the state that they lead to: which grants ended, and which sessions are open.

mod plain;

use std::{collections::BTreeMap, sync::Arc};

use emr_api::OperationStatus;
use emr_core::{AccountEpoch, AccountIndex, Class, ClassMask, GrantSlot, Rights, UnixTime, Version};
use emr_rollup::{
    operation::{Action, Authority, DirectoryCommitment, Operation, SetGrant, TakenAway},
    primitive::field::{self, Fr},
    state::{
        leaf::{GrantLeaf, Target},
        ledger::Ledger,
    },
};
use rpds::RedBlackTreeMapSync;

use crate::mempool::{Acknowledged, Sequence};

/// How long the session of an acknowledged RequestAccess is open. Seconds.
pub const SESSION_SECONDS: u64 = 24 * 3600;

/// A reader's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AccessSession {
    /// The RequestAccess.
    pub(crate) sequence: Sequence,
    /// The last second in which it is open.
    pub(crate) until: UnixTime,
    /// The grant that was used.
    pub(crate) slot: GrantSlot,
    /// That grant's version and salt: another grant needs another session.
    pub(crate) version: Version,
    pub(crate) salt: Fr,
}

impl AccessSession {
    /// Whether it was opened under this grant.
    pub(crate) fn is_under(&self, slot: GrantSlot, grant: &GrantLeaf) -> bool {
        self.slot == slot && self.version == grant.version && self.salt == grant.salt
    }
}

/// Derived from every acknowledged operation, and built again at each start: the part of the settled operations from a snapshot if there is one. A clone shares every patient's part with the original.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    patients: RedBlackTreeMapSync<AccountIndex, Arc<PatientHistory>>,
    /// By doctor: their emergency grants of the last day.
    emergencies: RedBlackTreeMapSync<AccountIndex, Arc<BTreeMap<Sequence, Emergency>>>,
}

/// An acknowledged BreakGlass. It counts for a day, whatever becomes of it.
#[derive(Clone, Copy, Debug)]
struct Emergency {
    patient: AccountIndex,
    acknowledged: UnixTime,
}

impl Emergency {
    /// How long it counts. Seconds.
    const COUNTS: u64 = 24 * 3600;

    fn counts(&self, now: UnixTime) -> bool {
        now <= self.acknowledged.saturating_add(Self::COUNTS)
    }
}

/// A grant that a delegate gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delegated {
    pub(crate) slot: GrantSlot,
    /// The key directory that its keys lead into.
    pub(crate) directory: DirectoryCommitment,
    /// The classes of the keys that came with it; none if it lets nobody read.
    pub(crate) keys: ClassMask,
}

impl Delegated {
    fn of(set: &SetGrant) -> Self {
        let keys = if set.leaf.rights.contains(Rights::READ) { set.leaf.scope } else { ClassMask::default() };
        Self { slot: set.slot, directory: set.directory_after, keys }
    }
}

/// What the operations on one patient mean for access.
#[derive(Clone, Debug, Default)]
struct PatientHistory {
    /// The highest version that a signed Revoke ends, by slot and by the patient's epoch in the Revoke. Holds even if the Revoke is never
    /// settled.
    ended: BTreeMap<GrantSlot, BTreeMap<AccountEpoch, Version>>,
    /// The same for the Revokes of delegates, each with the patient's epoch. They do not count any more once they gave way to an operation of the
    /// patient.
    ended_by_delegates: BTreeMap<GrantSlot, BTreeMap<Sequence, (AccountEpoch, Version)>>,
    /// The grants that delegates gave.
    delegated: BTreeMap<Sequence, Delegated>,
    /// The grants that delegates gave within the last day, with the delegate and the time of the acknowledgement.
    given: BTreeMap<Sequence, (AccountIndex, UnixTime)>,
    /// What signed SetGrants left of the versions that they replace, by slot, with the patient's epoch and the replaced version. Holds even if
    /// the SetGrant is never settled: what a patient took away does not come back.
    replaced: BTreeMap<GrantSlot, Vec<(AccountEpoch, Version, GrantLeaf)>>,
    /// The patient's epoch in the operation that wrote a grant, by slot, version and salt. Versions of a slot begin again after a forced
    /// revocation, which begins an epoch.
    written: BTreeMap<(GrantSlot, Version, [u8; 32]), AccountEpoch>,
    /// Every account that was ever granted anything, with the classes that it could read.
    granted: BTreeMap<AccountIndex, ClassMask>,
    /// By reader and class.
    sessions: BTreeMap<(AccountIndex, Class), Vec<AccessSession>>,
}

impl PatientHistory {
    /// Adds a grant that a delegate gave.
    fn add_delegated(&mut self, set: &SetGrant, sequence: Sequence, delegate: AccountIndex, at: UnixTime) {
        self.delegated.insert(sequence, Delegated::of(set));
        self.given.retain(|_, (_, given)| at <= given.saturating_add(Emergency::COUNTS));
        self.given.insert(sequence, (delegate, at));
    }
}

impl History {
    fn change(&mut self, patient: AccountIndex, change: impl FnOnce(&mut PatientHistory)) {
        super::change(&mut self.patients, patient, change);
    }

    /// Adds an operation that was executed on `ledger`. What it does here does not depend on its status.
    pub(crate) fn record(&mut self, sequence: Sequence, acknowledged: &Acknowledged, ledger: &Ledger) {
        let operation = &acknowledged.signed.operation;
        let action = &operation.action;
        self.take_away(sequence, operation);
        let signed_grant = action.signed_grant().ok().flatten();
        if let Some((slot, leaf)) = signed_grant
            && leaf.grantee.is_some()
        {
            self.change(operation.patient, |history| {
                let written = history.written.entry(grant_id(slot, &leaf)).or_insert(operation.patient_epoch);
                *written = operation.patient_epoch.min(*written);
            });
        }
        if matches!(action, Action::BreakGlass(_)) {
            let emergency = Emergency { patient: operation.patient, acknowledged: acknowledged.acknowledged };
            super::change(&mut self.emergencies, operation.signer, |emergencies| {
                emergencies.retain(|_, known| known.counts(emergency.acknowledged));
                emergencies.insert(sequence, emergency);
            });
            // The patient granted nothing.
            return;
        }
        if let Some((_, leaf)) = signed_grant
            && let Some(grantee) = leaf.grantee
        {
            self.change(operation.patient, |history| {
                let classes = history.granted.entry(grantee).or_default();
                if leaf.rights.contains(Rights::READ) {
                    *classes = ClassMask::from_bits(classes.bits() | leaf.scope.bits());
                }
            });
        }
        if let Action::SetGrant(set) = action
            && operation.is_by_delegate()
        {
            let (delegate, at) = (operation.signer, acknowledged.acknowledged);
            self.change(operation.patient, |history| history.add_delegated(set, sequence, delegate, at));
        }
        let used = (action.rule().authority, action.target(), action.purpose());
        if let (Authority::Target(_), Target::Grant(slot), Some(purpose)) = used {
            let grant = ledger.patient(operation.patient).and_then(|leaves| leaves.grants.get(&slot));
            let Some((version, salt)) = grant.map(|grant| (grant.version, grant.salt)) else { return };
            let until = acknowledged.acknowledged.saturating_add(SESSION_SECONDS);
            self.change(operation.patient, |history| {
                // Each new session for a patient's records removes the lapsed sessions for that patient.
                history.sessions.retain(|_, sessions| {
                    sessions
                        .retain(|session| session.until >= acknowledged.acknowledged && session.sequence != sequence);
                    !sessions.is_empty()
                });
                let sessions = history.sessions.entry((operation.signer, purpose.class)).or_default();
                sessions.push(AccessSession { sequence, until, slot, version, salt });
            });
        }
    }

    /// Adds what a signed operation ends or narrows. It holds whatever the operation's later status is. Only what a delegate ended does not
    /// hold any more if the operation gave way to one of the patient.
    pub(crate) fn deny(&mut self, sequence: Sequence, acknowledged: &Acknowledged) {
        let operation = &acknowledged.signed.operation;
        let gave_way = matches!(acknowledged.status, OperationStatus::Replaced { .. }) && operation.is_by_delegate();
        if !gave_way || !matches!(operation.action.takes_away(), Some(TakenAway::Grant { .. })) {
            self.take_away(sequence, operation);
        }
    }

    fn take_away(&mut self, sequence: Sequence, operation: &Operation) {
        let epoch = operation.patient_epoch;
        match operation.action.takes_away() {
            Some(TakenAway::Grant { slot, version }) if operation.is_by_delegate() => {
                self.change(operation.patient, |history| {
                    history.ended_by_delegates.entry(slot).or_default().insert(sequence, (epoch, version));
                });
            }
            Some(TakenAway::Grant { slot, version }) => {
                self.change(operation.patient, |history| {
                    let ended = history.ended.entry(slot).or_default().entry(epoch).or_insert(Version::ZERO);
                    *ended = version.max(*ended);
                });
            }
            Some(TakenAway::Beyond { slot, version, leaf })
                if operation.signer == operation.patient && version > Version::ZERO =>
            {
                self.change(operation.patient, |history| {
                    let replaced = history.replaced.entry(slot).or_default();
                    if !replaced.contains(&(epoch, version, leaf)) {
                        replaced.push((epoch, version, leaf));
                    }
                });
            }
            Some(TakenAway::Beyond { .. }) | None => {}
        }
    }

    /// Call this when an operation on a patient is returned. The session that it opened is closed. The grants that it ended stay ended.
    pub(crate) fn forget(&mut self, patient: AccountIndex, sequence: Sequence) {
        if self.patients.contains_key(&patient) {
            self.change(patient, |history| {
                for sessions in history.sessions.values_mut() {
                    sessions.retain(|session| session.sequence != sequence);
                }
            });
        }
    }

    /// Call this when an operation of a delegate gives way to one of the patient. It ends nothing any more.
    pub(crate) fn give_way(&mut self, patient: AccountIndex, sequence: Sequence) {
        self.forget(patient, sequence);
        if self.patients.contains_key(&patient) {
            self.change(patient, |history| {
                history.ended_by_delegates.retain(|_, ended| {
                    ended.remove(&sequence);
                    !ended.is_empty()
                });
            });
        }
    }

    /// The part of a grant that no signed operation has taken away. `None` if a signed Revoke ended the grant, or if a signed SetGrant gave its
    /// slot to somebody else. An operation takes nothing from a grant of a later epoch of the patient.
    pub(crate) fn left_of(&self, patient: AccountIndex, slot: GrantSlot, grant: &GrantLeaf) -> Option<GrantLeaf> {
        let Some(history) = self.patients.get(&patient) else { return Some(*grant) };
        // If the epoch is not known, every operation counts.
        let written = history.written.get(&grant_id(slot, grant)).copied();
        let counts = |epoch: &AccountEpoch| written.is_none_or(|written| written <= *epoch);
        let mut ended = history.ended.get(&slot).into_iter().flatten();
        if ended.any(|(epoch, version)| counts(epoch) && grant.version <= *version) {
            return None;
        }
        let mut by_delegates = history.ended_by_delegates.get(&slot).into_iter().flat_map(|ended| ended.values());
        if by_delegates.any(|(epoch, version)| counts(epoch) && grant.version <= *version) {
            return None;
        }
        let mut left = *grant;
        for (epoch, version, limit) in history.replaced.get(&slot).into_iter().flatten() {
            if !counts(epoch) || grant.version > *version {
                continue;
            }
            if limit.grantee != grant.grantee {
                return None;
            }
            left.scope = ClassMask::from_bits(left.scope.bits() & limit.scope.bits());
            left.rights = Rights::from_bits(left.rights.bits() & limit.rights.bits()).unwrap_or_default();
            left.not_after = left.not_after.min(limit.not_after);
        }
        Some(left)
    }

    /// All grants that delegates gave for a patient, the newest first.
    pub(crate) fn delegated(&self, patient: AccountIndex) -> impl Iterator<Item = (Sequence, Delegated)> {
        let delegated = self.patients.get(&patient).into_iter().flat_map(|history| history.delegated.iter().rev());
        delegated.map(|(sequence, given)| (*sequence, *given))
    }

    /// How many grants a delegate gave for a patient within the last day.
    pub(crate) fn given_by(&self, patient: AccountIndex, delegate: AccountIndex, now: UnixTime) -> usize {
        let given = self.patients.get(&patient).into_iter().flat_map(|history| history.given.values());
        given.filter(|(by, at)| *by == delegate && now <= at.saturating_add(Emergency::COUNTS)).count()
    }

    /// The patients of the emergency grants that a doctor opened within the last day.
    pub(crate) fn emergencies_of(&self, doctor: AccountIndex, now: UnixTime) -> impl Iterator<Item = AccountIndex> {
        let emergencies = self.emergencies.get(&doctor).into_iter().flat_map(|emergencies| emergencies.values());
        emergencies.filter(move |emergency| emergency.counts(now)).map(|emergency| emergency.patient)
    }

    /// Whether a patient ever granted an account the right to read a class.
    pub(crate) fn could_read(&self, patient: AccountIndex, grantee: AccountIndex, class: Class) -> bool {
        let granted = self.patients.get(&patient).and_then(|history| history.granted.get(&grantee));
        granted.is_some_and(|classes| classes.contains(class))
    }

    /// Whether a patient ever granted anything to an account.
    pub(crate) fn knows(&self, patient: AccountIndex, grantee: AccountIndex) -> bool {
        self.patients.get(&patient).is_some_and(|history| history.granted.contains_key(&grantee))
    }

    /// A reader's sessions for a class of a patient's records, open or lapsed.
    pub(crate) fn sessions(&self, patient: AccountIndex, reader: AccountIndex, class: Class) -> &[AccessSession] {
        let sessions = self.patients.get(&patient).and_then(|history| history.sessions.get(&(reader, class)));
        sessions.map_or(&[], Vec::as_slice)
    }
}

/// What tells a grant from all others of its patient, whatever its use count is.
fn grant_id(slot: GrantSlot, grant: &GrantLeaf) -> (GrantSlot, Version, [u8; 32]) {
    (slot, grant.version, field::to_bytes(&grant.salt))
}
