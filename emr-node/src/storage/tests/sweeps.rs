//! What a sweep removes and what it leaves, on a disk and on Kubo, also if the process ends in the middle of a sweep.

use std::{collections::BTreeSet, sync::Arc};

use emr_ipfs::{DagLimits, KuboStore, walk};
use emr_testkit::part::Kubo;

use super::{
    fuse::{Call, Moment},
    scene::*,
};
use crate::storage::quota::Quotas;

const DOCTOR: u64 = DOCTORS[0];

/// A patient changes their key directory often. The node keeps every directory for a day after another one took its
/// place: within this time, L1 may go back to it.
#[tokio::test]
async fn every_superseded_directory_stays_for_a_day() -> Outcome {
    let mut scene = Scene::new(Quotas::DEFAULT).await?;
    let mut directories = Vec::new();
    for _ in 0..6 {
        directories.push(scene.revoke(64).await?);
        directories.push(scene.grant(64, DOCTOR).await?);
        scene.settle()?;
    }
    scene.sweep().await?;
    let all_are_there = |scene: &Scene| -> Outcome {
        let stored = scene.stored()?;
        for (number, directory) in directories.iter().enumerate() {
            assert!(stored.contains(directory), "directory {number} of {}", directories.len());
        }
        Ok(())
    };
    all_are_there(&scene)?;
    scene.reorganise(5).await?;
    scene.sweep().await?;
    all_are_there(&scene)?;
    scene.settle()?;
    // A day later, only the directory in force is needed.
    scene.sweep().await?;
    scene.pass(25);
    scene.sweep().await?;
    let in_force: BTreeSet<_> = scene.directory_blocks(directories.last().ok_or("none")?).into_iter().collect();
    assert_eq!((scene.stored()?, in_force.len()), (in_force, 4));
    Ok(())
}

/// The process ends at each step of a sweep in turn. The next process finishes the sweep, and removes nothing else. The
/// sweep removes a deleted record, or the ciphertext that a Rekey replaced.
#[tokio::test]
async fn a_sweep_that_was_killed_is_finished_by_the_next() -> Outcome {
    for (call, moment) in
        [Call::Unpin, Call::Delete].into_iter().flat_map(|call| [(call, Moment::Before), (call, Moment::After)])
    {
        for (passed, is_rekey) in [(0, false), (0, true), (1, false), (1, true)] {
            let mut scene = Scene::new(Quotas::DEFAULT).await?;
            let shared = scene.upload(DOCTOR, 1, 100).await?;
            let (_, kept) = scene.write(DOCTOR, 0, &shared).await?;
            let blocks = scene.upload(DOCTOR, 2, 100).await?;
            let (_, deleted) = scene.write(DOCTOR, 1, &blocks).await?;
            scene.settle()?;
            let mut rekeyed = Vec::new();
            if is_rekey {
                let parts = scene.upload(PATIENT, 2, 100).await?;
                rekeyed = scene.rekey(1, &parts).await?;
            } else {
                scene.tombstone(1).await?;
            }
            scene.settle()?;
            scene.sweep().await?;
            scene.pass(25);
            scene.store.arm(call, moment, passed);
            let store = scene.store.clone();
            tokio::select! {
                () = store.reached() => {}
                _ = scene.sweep() => return Err(format!("{call:?} {moment:?} {passed}: the sweep did not come there").into()),
            }
            scene.restart().await?;
            scene.sweep().await?;
            for cid in &deleted {
                assert!(!scene.stored()?.contains(cid), "{call:?} {moment:?} {passed} {is_rekey}: {cid} is left");
            }
            for root in [kept.first(), rekeyed.first()].into_iter().flatten() {
                walk(&scene.store, root, &DagLimits::default()).await?;
                assert!(scene.pins().await?.contains(root));
            }
            assert!(!scene.pins().await?.contains(&deleted[0]));
            // The same blocks may be uploaded and used again.
            let again = scene.upload(DOCTOR, 1, 100).await?;
            scene.write(DOCTOR, 2, &again).await?;
        }
    }
    Ok(())
}

