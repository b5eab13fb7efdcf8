//! Files beside a record: large ones, interrupted ones, changed ones, and nodes that lie about them.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use emr_api::OperationStatus;
use emr_client::{
    Client, ClientError,
    flow::attach::{AttachmentContent, AttachmentSource},
    flow::break_glass::EmergencyTerms,
    flow::next_version::EditClass,
    flow::retrieve::ReadError,
    flow::submit::Fate,
    flow::upload::{WriteError, Written},
    node::NodeError,
    verify::card::Card,
    verify::record::AuthenticRecord,
};
use emr_core::{Class, ClassMask, Reason, Record, RecordSlot, Rights, UnixTime, Value};
use emr_crypto::{CHUNK_BYTES, Manifest};
use emr_ipfs::{Blockstore, DiskStore};

use crate::{
    proxy::{Fault, Proxy, lie},
    scene::*,
};

const PUT_BLOCK: &str = "POST /v1/blocks?codec=raw";
/// The raw blocks of a small record: its wrap, its sealed part and its content.
const RECORD_BLOCKS: usize = 3;

fn content(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        // xorshift: content that repeats nowhere.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// A file that is to be attached as number `number`.
fn source(number: usize, path: &Path) -> TestResult<AttachmentSource> {
    let key = format!("attachments.{number}").parse()?;
    Ok(AttachmentSource { key, media_type: "image/png".to_owned(), content: AttachmentContent::File(path.to_owned()) })
}

fn named(text: &str, files: &[PathBuf]) -> TestResult<(Record, Vec<AttachmentSource>)> {
    let mut record = record(text);
    let mut sources = Vec::new();
    for (number, path) in files.iter().enumerate() {
        let name = path.file_name().ok_or("a name")?.to_string_lossy().into_owned();
        record.insert(format!("attachments.{number}.name").parse()?, Value::Text(name))?;
        sources.push(source(number, path)?);
    }
    Ok((record, sources))
}

async fn upload(client: &Client, card: &Card, text: &str, files: &[PathBuf]) -> TestResult<Written> {
    let (record, sources) = named(text, files)?;
    Ok(client.upload_with(card, Class::Imaging, &record, sources, &|_| {}).await?)
}

async fn read(client: &Client, card: &Card, slot: RecordSlot) -> TestResult<AuthenticRecord> {
    let (read, _) = client.retrieve(card, slot, None).await?;
    Ok(read.unproven().clone())
}

/// An attachment, or a part of it, as it is written to a file.
async fn saved(
    client: &Client,
    record: &AuthenticRecord,
    number: usize,
    range: Option<Range<u64>>,
) -> Result<Vec<u8>, ClientError> {
    let folder = tempfile::tempdir().expect("a folder");
    let to = folder.path().join("out");
    let size = client.save_attachment(record, number, range, &to, &|_| {}).await?;
    let bytes = fs::read(&to).expect("written");
    assert_eq!(size, bytes.len() as u64);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing unfinished is left");
    Ok(bytes)
}

/// Counts the raw blocks that are sent, and loses all requests for blocks after `most` of them.
fn count_blocks(proxy: &Proxy, most: usize) -> Arc<AtomicUsize> {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    proxy.set(move |request, answer| {
        if !request.starts_with(PUT_BLOCK) || !answer.is_empty() {
            return None;
        }
        if counted.load(Ordering::SeqCst) >= most {
            return Some(Fault::LoseRequest);
        }
        counted.fetch_add(1, Ordering::SeqCst);
        None
    });
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_back_byte_for_byte_and_in_parts() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let card = handed_over(&patient);
    let folder = tempfile::tempdir()?;
    let contents = [content(0, 1), content(1, 2), content(3 * CHUNK_BYTES + 12_345, 3)];
    let mut files = Vec::new();
    for (number, bytes) in contents.iter().enumerate() {
        files.push(folder.path().join(format!("file-{number}.png")));
        fs::write(&files[number], bytes)?;
    }
    let written = upload(&doctor, &card, "three files", &files).await?;
    // The same request again, as after a crash, gives the same record.
    assert_eq!(upload(&doctor, &card, "three files", &files).await?, written);
    assert_eq!(patient.records(&card).await?.len(), 1);

    let record = read(&patient, &card, written.slot).await?;
    assert_eq!(record.attachments().len(), 3);
    for (number, bytes) in contents.iter().enumerate() {
        let attached = &record.attachments()[number];
        assert_eq!(attached.name.as_deref(), Some(&*format!("file-{number}.png")));
        assert_eq!((&*attached.media_type, attached.sealed.length), ("image/png", bytes.len() as u64));
        assert!(saved(&patient, &record, number, None).await? == *bytes, "file {number}");
    }
    let (chunk, long) = (CHUNK_BYTES as u64, &contents[2]);
    for range in
        [0..1, chunk - 1..chunk + 1, chunk..2 * chunk, 5..5, 3 * chunk..long.len() as u64, 0..long.len() as u64]
    {
        let part = saved(&patient, &record, 2, Some(range.clone())).await?;
        assert!(part == long[range.start as usize..range.end as usize], "{range:?}");
    }
    let outside = saved(&patient, &record, 1, Some(0..2)).await;
    assert!(matches!(&outside, Err(ClientError::Read(ReadError::NoSuchBytes { length: 1, .. }))), "{outside:?}");
    let none = saved(&patient, &record, 3, None).await;
    assert!(matches!(&none, Err(ClientError::Read(ReadError::NoAttachment { count: 3, .. }))), "{none:?}");

    // A version without them, and one that keeps one of them and has one from memory.
    let key = record.attachments()[2].sealed.clone();
    let class = EditClass::Proved;
    doctor.edit(&card, written.slot, class, &crate::scene::record("no files")).await?;
    assert!(read(&patient, &card, written.slot).await?.attachments().is_empty());
    let [kept, bytes] = [AttachmentContent::Sealed(key), AttachmentContent::Bytes(contents[2][..500].to_vec())];
    let sources = [("attachments.0", kept), ("Observation.photo", bytes)].map(|(key, content)| -> TestResult<_> {
        Ok(AttachmentSource { key: key.parse()?, media_type: "image/png".to_owned(), content })
    });
    let sources: Vec<_> = sources.into_iter().collect::<TestResult<_>>()?;
    let next = crate::scene::record("two files");
    doctor.edit_with(&card, (written.slot, class), &next, sources.clone(), &|_| {}).await?;
    let record = read(&patient, &card, written.slot).await?;
    assert!(saved(&patient, &record, 0, None).await? == contents[2][..500], "keys of the document come first");
    assert!(saved(&patient, &record, 1, None).await? == *long);

    // What is given twice, or not at all, is refused before anything is sent.
    let twice = [sources[0].clone(), sources[0].clone()].to_vec();
    let refused = doctor.upload_with(&card, Class::Imaging, &next, twice, &|_| {}).await;
    assert!(matches!(refused, Err(ClientError::Write(WriteError::SameAttachment(_)))), "{refused:?}");
    let refused = doctor.upload(&card, Class::Imaging, record.record()).await;
    assert!(matches!(refused, Err(ClientError::Write(WriteError::Attachments(_)))), "{refused:?}");
    let missing = upload(&doctor, &card, "x", &[folder.path().join("none")]).await.expect_err("no file");
    assert!(missing.to_string().contains("cannot attach"), "{missing}");
    Ok(())
}

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

#[tokio::test(flavor = "multi_thread")]
async fn files_that_no_node_takes_are_refused_before_anything_is_sent() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    drop(doctor);
    let card = handed_over(&patient);
    let proxy = Proxy::new(scene.node.url())?;
    let sent = count_blocks(&proxy, usize::MAX);
    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
    let folder = tempfile::tempdir()?;
    let sparse = |name: &str, size: u64| -> TestResult<PathBuf> {
        let path = folder.path().join(name);
        File::create(&path)?.set_len(size)?;
        Ok(path)
    };
    let two = [sparse("one", 1 << 30)?, sparse("two", 1 << 30)?];
    for files in [vec![sparse("large", 2017 << 20)?], two.to_vec()] {
        let (record, sources) = named("scans", &files)?;
        let refused = doctor.upload_with(&card, Class::Imaging, &record, sources, &|_| {}).await;
        assert!(
            matches!(refused, Err(ClientError::Write(WriteError::AttachmentsTooLarge { .. }))),
            "{files:?}: {refused:?}"
        );
    }
    assert_eq!(sent.load(Ordering::SeqCst), 0);
    assert!(doctor.profile().outbox().entries().is_empty());
    Ok(())
}

