//! The block store on disk: the contract, failing disks and killed processes.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::contract::node;
use emr_ipfs::{Blockstore, Cid, Codec, DagLimits, DiskStore, MAX_BLOCK_BYTES, StoreError, walk};
use emr_testkit::again::{Again, job};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Every file under a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn block_file(folder: &Path, cid: &Cid) -> PathBuf {
    let name = cid.to_string();
    files(&folder.join("blocks")).into_iter().find(|path| path.ends_with(&name)).unwrap()
}

#[tokio::test]
async fn the_contract_holds() -> Outcome {
    let folder = tempfile::tempdir()?;
    crate::contract::holds(&DiskStore::open(folder.path())?).await
}

#[tokio::test]
async fn blocks_and_pins_survive_reopening() -> Outcome {
    let folder = tempfile::tempdir()?;
    let block = node("kept", &[]);
    let cid = {
        let store = DiskStore::open(folder.path().join("new/store"))?;
        let cid = store.put(Codec::DagCbor, &block).await?;
        store.pin(&cid).await?;
        cid
    };
    let store = DiskStore::open(folder.path().join("new/store"))?;
    assert_eq!(store.get(&cid).await?, block);
    assert_eq!(store.pins().await?.into_iter().collect::<Vec<_>>(), [cid]);
    Ok(())
}

#[tokio::test]
async fn a_damaged_block_is_found_and_repaired() -> Outcome {
    let folder = tempfile::tempdir()?;
    let store = DiskStore::open(folder.path())?;
    let block = vec![9; 5000];
    let cid = store.put(Codec::Raw, &block).await?;
    let path = block_file(folder.path(), &cid);
    for damage in
        [Vec::new(), block[..4999].to_vec(), [&block[..], &[9]].concat(), vec![8; 5000], vec![9; MAX_BLOCK_BYTES + 9]]
    {
        fs::write(&path, damage)?;
        let read = store.get(&cid).await;
        assert!(read.as_ref().is_err_and(StoreError::is_corrupt), "{read:?}");
        assert!(store.pin(&cid).await.is_err_and(|error| error.is_corrupt()));
        assert_eq!(store.put(Codec::Raw, &block).await?, cid);
        assert_eq!(store.get(&cid).await?, block);
    }
    // A file of a terabyte is not read into memory.
    fs::File::create(&path)?.set_len(1 << 40)?;
    assert!(store.get(&cid).await.is_err_and(|error| error.is_corrupt()));
    Ok(())
}

#[tokio::test]
async fn unfinished_files_are_removed_unless_the_store_is_in_use() -> Outcome {
    let folder = tempfile::tempdir()?;
    let first = DiskStore::open(folder.path())?;
    let unfinished = folder.path().join("incoming/.tmpHalf");
    fs::write(&unfinished, "half a blo")?;
    let second = DiskStore::open(folder.path())?;
    assert!(unfinished.exists(), "the first process may be writing it");
    let cid = second.put(Codec::Raw, b"shared").await?;
    assert_eq!(first.get(&cid).await?, b"shared");

    drop((first, second));
    let store = DiskStore::open(folder.path())?;
    assert!(!unfinished.exists());
    assert_eq!(store.get(&cid).await?, b"shared");
    Ok(())
}

#[test]
fn a_folder_with_something_else_in_it_is_left_alone() -> Outcome {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("letter.txt"), "Dear sir")?;
    let refused = DiskStore::open(folder.path());
    assert!(matches!(&refused, Err(StoreError::NotAStore { .. })), "{refused:?}");
    assert_eq!(files(folder.path()).len(), 1);

    let folder = tempfile::tempdir()?;
    drop(DiskStore::open(folder.path())?);
    for other in ["emr-blockstore 2\n", "", "emr-blockstore 1\nand more"] {
        fs::write(folder.path().join("version"), other)?;
        assert!(matches!(DiskStore::open(folder.path()), Err(StoreError::NotAStore { .. })), "{other:?}");
    }
    let file = folder.path().join("version");
    assert!(matches!(DiskStore::open(file), Err(StoreError::Io { .. })));
    Ok(())
}

