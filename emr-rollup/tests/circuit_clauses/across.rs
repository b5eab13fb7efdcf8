//! Two patients in one batch, and attacks from one on the other: everything that an operation reads of a patient is that patient's.

use emr_core::{Class, ClassMask, Rights, Role};
use emr_rollup::{
    batch::PublicInputs,
    l1_operation::{L1Operation, Register},
    operation::{CLIENT_VALIDITY, Operation, SignedOperation},
    primitive::field::Fr,
    statement::{BatchWitness, Clause, OperationWitness, check_batch},
    testing::{forger::Forger, scenario::*},
};

use crate::harness::*;

/// Account of a second patient.
const OTHER: u64 = 5;

/// The history's accounts, and the second patient.
fn two_patients() -> Forger {
    let account = account(OTHER);
    let register = Register { account, role: Role::Patient, org: None, key: key(OTHER).public(), encryption: one() };
    let entries = [entries(), vec![L1Operation::from(register).fields()]].concat();
    forger_with(&entries)
}

/// An operation of the history's signers on the second patient.
fn on_other(signed: SignedOperation, signer: u64) -> SignedOperation {
    let authority = signed.authority;
    let (signer, patient) = (account(signer), account(OTHER));
    let valid_until = time(TIME + CLIENT_VALIDITY);
    Operation { signer, patient, valid_until, ..signed.operation }.sign(domain(), &key(signer.get()), authority)
}

/// The first patient lets the hospital write, the second does not.
fn granted() -> Forger {
    let mut forger = two_patients();
    push_all(&mut forger, &operations(&VERSION)[..1]);
    forger
}

/// The second patient writes their own record.
fn other_put() -> SignedOperation {
    on_other(sign(OTHER, put(1, 0, record(Class::Laboratory, OTHER, 1, 1)), None, 4), OTHER)
}

fn doctor_put() -> SignedOperation {
    let slot = first_slot(&VERSION);
    sign(DOCTOR, put(0, 0, record(Class::Summary, DOCTOR, 1, 1)), Some(slot), 3)
}

/// Signs a changed witness again, and ends the batch with it.
fn with(mut forger: Forger, mut witness: OperationWitness, change: impl FnOnce(&mut OperationWitness)) -> Case {
    change(&mut witness);
    forger.sign(&mut witness);
    forger.push(witness);
    forger.finish()
}

type Case = (BatchWitness, PublicInputs);

#[test]
fn two_patients_in_one_batch() {
    let mut forger = granted();
    let slot = first_slot(&VERSION);
    let to_stranger = set_grant(slot, grant(STRANGER, Rights::WRITE, ClassMask::ALL, 1), 0, 5);
    push_all(&mut forger, &[on_other(sign(OTHER, to_stranger, None, 2), OTHER), doctor_put()]);
    let theirs = sign(STRANGER, put(0, 0, record(Class::Genetics, STRANGER, 1, 1)), Some(slot), 4);
    push_all(&mut forger, &[on_other(theirs, STRANGER), operations(&VERSION)[PATIENT_PUT]]);
    let (witness, public) = forger.finish();
    assert_eq!(failures(&witness, &public), []);
    assert_eq!(check_batch(&witness, &public), Ok(()));
}

#[test]
fn c6_a_grant_of_one_patient_allows_nothing_at_another() {
    let forger = granted();
    let own = forger.operation(&doctor_put());
    let theirs = forger.operation(&on_other(doctor_put(), DOCTOR));
    let case = with(forger.clone(), theirs.clone(), |w| {
        (w.authority, w.authority_slot, w.authority_path) =
            (own.authority, own.authority_slot, own.authority_path.clone());
    });
    refused_for(Clause::GrantKnown, "another patient's grant", case);
    // The same with the other patient's grants root claimed for this patient.
    let case = with(forger, theirs, |w| {
        (w.authority, w.authority_slot) = (own.authority, own.authority_slot);
        w.authority_path = own.authority_path.clone();
        w.medical.grants_root = own.medical.grants_root;
    });
    refused_for(Clause::PatientInOrder, "another patient's grants root", case);
}

#[test]
fn c5_an_operation_on_one_patient_does_not_write_another() {
    let forger = granted();
    let on_first = forger.operation(&operations(&VERSION)[PATIENT_PUT]);
    let on_second = forger.operation(&other_put());
    // Signed by the second patient for themselves, and written under the first one's medical leaf.
    let case = with(forger.clone(), on_second.clone(), |w| {
        (w.medical, w.medical_path) = (on_first.medical, on_first.medical_path.clone());
        w.target_path = on_first.target_path.clone();
    });
    refused_for(Clause::PatientInOrder, "the medical leaf of another", case);
    // Their own leaf, at the position of the first one: both trees share the path's bits.
    let case = with(forger, on_second, |w| {
        w.patient_path = on_first.patient_path.clone();
        w.medical_path = on_first.medical_path.clone();
    });
    refused_for(Clause::PatientInOrder, "the path of another", case);
}

/// Each operation reads what the one before wrote, also if that was about another patient.
#[test]
fn c13_no_operation_reads_the_state_before_the_one_before_it() {
    for before in [operations(&VERSION)[0], other_put()] {
        let mut forger = two_patients();
        let stale = forger.operation(&operations(&VERSION)[PATIENT_PUT]);
        push_all(&mut forger, &[before]);
        refused_for(Clause::PatientInOrder, "a stale read", with(forger, stale, |_| ()));
    }
}

/// What one operation did is not undone by another that was prepared beside it.
#[test]
fn c8_two_operations_on_one_leaf_do_not_both_begin_from_it() {
    let mut forger = granted();
    let first = doctor_put();
    let other = Fr::from(99);
    let second = forger.operation(&doctor_put());
    push_all(&mut forger, &[first]);
    // The second takes the path of today, but says that the slot is empty.
    let today = forger.operation(&doctor_put());
    let case = with(forger, second, |w| {
        (w.medical, w.medical_path, w.target_path) = (today.medical, today.medical_path, today.target_path);
        w.message.salt = other;
    });
    refused_for(Clause::TargetExpected, "a leaf that is written already", case);
}
