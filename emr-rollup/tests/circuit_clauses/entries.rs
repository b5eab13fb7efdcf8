//! C14: L1 operations are total, and take effect as queued.

use emr_core::{AccountStatus, ClassMask, Rights};
use emr_rollup::{
    batch::PublicInputs,
    l1_operation::{L1Operation, RevokedGrants, RotateKey, SetStatus},
    operation::SignedOperation,
    primitive::field::Fr,
    statement::{BatchWitness, Clause, EntryFields, EntryWitness, IdentityFields, MedicalFields, check_batch},
    testing::forger::Forger,
    testing::scenario::*,
};

use crate::harness::*;

/// The length of the honest history.
const ALL: usize = 13;
const SET_STATUS: usize = 0;
const ROTATE_KEY: usize = 1;
const FORCED_REVOKE: usize = 2;
const FORCED_REVOKE_ALL: usize = 3;

fn accepted(what: &str, (witness, public): (BatchWitness, PublicInputs)) {
    assert_eq!(failures(&witness, &public), [], "{what}");
    assert_eq!(check_batch(&witness, &public), Ok(()), "{what}");
}

/// A lie about a result. The circuit computes the result, so the lie shows where it is compared: in the roots.
fn refused_by_the_roots(what: &str, (witness, public): (BatchWitness, PublicInputs)) {
    assert_eq!(clauses(&failures(&witness, &public)), only([Clause::RootsChain]), "{what}");
    let native = check_batch(&witness, &public).map_err(|violation| violation.clause);
    assert_eq!(native, Err(Clause::RootsChain), "{what}");
}

/// The honest history, and then one of [`changes`], whose result the forger changes.
fn lying(change: usize, lie: impl FnOnce(&mut IdentityFields, &mut MedicalFields)) -> (BatchWitness, PublicInputs) {
    let mut forger = forger_after(ALL, &[]);
    let witness = forger.entry(changes(&VERSION)[change].fields());
    forger.push_entry_lying(witness, lie);
    forger.finish()
}

/// The honest history, and then one of [`changes`] with another witness.
fn altered_entry(change: usize, alter: impl FnOnce(&mut EntryWitness)) -> (BatchWitness, PublicInputs) {
    let mut forger = forger_after(ALL, &[]);
    let mut witness = forger.entry(changes(&VERSION)[change].fields());
    alter(&mut witness);
    forger.push_entry(witness);
    forger.finish()
}

fn fields(operation: impl Into<L1Operation>) -> EntryFields {
    operation.into().fields()
}

#[test]
fn the_forger_takes_entries_like_the_ledger() {
    let mut forger = forger(ALL);
    forger.begin_batch();
    forger.time = TIME + 60;
    push_entries(&mut forger, &changes(&VERSION));
    let again = set_grant(first_slot(&VERSION) + 1, grant(DOCTOR, Rights::READ, ClassMask::ALL, 1), 95, 96);
    push_all(&mut forger, &[sign_in_epochs((PATIENT, 3), 3, again, None, 14)]);
    let (witness, public) = forger.finish();
    let (honest, after) = honest_changes(VERSION);
    assert_eq!(witness.entries, honest.entries);
    // The forger counts every batch as the first.
    assert_eq!((public.pre, public.post, public.commitment), (after.pre, after.post, after.commitment));
    accepted("every L1 operation", (witness, public));
}

