//! A power cut at the patient's machine: every operation that was sent is in the outbox, and its version is noted.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use emr_client::{
    Client,
    profile::{OwnedAccount, Profile},
};
use emr_core::{Class, ClassMask, Rights};
use emr_crypto::ScryptCost;
use emr_durable::crash::{ALL, Journal, Survivors, no_sync};
use emr_rollup::operation::{Action, SetGrant, SignedOperation};

use crate::{proxy::Proxy, scene::*};

const FOLDER: &str = "data/patient";

/// The operations that were sent, with the number of steps before each.
struct Sent {
    journal: Arc<Journal>,
    operations: Vec<(usize, SignedOperation)>,
}

/// A patient grants twice, writes, and revokes.
async fn history() -> TestResult<Sent> {
    let scene = Scene::new().await?;
    let (doctor, stranger) = (scene.registered(DOCTOR).await?, scene.registered(STRANGER).await?);
    drop(scene.registered(PATIENT).await?);
    let proxy = Proxy::new(scene.node.url())?;
    let journal = Journal::new()?;
    let folder = journal.root().join(FOLDER);
    let passphrase = PASSPHRASE.into();
    let profile = Profile::create_on(journal.disk(), &folder, &PATIENT.identity, &passphrase, ScryptCost::Development)?;
    let identity = profile.identity(&passphrase)?;
    let patient = Client::join_over(profile, identity, &proxy.address, &scene.endpoint()).await?;
    patient.register(None, None).await?;
    patient.wait_registered(false, Duration::from_millis(20), Duration::from_secs(30)).await?;

    let sent = Arc::new(Mutex::new(Vec::new()));
    let (seen, watched) = (Arc::clone(&sent), Arc::clone(&journal));
    proxy.set(move |request, answer| {
        // Records the operation before it is forwarded. Revokes have another route.
        let request = request.to_lowercase();
        let submits = ["post /v1/operations ", "post /v1/revokes "].iter().any(|route| request.starts_with(route));
        if answer.is_empty() && submits {
            seen.lock().expect("no panic").push(watched.steps());
        }
        None
    });
    journal.skip();
    journal.begin("grant");
    patient.grant(&doctor.card(), &terms(Rights::READ | Rights::WRITE, ClassMask::ALL)).await?;
    patient.grant(&stranger.card(), &terms(Rights::READ, ClassMask::ALL)).await?;
    journal.begin("write");
    let card = patient.card();
    patient.upload(&card, Class::Summary, &record("a note")).await?;
    journal.begin("revoke");
    patient.revoke(stranger.account()?, ClassMask::ALL).await?;

    // Nothing is settled here, so everything still waits.
    let operations = patient.profile().outbox().entries().into_iter().map(|entry| entry.draft().submission.signed);
    let steps = sent.lock().expect("no panic").clone();
    let operations: Vec<_> = steps.into_iter().zip(operations).collect();
    assert_eq!(operations.len(), patient.profile().outbox().entries().len(), "each was sent once");
    Ok(Sent { journal, operations })
}

impl Sent {
    fn check(&self, steps: usize, image: &Path) -> TestResult {
        let profile = Profile::open(&image.join(FOLDER))?;
        for (_, signed) in self.operations.iter().filter(|(sent, _)| *sent <= steps) {
            let mut waits = profile.outbox().entries().into_iter();
            let waits = waits.find(|entry| entry.draft().submission.signed == *signed);
            let entry = waits.ok_or("an operation left the machine and is not in the outbox")?;
            entry.blocks().collect::<Result<Vec<_>, _>>()?;
            if let Action::SetGrant(SetGrant { slot, leaf, .. }) = &signed.operation.action
                && profile
                    .highest_signed(OwnedAccount { account: signed.operation.patient, owner: PATIENT.address() }, *slot)
                    < leaf.version
            {
                return Err("a version left the machine and is not noted".into());
            }
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_left_the_machine_is_kept() -> TestResult {
    let sent = history().await?;
    assert!(sent.operations.len() >= 4);
    tokio::task::spawn_blocking(move || -> TestResult {
        sent.journal.check(&ALL, no_sync, |steps, image| sent.check(steps, image))?;
        // The syncs of the versions and of the outbox, each by itself.
        let places = [
            "data/patient/*",
            "data/patient",
            "data/patient/outbox/*/entry.json",
            "data/patient/outbox/*",
            "data/patient/outbox",
        ];
        for place in places {
            let left_out = |sync: &emr_durable::crash::Sync| sync.operation() == "grant" && sync.place() == place;
            let harm = sent.journal.check(&[Survivors::Nothing], left_out, |steps, image| sent.check(steps, image));
            assert!(harm.is_err(), "{place}");
        }
        Ok(())
    })
    .await?
}
