//! Records that the node did not take stay, with the reason, until they are submitted again or discarded.

use std::path::PathBuf;

use alloy::providers::Provider;
use emr_api::{OperationStatus, Submission};
use emr_client::{
    Client, ClientError,
    flow::{submit::Fate, upload::WriteError},
    node::NodeError,
};
use emr_core::{Class, ClassMask, Codec, RecordSlot, Rights, UnixTime, Uses, Version};
use emr_crypto::{Past, PatientDirectory};
use emr_rollup::{
    operation::{Action, DirectoryCommitment, Operation, OperationId, SetGrant},
    primitive::{eddsa::SigningKey, field::Fr},
    state::leaf::GrantLeaf,
};

use crate::{
    proxy::{Fault, Proxy, lie},
    reorganised::move_folder,
    scene::*,
};

const OPERATIONS: &str = "POST /v1/operations ";

fn folders(scene: &Scene) -> TestResult<Vec<PathBuf>> {
    let folder = scene.data_dir(DOCTOR).join("outbox");
    let mut folders: Vec<_> = std::fs::read_dir(folder)?.map(|name| Ok(name?.path())).collect::<TestResult<_>>()?;
    folders.sort();
    Ok(folders)
}

fn fates(resumed: Vec<emr_client::flow::submit::Resumed>) -> Vec<Fate> {
    resumed.into_iter().map(|resumed| resumed.fate).collect()
}

