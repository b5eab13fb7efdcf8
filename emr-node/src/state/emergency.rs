//! Emergency grants (BreakGlass): the slot for a new one, and what the node demands beyond the statement.
//!
//! An emergency grant opens nothing in this version, because nobody releases the keys of the patient's records to the doctor. It is a
//! record: the patient sees who broke the glass, when, for which class and why, and nobody can delete that.
//!
//! Any active doctor may sign one. So the node limits how many of them a doctor can write into audit chains. The same limit says how many of a
//! patient's 64 slots one doctor can hold: a grant ends within a day.

use std::hash::BuildHasher;

use emr_api::EmergencySlot;
use emr_core::{
    AccountIndex, AccountStatus, Class, ClassMask, GrantSlot, OutOfRange, Reason, Rights, Role, UnixTime, Uses, Version,
};
use emr_rollup::{
    operation::{Action, BreakGlass, MAX_EMERGENCY, Operation, RequestAccess},
    state::leaf::GrantLeaf,
    statement::{Clause, Violation},
};

use crate::{
    request_error::{RequestError, RequestErrorKind},
    sequencer::BEFORE_NOW,
    state::NodeState,
};

/// How many emergency grants of one doctor the node takes within a day, for all patients.
const A_DAY: usize = 20;
/// How many of these may be for the same patient.
const A_DAY_FOR_ONE_PATIENT: usize = 4;

/// What a doctor reads who tries to use an emergency grant.
pub(super) const OPENS_NOTHING: &str = "your emergency grant is on record, but it opens no records: this version does not release keys in an \
                                        emergency. Ask the patient for a grant, or ask the doctors who treated the patient";

/// Whether a grant was opened by break-glass. Such a grant gives no access.
pub(super) fn is_emergency(grant: &GrantLeaf) -> bool {
    grant.rights == Rights::EMERGENCY
}

/// The version that an emergency grant replaces in a slot with this leaf. `None` if the slot is not free. A batch's time may lie before now, so
/// a grant must have ended that long ago.
fn free(leaf: Option<&GrantLeaf>, now: UnixTime) -> Option<Version> {
    let Some(leaf) = leaf else { return Some(Version::ZERO) };
    let over = leaf.rights == Rights::NONE || leaf.not_after.saturating_add(BEFORE_NOW) < now;
    (over && leaf.version.next().is_ok()).then_some(leaf.version)
}

fn not_free() -> RequestError {
    RequestError::new(RequestErrorKind::Stale, "the slot is not free, or has another version: ask for a slot again")
}

/// The refusal of an operation that the statement does not allow. What else it demands of the leaf is checked before
/// ([`NodeState::check_emergency_terms`]), so what is left depends on the slot. A doctor does not learn whether the slot holds an emergency grant or
/// has another version: so nobody can count the emergency grants of a patient by trying every slot.
pub(crate) fn refusal(operation: &Operation, violation: Violation) -> RequestError {
    match (operation.action, violation.clause) {
        (Action::BreakGlass(_), Clause::TargetExpected | Clause::NewLeafAllowed) => not_free(),
        _ => violation.into(),
    }
}

fn slots() -> impl Iterator<Item = Result<GrantSlot, OutOfRange>> {
    (0..GrantSlot::FIRST_ORDINARY.get()).map(GrantSlot::new)
}

impl NodeState {
    /// A free slot for an emergency grant of a doctor.
    ///
    /// `order` is a keyed hash that only this process knows. It gives each doctor an order of the patient's slots, and the doctor gets the first
    /// free one. So an answer tells little about how many emergency grants there are, and asking again tells nothing more.
    ///
    /// # Errors
    /// [`RequestError`] if the account may not open an emergency grant now, or no slot is free.
    pub(crate) fn emergency_slot(
        &self,
        doctor: AccountIndex,
        patient: AccountIndex,
        now: UnixTime,
        order: &impl BuildHasher,
    ) -> Result<EmergencySlot, RequestError> {
        self.may_break_glass(doctor, patient, now)?;
        let leaves = self.soft.patient(patient).ok_or_else(|| {
            RequestError::not_found(format!("account {patient} is not a patient known here: check the number"))
        })?;
        let free = slots().filter_map(Result::ok).filter_map(|slot| {
            let version = free(leaves.grants.get(&slot), now)?;
            Some(EmergencySlot { slot, version })
        });
        free.min_by_key(|free| order.hash_one((doctor.get(), patient.get(), free.slot.get()))).ok_or_else(|| {
            RequestError::unavailable(
                "every slot for emergency grants of this patient is in use: try again when one of them has ended",
            )
        })
    }

