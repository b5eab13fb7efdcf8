//! Many participants in one process, and many tasks of one participant.

use std::{error::Error, path::PathBuf, time::Duration};

use emr_client::{
    Client, ClientError, Connections,
    keys::Signer,
    profile::{Profile, ProfileError},
};
use emr_core::{Class, ClassMask, Rights, Role};
use emr_crypto::{Identity, KeyProfile, ScryptCost};
use tokio::task::JoinSet;

use crate::scene::*;

const PARTICIPANTS: usize = 100;

type Failed = Box<dyn Error + Send + Sync>;

/// A new participant registers and writes their first record.
async fn a_day(
    number: usize,
    folder: PathBuf,
    identity: Identity,
    connections: Connections,
) -> Result<(usize, Client), Failed> {
    let profile = Profile::create(&folder, &identity, &PASSPHRASE.into(), ScryptCost::Development)?;
    let patient = Client::join_through(profile, identity, &connections).await?;
    patient.register_on_l1(None).await?;
    patient.wait_registered(false, Duration::from_millis(50), Duration::from_secs(60)).await?;
    let written = patient.upload(&patient.card(), Class::Summary, &record(&format!("record {number}"))).await?;
    assert_eq!(written.slot.get(), 0);
    Ok((number, patient))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_participants_work_in_one_process() -> TestResult {
    // An RSA key takes long to make, so all have the same one. Their other keys differ.
    let identity = |_| Identity::with_rsa(Role::Patient, OTHER_PATIENT.identity.rsa().clone(), KeyProfile::Hybrid);
    let identities: Vec<Identity> = (0..PARTICIPANTS).map(identity).collect();
    let scene = Scene::where_these_have_ether(identities.iter().map(Signer::ethereum_address)).await?;
    let connections = Connections::over(scene.node.url().as_str(), &scene.endpoint())?;
    let mut working = JoinSet::new();
    for (number, identity) in identities.into_iter().enumerate() {
        let folder = scene.folder.path().join(format!("participant-{number}"));
        working.spawn(a_day(number, folder, identity, connections.clone()));
    }
    let mut patients = Vec::new();
    while let Some(done) = working.join_next().await {
        patients.push(done??);
    }
    assert_eq!(patients.len(), PARTICIPANTS);
    // Each can read their own record, and no other.
    for (number, patient) in &patients {
        let (read, _) = patient.retrieve(&patient.card(), emr_core::RecordSlot::new(0)?, None).await?;
        assert_eq!(read.unproven().record(), &record(&format!("record {number}")));
    }
    let others = patients[0].1.node().record(patients[1].1.account()?, emr_core::RecordSlot::new(0)?).await;
    assert!(others.is_err());
    Ok(())
}

fn is_shared<T: Clone + Send + Sync + 'static>() {}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_share_one_participant() -> TestResult {
    is_shared::<Client>();
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let stranger = scene.registered(STRANGER).await?;
    let card = handed_over(&patient);
    let mut working = JoinSet::new();
    for number in 0..8 {
        let (doctor, card) = (doctor.clone(), card.clone());
        working.spawn(async move {
            let written = doctor.upload(&card, Class::Laboratory, &record(&format!("record {number}"))).await?;
            Ok::<_, ClientError>(written.slot.get())
        });
    }
    // Meanwhile two tasks of the patient grant to different people. Neither removes the other's grant.
    let grants = [(doctor.card(), Class::Imaging), (stranger.card(), Class::Summary)].map(|(to, class)| {
        let patient = patient.clone();
        tokio::spawn(async move { patient.grant(&to, &terms(Rights::READ, class.into())).await.map(|done| done.slot) })
    });
    let mut slots = Vec::new();
    while let Some(done) = working.join_next().await {
        slots.push(done??);
    }
    slots.sort_unstable();
    assert_eq!(slots, (0..8).collect::<Vec<_>>());
    let [one, other] = grants;
    assert_ne!(one.await??, other.await??);
    let granted = patient.grants().await?;
    for (account, classes) in [(doctor.account()?, Class::Imaging), (stranger.account()?, Class::Summary)] {
        let holds = |scope: ClassMask| {
            granted.iter().any(|view| view.grant.grantee == Some(account) && view.grant.scope == scope)
        };
        assert!(holds(classes.into()), "{account}");
    }

    // While one task has the folder open, it cannot be opened a second time.
    let folder = scene.data_dir(PATIENT);
    let task = patient.clone();
    drop(patient);
    assert!(matches!(Profile::open(&folder), Err(ProfileError::InUse(_))));
    drop(task);
    assert!(Profile::open(&folder).is_ok());
    Ok(())
}
