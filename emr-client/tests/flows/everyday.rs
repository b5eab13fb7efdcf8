//! The common flows: writing, granting, requesting, reading and revoking.

use emr_api::OperationStatus;
use std::collections::HashMap;

use emr_client::{
    Client, ClientError,
    flow::grant::{GrantError, Terms},
    flow::next_version::EditClass,
    flow::retrieve::{ReadError, Retrieved},
    flow::upload::WriteError,
    node::NodeError,
    verify::card::CardError,
    verify::record::RecordId,
};
use emr_core::{Cid, Class, ClassMask, GrantSlot, Reason, RecordStatus, Rights, UnixTime};
use emr_crypto::{EpochKeyring, KeyDirectory, Manifest, OpenError, OpenedRecord};
use emr_rollup::operation::{Action, Revoke};

use crate::scene::*;

fn text(retrieved: &Retrieved) -> &emr_core::Record {
    retrieved.unproven().record()
}

#[tokio::test(flavor = "multi_thread")]
async fn write_edit_delete_grant_request_read_revoke() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let stranger = scene.registered(STRANGER).await?;
    let card = handed_over(&patient);

    // Nothing is settled yet: only the patient's signature proved the directory to the doctor.
    let written = doctor.upload(&card, Class::Laboratory, &record("potassium 4.1")).await?;
    assert_eq!((written.slot.get(), written.version.get()), (0, 1));
    let edited = doctor.edit(&card, written.slot, EditClass::Proved, &record("potassium 4.2")).await?;
    assert_eq!((edited.slot, edited.version.get(), edited.class), (written.slot, 2, Class::Laboratory));
    let wrong = doctor.upload(&card, Class::Imaging, &record("wrong patient")).await?;
    doctor.delete(&card, wrong.slot).await?;
    let own = patient.upload(&card, Class::Document, &record("my allergies")).await?;
    let again = doctor.delete(&card, wrong.slot).await;
    assert!(matches!(again, Err(ClientError::Write(WriteError::Deleted(_)))), "{again:?}");
    let foreign = doctor.delete(&card, own.slot).await;
    assert!(matches!(foreign, Err(ClientError::Write(WriteError::NotAuthor { .. }))), "{foreign:?}");
    let statuses: Vec<_> = doctor.records(&card).await?.iter().map(|record| record.leaf.status).collect();
    assert_eq!(statuses, [RecordStatus::Live, RecordStatus::Tombstone, RecordStatus::Live]);

    // The patient can read at once, and learns that nothing is settled.
    for (slot, content) in [(written.slot, "potassium 4.2"), (own.slot, "my allergies")] {
        let (read, requested) = patient.retrieve(&card, slot, None).await?;
        assert!(requested.is_none() && read.verified().is_none());
        assert_eq!(text(&read), &record(content));
    }
    // Other people must wait until their grant is settled.
    let early = doctor.retrieve(&card, written.slot, Some(Reason::Treatment)).await;
    let Err(ClientError::Node(error)) = early else { return Err("served early".into()) };
    assert!(error.is_temporary(), "{error}");

    // A stranger has no grant, then gets one, and then loses it. Service ends before the revocation is settled.
    let none = stranger.retrieve(&card, written.slot, Some(Reason::Treatment)).await;
    assert!(none.is_err(), "{none:?}");
    let lab = ClassMask::from(Class::Laboratory);
    patient.grant(&handed_over(&stranger), &terms(Rights::READ, lab)).await?;
    let writes = stranger.upload(&card, Class::Laboratory, &record("x")).await;
    assert!(matches!(writes, Err(ClientError::Write(WriteError::NotGranted { .. }))), "{writes:?}");
    let kept = directory(&patient).await?.open_for(&STRANGER.identity)?;
    let revoked = patient.revoke(stranger.account()?, ClassMask::ALL).await?;
    assert_eq!((revoked.new_epochs, revoked.changed.len()), (lab, 1));
    let refused = stranger.retrieve(&card, written.slot, Some(Reason::Treatment)).await;
    assert!(matches!(refused, Err(ClientError::Read(ReadError::Revoked { .. }))), "{refused:?}");

    // The revoked reader cannot open later records with the keys that they kept, even with the blocks. The keys of a
    // remaining reader open them.
    let newer = doctor.edit(&card, written.slot, EditClass::Proved, &record("potassium 4.3")).await?;
    let leaf = doctor.records(&card).await?[0].leaf;
    let id = RecordId { domain: doctor.domain(), patient: patient.account()?, slot: newer.slot };
    let manifest = patient.node().block(&newer.record_cid).await?;
    let mut blocks = HashMap::new();
    for link in Manifest::from_bytes(&manifest)?.links() {
        blocks.insert(*link, patient.node().block(link).await?);
    }
    blocks.insert(newer.record_cid, manifest);
    let open = |keys: &EpochKeyring| {
        let fetch = |cid: &Cid| blocks.get(cid).cloned().ok_or(std::io::Error::other("no such block"));
        OpenedRecord::open(&newer.record_cid, fetch, keys, &id.context(&leaf))
    };
    assert!(matches!(open(&kept), Err(OpenError::Decryption(_))));
    let current = directory(&patient).await?;
    assert!(current.open_for(&STRANGER.identity).is_err());
    assert!(open(&current.open_for(&DOCTOR.identity)?).is_ok());

    // Everything waits for its batch, and has a receipt.
    let status = doctor.node().operation(newer.acknowledged.operation).await?;
    assert_eq!(status, OperationStatus::Pending);
    assert!(doctor.resume().await?.iter().all(|resumed| !resumed.fate.is_final()));
    Ok(())
}

