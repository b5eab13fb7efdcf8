//! One lie per clause, consistent in everything else. The plain-Rust statement and the constraint system must both refuse it,
//! and for that clause. The native check is bypassed: `BatchCircuit` lays out any witness.
#![cfg(feature = "prover")]
#![expect(clippy::unwrap_used, reason = "tests")]

mod circuit_forger;
mod scenario;

use std::collections::BTreeSet;

use circuit_forger::Forger;
use emr_core::{Class, ClassMask, Rights, Role};
use emr_rollup::{
    circuit::{BatchCircuit, Diagnosis, Failure},
    data::{CircuitVersion, PublicInputs},
    field::Fr,
    operation::SignedOperation,
    statement::{BatchWitness, Clause, EntryFields, OperationWitness, check_batch},
};
use halo2_proofs::dev::MockProver;
use scenario::*;

const VERSION: CircuitVersion =
    CircuitVersion { number: 1, account_depth: 3, grant_depth: 2, record_depth: 3, max_l1: 5, max_l2: 8, k: 14 };

fn failures(witness: &BatchWitness, public: &PublicInputs) -> Vec<Failure> {
    let circuit = BatchCircuit::new(witness, public);
    Diagnosis::new(&circuit, public).failures()
}

fn clauses(failures: &[Failure]) -> BTreeSet<String> {
    failures.iter().map(|failure| failure.origin.map_or("none".to_owned(), |origin| format!("{:?}", origin.clause))).collect()
}

/// Both must refuse, for this clause and no other.
fn refused_for(clause: Clause, what: &str, (witness, public): (BatchWitness, PublicInputs)) {
    let failures = failures(&witness, &public);
    let found = clauses(&failures);
    let shown: Vec<_> = failures.iter().take(4).map(ToString::to_string).collect();
    assert_eq!(found, BTreeSet::from([format!("{clause:?}")]), "{what}: {shown:#?}");
    let native = check_batch(&witness, &public).map_err(|violation| violation.clause);
    assert_eq!(native, Err(clause), "{what}: the plain-Rust statement");
}

fn entries() -> Vec<EntryFields> {
    registrations().iter().map(|registration| registration.fields()).collect()
}

fn forger_with(entries: &[EntryFields]) -> Forger {
    let mut forger = Forger::new(VERSION);
    for entry in entries {
        let witness = forger.registration(*entry);
        forger.register(witness);
    }
    forger
}

/// The honest history up to operation `count`.
fn forger(count: usize) -> Forger {
    let mut forger = forger_with(&entries());
    push_all(&mut forger, &operations(&VERSION)[..count]);
    forger
}

fn push_all(forger: &mut Forger, operations: &[SignedOperation]) {
    for operation in operations {
        let witness = forger.operation(operation);
        forger.push(witness);
    }
}

/// Operation `i` of the honest history, changed and signed again.
fn altered(i: usize, change: impl FnOnce(&mut OperationWitness)) -> (BatchWitness, PublicInputs) {
    let mut forger = forger(i);
    let mut witness = forger.operation(&operations(&VERSION)[i]);
    change(&mut witness);
    forger.sign(&mut witness);
    forger.push(witness);
    forger.finish()
}

/// As [`altered`], without signing again.
fn tampered(i: usize, change: impl FnOnce(&mut OperationWitness)) -> (BatchWitness, PublicInputs) {
    let mut forger = forger(i);
    let mut witness = forger.operation(&operations(&VERSION)[i]);
    change(&mut witness);
    forger.push(witness);
    forger.finish()
}

/// An operation on the honest history.
fn added(after: usize, operation: &SignedOperation) -> (BatchWitness, PublicInputs) {
    let mut forger = forger(after);
    let witness = forger.operation(operation);
    forger.push(witness);
    forger.finish()
}

fn one() -> Fr {
    Fr::from(1)
}

/// Replaces the first sibling of a path.
fn bent(path: &emr_rollup::tree::Path) -> emr_rollup::tree::Path {
    let mut siblings: Vec<_> = path.siblings().collect();
    siblings[0] += one();
    emr_rollup::tree::Path::new(siblings)
}

const SET: usize = 0;
const DOCTOR_PUT: usize = 2;
const PATIENT_PUT: usize = 3;
const SECOND_PUT: usize = 4;
const TOMBSTONE: usize = 5;
const REQUEST: usize = 6;
const REVOKE: usize = 7;