/// A record that was returned keeps its attachments when it is handed in again.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_handed_in_again_keeps_its_files() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    drop(doctor);
    let card = handed_over(&patient);
    let proxy = Proxy::new(scene.node.url())?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("scan.dcm");
    fs::write(&file, content(3 * CHUNK_BYTES, 5))?;
    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
    let (mut next, mut sources) = named("a scan", std::slice::from_ref(&file))?;
    next.insert("Observation.code.text".parse()?, Value::Text("chest".to_owned()))?;
    let photo = AttachmentContent::Bytes(content(1000, 6));
    sources.push(AttachmentSource {
        key: "Observation.photo".parse()?,
        media_type: "image/png".to_owned(),
        content: photo,
    });
    let written = doctor.upload_with(&card, Class::Imaging, &next, sources, &|_| {}).await?;
    let operation = written.acknowledged.operation;
    proxy.set(lie(format!("GET /v1/operations/{operation}"), |status: &mut OperationStatus| {
        *status = OperationStatus::Returned { reason: "the grant has ended".to_owned() };
    }));
    doctor.resume().await?;
    let sent = count_blocks(&proxy, usize::MAX);
    let again = doctor.retry(&card, operation).await?;
    assert_ne!(again.record_cid, written.record_cid);
    // The small attachment is in the outbox and goes with its record. The file's blocks are at the node.
    assert_eq!(sent.load(Ordering::SeqCst), RECORD_BLOCKS + 1);
    let record = read(&patient, &card, again.slot).await?;
    assert!(saved(&patient, &record, 0, None).await? == content(1000, 6));
    assert!(saved(&patient, &record, 1, None).await? == fs::read(&file)?);
    Ok(())
}

