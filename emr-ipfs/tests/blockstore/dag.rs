//! Walks of DAGs that someone else made.

use std::collections::BTreeSet;

use crate::contract::node;
use emr_ipfs::{Blockstore, Cid, Codec, DagLimits, DiskStore, StoreError, links, walk};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn store() -> (tempfile::TempDir, DiskStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = DiskStore::open(folder.path()).unwrap();
    (folder, store)
}

async fn limit(store: &DiskStore, root: &Cid, limits: DagLimits) -> Option<String> {
    match walk(store, root, &limits).await {
        Ok(_) => None,
        Err(StoreError::DagLimit { limit, .. }) => Some(limit),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn every_limit_holds_exactly() -> Outcome {
    let (_folder, store) = store();
    let leaf = store.put(Codec::Raw, &[0; 1000]).await?;
    let inner = store.put(Codec::DagCbor, &node("inner", &[leaf])).await?;
    let root = store.put(Codec::DagCbor, &node("root", &[inner, leaf])).await?;
    let dag = walk(&store, &root, &DagLimits::default()).await?;
    assert_eq!(dag.cids.len(), 3);
    let exact = DagLimits { blocks: 3, depth: 1, bytes: dag.bytes };
    assert_eq!(limit(&store, &root, exact).await, None);
    for (limits, named) in [
        (DagLimits { blocks: 2, ..exact }, "2 blocks".to_owned()),
        (DagLimits { depth: 0, ..exact }, "a depth of 0 links".to_owned()),
        (DagLimits { bytes: dag.bytes - 1, ..exact }, format!("{} bytes", dag.bytes - 1)),
    ] {
        assert_eq!(limit(&store, &root, limits).await, Some(named));
    }
    Ok(())
}

/// Forty levels, each with two links to the same block: 2^40 paths but only 41 blocks.
#[tokio::test]
async fn a_diamond_chain_is_walked_once() -> Outcome {
    let (_folder, store) = store();
    let mut root = store.put(Codec::Raw, b"end").await?;
    for _ in 0..40 {
        root = store.put(Codec::DagCbor, &node("diamond", &[root, root])).await?;
    }
    let limits = DagLimits { depth: 40, ..DagLimits::default() };
    assert_eq!(walk(&store, &root, &limits).await?.cids.len(), 41);
    Ok(())
}

/// A block with more links than the limit is refused before the linked blocks are fetched. (They do not exist.)
#[tokio::test]
async fn a_wide_block_is_refused_before_its_links_are_followed() -> Outcome {
    let (_folder, store) = store();
    let many: Vec<Cid> = (0..20_000_u32).map(|i| emr_core::cid::cid_of(Codec::Raw, &i.to_be_bytes())).collect();
    let root = store.put(Codec::DagCbor, &node("wide", &many)).await?;
    assert!(matches!(store.pin(&root).await, Err(StoreError::DagLimit { .. })));
    assert!(store.pins().await?.is_empty());
    Ok(())
}

#[test]
fn links_are_found_at_any_place() {
    let (a, b) = (emr_core::cid::cid_of(Codec::Raw, b"a"), emr_core::cid::cid_of(Codec::Raw, b"b"));
    let inner = serde_ipld_dagcbor::to_vec(&vec![vec![a], vec![], vec![b, a]]).unwrap();
    let cid = emr_core::cid::cid_of(Codec::DagCbor, &inner);
    assert_eq!(links(&cid, &inner).unwrap(), [a, b, a]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// The decoder never panics.
    #[test]
    fn any_bytes_are_links_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let cid = emr_core::cid::cid_of(Codec::DagCbor, &bytes);
        let _ = links(&cid, &bytes);
    }
}

/// A walk finds exactly the blocks that can be reached, each once.
#[test]
fn a_walk_finds_the_reachable_blocks() -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let (_folder, store) = store();
    let edges = prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..4), 1..10);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(12));
    runner.run(&edges, |edges| {
        runtime.block_on(async {
            // Block i links only to earlier blocks, because nobody knows the hash of a later one.
            let mut cids: Vec<Cid> = Vec::new();
            let mut reach: Vec<BTreeSet<Cid>> = Vec::new();
            for (i, targets) in edges.iter().enumerate() {
                let targets: Vec<usize> =
                    if i == 0 { Vec::new() } else { targets.iter().map(|index| index.index(i)).collect() };
                let linked: Vec<Cid> = targets.iter().map(|&target| cids[target]).collect();
                let cid = store.put(Codec::DagCbor, &node(&i.to_string(), &linked)).await.unwrap();
                let mut reached: BTreeSet<Cid> = targets.iter().flat_map(|&target| reach[target].clone()).collect();
                reached.insert(cid);
                cids.push(cid);
                reach.push(reached);
            }
            let dag = walk(&store, cids.last().unwrap(), &DagLimits::default()).await.unwrap();
            let found: BTreeSet<Cid> = dag.cids.iter().copied().collect();
            prop_assert_eq!(found.len(), dag.cids.len());
            prop_assert_eq!(&found, reach.last().unwrap());
            Ok(())
        })
    })?;
    Ok(())
}
