//! Doctors open as many emergency grants as they can.

use std::hash::RandomState;

use emr_api::EmergencySlot;
use emr_core::{Purpose, Reason};
use emr_rollup::operation::BreakGlass;

use super::*;

/// As many as a patient has slots for emergency grants.
const DOCTORS: u64 = 64;

/// A world with one honest patient, `patients` others, and doctors after them. Returns the doctors' accounts.
fn world_of_doctors(patients: u64) -> Test<(World, Vec<u64>)> {
    let world = world(patients)?;
    let first = DOCTOR + patients + 1;
    let doctors: Vec<u64> = (first..=first + DOCTORS).collect();
    let mut state = world.engine.state_mut();
    let time = state.last_time;
    let ledger = Arc::make_mut(&mut state.settled);
    for doctor in &doctors {
        let (account, key) = (AccountIndex::new(*doctor)?, key(*doctor).public());
        let encryption = Fr::from(*doctor);
        ledger.consume(&Register { account, role: Role::Doctor, org: None, key, encryption }.into(), time)?;
    }
    state.soft = Arc::clone(&state.settled);
    drop(state);
    Ok((world, doctors))
}

impl World {
    /// Opens an emergency grant in the slot that the node names. Returns the slot, or the kind of the refusal.
    fn open(&self, doctor: u64, patient: u64, class: Class) -> Test<Result<EmergencySlot, RequestErrorKind>> {
        let (account, of) = (AccountIndex::new(doctor)?, AccountIndex::new(patient)?);
        let free = self.engine.state().emergency_slot(account, of, self.engine.clock.now(), &RandomState::new());
        let free = match free {
            Ok(free) => free,
            Err(error) => return Ok(Err(error.kind)),
        };
        let not_after = self.time.saturating_add(4 * 3600);
        let leaf = GrantLeaf {
            grantee: Some(account),
            rights: Rights::EMERGENCY,
            scope: class.into(),
            not_after,
            uses: Uses::ZERO,
            version: free.version.next()?,
            salt: Fr::from(doctor),
        };
        let purpose = Purpose { reason: Reason::Emergency, class };
        let action = Action::BreakGlass(BreakGlass { slot: free.slot, expected: free.version, purpose, leaf });
        let signed = sign(self.domain, self.time, doctor, patient, doctor, action)?;
        let operation = Operation { valid_until: not_after, ..signed.operation };
        Ok(self.submit(operation.sign(self.domain, &key(doctor), None))?.map(|_| free))
    }
}

/// Sixty-four doctors fill the slots of a patient. The patient ends each of these grants, and an ordinary one, at once.
#[test]
fn a_patient_whose_slots_are_all_taken_ends_each_of_them_at_once() -> Test {
    let (world, doctors) = world_of_doctors(0)?;
    let (last, colluding) = doctors.split_last().ok_or("doctors")?;
    let ordinary = world.sign(HONEST, 1, revoke(FIRST, 1)?)?;
    let mut slots = Vec::new();
    for doctor in colluding {
        slots.push(world.open(*doctor, HONEST, Class::Summary)?.map_err(|kind| format!("{kind:?}"))?.slot.get());
        assert!(world.has_a_place(&ordinary), "after {} emergency grants", slots.len());
    }
    assert_eq!(world.open(*last, HONEST, Class::Summary)?, Err(RequestErrorKind::Unavailable));
    let mut different = slots.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len() as u64, DOCTORS);

    // The ordinary Revoke does not wait for what the doctors handed in before.
    assert_eq!(world.engine.state().open.newly_urgent(&ordinary).all, 1);
    world.taken(ordinary)?;
    assert_eq!(world.batch_of(&ordinary), Some(0));
    for (salt, slot) in slots.iter().enumerate() {
        let revoke = world.sign(HONEST, 2 + salt as u64, revoke(*slot, 1)?)?;
        assert!(world.has_a_place(&revoke), "slot {slot}");
        world.taken(revoke)?;
    }
    let patient = AccountIndex::new(HONEST)?;
    let held = |ledger: &Ledger| {
        let leaves =
            ledger.patient(patient).map(|leaves| leaves.grants.values().filter(|grant| grant.grantee.is_some()));
        leaves.map_or(0, Iterator::count)
    };
    assert_eq!(held(&world.engine.state().soft), 0);
    while !world.engine.state().open.iter().collect::<Vec<_>>().is_empty() {
        world.settle()?;
    }
    let state = world.engine.state();
    assert_eq!(held(&state.settled), 0);
    // Each grant and each Revoke is on record: nothing was returned. The first grant of the patient is the first entry.
    assert_eq!(state.settled.patient(patient).map(|leaves| leaves.audit.entries().len()), Some(1 + 64 + 65));
    Ok(())
}

/// One doctor opens emergency grants for one patient after the other.
#[test]
fn a_doctor_opens_twenty_in_a_day() -> Test {
    let (world, doctors) = world_of_doctors(25)?;
    let mut opened = 0;
    for patient in DOCTOR + 1..=DOCTOR + 25 {
        match world.open(doctors[0], patient, Class::Summary)? {
            Ok(_) => opened += 1,
            Err(kind) => assert_eq!(kind, RequestErrorKind::Refused),
        }
    }
    assert_eq!(opened, 20);
    assert!(world.open(doctors[1], HONEST, Class::Summary)?.is_ok(), "another doctor has their own");
    // It counts as long after it is settled.
    while !world.engine.state().open.iter().collect::<Vec<_>>().is_empty() {
        world.settle()?;
    }
    assert_eq!(world.open(doctors[0], HONEST, Class::Summary)?, Err(RequestErrorKind::Refused));
    Ok(())
}