/// A doctor signed a record and could not submit it. Then the patient took its slot.
async fn a_taken_slot(
    scene: &Scene,
    proxy: &Proxy,
) -> TestResult<(Client, emr_client::verify::card::Card, OperationId)> {
    let (patient, doctor) = scene.with_a_doctor().await?;
    drop(doctor);
    let card = handed_over(&patient);
    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
    proxy.set(|request, answer| (request.starts_with(OPERATIONS) && answer.is_empty()).then_some(Fault::LoseRequest));
    let failed = doctor.upload(&card, Class::Laboratory, &record("from the ward")).await;
    assert!(matches!(&failed, Err(ClientError::Node(NodeError::Unreachable { .. }))), "{failed:?}");
    let operation = doctor.profile().outbox().entries()[0].draft().operation;
    drop(doctor);
    proxy.clear();
    let own = patient.card();
    assert_eq!(patient.upload(&own, Class::Summary, &record("the patient's own")).await?.slot.get(), 0);
    Ok((patient, card, operation))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_whose_slot_is_taken_is_kept_and_goes_to_another_slot() -> TestResult {
    let scene = Scene::new().await?;
    let proxy = Proxy::new(scene.node.url())?;
    let (patient, card, operation) = a_taken_slot(&scene, &proxy).await?;

    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
    let resumed = fates(doctor.resume().await?);
    assert!(matches!(&resumed[..], [Fate::Refused { .. }]), "{resumed:?}");
    drop(doctor);

    // The next two processes still have the record, with its blocks. They do not send it without a command.
    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
    assert_eq!(fates(doctor.resume().await?), []);
    let [kept] = &doctor.profile().outbox().refused()[..] else { return Err("one record is kept".into()) };
    assert_eq!(kept.draft().operation, operation);
    assert!(kept.blocks().collect::<Result<Vec<_>, _>>()?.len() > 2);
    assert!(kept.refusal().is_some_and(|refusal| !refusal.reason.is_empty()));
    // The card identifies the patient. Another patient's card is refused.
    let other = scene.registered(OTHER_PATIENT).await?;
    let wrong = doctor.retry(&handed_over(&other), operation).await;
    assert!(matches!(wrong, Err(ClientError::Write(WriteError::OtherPatient { .. }))), "{wrong:?}");
    assert!(matches!(
        doctor.retry(&card, OperationId::from_bytes([0; 32])).await,
        Err(ClientError::Write(WriteError::NotRefused(_)))
    ));

    let written = doctor.retry(&card, operation).await?;
    assert_eq!(written.slot.get(), 1);
    assert!(doctor.profile().outbox().refused().is_empty());
    let (read, _) = patient.retrieve(&card, RecordSlot::new(1)?, None).await?;
    assert_eq!(read.unproven().record(), &record("from the ward"));
    assert_eq!(read.unproven().author(), doctor.account()?);
    assert_eq!(patient.records(&card).await?.len(), 2);
    // A second retry is refused.
    assert!(matches!(doctor.retry(&card, operation).await, Err(ClientError::Write(WriteError::NotRefused(_)))));
    Ok(())
}

/// Each attempt can be lost or refused. The record is kept until the node takes it.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_fails_keeps_the_record() -> TestResult {
    let scene = Scene::new().await?;
    let proxy = Proxy::new(scene.node.url())?;
    let (patient, card, operation) = a_taken_slot(&scene, &proxy).await?;
    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
    doctor.resume().await?;

    // The request is lost: the new operation has replaced the old one, and no record exists twice.
    proxy.set(|request, answer| (request.starts_with(OPERATIONS) && answer.is_empty()).then_some(Fault::LoseRequest));
    assert!(doctor.retry(&card, operation).await.is_err());
    assert!(doctor.profile().outbox().refused().is_empty());
    assert_eq!(folders(&scene)?.len(), 1);
    drop(doctor);
    proxy.clear();

    // The patient takes that slot too: the record is refused permanently, and kept again.
    let own = patient.card();
    assert_eq!(patient.upload(&own, Class::Summary, &record("the patient's next")).await?.slot.get(), 1);
    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
    let resumed = fates(doctor.resume().await?);
    assert!(matches!(&resumed[..], [Fate::Refused { .. }]), "{resumed:?}");
    let operation = doctor.profile().outbox().refused()[0].draft().operation;

    // The grant was revoked meanwhile, so nothing allows the record. It is still kept.
    patient.revoke(doctor.account()?, ClassMask::ALL).await?;
    let refused = doctor.retry(&card, operation).await;
    assert!(matches!(&refused, Err(ClientError::Node(error)) if error.is_revoked()), "{refused:?}");
    assert_eq!(doctor.profile().outbox().refused().len(), 1);
    // The patient grants again, with new keys.
    patient.grant(&doctor.card(), &terms(emr_core::Rights::WRITE, ClassMask::ALL)).await?;
    let written = doctor.retry(&card, operation).await?;
    let (read, _) = patient.retrieve(&card, written.slot, None).await?;
    assert_eq!(read.unproven().record(), &record("from the ward"));
    assert!(doctor.profile().outbox().refused().is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_upload_again_replaces_what_was_kept() -> TestResult {
    let scene = Scene::new().await?;
    let proxy = Proxy::new(scene.node.url())?;
    let (patient, card, _) = a_taken_slot(&scene, &proxy).await?;
    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
    doctor.resume().await?;
    assert_eq!(doctor.profile().outbox().refused().len(), 1);
    let written = doctor.upload(&card, Class::Laboratory, &record("from the ward")).await?;
    assert_eq!(written.slot.get(), 1);
    assert!(doctor.profile().outbox().refused().is_empty());
    assert_eq!(patient.records(&card).await?.len(), 2);
    Ok(())
}

/// The node returns a record that it had promised to settle. Discarding it deletes the blocks.
#[tokio::test(flavor = "multi_thread")]
async fn a_returned_record_is_kept_until_it_is_discarded() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    drop(doctor);
    let card = handed_over(&patient);
    let proxy = Proxy::new(scene.node.url())?;
    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
    let written = doctor.upload(&card, Class::Laboratory, &record("given back")).await?;
    let operation = written.acknowledged.operation;
    proxy.set(lie(format!("GET /v1/operations/{operation}"), |status: &mut OperationStatus| {
        *status = OperationStatus::Returned { reason: "the grant has ended".to_owned() };
    }));
    let resumed = fates(doctor.resume().await?);
    assert!(matches!(&resumed[..], [Fate::Returned { .. }]), "{resumed:?}");
    let [kept] = &doctor.profile().outbox().refused()[..] else { return Err("one record is kept".into()) };
    assert!(kept.refusal().is_some_and(|refusal| refusal.reason.contains("the grant has ended")));
    assert_eq!(folders(&scene)?.len(), 1);
    drop(doctor);

    let profile = emr_client::profile::Profile::open(&scene.data_dir(DOCTOR))?;
    assert!(!profile.outbox().discard(OperationId::from_bytes([0; 32]))?);
    assert!(profile.outbox().discard(operation)?);
    assert!(folders(&scene)?.is_empty());
    // The hospital's receipt stays.
    assert!(scene.data_dir(DOCTOR).join(format!("receipts/{operation}.json")).exists());
    Ok(())
}

/// The node's word that a record or its deletion is settled is not enough to remove it: the state on L1 must hold it.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_not_forgotten_on_a_nodes_word() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let card = handed_over(&patient);
    drop((patient, doctor));
    let proxy = Proxy::new(scene.node.url())?;
    for person in [PATIENT, DOCTOR] {
        let client = scene.client_at(person, &proxy.address).await?;
        let kept = client.profile().outbox().entries().len();
        let written = client.upload(&card, Class::Laboratory, &record(person.name)).await?;
        let deleted = client.delete(&card, written.slot).await?;
        proxy.set(lie("GET /v1/operations/".to_owned(), |status: &mut OperationStatus| {
            *status = OperationStatus::Settled { batch: 1 };
        }));
        let resumed = fates(client.resume().await?);
        assert!(resumed.iter().all(|fate| *fate == Fate::Waiting), "{}: {resumed:?}", person.name);
        for operation in [written.acknowledged.operation, deleted.operation] {
            let waited = client.wait_for(operation, std::time::Duration::from_millis(10)).await;
            assert!(matches!(waited, Err(ClientError::NotInForce { batch: 1 })), "{}: {waited:?}", person.name);
        }
        let entries = client.profile().outbox().entries();
        assert_eq!(entries.len(), kept + 2);
        let record = entries.iter().find(|entry| entry.draft().operation == written.acknowledged.operation);
        assert!(record.ok_or("kept")?.blocks().collect::<Result<Vec<_>, _>>()?.len() > 2);
        proxy.clear();
    }
    Ok(())
}