#[test]
fn the_forger_is_honest_unless_told_otherwise() {
    let (witness, public) = forger(8).finish();
    assert_eq!(failures(&witness, &public), []);
    assert_eq!(check_batch(&witness, &public), Ok(()));
    assert_eq!(public, honest(VERSION).1);
}

#[test]
fn c1_the_signer_is_in_the_state() {
    refused_for(Clause::C1, "path", tampered(SET, |w| w.signer_path = bent(&w.signer_path)));
    refused_for(Clause::C1, "leaf", tampered(DOCTOR_PUT, |w| w.signer.encryption += one()));
}

#[test]
fn c2_the_signer_may_do_this() {
    let suspended = |index: usize, operations: &[SignedOperation]| {
        let mut entries = entries();
        entries[index].status = Fr::from(2);
        let mut forger = forger_with(&entries);
        push_all(&mut forger, operations);
        forger.finish()
    };
    let all = operations(&VERSION);
    refused_for(Clause::C2, "suspended doctor", suspended(1, &all[..3]));
    let slot = first_slot(&VERSION);
    let by_hospital = sign(HOSPITAL, put(0, 0, record(Class::Summary, HOSPITAL, 1, 1)), Some(slot), 3);
    refused_for(Clause::C2, "a hospital writes", added(2, &by_hospital));
    let foreign = sign(STRANGER, set_grant(slot, grant(STRANGER, Rights::READ, ClassMask::ALL, 1), 0, 5), None, 3);
    refused_for(Clause::C2, "somebody else grants", added(0, &foreign));
    refused_for(Clause::C2, "somebody else revokes", added(2, &sign(STRANGER, revoke(slot, 1, 92, 5), None, 3)));
    // The stranger, under a WRITE grant, deletes what the doctor wrote.
    let mut forger = forger(5);
    let write = grant(STRANGER, Rights::WRITE, ClassMask::ALL, 2);
    push_all(&mut forger, &[sign(PATIENT, set_grant(slot + 1, write, 92, 93), None, 20)]);
    let leaf = emr_rollup::leaf::RecordLeaf {
        status: emr_core::RecordStatus::Tombstone,
        revision: emr_core::Revision::new(3).unwrap(),
        ..record(Class::Encounter, DOCTOR, 2, 2)
    };
    let (at, expected) = (emr_core::RecordSlot::new(0).unwrap(), emr_core::Revision::new(2).unwrap());
    let tombstone = emr_rollup::operation::Action::Tombstone { slot: at, expected, leaf };
    push_all(&mut forger, &[sign(STRANGER, tombstone, Some(slot + 1), 21)]);
    refused_for(Clause::C2, "not the author", forger.finish());
}

#[test]
fn c3_the_signature_is_valid_and_canonical() {
    refused_for(Clause::C3, "S", tampered(SET, |w| w.signature.s += one()));
    refused_for(Clause::C3, "R", tampered(SET, |w| w.signature.r_x += one()));
    refused_for(Clause::C3, "message", tampered(SET, |w| w.message.salt += one()));
    refused_for(Clause::C3, "another signer's key", tampered(SET, |w| {
        let signature = key(DOCTOR).sign(w.message.hash(domain().element()));
        w.signature.r_x = signature.r.x();
        w.signature.r_y = signature.r.y();
        w.signature.s = emr_rollup::field::reduce(&signature.s.to_bytes());
    }));
    refused_for(Clause::C3, "S plus the order", tampered(SET, |w| {
        let order = emr_rollup::jubjub::ORDER.to_be_bytes();
        let mut bytes = [0; 32];
        bytes.copy_from_slice(order.as_ref());
        w.signature.s += emr_rollup::field::reduce(&bytes);
    }));
}

#[test]
fn c4_the_message_is_current() {
    refused_for(Clause::C4, "expired", altered(SET, |w| w.message.header.valid_until = Fr::from(TIME - 1)));
    let late = TIME + emr_rollup::operation::MAX_VALIDITY + 1;
    refused_for(Clause::C4, "for too long", altered(SET, |w| w.message.header.valid_until = Fr::from(late)));
    refused_for(Clause::C4, "signer's epoch", altered(DOCTOR_PUT, |w| w.message.header.signer_epoch += one()));
    refused_for(Clause::C4, "patient's epoch", altered(SET, |w| w.message.header.patient_epoch += one()));
}

