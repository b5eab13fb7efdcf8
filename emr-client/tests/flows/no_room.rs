//! The node's disk is nearly full, and the node has no room for a new key directory.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use emr_client::flow::attach::{AttachmentContent, AttachmentSource, Transfer};
use emr_core::{Cid, Class, ClassMask, Codec, Rights};
use emr_crypto::CHUNK_BYTES;
use emr_ipfs::{Blockstore, DiskStore, FreeSpace, StoreFuture};

use crate::{
    proxy::{Fault, Proxy},
    scene::*,
};

/// A block store on a disk that somebody else fills and empties.
#[derive(Debug)]
pub(crate) struct FillingStore {
    disk: DiskStore,
    is_full: AtomicBool,
}

impl Blockstore for FillingStore {
    fn put<'a>(&'a self, codec: Codec, bytes: &'a [u8]) -> StoreFuture<'a, Cid> {
        self.disk.put(codec, bytes)
    }

    fn get<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, Vec<u8>> {
        self.disk.get(cid)
    }

    fn has<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, bool> {
        self.disk.has(cid)
    }

    fn pin<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, ()> {
        self.disk.pin(cid)
    }

    fn unpin<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, ()> {
        self.disk.unpin(cid)
    }

    fn delete<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, ()> {
        self.disk.delete(cid)
    }

    fn pins(&self) -> StoreFuture<'_, BTreeSet<Cid>> {
        self.disk.pins()
    }

    fn free_space(&self) -> StoreFuture<'_, FreeSpace> {
        let bytes = if self.is_full.load(Ordering::SeqCst) { 1 << 20 } else { 1 << 40 };
        Box::pin(async move { Ok(FreeSpace { bytes, blocks: u64::MAX }) })
    }
}

