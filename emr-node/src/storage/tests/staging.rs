//! Blocks that no operation refers to cannot fill the node, and there is always room for a patient's key directory.

use emr_core::Codec;
use emr_crypto::PatientDirectory;
use emr_ipfs::Blockstore;
use emr_testkit::people::people;

use super::scene::*;
use crate::{
    mempool::Usage,
    request_error::{RequestError, RequestErrorKind},
    storage::quota::Quotas,
};

/// Room for 64 blocks of all accounts, and for 40 of one.
fn small() -> Quotas {
    Quotas {
        staged: Usage { bytes: 1 << 30, blocks: 40 },
        staged_by_all: Usage { bytes: 1 << 30, blocks: 64 },
        // A directory with a reader has four blocks, and one without has two.
        directories: Usage { bytes: 4 << 20, blocks: 22 },
        least_directories: Usage { bytes: 256 << 10, blocks: 14 },
        ..Quotas::DEFAULT
    }
}

/// Uploads until the node refuses. Returns how many blocks it took, and the refusal.
async fn fill(scene: &mut Scene, who: u64) -> Outcome<(u64, RequestError)> {
    for taken in 0..1000 {
        if let Err(refused) = scene.upload(who, 1, 10).await {
            return Ok((taken, *refused.downcast::<RequestError>()?));
        }
    }
    Err("the node takes everything".into())
}

/// A new key directory.
async fn directory(scene: &Scene, who: u64) -> Result<(), RequestError> {
    let directory = PatientDirectory::create(&people().patient.identity);
    for (_, bytes) in directory.published().blocks() {
        scene.upload_as(who, Codec::DagCbor, bytes, bytes.len() as u64).await?;
    }
    Ok(())
}

#[tokio::test]
async fn accounts_together_cannot_fill_the_node_with_blocks_of_no_record() -> Outcome {
    let mut scene = Scene::new(small()).await?;
    let [hostile, other] = DOCTORS;
    // Half of the room is free to anyone. After that, each may have an eighth of their share, and then a thirty-second
    // part.
    let (taken, refused) = fill(&mut scene, hostile).await?;
    assert_eq!((taken, refused.kind), (32, RequestErrorKind::NoRoomNow), "{refused}");
    assert!(refused.retry_after.is_some() && refused.message.contains("submit the records"), "{refused}");
    assert_eq!(fill(&mut scene, other).await?.0, 5);

    // The second doctor submits what they uploaded, and has room again.
    let parts = scene.upload(PATIENT, 2, 10).await?;
    scene.write(PATIENT, 0, &parts).await?;
    assert_eq!(scene.engine.mempool.staged_by_all()?.blocks, 37);
    // The patient's directory counts in no limit of blocks.
    scene.revoke(64).await?;
    assert_eq!(scene.engine.mempool.staged_by_all()?.blocks, 37);

    // After a day the blocks lapse, and the room is free again.
    scene.settle()?;
    scene.sweep().await?;
    scene.pass(25);
    scene.sweep().await?;
    assert_eq!(scene.engine.mempool.staged_by_all()?, Usage::default());
    assert_eq!(fill(&mut scene, hostile).await?.0, 32);
    // The counts survive a restart.
    scene.restart().await?;
    assert_eq!(scene.engine.mempool.staged_by_all()?.blocks, 32);
    assert_eq!(fill(&mut scene, hostile).await?.0, 0);
    Ok(())
}

/// Blocks of no record take at most as much of the disk as they leave free.
#[tokio::test]
async fn half_of_the_free_disk_stays_free() -> Outcome {
    let mut scene = Scene::new(Quotas::DEFAULT).await?;
    let free = scene.store.free_space().await?;
    let quotas = scene.quotas();
    quotas.staged_by_all.bytes = u64::MAX;
    quotas.staged.bytes = u64::MAX;
    // 8 MiB of the disk are not kept free.
    quotas.kept_free = Usage { bytes: free.bytes.saturating_sub(8 << 20), blocks: 0 };
    quotas.least_patients = 0;
    let refused = scene.upload(DOCTORS[0], 1, 9 << 20).await.expect_err("must be refused");
    let refused = refused.downcast::<RequestError>()?;
    assert_eq!(refused.kind, RequestErrorKind::NoRoomNow, "{refused}");
    Ok(())
}

/// A disk that is nearly full takes key directories of patients, a few of each, and nothing else. Other blocks that a
/// patient has uploaded before take no room away from these.
#[tokio::test]
async fn there_is_room_for_a_few_directories_of_each_patient() -> Outcome {
    let mut scene = Scene::new(small()).await?;
    assert_eq!(fill(&mut scene, PATIENT).await?.0, 32);
    scene.fill_disk();
    assert_eq!(directory(&scene, DOCTORS[0]).await.expect_err("not a patient").kind, RequestErrorKind::Unavailable);
    // Operations hold two directories.
    for _ in 0..3 {
        directory(&scene, PATIENT).await?;
    }
    let refused = directory(&scene, PATIENT).await.expect_err("more than a few");
    assert_eq!(refused.kind, RequestErrorKind::NoDirectoryRoom, "{refused}");

    // Uploads that nothing refers to go after an hour now, and make room.
    scene.sweep().await?;
    assert!(directory(&scene, PATIENT).await.is_err(), "an hour has not passed");
    let before = scene.stored()?.len();
    scene.pass(2);
    scene.sweep().await?;
    assert_eq!(before - scene.stored()?.len(), 32 + 3 * 2);
    directory(&scene, PATIENT).await?;
    scene.revoke(64).await?;
    Ok(())
}