#[test]
fn c5_the_patient_is_in_order() {
    refused_for(Clause::C5, "path", tampered(DOCTOR_PUT, |w| w.patient_path = bent(&w.patient_path)));
    refused_for(Clause::C5, "medical path", tampered(SET, |w| w.medical_path = bent(&w.medical_path)));
    refused_for(Clause::C5, "medical leaf", tampered(PATIENT_PUT, |w| w.medical.grants_root += one()));
    let with = |change: fn(&mut EntryFields)| {
        let mut entries = entries();
        change(&mut entries[3]);
        forger_with(&entries)
    };
    // A suspended patient breaks C2 where she signs herself, so a doctor requests access.
    let request = sign(DOCTOR, request(first_slot(&VERSION), 0, Class::Summary), None, 3);
    let mut closed = with(|entry| entry.status = Fr::from(3));
    closed.write_grant(PATIENT, first_slot(&VERSION), &grant(DOCTOR, Rights::READ, ClassMask::ALL, 1));
    push_all(&mut closed, std::slice::from_ref(&request));
    refused_for(Clause::C5, "closed account", closed.finish());
    let mut doctor = with(|entry| entry.role = Fr::from(u64::from(Role::Doctor.code())));
    doctor.write_grant(PATIENT, first_slot(&VERSION), &grant(DOCTOR, Rights::READ, ClassMask::ALL, 1));
    push_all(&mut doctor, &[request]);
    refused_for(Clause::C5, "not a patient", doctor.finish());
}

#[test]
fn c6_the_grant_is_in_the_state() {
    refused_for(Clause::C6, "path", tampered(DOCTOR_PUT, |w| w.authority_path = bent(&w.authority_path)));
    refused_for(Clause::C6, "salt", tampered(DOCTOR_PUT, |w| w.authority.salt += one()));
    // No grant at all: one that the doctor makes up.
    let forged = grant(DOCTOR, Rights::WRITE, ClassMask::ALL, 1);
    refused_for(Clause::C6, "made up", tampered(DOCTOR_PUT, |w| w.authority = (&forged).into()));
}

#[test]
fn c7_the_grant_allows_this() {
    let slot = first_slot(&VERSION);
    let writes_under = |change: fn(&mut emr_rollup::leaf::GrantLeaf)| {
        let mut leaf = grant(HOSPITAL, Rights::READ | Rights::WRITE, ClassMask::ALL, 1);
        change(&mut leaf);
        let mut forger = forger(0);
        push_all(&mut forger, &[sign(PATIENT, set_grant(slot, leaf, 0, 91), None, 1)]);
        push_all(&mut forger, &operations(&VERSION)[DOCTOR_PUT..=DOCTOR_PUT]);
        forger.finish()
    };
    refused_for(Clause::C7, "somebody else's", writes_under(|leaf| leaf.grantee = Some(account(STRANGER))));
    refused_for(Clause::C7, "expired", writes_under(|leaf| leaf.not_after = time(TIME - 1)));
    refused_for(Clause::C7, "read only", writes_under(|leaf| leaf.rights = Rights::READ));
    refused_for(Clause::C7, "out of scope", writes_under(|leaf| leaf.scope = ClassMask::from(Class::Imaging)));
    // A revoked slot has grantee 0, and so has the organisation of a doctor without one.
    let mut nobodys = forger(2);
    push_all(&mut nobodys, &[sign(PATIENT, revoke(slot, 1, 92, 93), None, 11)]);
    push_all(&mut nobodys, &[sign(STRANGER, put(0, 0, record(Class::Summary, STRANGER, 1, 1)), Some(slot), 12)]);
    refused_for(Clause::C7, "revoked", nobodys.finish());
    // The old class counts too.
    let mut narrowed = forger(5);
    let leaf = grant(HOSPITAL, Rights::WRITE, ClassMask::from(Class::Imaging), 2);
    push_all(&mut narrowed, &[sign(PATIENT, set_grant(slot, leaf, 92, 93), None, 20)]);
    push_all(&mut narrowed, &[sign(DOCTOR, put(0, 2, record(Class::Imaging, DOCTOR, 3, 3)), Some(slot), 21)]);
    refused_for(Clause::C7, "old class", narrowed.finish());
    let other_class = sign(STRANGER, request(slot + 1, 0, Class::Imaging), None, 7);
    refused_for(Clause::C7, "request out of scope", added(REQUEST, &other_class));
    let other_grant = sign(STRANGER, request(slot, 0, Class::Summary), None, 7);
    refused_for(Clause::C7, "request of another's grant", added(REQUEST, &other_grant));
    let manage = grant(STRANGER, Rights::MANAGE, ClassMask::ALL, 2);
    let mut manager = forger(REQUEST);
    push_all(&mut manager, &[sign(PATIENT, set_grant(slot + 1, manage, 92, 93), None, 20)]);
    push_all(&mut manager, &operations(&VERSION)[REQUEST..=REQUEST]);
    refused_for(Clause::C7, "request without READ", manager.finish());
}

