//! Rekeying: after a revocation, the ciphertext that the hospital stores is closed to the revoked reader too.

use emr_client::{
    Client,
    flow::grant::GrantError,
    flow::rekey::{RekeyOutcome, Rekeyed},
    flow::upload::Written,
};
use emr_core::{Class, ClassMask, Reason, Rights};

use crate::{
    from_now::{keys, opens},
    scene::*,
};

/// The address of a record's newest ciphertext.
async fn newest(patient: &Client, written: &Written) -> TestResult<Written> {
    let view = patient.node().record(written.patient, written.slot).await?;
    Ok(Written { record_cid: view.stored.manifest, ..written.clone() })
}

fn slots_of(done: &[Rekeyed], outcome: fn(&RekeyOutcome) -> bool) -> Vec<u64> {
    done.iter().filter(|rekeyed| outcome(&rekeyed.outcome)).map(|rekeyed| rekeyed.slot.get()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ciphertext_stored_after_a_rekey_is_closed_to_a_revoked_reader() -> TestResult {
    let scene = Scene::proving().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let stranger = scene.registered(STRANGER).await?;
    let card = handed_over(&patient);
    let laboratory = doctor.upload(&card, Class::Laboratory, &record("potassium 4.1")).await?;
    let imaging = doctor.upload(&card, Class::Imaging, &record("thorax")).await?;
    patient.grant(&handed_over(&stranger), &terms(Rights::READ, ClassMask::ALL)).await?;
    let held = keys(&patient, &stranger).await?;
    patient.revoke(stranger.account()?, ClassMask::ALL).await?;
    scene.next_batch().await?;
    let late = doctor.upload(&card, Class::Laboratory, &record("potassium 4.3")).await?;
    assert!(opens(&scene, &patient, &laboratory, &held).await?, "the revoked reader has keys and blocks");
    assert!(!opens(&scene, &patient, &late, &held).await?);

    let mut told = Vec::new();
    let done = patient.rekey(Class::Laboratory.into(), |rekeyed, left| told.push((rekeyed.slot.get(), left))).await?;
    assert_eq!(told, [(laboratory.slot.get(), 0)], "one settled record of the class");
    assert_eq!(slots_of(&done, |outcome| matches!(outcome, RekeyOutcome::Rekeyed { .. })), [laboratory.slot.get()]);
    let rekeyed = newest(&patient, &laboratory).await?;
    assert_ne!(rekeyed.record_cid, laboratory.record_cid);
    assert!(!opens(&scene, &patient, &rekeyed, &held).await?);
    // Those who may read it can: the author's signature is the same, and the version too.
    let (read, _) = patient.retrieve(&card, laboratory.slot, None).await?;
    assert_eq!(read.unproven().record(), &record("potassium 4.1"));
    assert_eq!((read.unproven().author(), read.unproven().leaf().version), (doctor.account()?, laboratory.version));
    let (read, _) = doctor.retrieve(&card, laboratory.slot, Some(Reason::Treatment)).await?;
    assert_eq!(read.unproven().record(), &record("potassium 4.1"));
    // The other class was not touched. A second run has nothing to do.
    assert_eq!(newest(&patient, &imaging).await?.record_cid, imaging.record_cid);
    let again = patient.rekey(Class::Laboratory.into(), |_, _| ()).await?;
    assert_eq!(slots_of(&again, |outcome| *outcome == RekeyOutcome::Current), [laboratory.slot.get()]);
    let error = doctor.rekey(ClassMask::ALL, |_, _| ()).await;
    assert!(matches!(error, Err(emr_client::ClientError::Grant(GrantError::NotAPatient))), "{error:?}");
    Ok(())
}