/// An account that has its whole share in staging is told that this ends, and makes room at once by giving blocks up. Blocks of others, of records and
/// in use stay.
#[tokio::test]
async fn an_uploader_gives_up_blocks() -> Outcome {
    let quotas = Quotas { staged_by_all: Usage { bytes: 1 << 30, blocks: 4096 }, ..small() };
    let mut scene = Scene::new(quotas).await?;
    let [doctor, other] = DOCTORS;
    let parts = scene.upload(doctor, 2, 10).await?;
    let (_, held) = scene.write(doctor, 0, &parts).await?;
    let mut own = Vec::new();
    let refused = loop {
        match scene.upload(doctor, 1, 10).await {
            Ok(cids) => own.extend(cids),
            Err(refused) => break *refused.downcast::<RequestError>()?,
        }
    };
    assert_eq!((own.len(), refused.kind), (40, RequestErrorKind::NoRoomNow), "{refused}");
    assert_eq!((refused.kind.status(), refused.retry_after.is_some()), (503, true));

    // The first block is also another doctor's upload, and the second is in use.
    let shared = scene.store.get(&own[0]).await?;
    scene.upload_as(other, Codec::Raw, &shared, 10).await?;
    let theirs = scene.upload(other, 1, 10).await?;
    let all: Vec<_> = own.iter().chain(&held).chain(&theirs).copied().collect();
    assert_eq!(scene.engine.give_up(scene.principal(PATIENT), all.clone()).await?, 0, "they are not the patient's");
    let used = scene.engine.in_use.take(&own[1..2]).await;
    assert_eq!(scene.engine.give_up(scene.principal(doctor), all.clone()).await?, 39);
    drop(used);
    assert_eq!(scene.engine.mempool.staged(&scene.principal(doctor))?.blocks, 1);
    assert_eq!(scene.engine.mempool.staged_by_all()?.blocks, 3);
    scene.sweep().await?;
    for (cid, stays) in
        [(own[0], true), (own[1], true), (own[2], false), (held[0], true), (parts[0], true), (theirs[0], true)]
    {
        assert_eq!(scene.has(&cid).await?, stays, "{cid}");
    }
    // There is room again at once, and what was given up can be uploaded again.
    scene.upload(doctor, 39, 10).await?;
    assert_eq!(scene.engine.give_up(scene.principal(doctor), all).await?, 1);
    Ok(())
}

/// Uploads these blocks, or uploads them again.
async fn upload_again(scene: &Scene, who: u64, blocks: u8) -> Outcome {
    for number in 0..blocks {
        scene.upload_as(who, Codec::Raw, &[number], 10).await?;
    }
    Ok(())
}

/// Somebody uploads the same blocks again, so that they do not lapse. This works only while there is much space.
#[tokio::test]
async fn space_that_others_need_is_not_kept_by_uploading_again() -> Outcome {
    for (blocks, kept) in [(31, true), (32, false)] {
        let mut scene = Scene::new(small()).await?;
        upload_again(&scene, DOCTORS[0], blocks).await?;
        scene.pass(12);
        upload_again(&scene, DOCTORS[0], blocks).await?;
        // A day after the first upload, and half a day after the second.
        scene.pass(13);
        scene.sweep().await?;
        let left = scene.engine.mempool.staged_by_all()?.blocks;
        assert_eq!(left, if kept { u64::from(blocks) } else { 0 });
    }
    Ok(())
}

/// While the disk is nearly full, a patient does not keep the space for directories by uploading theirs again every hour.
#[tokio::test]
async fn space_for_directories_is_not_kept_on_a_full_disk() -> Outcome {
    let mut scene = Scene::new(small()).await?;
    scene.fill_disk();
    let directories = [0; 2].map(|_| PatientDirectory::create(&people().patient.identity));
    let mut cids = Vec::new();
    for _ in 0..2 {
        for directory in &directories {
            for (_, bytes) in directory.published().blocks() {
                cids.push(scene.upload_as(PATIENT, Codec::DagCbor, bytes, bytes.len() as u64).await?);
            }
        }
        scene.pass(1);
    }
    // Two hours after the first upload, and an hour after the second.
    scene.sweep().await?;
    for cid in cids {
        assert!(!scene.engine.mempool.uploaded(&cid, &scene.principal(PATIENT))?);
    }
    Ok(())
}
