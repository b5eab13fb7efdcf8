//! A participant whose rollup key was stolen gets a new one through L1.

use std::{sync::Arc, time::Duration};

use alloy::primitives::Bytes;
use emr_api::{OperationStatus, Submission};
use emr_chain::{Revert, RollupError, SignedChange, SignedRotation};
use emr_client::{
    Client, ClientError, flow::account_change::AccountChangeError, keys::Keys, node::NodeError, verify::card::CardError,
};
use emr_core::{AccountEpoch, Class, ClassMask, Reason, Rights, UnixTime, Version};
use emr_crypto::{Identity, ScryptCost};
use emr_rollup::{
    operation::{Action, Operation, Revoke},
    primitive::{eddsa::SigningKey, field::Fr},
};
use emr_testkit::people::Member;

use crate::scene::*;

/// The identity in a data folder with a next rollup key, and the keys after the rotation.
fn begun(scene: &Scene, person: Member) -> TestResult<(Identity, Arc<dyn Keys>)> {
    let (profile, identity) = scene.profile(person)?;
    let identity = identity.with_next_rollup_key();
    profile.replace_identity(&identity, &PASSPHRASE.into(), ScryptCost::Development)?;
    let next = identity.rotated().ok_or("a rotation was begun")?;
    Ok((next.clone(), Arc::new(next)))
}

/// A Revoke of the first grant, as somebody signs it who has only the patient's old rollup key.
async fn stolen_signature(patient: &Client) -> TestResult<Submission> {
    let account = patient.account()?;
    let view = patient.node().patient(account).await?;
    let operation = Operation {
        signer: account,
        signer_epoch: view.epoch,
        patient: account,
        patient_epoch: view.epoch,
        valid_until: UnixTime::now().saturating_add(3600),
        salt: Fr::from(2),
        action: Action::Revoke(Revoke {
            slot: emr_core::GrantSlot::FIRST_ORDINARY,
            expected: Version::new(1)?,
            leaf_salt: Fr::from(1),
            directory_before: Fr::from(99).into(),
            directory_after: view.directory_commitment,
        }),
    };
    let signed = operation.sign(patient.domain(), &SigningKey::from_seed(PATIENT.identity.rollup_seed()), None);
    Ok(Submission { signed, stored: None, epoch: None, directory: None })
}

/// The old key counts until the entry is settled, and no longer. What the patient wrote before stays theirs, and the doctor reads it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_key_ends_with_the_rotation() -> TestResult {
    let scene = Scene::proving_for([PATIENT.address()]).await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let card = handed_over(&patient);
    let own = patient.upload(&card, Class::Document, &record("my allergies")).await?;
    scene.next_batch().await?;
    // It is acknowledged, and no batch has taken it when the new key comes.
    let waiting = patient.upload(&card, Class::Document, &record("too late")).await?;
    drop(patient);

    let (next, keys) = begun(&scene, PATIENT)?;
    let on_l1 = scene.on_l1(PATIENT).await?;
    let sent = on_l1.rotate(&keys).await?;
    assert_eq!(sent.queued.index, 0);
    let again = on_l1.rotate(&keys).await;
    let waits = matches!(again, Err(ClientError::Rollup(RollupError::Reverted(Revert::EntryWaiting { index: 0, .. }))));
    assert!(waits, "{again:?}");
    drop(on_l1);
    let early = scene.client(PATIENT).await?;
    let account = early.account()?;
    let before = AccountEpoch::new(1)?;
    for _ in 0..200 {
        if early.node().patient(account).await?.epoch != before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_ne!(early.node().patient(account).await?.epoch, before, "the node does not see the entry");
    assert!(!early.has_rotated(&next).await?);
    let refused = early.grant(&handed_over(&doctor), &terms(Rights::READ, ClassMask::ALL)).await;
    assert!(matches!(refused, Err(ClientError::ChangeWaits(_))), "{refused:?}");
    // The thief's operation names the epoch that the node tells, which counts the entry.
    let stolen = early.node().submit(&stolen_signature(&early).await?).await;
    assert!(matches!(&stolen, Err(NodeError::Refused { .. })), "{stolen:?}");
    drop(early);

    scene.next_batch().await?;
    // The thief, and a patient with an old copy of the identity file.
    let old = scene.client(PATIENT).await?;
    let returned = old.node().operation(waiting.acknowledged.operation).await?;
    assert!(matches!(returned, OperationStatus::Returned { .. }), "{returned:?}");
    let refused = old.grant(&handed_over(&doctor), &terms(Rights::READ, ClassMask::ALL)).await;
    assert!(matches!(refused, Err(ClientError::OtherRollupKey(_))), "{refused:?}");
    let stolen = old.node().submit(&stolen_signature(&old).await?).await;
    assert!(matches!(&stolen, Err(NodeError::Refused { .. })), "{stolen:?}");
    // Somebody with the old card is told that the keys differ.
    let outdated = doctor.check_card(&card).await;
    assert!(matches!(outdated, Err(ClientError::Card(CardError::Forged { field: "rollup key", .. }))), "{outdated:?}");

    assert!(old.has_rotated(&next).await?);
    old.profile().replace_identity(&next, &PASSPHRASE.into(), ScryptCost::Development)?;
    let patient = old.with_keys(next);
    patient.resume().await?;
    let (read, _) = patient.retrieve(&patient.card(), own.slot, None).await?;
    assert_eq!(read.unproven().record(), &record("my allergies"));
    let granted = patient.grant(&handed_over(&doctor), &terms(Rights::READ, ClassMask::ALL)).await?;
    assert_eq!(granted.grant.version, Version::new(2)?);
    let again = patient.retry(&patient.card(), waiting.acknowledged.operation).await?;
    scene.next_batch().await?;
    patient.light_check().await?;
    let card = handed_over(&patient);
    for slot in [own.slot, again.slot] {
        doctor.retrieve(&card, slot, Some(Reason::Treatment)).await?;
    }
    drop(patient);
    // The file has the new key alone.
    let patient = scene.client(PATIENT).await?;
    patient.own_leaves().await?;
    Ok(())
}