/// The patient's directory, as anybody can fetch it.
async fn directory(patient: &Client) -> TestResult<KeyDirectory> {
    let view = patient.node().patient(patient.account()?).await?;
    let cid = view.directory.ok_or("published")?;
    Ok(patient.directory(&cid).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hospital_writes_through_its_doctors_and_a_partial_revocation_narrows() -> TestResult {
    let scene = Scene::new().await?;
    let doctor = scene.registered(DOCTOR).await?;
    let patient = scene.registered(PATIENT).await?;
    let hospital = scene.client(HOSPITAL).await?;
    let card = handed_over(&patient);
    let early = doctor.upload(&card, Class::Laboratory, &record("too early")).await;
    assert!(early.is_err(), "{early:?}");

    let classes: ClassMask = [Class::Laboratory, Class::Imaging].into_iter().collect();
    let granted = patient.grant(&handed_over(&hospital), &terms(Rights::WRITE, classes)).await?;
    assert_eq!(granted.slot, GrantSlot::FIRST_ORDINARY);
    doctor.upload(&card, Class::Laboratory, &record("by the hospital's doctor")).await?;
    let outside = doctor.upload(&card, Class::Genetics, &record("x")).await;
    assert!(
        matches!(outside, Err(ClientError::Write(WriteError::NotGranted { class: Class::Genetics, .. }))),
        "{outside:?}"
    );

    let revoked = patient.revoke(hospital.account()?, Class::Laboratory.into()).await?;
    assert_eq!(revoked.new_epochs, ClassMask::default(), "who only writes had no keys");
    let grants = patient.grants().await?;
    assert_eq!((grants.len(), grants[0].grant.scope), (1, Class::Imaging.into()));
    let gone = doctor.upload(&card, Class::Laboratory, &record("x")).await;
    assert!(matches!(gone, Err(ClientError::Write(WriteError::NotGranted { .. }))), "{gone:?}");
    doctor.upload(&card, Class::Imaging, &record("chest")).await?;
    // A record can neither move to a class that is not granted, nor come from one.
    let moved =
        doctor.edit(&card, emr_core::RecordSlot::new(1)?, EditClass::MoveTo(Class::Laboratory), &record("x")).await;
    assert!(matches!(moved, Err(ClientError::Write(WriteError::NotGranted { .. }))), "{moved:?}");

    patient.revoke(hospital.account()?, ClassMask::ALL).await?;
    let nothing = patient.revoke(hospital.account()?, ClassMask::ALL).await;
    assert!(matches!(nothing, Err(ClientError::Grant(GrantError::NoSuchGrant(_)))), "{nothing:?}");
    // The slot is used again, with a higher version than any that was signed for it.
    let again = patient.grant(&handed_over(&hospital), &terms(Rights::WRITE, classes)).await?;
    assert_eq!((again.slot, again.grant.version.get()), (granted.slot, 4));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_granted_is_not() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let card = handed_over(&doctor);
    let lab = ClassMask::from(Class::Laboratory);
    for rights in [Rights::NONE, Rights::MANAGE, Rights::EMERGENCY, Rights::READ | Rights::MANAGE] {
        let refused = patient.grant(&card, &terms(rights, lab)).await;
        assert!(matches!(refused, Err(ClientError::Grant(GrantError::Rights(_)))), "{refused:?}");
    }
    let none = patient.grant(&card, &terms(Rights::READ, ClassMask::default())).await;
    assert!(matches!(none, Err(ClientError::Grant(GrantError::NoClass))), "{none:?}");
    let past = Terms { until: UnixTime::now(), ..terms(Rights::READ, lab) };
    assert!(matches!(patient.grant(&card, &past).await, Err(ClientError::Grant(GrantError::Past))));
    let to_self = patient.grant(&handed_over(&patient), &terms(Rights::READ, lab)).await;
    assert!(matches!(to_self, Err(ClientError::Grant(GrantError::Grantee(_)))), "{to_self:?}");
    let by_doctor = doctor.grant(&card, &terms(Rights::READ, lab)).await;
    assert!(matches!(by_doctor, Err(ClientError::Grant(GrantError::NotAPatient))));

    // A forged card: the doctor's account, somebody else's keys.
    let stranger = scene.registered(STRANGER).await?;
    let mut forged = handed_over(&stranger);
    forged.account = card.account;
    forged.ethereum = card.ethereum;
    let refused = patient.grant(&forged, &terms(Rights::READ, lab)).await;
    assert!(matches!(refused, Err(ClientError::Card(CardError::Forged { .. }))), "{refused:?}");
    forged = card;
    forged.ethereum = stranger.ethereum_address();
    let refused = patient.grant(&forged, &terms(Rights::READ, lab)).await;
    assert!(matches!(refused, Err(ClientError::Card(CardError::Forged { .. }))), "{refused:?}");
    Ok(())
}

/// A patient can write records before any grant. A reader who gets a grant with history later can read them too.
#[tokio::test(flavor = "multi_thread")]
async fn a_patient_writes_before_the_first_grant() -> TestResult {
    let scene = Scene::new().await?;
    let patient = scene.registered(PATIENT).await?;
    let doctor = scene.registered(DOCTOR).await?;
    let card = handed_over(&patient);
    let written = patient.upload(&card, Class::Document, &record("my allergies")).await?;
    let again = patient.upload(&card, Class::Document, &record("my allergies")).await?;
    assert_eq!(written, again);
    let (read, _) = patient.retrieve(&card, written.slot, None).await?;
    assert_eq!(text(&read), &record("my allergies"));
    assert!(patient.grants().await?.iter().all(|view| view.grant.grantee.is_none()));
    let granted = patient.grant(&handed_over(&doctor), &terms(Rights::READ, Class::Document.into())).await?;
    assert_eq!((granted.slot, granted.grant.version.get()), (GrantSlot::FIRST_ORDINARY, 2));
    assert!(directory(&patient).await?.open_for(&DOCTOR.identity).is_ok());
    Ok(())
}

/// Two writers want the same free slot. Each of them gets a slot.
#[tokio::test(flavor = "multi_thread")]
async fn writers_at_the_same_time_get_different_slots() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let card = handed_over(&patient);
    let mut slots = std::collections::BTreeSet::new();
    for round in 0..4 {
        let (one, two) = (record(&format!("doctor {round}")), record(&format!("patient {round}")));
        let (one, two) =
            tokio::join!(doctor.upload(&card, Class::Document, &one), patient.upload(&card, Class::Document, &two));
        slots.extend([one?.slot, two?.slot]);
    }
    assert_eq!(slots.len(), 8);
    Ok(())
}

/// A patient needs to keep only the identity file.
#[tokio::test(flavor = "multi_thread")]
async fn a_patient_returns_with_only_the_identity_file() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let card = handed_over(&patient);
    let written = doctor.upload(&card, Class::Laboratory, &record("potassium 4.1")).await?;
    let account = patient.account()?;
    drop(patient);
    let folder = scene.data_dir(PATIENT);
    for name in ["profile.json", "versions.json"] {
        std::fs::remove_file(folder.join(name))?;
    }
    std::fs::remove_dir_all(folder.join("outbox"))?;

    let patient = scene.client(PATIENT).await?;
    assert_eq!(patient.account()?, account, "found on L1");
    let (read, _) = patient.retrieve(&card, written.slot, None).await?;
    assert_eq!(text(&read), &record("potassium 4.1"));
    let stranger = scene.registered(STRANGER).await?;
    patient.grant(&handed_over(&stranger), &terms(Rights::READ, Class::Laboratory.into())).await?;
    let revoked = patient.revoke(doctor.account()?, ClassMask::ALL).await?;
    assert_eq!(revoked.new_epochs, ClassMask::ALL);
    Ok(())
}