#[test]
fn an_interrupted_creation_is_completed() -> Outcome {
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("incoming"))?;
    fs::write(folder.path().join("incoming/.tmpVersion"), "emr-blo")?;
    fs::write(folder.path().join("lock"), "")?;
    drop(DiskStore::open(folder.path())?);
    drop(DiskStore::open(folder.path())?);
    Ok(())
}

/// `RLIMIT_FSIZE` makes a write fail half-way with EFBIG, like a full disk with ENOSPC.
#[cfg(unix)]
#[tokio::test]
async fn a_full_disk_loses_nothing() -> Outcome {
    let kept = node("kept", &[]);
    let large = vec![1; MAX_BLOCK_BYTES];
    if let Some(folder) = job() {
        let store = DiskStore::open(&folder)?;
        let refused = store.put(Codec::Raw, &large).await;
        assert!(refused.as_ref().is_err_and(StoreError::is_disk_full), "{refused:?}");
        assert!(refused.unwrap_err().to_string().contains("free some space"));
        assert_eq!(files(&Path::new(&folder).join("incoming")).len(), 0);
        // A block that fits is still stored.
        let cid = store.put(Codec::DagCbor, &kept).await?;
        store.pin(&cid).await?;
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let store = DiskStore::open(folder.path())?;
    let before = store.put(Codec::Raw, b"before").await?;
    let child = Again::new("disk::a_full_disk_loses_nothing", folder.path()).with_files_up_to(32).output()?;
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));

    let cid = emr_core::cid::cid_of(Codec::DagCbor, &kept);
    assert_eq!(store.get(&cid).await?, kept);
    assert_eq!(store.get(&before).await?, b"before");
    assert!(store.pins().await?.contains(&cid));
    let refused = emr_core::cid::cid_of(Codec::Raw, &large);
    assert!(!store.has(&refused).await?);
    store.put(Codec::Raw, &large).await?;
    assert_eq!(store.get(&refused).await?, large);
    Ok(())
}

/// kill -9 at any point: all acknowledged blocks are there, and nothing is half-written.
#[cfg(unix)]
#[tokio::test]
async fn a_killed_writer_keeps_acknowledged_blocks() -> Outcome {
    if let Some(folder) = job() {
        let store = DiskStore::open(&folder)?;
        let run = std::process::id();
        for i in 0_u32.. {
            let leaf = store
                .put(Codec::Raw, &[run.to_be_bytes(), i.to_be_bytes()].concat().repeat(1 + (i as usize % 9) * 1000))
                .await?;
            let root = store.put(Codec::DagCbor, &node("root", &[leaf])).await?;
            store.pin(&root).await?;
            let mut out = std::io::stdout().lock();
            writeln!(out, "stored {root}")?;
            out.flush()?;
        }
    }
    let folder = tempfile::tempdir()?;
    let mut acknowledged: Vec<Cid> = Vec::new();
    for round in 1..=6 {
        let mut child = Again::new("disk::a_killed_writer_keeps_acknowledged_blocks", folder.path()).start()?;
        for _ in 0..round * 3 {
            acknowledged.push(child.next("stored")?.parse()?);
        }
        for cid in child.kill("stored")? {
            acknowledged.push(cid.parse()?);
        }
        let store = DiskStore::open(folder.path())?;
        assert_eq!(files(&folder.path().join("incoming")).len(), 0);
        let pins = store.pins().await?;
        for root in &acknowledged {
            assert!(pins.contains(root));
        }
        // Every named file is complete, acknowledged or not, and so is the DAG of every pin.
        for path in files(&folder.path().join("blocks")) {
            store.get(&path.file_name().unwrap().to_str().unwrap().parse()?).await?;
        }
        for root in &pins {
            walk(&store, root, &DagLimits::default()).await?;
        }
    }
    assert!(acknowledged.len() >= 60, "{}", acknowledged.len());
    Ok(())
}
