//! Uploads of files that were interrupted: files that changed, blocks that the node removed, records that were signed before.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use emr_client::{Client, flow::break_glass::EmergencyTerms, flow::submit::Fate, verify::card::Card};
use emr_core::{Class, Reason, RecordSlot, UnixTime};
use emr_crypto::{CHUNK_BYTES, Manifest};
use emr_ipfs::{Blockstore, DiskStore};

use crate::{
    files::{RECORD_BLOCKS, content, count_blocks, read, saved, upload},
    proxy::{Fault, Proxy},
    scene::*,
};

/// A doctor behind a proxy, with a file of 40 chunks whose upload ends after 24.
async fn interrupted(scene: &Scene) -> TestResult<(Client, Card, Proxy, tempfile::TempDir, PathBuf)> {
    let (patient, doctor) = scene.with_a_doctor().await?;
    drop(doctor);
    let card = handed_over(&patient);
    let proxy = Proxy::new(scene.node.url())?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("scan.dcm");
    fs::write(&file, content(40 * CHUNK_BYTES, 9))?;
    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
    let sent = count_blocks(&proxy, 24);
    let failed = upload(&doctor, &card, "a scan", std::slice::from_ref(&file)).await.expect_err("no node");
    assert!(failed.to_string().contains("cannot be reached"), "{failed}");
    assert_eq!(sent.load(Ordering::SeqCst), 24);
    assert!(doctor.profile().outbox().entries().is_empty(), "nothing was signed");
    drop(doctor);
    proxy.clear();
    Ok((patient, card, proxy, folder, file))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_upload_goes_on_where_it_was() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, card, proxy, _folder, file) = interrupted(&scene).await?;
    let sent = count_blocks(&proxy, usize::MAX);
    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
    let written = upload(&doctor, &card, "a scan", std::slice::from_ref(&file)).await?;
    // Eight were on their way when the first run ended; whether they arrived is not known.
    let again = sent.load(Ordering::SeqCst) - RECORD_BLOCKS;
    assert!((16..=24).contains(&again), "{again} of 40 chunks were sent");
    let record = read(&patient, &card, written.slot).await?;
    assert!(saved(&patient, &record, 0, None).await? == fs::read(&file)?);
    Ok(())
}

/// The file changes between the two runs, and its size and time say that it did not. Nothing of it is sent under the first key.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_gets_a_new_key() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, card, proxy, _folder, file) = interrupted(&scene).await?;
    let time = fs::metadata(&file)?.modified()?;
    let mut changed = fs::read(&file)?;
    changed[20 * CHUNK_BYTES] ^= 1;
    fs::write(&file, &changed)?;
    File::options().write(true).open(&file)?.set_modified(time)?;
    let sent = count_blocks(&proxy, usize::MAX);
    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
    let written = upload(&doctor, &card, "a scan", std::slice::from_ref(&file)).await?;
    // All of it under the new key, and before that at most what the first run had already noted and the node had not.
    let again = sent.load(Ordering::SeqCst) - RECORD_BLOCKS;
    assert!((40..=40 + 8).contains(&again), "{again}");
    let record = read(&patient, &card, written.slot).await?;
    assert!(saved(&patient, &record, 0, None).await? == changed);
    Ok(())
}

/// The node lost blocks that it had acknowledged: nothing referred to them for a day. It says so at the submission, and they are sent again.
#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_the_node_removed_are_sent_again() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, card, proxy, _folder, file) = interrupted(&scene).await?;
    // The journal says that the node has all 40.
    let uploads = scene.data_dir(DOCTOR).join("uploads");
    for name in fs::read_dir(&uploads)? {
        let path = name?.path();
        if path.extension().is_some_and(|kind| kind == "stored") {
            let mut stored = OpenOptions::new().append(true).open(&path)?;
            (0..40_u32).try_for_each(|number| stored.write_all(&number.to_be_bytes()))?;
        }
    }
    let sent = count_blocks(&proxy, usize::MAX);
    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
    let written = upload(&doctor, &card, "a scan", std::slice::from_ref(&file)).await?;
    // All of them, and before that at most the last ones, which the first run had not sealed.
    let again = sent.load(Ordering::SeqCst) - RECORD_BLOCKS;
    assert!((40..=40 + 16).contains(&again), "{again}");
    let record = read(&patient, &card, written.slot).await?;
    assert!(saved(&patient, &record, 0, None).await? == fs::read(&file)?);
    Ok(())
}

