//! A delegate grants and revokes for a patient, within the patient's limits, and the patient keeps the last word.

use emr_client::{
    Client, ClientError,
    flow::grant::{Granted, History},
    flow::retrieve::{ReadError, Retrieved},
    flow::submit::Fate,
    flow::upload::Written,
    verify::card::Card,
};
use emr_core::{Class, ClassMask, Reason, Rights, UnixTime};
use emr_rollup::operation::{Action, Kind};

use crate::{from_now::keys, scene::*};

fn lab() -> ClassMask {
    Class::Laboratory.into()
}

fn soon() -> UnixTime {
    UnixTime::now().saturating_add(1800)
}

/// A patient with a laboratory record, whose family doctor is their delegate for laboratory and imaging, and another doctor. All of it is settled.
async fn family(scene: &Scene) -> TestResult<(Client, Client, Client, Written)> {
    let delegate = scene.registered(DOCTOR).await?;
    let reader = scene.registered(STRANGER).await?;
    let patient = scene.registered(PATIENT).await?;
    let classes = [Class::Laboratory, Class::Imaging].into_iter().collect();
    let until = UnixTime::now().saturating_add(3600);
    let named = patient.delegate(&handed_over(&delegate), classes, until, History::Included).await?;
    assert_eq!(named.grant.rights, Rights::READ | Rights::MANAGE);
    let written = patient.upload(&handed_over(&patient), Class::Laboratory, &record("potassium 4.1")).await?;
    scene.next_batch().await?;
    patient.resume().await?;
    Ok((patient, delegate, reader, written))
}

async fn grants_lab(delegate: &Client, patient: &Card, to: &Client) -> Result<Granted, ClientError> {
    delegate.grant_for(patient, &handed_over(to), Rights::READ, lab(), soon()).await
}

fn is_text(read: &Retrieved, text: &str) -> bool {
    read.verified().is_some_and(|read| *read.authentic().record() == record(text))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_grants_and_revokes_and_the_patient_follows() -> TestResult {
    let scene = Scene::proving().await?;
    let (patient, delegate, reader, written) = family(&scene).await?;
    let card = handed_over(&patient);
    let before = patient.node().patient(patient.account()?).await?.directory;

    let granted = grants_lab(&delegate, &card, &reader).await?;
    let Action::SetGrant(set) = granted.acknowledged.signed.operation.action else { return Err("no grant".into()) };
    assert_eq!(set.directory_before, set.directory_after, "a delegate leaves the directory");
    scene.next_batch().await?;
    assert!(delegate.resume().await?.iter().all(|one| matches!(one.fate, Fate::Settled { .. })));

    // The reader has no keys in the directory, and reads with those that the delegate handed on.
    assert_eq!(patient.node().patient(patient.account()?).await?.directory, before);
    assert!(keys(&patient, &reader).await.is_err());
    let (read, _) = reader.retrieve(&card, written.slot, Some(Reason::Treatment)).await?;
    assert!(is_text(&read, "potassium 4.1"), "{read:?}");
    // The patient's checks hold, and nothing has to be published for this alone.
    let (_, audit) = patient.light_check_with_audit(usize::MAX).await?;
    let by = delegate.account()?;
    assert!(audit.iter().any(|entry| entry.kind == Kind::SetGrant && entry.signer == by));
    assert_eq!(patient.repair_directory().await?, None);

    // The patient's next directory has keys for the reader, of the classes of the grant.
    let hospital = scene.client(HOSPITAL).await?;
    patient.grant(&handed_over(&hospital), &terms(Rights::READ, Class::Imaging.into())).await?;
    drop(hospital);
    let ring = keys(&patient, &reader).await?;
    assert!(ring.epochs(Class::Laboratory).is_some() && ring.epochs(Class::Imaging).is_none());

    // The delegate revokes: the reader is refused at once. New keys follow when the patient's client runs.
    let revoked = delegate.revoke_for(&card, &handed_over(&reader), ClassMask::ALL).await?;
    assert_eq!(revoked.changed.len(), 1);
    let refused = reader.retrieve(&card, written.slot, Some(Reason::Treatment)).await;
    assert!(matches!(refused, Err(ClientError::Read(ReadError::Revoked { .. }))), "{refused:?}");
    assert!(keys(&patient, &reader).await.is_ok(), "the delegate cannot take the keys");
    scene.next_batch().await?;
    assert!(delegate.resume().await?.iter().all(|one| matches!(one.fate, Fate::Settled { .. })));
    let repaired = patient.repair_directory().await?.ok_or("new keys")?;
    assert_eq!(repaired.new_epochs, lab());
    assert!(keys(&patient, &reader).await.is_err());
    assert!(keys(&patient, &delegate).await?.epochs(Class::Laboratory).is_some());

    // The patient ends the delegate's grant: from then on nothing is taken.
    patient.revoke(delegate.account()?, ClassMask::ALL).await?;
    let late = grants_lab(&delegate, &card, &reader).await;
    assert!(late.is_err(), "{late:?}");
    scene.next_batch().await?;
    let late = delegate.revoke_for(&card, &handed_over(&reader), ClassMask::ALL).await;
    assert!(late.is_err(), "{late:?}");
    patient.light_check().await?;
    Ok(())
}
