//! Nobody can delay a patient who ends a grant.

use emr_api::{BatchView, NodeStatus, OperationStatus};
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use emr_core::{
    Class, Rights,
    cid::{Cid, Codec},
};
use emr_ipfs::{Blockstore, DiskStore, FreeSpace, StoreFuture};
use emr_node::{Node, NodeConfig};
use emr_rollup::version::CircuitVersion;
use tokio::sync::Semaphore;

use crate::stage::*;

/// A store that is slow to return some blocks.
#[derive(Debug)]
struct SlowStore {
    disk: DiskStore,
    slow: Mutex<BTreeSet<Cid>>,
    asked: AtomicUsize,
    ready: Semaphore,
}

impl Blockstore for SlowStore {
    fn put<'a>(&'a self, codec: Codec, bytes: &'a [u8]) -> StoreFuture<'a, Cid> {
        self.disk.put(codec, bytes)
    }

    fn get<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, Vec<u8>> {
        Box::pin(async move {
            if self.slow.lock().unwrap_or_else(PoisonError::into_inner).contains(cid) {
                self.asked.fetch_add(1, Ordering::SeqCst);
                // The test closes it to let the store continue.
                let _ = self.ready.acquire().await;
            }
            self.disk.get(cid).await
        })
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
        self.disk.free_space()
    }
}

/// Records that are slow to read delay only records, one at a time for each signer, and no Revoke.
#[tokio::test(flavor = "multi_thread")]
async fn slow_records_do_not_delay_a_revoke() -> Outcome {
    let world = World::new().await?;
    let accounts = world.register_all().await?;
    let store = Arc::new(SlowStore {
        disk: world.store()?,
        slow: Mutex::default(),
        asked: AtomicUsize::new(0),
        ready: Semaphore::new(0),
    });
    let blockstore = Arc::clone(&store) as Arc<dyn Blockstore>;
    let node = Node::start(NodeConfig { blockstore, ..world.config()? }).await?;
    let scene = Scene::log_all_in(world, node, accounts).await?;
    let (patient, doctor) = (&scene.patient, &scene.doctor);
    let rights = Rights::READ | Rights::WRITE;
    patient.grant(FIRST, accounts.doctor, rights, &[Class::Summary], next_year()).await?;
    patient.grant(slot(65), accounts.stranger, rights, &[Class::Summary], next_year()).await?;

    let mut walks = Vec::new();
    for (writer, subject, first) in [
        (patient, accounts.patient, 0),
        (patient, accounts.patient, 10),
        (&scene.other, accounts.other, 0),
        (&scene.other, accounts.other, 10),
        (doctor, accounts.patient, 20),
    ] {
        for slot in first..first + 3 {
            let record = writer.upload(&[&[first as u8, slot as u8]]).await?;
            store.slow.lock().unwrap_or_else(PoisonError::into_inner).insert(record);
            let (writer, put) = (writer.clone(), writer.put_record(subject, slot, Class::Summary, &record));
            walks.push(tokio::spawn(async move { writer.submit(&put).await }));
        }
    }
    until(|| async { store.asked.load(Ordering::SeqCst) == 3 }).await?;
    let revoked = tokio::time::timeout(Duration::from_secs(5), patient.revoke(slot(65))).await??;
    assert_eq!(store.asked.load(Ordering::SeqCst), 3, "one record of a signer at a time");

    store.ready.close();
    for walk in walks {
        walk.await??;
    }
    let sealed: BatchView = scene.hospital.post("v1/batches/seal", &()).await?;
    assert_eq!(sealed.public.n, 18);
    let id = revoked.signed.id(scene.world.domain());
    let status: OperationStatus = patient.get(&format!("v1/operations/{id}")).await?;
    assert_eq!(status, OperationStatus::Sealed { batch: 1 });
    scene.node.shutdown().await;
    Ok(())
}

/// More operations wait than a batch holds. A Revoke that comes later is settled first.
#[tokio::test(flavor = "multi_thread")]
async fn a_revoke_is_in_the_next_batch_whatever_waits() -> Outcome {
    let scene = World::populated().await?;
    let (patient, other, accounts) = (&scene.patient, &scene.other, scene.accounts);
    patient.grant(FIRST, accounts.doctor, Rights::READ, &[Class::Summary], next_year()).await?;
    for slot in 0..CircuitVersion::V1.max_l2 as u64 + 6 {
        let record = other.upload(&[&slot.to_be_bytes()]).await?;
        other.submit(&other.put_record(accounts.other, slot, Class::Summary, &record)).await?;
        if slot < 6 {
            patient
                .submit(&patient.put_record(
                    accounts.patient,
                    slot,
                    Class::Summary,
                    &patient.upload(&[&slot.to_be_bytes()]).await?,
                ))
                .await?;
        }
    }
    let revoked = patient.revoke(FIRST).await?;
    scene.hospital.post::<BatchView>("v1/batches/seal", &()).await?;
    let id = revoked.signed.id(scene.world.domain());
    let status: OperationStatus = patient.get(&format!("v1/operations/{id}")).await?;
    assert_eq!(status, OperationStatus::Sealed { batch: 1 });
    // After a restart the remaining operations still wait.
    let scene = scene.restart().await?;
    let status: NodeStatus = scene.patient.get("v1/status").await?;
    assert_eq!(status.pending, CircuitVersion::V1.max_l2 as u64 + 6 + 6 + 2);
    scene.node.shutdown().await;
    Ok(())
}
