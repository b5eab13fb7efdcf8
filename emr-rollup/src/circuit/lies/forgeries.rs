//! Batches that break a rule openly. No hint is false, and one assertion refuses the batch.

use emr_core::{Class, ClassMask, RecordSlot, RecordStatus, Revision, Rights, Role};
use halo2curves::ff::Field as _;

use super::*;
use crate::{
    circuit::demand::{Field, Leaf},
    l1_operation::L1Operation,
    operation::{Action, SignedOperation, Tombstone},
    state::leaf::RecordLeaf,
    statement::{EntryFields, OperationWitness},
    testing::{
        forger::Forger,
        scenario::{
            DOCTOR, HOSPITAL, PATIENT, STRANGER, break_glass, emergency, first_slot, grant, operations, put, record,
            request, sign,
        },
    },
};

/// Batches that break a rule openly, on a state that has what they need.
pub(super) fn forgeries() -> Vec<(&'static str, Case, Demand)> {
    let slot = first_slot(&SINGLE);
    let history = operations(&SINGLE);
    let world = |change: fn(&mut Vec<EntryFields>), operations: &[SignedOperation]| {
        let mut entries = scenario::registrations()
            .into_iter()
            .map(|registration| L1Operation::from(registration).fields())
            .collect();
        change(&mut entries);
        let mut forger = Forger::new(SINGLE);
        for entry in entries {
            let witness = forger.entry(entry);
            forger.push_entry(witness);
        }
        for operation in operations {
            let witness = forger.operation(operation);
            forger.push(witness);
        }
        forger.begin_batch();
        forger
    };
    let then = |mut forger: Forger, operation: &SignedOperation, change: fn(&mut OperationWitness)| {
        let mut witness = forger.operation(operation);
        change(&mut witness);
        forger.sign(&mut witness);
        forger.push(witness);
        forger.finish()
    };
    let put = |signer, slot| sign(signer, put(0, 0, record(Class::Summary, signer, 1, 1)), Some(slot), 3);
    let write = grant(STRANGER, Rights::WRITE, ClassMask::ALL, 2);
    let to_stranger = sign(PATIENT, scenario::set_grant(slot + 1, write, 92, 93), None, 20);
    let deleted = RecordLeaf {
        status: RecordStatus::Tombstone,
        revision: Revision::new(3).expect("a revision"),
        ..record(Class::Encounter, DOCTOR, 2, 2)
    };
    let (first, second) = (RecordSlot::new(0).expect("a slot"), Revision::new(2).expect("a revision"));
    let tombstone = sign(
        STRANGER,
        Action::Tombstone(Tombstone { slot: first, expected: second, leaf: deleted }),
        Some(slot + 1),
        21,
    );
    let request = sign(DOCTOR, request(slot, 1, 0, Class::Summary), None, 3);
    let readable = |change| {
        let mut forger = world(change, &[]);
        forger.write_grant(PATIENT, slot, &grant(DOCTOR, Rights::READ, ClassMask::ALL, 1));
        forger
    };
    let by = Some(slot + 1);
    let managed = |delegate| {
        let mut forger = world(|_| (), &[]);
        forger.write_grant(PATIENT, slot + 1, &grant(delegate, Rights::MANAGE, ClassMask::ALL, 1));
        forger
    };
    let summary = |grantee| grant(grantee, Rights::READ, Class::Summary.into(), 1);
    let nothing = |_: &mut OperationWitness| ();
    let foreign = sign(DOCTOR, history[8].operation.action, Some(slot), 3);
    vec![
        (
            "a hospital writes",
            then(world(|_| (), &history[..1]), &put(HOSPITAL, slot), nothing),
            Demand::SignedByDoctor,
        ),
        (
            "a suspended doctor writes",
            then(world(|entries| entries[1].status = Fr::from(2), &history[..1]), &history[2], nothing),
            Demand::SignerActive,
        ),
        (
            "a hospital takes an emergency grant",
            then(world(|_| (), &[]), &sign(HOSPITAL, break_glass(0, emergency(HOSPITAL, 1)), None, 3), nothing),
            Demand::EmergencyByDoctor,
        ),
        (
            "a delegate under their hospital's grant",
            then(managed(HOSPITAL), &sign(DOCTOR, scenario::set_grant(slot, summary(STRANGER), 0, 0), by, 3), nothing),
            Demand::DelegateIsGrantee,
        ),
        (
            "a delegate's grant to their hospital",
            then(managed(DOCTOR), &sign(DOCTOR, scenario::set_grant(slot, summary(HOSPITAL), 0, 0), by, 3), nothing),
            Demand::NotToSelf,
        ),
        ("a doctor rekeys", then(world(|_| (), &history[..5]), &foreign, nothing), Demand::SignedByPatient),
        (
            "not the author deletes",
            then(world(|_| (), &[&history[..5], &[to_stranger]].concat()), &tombstone, nothing),
            Demand::SignedByAuthor,
        ),
        (
            "a doctor as a patient",
            then(readable(|entries| entries[3].role = Fr::from(u64::from(Role::Doctor.code()))), &request, nothing),
            Demand::PatientRole,
        ),
        (
            "a closed account",
            then(readable(|entries| entries[3].status = Fr::from(3)), &request, nothing),
            Demand::PatientActive,
        ),
        (
            "a suspension hidden in the organisation",
            then(readable(|entries| entries[3].status = Fr::from(2)), &request, |w| {
                (w.patient.status, w.patient.org) = (Fr::ONE, Fr::from(1 << 24));
            }),
            Demand::LeafField(Leaf::Patient, Field::Org),
        ),
        (
            "an organisation hidden in the epoch",
            then(readable(|entries| entries[3].org = Fr::ONE), &request, |w| {
                (w.patient.org, w.patient.epoch) = (Fr::ZERO, Fr::from((1 << 32) + 1));
                w.message.header.patient_epoch = w.patient.epoch;
            }),
            Demand::LeafField(Leaf::Patient, Field::AccountEpoch),
        ),
    ]
}

#[test]
fn each_forgery_is_refused_by_the_assertion_against_it() {
    for (name, case, refused_by) in forgeries() {
        let found: Vec<_> = refusals(&case).into_iter().collect();
        assert_eq!(found, [refused_by.into()], "{name}");
    }
}

/// An unused L1 or L2 slot before a used one is refused at every position.
#[test]
fn every_hole_is_refused() {
    let version = CircuitVersion { max_l1: 4, max_l2: 4, k: 14, ..SINGLE };
    let mut batch = scenario::open(version);
    for operation in &operations(&version)[..3] {
        batch.push(operation).expect("an honest operation");
    }
    let (sealed, _) = batch.seal();
    let case = (sealed.witness().clone(), *sealed.public());
    assert_eq!(refusals(&case), BTreeSet::new());
    for hole in 0..3 {
        let (mut witness, public) = case.clone();
        witness.operations.insert(hole, super::super::batch::unused_operation());
        let found: Vec<_> = refusals(&(witness, public)).into_iter().collect();
        assert_eq!(found, [Demand::L2InOrder(hole as u32).into()]);
        let (mut witness, mut public) = case.clone();
        (public.n1, public.n) = (3, 0);
        witness.entries.remove(3);
        let unused = super::super::batch::unused_entry();
        witness.entries.insert(hole, unused);
        // The operations need the fourth account.
        witness.operations.clear();
        let found: Vec<_> = refusals(&(witness, public)).into_iter().collect();
        assert_eq!(found, [Demand::L1InOrder(hole as u32).into()]);
    }
}