/// A record is signed, and its submission is lost. Then the node removes a block of its file, as it does after a day.
async fn signed_and_lapsed() -> TestResult<(Scene, Client, Card, tempfile::TempDir, PathBuf)> {
    let blocks = tempfile::tempdir()?;
    let store = Arc::new(DiskStore::open(blocks.path().join("blocks"))?);
    let scene = Scene::on(Arc::clone(&store) as Arc<dyn Blockstore>).await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    drop(doctor);
    let card = handed_over(&patient);
    let proxy = Proxy::new(scene.node.url())?;
    let file = blocks.path().join("scan.dcm");
    fs::write(&file, content(3 * CHUNK_BYTES, 5))?;
    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
    proxy.set(|request, answer| {
        (request.starts_with("POST /v1/operations ") && answer.is_empty()).then_some(Fault::LoseRequest)
    });
    upload(&doctor, &card, "a scan", std::slice::from_ref(&file)).await.expect_err("no node");
    let entries = doctor.profile().outbox().entries();
    let [entry] = &entries[..] else { return Err("one record is signed".into()) };
    assert_eq!(entry.draft().journals.len(), 1);
    let manifest = entry.draft().submission.stored.ok_or("a record")?.manifest;
    let links = Manifest::from_bytes(&store.get(&manifest).await?)?.links().to_vec();
    let attachment = Manifest::from_bytes(&store.get(links.last().ok_or("an attachment")?).await?)?;
    store.delete(&attachment.links()[1]).await?;
    drop(doctor);
    Ok((scene, patient, card, blocks, file))
}

/// Only a call that writes or reads completes the record. Nobody waits for a gigabyte at the start, or in an emergency.
#[tokio::test(flavor = "multi_thread")]
async fn a_signed_record_whose_blocks_lapsed_is_completed_by_the_next_run_that_writes() -> TestResult {
    let (scene, patient, card, _folder, file) = signed_and_lapsed().await?;
    let proxy = Proxy::new(scene.node.url())?;
    let sent = count_blocks(&proxy, usize::MAX);
    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
    let resumed = doctor.resume().await?;
    assert!(matches!(&resumed[..], [one] if one.fate == Fate::Waiting), "{resumed:?}");
    let emergency = EmergencyTerms { class: Class::Summary, reason: Reason::Emergency, hours: 1 };
    doctor.break_glass(&card, &emergency).await?;
    assert_eq!(sent.load(Ordering::SeqCst), 0, "no block of the file is sent before the glass is broken");
    assert!(patient.records(&card).await?.is_empty());

    let other = doctor.upload(&card, Class::Laboratory, &record("another")).await?;
    assert_eq!(other.slot.get(), 1, "the signed record goes first");
    let signed = read(&patient, &card, RecordSlot::new(0)?).await?;
    assert!(saved(&patient, &signed, 0, None).await? == fs::read(&file)?);
    // The same request is this record.
    assert_eq!(upload(&doctor, &card, "a scan", &[file]).await?.slot.get(), 0);
    Ok(())
}

/// A patient's own record with a file was never handed in, and its time is over. It is undelivered then, and does not wait for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_patients_record_with_a_file_lapses_too() -> TestResult {
    let scene = Scene::new().await?;
    // The grant also published the patient's key directory.
    drop(scene.with_a_doctor().await?);
    let proxy = Proxy::new(scene.node.url())?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("scan.dcm");
    fs::write(&file, content(CHUNK_BYTES, 5))?;
    let patient = scene.client_at(PATIENT, &proxy.address).await?;
    let card = handed_over(&patient);
    proxy.set(|request, answer| {
        (request.starts_with("POST /v1/operations ") && answer.is_empty()).then_some(Fault::LoseRequest)
    });
    upload(&patient, &card, "a scan", std::slice::from_ref(&file)).await.expect_err("no node");
    let entries = patient.profile().outbox().entries();
    let kept = entries.iter().find(|entry| !entry.draft().journals.is_empty()).ok_or("signed")?.draft().operation;
    drop(patient);
    proxy.clear();

    // Weeks pass: what is kept says that the signature's time is over.
    let mut changed = 0;
    for name in fs::read_dir(scene.data_dir(PATIENT).join("outbox"))? {
        let path = name?.path().join("entry.json");
        let mut draft: serde_json::Value = serde_json::from_slice(&fs::read(&path)?)?;
        if draft["journals"].as_array().is_some_and(|journals| !journals.is_empty()) {
            let until = &mut draft["submission"]["signed"]["operation"]["valid_until"];
            *until = serde_json::to_value(UnixTime::now().get() - 1)?;
            fs::write(&path, serde_json::to_vec(&draft)?)?;
            changed += 1;
        }
    }
    assert_eq!(changed, 1);
    let patient = scene.client_at(PATIENT, &proxy.address).await?;
    let resumed = patient.resume().await?;
    let of_record = resumed.iter().find(|one| one.operation == kept).ok_or("looked at")?;
    assert_eq!(of_record.fate, Fate::Lapsed);
    let refused: Vec<_> = patient.profile().outbox().refused().iter().map(|one| one.draft().operation).collect();
    assert_eq!(refused, [kept]);
    Ok(())
}

