//! The contract of [`Blockstore`], run against every block store.

use std::error::Error;

use emr_core::cid::{BlockMismatch, cid_of};
use emr_ipfs::{Blockstore, Cid, Codec, DagLimits, MAX_BLOCK_BYTES, StoreError, walk};
use ipld_core::cid::multihash::Multihash;
use ipld_core::ipld::Ipld;

/// A DAG-CBOR block that links to `links`.
pub(crate) fn node(name: &str, links: &[Cid]) -> Vec<u8> {
    let links = links.iter().map(|cid| Ipld::Link(*cid)).collect();
    let node = Ipld::Map([("links".into(), Ipld::List(links)), ("name".into(), Ipld::String(name.into()))].into());
    serde_ipld_dagcbor::to_vec(&node).expect("an Ipld value without NaN has an encoding")
}

pub(crate) async fn holds(store: &dyn Blockstore) -> Result<(), Box<dyn Error>> {
    blocks_come_back_as_they_were(store).await?;
    other_addresses_are_refused(store).await?;
    bad_blocks_are_refused(store).await?;
    pins_are_recursive(store).await?;
    pins_need_the_whole_dag(store).await?;
    calls_run_at_once(store).await?;
    deleted_blocks_are_gone(store).await?;
    pinned_blocks_stay(store).await?;
    free_space_is_known(store).await?;
    Ok(())
}

/// A store says how much more it takes, and this is not more than any disk has.
async fn free_space_is_known(store: &dyn Blockstore) -> Result<(), Box<dyn Error>> {
    let free = store.free_space().await?;
    assert!(free.bytes >= MAX_BLOCK_BYTES as u64 && free.bytes < 1 << 60 && free.blocks > 0, "{free:?}");
    Ok(())
}

async fn blocks_come_back_as_they_were(store: &dyn Blockstore) -> Result<(), Box<dyn Error>> {
    for (codec, bytes, address) in [
        (Codec::Raw, b"hello world".to_vec(), "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"),
        (Codec::Raw, Vec::new(), "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"),
        (Codec::DagCbor, vec![0xa0], "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua"),
    ] {
        let cid = cid_of(codec, &bytes);
        assert_eq!(cid.to_string(), address);
        assert!(!store.has(&cid).await?);
        assert!(matches!(store.get(&cid).await, Err(StoreError::NotFound(missing)) if missing == cid));
        for _ in 0..2 {
            assert_eq!(store.put(codec, &bytes).await?, cid);
            assert!(store.has(&cid).await?);
            assert_eq!(store.get(&cid).await?, bytes);
        }
    }
    let largest = vec![7; MAX_BLOCK_BYTES];
    let cid = store.put(Codec::Raw, &largest).await?;
    assert_eq!(store.get(&cid).await?, largest);
    Ok(())
}

/// A CID with the right digest but another version, codec or hash function is refused, even if the store has the block.
async fn other_addresses_are_refused(store: &dyn Blockstore) -> Result<(), Box<dyn Error>> {
    let cid = store.put(Codec::Raw, b"addressed").await?;
    let digest = cid.hash().digest();
    let others = [
        Cid::new_v0(*cid.hash())?,
        Cid::new_v1(0x70, *cid.hash()),
        Cid::new_v1(0x55, Multihash::wrap(0x16, digest)?),
        Cid::new_v1(0x55, Multihash::wrap(0x12, &digest[..20])?),
        Cid::new_v1(0x55, Multihash::wrap(0x00, b"inline")?),
    ];
    for other in others {
        let refused = |error: Option<StoreError>| matches!(error, Some(StoreError::Mismatch(_)));
        assert!(refused(store.get(&other).await.err()), "get {other}");
        assert!(refused(store.has(&other).await.err()), "has {other}");
        assert!(refused(store.pin(&other).await.err()), "pin {other}");
        assert!(refused(store.unpin(&other).await.err()), "unpin {other}");
        assert!(refused(store.delete(&other).await.err()), "delete {other}");
    }
    Ok(())
}

async fn bad_blocks_are_refused(store: &dyn Blockstore) -> Result<(), Box<dyn Error>> {
    let too_large = vec![0; MAX_BLOCK_BYTES + 1];
    assert!(matches!(store.put(Codec::Raw, &too_large).await, Err(StoreError::TooLarge { .. })));
    let deep = vec![0x81; 100_000];
    let left_over = [node("left over", &[]), vec![0]].concat();
    let unsorted = b"\xa2\x62bb\x00\x61a\x00".to_vec();
    let indefinite = vec![0x9f, 0xff];
    for bad in [b"\xffnot cbor".to_vec(), vec![0xa1], deep, left_over, unsorted, indefinite] {
        let cid = cid_of(Codec::DagCbor, &bad);
        let refused = store.put(Codec::DagCbor, &bad).await;
        assert!(matches!(refused, Err(StoreError::NotDagCbor { .. })), "{refused:?} for {} bytes", bad.len());
        assert!(!store.has(&cid).await?);
    }
    Ok(())
}