/// The patient's grant to the stranger begins a new epoch of the laboratory records, and is valid for this many seconds only.
async fn a_change_of_keys(patient: &Client, stranger: &Client, seconds: u64) -> TestResult<OperationId> {
    let account = patient.account()?;
    let view = patient.node().patient(account).await?;
    let published = patient.directory(&view.directory.ok_or("published")?).await?;
    let mut directory = PatientDirectory::open(published, &PATIENT.identity)?;
    let reader = STRANGER.identity.encryption_key();
    directory.grant(stranger.account()?, reader, Class::Laboratory.into(), Past::Closed)?;
    for (_, bytes) in directory.published().blocks() {
        patient.node().put_block(Codec::DagCbor, bytes).await?;
    }
    let cid = directory.published().cid();
    let leaf = GrantLeaf {
        grantee: Some(stranger.account()?),
        rights: Rights::READ,
        scope: Class::Laboratory.into(),
        not_after: UnixTime::now().saturating_add(3600),
        uses: Uses::ZERO,
        version: Version::new(1)?,
        salt: Fr::from(3),
    };
    let slot = emr_core::GrantSlot::new(65)?;
    let (directory_before, directory_after) = (view.directory_commitment, DirectoryCommitment::of(&cid));
    let action = Action::SetGrant(SetGrant { slot, expected: Version::ZERO, leaf, directory_before, directory_after });
    let operation = Operation {
        signer: account,
        signer_epoch: view.epoch,
        patient: account,
        patient_epoch: view.epoch,
        valid_until: UnixTime::now().saturating_add(seconds),
        salt: Fr::from(4),
        action,
    };
    let signed = operation.sign(patient.domain(), &SigningKey::from_seed(PATIENT.identity.rollup_seed()), None);
    patient.node().submit(&Submission { signed, stored: None, epoch: None, directory: Some(cid) }).await?;
    Ok(signed.id(patient.domain()))
}

/// A record is sealed under keys that never come into force, because no batch took the patient's change in time. Nobody could open it. The node
/// returns it, and its writer hands it in again, sealed under the keys in force.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_under_keys_that_are_returned_is_sealed_again() -> TestResult {
    let late = Scene::new().await?;
    let (patient, doctor) = late.with_a_doctor().await?;
    let stranger = late.registered(STRANGER).await?;
    let change = a_change_of_keys(&patient, &stranger, 300).await?;
    let lost = doctor.upload(&handed_over(&patient), Class::Laboratory, &record("potassium 4.1")).await?;
    let operation = lost.acknowledged.operation;
    // A batch may be dated half an hour back, so that what waited for it is still valid.
    late.chain.advance_clock(2400)?;
    let _: serde_json::Value = doctor.rollup().provider().raw_request("evm_mine".into(), ()).await?;
    late.client(HOSPITAL).await?.node().seal().await?;
    let returned = patient.node().operation(change).await?;
    assert!(matches!(returned, OperationStatus::Returned { .. }), "{returned:?}");
    let [Fate::Returned { reason }] = &fates(doctor.resume().await?)[..] else { return Err("one is returned".into()) };
    assert!(reason.contains("seal the record again"), "{reason}");
    drop((patient, doctor));

    // The clock of that chain is ahead now, and the client takes no receipt from there. Another chain with the same people and a right clock.
    let scene = Scene::new().await?;
    move_folder(DOCTOR, &late, &scene)?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let card = handed_over(&patient);
    let again = doctor.retry(&card, operation).await?;
    assert_eq!(again.slot, lost.slot);
    assert_ne!(again.record_cid, lost.record_cid);
    let (read, _) = patient.retrieve(&card, again.slot, None).await?;
    assert_eq!(read.unproven().record(), &record("potassium 4.1"));
    assert_eq!(read.unproven().author(), doctor.account()?);
    assert!(doctor.profile().outbox().refused().is_empty());
    Ok(())
}
