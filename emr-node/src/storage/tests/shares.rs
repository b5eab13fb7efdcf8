//! No writer can fill a patient's space, and a Revoke is always accepted.

use emr_ipfs::{Blockstore, DagLimits, walk};

use super::scene::*;
use crate::{
    mempool::Usage,
    request_error::RequestErrorKind,
    storage::quota::{Quotas, slots_of},
};

/// Like the default, but with small limits.
fn small() -> Quotas {
    Quotas {
        staged: Usage { bytes: 1 << 30, blocks: 40 },
        writer: Usage { bytes: 5000, blocks: 12 },
        own: Usage { bytes: 8000, blocks: 24 },
        patient: Usage { bytes: 9000, blocks: 36 },
        writer_slots: 5,
        own_slots: 8,
        ..Quotas::DEFAULT
    }
}

#[tokio::test]
async fn a_grantee_who_fills_everything_stops_nobody_else() -> Outcome {
    let mut scene = Scene::new(small()).await?;
    let [hostile, other] = DOCTORS;

    // Too many bytes.
    let large = scene.upload(hostile, 2, 1900).await?;
    scene.write(hostile, 0, &large).await?;
    let more = scene.upload(hostile, 1, 1500).await?;
    let refused = scene.write(hostile, 1, &more).await.expect_err("must be refused");
    assert_eq!(refused.kind, RequestErrorKind::TooLarge);
    assert!(refused.message.contains("account 2 would have more than its share of patient 1's space"), "{refused}");
    // Too many blocks.
    let many = scene.upload(hostile, 10, 1).await?;
    assert_eq!(scene.write(hostile, 1, &many).await.expect_err("must be refused").kind, RequestErrorKind::TooLarge);
    // Too many slots.
    for number in 1..5 {
        scene.write(hostile, number, &[]).await?;
    }
    let refused = scene.write(hostile, 5, &[]).await.expect_err("must be refused");
    assert_eq!(refused.kind, RequestErrorKind::TooLarge);
    assert!(refused.message.contains("account 2 holds 5 record slots of patient 1"), "{refused}");
    // The staging area is full.
    scene.upload(hostile, 40 - 2 - 12, 1).await?;

    // The patient can still revoke with a new directory. Another doctor and the patient can still write.
    let directory = scene.revoke(64).await?;
    assert!(scene.store.has(&directory).await?);
    let blocks = scene.upload(other, 2, 1000).await?;
    scene.write(other, 5, &blocks).await?;
    scene.write(PATIENT, 6, &[]).await?;
    scene.settle()?;
    let (used, directories) = scene.engine.mempool.used(&scene.principal(PATIENT))?;
    assert_eq!(used[&scene.principal(other)], Usage { bytes: 2000 + 83, blocks: 3 });
    // Each directory is a root with three blocks.
    assert_eq!(directories.blocks, 12);
    assert!(used[&scene.principal(hostile)].bytes >= 3800);

    // The patient deletes the useless records. A day after the sweep sees the settled deletion, the space is free.
    for number in 0..5 {
        scene.tombstone(number).await?;
    }
    scene.settle()?;
    scene.sweep().await?;
    assert!(scene.store.has(&large[0]).await?, "a day has not passed");
    scene.pass(25);
    scene.sweep().await?;
    assert!(!scene.store.has(&large[0]).await?);
    let (used, _) = scene.engine.mempool.used(&scene.principal(PATIENT))?;
    assert_eq!(used.get(&scene.principal(hostile)), None);
    for cid in &blocks {
        assert!(scene.store.has(cid).await?);
    }
    // Slots are never used again: they still count.
    let state = scene.engine.state().clone();
    let leaves = state.soft.patient(account(PATIENT)).ok_or("the patient")?;
    assert_eq!(slots_of(leaves, account(hostile)), 5);
    Ok(())
}