/// A node that gives another chunk of the same attachment, or none. No file appears.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_cannot_swap_or_withhold_chunks() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let card = handed_over(&patient);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("scan.dcm");
    fs::write(&file, content(12 * CHUNK_BYTES, 5))?;
    let written = upload(&doctor, &card, "a scan", std::slice::from_ref(&file)).await?;
    let manifest = {
        let record = read(&patient, &card, written.slot).await?;
        patient.node().block(&record.attachments()[0].sealed.manifest).await?
    };
    let links = Manifest::from_bytes(&manifest)?.links().to_vec();
    drop(patient);
    let proxy = Proxy::new(scene.node.url())?;
    let patient = scene.client_at(PATIENT, &proxy.address).await?;
    let record = read(&patient, &card, written.slot).await?;
    let to = folder.path().join("out");
    let [first, second] = [links[9].to_string(), links[10].to_string()];
    type Rule = Box<dyn Fn(&str) -> Option<Fault> + Send>;
    let rules: [Rule; 2] = [
        {
            let (first, second) = (first.clone(), second);
            Box::new(move |request| request.contains(&first).then(|| Fault::Request(request.replace(&first, &second))))
        },
        Box::new(move |request| request.contains(&first).then_some(Fault::LoseRequest)),
    ];
    for (rule, expected) in rules.into_iter().zip(["wrong-block", "node-unreachable"]) {
        proxy.set(move |request, answer| if answer.is_empty() { rule(request) } else { None });
        let refused = patient.save_attachment(&record, 0, None, &to, &|_| {}).await.expect_err("must be refused");
        assert_eq!(refused.code(), expected, "{refused}");
        assert!(!to.exists());
        // A part that needs no such chunk is there.
        let part = saved(&patient, &record, 0, Some(0..10)).await?;
        assert!(part == fs::read(&file)?[..10]);
    }
    assert_eq!(fs::read_dir(folder.path())?.count(), 1, "nothing unfinished is left");
    proxy.clear();
    patient.save_attachment(&record, 0, None, &to, &|_| {}).await?;
    assert!(fs::read(&to)? == fs::read(&file)?);
    Ok(())
}

/// One account uploads without a pause. Another patient grants and revokes meanwhile: each Revoke is acknowledged, and none waits for the upload.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_keeps_no_other_patient_from_revoking() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let other = scene.registered(OTHER_PATIENT).await?;
    let card = handed_over(&patient);
    let reader = handed_over(&doctor);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("scan.dcm");
    fs::write(&file, content(128 << 20, 5))?;
    let doctors_account = doctor.account()?;
    let uploading = tokio::spawn({
        let file = file.clone();
        async move { upload(&doctor, &card, "a scan", std::slice::from_ref(&file)).await.map_err(|error| error.to_string()) }
    });
    let mut meanwhile = 0;
    loop {
        other.grant(&reader, &terms(Rights::READ, Class::Laboratory.into())).await?;
        let revoking = other.revoke(doctors_account, ClassMask::ALL);
        // Generous: the upload of 1 GiB takes longer on any machine. A Revoke takes well under a second.
        let revoked = tokio::time::timeout(Duration::from_secs(20), revoking).await??;
        assert_eq!(revoked.changed.len(), 1);
        if uploading.is_finished() {
            break;
        }
        meanwhile += 1;
    }
    assert!(meanwhile > 0, "the upload was over before the first Revoke");
    let written = uploading.await??;
    let record = read(&patient, &handed_over(&patient), written.slot).await?;
    assert!(saved(&patient, &record, 0, None).await? == fs::read(&file)?);
    Ok(())
}

/// What a stranger, or a doctor without a grant for the class, gets of an attachment: nothing.
#[tokio::test(flavor = "multi_thread")]
async fn attachments_are_served_like_their_record() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let stranger = scene.registered(STRANGER).await?;
    let card = handed_over(&patient);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("scan.dcm");
    fs::write(&file, content(2 * CHUNK_BYTES, 5))?;
    let written = upload(&doctor, &card, "a scan", std::slice::from_ref(&file)).await?;
    let record = read(&patient, &card, written.slot).await?;
    let refused = saved(&stranger, &record, 0, None).await;
    assert!(matches!(&refused, Err(ClientError::Node(NodeError::Refused { .. }))), "{refused:?}");
    Ok(())
}
