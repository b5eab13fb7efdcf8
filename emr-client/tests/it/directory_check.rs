//! A writer seals only to the patient's directory, even if the node names another.

use emr_api::PatientView;
use emr_client::{
    verify::directory::{DirectoryCheckError, PublishedDirectory, verify},
    verify::membership::MembershipError,
    verify::settled_state::SettledState,
};
use emr_core::{AccountEpoch, Class, Rights};
use emr_crypto::PatientDirectory;
use emr_rollup::{
    operation::{DirectoryCommitment, Domain},
    primitive::field::Fr,
    state::leaf::MedicalLeaf,
};

use crate::fixtures::*;

fn check(world: &World, view: &PatientView, state: &SettledState) -> Result<PublishedDirectory, DirectoryCheckError> {
    verify(view, account(PATIENT), &world.signing(PATIENT).public(), domain(), state, time(NOW))
}

/// A patient with a settled directory, and two waiting operations of the patient that change it: a grant and a
/// revocation.
struct Waiting {
    world: World,
    state: SettledState,
    view: PatientView,
}

fn waiting() -> Waiting {
    let mut world = World::new();
    world.grant(64, DOCTOR, Rights::READ | Rights::WRITE, Class::Laboratory.into());
    let (state, settled) = (world.state(), world.patient_view());
    let grant = world.sign_grant(65, OTHER, Rights::READ, Class::Laboratory.into());
    world.execute(&grant);
    let revoke = world.sign_revoke(65, OTHER, Class::Laboratory.into());
    world.execute(&revoke);
    let view = PatientView { proof: settled.proof, directory_operations: vec![grant, revoke], ..world.patient_view() };
    Waiting { world, state, view }
}

fn after(change: impl FnOnce(&mut PatientView)) -> DirectoryCheckError {
    let Waiting { world, state, mut view } = waiting();
    change(&mut view);
    check(&world, &view, &state).expect_err("accepted")
}

#[test]
fn settled_waiting_and_absent_directories_are_found() -> TestResult {
    let world = World::new();
    let none = check(&world, &world.patient_view(), &world.state())?;
    assert_eq!((none.cid(), none.is_settled()), (None, true));

    let settled = check(&LIVED, &LIVED.patient_view(), &LIVED.state())?;
    assert_eq!((settled.cid(), settled.is_settled()), (LIVED.directory_cid, true));

    let Waiting { world, state, view } = waiting();
    let found = check(&world, &view, &state)?;
    assert_eq!((found.cid(), found.is_settled()), (world.directory_cid, false));
    assert_eq!(found.commitment(), world.directory_commitment());
    Ok(())
}

/// The patient's registration is still in the queue: the path at their index leads to the empty leaf.
#[test]
fn an_unsettled_patients_first_directory_is_found() -> TestResult {
    let mut world = World::new();
    let before = emr_rollup::state::ledger::Ledger::genesis(domain(), emr_rollup::version::CircuitVersion::V1);
    let trees = before.trees();
    let state = SettledState::established(trees.root(), 0, time(0));
    let grant = world.sign_grant(64, DOCTOR, Rights::WRITE, Class::Laboratory.into());
    world.execute(&grant);
    let mut view = world.patient_view();
    view.directory_operations = vec![grant];
    view.proof.leaf = None;
    view.proof.path = trees.medical_path(account(PATIENT));
    (view.proof.identity_root, view.proof.medical_root) = (trees.identity_root(), trees.medical_root());
    assert_eq!(check(&world, &view, &state)?.cid(), world.directory_cid);

    // Later it is settled, and the node still says that it is not, to bring the first directory back.
    let settled = world.state();
    view.proof = world.patient_view().proof;
    view.proof.leaf = None;
    let lied = check(&world, &view, &settled);
    assert_eq!(lied, Err(MembershipError::NotThere { leaf: "medical leaf" }.into()));
    Ok(())
}