#[test]
fn c14_entries_take_effect_as_queued() {
    type Lie = fn(&mut IdentityFields, &mut MedicalFields);
    let every: [(&str, Lie); 4] = [
        ("no new epoch", |leaf, _| leaf.epoch -= Fr::from(1)),
        ("two epochs", |leaf, _| leaf.epoch += Fr::from(1)),
        ("another role", |leaf, _| leaf.role = Fr::from(3)),
        ("another organisation", |leaf, _| leaf.org += Fr::from(1)),
    ];
    for change in [SET_STATUS, ROTATE_KEY, FORCED_REVOKE, FORCED_REVOKE_ALL] {
        for (what, lie) in every {
            // A forged role of the patient takes their leaf out of reach, so the forger only changes the identity.
            refused_by_the_roots(what, lying(change, lie));
        }
    }
    let some: [(&str, usize, Lie); 18] = [
        ("another status", SET_STATUS, |leaf, _| leaf.status = Fr::from(3)),
        ("the status stays", SET_STATUS, |leaf, _| leaf.status = Fr::from(1)),
        ("a key with a status", SET_STATUS, |leaf, _| leaf.key_x = Fr::from(0)),
        ("an encryption key with a status", SET_STATUS, |leaf, _| leaf.encryption = Fr::from(0)),
        ("a status with a key", ROTATE_KEY, |leaf, _| leaf.status = Fr::from(2)),
        ("another x", ROTATE_KEY, |leaf, _| leaf.key_x += Fr::from(1)),
        ("another y", ROTATE_KEY, |leaf, _| leaf.key_y += Fr::from(1)),
        ("the encryption key stays", ROTATE_KEY, |leaf, _| leaf.encryption = Fr::from(1002)),
        ("a status with a revocation", FORCED_REVOKE, |leaf, _| leaf.status = Fr::from(2)),
        ("a key with a revocation", FORCED_REVOKE, |leaf, _| leaf.key_x = Fr::from(0)),
        ("other grants", FORCED_REVOKE, |_, next| next.grants_root += Fr::from(1)),
        ("other records", FORCED_REVOKE, |_, next| next.records_root += Fr::from(1)),
        ("no audit entry", FORCED_REVOKE, |_, next| next.audit_head = Fr::from(0)),
        ("the directory stays", FORCED_REVOKE, |_, next| next.key_directory = Fr::from(94).into()),
        ("another directory", FORCED_REVOKE, |_, next| next.key_directory = Fr::from(96).into()),
        ("other grants", FORCED_REVOKE_ALL, |_, next| next.grants_root += Fr::from(1)),
        ("other records", FORCED_REVOKE_ALL, |_, next| next.records_root += Fr::from(1)),
        ("a directory", FORCED_REVOKE_ALL, |_, next| next.key_directory = Fr::from(0).into()),
    ];
    for (what, change, lie) in some {
        refused_by_the_roots(what, lying(change, lie));
    }
}

/// The grants after are those before, those of another slot's end, or those before an earlier revocation.
#[test]
fn c14_no_grant_outlives_its_end() {
    let before = forger_after(ALL, &[]).entry(changes(&VERSION)[FORCED_REVOKE].fields()).medical;
    let of = |change: usize| {
        let mut root = None;
        lying(change, |_, next| root = Some(*next));
        root.unwrap()
    };
    let (one, all) = (of(FORCED_REVOKE), of(FORCED_REVOKE_ALL));
    assert!(one.grants_root != all.grants_root && one.grants_root != before.grants_root);
    for change in [FORCED_REVOKE, FORCED_REVOKE_ALL] {
        let kept = lying(change, |_, next| next.grants_root = before.grants_root);
        refused_by_the_roots("the slot keeps its grant", kept);
        let head = lying(change, |_, next| next.audit_head = before.audit_head);
        refused_by_the_roots("the audit entry is left out", head);
    }
    refused_by_the_roots("all grants end", lying(FORCED_REVOKE, |_, next| next.grants_root = all.grants_root));
    refused_by_the_roots("one grant ends", lying(FORCED_REVOKE_ALL, |_, next| next.grants_root = one.grants_root));
    // A grant comes back with the next entry of the patient.
    for second in [
        changes(&VERSION)[FORCED_REVOKE].clone(),
        SetStatus { account: account(PATIENT), status: AccountStatus::Closed }.into(),
    ] {
        let mut back = forger_after(ALL, &changes(&VERSION)[FORCED_REVOKE..=FORCED_REVOKE]);
        let witness = back.entry(second.fields());
        back.push_entry_lying(witness, |_, next| next.grants_root = before.grants_root);
        refused_by_the_roots("a grant comes back", back.finish());
    }
}

/// The batch's time is in the audit entry of a forced revocation.
#[test]
fn c16_a_forced_revocation_has_the_time_of_the_batch() {
    for change in [FORCED_REVOKE, FORCED_REVOKE_ALL] {
        let mut forger = forger_after(ALL, &[]);
        forger.time += 5;
        push_entries(&mut forger, &changes(&VERSION)[change..=change]);
        forger.time -= 5;
        refused_by_the_roots("another time", forger.finish());
    }
}

#[test]
fn c14_entries_without_effect_are_consumed_and_change_nothing() {
    let last = |forger: &mut Forger, of: u64| {
        forger.write_identity(of, |leaf| leaf.epoch = Fr::from(u64::from(u32::MAX)));
    };
    for entry in without_effect() {
        let mut without = forger_after(ALL, &[]);
        let witness = without.entry(entry.fields());
        without.take_entry(witness.clone());
        accepted("consumed", without.finish());
        let mut with = forger_after(ALL, &[]);
        with.push_entry(witness);
        refused_by_the_roots("an invalid entry takes effect", with.finish());
    }
    for (i, entry) in changes(&VERSION).into_iter().enumerate() {
        let mut without = forger_after(ALL, &[]);
        let witness = without.entry(entry.fields());
        without.take_entry(witness);
        refused_by_the_roots("a valid entry has no effect", without.finish());
        // In the last epoch it must have none.
        let mut ended = forger_after(ALL, &[]);
        last(&mut ended, entry.account().get());
        let witness = ended.entry(entry.fields());
        ended.take_entry(witness.clone());
        accepted("the last epoch", ended.finish());
        let mut wrapped = forger_after(ALL, &[]);
        last(&mut wrapped, entry.account().get());
        wrapped.push_entry_lying(witness, |leaf, _| leaf.epoch = Fr::from(if i % 2 == 0 { 1 } else { 0 }));
        refused_by_the_roots("an epoch after the last one", wrapped.finish());
    }
}

