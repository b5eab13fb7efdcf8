//! C1 to C7: the signer, the patient, and the grant.

use emr_core::{Class, ClassMask, Rights, Role};
use emr_rollup::{
    operation::SignedOperation,
    primitive::field::Fr,
    statement::{Clause, EntryFields},
    testing::scenario::*,
};

use crate::harness::*;

#[test]
fn c1_the_signer_is_in_the_state() {
    refused_for(Clause::SignerKnown, "path", tampered(SET, |w| w.signer_path = bent(&w.signer_path)));
    refused_for(Clause::SignerKnown, "leaf", tampered(DOCTOR_PUT, |w| w.signer.encryption += one()));
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
    refused_for(Clause::SignerAllowed, "suspended doctor", suspended(1, &all[..3]));
    let slot = first_slot(&VERSION);
    let by_hospital = sign(HOSPITAL, put(0, 0, record(Class::Summary, HOSPITAL, 1, 1)), Some(slot), 3);
    refused_for(Clause::SignerAllowed, "a hospital writes", added(2, &by_hospital));
    let by_hospital = sign(HOSPITAL, break_glass(0, emergency(HOSPITAL, 1)), None, 3);
    refused_for(Clause::SignerAllowed, "a hospital breaks glass", added(2, &by_hospital));
    let by_patient = sign(PATIENT, break_glass(0, emergency(PATIENT, 1)), None, 3);
    refused_for(Clause::SignerAllowed, "a patient breaks glass", added(2, &by_patient));
    let rekeyed = operations(&VERSION)[REKEY].operation.action;
    refused_for(Clause::SignerAllowed, "a doctor rekeys", added(REKEY, &sign(DOCTOR, rekeyed, Some(slot), 3)));
    // The stranger, under a WRITE grant, deletes what the doctor wrote.
    let mut forger = forger(5);
    let write = grant(STRANGER, Rights::WRITE, ClassMask::ALL, 2);
    push_all(&mut forger, &[sign(PATIENT, set_grant(slot + 1, write, 92, 93), None, 20)]);
    let leaf = emr_rollup::state::leaf::RecordLeaf {
        status: emr_core::RecordStatus::Tombstone,
        revision: emr_core::Revision::new(3).unwrap(),
        ..record(Class::Encounter, DOCTOR, 2, 2)
    };
    let (at, expected) = (emr_core::RecordSlot::new(0).unwrap(), emr_core::Revision::new(2).unwrap());
    let tombstone =
        emr_rollup::operation::Action::Tombstone(emr_rollup::operation::Tombstone { slot: at, expected, leaf });
    push_all(&mut forger, &[sign(STRANGER, tombstone, Some(slot + 1), 21)]);
    refused_for(Clause::SignerAllowed, "not the author", forger.finish());
}

#[test]
fn c3_the_signature_is_valid_and_canonical() {
    refused_for(Clause::SignatureValid, "S", tampered(SET, |w| w.signature.s += one()));
    refused_for(Clause::SignatureValid, "R", tampered(SET, |w| w.signature.r_x += one()));
    refused_for(Clause::SignatureValid, "message", tampered(SET, |w| w.message.salt += one()));
    refused_for(
        Clause::SignatureValid,
        "another signer's key",
        tampered(SET, |w| {
            let signature = key(DOCTOR).sign(w.message.hash(domain().element()));
            w.signature.r_x = signature.r.x();
            w.signature.r_y = signature.r.y();
            w.signature.s = emr_rollup::primitive::field::reduce(&signature.s.to_bytes());
        }),
    );
    refused_for(
        Clause::SignatureValid,
        "S plus the order",
        tampered(SET, |w| {
            let order = emr_rollup::primitive::jubjub::ORDER.to_be_bytes();
            let mut bytes = [0; 32];
            bytes.copy_from_slice(order.as_ref());
            w.signature.s += emr_rollup::primitive::field::reduce(&bytes);
        }),
    );
}

#[test]
fn c4_the_message_is_current() {
    refused_for(Clause::MessageCurrent, "expired", altered(SET, |w| w.message.header.valid_until = Fr::from(TIME - 1)));
    let late = TIME + emr_rollup::operation::MAX_VALIDITY + 1;
    refused_for(
        Clause::MessageCurrent,
        "for too long",
        altered(SET, |w| w.message.header.valid_until = Fr::from(late)),
    );
    refused_for(
        Clause::MessageCurrent,
        "signer's epoch",
        altered(DOCTOR_PUT, |w| w.message.header.signer_epoch += one()),
    );
    refused_for(Clause::MessageCurrent, "patient's epoch", altered(SET, |w| w.message.header.patient_epoch += one()));
}

