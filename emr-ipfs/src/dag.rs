//! Walking the links of a DAG that somebody else made.

use std::collections::BTreeSet;
use std::convert::Infallible;

use cid::Cid;
use emr_core::cid::{Codec, codec_of};
use ipld_core::serde::ExtractLinks;
use serde_ipld_dagcbor::DecodeError;

use crate::{Blockstore, StoreError};

/// How much of a DAG is walked before it is refused. Every block counts once, however often it is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DagLimits {
    /// Blocks, the root included.
    pub blocks: usize,
    /// Links from the root to the farthest block; 0 allows the root alone.
    pub depth: usize,
    /// Bytes of all blocks together.
    pub bytes: u64,
}

impl Default for DagLimits {
    /// 16,384 blocks, 16 links deep, 8 GiB: more than any record with attachments, little enough to walk.
    fn default() -> Self {
        Self { blocks: 16_384, depth: 16, bytes: 8 << 30 }
    }
}

/// A DAG that was walked to its end: every block was there and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dag {
    /// Its blocks, each once: the root, then what the root links to, and so on.
    pub cids: Vec<Cid>,
    /// Bytes of all blocks together.
    pub bytes: u64,
}

/// The links of a DAG-CBOR block, in the order in which they stand there, repetitions included.
///
/// # Errors
/// [`StoreError::NotDagCbor`]: not well-formed, not in the strict form, nested deeper than 256, or with bytes left over.
pub fn links(cid: &Cid, bytes: &[u8]) -> Result<Vec<Cid>, StoreError> {
    let extracted: Result<ExtractLinks<64>, DecodeError<Infallible>> = serde_ipld_dagcbor::from_slice(bytes);
    extracted
        .map(ExtractLinks::into_vec)
        .map_err(|reason| StoreError::NotDagCbor { cid: *cid, reason: reason.to_string() })
}

/// Reads every block under `root` from `store`, level by level, and verifies it. Memory is one block and the list of addresses.
///
/// # Errors
/// [`StoreError::DagLimit`] as soon as a limit is certain to be exceeded; [`StoreError::NotFound`] for a missing block;
/// [`StoreError::Mismatch`] for a wrong one, and for a link whose kind of CID is not used here.
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