/// A Revoke names the highest version that was ever signed for the slot, also one that the state never saw.
#[tokio::test(flavor = "multi_thread")]
async fn a_revoke_beats_every_grant_that_was_ever_signed() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let account = patient.account()?;
    drop(patient);
    // A grant of version 7 was signed once and never arrived.
    let versions = scene.data_dir(PATIENT).join("versions.json");
    let noted = || -> TestResult<serde_json::Value> { Ok(serde_json::from_slice(&std::fs::read(&versions)?)?) };
    assert_eq!(noted()?, signed_versions(account, 1));
    std::fs::write(&versions, signed_versions(account, 7).to_string())?;
    let patient = scene.client(PATIENT).await?;
    let revoked = patient.revoke(doctor.account()?, ClassMask::ALL).await?;
    let Action::Revoke(Revoke { expected, .. }) = revoked.changed[0].1.signed.operation.action else {
        return Err("not a Revoke".into());
    };
    assert_eq!(expected.get(), 7);
    assert_eq!(noted()?, signed_versions(account, 8));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unregistered_participant_gets_a_clear_error() -> TestResult {
    let scene = Scene::new().await?;
    let patient = scene.client(PATIENT).await?;
    let card = patient.card();
    assert!(matches!(patient.light_check().await, Err(ClientError::Node(NodeError::NotRegistered))));
    let refused = patient.upload(&card, Class::Document, &record("x")).await;
    assert!(matches!(refused, Err(ClientError::Card(CardError::NotRegistered))), "{refused:?}");
    let patient = scene.registered(STRANGER).await?;
    assert!(patient.account().is_ok());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settled_state_is_read_from_l1_by_proof() -> TestResult {
    let scene = Scene::new().await?;
    let patient = scene.client(PATIENT).await?;
    let state = patient.settled_state().await?;
    let empty = emr_rollup::state::tree::empty_root(24);
    assert_eq!(state.root(), emr_rollup::state::state_root(empty, empty));
    assert_eq!((state.batches(), state.time()), (0, UnixTime::ZERO));
    assert!(state.block_number() > 0);
    // An address without a rollup contract.
    let instance = emr_chain::RollupInstance { contract: HOSPITAL.address(), ..patient.instance() };
    let nodes = emr_chain::nodes::EthereumNodes::of(&[scene.endpoint()], None)?;
    let newest = nodes.headers().newest().await?.header;
    let none = emr_client::verify::settled_state::SettledState::read(&nodes, &instance, &newest).await;
    assert!(none.is_err_and(|error| error.to_string().contains("holds no state root")));
    Ok(())
}