/// The same, but the file is gone or changed: the record is kept as undelivered, and nothing else waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_whose_file_is_gone_or_changed_does_not_block_others() -> TestResult {
    let (scene, patient, card, _folder, file) = signed_and_lapsed().await?;
    let mut changed = fs::read(&file)?;
    changed[0] ^= 1;
    fs::write(&file, &changed)?;
    let doctor = scene.client(DOCTOR).await?;
    doctor.upload(&card, Class::Laboratory, &record("another")).await?;
    let refused = doctor.profile().outbox().refused();
    let reasons: Vec<_> = refused.iter().filter_map(|one| one.refusal()).map(|refusal| &*refusal.reason).collect();
    assert!(matches!(&reasons[..], [reason] if reason.contains("changed")), "{reasons:?}");
    assert_eq!(patient.records(&card).await?.len(), 1);
    // The changed file is uploaded as a new record, under a new key.
    let written = upload(&doctor, &card, "a scan", &[file]).await?;
    let record = read(&patient, &card, written.slot).await?;
    assert!(saved(&patient, &record, 0, None).await? == changed);
    Ok(())
}

/// A record is signed and kept. Its file changes, and the same command writes another record: that one has its own key and journal. When the file is
/// back, the first record is completed with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_does_not_take_the_key_of_a_kept_record() -> TestResult {
    let (scene, patient, card, _folder, file) = signed_and_lapsed().await?;
    let before = fs::read(&file)?;
    let mut changed = before.clone();
    changed[7] ^= 1;
    fs::write(&file, &changed)?;
    File::options()
        .write(true)
        .open(&file)?
        .set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000))?;
    let doctor = scene.client(DOCTOR).await?;
    let second = upload(&doctor, &card, "a scan", std::slice::from_ref(&file)).await?;
    let refused = doctor.profile().outbox().refused();
    let [first] = &refused[..] else { return Err(format!("{refused:?}").into()) };
    let [of_first] = &first.draft().journals[..] else { return Err("one file".into()) };
    let entries = doctor.profile().outbox().entries();
    let of_second = entries.iter().find(|entry| entry.draft().operation == second.acknowledged.operation);
    assert!(!of_second.ok_or("kept")?.draft().journals.contains(of_first));
    let record = read(&patient, &card, second.slot).await?;
    assert!(saved(&patient, &record, 0, None).await? == changed);

    fs::write(&file, &before)?;
    let again = doctor.retry(&card, first.draft().operation).await?;
    assert_ne!(again.slot, second.slot);
    let record = read(&patient, &card, again.slot).await?;
    assert!(saved(&patient, &record, 0, None).await? == before);
    Ok(())
}

/// The journal of a kept record forgot its chunks, as after a restored backup, and the file is another one. Nothing of it leaves under the old key.
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_not_the_records_sends_nothing() -> TestResult {
    let (scene, _patient, card, _folder, file) = signed_and_lapsed().await?;
    for name in fs::read_dir(scene.data_dir(DOCTOR).join("uploads"))? {
        let path = name?.path();
        if path.extension().is_some_and(|kind| kind == "chunks") {
            fs::remove_file(&path)?;
        }
    }
    let mut changed = fs::read(&file)?;
    changed[7] ^= 1;
    fs::write(&file, &changed)?;
    let proxy = Proxy::new(scene.node.url())?;
    let sent = count_blocks(&proxy, usize::MAX);
    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
    doctor.upload(&card, Class::Laboratory, &record("another")).await?;
    // The blocks of the two records, and none of the file.
    assert_eq!(sent.load(Ordering::SeqCst), 2 * RECORD_BLOCKS);
    let refused = doctor.profile().outbox().refused();
    let reasons: Vec<_> = refused.iter().filter_map(|one| one.refusal()).map(|refusal| &*refusal.reason).collect();
    assert!(matches!(&reasons[..], [reason] if reason.contains("upload the record again")), "{reasons:?}");
    Ok(())
}
