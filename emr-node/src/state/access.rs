//! Who may read what: deny early, allow late.
//!
//! A patient can always read their own records. Another reader needs a grant with READ that covers the record's class.
//! An emergency grant opens nothing (see [`super::emergency`]). The grant names the reader or the reader's organisation. It must be live in the soft state, and
//! be in the newest state that L1 cannot take back any more. The reader also needs an open session for the class. So a Revoke ends access at the moment of its
//! acknowledgement, and a grant gives access only once it is in force on L1 for good.

use emr_core::{AccountIndex, AccountStatus, Class, GrantSlot, RecordStatus, Rights, UnixTime};
use emr_rollup::state::{leaf::GrantLeaf, ledger::Ledger};

use super::emergency::{OPENS_NOTHING, is_emergency};
use crate::{
    mempool::BlockReference,
    request_error::{RequestError, RequestErrorKind},
    state::NodeState,
};

impl NodeState {
    /// The grants of a patient that are live for an account in the soft state, by slot, without what signed operations
    /// have taken away. Emergency grants are not among them.
    pub(crate) fn live_grants(
        &self,
        patient: AccountIndex,
        account: AccountIndex,
        now: UnixTime,
    ) -> impl Iterator<Item = (GrantSlot, GrantLeaf)> {
        let identity = self.soft.identity(account).filter(|identity| identity.status == AccountStatus::Active);
        let org = identity.and_then(|identity| identity.org);
        let grants = self.soft.patient(patient).filter(|_| identity.is_some()).into_iter();
        grants
            .flat_map(|leaves| &leaves.grants)
            .filter(|(_, grant)| !is_emergency(grant))
            .filter_map(move |(slot, grant)| Some((*slot, self.history.left_of(patient, *slot, grant)?)))
            .filter(move |(_, grant)| grant.is_live_for(account, org, now))
    }

    /// Whether a state that L1 cannot take back any more has this grant. After a queued forced revocation, the settled grant may be another one with
    /// the same version.
    fn is_in_force(&self, patient: AccountIndex, slot: GrantSlot, grant: &GrantLeaf) -> bool {
        self.finality.newest().is_some_and(|state| has(state, patient, slot, grant))
    }

    /// Whether an account may read records of a class now.
    ///
    /// # Errors
    /// [`RequestError`] with the reason: never granted, revoked, expired, not in force yet, or access not requested.
    pub(crate) fn may_read(
        &self,
        reader: AccountIndex,
        patient: AccountIndex,
        class: Class,
        now: UnixTime,
    ) -> Result<(), RequestError> {
        if reader == patient {
            return Ok(());
        }
        let mut live = self.live_grants(patient, reader, now).filter(|(_, grant)| opens(grant, class)).peekable();
        if live.peek().is_none() {
            return Err(self.why_not(reader, patient, class, now));
        }
        let live: Vec<_> = live.collect();
        let mut in_force = live.iter().filter(|(slot, grant)| self.is_in_force(patient, *slot, grant)).peekable();
        if in_force.peek().is_none() {
            let is_settled = live.iter().any(|(slot, grant)| has(&self.settled, patient, *slot, grant));
            return Err(RequestError::unavailable(if is_settled {
                "the grant is settled, but in a block that L1 can still take back: ask again in some minutes"
            } else {
                "the grant is acknowledged but not in force yet: ask again when its batch is settled"
            }));
        }
        let sessions = self.history.sessions(patient, reader, class);
        let open = in_force
            .any(|(slot, grant)| sessions.iter().any(|session| session.until >= now && session.is_under(*slot, grant)));
        if open {
            return Ok(());
        }
        Err(RequestError::new(
            RequestErrorKind::NoSession,
            format!("there is no open session for {class}: request access first; a request opens 24 hours"),
        ))
    }

    /// Whether a live grant lets an account read a class. An account without one may not learn that a record is in that class.
    pub(crate) fn may_know(&self, reader: AccountIndex, patient: AccountIndex, class: Class, now: UnixTime) -> bool {
        reader == patient || self.live_grants(patient, reader, now).any(|(_, grant)| opens(&grant, class))
    }

    /// Like [`Self::may_read`], for a record that the caller names without its class. `missing` is the answer to an account that may not learn the
    /// class: no live grant of it covers the class, and it never could read it.
    ///
    /// # Errors
    /// [`RequestError`].
    pub(crate) fn may_read_named(
        &self,
        reader: AccountIndex,
        patient: AccountIndex,
        class: Class,
        now: UnixTime,
        missing: impl FnOnce() -> RequestError,
    ) -> Result<(), RequestError> {
        let refused = match self.may_read(reader, patient, class, now) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        // A grant to write counts: its holder sees the record in the list.
        let is_listed = self.live_grants(patient, reader, now).any(|(_, grant)| grant.scope.contains(class));
        if is_listed || self.once_read(reader, patient, class, now).is_some() { Err(refused) } else { Err(missing()) }
    }

