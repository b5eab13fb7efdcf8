//! The ledger: honest histories, derivation from batch data, and the rules.
#![expect(clippy::unwrap_used, reason = "tests")]

use emr_core::{Class, ClassMask, RecordStatus, Rights};
use emr_rollup::testing::scenario::*;
use emr_rollup::{
    batch::{D2Entry, PushError},
    operation::{DirectoryCommitment, Domain, Operation, SignedOperation},
    primitive::{eddsa::SigningKey, field::Fr},
    state::{
        StateTrees,
        leaf::{AuditEntry, RecordLeaf, extend_head},
        ledger::{ApplyError, CheckedOperation, Executed, Ledger},
    },
    statement::{Clause, check_batch},
    version::CircuitVersion,
};

fn refusal(batch: &mut emr_rollup::batch::Batch<emr_rollup::batch::Open>, operation: &SignedOperation) -> Clause {
    match batch.push(operation) {
        Err(PushError::Refused(violation)) => violation.clause,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn re_sign(signed: SignedOperation, change: impl FnOnce(&mut Operation)) -> SignedOperation {
    let mut operation = signed.operation;
    change(&mut operation);
    operation.sign(domain(), &key(operation.signer.get()), signed.authority)
}

#[test]
fn an_honest_batch_satisfies_the_statement_at_both_depths() {
    for version in [SMALL, CircuitVersion::V1] {
        let (witness, public) = honest(version);
        assert_eq!(check_batch(&witness, &public), Ok(()));
    }
}

#[test]
fn state_is_derived_from_batch_data_alone() {
    let mut batch = open(CircuitVersion::V1);
    for operation in operations(&CircuitVersion::V1) {
        batch.push(&operation).unwrap();
    }
    let (sealed, ledger) = batch.seal();
    let mut trees = StateTrees::genesis(CircuitVersion::V1);
    assert_eq!(trees.root(), sealed.public().pre);
    trees.apply(sealed.data(), sealed.time()).unwrap();
    assert_eq!(trees.root(), sealed.public().post);
    let audit = &ledger.patient(account(PATIENT)).unwrap().audit;
    let fold = |entries: &[AuditEntry], head| entries.iter().fold(head, |head, entry| extend_head(head, entry.hash()));
    assert_eq!(audit.entries().len(), operations(&CircuitVersion::V1).len());
    let head = fold(audit.entries(), Fr::from(0));
    assert_eq!(head, ledger.medical(account(PATIENT)).unwrap().audit_head);
    assert_eq!(audit.head(), head);
    // Each part leads from the head before it to the head after it.
    for end in 0..=audit.entries().len() {
        for limit in [1, 3, 8, 100] {
            let part = audit.part(end, limit).unwrap();
            assert_eq!((part.first, part.entries.len()), (end.saturating_sub(limit), end.min(limit)));
            assert_eq!(fold(part.entries, part.before), fold(&audit.entries()[..end], Fr::from(0)));
        }
    }
    assert_eq!(audit.part(audit.entries().len() + 1, 3), None);
    assert_eq!(ledger.medical(account(PATIENT)).unwrap().key_directory, Fr::from(94).into());
}

#[test]
fn batch_data_with_an_unknown_leaf_is_refused() {
    let (batch, _) = open(SMALL).seal();
    let mut data = batch.data().clone();
    let (leaf, audit_entry, key_directory) = (Fr::from(1).into(), Fr::from(1), DirectoryCommitment::NONE);
    data.d2.push(D2Entry { place: Fr::from(9 << 18 | 1 << 16), leaf, audit_entry, key_directory });
    assert!(StateTrees::genesis(SMALL).apply(&data, time(TIME)).is_err());
    data.d2[0].place = Fr::from(PATIENT << 18);
    assert!(StateTrees::genesis(SMALL).apply(&data, time(TIME)).is_err());
}

#[test]
fn operations_cannot_be_replayed_or_moved_to_another_rollup() {
    let mut batch = open(SMALL);
    let operations = operations(&SMALL);
    for operation in &operations {
        batch.push(operation).unwrap();
        if batch.len() < 4 + SMALL.max_l2 {
            assert!(batch.push(operation).is_err(), "replayed");
        }
    }
    let mut batch = open(SMALL);
    let elsewhere =
        operations[0].operation.sign(emr_rollup::operation::Domain::new(1, [0x11; 20]), &key(PATIENT), None);
    assert_eq!(refusal(&mut batch, &elsewhere), Clause::SignatureValid);
}

#[test]
fn without_a_grant_nobody_but_the_patient_grants_or_revokes() {
    let slot = first_slot(&SMALL);
    let mut batch = open(SMALL);
    let operation = sign(DOCTOR, set_grant(slot, grant(DOCTOR, Rights::READ, ClassMask::ALL, 1), 0, 1), None, 1);
    assert_eq!(refusal(&mut batch, &operation), Clause::GrantKnown);
    batch.push(&operations(&SMALL)[0]).unwrap();
    assert_eq!(refusal(&mut batch, &sign(DOCTOR, revoke(slot, 1, 91, 91), None, 2)), Clause::GrantKnown);
    // The hospital's grant has READ and WRITE. Its doctor does not manage grants under it.
    let under = sign(DOCTOR, revoke(slot, 1, 91, 91), Some(slot), 2);
    assert_eq!(refusal(&mut batch, &under), Clause::GrantAllows);
    let forged = sign(PATIENT, set_grant(slot + 1, grant(DOCTOR, Rights::READ, ClassMask::ALL, 1), 91, 1), None, 1)
        .operation
        .sign(domain(), &key(DOCTOR), None);
    assert_eq!(refusal(&mut batch, &forged), Clause::SignatureValid);
}

/// A delegate acts only while their own grant is live, and the patient ends everything that they gave.
#[test]
fn a_delegate_acts_as_long_as_the_patient_lets_them() {
    let slot = first_slot(&SMALL);
    let mut batch = open(SMALL);
    let summary = ClassMask::from(Class::Summary);
    let given = |version| grant(DOCTOR, Rights::READ, summary, version);
    let manage = |version| grant(STRANGER, Rights::MANAGE, summary, version);
    let by_delegate = |action, salt| sign(STRANGER, action, Some(slot + 1), salt);
    let early = by_delegate(set_grant(slot, given(1), 1, 1), 1);
    assert!(batch.push(&early).is_err(), "before the patient made them a delegate");
    batch.push(&sign(PATIENT, set_grant(slot + 1, manage(1), 0, 1), None, 2)).unwrap();
    batch.push(&early).unwrap();
    batch.push(&sign(DOCTOR, request(slot, 1, 0, Class::Summary), None, 3)).unwrap();
    // A delegate without READ gives READ. The keys are another matter: they have none to give.
    let withheld = by_delegate(set_grant(slot, given(3), 1, 1), 4);
    batch.push(&sign(PATIENT, revoke(slot, 1, 1, 2), None, 5)).unwrap();
    assert_eq!(refusal(&mut batch, &withheld), Clause::TargetExpected);
    batch.push(&sign(PATIENT, revoke(slot + 1, 1, 2, 3), None, 6)).unwrap();
    let late = by_delegate(set_grant(slot, given(3), 3, 3), 7);
    assert_eq!(refusal(&mut batch, &late), Clause::GrantAllows);
    // A new delegation does not bring back what was signed for another directory.
    batch.push(&sign(PATIENT, set_grant(slot + 1, manage(3), 3, 4), None, 8)).unwrap();
    assert_eq!(refusal(&mut batch, &late), Clause::TargetExpected);
    batch.push(&by_delegate(set_grant(slot, given(3), 4, 4), 9)).unwrap();
}

#[test]
fn grants_have_no_emergency_right_and_no_break_glass_slot() {
    let slot = first_slot(&SMALL);
    let mut batch = open(SMALL);
    let emergency = grant(DOCTOR, Rights::EMERGENCY, ClassMask::ALL, 1);
    assert_eq!(refusal(&mut batch, &sign(PATIENT, set_grant(slot, emergency, 0, 1), None, 1)), Clause::NewLeafAllowed);
    let reserved = grant(DOCTOR, Rights::READ, ClassMask::ALL, 1);
    assert_eq!(
        refusal(&mut batch, &sign(PATIENT, set_grant(slot - 1, reserved, 0, 1), None, 1)),
        Clause::NewLeafAllowed
    );
}

#[test]
fn a_stale_directory_stops_a_grant_but_not_a_revocation() {
    let slot = first_slot(&SMALL);
    let mut batch = open(SMALL);
    batch.push(&operations(&SMALL)[0]).unwrap();
    let stale = sign(PATIENT, set_grant(slot + 1, grant(STRANGER, Rights::READ, ClassMask::ALL, 1), 5, 6), None, 1);
    assert_eq!(refusal(&mut batch, &stale), Clause::TargetExpected);
    batch.push(&sign(PATIENT, revoke(slot, 1, 5, 6), None, 2)).unwrap();
    let (_, ledger) = batch.seal();
    let patient = ledger.patient(account(PATIENT)).unwrap();
    assert_eq!(patient.grants.values().next().unwrap().rights, Rights::NONE);
    assert_eq!(ledger.medical(account(PATIENT)).unwrap().key_directory, Fr::from(91).into());
}

#[test]
fn a_revocation_outlives_every_grant_signed_before_it() {
    let slot = first_slot(&SMALL);
    let mut batch = open(SMALL);
    // The grant was signed but never sent. The patient knows that they signed version 3.
    let pending: Vec<_> = (1..=3)
        .map(|v| sign(PATIENT, set_grant(slot, grant(STRANGER, Rights::READ, ClassMask::ALL, v), 0, 0), None, v))
        .collect();
    batch.push(&sign(PATIENT, revoke(slot, 3, 0, 0), None, 9)).unwrap();
    for late in &pending {
        assert_eq!(refusal(&mut batch, late), Clause::TargetExpected);
    }
    assert_eq!(refusal(&mut batch, &sign(PATIENT, revoke(slot, 3, 0, 0), None, 10)), Clause::TargetExpected);
}

#[test]
fn writing_needs_a_live_write_grant_over_both_classes() {
    let slot = first_slot(&SMALL);
    let with = |leaf, class: Class, authority: Option<u64>, signer: u64| {
        let mut batch = open(SMALL);
        batch.push(&sign(PATIENT, set_grant(slot, leaf, 0, 1), None, 1)).unwrap();
        let mut leaf = record(class, signer, 1, 1);
        leaf.author = account(signer);
        match batch.push(&sign(signer, put(0, 0, leaf), authority, 2)) {
            Ok(()) => None,
            Err(PushError::Refused(violation)) => Some(violation.clause),
            Err(PushError::Full) => panic!("full"),
            Err(other) => panic!("{other}"),
        }
    };
    let laboratory = ClassMask::from(Class::Laboratory);
    let write = grant(HOSPITAL, Rights::WRITE, laboratory, 1);
    assert_eq!(with(write, Class::Laboratory, Some(slot), DOCTOR), None);
    assert_eq!(with(write, Class::Summary, Some(slot), DOCTOR), Some(Clause::GrantAllows));
    assert_eq!(with(write, Class::Laboratory, Some(slot), STRANGER), Some(Clause::GrantAllows));
    assert_eq!(with(write, Class::Laboratory, Some(slot + 1), DOCTOR), Some(Clause::GrantAllows));
    assert_eq!(with(write, Class::Laboratory, None, DOCTOR), Some(Clause::GrantKnown));
    assert_eq!(with(write, Class::Laboratory, Some(slot), HOSPITAL), Some(Clause::SignerAllowed));
    let read = grant(HOSPITAL, Rights::READ, laboratory, 1);
    assert_eq!(with(read, Class::Laboratory, Some(slot), DOCTOR), Some(Clause::GrantAllows));
    let expired = emr_rollup::state::leaf::GrantLeaf { not_after: time(TIME - 1), ..write };
    assert_eq!(with(expired, Class::Laboratory, Some(slot), DOCTOR), Some(Clause::GrantAllows));
    let last_second = emr_rollup::state::leaf::GrantLeaf { not_after: time(TIME), ..write };
    assert_eq!(with(last_second, Class::Laboratory, Some(slot), DOCTOR), None);
}

#[test]
fn an_author_cannot_be_impersonated_and_custody_cannot_be_taken() {
    let slot = first_slot(&SMALL);
    let mut batch = open(SMALL);
    batch.push(&operations(&SMALL)[0]).unwrap();
    let other_author = record(Class::Summary, STRANGER, 1, 1);
    assert_eq!(refusal(&mut batch, &sign(DOCTOR, put(0, 0, other_author), Some(slot), 2)), Clause::NewLeafAllowed);
    batch.push(&sign(DOCTOR, put(0, 0, record(Class::Summary, DOCTOR, 1, 1)), Some(slot), 3)).unwrap();
    let moved = RecordLeaf { custodian: Some(account(STRANGER)), ..record(Class::Summary, DOCTOR, 2, 2) };
    assert_eq!(refusal(&mut batch, &sign(DOCTOR, put(0, 1, moved), Some(slot), 4)), Clause::NewLeafAllowed);
    let skipped = record(Class::Summary, DOCTOR, 3, 2);
    assert_eq!(refusal(&mut batch, &sign(DOCTOR, put(0, 1, skipped), Some(slot), 5)), Clause::NewLeafAllowed);
}

#[test]
fn a_deleted_record_stays_deleted() {
    let mut batch = open(SMALL);
    for operation in &operations(&SMALL)[..6] {
        batch.push(operation).unwrap();
    }
    let back = record(Class::Laboratory, PATIENT, 2, 3);
    assert_eq!(refusal(&mut batch, &sign(PATIENT, put(1, 2, back), None, 9)), Clause::TargetExpected);
    let stored = RecordLeaf { authored: Fr::from(501), ..record(Class::Laboratory, PATIENT, 1, 3) };
    assert_eq!(refusal(&mut batch, &sign(PATIENT, rekey(1, 2, stored), None, 10)), Clause::TargetExpected);
    let tombstone = |signer: u64, revision: u64, authority| {
        let leaf = RecordLeaf { status: RecordStatus::Tombstone, ..record(Class::Encounter, DOCTOR, 2, revision) };
        let leaf = RecordLeaf { authored: Fr::from(502), stored: Fr::from(602), ..leaf };
        let slot = emr_core::RecordSlot::new(0).unwrap();
        let expected = emr_core::Revision::new(revision - 1).unwrap();
        sign(
            signer,
            emr_rollup::operation::Action::Tombstone(emr_rollup::operation::Tombstone { slot, expected, leaf }),
            authority,
            11,
        )
    };
    assert_eq!(refusal(&mut batch, &tombstone(STRANGER, 3, Some(first_slot(&SMALL)))), Clause::GrantAllows);
    assert_eq!(refusal(&mut batch, &tombstone(DOCTOR, 4, Some(first_slot(&SMALL)))), Clause::TargetExpected);
    batch.push(&tombstone(DOCTOR, 3, Some(first_slot(&SMALL)))).unwrap();
}

#[test]
fn messages_lapse_with_time_and_epoch() {
    let operation = operations(&SMALL)[0];
    let mut batch = open(SMALL);
    let late = re_sign(operation, |o| o.valid_until = time(TIME - 1));
    assert_eq!(refusal(&mut batch, &late), Clause::MessageCurrent);
    let too_long = re_sign(operation, |o| o.valid_until = time(TIME + 7 * 86_400 + 1));
    assert_eq!(refusal(&mut batch, &too_long), Clause::MessageCurrent);
    for change in [
        |o: &mut Operation| o.signer_epoch = o.signer_epoch.next().unwrap(),
        |o: &mut Operation| {
            o.patient_epoch = o.patient_epoch.next().unwrap();
        },
    ] {
        assert_eq!(refusal(&mut batch, &re_sign(operation, change)), Clause::MessageCurrent);
    }
}

#[test]
fn access_is_requested_within_a_live_grant_only() {
    let slot = first_slot(&SMALL);
    let mut batch = open(SMALL);
    for operation in &operations(&SMALL)[..2] {
        batch.push(operation).unwrap();
    }
    assert_eq!(refusal(&mut batch, &sign(STRANGER, request(slot, 1, 0, Class::Summary), None, 3)), Clause::GrantAllows);
    assert_eq!(
        refusal(&mut batch, &sign(STRANGER, request(slot + 1, 1, 0, Class::Imaging), None, 3)),
        Clause::GrantAllows
    );
    assert_eq!(
        refusal(&mut batch, &sign(STRANGER, request(slot + 1, 1, 1, Class::Summary), None, 3)),
        Clause::TargetExpected
    );
    assert_eq!(
        refusal(&mut batch, &sign(STRANGER, request(slot + 2, 1, 0, Class::Summary), None, 3)),
        Clause::GrantAllows
    );
    batch.push(&sign(STRANGER, request(slot + 1, 1, 0, Class::Summary), None, 3)).unwrap();
    // The doctor reads under their hospital's grant.
    batch.push(&sign(DOCTOR, request(slot, 1, 0, Class::Genetics), None, 4)).unwrap();
}

/// A node that withholds a request cannot count it under a later grant to the same reader.
#[test]
fn a_request_counts_under_the_grant_that_it_names() {
    let slot = first_slot(&SMALL);
    let mut batch = open(SMALL);
    let summary = ClassMask::from(Class::Summary);
    batch.push(&sign(PATIENT, set_grant(slot, grant(STRANGER, Rights::READ, summary, 1), 0, 1), None, 1)).unwrap();
    let withheld = sign(STRANGER, request(slot, 1, 0, Class::Summary), None, 2);
    batch.push(&sign(PATIENT, revoke(slot, 1, 1, 2), None, 3)).unwrap();
    assert_eq!(refusal(&mut batch, &withheld), Clause::GrantAllows);
    batch.push(&sign(PATIENT, set_grant(slot, grant(STRANGER, Rights::READ, summary, 3), 2, 3), None, 4)).unwrap();
    assert_eq!(refusal(&mut batch, &withheld), Clause::NewLeafAllowed);
    batch.push(&sign(STRANGER, request(slot, 3, 0, Class::Summary), None, 5)).unwrap();
}

#[test]
fn a_rekey_moves_ciphertext_and_nothing_else() {
    let mut batch = open(SMALL);
    for operation in &operations(&SMALL)[..5] {
        batch.push(operation).unwrap();
    }
    let stored = |revision, stored, custodian: Option<u64>| RecordLeaf {
        authored: Fr::from(502),
        stored: Fr::from(stored),
        custodian: custodian.map(account),
        ..record(Class::Encounter, DOCTOR, 2, revision)
    };
    let first = sign(PATIENT, rekey(0, 2, stored(3, 7, Some(HOSPITAL))), None, 20);
    batch.push(&first).unwrap();
    // The author does not rekey, and neither the first Rekey nor one signed for the same revision comes back.
    assert_eq!(refusal(&mut batch, &sign(DOCTOR, rekey(0, 3, stored(4, 8, None)), None, 21)), Clause::SignerAllowed);
    batch.push(&sign(PATIENT, rekey(0, 3, stored(4, 8, None)), None, 22)).unwrap();
    assert_eq!(refusal(&mut batch, &first), Clause::TargetExpected);
    assert_eq!(refusal(&mut batch, &sign(PATIENT, rekey(0, 3, stored(4, 7, None)), None, 23)), Clause::TargetExpected);
    let other_text = RecordLeaf { authored: Fr::from(1), ..stored(5, 9, None) };
    assert_eq!(refusal(&mut batch, &sign(PATIENT, rekey(0, 4, other_text), None, 24)), Clause::NewLeafAllowed);
    // An empty slot holds nothing to store again.
    let nothing = RecordLeaf { revision: emr_core::Revision::new(1).unwrap(), ..stored(1, 9, None) };
    assert_eq!(refusal(&mut batch, &sign(PATIENT, rekey(5, 0, nothing), None, 25)), Clause::TargetExpected);
    let (_, ledger) = batch.seal();
    let slot = emr_core::RecordSlot::new(0).unwrap();
    assert_eq!(ledger.patient(account(PATIENT)).unwrap().records[&slot], stored(4, 8, None));
}

#[test]
fn an_emergency_grant_is_taken_by_a_doctor_for_a_day_in_a_slot_that_is_over() {
    let day = 24 * 3600;
    let mut batch = open(SMALL);
    let until = |grantee, version, end| emr_rollup::state::leaf::GrantLeaf {
        not_after: time(end),
        ..emergency(grantee, version)
    };
    let take = |signer, slot, leaf, salt| sign(signer, break_glass(slot, leaf), None, salt);
    let refused = |batch: &mut _, signer, slot, leaf| refusal(batch, &take(signer, slot, leaf, 30));
    assert_eq!(refused(&mut batch, HOSPITAL, 0, emergency(HOSPITAL, 1)), Clause::SignerAllowed);
    assert_eq!(refused(&mut batch, STRANGER, 0, emergency(DOCTOR, 1)), Clause::NewLeafAllowed);
    assert_eq!(refused(&mut batch, STRANGER, 0, until(STRANGER, 1, TIME + day + 1)), Clause::NewLeafAllowed);
    assert_eq!(refused(&mut batch, STRANGER, first_slot(&SMALL), emergency(STRANGER, 1)), Clause::NewLeafAllowed);
    batch.push(&take(STRANGER, 0, until(STRANGER, 1, TIME + day), 1)).unwrap();
    // Its doctor requests access under it, within its classes.
    batch.push(&sign(STRANGER, request(0, 1, 0, Class::Summary), None, 2)).unwrap();
    let beyond = sign(STRANGER, request(0, 1, 1, Class::Genetics), None, 3);
    assert_eq!(refusal(&mut batch, &beyond), Clause::GrantAllows);
    // Nobody takes the slot while it holds, its doctor neither. The patient ends it, and then it is free.
    assert_eq!(refused(&mut batch, DOCTOR, 0, emergency(DOCTOR, 2)), Clause::TargetExpected);
    assert_eq!(refused(&mut batch, STRANGER, 0, emergency(STRANGER, 2)), Clause::TargetExpected);
    batch.push(&sign(PATIENT, revoke(0, 1, 0, 0), None, 4)).unwrap();
    assert_eq!(refused(&mut batch, DOCTOR, 0, emergency(DOCTOR, 2)), Clause::TargetExpected);
    batch.push(&take(DOCTOR, 0, emergency(DOCTOR, 3), 5)).unwrap();
    let (_, ledger) = batch.seal();
    // It holds in its last second, and is over in the next.
    let later = |seconds| emr_rollup::batch::Batch::open(ledger.clone(), 2, time(TIME + seconds));
    let valid = |end| re_sign(take(STRANGER, 0, until(STRANGER, 4, end), 6), |o| o.valid_until = time(TIME + day));
    assert_eq!(refusal(&mut later(3600), &valid(TIME + 4000)), Clause::TargetExpected);
    assert_eq!(later(3601).push(&valid(TIME + 4000)), Ok(()));
    assert_eq!(refusal(&mut later(3601), &valid(TIME + 3600)), Clause::NewLeafAllowed);
}

/// Everything of the patient that an operation can change.
fn content(ledger: &Ledger) -> (emr_core::StateRoot, String) {
    let patient = ledger.patient(account(PATIENT)).unwrap();
    (ledger.trees().root(), format!("{:?} {:?} {:?}", patient.grants, patient.records, patient.audit))
}

fn checked(ledger: &Ledger, signed: &SignedOperation) -> CheckedOperation {
    ledger.check(signed, time(TIME)).unwrap()
}

#[test]
fn a_checked_operation_is_applied_to_the_state_of_its_check_only() {
    let (_, mut ledger) = open(SMALL).seal();
    let first = operations(&SMALL)[0];
    let second = re_sign(first, |operation| operation.salt = Fr::from(99));
    let [one, other, again] = [first, second, first].map(|signed| checked(&ledger, &signed));
    let (mut apart, before) = (ledger.clone(), content(&ledger));

    // An apply is the same as an execution.
    let expected = apart.execute(&first, time(TIME)).unwrap();
    let Executed { d2, entry, .. } = ledger.apply(one).unwrap();
    assert_eq!((d2, entry), (expected.d2, expected.entry));
    let after = content(&ledger);
    assert_eq!(after, content(&apart));
    assert_ne!(after, before);

    // The state has moved: neither another operation nor the same one is applied, and nothing changes.
    for stale in [other, again] {
        assert!(!stale.is_current(&ledger, time(TIME)));
        let moved = ApplyError::StateMoved { checked: before.0, ledger: after.0 };
        assert_eq!(ledger.apply(stale).err(), Some(moved));
        assert_eq!(content(&ledger), after);
    }
}

/// An operation can follow every rule on both states and still be refused: the check was about the other state.
#[test]
fn an_operation_that_was_checked_on_another_ledger_is_refused() {
    let (_, mut ledger) = open(SMALL).seal();
    let (mut elsewhere, before) = (ledger.clone(), content(&ledger));
    let slot = first_slot(&SMALL);
    let other = sign(PATIENT, set_grant(slot + 1, grant(DOCTOR, Rights::READ, ClassMask::ALL, 1), 0, 0), None, 7);
    elsewhere.execute(&other, time(TIME)).unwrap();
    let request = sign(DOCTOR, request(slot + 1, 1, 0, Class::Summary), None, 8);
    assert!(ledger.check(&request, time(TIME)).is_err(), "there is no grant here");
    let checked = checked(&elsewhere, &request);
    assert!(checked.is_current(&elsewhere, time(TIME)));
    assert!(!checked.is_current(&elsewhere, time(TIME + 1)), "a check holds for one time");
    let moved = ApplyError::StateMoved { checked: elsewhere.trees().root(), ledger: before.0 };
    assert_eq!(ledger.apply(checked).err(), Some(moved));
    assert_eq!(content(&ledger), before);
}

/// Two rollups can have the same state. A signature is for one of them only.
#[test]
fn an_operation_that_was_checked_for_another_rollup_is_refused() {
    let register = |domain| {
        let mut ledger = Ledger::genesis(domain, SMALL);
        for registration in registrations() {
            ledger.consume(&registration.into(), time(TIME)).unwrap();
        }
        ledger
    };
    let (here, mut elsewhere) = (register(domain()), register(Domain::new(1, [0x11; 20])));
    let checked = checked(&here, &operations(&SMALL)[0]);
    let before = content(&elsewhere);
    assert_eq!(before.0, here.trees().root(), "the states are equal");
    assert!(!checked.is_current(&elsewhere, time(TIME)));
    assert_eq!(elsewhere.apply(checked).err(), Some(ApplyError::OtherRollup));
    assert_eq!(content(&elsewhere), before);
}

#[test]
fn an_account_is_registered_once() {
    let mut batch = open(SMALL);
    let thief = emr_rollup::l1_operation::Register {
        key: SigningKey::from_seed(&[99; 32]).public(),
        ..registrations()[3].clone()
    };
    batch.push_l1(&thief.into()).unwrap();
    batch.push(&operations(&SMALL)[0]).unwrap();
    assert_eq!(batch.push_l1(&registrations()[0].clone().into()), Err(PushError::Full));
    let (sealed, ledger) = batch.seal();
    assert_eq!(ledger.identity(account(PATIENT)).unwrap().key, key(PATIENT).public());
    assert_eq!(check_batch(sealed.witness(), sealed.public()), Ok(()));
}

/// No public input can be changed without another witness.
#[test]
fn every_public_input_is_bound() {
    type Change = fn(&mut emr_rollup::batch::PublicInputs);
    let changes: [(Change, Clause); 9] = [
        (|public| public.domain = emr_rollup::operation::Domain::new(1, [0; 20]), Clause::SignatureValid),
        (|public| public.pre = another_root(public.pre), Clause::RootsChain),
        (|public| public.post = another_root(public.post), Clause::RootsChain),
        // The second operation reads an audit head that the first did not leave.
        (|public| public.time += 1, Clause::PatientInOrder),
        (|public| public.n1 += 1, Clause::L1AsQueued),
        (|public| public.n -= 1, Clause::PublicInputs),
        (|public| public.commitment += Fr::from(1), Clause::DataCommitment),
        (|public| public.y1 += Fr::from(1), Clause::PublicInputs),
        (|public| public.y2 += Fr::from(1), Clause::PublicInputs),
    ];
    let (witness, public) = honest(SMALL);
    for (change, clause) in changes {
        let mut other = public;
        change(&mut other);
        assert_eq!(check_batch(&witness, &other).map_err(|violation| violation.clause), Err(clause));
    }
}