/// A doctor without ether signs the rotation, and a stranger relays it. The doctor's organisation stays, and what they wrote keeps its author.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_is_relayed() -> TestResult {
    let scene = Scene::proving_for([PATIENT.address()]).await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let card = handed_over(&patient);
    let written = doctor.upload(&card, Class::Summary, &record("before")).await?;
    scene.next_batch().await?;
    drop((patient, doctor));

    let (next, keys) = begun(&scene, DOCTOR)?;
    let signed = scene.on_l1(DOCTOR).await?.sign_rotation(&keys).await?;
    let SignedChange::Rotation(rotation) = &signed else { return Err("a rotation was signed".into()) };
    let stranger = scene.on_l1(PATIENT).await?;
    let with = |changed| SignedChange::Rotation(changed);
    let forged = with(SignedRotation { signature: Bytes::from(vec![7; 65]), ..rotation.clone() });
    let refused = stranger.relay(&forged).await;
    let invalid = matches!(refused, Err(ClientError::Rollup(RollupError::Reverted(Revert::InvalidOwnerSignature(_)))));
    assert!(invalid, "{refused:?}");
    let mut elsewhere = rotation.clone();
    elsewhere.instance.chain_id += 1;
    let refused = stranger.relay(&with(elsewhere)).await;
    assert!(matches!(refused, Err(ClientError::AccountChange(AccountChangeError::OtherRollup(_)))), "{refused:?}");
    // The file as it travels.
    let travelled: SignedChange = serde_json::from_slice(&serde_json::to_vec(&signed)?)?;
    stranger.relay(&travelled).await?;
    drop(stranger);
    scene.next_batch().await?;

    let old = scene.client(DOCTOR).await?;
    assert!(old.has_rotated(&next).await?);
    let doctor = old.with_keys(next);
    doctor.edit(&card, written.slot, emr_client::flow::next_version::EditClass::Proved, &record("after")).await?;
    scene.next_batch().await?;
    let patient = scene.client(PATIENT).await?;
    let (read, _) = patient.retrieve(&card, written.slot, None).await?;
    assert_eq!(read.verified().ok_or("it is settled")?.authentic().record(), &record("after"));
    let doctors = patient.node().account(doctor.account()?).await?;
    assert!(doctors.org.is_some(), "{doctors:?}");
    Ok(())
}
