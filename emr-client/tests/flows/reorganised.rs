//! After a reorganisation of L1, account indices belong to other people. A second world is the chain that won. It has
//! the same contract at the same address, and the registrations in another order. The data folders come from the first
//! world.

use std::path::{Path, PathBuf};

use alloy::{
    primitives::{B256, U256},
    providers::Provider,
};
use emr_chain::{Deployed, deploy, endpoint::Endpoint};
use emr_client::{
    Client, ClientError,
    flow::{submit::Fate, upload::WriteError},
    profile::{OwnedAccount, Profile, seen::SeenError},
    verify::settled_state::{Finality, SettledStateError},
};
use emr_core::{Class, ClassMask, GrantSlot, RecordSlot, Rights, Version};
use emr_crypto::ScryptCost;
use emr_node::Node;
use emr_rollup::operation::{Action, Kind};
use emr_testkit::{
    node::{config, deployment},
    part::Anvil,
    people::{Member, people},
};
use serde_json::Value;

use crate::{
    proxy::{Fault, Proxy},
    scene::*,
};

/// Takes somebody's data folder from one world to another.
pub(crate) fn move_folder(person: Member, from: &Scene, to: &Scene) -> TestResult {
    let (from, to) = (from.data_dir(person), to.data_dir(person));
    copy(&from, &to)
}