/// Many accounts fill the disk, each within its quota. The patient can still end a grant.
#[tokio::test]
async fn a_disk_that_is_nearly_full_takes_revokes() -> Outcome {
    let mut scene = Scene::new(Quotas::DEFAULT).await?;
    let blocks = scene.upload(DOCTORS[0], 1, 100).await?;
    scene.fill_disk();
    let refused = scene.write(DOCTORS[0], 0, &blocks).await.expect_err("must be refused");
    assert_eq!(refused.kind, RequestErrorKind::Unavailable);
    assert!(refused.message.contains("nearly full"), "{refused}");
    assert!(scene.grant(66, DOCTORS[1]).await.is_err());
    scene.revoke(64).await?;
    scene.settle()?;
    Ok(())
}

/// A version that keeps attachments stores no block, but the node's file has a row for each of theirs. So that has an end too, and a deletion gives
/// it back.
#[tokio::test]
async fn versions_that_keep_attachments_are_charged() -> Outcome {
    let mut scene = Scene::new(Quotas { writer: Usage { bytes: 20_000, blocks: 1000 }, ..Quotas::DEFAULT }).await?;
    let doctor = DOCTORS[0];
    let attached = scene.upload(doctor, 10, 100).await?;
    let mut versions = 0;
    let refused = loop {
        // The manifest is the same too.
        match scene.write(doctor, 0, &attached).await {
            Ok(_) => versions += 1,
            Err(refused) => break refused,
        }
        assert!(versions < 100, "nothing counts the rows");
    };
    assert_eq!(refused.kind, RequestErrorKind::TooLarge);
    assert!(refused.message.contains("more than its share"), "{refused}");
    // 11 blocks in each, and 256 bytes for each of them after the first version.
    assert_eq!(versions, 1 + (20_000 - 1000 - 420) / (11 * 256));
    // Others still write, and the patient ends the grant.
    let other = scene.upload(DOCTORS[1], 1, 10).await?;
    scene.write(DOCTORS[1], 1, &other).await?;
    scene.revoke(64).await?;
    scene.tombstone(0).await?;
    scene.settle()?;
    scene.sweep().await?;
    scene.pass(25);
    scene.sweep().await?;
    let (used, _) = scene.engine.mempool.used(&scene.principal(PATIENT))?;
    assert_eq!(used.get(&scene.principal(doctor)), None);
    Ok(())
}

/// All writers together have a limit too, and the message says so.
#[tokio::test]
async fn all_writers_together_are_bounded() -> Outcome {
    let mut scene = Scene::new(small()).await?;
    for (number, who) in (0..).zip(DOCTORS) {
        let blocks = scene.upload(who, 1, 3500).await?;
        scene.write(who, number, &blocks).await?;
    }
    let blocks = scene.upload(PATIENT, 1, 2500).await?;
    let refused = scene.write(PATIENT, 2, &blocks).await.expect_err("must be refused");
    assert_eq!(refused.kind, RequestErrorKind::TooLarge);
    assert!(refused.message.contains("all writers together"), "{refused}");
    // A small record still fits.
    let shared = scene.upload(DOCTORS[0], 1, 10).await?;
    scene.write(DOCTORS[0], 0, &shared).await?;
    Ok(())
}

