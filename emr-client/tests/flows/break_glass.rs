//! A doctor opens emergency access. It is on record, it opens nothing, and the patient goes on as before.

use std::time::Duration;

use emr_api::{EmergencySlot, OperationStatus};
use emr_client::{
    Client, ClientError, Code,
    flow::break_glass::{EmergencyError, EmergencyTerms},
    flow::grant::GrantError,
    flow::rekey::RekeyOutcome,
    flow::submit::Fate,
};
use emr_core::{Class, ClassMask, GrantSlot, Reason, Rights, UnixTime, Version};
use emr_rollup::operation::Kind;

use crate::{
    from_now::keys,
    proxy::{Fault, Proxy, lie},
    scene::*,
};

const TERMS: EmergencyTerms = EmergencyTerms { class: Class::Summary, reason: Reason::Emergency, hours: 4 };

/// The readers to whom the patient's directory in force gives keys.
async fn has_keys(patient: &Client, reader: &Client) -> bool {
    keys(patient, reader).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_with_a_live_emergency_grant_goes_on() -> TestResult {
    let scene = Scene::proving().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let stranger = scene.registered(STRANGER).await?;
    let card = handed_over(&patient);
    let written = doctor.upload(&card, Class::Summary, &record("allergy: penicillin")).await?;

    let opened = stranger.break_glass(&card, &TERMS).await?;
    assert!(opened.slot < GrantSlot::FIRST_ORDINARY);
    assert_eq!((opened.grant.grantee, opened.grant.rights), (Some(stranger.account()?), Rights::EMERGENCY));
    // The same call after an interruption signs nothing new.
    assert_eq!(stranger.break_glass(&card, &TERMS).await?, opened);
    assert_eq!(stranger.profile().outbox().entries().len(), 1);
    // It opens nothing.
    let read = stranger.retrieve(&card, written.slot, Some(Reason::Emergency)).await;
    assert!(matches!(&read, Err(error) if error.code() == Code::NodeRefused.as_str()), "{read:?}");
    let requested = stranger.request(&card, Class::Summary, Reason::Emergency).await;
    assert!(requested.is_err(), "{requested:?}");

    scene.next_batch().await?;
    let status = stranger.wait_for(opened.acknowledged.operation, Duration::from_millis(50)).await?;
    assert_eq!(status, Fate::Settled { batch: 1 });
    assert_eq!(stranger.profile().outbox().entries(), []);
    let again = stranger.break_glass(&card, &TERMS).await;
    assert!(again.as_ref().is_err_and(|error| error.to_string().contains("you hold an emergency grant")), "{again:?}");

    // The patient is told once, and sees who, why and until when, all proved.
    assert_eq!((patient.new_emergencies().await?, patient.new_emergencies().await?), (1, 0));
    let (leaves, emergencies) = patient.own_leaves_with_emergencies().await?;
    assert_eq!(emergencies.len(), 1);
    let seen = emergencies[0];
    assert_eq!((seen.slot, seen.grant, seen.purpose), (opened.slot, opened.grant, opened.purpose));
    assert!(seen.opened <= seen.grant.not_after);
    assert_eq!(leaves.access(UnixTime::now()).count(), 2);
    let (_, audit) = patient.light_check_with_audit(usize::MAX).await?;
    let entry = audit.iter().find(|entry| entry.kind == Kind::BreakGlass).ok_or("on record")?;
    assert_eq!((entry.signer, entry.purpose), (stranger.account()?, Some(opened.purpose)));

    // Granting, revoking and rekeying go on, and the emergency grant gets no keys by any of them.
    patient.grant(&handed_over(&doctor), &terms(Rights::READ, Class::Imaging.into())).await?;
    assert!(!has_keys(&patient, &stranger).await && has_keys(&patient, &doctor).await);
    let revoked = patient.revoke(doctor.account()?, Class::Laboratory.into()).await?;
    assert!(revoked.changed.iter().all(|(slot, _)| *slot >= GrantSlot::FIRST_ORDINARY), "{revoked:?}");
    patient.revoke(doctor.account()?, Class::Summary.into()).await?;
    let rekeyed = patient.rekey(Class::Summary.into(), None, |_, _| ()).await?;
    assert!(matches!(rekeyed[..], [ref one] if matches!(one.outcome, RekeyOutcome::Rekeyed { .. })), "{rekeyed:?}");
    assert!(!has_keys(&patient, &stranger).await);
    scene.next_batch().await?;
    let resumed = patient.resume().await?;
    assert!(resumed.iter().all(|one| matches!(one.fate, Fate::Settled { .. })), "{resumed:?}");
    assert_eq!(patient.repair_directory().await?, None);
    assert_eq!(patient.own_leaves_with_emergencies().await?.1, [seen]);

    // A Revoke of another class leaves it. A Revoke of its class ends it at once, whole, and without new keys.
    let other = patient.revoke(stranger.account()?, Class::Imaging.into()).await;
    assert!(matches!(other, Err(ClientError::Grant(GrantError::NoSuchGrant(_)))), "{other:?}");
    let ended = patient.revoke(stranger.account()?, ClassMask::ALL).await?;
    assert_eq!((ended.changed.len(), ended.changed[0].0, ended.new_epochs), (1, opened.slot, ClassMask::default()));
    assert_eq!(ended.changed[0].1.signed.operation.action.kind(), Kind::Revoke);
    scene.next_batch().await?;
    let resumed = patient.resume().await?;
    assert!(matches!(resumed[..], [ref one] if matches!(one.fate, Fate::Settled { .. })), "{resumed:?}");
    assert_eq!(patient.own_leaves_with_emergencies().await?.1, []);
    patient.light_check().await?;
    // The node took what was ended out of the way: the doctor may open another one, which is on record again.
    let second = stranger.break_glass(&card, &TERMS).await?;
    assert_ne!(second.acknowledged.operation, opened.acknowledged.operation);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_doctors_open_them_for_patients_and_for_a_day_at_most() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let card = handed_over(&patient);
    for client in [&patient, &scene.client(HOSPITAL).await?] {
        let refused = client.break_glass(&card, &TERMS).await;
        assert!(matches!(refused, Err(ClientError::Emergency(EmergencyError::NotADoctor))), "{refused:?}");
    }
    for hours in [0, 24, u64::MAX] {
        let refused = doctor.break_glass(&card, &EmergencyTerms { hours, ..TERMS }).await;
        assert!(matches!(refused, Err(ClientError::Emergency(EmergencyError::Hours(_)))), "{refused:?}");
    }
    let refused = doctor.break_glass(&handed_over(&doctor), &TERMS).await;
    assert!(matches!(refused, Err(ClientError::Emergency(EmergencyError::NotAPatient(_)))), "{refused:?}");
    assert_eq!(doctor.profile().outbox().entries(), []);
    let longest = doctor.break_glass(&card, &EmergencyTerms { hours: EmergencyTerms::MAX_HOURS, ..TERMS }).await?;
    // A doctor with an ordinary grant keeps what it allows.
    let longest_end = longest.grant.not_after.get();
    assert!(longest_end > UnixTime::now().get() + 22 * 3600);
    doctor.upload(&card, Class::Summary, &record("seen")).await?;
    Ok(())
}

/// The slot and its version are the only things that the doctor takes from the node.
#[tokio::test(flavor = "multi_thread")]
async fn a_lying_node_gets_no_other_signature() -> TestResult {
    let scene = Scene::new().await?;
    let patient = scene.registered(PATIENT).await?;
    drop(scene.registered(STRANGER).await?);
    let proxy = Proxy::new(scene.node.url())?;
    let stranger = scene.client_at(STRANGER, &proxy.address).await?;
    let card = handed_over(&patient);
    let path = format!("GET /v1/patients/{}/emergency-slot", patient.account()?);

    // A slot of the patient's own grants: nothing is signed.
    let ordinary = GrantSlot::FIRST_ORDINARY;
    proxy.set(lie(path.clone(), move |view: &mut EmergencySlot| view.slot = ordinary));
    let refused = stranger.break_glass(&card, &TERMS).await;
    assert!(matches!(&refused, Err(error) if error.code() == Code::NodeAnswer.as_str()), "{refused:?}");
    // A version without a next one.
    let last = Version::new(Version::MAX)?;
    proxy.set(lie(path.clone(), move |view: &mut EmergencySlot| view.version = last));
    let refused = stranger.break_glass(&card, &TERMS).await;
    assert!(matches!(&refused, Err(error) if error.code() == Code::NodeAnswer.as_str()), "{refused:?}");
    assert_eq!(stranger.profile().outbox().entries(), []);
    // A version that the slot does not have costs a few refusals, and nothing stays behind.
    let wrong = Version::new(7)?;
    proxy.set(lie(path, move |view: &mut EmergencySlot| view.version = wrong));
    let refused = stranger.break_glass(&card, &TERMS).await;
    assert!(matches!(refused, Err(ClientError::Contended)), "{refused:?}");
    assert_eq!(stranger.profile().outbox().entries(), []);

    // The receipt is lost. The next call hands in the same grant.
    let mut lost = false;
    proxy.set(move |request, answer| {
        let loses = !lost && !answer.is_empty() && request.starts_with("POST /v1/operations ");
        lost |= loses;
        loses.then_some(Fault::LoseAnswer)
    });
    let failed = stranger.break_glass(&card, &TERMS).await;
    assert!(failed.is_err() || lost_once(&stranger), "{failed:?}");
    proxy.clear();
    let opened = stranger.break_glass(&card, &TERMS).await?;
    let entries = stranger.profile().outbox().entries();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].draft().operation, opened.acknowledged.operation);

    // The node says that a batch settled it. L1 has no such batch: the doctor does not believe it.
    let claimed = OperationStatus::Settled { batch: 1 };
    let path = format!("GET /v1/operations/{}", opened.acknowledged.operation);
    proxy.set(lie(path, move |status: &mut OperationStatus| *status = claimed.clone()));
    let resumed = stranger.resume().await?;
    assert!(matches!(resumed[..], [ref one] if one.fate == Fate::Waiting), "{resumed:?}");
    let error = stranger.wait_for(opened.acknowledged.operation, Duration::from_millis(5)).await;
    assert!(matches!(error, Err(ClientError::NotInForce { batch: 1 })), "{error:?}");
    assert_eq!(stranger.profile().outbox().entries().len(), 1);
    Ok(())
}

/// Whether the client handed the grant in by itself after it lost an answer.
fn lost_once(client: &Client) -> bool {
    client.profile().outbox().entries().len() == 1
}