#[test]
fn c5_the_patient_is_in_order() {
    refused_for(Clause::PatientInOrder, "path", tampered(DOCTOR_PUT, |w| w.patient_path = bent(&w.patient_path)));
    refused_for(Clause::PatientInOrder, "medical path", tampered(SET, |w| w.medical_path = bent(&w.medical_path)));
    refused_for(Clause::PatientInOrder, "medical leaf", tampered(PATIENT_PUT, |w| w.medical.grants_root += one()));
    let with = |change: fn(&mut EntryFields)| {
        let mut entries = entries();
        change(&mut entries[3]);
        forger_with(&entries)
    };
    // A suspended patient breaks C2 as the signer, so a doctor requests access.
    let request = sign(DOCTOR, request(first_slot(&VERSION), 1, 0, Class::Summary), None, 3);
    let mut closed = with(|entry| entry.status = Fr::from(3));
    closed.write_grant(PATIENT, first_slot(&VERSION), &grant(DOCTOR, Rights::READ, ClassMask::ALL, 1));
    push_all(&mut closed, std::slice::from_ref(&request));
    refused_for(Clause::PatientInOrder, "closed account", closed.finish());
    let mut doctor = with(|entry| entry.role = Fr::from(u64::from(Role::Doctor.code())));
    doctor.write_grant(PATIENT, first_slot(&VERSION), &grant(DOCTOR, Rights::READ, ClassMask::ALL, 1));
    push_all(&mut doctor, &[request]);
    refused_for(Clause::PatientInOrder, "not a patient", doctor.finish());
}

#[test]
fn c6_the_grant_is_in_the_state() {
    refused_for(Clause::GrantKnown, "path", tampered(DOCTOR_PUT, |w| w.authority_path = bent(&w.authority_path)));
    refused_for(Clause::GrantKnown, "salt", tampered(DOCTOR_PUT, |w| w.authority.salt += one()));
    // A grant that is not in the state.
    let forged = grant(DOCTOR, Rights::WRITE, ClassMask::ALL, 1);
    refused_for(Clause::GrantKnown, "made up", tampered(DOCTOR_PUT, |w| w.authority = (&forged).into()));
}

#[test]
fn c7_the_grant_allows_this() {
    let slot = first_slot(&VERSION);
    let writes_under = |change: fn(&mut emr_rollup::state::leaf::GrantLeaf)| {
        let mut leaf = grant(HOSPITAL, Rights::READ | Rights::WRITE, ClassMask::ALL, 1);
        change(&mut leaf);
        let mut forger = forger(0);
        push_all(&mut forger, &[sign(PATIENT, set_grant(slot, leaf, 0, 91), None, 1)]);
        push_all(&mut forger, &operations(&VERSION)[DOCTOR_PUT..=DOCTOR_PUT]);
        forger.finish()
    };
    refused_for(Clause::GrantAllows, "somebody else's", writes_under(|leaf| leaf.grantee = Some(account(STRANGER))));
    refused_for(Clause::GrantAllows, "expired", writes_under(|leaf| leaf.not_after = time(TIME - 1)));
    refused_for(Clause::GrantAllows, "read only", writes_under(|leaf| leaf.rights = Rights::READ));
    refused_for(Clause::GrantAllows, "out of scope", writes_under(|leaf| leaf.scope = ClassMask::from(Class::Imaging)));
    // A revoked slot has grantee 0. A doctor without a hospital has organisation 0.
    let mut nobodys = forger(2);
    push_all(&mut nobodys, &[sign(PATIENT, revoke(slot, 1, 92, 93), None, 11)]);
    push_all(&mut nobodys, &[sign(STRANGER, put(0, 0, record(Class::Summary, STRANGER, 1, 1)), Some(slot), 12)]);
    refused_for(Clause::GrantAllows, "revoked", nobodys.finish());
    // The old class must be in scope too.
    let mut narrowed = forger(5);
    let leaf = grant(HOSPITAL, Rights::WRITE, ClassMask::from(Class::Imaging), 2);
    push_all(&mut narrowed, &[sign(PATIENT, set_grant(slot, leaf, 92, 93), None, 20)]);
    push_all(&mut narrowed, &[sign(DOCTOR, put(0, 2, record(Class::Imaging, DOCTOR, 3, 3)), Some(slot), 21)]);
    refused_for(Clause::GrantAllows, "old class", narrowed.finish());
    let other_class = sign(STRANGER, request(slot + 1, 1, 0, Class::Imaging), None, 7);
    refused_for(Clause::GrantAllows, "request out of scope", added(REQUEST, &other_class));
    let other_grant = sign(STRANGER, request(slot, 1, 0, Class::Summary), None, 7);
    refused_for(Clause::GrantAllows, "request of another's grant", added(REQUEST, &other_grant));
    let manage = grant(STRANGER, Rights::MANAGE, ClassMask::ALL, 2);
    let mut manager = forger(REQUEST);
    push_all(&mut manager, &[sign(PATIENT, set_grant(slot + 1, manage, 92, 93), None, 20)]);
    push_all(&mut manager, &[sign(STRANGER, request(slot + 1, 2, 0, Class::Summary), None, 7)]);
    refused_for(Clause::GrantAllows, "request without READ", manager.finish());
}