#[test]
fn c8_the_target_is_as_expected() {
    let up = |w: &mut OperationWitness| w.message.header.expected += one();
    refused_for(Clause::C8, "revision", altered(SECOND_PUT, up));
    refused_for(Clause::C8, "uses", altered(REQUEST, up));
    refused_for(Clause::C8, "target path", tampered(PATIENT_PUT, |w| w.target_path = bent(&w.target_path)));
    refused_for(Clause::C8, "grant path", tampered(SET, |w| w.target_path = bent(&w.target_path)));
    refused_for(Clause::C8, "directory", altered(SET, |w| w.message.directory_before += one()));
    let slot = first_slot(&VERSION);
    let stale = sign(PATIENT, set_grant(slot, grant(HOSPITAL, Rights::READ, ClassMask::ALL, 1), 92, 93), None, 9);
    refused_for(Clause::C8, "version", added(2, &stale));
    let ahead = sign(PATIENT, revoke(slot, 0, 92, 93), None, 9);
    refused_for(Clause::C8, "revoked below", added(2, &ahead));
    let again = record(Class::Laboratory, PATIENT, 2, 3);
    refused_for(Clause::C8, "deleted", added(6, &sign(PATIENT, put(1, 2, again), None, 9)));
}

#[test]
fn c9_only_the_allowed_fields_change() {
    // What is written is not what is signed.
    refused_for(Clause::C9, "stored", tampered(DOCTOR_PUT, |w| w.new_record.stored += one()));
    refused_for(Clause::C9, "class", tampered(PATIENT_PUT, |w| w.new_record.class += one()));
    refused_for(Clause::C9, "grant salt", tampered(SET, |w| w.new_grant.salt += one()));
    refused_for(Clause::C9, "rights", tampered(SET, |w| w.new_grant.rights += Fr::from(4)));
    // What is signed is not allowed.
    let mut resigned: Vec<(&str, usize, fn(&mut OperationWitness))> = vec![
        ("version", SECOND_PUT, |w| w.new_record.version += Fr::from(1)),
        ("revision", SECOND_PUT, |w| w.new_record.revision += Fr::from(1)),
        ("status", SECOND_PUT, |w| w.new_record.status = Fr::from(2)),
        ("author", SECOND_PUT, |w| w.new_record.author = Fr::from(STRANGER)),
        ("custodian", SECOND_PUT, |w| w.new_record.custodian = Fr::from(STRANGER)),
        ("tombstone keeps class", TOMBSTONE, |w| w.new_record.class += Fr::from(1)),
        ("tombstone keeps authored", TOMBSTONE, |w| w.new_record.authored += Fr::from(1)),
        ("tombstone keeps stored", TOMBSTONE, |w| w.new_record.stored += Fr::from(1)),
        ("tombstone status", TOMBSTONE, |w| w.new_record.status = Fr::from(1)),
        ("purpose", SET, |w| w.message.header.purpose = Fr::from(16)),
        ("tree", SET, |w| w.message.header.tree = Fr::from(2)),
        ("emergency", SET, |w| w.new_grant.rights = Fr::from(9)),
        ("to nobody", SET, |w| w.new_grant.grantee = Fr::from(0)),
        ("set version", SET, |w| w.new_grant.version += Fr::from(1)),
        ("set uses", SET, |w| w.new_grant.uses += Fr::from(1)),
        ("request keeps rights", REQUEST, |w| w.new_grant.rights += Fr::from(2)),
        ("request keeps salt", REQUEST, |w| w.new_grant.salt += Fr::from(1)),
        ("request counts once", REQUEST, |w| w.new_grant.uses += Fr::from(1)),
        ("request signs nothing else", REQUEST, |w| w.message.directory_after = Fr::from(5)),
        ("revoke clears rights", REVOKE, |w| w.new_grant.rights = Fr::from(1)),
        ("revoke keeps uses", REVOKE, |w| w.new_grant.uses = Fr::from(0)),
    ];
    for (what, i, change) in resigned.drain(..) {
        let case = altered(i, |w| {
            change(w);
            resign_body(w);
        });
        refused_for(Clause::C9, what, case);
    }
    let reserved = set_grant(first_slot(&VERSION) - 1, grant(STRANGER, Rights::READ, ClassMask::ALL, 1), 0, 1);
    refused_for(Clause::C9, "break-glass slot", added(0, &sign(PATIENT, reserved, None, 2)));
    let directory = |w: &mut OperationWitness| w.message.directory_after = one();
    refused_for(Clause::C9, "directory in a record operation", altered(PATIENT_PUT, directory));
}