async fn pins_are_recursive(store: &dyn Blockstore) -> Result<(), Box<dyn Error>> {
    let leaf = store.put(Codec::Raw, b"leaf").await?;
    let left = store.put(Codec::DagCbor, &node("left", &[leaf])).await?;
    let right = store.put(Codec::DagCbor, &node("right", &[leaf, left])).await?;
    let root_block = node("root", &[left, right]);
    let root = store.put(Codec::DagCbor, &root_block).await?;

    let before = store.pins().await?;
    assert!(!before.contains(&root));
    for _ in 0..2 {
        store.pin(&root).await?;
        let mut expected = before.clone();
        expected.insert(root);
        assert_eq!(store.pins().await?, expected);
    }
    let dag = walk(store, &root, &DagLimits::default()).await?;
    assert_eq!(dag.cids, [root, left, right, leaf]);

    assert!(matches!(store.unpin(&leaf).await, Err(StoreError::NotPinned(cid)) if cid == leaf));
    store.unpin(&root).await?;
    assert_eq!(store.pins().await?, before);
    assert!(matches!(store.unpin(&root).await, Err(StoreError::NotPinned(_))));
    assert_eq!(store.get(&root).await?, root_block);
    Ok(())
}

async fn pins_need_the_whole_dag(store: &dyn Blockstore) -> Result<(), Box<dyn Error>> {
    let before = store.pins().await?;
    let missing = cid_of(Codec::Raw, b"nobody has stored this");
    let refused = store.pin(&missing).await;
    assert!(matches!(refused, Err(StoreError::NotFound(cid)) if cid == missing), "{refused:?}");

    let middle = store.put(Codec::DagCbor, &node("middle", &[missing])).await?;
    let root = store.put(Codec::DagCbor, &node("incomplete", &[middle])).await?;
    let refused = store.pin(&root).await;
    assert!(matches!(refused, Err(StoreError::NotFound(cid)) if cid == missing), "{refused:?}");

    let foreign = Cid::new_v1(0x70, *missing.hash());
    let root = store.put(Codec::DagCbor, &node("foreign", &[foreign])).await?;
    let refused = store.pin(&root).await;
    assert!(matches!(refused, Err(StoreError::Mismatch(BlockMismatch::Codec { .. }))), "{refused:?}");
    assert_eq!(store.pins().await?, before);
    Ok(())
}

async fn calls_run_at_once(store: &dyn Blockstore) -> Result<(), Box<dyn Error>> {
    // Sixteen different blocks, each put four times.
    let blocks: Vec<Vec<u8>> = (0..64_u8).map(|i| vec![i % 16; 3000]).collect();
    let puts = blocks.iter().map(|bytes| store.put(Codec::Raw, bytes));
    for (cid, bytes) in futures::future::try_join_all(puts).await?.iter().zip(&blocks) {
        assert_eq!(&store.get(cid).await?, bytes);
    }
    Ok(())
}

async fn deleted_blocks_are_gone(store: &dyn Blockstore) -> Result<(), Box<dyn Error>> {
    let bystander = store.put(Codec::Raw, b"bystander").await?;
    for (codec, bytes) in [(Codec::Raw, b"short-lived".to_vec()), (Codec::DagCbor, node("short-lived", &[bystander]))] {
        let cid = cid_of(codec, &bytes);
        // Deletes a block that was never stored, then one that is stored, then one that was deleted already.
        store.delete(&cid).await?;
        for _ in 0..2 {
            store.put(codec, &bytes).await?;
            for _ in 0..2 {
                store.delete(&cid).await?;
                assert!(!store.has(&cid).await?);
                assert!(matches!(store.get(&cid).await, Err(StoreError::NotFound(missing)) if missing == cid));
            }
        }
    }
    assert_eq!(store.get(&bystander).await?, b"bystander");
    Ok(())
}

async fn pinned_blocks_stay(store: &dyn Blockstore) -> Result<(), Box<dyn Error>> {
    let shared = store.put(Codec::Raw, b"under two roots").await?;
    let first = store.put(Codec::DagCbor, &node("first root", &[shared])).await?;
    let middle = store.put(Codec::DagCbor, &node("middle of the second", &[shared])).await?;
    let second = store.put(Codec::DagCbor, &node("second root", &[middle])).await?;
    store.pin(&first).await?;
    store.pin(&second).await?;
    let pinned = |error: Option<StoreError>| error.is_some_and(|error| error.is_pinned());
    for cid in [first, second, middle, shared] {
        assert!(pinned(store.delete(&cid).await.err()), "{cid}");
        assert!(store.has(&cid).await?);
    }
    store.unpin(&first).await?;
    assert!(pinned(store.delete(&shared).await.err()));
    store.delete(&first).await?;
    walk(store, &second, &DagLimits::default()).await?;
    store.unpin(&second).await?;
    // Links to a block do not keep it. Only a pin does.
    for cid in [shared, second, middle] {
        store.delete(&cid).await?;
        assert!(!store.has(&cid).await?);
    }
    // Pins a root again after a block under it was deleted.
    assert!(matches!(store.pin(&second).await, Err(StoreError::NotFound(_))));
    store.put(Codec::Raw, b"under two roots").await?;
    store.put(Codec::DagCbor, &node("first root", &[shared])).await?;
    store.pin(&first).await?;
    assert!(pinned(store.delete(&shared).await.err()));
    store.unpin(&first).await?;
    Ok(())
}
