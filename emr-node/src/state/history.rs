//! What acknowledged operations mean for serving, beyond the state they leave: whose grants ended, which sessions are open.

use std::collections::BTreeMap;

use emr_core::{AccountIndex, Class, ClassMask, GrantSlot, Rights, UnixTime, Version};
use emr_rollup::{
    operation::{Authority, TakenAway},
    state::{
        leaf::{GrantLeaf, Target},
        ledger::Ledger,
    },
};

use crate::mempool::{Acknowledged, Sequence};

/// How long one acknowledged RequestAccess opens a session. Seconds.
pub const SESSION_SECONDS: u64 = 24 * 3600;

/// A reader's open session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AccessSession {
    /// The RequestAccess.
    pub(crate) sequence: Sequence,
    /// The last second at which it is open.
    pub(crate) until: UnixTime,
    /// The grant that was used.
    pub(crate) slot: GrantSlot,
    /// That grant's version: a grant written anew needs a new session.
    pub(crate) version: Version,
}

/// Derived from every acknowledged operation; rebuilt at each start.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// The highest version that a signed Revoke ends, by patient and slot. Holds even if the Revoke is never settled.
    ended: BTreeMap<(AccountIndex, GrantSlot), Version>,
    /// What signed SetGrants left of the versions that they replace, by patient, slot and the replaced version. Holds even if the
    /// SetGrant is never settled: what a patient took away stays away.
    replaced: BTreeMap<(AccountIndex, GrantSlot), Vec<(Version, GrantLeaf)>>,
    /// Whoever was ever granted anything, by patient and grantee, with the classes that he could read.
    granted: BTreeMap<(AccountIndex, AccountIndex), ClassMask>,
    sessions: BTreeMap<(AccountIndex, AccountIndex, Class), Vec<AccessSession>>,
}

impl History {
    /// Takes an operation that was executed on `ledger`.
    pub(crate) fn record(&mut self, sequence: Sequence, acknowledged: &Acknowledged, ledger: &Ledger) {
        let operation = &acknowledged.signed.operation;
        let action = &operation.action;
        self.deny(acknowledged);
        if let Ok(Some((_, leaf))) = action.signed_grant()
            && let Some(grantee) = leaf.grantee
        {
            let classes = self.granted.entry((operation.patient, grantee)).or_default();
            if leaf.rights.contains(Rights::READ) {
                *classes = ClassMask::from_bits(classes.bits() | leaf.scope.bits());
            }
        }
        let used = (action.rule().authority, action.target(), action.purpose());
        if let (Authority::Target(_), Target::Grant(slot), Some(purpose)) = used {
            let grant = ledger.patient(operation.patient).and_then(|leaves| leaves.grants.get(&slot));
            let Some(version) = grant.map(|grant| grant.version) else { return };
            let until = acknowledged.acknowledged.saturating_add(SESSION_SECONDS);
            let sessions = self.sessions.entry((operation.patient, operation.signer, purpose.class)).or_default();
            sessions.retain(|session| session.until >= acknowledged.acknowledged && session.sequence != sequence);
            sessions.push(AccessSession { sequence, until, slot, version });
        }
    }

    /// Takes what a signed operation ends or narrows, whatever becomes of the operation.
    pub(crate) fn deny(&mut self, acknowledged: &Acknowledged) {
        let operation = &acknowledged.signed.operation;
        match operation.action.takes_away() {
            Some(TakenAway::Grant { slot, version }) => {
                let ended = self.ended.entry((operation.patient, slot)).or_insert(Version::ZERO);
                *ended = version.max(*ended);
            }
            Some(TakenAway::Beyond { slot, version, leaf })
                if operation.signer == operation.patient && version > Version::ZERO =>
            {
                let replaced = self.replaced.entry((operation.patient, slot)).or_default();
                if !replaced.contains(&(version, leaf)) {
                    replaced.push((version, leaf));
                }
            }
            Some(TakenAway::Beyond { .. }) | None => {}
        }
    }

    /// An operation is returned: what it opened is closed. What it ended stays ended.
    pub(crate) fn forget(&mut self, sequence: Sequence) {
        for sessions in self.sessions.values_mut() {
            sessions.retain(|session| session.sequence != sequence);
        }
    }

    /// What of a grant no signed operation has taken away; `None` if a Revoke ended it, or it was to be somebody else's.
    pub(crate) fn left_of(&self, patient: AccountIndex, slot: GrantSlot, grant: &GrantLeaf) -> Option<GrantLeaf> {
        if self.ended.get(&(patient, slot)).is_some_and(|ended| grant.version <= *ended) {
            return None;
        }
        let mut left = *grant;
        for (version, limit) in self.replaced.get(&(patient, slot)).into_iter().flatten() {
            if grant.version > *version {
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

    /// Whether an account was ever granted to read a class of a patient.
    pub(crate) fn could_read(&self, patient: AccountIndex, grantee: AccountIndex, class: Class) -> bool {
        self.granted.get(&(patient, grantee)).is_some_and(|classes| classes.contains(class))
    }

    /// Whether an account was ever granted anything by a patient.
    pub(crate) fn knows(&self, patient: AccountIndex, grantee: AccountIndex) -> bool {
        self.granted.contains_key(&(patient, grantee))
    }

    /// A reader's sessions for a class of a patient, open or lapsed.
    pub(crate) fn sessions(&self, patient: AccountIndex, reader: AccountIndex, class: Class) -> &[AccessSession] {
        self.sessions.get(&(patient, reader, class)).map_or(&[], Vec::as_slice)
    }
}