/// Signs the fields that the witness writes.
fn resign_body(w: &mut OperationWitness) {
    let is_record = w.message.header.kind == Fr::from(1) || w.message.header.kind == Fr::from(2);
    let is_request = w.message.header.kind == Fr::from(6);
    if is_record {
        w.message.new_packed = w.new_record.packed();
        (w.message.opaque_1, w.message.opaque_2) = (w.new_record.authored, w.new_record.stored);
    } else if !is_request {
        let signed = emr_rollup::statement::GrantFields { uses: Fr::from(0), ..w.new_grant };
        (w.message.new_packed, w.message.opaque_1) = (signed.packed(), w.new_grant.salt);
    }
}

#[test]
fn c13_c15_c16_c18_public_inputs_are_these() {
    let changed = |change: fn(&mut PublicInputs)| {
        let (witness, mut public) = honest(VERSION);
        change(&mut public);
        (witness, public)
    };
    refused_for(Clause::C13, "pre", changed(|public| public.pre += Fr::from(1)));
    refused_for(Clause::C13, "post", changed(|public| public.post += Fr::from(1)));
    refused_for(Clause::C15, "commitment", changed(|public| public.commitment += Fr::from(1)));
    refused_for(Clause::C18, "y1", changed(|public| public.y1 += Fr::from(1)));
    refused_for(Clause::C18, "y2", changed(|public| public.y2 += Fr::from(1)));
    refused_for(Clause::C18, "n", changed(|public| public.n += 1));
    refused_for(Clause::C14, "n1", changed(|public| public.n1 += 1));
    // z moves both evaluations; time is in the audit entries, and so in everything after them.
    let (witness, public) = changed(|public| public.z += Fr::from(1));
    assert_eq!(clauses(&failures(&witness, &public)), BTreeSet::from(["C18".to_owned()]));
    let (witness, public) = changed(|public| public.time += 1);
    assert!(!failures(&witness, &public).is_empty() && check_batch(&witness, &public).is_err());
    // Data that say something else than was done.
    let mut forger = forger(3);
    forger.data.d2[1][1] += one();
    let (witness, public) = forger.finish();
    let found = clauses(&failures(&witness, &public));
    assert_eq!(found, BTreeSet::from(["C15".to_owned(), "C18".to_owned()]));
    assert_eq!(check_batch(&witness, &public).map_err(|violation| violation.clause), Err(Clause::C15));
}

#[test]
fn c14_l1_operations_are_total_and_take_effect_as_queued() {
    let entries = entries();
    // A second registration of an account is consumed and changes nothing; the forger overwrites.
    let mut twice = forger_with(&entries);
    let thief = EntryFields { key_x: entries[1].key_x, key_y: entries[1].key_y, ..entries[3] };
    let witness = twice.registration(thief);
    twice.register(witness);
    let (witness, public) = twice.finish();
    assert_eq!(clauses(&failures(&witness, &public)), BTreeSet::from(["C13".to_owned()]));
    assert!(check_batch(&witness, &public).is_err());
    // Paths, and a leaf that is there and is said not to be.
    let altered = |change: fn(&mut emr_rollup::statement::RegistrationWitness)| {
        let mut forger = forger_with(&entries[..3]);
        let mut witness = forger.registration(entries[3]);
        change(&mut witness);
        forger.register(witness);
        forger.finish()
    };
    let only_c14 = |what: &str, (witness, public): (BatchWitness, PublicInputs)| {
        let found = clauses(&failures(&witness, &public));
        assert!(found.contains("C14"), "{what}: {found:?}");
        assert_eq!(check_batch(&witness, &public).map_err(|violation| violation.clause), Err(Clause::C14), "{what}");
    };
    only_c14("identity path", altered(|w| w.identity_path = bent(&w.identity_path)));
    only_c14("medical path", altered(|w| w.medical_path = bent(&w.medical_path)));
    only_c14("old identity", altered(|w| w.old_identity = Fr::from(5)));
    only_c14("old medical", altered(|w| w.old_medical = Fr::from(5)));
    only_c14("kind", altered(|w| w.entry.kind = Fr::from(17)));
    // An unused slot before a used one, and data in an unused slot.
    let (mut witness, public) = honest(VERSION);
    let mut hole = witness.registrations[0].clone();
    hole.entry = EntryFields::default();
    witness.registrations.insert(0, hole);
    assert!(clauses(&failures(&witness, &public)).contains("C14"));
    let (mut witness, public) = honest(VERSION);
    let mut late = witness.registrations[0].clone();
    late.entry.kind = Fr::from(0);
    witness.registrations.push(late);
    assert!(clauses(&failures(&witness, &public)).contains("C14"));
}

