//! Snapshots: what is derived from them, damaged ones, and crashes while one is written.

use std::{fs, path::Path, sync::Arc};

use alloy::primitives::{Address, keccak256};
use emr_durable::{
    Disk,
    crash::{ALL, Journal, no_sync},
};
use emr_rollup::version::CircuitSizes;

use super::scene::*;
use crate::{
    derivation::SettledLedger,
    l1::follow::Position,
    snapshot::{RollupId, Snapshot, Snapshots, Unusable},
    storage::quota::Quotas,
};

const DOCTOR: u64 = DOCTORS[0];

fn rollup() -> RollupId {
    RollupId { chain_id: 31337, contract: Address::repeat_byte(7), deployed_at: 0, block_hash: Default::default() }
}

fn sizes() -> Arc<CircuitSizes> {
    Arc::new(CircuitSizes::v1())
}

/// A settled state with grants, a record, a session, a Rekey, and a grant that ended.
async fn settled() -> Outcome<SettledLedger> {
    let mut scene = Scene::new(Quotas::DEFAULT).await?;
    scene.write(DOCTOR, 0, &[]).await?;
    scene.request(DOCTOR).await?;
    scene.settle()?;
    scene.rekey(0, &[]).await?;
    scene.revoke(65).await?;
    scene.settle()?;
    let settled = scene.engine.state().settled_ledger();
    Ok(settled)
}

fn at(settled: &SettledLedger, number: u64) -> Snapshot {
    Snapshot { settled: settled.clone(), block: Position { number, hash: keccak256(number.to_be_bytes()) } }
}

/// One snapshot in a folder, with the path of its file.
fn written(folder: &Path, settled: &SettledLedger) -> Outcome<std::path::PathBuf> {
    let snapshots = Snapshots::open(Disk::default(), folder, rollup());
    snapshots.write(&at(settled, 9));
    let path = folder.join(format!("snapshots/{}.snapshot", settled.batches));
    if path.exists() { Ok(path) } else { Err("no snapshot was written".into()) }
}

/// Reads the only file of a folder, as a start does.
fn loaded(folder: &Path, rollup: RollupId) -> Result<Snapshot, Unusable> {
    let snapshots = Snapshots::open(Disk::default(), folder, rollup);
    let kept = snapshots.newest_first()?.pop().expect("a file");
    snapshots.load(&kept.header?, &sizes())
}

/// Nothing of what was acknowledged is lost on the way through a snapshot: operations that were returned, or that gave way, and what they took away
/// before, sessions, and operations that L1 takes back.
#[tokio::test]
async fn a_derivation_from_a_snapshot_leads_to_the_same() -> Outcome {
    let mut scene = Scene::new(Quotas::DEFAULT).await?;
    scene.name_delegate().await?;
    scene.settle()?;
    scene.hand_on(70).await?;
    scene.settle()?;
    scene.restart().await?;
    assert_eq!(scene.compared, 3);
    // The delegate's Revoke gives way to the patient's. (The upload makes the new node look at its disk.)
    let blocks = scene.upload(DOCTORS[1], 2, 100).await?;
    scene.end_for_patient(70).await?;
    scene.revoke(70).await?;
    scene.request(DOCTORS[1]).await?;
    scene.settle()?;
    scene.write(DOCTORS[1], 0, &blocks).await?;
    scene.settle()?;
    scene.rekey(0, &[]).await?;
    scene.restart().await?;
    scene.settle()?;
    // A Revoke that was returned still ends its grant.
    scene.revoke(65).await?;
    scene.give_back_newest().await?;
    scene.write(PATIENT, 1, &[]).await?;
    scene.settle()?;
    for lost in [1, 2, 3] {
        let compared = scene.compared;
        scene.reorganise(lost).await?;
        assert!(scene.compared > compared, "{lost}");
        scene.settle()?;
        scene.restart().await?;
    }
    assert!(scene.compared > 15, "{}", scene.compared);
    Ok(())
}