/// An attachment is a manifest with chunks under the record's manifest. It stays with its record, and with a next version that keeps it. It goes
/// when the record is deleted, and its space is free again.
#[tokio::test]
async fn attachments_go_with_their_record() -> Outcome {
    let mut scene = Scene::new(Quotas::DEFAULT).await?;
    let chunks = scene.upload(DOCTOR, 20, 262_160).await?;
    let bytes = manifest(&chunks);
    let attachment = scene.upload_as(DOCTOR, emr_core::Codec::DagCbor, &bytes, bytes.len() as u64).await?;
    let others = scene.upload(DOCTOR, 2, 100).await?;
    scene.write(DOCTOR, 0, &[&others[..], &[attachment]].concat()).await?;
    let next = scene.upload(DOCTOR, 2, 100).await?;
    scene.write(DOCTOR, 0, &[&next[..], &[attachment]].concat()).await?;
    scene.settle()?;
    scene.sweep().await?;
    scene.pass(25);
    scene.sweep().await?;
    let all = [&chunks[..], &[attachment], &others, &next].concat();
    let stored = scene.stored()?;
    assert!(all.iter().all(|cid| stored.contains(cid)), "a live record lost a block");
    let used = |scene: &Scene| -> Outcome<_> {
        let (writers, _) = scene.engine.mempool.used(&scene.principal(PATIENT))?;
        Ok(writers.get(&scene.principal(DOCTOR)).copied().unwrap_or_default())
    };
    assert!(used(&scene)?.bytes >= 20 * 262_160, "{:?}", used(&scene)?);
    scene.tombstone(0).await?;
    scene.settle()?;
    scene.sweep().await?;
    scene.pass(25);
    scene.sweep().await?;
    let stored = scene.stored()?;
    let left: Vec<_> = all.iter().filter(|cid| stored.contains(cid)).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(used(&scene)?, crate::mempool::Usage::default());
    Ok(())
}

/// A submission pins its blocks while a sweep tries to unpin and remove them. The blocks of the acknowledged operation
/// are stored and pinned.
#[tokio::test(flavor = "multi_thread")]
async fn a_submission_keeps_the_sweep_off_its_blocks() -> Outcome {
    let mut scene = Scene::new(Quotas::DEFAULT).await?;
    let blocks = scene.upload(DOCTOR, 2, 100).await?;
    scene.store.arm(Call::Pin, Moment::After, 0);
    let store = scene.store.clone();
    // The notes are more than a day old and could lapse. The submission has already checked them and pinned the blocks.
    scene.pass(25);
    let mut sweep = crate::storage::sweep::Sweep::default();
    let (engine, now) = (Arc::clone(&scene.engine), scene.now);
    let (written, swept) = tokio::join!(scene.write(DOCTOR, 0, &blocks), async {
        store.reached().await;
        let swept = sweep.round(&engine, now.saturating_add(25 * 3600)).await;
        store.go();
        swept
    });
    swept?;
    let (_, cids) = written?;
    for cid in &cids {
        assert!(scene.stored()?.contains(cid), "{cid}");
    }
    assert!(scene.pins().await?.contains(&cids[0]));
    Ok(())
}

/// The same rules hold on Kubo: a deleted record, and ciphertext that a Rekey replaced, are unpinned and removed, and a
/// needed record is pinned.
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_on_kubo_takes_what_nothing_needs() -> Outcome {
    let Some(kubo) = Kubo::start_or_skip()? else { return Ok(()) };
    let store = Arc::new(KuboStore::new(kubo.url())?);
    let mut scene = Scene::on(store, Quotas::DEFAULT).await?;
    let blocks = scene.upload(DOCTOR, 2, 100).await?;
    let (_, kept) = scene.write(DOCTOR, 0, &blocks).await?;
    // The deleted record shares a block with the record that stays.
    let own = scene.upload(PATIENT, 1, 100).await?;
    let (_, deleted) = scene.write(DOCTOR, 1, &blocks[..1]).await?;
    let unused = scene.upload(DOCTOR, 1, 100).await?;
    let old = scene.upload(DOCTOR, 2, 100).await?;
    let (_, old) = scene.write(DOCTOR, 2, &old).await?;
    scene.settle()?;
    scene.tombstone(1).await?;
    let again = scene.upload(PATIENT, 2, 100).await?;
    let again = scene.rekey(2, &again).await?;
    scene.settle()?;
    scene.sweep().await?;
    scene.pass(25);
    scene.sweep().await?;
    for root in [&kept[0], &again[0]] {
        walk(&scene.store, root, &DagLimits::default()).await?;
    }
    for cid in [&deleted[0], &unused[0], &own[0]].into_iter().chain(&old) {
        assert!(!scene.has(cid).await?, "{cid}");
    }
    let pins = scene.pins().await?;
    assert!(pins.contains(&kept[0]) && pins.contains(&again[0]));
    assert!(!pins.contains(&deleted[0]) && !pins.contains(&old[0]));
    Ok(())
}