    /// Checks what the statement and the node demand of an emergency grant, whatever its slot holds. So the answer does not tell what it holds.
    ///
    /// # Errors
    /// [`RequestError`] that says what is wrong.
    pub(crate) fn check_emergency_terms(&self, operation: &Operation, now: UnixTime) -> Result<(), RequestError> {
        let Action::BreakGlass(BreakGlass { slot, expected, purpose, leaf }) = operation.action else { return Ok(()) };
        // The statement refuses everybody else, before it looks at the slot.
        if !self.is_active_doctor(operation.signer) {
            return Ok(());
        }
        self.may_break_glass(operation.signer, operation.patient, now)?;
        let signed_grant = leaf.grantee == Some(operation.signer)
            && is_emergency(&leaf)
            && leaf.uses == Uses::ZERO
            && expected.next() == Ok(leaf.version)
            && slot < GrantSlot::FIRST_ORDINARY;
        if !signed_grant {
            return Err(RequestError::refused(
                "an emergency grant is its signer's, with EMERGENCY alone, in a slot below 64, and has the version after the one that it names",
            ));
        }
        if purpose.reason == Reason::None {
            return Err(RequestError::refused("an emergency grant must state a reason"));
        }
        // The audit entry names one class, and it must tell everything.
        if leaf.scope != ClassMask::from(purpose.class) {
            return Err(RequestError::refused("an emergency grant must cover exactly the class that it names"));
        }
        if let Some(grant) = self.emergency_of(operation.signer, operation.patient, Some(purpose.class), now) {
            return Err(RequestError::refused(format!(
                "you hold an emergency grant for {} records of patient {} until {} (Unix time): it is on record",
                purpose.class, operation.patient, grant.not_after
            )));
        }
        // The rules keep the grant valid at the time of every batch that can take it.
        if leaf.not_after < now || leaf.not_after > now.saturating_add(MAX_EMERGENCY - BEFORE_NOW) {
            return Err(RequestError::refused(format!(
                "an emergency grant must not be over yet, and may hold for {} hours at most: sign another one, and check this machine's clock",
                (MAX_EMERGENCY - BEFORE_NOW) / 3600
            )));
        }
        if operation.valid_until > leaf.not_after {
            return Err(RequestError::refused("an emergency grant must be signed to be valid no longer than it holds"));
        }
        Ok(())
    }

    /// Checks that the slot of an emergency grant is free, and that no emergency grant is used. The statement allows the operation.
    ///
    /// # Errors
    /// [`RequestError`] that says what is wrong.
    pub(crate) fn check_emergency_slot(&self, operation: &Operation, now: UnixTime) -> Result<(), RequestError> {
        let leaves = self.soft.patient(operation.patient);
        let held = |slot: &GrantSlot| leaves.and_then(|leaves| leaves.grants.get(slot));
        match operation.action {
            Action::BreakGlass(BreakGlass { slot, .. }) if free(held(&slot), now).is_none() => Err(not_free()),
            Action::RequestAccess(RequestAccess { slot, .. }) if held(&slot).is_some_and(is_emergency) => {
                Err(RequestError::refused(OPENS_NOTHING))
            }
            _ => Ok(()),
        }
    }

    fn is_active_doctor(&self, account: AccountIndex) -> bool {
        let identity = self.soft.identity(account);
        identity.is_some_and(|identity| identity.role == Role::Doctor && identity.status == AccountStatus::Active)
    }

    /// Whether an account may open an emergency grant for a patient now: an active doctor, within the limits of a day.
    fn may_break_glass(&self, doctor: AccountIndex, patient: AccountIndex, now: UnixTime) -> Result<(), RequestError> {
        if !self.is_active_doctor(doctor) {
            return Err(RequestError::forbidden("only an active doctor may break the glass"));
        }
        let today = self.history.emergencies_of(doctor, now);
        let (all, here) = today.fold((0, 0), |(all, here), of| (all + 1, here + usize::from(of == patient)));
        if all >= A_DAY || here >= A_DAY_FOR_ONE_PATIENT {
            return Err(RequestError::refused(format!(
                "a doctor may open {A_DAY} emergency grants within 24 hours, and {A_DAY_FOR_ONE_PATIENT} of them for one patient: wait, or let \
                 another doctor open one"
            )));
        }
        Ok(())
    }

    /// An emergency grant that a doctor holds in the soft state, for a class or for any. `None` if it ended or the patient has signed its
    /// Revoke.
    pub(super) fn emergency_of(
        &self,
        doctor: AccountIndex,
        patient: AccountIndex,
        class: Option<Class>,
        now: UnixTime,
    ) -> Option<&GrantLeaf> {
        let grants = self.soft.patient(patient).into_iter().flat_map(|leaves| &leaves.grants);
        grants
            .filter(|(_, grant)| is_emergency(grant) && grant.is_live_for(doctor, None, now))
            .filter(|(_, grant)| class.is_none_or(|class| grant.scope.contains(class)))
            .find(|(slot, grant)| self.history.left_of(patient, **slot, grant).is_some())
            .map(|(_, grant)| grant)
    }
}

#[cfg(test)]
mod tests {
    use emr_rollup::{operation::revoked_leaf, primitive::field::Fr};

    use super::*;

    /// A batch takes the new grant at a time that may be half an hour before now. The old one must have ended by then.
    #[test]
    fn a_slot_is_free_when_its_grant_ended_before_every_time_of_the_next_batch() -> Result<(), OutOfRange> {
        let (now, doctor) = (UnixTime::new(1_000_000)?, AccountIndex::new(7)?);
        let held = |version, not_after| -> Result<_, OutOfRange> {
            Ok(GrantLeaf {
                grantee: Some(doctor),
                rights: Rights::EMERGENCY,
                scope: Class::Summary.into(),
                not_after: UnixTime::new(not_after)?,
                ..revoked_leaf(Uses::ZERO, Version::new(version)?, Fr::default())
            })
        };
        let revoked = revoked_leaf(Uses::ZERO, Version::new(5)?, Fr::default());
        assert_eq!(free(None, now), Some(Version::ZERO));
        assert_eq!(free(Some(&revoked), now), Some(Version::new(5)?));
        for (not_after, is_free) in [(1_000_000, false), (998_200, false), (998_199, true)] {
            assert_eq!(free(Some(&held(3, not_after)?), now).is_some(), is_free, "{not_after}");
        }
        assert_eq!(free(Some(&held(Version::MAX, 1)?), now), None, "it has no next version");
        Ok(())
    }
}