#[test]
fn a_node_cannot_bring_its_own_directory() {
    let Waiting { world, .. } = waiting();
    let own = PatientDirectory::create(&world.identities[HOSPITAL]).published().cid();
    assert_eq!(after(|v| v.directory = Some(own)), DirectoryCheckError::NotCommitted);
    let both = |v: &mut PatientView| {
        v.directory = Some(own);
        v.directory_commitment = DirectoryCommitment::of(&own);
    };
    assert_eq!(after(both), DirectoryCheckError::NotCommitted);
    let proved = |v: &mut PatientView| {
        both(v);
        v.directory_operations.clear();
        v.proof.leaf = v.proof.leaf.map(|leaf| MedicalLeaf { key_directory: DirectoryCommitment::of(&own), ..leaf });
    };
    let not_there = MembershipError::NotThere { leaf: "medical leaf" };
    assert_eq!(after(proved), not_there.into());
    assert_eq!(after(|v| v.directory = None), DirectoryCheckError::NotCommitted);
}

#[test]
fn only_the_patients_signed_chain_is_followed() {
    let chain = |why| DirectoryCheckError::Chain(why);
    // An operation is missing, in another order, or repeated.
    let gap = chain("an operation is on top of another directory");
    assert_eq!(after(|v| _ = v.directory_operations.remove(0)), gap);
    assert_eq!(after(|v| v.directory_operations.swap(0, 1)), gap);
    assert_eq!(after(|v| v.directory_operations.push(v.directory_operations[0])), gap);
    assert_eq!(after(|v| _ = v.directory_operations.pop()), DirectoryCheckError::NotCommitted);
    // An operation is changed, signed by or for somebody else, of another epoch, expired, or of another kind.
    let forged = chain("a signature is not the patient's");
    assert_eq!(after(|v| v.directory_operations[0].operation.salt += Fr::one()), forged);
    assert_eq!(after(|v| v.directory_operations[0].operation.valid_until = time(NOW + 9)), forged);
    let others = chain("an operation is not the patient's");
    assert_eq!(after(|v| v.directory_operations[0].operation.signer = account(DOCTOR)), others);
    assert_eq!(after(|v| v.directory_operations[0].operation.patient = account(DOCTOR)), others);
    let epoch = chain("an operation is of another epoch");
    assert_eq!(after(|v| v.epoch = AccountEpoch::new(2).expect("an epoch")), epoch);
    let lapsed = chain("an operation has lapsed");
    assert_eq!(after(|v| v.directory_operations[0].operation.valid_until = time(NOW - 1)), lapsed);
    let world = World::new();
    let version = world.author(PATIENT, 0, Class::Document, "x", |_| {});
    let put = emr_rollup::operation::Action::PutRecord(emr_rollup::operation::PutRecord {
        slot: slot(0),
        expected: emr_core::Revision::ZERO,
        leaf: version.leaf,
    });
    let Waiting { world: mut signer, state, mut view } = waiting();
    view.directory_operations.push(signer.sign(PATIENT, None, put));
    assert_eq!(check(&signer, &view, &state), Err(chain("an operation is no grant or revocation")));
}

/// The sequencer replays an old operation of the patient, to make writers seal to an epoch that the patient ended.
#[test]
fn an_old_directory_does_not_come_back() {
    let Waiting { world, view, .. } = waiting();
    let mut replay = world.patient_view();
    replay.directory_operations = vec![view.directory_operations[0]];
    let old = match view.directory_operations[0].operation.action {
        emr_rollup::operation::Action::SetGrant(emr_rollup::operation::SetGrant { directory_after, .. }) => {
            directory_after
        }
        _ => DirectoryCommitment::NONE,
    };
    replay.directory_commitment = old;
    let replayed = check(&world, &replay, &world.state());
    assert_eq!(replayed, Err(DirectoryCheckError::Chain("an operation is on top of another directory")));
}

#[test]
fn the_answer_is_for_this_patient_state_and_rollup() {
    let Waiting { world, state, view } = waiting();
    assert_eq!(after(|v| v.patient = account(DOCTOR)), DirectoryCheckError::OtherPatient(account(DOCTOR)));
    let other = check(&world, &view, &world.state());
    assert!(matches!(other, Err(DirectoryCheckError::Membership(MembershipError::OtherState { .. }))));
    let key = world.signing(PATIENT).public();
    let elsewhere = verify(&view, account(PATIENT), &key, Domain::new(1, [0x42; 20]), &state, time(NOW));
    assert_eq!(elsewhere, Err(DirectoryCheckError::Chain("a signature is not the patient's")));
    let key = world.signing(OTHER).public();
    let forged = verify(&view, account(PATIENT), &key, domain(), &state, time(NOW));
    assert_eq!(forged, Err(DirectoryCheckError::Chain("a signature is not the patient's")));
}
