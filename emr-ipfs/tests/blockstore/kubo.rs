//! The block store on a real Kubo node. Skipped on machines without Kubo (see docs/testing.md).

use std::fs;
use std::path::{Path, PathBuf};

use crate::contract::node;
use emr_ipfs::{Blockstore, Codec, KuboStore, StoreError};
use emr_testkit::part::Kubo;
use serde_json::Value;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn block_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(block_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "data") {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn the_contract_holds_on_a_real_node() -> Outcome {
    let Some(mut kubo) = Kubo::start_or_skip()? else { return Ok(()) };
    let store = KuboStore::new(kubo.url())?;
    assert!(store.version().await?.starts_with("0."));
    assert!(store.is_synced().await?);
    crate::contract::holds(&store).await?;

    // Blocks and pins survive a crash of the node.
    let block = node("kept", &[]);
    let cid = store.put(Codec::DagCbor, &block).await?;
    store.pin(&cid).await?;
    kubo.kill();
    for down in [store.get(&cid).await.err(), store.pins().await.err(), store.version().await.err()] {
        let down = down.unwrap();
        assert!(down.is_unreachable(), "{down}");
        assert!(down.to_string().contains("check that it runs"));
    }
    kubo.restart()?;
    let store = KuboStore::new(kubo.url())?;
    assert_eq!(store.get(&cid).await?, block);
    assert!(store.pins().await?.contains(&cid));

    // The caller repeats a delete whose answer was lost.
    let unheard = store.put(Codec::Raw, b"unheard").await?;
    store.delete(&unheard).await?;
    kubo.kill();
    assert!(store.delete(&unheard).await.unwrap_err().is_unreachable());
    kubo.restart()?;
    let store = KuboStore::new(kubo.url())?;
    store.delete(&unheard).await?;
    assert!(!store.has(&unheard).await?);
    assert!(store.delete(&cid).await.unwrap_err().is_pinned());

    // A block was damaged on the node's disk. Kubo serves it, but the store refuses it.
    let damaged = block_files(&kubo.repository().join("blocks"))
        .into_iter()
        .find(|path| fs::read(path).unwrap() == block)
        .unwrap();
    fs::write(&damaged, node("lost", &[]))?;
    let read = store.get(&cid).await;
    assert!(read.as_ref().is_err_and(StoreError::is_corrupt), "{read:?}");
    Ok(())
}

/// Kubo says how much its disk takes. `Datastore.StorageMax` counts too, although Kubo takes more.
#[tokio::test]
async fn a_node_says_how_much_it_takes() -> Outcome {
    let Some(mut kubo) = Kubo::start_or_skip()? else { return Ok(()) };
    let limit_to = |kubo: &mut Kubo, size: &str| -> Outcome {
        let config = kubo.repository().join("config");
        kubo.kill();
        let mut changed: Value = serde_json::from_str(&fs::read_to_string(&config)?)?;
        changed["Datastore"]["StorageMax"] = size.into();
        fs::write(&config, changed.to_string())?;
        Ok(kubo.restart()?)
    };
    limit_to(&mut kubo, "100PB")?;
    let (disk, free) =
        (emr_durable::FreeSpace::of(kubo.repository())?, KuboStore::new(kubo.url())?.free_space().await?);
    // Others use the disk meanwhile.
    assert!(free.bytes.abs_diff(disk.bytes) < disk.bytes / 4, "{free:?} {disk:?}");
    assert!(free.blocks.abs_diff(disk.files) < disk.files / 4, "{free:?} {disk:?}");
    limit_to(&mut kubo, "8MB")?;
    let store = KuboStore::new(kubo.url())?;
    let before = store.free_space().await?.bytes;
    assert!((4_000_000..=8_000_000).contains(&before), "{before}");
    store.put(Codec::Raw, &[7; 1 << 20]).await?;
    let after = store.free_space().await?.bytes;
    assert!(after <= before - (1 << 20), "{before} {after}");
    Ok(())
}