/// L1 takes batches back, shows others, and then shows the first ones again. The snapshots of the first ones are on L1's chain again, but the
/// node's file is of the others.
#[tokio::test]
async fn a_snapshot_of_another_history_than_the_files_is_not_used() -> Outcome {
    let mut scene = Scene::new(Quotas::DEFAULT).await?;
    scene.write(DOCTOR, 0, &[]).await?;
    scene.settle()?;
    scene.write(DOCTOR, 1, &[]).await?;
    scene.settle()?;
    let folder = scene.newest_snapshot().parent().ok_or("a folder")?.to_owned();
    let files = || fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Outcome<Vec<_>>>();
    let first: Vec<_> = files()?.into_iter().map(|path| Ok((fs::read(&path)?, path))).collect::<Outcome<_>>()?;
    assert_eq!(first.len(), 3);
    let another = scene.of_another_patient();
    let old = scene.replace_l1(another).await?;
    for (number, doctor) in (64..).zip(DOCTORS) {
        scene.grant(number, doctor).await?;
    }
    scene.settle()?;
    // As from a backup: the node itself removed them.
    for (bytes, path) in first {
        fs::write(path, bytes)?;
    }
    let compared = scene.compared;
    scene.replace_l1(old).await?;
    assert_eq!(scene.compared, compared, "no snapshot fits the file");
    assert!(scene.record(0).is_some() && scene.record(1).is_some());
    scene.restart().await?;
    assert!(scene.compared > compared, "now the file is of the first history again");
    Ok(())
}

#[tokio::test]
async fn a_changed_byte_or_a_missing_end_is_found() -> Outcome {
    let (folder, settled) = (tempfile::tempdir()?, settled().await?);
    let path = written(folder.path(), &settled)?;
    let whole = fs::read(&path)?;
    let again = loaded(folder.path(), rollup())?;
    assert_eq!(again.block, at(&settled, 9).block);
    assert_eq!(format!("{:?}", again.settled), format!("{settled:?}"));
    for position in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[position] ^= 1 << (position % 8);
        fs::write(&path, &damaged)?;
        assert!(loaded(folder.path(), rollup()).is_err(), "byte {position}");
        fs::write(&path, &whole[..position])?;
        assert!(loaded(folder.path(), rollup()).is_err(), "{position} bytes");
    }
    fs::write(&path, [&whole[..], &[0]].concat())?;
    assert!(matches!(loaded(folder.path(), rollup()), Err(Unusable::Damaged(_))));
    fs::write(&path, &whole)?;
    assert!(loaded(folder.path(), rollup()).is_ok());
    Ok(())
}

/// A file with the right digest.
fn with_digest(content: &[u8]) -> Vec<u8> {
    [content, keccak256(content).as_slice()].concat()
}

/// A digest proves nothing about a file that somebody made.
#[tokio::test]
async fn a_wrong_leaf_with_the_right_digest_is_found_by_the_root() -> Outcome {
    let (folder, settled) = (tempfile::tempdir()?, settled().await?);
    let path = written(folder.path(), &settled)?;
    let whole = fs::read(&path)?;
    let content = &whole[..whole.len() - 32];
    assert_eq!(with_digest(content), whole);
    // The salt of the grants is in the settled leaves, and in the history, which no root covers.
    let salt = [&[0; 31][..], &[9]].concat();
    let position = content.windows(32).position(|window| window == salt).ok_or("a salt")?;
    let mut changed = content.to_vec();
    changed[position + 31] = 10;
    fs::write(&path, with_digest(&changed))?;
    let found = loaded(folder.path(), rollup());
    assert!(matches!(found, Err(Unusable::Damaged(why)) if why.contains("root")), "{found:?}");
    Ok(())
}

#[tokio::test]
async fn another_rollup_or_version_is_not_read() -> Outcome {
    let (folder, settled) = (tempfile::tempdir()?, settled().await?);
    let path = written(folder.path(), &settled)?;
    let others = [
        RollupId { chain_id: 1, ..rollup() },
        RollupId { contract: Address::repeat_byte(8), ..rollup() },
        RollupId { deployed_at: 1, ..rollup() },
        RollupId { block_hash: keccak256([]), ..rollup() },
    ];
    for other in others {
        assert!(matches!(loaded(folder.path(), other), Err(Unusable::OtherRollup)), "{other:?}");
    }
    let whole = fs::read(&path)?;
    // The version of the layout is after the magic, and that of the circuit after the rollup.
    for position in [8 + 3, 12 + 8 + 20 + 8 + 32 + 3] {
        let mut newer = whole[..whole.len() - 32].to_vec();
        newer[position] += 1;
        fs::write(&path, with_digest(&newer))?;
        assert!(matches!(loaded(folder.path(), rollup()), Err(Unusable::OtherFormat)), "{position}");
    }
    let renamed = folder.path().join("snapshots/77.snapshot");
    fs::write(&path, &whole)?;
    Disk::default().rename(&path, &renamed)?;
    assert!(matches!(loaded(folder.path(), rollup()), Err(Unusable::Damaged(_))));
    Ok(())
}