#[test]
fn c17_padding_comes_last_and_changes_nothing() {
    let (witness, public) = forger(3).finish();
    let mut early = witness.clone();
    let mut hole = witness.operations[0].clone();
    hole.message = Default::default();
    hole.signature = Default::default();
    early.operations.insert(0, hole);
    assert!(clauses(&failures(&early, &public)).contains("C18"));
    // Whatever a padding slot holds, its data are zeros and the root stays.
    let circuit = BatchCircuit::new(&witness, &public);
    let diagnosis = Diagnosis::new(&circuit, &public);
    let padding: Vec<_> = diagnosis
        .cells()
        .filter(|cell| diagnosis.origin(*cell).is_some_and(|origin| origin.detail == "data of a padding slot"))
        .filter(|cell| cell.column == 6)
        .collect();
    assert!(!padding.is_empty());
    for cell in padding {
        let failures = diagnosis.failures_if(cell, diagnosis.value(cell) + one());
        assert!(clauses(&failures).contains("C17"), "{cell:?}: {failures:?}");
    }
}

#[test]
fn c19_every_field_is_in_range() {
    let cases: Vec<(&str, usize, fn(&mut OperationWitness))> = vec![
        ("expected", REVOKE, |w| w.message.header.expected += Fr::from(1 << 32)),
        ("valid_until", SET, |w| w.message.header.valid_until += Fr::from(1 << 40)),
        ("purpose", REQUEST, |w| w.message.header.purpose += Fr::from(256)),
        ("signer", DOCTOR_PUT, |w| w.message.header.signer += Fr::from(1 << 24)),
        ("slot", PATIENT_PUT, |w| w.message.header.slot += Fr::from(1 << 16)),
        ("grant scope", SET, |w| w.new_grant.scope += Fr::from(1 << 16)),
        ("grant grantee", SET, |w| w.new_grant.grantee += Fr::from(1 << 24)),
        ("record class", DOCTOR_PUT, |w| w.new_record.class += Fr::from(16)),
        ("old uses", REQUEST, |w| w.old_grant.uses += Fr::from(1 << 32)),
        ("signer's epoch", SET, |w| w.signer.epoch += Fr::from(1 << 32)),
        ("authority not_after", DOCTOR_PUT, |w| w.authority.not_after += Fr::from(1 << 40)),
    ];
    for (what, i, change) in cases {
        let (mut witness, public) = forger(8).finish();
        change(&mut witness.operations[i]);
        let found = clauses(&failures(&witness, &public));
        let outside = found.contains("C19") || found.contains("C1") || found.contains("C8");
        assert!(outside, "{what}: {found:?}");
        let native = check_batch(&witness, &public).map_err(|violation| violation.clause);
        assert_eq!(native, Err(Clause::C19), "{what}");
    }
    // A field that overflows into its neighbour: the packing is the same, the meaning is not.
    let overflow = tampered(SET, |w| {
        w.new_grant.rights -= one();
        w.new_grant.scope += Fr::from(1 << 16);
    });
    let found = clauses(&failures(&overflow.0, &overflow.1));
    assert_eq!(found, BTreeSet::from(["C19".to_owned()]));
}

/// The diagnosis finds what MockProver finds.
#[test]
fn mock_prover_agrees() {
    for (witness, public) in [honest(VERSION), altered(SET, |w| w.message.header.valid_until = Fr::from(TIME - 1))] {
        let circuit = BatchCircuit::new(&witness, &public);
        let ours = Diagnosis::new(&circuit, &public).failures();
        let prover = MockProver::run(VERSION.k, &circuit, vec![public.elements().to_vec()]).unwrap();
        let theirs = prover.verify().err().unwrap_or_default();
        assert_eq!(ours.len(), theirs.len(), "{ours:?} {theirs:?}");
    }
}