fn copy(from: &Path, to: &PathBuf) -> TestResult {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let (path, target) = (entry.as_ref().map_err(|_| "unreadable")?.path(), to.join(entry?.file_name()));
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            std::fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

fn fates(resumed: Vec<emr_client::flow::submit::Resumed>) -> Vec<(Kind, Fate)> {
    resumed.into_iter().map(|resumed| (resumed.kind, resumed.fate)).collect()
}

/// A world in which a doctor (account 2) signed a record for a patient (account 3), and it did not arrive.
async fn a_record_on_its_way() -> TestResult<Scene> {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    drop(doctor);
    let proxy = Proxy::new(scene.node.url())?;
    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
    proxy.set(|request, answer| {
        (request.starts_with("POST /v1/operations ") && answer.is_empty()).then_some(Fault::LoseRequest)
    });
    assert!(doctor.upload(&handed_over(&patient), Class::Laboratory, &record("for one person")).await.is_err());
    assert_eq!((doctor.account()?.get(), patient.account()?.get()), (2, 3));
    Ok(scene)
}

async fn writes(patient: &Client, doctor: &Client) -> TestResult {
    patient.grant(&doctor.card(), &terms(Rights::READ | Rights::WRITE, ClassMask::ALL)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_does_not_go_to_the_successor_of_its_patient() -> TestResult {
    let before = a_record_on_its_way().await?;
    let scene = Scene::new().await?;
    move_folder(DOCTOR, &before, &scene)?;
    let doctor = scene.registered(DOCTOR).await?;
    let (successor, patient) = (scene.registered(OTHER_PATIENT).await?, scene.registered(PATIENT).await?);
    assert_eq!((doctor.account()?.get(), successor.account()?.get(), patient.account()?.get()), (2, 3, 4));
    for patient in [&successor, &patient] {
        writes(patient, &doctor).await?;
    }

    // The same document for the new owner of the index is another request than the waiting one.
    let written = doctor.upload(&handed_over(&successor), Class::Laboratory, &record("for one person")).await?;
    assert_eq!((written.patient, written.slot.get()), (successor.account()?, 0));
    // The waiting record was refused before the other one was signed, and is kept.
    assert_eq!(fates(doctor.resume().await?), [(Kind::PutRecord, Fate::Waiting)]);
    assert_eq!(successor.records(&successor.card()).await?.len(), 1);
    let [kept] = &doctor.profile().outbox().refused()[..] else { return Err("one record is kept".into()) };
    assert!(kept.refusal().is_some_and(|refusal| refusal.reason.contains("another owner")));
    let operation = kept.draft().operation;

    // It can be submitted again only for the same person, whose index is another one now.
    let wrong = doctor.retry(&handed_over(&successor), operation).await;
    assert!(matches!(wrong, Err(ClientError::Write(WriteError::OtherPatient { .. }))), "{wrong:?}");
    let written = doctor.retry(&handed_over(&patient), operation).await?;
    assert_eq!(written.patient, patient.account()?);
    let (read, _) = patient.retrieve(&patient.card(), written.slot, None).await?;
    assert_eq!(read.unproven().record(), &record("for one person"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_signed_under_an_index_that_is_lost_is_not_lost() -> TestResult {
    let before = a_record_on_its_way().await?;
    let scene = Scene::new().await?;
    move_folder(DOCTOR, &before, &scene)?;
    // Before anybody registers again, the client does not decide, because the person may get the same index again.
    let early = scene.client(DOCTOR).await?;
    assert_eq!(fates(early.resume().await?), [(Kind::PutRecord, Fate::Waiting)]);
    drop(early);
    drop(scene.registered(OTHER_PATIENT).await?);
    let (patient, doctor) = (scene.registered(PATIENT).await?, scene.registered(DOCTOR).await?);
    assert_eq!((patient.account()?.get(), doctor.account()?.get()), (3, 4));
    writes(&patient, &doctor).await?;
    let resumed = fates(doctor.resume().await?);
    assert!(matches!(&resumed[..], [(Kind::PutRecord, Fate::Refused { .. })]), "{resumed:?}");
    let operation = doctor.profile().outbox().refused()[0].draft().operation;
    let written = doctor.retry(&handed_over(&patient), operation).await?;
    assert_eq!(written.slot, RecordSlot::new(0)?);
    assert_eq!(patient.records(&patient.card()).await?[0].leaf.author, doctor.account()?);
    Ok(())
}

/// Grants that a patient signed under another index are reported, and their versions are not used under the new index.
#[tokio::test(flavor = "multi_thread")]
async fn a_patients_grants_begin_again_under_another_index() -> TestResult {
    let before = Scene::new().await?;
    let (patient, doctor) = before.with_a_doctor().await?;
    patient.revoke(doctor.account()?, ClassMask::ALL).await?;
    let slot = GrantSlot::FIRST_ORDINARY;
    let lost = OwnedAccount { account: patient.account()?, owner: PATIENT.address() };
    assert_eq!(patient.profile().highest_signed(lost, slot), Version::new(2)?);
    drop((patient, doctor));

    let scene = Scene::new().await?;
    move_folder(PATIENT, &before, &scene)?;
    let doctor = scene.registered(DOCTOR).await?;
    drop(scene.registered(OTHER_PATIENT).await?);
    let patient = scene.registered(PATIENT).await?;
    assert_eq!((lost.account.get(), patient.account()?.get()), (3, 4));
    let resumed = fates(patient.resume().await?);
    let told = |kind| resumed.iter().any(|(of, fate)| *of == kind && matches!(fate, Fate::Refused { .. }));
    assert!(told(Kind::SetGrant) && told(Kind::Revoke) && resumed.len() == 2, "{resumed:?}");

    writes(&patient, &doctor).await?;
    let revoked = patient.revoke(doctor.account()?, ClassMask::ALL).await?;
    let Action::Revoke(revoke) = revoked.changed[0].1.signed.operation.action else { return Err("a Revoke".into()) };
    assert_eq!(revoke.expected, Version::new(1)?);
    assert_eq!(patient.profile().highest_signed(lost, slot), Version::new(2)?, "should that chain come back");
    Ok(())
}

/// L1 takes back a batch that clients have seen. A client that remembers only final states continues. A client that
/// remembers every state does not, and says why.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_taken_back_locks_no_client_out() -> TestResult {
    let before = Scene::proving().await?;
    let (patient, doctor) = before.with_a_doctor().await?;
    let deep = patient.clone().with_finality(Finality::Depth(1000));
    before.next_batch().await?;
    assert_eq!((deep.settled_state().await?.batches(), doctor.settled_state().await?.batches()), (1, 1));
    drop((patient, deep, doctor));

    let scene = Scene::new().await?;
    for person in [PATIENT, DOCTOR] {
        move_folder(person, &before, &scene)?;
    }
    assert_eq!(scene.client(PATIENT).await?.settled_state().await?.batches(), 0);
    let refused = scene.client(DOCTOR).await?.settled_state().await;
    let rolled_back = |error: &SettledStateError| {
        matches!(error, SettledStateError::Seen(SeenError::RolledBack { before: 1, now: 0 }))
    };
    assert!(refused.as_ref().is_err_and(rolled_back), "{refused:?}");
    Ok(())
}

/// The same on anvil, which calls the block 64 blocks back final, as a chain with consensus does: a state is remembered when it is final and not
/// before, and then no older one is believed.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_final_state_is_remembered() -> TestResult {
    let Some(anvil) = Anvil::start_or_skip(&["--chain-id", "31337"])? else { return Ok(()) };
    let endpoint: Endpoint = anvil.url().parse()?;
    let provider = endpoint.connect(Some(people().hospital.ethereum.clone()))?;
    let _: Value =
        provider.raw_request("anvil_setBalance".into(), (HOSPITAL.address(), "0x3635c9adc5dea00000")).await?;
    let Deployed { rollup, record, .. } = deploy(provider.clone(), &deployment()).await?;
    let folder = tempfile::tempdir()?;
    let node = Node::start(config(endpoint.clone(), &rollup, &record, folder.path())?).await?;
    let profile = Profile::create(
        &folder.path().join("patient"),
        &PATIENT.identity,
        &PASSPHRASE.into(),
        ScryptCost::Development,
    )?;
    let identity = profile.identity(&PASSPHRASE.into())?;
    let patient = Client::join_over(profile, identity, node.url().as_str(), &endpoint).await?;
    let patient = patient.with_finality(Finality::Finalized);

    let contract = rollup.instance().contract;
    // No proof is needed to write a batch into anvil's storage.
    let mine = async |blocks: u64| -> TestResult {
        let _: Value = provider.raw_request("anvil_mine".into(), [format!("{blocks:#x}")]).await?;
        Ok(())
    };
    let settle = async |batches: u64, root: u64| -> TestResult {
        for (slot, word) in [(0, U256::from(root)), (1, U256::from(batches) << 40)] {
            let call = (contract, format!("{slot:#x}"), B256::from(word));
            let _: Value = provider.raw_request("anvil_setStorageAt".into(), call).await?;
        }
        mine(1).await
    };
    mine(70).await?;
    assert_eq!(patient.settled_state().await?.batches(), 0);
    let before: String = provider.raw_request("evm_snapshot".into(), ()).await?;
    settle(1, 5).await?;
    assert_eq!(patient.settled_state().await?.batches(), 1);
    assert!(provider.raw_request::<_, bool>("evm_revert".into(), [before]).await?);
    mine(1).await?;
    assert_eq!(patient.settled_state().await?.batches(), 0, "the batch was taken back, and nobody is locked out");

    let before: String = provider.raw_request("evm_snapshot".into(), ()).await?;
    settle(1, 6).await?;
    mine(70).await?;
    assert_eq!(patient.settled_state().await?.batches(), 1);
    assert!(provider.raw_request::<_, bool>("evm_revert".into(), [before]).await?);
    mine(1).await?;
    let refused = patient.settled_state().await;
    let rolled_back = |error: &SettledStateError| {
        matches!(error, SettledStateError::Seen(SeenError::RolledBack { before: 1, now: 0 }))
    };
    assert!(refused.as_ref().is_err_and(rolled_back), "{refused:?}");
    Ok(())
}
