//! A grant "from now on": the reader's keys do not open older records, also not a record that is submitted at the same time.

use std::{collections::HashMap, sync::mpsc, time::Duration};

use emr_client::{
    Client,
    flow::grant::{History, Terms},
    flow::upload::Written,
    verify::record::RecordId,
};
use emr_core::{Cid, Class, Rights};
use emr_crypto::{EpochKeyring, Manifest, OpenError, OpenedRecord};
use emr_ipfs::{Blockstore, DiskStore};

use crate::{proxy::Proxy, scene::*};

fn from_now(class: Class) -> Terms {
    Terms { history: History::FromNow, ..terms(Rights::READ, class.into()) }
}

/// The keys that the directory in force gives a reader.
pub(crate) async fn keys(patient: &Client, reader: &Client) -> TestResult<EpochKeyring> {
    let view = patient.node().patient(patient.account()?).await?;
    let cid = view.directory.ok_or("published")?;
    let directory = patient.directory(&cid).await?;
    Ok(reader.keyring(patient.account()?, directory).await?.ok_or("no keys")?)
}

/// All blocks of a version, read directly from the hospital's disk, so that no node decides who gets them.
async fn raw_blocks(scene: &Scene, written: &Written) -> TestResult<HashMap<Cid, Vec<u8>>> {
    let store = DiskStore::open(scene.folder.path().join("blocks"))?;
    let manifest = store.get(&written.record_cid).await?;
    let mut blocks = HashMap::new();
    for link in Manifest::from_bytes(&manifest)?.links() {
        blocks.insert(*link, store.get(link).await?);
    }
    blocks.insert(written.record_cid, manifest);
    Ok(blocks)
}

/// Whether keys open a version from its raw blocks.
pub(crate) async fn opens(scene: &Scene, patient: &Client, written: &Written, keys: &EpochKeyring) -> TestResult<bool> {
    Ok(opened(scene, patient, written, keys).await?.is_some())
}

/// A version, opened from its raw blocks. `None` if the keys do not open it.
pub(crate) async fn opened(
    scene: &Scene,
    patient: &Client,
    written: &Written,
    keys: &EpochKeyring,
) -> TestResult<Option<OpenedRecord>> {
    let records = patient.node().records(written.patient).await?;
    let leaf = records.iter().find(|record| record.slot == written.slot).ok_or("listed")?.leaf;
    let id = RecordId { domain: patient.domain(), patient: written.patient, slot: written.slot };
    let blocks = raw_blocks(scene, written).await?;
    let fetch = |cid: &Cid| blocks.get(cid).cloned().ok_or(std::io::Error::other("no such block"));
    match OpenedRecord::open(&written.record_cid, fetch, keys, &id.context(&leaf)) {
        Ok(opened) => Ok(Some(opened)),
        Err(OpenError::Decryption(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Even with the raw blocks and all their keys, the new reader cannot open older records. Both readers can open later ones.
#[tokio::test(flavor = "multi_thread")]
async fn the_past_stays_closed_to_a_reader_who_holds_the_blocks() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let stranger = scene.registered(STRANGER).await?;
    let card = handed_over(&patient);
    let before = doctor.upload(&card, Class::Laboratory, &record("before")).await?;

    let mut held = Vec::new();
    let granted = patient.grant(&handed_over(&stranger), &from_now(Class::Laboratory)).await?;
    assert_eq!(granted.stays_open, emr_core::ClassMask::default());
    held.push(keys(&patient, &stranger).await?);
    let after = doctor.upload(&card, Class::Laboratory, &record("after")).await?;
    // Somebody who reads a class already keeps what they could open, and the patient learns it.
    let lab_and_imaging = [Class::Laboratory, Class::Imaging].into_iter().collect();
    let again = Terms { classes: lab_and_imaging, ..from_now(Class::Laboratory) };
    assert_eq!(patient.grant(&handed_over(&stranger), &again).await?.stays_open, Class::Laboratory.into());
    // The same grant again, a grant of another class with history, and the revocation of another reader.
    patient.grant(&handed_over(&stranger), &from_now(Class::Laboratory)).await?;
    held.push(keys(&patient, &stranger).await?);
    patient.grant(&handed_over(&stranger), &terms(Rights::READ, Class::Imaging.into())).await?;
    held.push(keys(&patient, &stranger).await?);
    let present = keys(&patient, &doctor).await?;
    patient.revoke(doctor.account()?, Class::Laboratory.into()).await?;
    held.push(keys(&patient, &stranger).await?);

    for keys in &held {
        assert!(!opens(&scene, &patient, &before, keys).await?);
        assert!(opens(&scene, &patient, &after, keys).await?);
    }
    assert!(opens(&scene, &patient, &before, &present).await? && opens(&scene, &patient, &after, &present).await?);
    Ok(())
}

/// While a sealed record is being submitted, the patient grants "from now on". The record is written after the grant, so the new reader must
/// be able to open it: the node refuses it under the old epoch, and the writer seals it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_crosses_the_grant_is_sealed_again() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let stranger = scene.registered(STRANGER).await?;
    let card = handed_over(&patient);
    drop(doctor);
    let proxy = Proxy::new(scene.node.url())?;
    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;

    let (arrived, waits) = mpsc::channel();
    let (go, goes) = mpsc::channel();
    let mut submissions = 0;
    proxy.set(move |request, answer| {
        if answer.is_empty() && request.starts_with("POST /v1/operations ") {
            submissions += 1;
            arrived.send(submissions).ok()?;
            if submissions == 1 {
                goes.recv_timeout(Duration::from_secs(60)).ok()?;
            }
        }
        None
    });
    let upload = tokio::spawn(async move {
        let written = doctor.upload(&card, Class::Laboratory, &record("crossing")).await;
        (doctor, written)
    });
    let waits =
        tokio::task::spawn_blocking(move || waits.recv_timeout(Duration::from_secs(60)).map(|_| waits)).await??;
    patient.grant(&handed_over(&stranger), &from_now(Class::Laboratory)).await?;
    go.send(())?;
    let (doctor, written) = upload.await?;
    let written = written?;
    assert_eq!(waits.try_iter().last(), Some(2), "the first was stale, the second was taken");
    assert!(opens(&scene, &patient, &written, &keys(&patient, &stranger).await?).await?);
    assert!(opens(&scene, &patient, &written, &keys(&patient, &doctor).await?).await?);
    Ok(())
}