/// A forced revocation of a patient always takes effect: the slot may be empty, and the account may be closed.
#[test]
fn c14_a_forced_revocation_of_a_patient_takes_effect() {
    let slot = |slot| fields(forced_revoke(PATIENT, RevokedGrants::Slot(emr_core::GrantSlot::new(slot).unwrap())));
    let all = fields(forced_revoke(PATIENT, RevokedGrants::All));
    for history in [0, ALL] {
        for entry in [slot(1), slot(0), slot(3), all] {
            let mut forger = forger(history);
            forger.write_identity(PATIENT, |leaf| leaf.status = Fr::from(3));
            let witness = forger.entry(entry);
            let mut none = forger.clone();
            forger.push_entry(witness.clone());
            accepted("a revocation", forger.finish());
            none.take_entry(witness);
            refused_by_the_roots("a revocation without effect", none.finish());
        }
    }
}

#[test]
fn c14_the_witness_is_of_the_state() {
    let registered = |change: fn(&mut EntryWitness)| {
        let entries = entries();
        let mut forger = forger_with(&entries[..3]);
        let mut witness = forger.entry(entries[3]);
        change(&mut witness);
        forger.push_entry(witness);
        forger.finish()
    };
    let refused = |what: &str, clause: Clause, (witness, public): (BatchWitness, PublicInputs)| {
        let found = clauses(&failures(&witness, &public));
        assert!(found.contains(&Some(clause)), "{what}: {found:?}");
        let native = check_batch(&witness, &public).map_err(|violation| violation.clause);
        assert_eq!(native, Err(clause), "{what}");
    };
    let as_queued = Clause::L1AsQueued;
    refused("identity path", as_queued, registered(|w| w.identity_path = bent(&w.identity_path)));
    refused("medical path", as_queued, registered(|w| w.medical_path = bent(&w.medical_path)));
    refused("kind", as_queued, registered(|w| w.entry.kind = Fr::from(20)));
    refused("a fresh account with a role", Clause::InRange, registered(|w| w.identity.role = Fr::from(1)));
    refused("a fresh account with a key", Clause::InRange, registered(|w| w.identity.key_y = Fr::from(1)));
    refused("a fresh account in an epoch", as_queued, registered(|w| w.identity.epoch = Fr::from(1)));
    for change in [SET_STATUS, ROTATE_KEY, FORCED_REVOKE, FORCED_REVOKE_ALL] {
        let altered = |alter: fn(&mut EntryWitness)| altered_entry(change, alter);
        refused("a registered account taken for a fresh one", as_queued, altered(|w| w.identity = Default::default()));
        refused("epoch", as_queued, altered(|w| w.identity.epoch += one()));
        refused("role", as_queued, altered(|w| w.identity.role = Fr::from(3)));
        refused("key", as_queued, altered(|w| w.identity.key_x += one()));
        refused("identity path", as_queued, altered(|w| w.identity_path = bent(&w.identity_path)));
        refused("medical path", as_queued, altered(|w| w.medical_path = bent(&w.medical_path)));
        refused("status out of range", Clause::InRange, altered(|w| w.identity.status += Fr::from(256)));
        refused("epoch out of range", Clause::InRange, altered(|w| w.identity.epoch += Fr::from(1 << 32)));
        refused("tree", Clause::InRange, altered(|w| w.entry.tree = Fr::from(2)));
        refused("slot beyond the tree", as_queued, altered(|w| w.entry.slot = Fr::from(4)));
    }
    for change in [FORCED_REVOKE, FORCED_REVOKE_ALL] {
        let altered = |alter: fn(&mut EntryWitness)| altered_entry(change, alter);
        refused("grants root", as_queued, altered(|w| w.medical.grants_root += one()));
        refused("audit head", as_queued, altered(|w| w.medical.audit_head += one()));
        refused("directory", as_queued, altered(|w| w.medical.key_directory = Fr::from(5).into()));
        refused("grant", as_queued, altered(|w| w.grant = Fr::from(5).into()));
        refused("grant path", as_queued, altered(|w| w.grant_path = bent(&w.grant_path)));
    }
    let noted = altered_entry(FORCED_REVOKE, |w| w.entry.replace_directory = Fr::from(2));
    refused("a flag of 2", Clause::InRange, noted);
}

