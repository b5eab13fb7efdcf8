//! The node's disk is nearly full, and the node has no room for a new key directory.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use emr_core::{Cid, Class, ClassMask, Codec, Rights};
use emr_ipfs::{Blockstore, DiskStore, FreeSpace, StoreFuture};

use crate::scene::*;

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
