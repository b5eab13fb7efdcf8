//! Walks the links of a DAG that someone else made.

use std::collections::BTreeSet;
use std::convert::Infallible;

use cid::Cid;
use emr_core::cid::{Codec, codec_of};
use ipld_core::serde::ExtractLinks;
use serde_ipld_dagcbor::DecodeError;

use crate::{Blockstore, StoreError};

/// The largest DAG that is walked. Every block counts once, even if it is linked several times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DagLimits {
    /// The number of blocks, the root included.
    pub blocks: usize,
    /// The number of links from the root to the farthest block; 0 allows only the root.
    pub depth: usize,
    /// Bytes of all blocks together.
    pub bytes: u64,
}

impl Default for DagLimits {
    /// 16,384 blocks, 16 links deep, 8 GiB: more than any record with attachments needs, and few enough to walk.
    fn default() -> Self {
        Self { blocks: 16_384, depth: 16, bytes: 8 << 30 }
    }
}

/// A DAG that was walked completely. Every block was there and was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dag {
    /// Its blocks, each once: the root, then the blocks that the root links to, and so on.
    pub cids: Vec<Cid>,
    /// Bytes of all blocks together.
    pub bytes: u64,
}

/// The links of a DAG-CBOR block, in the order of the bytes, with repetitions.
///
/// # Errors
/// Returns [`StoreError::NotDagCbor`] if the bytes are malformed, not in the strict form, nested deeper than 256, or
/// followed by other bytes.
pub fn links(cid: &Cid, bytes: &[u8]) -> Result<Vec<Cid>, StoreError> {
    let extracted: Result<ExtractLinks<64>, DecodeError<Infallible>> = serde_ipld_dagcbor::from_slice(bytes);
    extracted
        .map(ExtractLinks::into_vec)
        .map_err(|reason| StoreError::NotDagCbor { cid: *cid, reason: reason.to_string() })
}

/// Reads and verifies every block under `root` from `store`, level by level. Holds one block and the list of addresses
/// in memory.
///
/// # Errors
/// Returns [`StoreError::DagLimit`] as soon as a limit is certain to be exceeded, [`StoreError::NotFound`] for a
/// missing block, and [`StoreError::Mismatch`] for a wrong block or for a link whose kind of CID is not allowed.
pub async fn walk(store: &dyn Blockstore, root: &Cid, limits: &DagLimits) -> Result<Dag, StoreError> {
    let exceeded = |limit: String| StoreError::DagLimit { root: *root, limit };
    let mut seen = BTreeSet::from([*root]);
    let mut dag = Dag { cids: Vec::new(), bytes: 0 };
    let mut level = vec![*root];
    for depth in 0.. {
        if level.is_empty() {
            break;
        }
        if depth > limits.depth {
            return Err(exceeded(format!("a depth of {} links", limits.depth)));
        }
        let mut next = Vec::new();
        for cid in level {
            let codec = codec_of(&cid)?;
            let bytes = store.get(&cid).await?;
            dag.cids.push(cid);
            dag.bytes += bytes.len() as u64;
            if dag.bytes > limits.bytes {
                return Err(exceeded(format!("{} bytes", limits.bytes)));
            }
            if codec == Codec::DagCbor {
                for link in links(&cid, &bytes)? {
                    if seen.insert(link) {
                        next.push(link);
                    }
                }
            }
            if seen.len() > limits.blocks {
                return Err(exceeded(format!("{} blocks", limits.blocks)));
            }
        }
        level = next;
    }
    Ok(dag)
}