impl FillingStore {
    /// Fills or empties the disk, and waits until the node asks again.
    async fn fill(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
}

/// An upload waits while the node has no room, says so, and goes on by itself. Meanwhile the same participant revokes and writes. A client that must not
/// wait is told at once.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_waits_for_room_and_keeps_nobody_waiting() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, stranger) = (scene.registered(PATIENT).await?, scene.registered(STRANGER).await?);
    patient.grant(&handed_over(&stranger), &terms(Rights::READ, Class::Imaging.into())).await?;
    let card = handed_over(&patient);
    drop(patient);
    let proxy = Proxy::new(scene.node.url())?;
    let patient = scene.client_at(PATIENT, &proxy.address).await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("scan.dcm");
    std::fs::write(&file, vec![7; 20 * CHUNK_BYTES])?;
    // The node has room for twelve chunks, and then for a while for none.
    let (is_full, sent) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (full, count) = (Arc::clone(&is_full), Arc::clone(&sent));
    proxy.set(move |request, answer| {
        if !request.starts_with("POST /v1/blocks?codec=raw") || !answer.is_empty() {
            return None;
        }
        let has_room = !full.load(Ordering::SeqCst) || count.fetch_add(1, Ordering::SeqCst) < 12;
        let body = r#"{"code":"no-room-now","message":"full"}"#;
        (!has_room).then(|| Fault::Refuse { status: 503, retry_after: 31, body: body.to_owned() })
    });
    let paused = Arc::new(Mutex::new(Vec::new()));
    let told = {
        let (paused, is_full) = (Arc::clone(&paused), Arc::clone(&is_full));
        move |transfer: Transfer| {
            paused.lock().expect("no panic").extend(transfer.pause.map(|pause| (pause, is_full.load(Ordering::SeqCst))))
        }
    };
    let patient = Arc::new(patient);
    let uploading = tokio::spawn({
        let (patient, card, file) = (Arc::clone(&patient), card.clone(), file.clone());
        async move {
            let key = "attachments.0".parse().expect("a key");
            let content = AttachmentContent::File(file);
            let source = AttachmentSource { key, media_type: "application/dicom".to_owned(), content };
            patient.upload_with(&card, Class::Imaging, &record("a scan"), vec![source], &told).await
        }
    });
    let began = Instant::now();
    while paused.lock().expect("no panic").is_empty() {
        assert!(began.elapsed() < Duration::from_secs(60) && !uploading.is_finished(), "it does not wait");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The Revoke is not behind it. A record without a file is not either: it fails at once, is kept, and is handed in later.
    let revoking = Instant::now();
    patient.revoke(stranger.account()?, ClassMask::ALL).await?;
    let kept = patient.upload(&card, Class::Laboratory, &record("small")).await.expect_err("no room");
    assert_eq!((kept.code(), kept.is_temporary()), ("no-room-now", true), "{kept}");
    assert!(revoking.elapsed() < Duration::from_secs(15), "they waited for the upload: {:?}", revoking.elapsed());
    assert!(!uploading.is_finished());
    is_full.store(false, Ordering::SeqCst);
    let written = uploading.await??;
    let pauses = paused.lock().expect("no panic").clone();
    assert!(pauses.iter().all(|(pause, was_full)| *was_full && *pause > Duration::from_secs(20)), "{pauses:?}");
    let (read, _) = patient.retrieve(&card, written.slot, None).await?;
    let to = folder.path().join("back");
    patient.save_attachment(read.unproven(), 0, None, &to, &|_| {}).await?;
    assert!(std::fs::read(&to)? == std::fs::read(&file)?);
    // What was kept was handed in first or with it.
    assert_eq!(patient.records(&card).await?.len(), 2);
    Ok(())
}

/// A file that changed while it was sent is sent again under a new key. What was sent under the old one is given up, so it takes no room for a day.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_of_no_use_any_more_is_given_up() -> TestResult {
    let scene = Scene::new().await?;
    let patient = scene.registered(PATIENT).await?;
    let card = handed_over(&patient);
    drop(patient);
    let proxy = Proxy::new(scene.node.url())?;
    let patient = scene.client_at(PATIENT, &proxy.address).await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("scan.dcm");
    std::fs::write(&file, vec![7; 20 * CHUNK_BYTES])?;
    let source = || -> TestResult<_> {
        let content = AttachmentContent::File(file.clone());
        Ok(vec![AttachmentSource {
            key: "attachments.0".parse()?,
            media_type: "application/dicom".to_owned(),
            content,
        }])
    };
    let sent = Arc::new(AtomicUsize::new(0));
    let (count, dropped) = (Arc::clone(&sent), Arc::new(Mutex::new(Vec::new())));
    let told = Arc::clone(&dropped);
    proxy.set(move |request, answer| {
        if request.starts_with("POST /v1/dropped-blocks") && !answer.is_empty() {
            told.lock().expect("no panic").push(answer.to_owned());
        }
        let is_block = request.starts_with("POST /v1/blocks?codec=raw") && answer.is_empty();
        (is_block && count.fetch_add(1, Ordering::SeqCst) >= 12).then_some(Fault::LoseRequest)
    });
    patient.upload_with(&card, Class::Imaging, &record("a scan"), source()?, &|_| {}).await.expect_err("interrupted");
    // A request that arrived is perhaps still being answered.
    tokio::time::sleep(Duration::from_secs(1)).await;
    sent.store(0, Ordering::SeqCst);
    std::fs::write(&file, vec![8; 5 * CHUNK_BYTES])?;
    patient.upload_with(&card, Class::Imaging, &record("a scan"), source()?, &|_| {}).await?;
    let dropped = dropped.lock().expect("no panic").clone();
    assert_eq!(dropped, [r#"{"dropped":12}"#], "what the node had of the first file");
    Ok(())
}

/// The rights end at once, without new keys. The new keys follow when there is room.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_needs_no_room() -> TestResult {
    let folder = tempfile::tempdir()?;
    let store = Arc::new(FillingStore { disk: DiskStore::open(folder.path())?, is_full: AtomicBool::new(false) });
    let scene = Scene::on(Arc::clone(&store) as Arc<dyn Blockstore>).await?;
    let (patient, stranger) = (scene.registered(PATIENT).await?, scene.registered(STRANGER).await?);
    let account = patient.account()?;
    for class in [Class::Laboratory, Class::Imaging] {
        patient.grant(&handed_over(&stranger), &terms(Rights::READ, class.into())).await?;
    }
    let can_open = async || -> TestResult<bool> {
        let cid = patient.node().patient(account).await?.directory.ok_or("published")?;
        let directory = patient.directory(&cid).await?;
        Ok(directory.open_for(&STRANGER.identity).is_ok())
    };
    assert!(can_open().await?);

    store.fill(true).await;
    let revoked = patient.revoke(stranger.account()?, ClassMask::ALL).await?;
    assert_eq!((revoked.changed.len(), revoked.new_epochs, revoked.keys_wait), (2, ClassMask::default(), true));
    let refused = stranger.node().patient(account).await.expect_err("the rights ended");
    assert!(refused.is_revoked() || refused.is_not_found(), "{refused}");
    assert!(patient.profile().keys_wait());
    assert!(patient.node().status().await?.health.nearly_full);
    // The new keys cannot be published yet. What was tried keeps nothing back.
    for _ in 0..2 {
        let refused = patient.repair_directory().await.expect_err("there is no room");
        assert!(refused.is_no_directory_room() && refused.is_temporary(), "{refused}");
        patient.resume().await?;
    }
    assert!(can_open().await?);

    store.fill(false).await;
    assert!(patient.profile().keys_wait());
    assert!(patient.repair_directory().await?.is_some());
    assert!(!can_open().await?, "the reader has no keys of the new epochs");
    assert!(patient.repair_directory().await?.is_none() && !patient.profile().keys_wait());
    Ok(())
}