/// An unused L1 slot before a used one, and data in an unused one.
#[test]
fn c14_used_l1_slots_come_first() {
    let (mut witness, public) = honest(VERSION);
    let mut hole = witness.entries[0].clone();
    hole.entry = EntryFields::default();
    witness.entries.insert(0, hole);
    assert!(clauses(&failures(&witness, &public)).contains(&Some(Clause::L1AsQueued)));
    let (mut witness, public) = honest(VERSION);
    let mut late = witness.entries[0].clone();
    late.entry.kind = Fr::from(0);
    witness.entries.push(late);
    assert!(clauses(&failures(&witness, &public)).contains(&Some(Clause::L1AsQueued)));
}

/// What was signed in an earlier epoch is dead, for the signer and for the patient, in the same batch already.
#[test]
fn c4_an_entry_ends_every_older_message() {
    let slot = first_slot(&VERSION);
    let after = |entry: &L1Operation, operation: &SignedOperation| {
        let mut forger = forger_after(ALL, std::slice::from_ref(entry));
        push_all(&mut forger, std::slice::from_ref(operation));
        forger.finish()
    };
    let by_doctor = |epochs: (u64, u64)| {
        let leaf = record(emr_core::Class::Summary, DOCTOR, 1, 1);
        sign_in_epochs((DOCTOR, epochs.0), epochs.1, put(2, 0, leaf), Some(slot), 30)
    };
    let own = |epoch| {
        let leaf = record(emr_core::Class::Summary, PATIENT, 1, 1);
        sign_in_epochs((PATIENT, epoch), epoch, put(2, 0, leaf), None, 31)
    };
    accepted("without an entry", {
        let mut forger = forger_after(ALL, &[]);
        push_all(&mut forger, &[own(1)]);
        forger.finish()
    });
    let active = |index| SetStatus { account: account(index), status: AccountStatus::Active }.into();
    let same_keys =
        |index| RotateKey { account: account(index), key: key(index).public(), encryption: Fr::from(1) }.into();
    let revoked = |grants| forced_revoke(PATIENT, grants).into();
    let empty = RevokedGrants::Slot(emr_core::GrantSlot::new(1).unwrap());
    for entry in [active(PATIENT), same_keys(PATIENT), revoked(RevokedGrants::All), revoked(empty)] {
        refused_for(Clause::MessageCurrent, "signed before", after(&entry, &own(1)));
        accepted("signed after", after(&entry, &own(2)));
    }
    // For a doctor under their hospital's grant.
    let given = |entries: &[L1Operation], operation: &SignedOperation| {
        let mut forger = forger(ALL);
        forger.write_grant(PATIENT, slot, &grant(HOSPITAL, Rights::WRITE, ClassMask::ALL, 4));
        push_entries(&mut forger, entries);
        push_all(&mut forger, std::slice::from_ref(operation));
        forger.finish()
    };
    accepted("without an entry", given(&[], &by_doctor((1, 1))));
    for entry in [active(DOCTOR), same_keys(DOCTOR)] {
        refused_for(
            Clause::MessageCurrent,
            "the signer's epoch",
            given(std::slice::from_ref(&entry), &by_doctor((1, 1))),
        );
        accepted("the signer's next epoch", given(&[entry], &by_doctor((2, 1))));
    }
    for entry in [active(PATIENT), revoked(empty)] {
        refused_for(
            Clause::MessageCurrent,
            "the patient's epoch",
            given(std::slice::from_ref(&entry), &by_doctor((1, 1))),
        );
        accepted("the patient's next epoch", given(&[entry], &by_doctor((1, 2))));
    }
    let suspended = SetStatus { account: account(DOCTOR), status: AccountStatus::Suspended }.into();
    refused_for(Clause::SignerAllowed, "a suspended doctor", given(&[suspended], &by_doctor((2, 1))));
    let rotated = RotateKey { account: account(DOCTOR), key: key(NEW_KEY).public(), encryption: Fr::from(1) }.into();
    refused_for(Clause::SignatureValid, "the old key", given(&[rotated], &by_doctor((2, 1))));
    let ended = forced_revoke(PATIENT, RevokedGrants::Slot(emr_core::GrantSlot::new(slot).unwrap())).into();
    let (witness, public) = given(&[ended], &by_doctor((1, 2)));
    assert!(clauses(&failures(&witness, &public)).contains(&Some(Clause::GrantAllows)), "the grant is over");
    assert!(check_batch(&witness, &public).is_err());
}