/// A snapshot is there completely or not at all. What was written before it stays, until the next one is durable.
#[tokio::test]
async fn a_power_cut_leaves_whole_snapshots() -> Outcome {
    let settled = settled().await?;
    let journal = Journal::new()?;
    let snapshots = Snapshots::open(journal.disk(), journal.root(), rollup());
    let numbered = |batches| SettledLedger { batches, ..settled.clone() };
    let mut there = Vec::new();
    for batches in 1..=3 {
        journal.begin("write");
        snapshots.write(&at(&numbered(batches), 100 * batches));
        there.push((journal.steps(), batches));
    }
    let check = |steps: usize, image: &Path| -> Result<(), String> {
        let snapshots = Snapshots::open(Disk::default(), image, rollup());
        let mut found = Vec::new();
        for kept in snapshots.newest_first().map_err(|error| error.to_string())? {
            let header = kept.header.map_err(|error| error.to_string())?;
            let snapshot = snapshots.load(&header, &sizes()).map_err(|error| error.to_string())?;
            found.push(snapshot.settled.batches);
        }
        let promised = there.iter().filter(|(written, _)| *written <= steps).map(|(_, batches)| *batches).max();
        match promised {
            Some(newest) if found.first().is_none_or(|found| *found < newest) => Err(format!("{newest}: {found:?}")),
            _ => Ok(()),
        }
    };
    journal.check(&ALL, no_sync, check)?;
    assert_eq!(journal.unneeded_syncs(&ALL, check), [""; 0]);
    Ok(())
}

/// A process was killed while it wrote.
#[tokio::test]
async fn an_unfinished_file_is_removed() -> Outcome {
    let (folder, settled) = (tempfile::tempdir()?, settled().await?);
    written(folder.path(), &settled)?;
    let unfinished = folder.path().join("snapshots/.new-killed");
    fs::write(&unfinished, b"EMR-SNAP")?;
    assert!(loaded(folder.path(), rollup()).is_ok());
    assert!(!unfinished.exists());
    Ok(())
}

#[tokio::test]
async fn the_number_of_files_is_bounded() -> Outcome {
    let (folder, settled) = (tempfile::tempdir()?, settled().await?);
    let snapshots = Snapshots::open(Disk::default(), folder.path(), rollup());
    let numbers = |snapshots: &Snapshots| -> Outcome<Vec<u64>> {
        Ok(snapshots.newest_first()?.iter().map(|kept| kept.batches).collect())
    };
    for batches in 1..=40 {
        snapshots.write(&at(&SettledLedger { batches, ..settled.clone() }, 10 * batches));
    }
    let kept = numbers(&snapshots)?;
    assert!(kept.len() <= 5 && kept[..2] == [40, 39], "{kept:?}");
    // The state was derived from an older one: L1 took the batches of the others back.
    snapshots.derived_from(39);
    assert_eq!(numbers(&snapshots)?[0], 39);
    // A shorter history is written over a longer one.
    snapshots.write(&at(&SettledLedger { batches: 38, ..settled.clone() }, 385));
    assert_eq!(numbers(&snapshots)?[0], 38);
    Ok(())
}

/// One for 32 batches; at an orderly stop, one for each new batch.
#[test]
fn a_snapshot_is_due_after_batches() {
    let folder = tempfile::tempdir().expect("a folder");
    let snapshots = Snapshots::open(Disk::default(), folder.path(), rollup());
    assert!(!snapshots.is_due(31, false) && !snapshots.is_due(0, true));
    assert!(snapshots.is_due(32, false));
    assert!(!snapshots.is_due(64, false) && !snapshots.is_due(64, true), "one is being written");
    snapshots.derived_from(40);
    let snapshots = Snapshots::open(Disk::default(), folder.path(), rollup());
    snapshots.derived_from(40);
    assert!(!snapshots.is_due(40, true) && !snapshots.is_due(41, false) && snapshots.is_due(41, true));
}
