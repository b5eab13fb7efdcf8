//! The sweep on a real Kubo. Skipped on machines without Kubo (see docs/testing.md).

use std::sync::Arc;

use emr_core::Codec;
use emr_ipfs::{Blockstore, KuboStore};
use emr_testkit::part::Kubo;

use super::scene::*;
use crate::storage::quota::Quotas;

const CHUNK: usize = 256 << 10;

/// A record with a file of 5 MiB: chunks under a manifest of their own. A day after its deletion is settled, Kubo has no block of it, and has the other
/// record that shares a chunk with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_attachment_leaves_kubo() -> Outcome {
    let Some(kubo) = Kubo::start_or_skip()? else { return Ok(()) };
    let store: Arc<dyn Blockstore> = Arc::new(KuboStore::new(kubo.url())?);
    let mut scene = Scene::on(store, Quotas::DEFAULT).await?;
    let doctor = DOCTORS[0];
    let mut chunks = Vec::new();
    for number in 0..20_u8 {
        chunks.push(scene.upload_as(doctor, Codec::Raw, &vec![number; CHUNK], CHUNK as u64).await?);
    }
    let bytes = manifest(&chunks);
    let file = scene.upload_as(doctor, Codec::DagCbor, &bytes, bytes.len() as u64).await?;
    let (_, parts) = scene.write(doctor, 0, &[file]).await?;
    let (_, other) = scene.write(doctor, 1, &chunks[..1]).await?;
    scene.settle()?;
    // Given up by its uploader: it goes with the next sweep.
    let lost = scene.upload_as(doctor, Codec::Raw, &vec![99; CHUNK], CHUNK as u64).await?;
    assert_eq!(scene.engine.give_up(scene.principal(doctor), vec![lost, chunks[0]]).await?, 1);
    scene.sweep().await?;
    assert!(!scene.has(&lost).await?);
    for cid in parts.iter().chain(&chunks) {
        assert!(scene.has(cid).await?, "{cid}");
    }
    scene.tombstone(0).await?;
    scene.settle()?;
    scene.sweep().await?;
    assert!(scene.has(&chunks[5]).await?, "a day has not passed");
    scene.pass(25);
    scene.sweep().await?;
    for cid in parts.iter().chain(&chunks[1..]) {
        assert!(!scene.has(cid).await?, "{cid}");
    }
    for cid in other.iter().chain(&chunks[..1]) {
        assert!(scene.has(cid).await?, "{cid}");
    }
    Ok(())
}