/// Blocks are swept, uploaded again and referred to at the same time. The blocks of an acknowledged operation are
/// always there.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_being_referred_to_is_never_removed() -> Outcome {
    let scene = Scene::new(Quotas::DEFAULT).await?;
    let blocks: Vec<_> = (0..4_u64).map(|number| format!("the same block {number}").into_bytes()).collect();
    let engine = std::sync::Arc::clone(&scene.engine);
    // More than a day ahead of the uploads: every note lapses at once.
    let ahead = scene.now.saturating_add(30 * 3600);
    let sweeping = tokio::spawn(async move {
        let mut sweep = crate::storage::sweep::Sweep::default();
        loop {
            sweep.round(&engine, ahead).await.expect("a sweep");
            // A random pause, so that turns fall before, between and after the uploads of a round.
            tokio::time::sleep(std::time::Duration::from_millis(rand::random_range(0..60))).await;
        }
    });
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for round in 0..150 {
        let mut parts = Vec::new();
        for bytes in &blocks {
            parts.push(scene.upload_as(DOCTORS[0], emr_core::Codec::Raw, bytes, 20).await?);
        }
        match scene.write(DOCTORS[0], 0, &parts).await {
            Ok((_, cids)) => acknowledged.push(cids),
            // The block was swept between its upload and its submission. The refusal says to upload it again.
            Err(why) => {
                assert_eq!(why.kind, RequestErrorKind::MissingBlock, "{why}");
                refused += 1;
            }
        }
        for cids in &acknowledged {
            walk(&scene.store, &cids[0], &DagLimits::default()).await?;
        }
        // Let go of the blocks, so that they are doomed again.
        if let Some(cids) = acknowledged.pop() {
            let sequence = scene.give_up_newest()?;
            assert!(sequence.is_some() && !cids.is_empty(), "round {round}");
        }
    }
    sweeping.abort();
    let _ = sweeping.await;
    assert!(refused < 150, "nothing was ever acknowledged");
    Ok(())
}

/// A reorganisation of L1 within a day brings a deleted record back. Its blocks are complete.
#[tokio::test]
async fn a_deleted_record_comes_back_with_a_reorganisation() -> Outcome {
    let mut scene = Scene::new(Quotas::DEFAULT).await?;
    let blocks = scene.upload(PATIENT, 2, 100).await?;
    let (_, cids) = scene.write(PATIENT, 0, &blocks).await?;
    scene.settle()?;
    let before = scene.revoke(64).await?;
    scene.tombstone(0).await?;
    scene.settle()?;
    let after = scene.revoke(65).await?;
    scene.settle()?;
    scene.sweep().await?;
    scene.pass(23);
    scene.sweep().await?;
    scene.reorganise(2).await?;
    scene.sweep().await?;
    // The operations wait again. The time before a removal starts from zero.
    scene.pass(23);
    scene.sweep().await?;
    walk(&scene.store, &cids[0], &DagLimits::default()).await?;
    assert!(scene.store.has(&before).await? && scene.store.has(&after).await?);
    scene.settle()?;
    scene.sweep().await?;
    scene.pass(25);
    scene.sweep().await?;
    assert!(!scene.store.has(&cids[0]).await? && !scene.store.has(&before).await?);
    assert!(scene.store.has(&after).await?);
    Ok(())
}

/// The same, step by step: a note lapsed, and a request began to use the block just before that.
#[tokio::test]
async fn a_block_in_use_outlives_its_note() -> Outcome {
    let mut scene = Scene::new(Quotas::DEFAULT).await?;
    let blocks = scene.upload(PATIENT, 1, 100).await?;
    let twin = emr_ipfs::Cid::new_v1(emr_core::Codec::DagCbor.code(), *blocks[0].hash());
    scene.pass(25);
    let used = scene.engine.in_use.take(&[twin]).await;
    scene.sweep().await?;
    assert!(
        scene.store.has(&blocks[0]).await? && scene.engine.mempool.uploaded(&blocks[0], &scene.principal(PATIENT))?
    );
    drop(used);
    // The block is doomed, and then uploaded again before it is removed.
    scene.engine.mempool.lapse(scene.now, 10, |_| false)?;
    assert_eq!(scene.engine.mempool.doomed(None, 10)?, blocks);
    let bytes = scene.store.get(&blocks[0]).await?;
    scene.upload_as(PATIENT, emr_core::Codec::Raw, &bytes, 100).await?;
    scene.sweep().await?;
    assert!(scene.store.has(&blocks[0]).await?);
    scene.pass(25);
    scene.sweep().await?;
    assert!(!scene.store.has(&blocks[0]).await?);
    Ok(())
}