    fn why_not(&self, reader: AccountIndex, patient: AccountIndex, class: Class, now: UnixTime) -> RequestError {
        self.once_read(reader, patient, class, now).unwrap_or_else(|| {
            RequestError::forbidden(format!("there is no grant to read {class}: ask the patient for one"))
        })
    }

    /// Why an account that could read a class once cannot do so any more. `None` if it never could.
    fn once_read(
        &self,
        reader: AccountIndex,
        patient: AccountIndex,
        class: Class,
        now: UnixTime,
    ) -> Option<RequestError> {
        let org = self.soft.identity(reader).and_then(|identity| identity.org);
        let names = |ledger: &Ledger| {
            let grants = ledger.patient(patient).into_iter().flat_map(|leaves| leaves.grants.values());
            grants.into_iter().any(|grant| {
                opens(grant, class)
                    && grant.is_live_for(reader, org, UnixTime::ZERO)
                    && !grant.is_live_for(reader, org, now)
            })
        };
        if names(&self.soft) {
            let expired = format!("the grant for {class} has expired: ask the patient for a new one");
            return Some(RequestError::forbidden(expired));
        }
        let accounts = [Some(reader), org].into_iter().flatten();
        accounts.into_iter().any(|account| self.history.could_read(patient, account, class)).then(|| {
            let ended = format!("the patient has ended the grant for {class}: nothing more of it is served");
            RequestError::new(RequestErrorKind::Revoked, ended)
        })
    }

    /// Whether the account is the patient, or the patient ever granted anything to it or to its organisation.
    fn is_acquainted(&self, account: AccountIndex, patient: AccountIndex) -> bool {
        let org = self.soft.identity(account).and_then(|identity| identity.org);
        account == patient
            || [Some(account), org].into_iter().flatten().any(|account| self.history.knows(patient, account))
    }

    /// Whether an account may get the blocks of a record or directory.
    ///
    /// # Errors
    /// [`RequestError`]. It is `not-found` for an account that never had a grant of the patient: such an account does
    /// not even learn that the block is here.
    pub(crate) fn may_have(
        &self,
        account: AccountIndex,
        part_of: &BlockReference,
        now: UnixTime,
    ) -> Result<(), RequestError> {
        let principal = part_of.patient();
        let patient = principal.account;
        if !self.is_current(&principal) || !self.is_acquainted(account, patient) {
            return Err(RequestError::not_found("there is no such block here"));
        }
        match *part_of {
            BlockReference::Directory { .. } => self.may_see(account, patient, now),
            BlockReference::DelegatedKeys { slot, .. } => {
                // Late, like every allowance: a grant that waits may give way to the patient, and the keys would stay.
                let holds = |(held, grant): (GrantSlot, GrantLeaf)| {
                    held == slot && grant.grantee == Some(account) && self.is_in_force(patient, slot, &grant)
                };
                if account == patient || self.live_grants(patient, account, now).any(holds) {
                    return Ok(());
                }
                Err(RequestError::not_found("there is no such block here"))
            }
            BlockReference::Record { slot, class, .. } => {
                let missing = || RequestError::not_found("there is no such block here");
                self.may_read_named(account, patient, class, now, missing)?;
                let leaf = self.soft.patient(patient).and_then(|leaves| leaves.records.get(&slot));
                if account != patient && leaf.is_some_and(|leaf| leaf.status == RecordStatus::Tombstone) {
                    return Err(RequestError::not_found("the record was deleted"));
                }
                Ok(())
            }
        }
    }

    /// Whether an account may see a patient's directory and the list of the patient's records. The patient may, and so
    /// may every account with a live grant.
    ///
    /// # Errors
    /// [`RequestError`].
    pub(crate) fn may_see(
        &self,
        account: AccountIndex,
        patient: AccountIndex,
        now: UnixTime,
    ) -> Result<(), RequestError> {
        if account == patient || self.live_grants(patient, account, now).next().is_some() {
            return Ok(());
        }
        if self.emergency_of(account, patient, None, now).is_some() {
            return Err(RequestError::forbidden(OPENS_NOTHING));
        }
        if self.is_acquainted(account, patient) {
            return Err(RequestError::new(
                RequestErrorKind::Revoked,
                "no grant of this patient is live for you any more: ask the patient for a new one",
            ));
        }
        Err(RequestError::forbidden("there is no grant of this patient for you: ask the patient for one"))
    }
}

/// Whether a state has this grant.
fn has(state: &Ledger, patient: AccountIndex, slot: GrantSlot, grant: &GrantLeaf) -> bool {
    let found = state.patient(patient).and_then(|leaves| leaves.grants.get(&slot));
    found.is_some_and(|found| found.version == grant.version && found.salt == grant.salt)
}

/// Whether a grant allows reading a class.
fn opens(grant: &GrantLeaf, class: Class) -> bool {
    grant.scope.contains(class) && grant.rights.contains(Rights::READ)
}
