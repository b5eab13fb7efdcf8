//! Errors of block stores. Each variant calls for another action of the caller.

use std::io;
use std::path::{Path, PathBuf};

use cid::Cid;
use emr_core::{AddressError, cid::BlockMismatch};

/// Why a store's call failed. Nothing is lost or half-written: a failed `put` or `pin` left the store unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store does not hold the block.
    #[error("block {0} is not in this store: ask another node for it")]
    NotFound(Cid),
    /// The bytes are not the block that the CID names (a damaged disk or a lying node), or the kind of CID is not
    /// allowed.
    #[error(transparent)]
    Mismatch(#[from] BlockMismatch),
    /// The block is larger than [`emr_core::cid::MAX_BLOCK_BYTES`].
    #[error("a block of {len} bytes is larger than {max}: split it")]
    TooLarge {
        /// Its size.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// A block with the codec `dag-cbor` is not DAG-CBOR.
    #[error("block {cid} is not DAG-CBOR ({reason}): its writer is broken, do not use it")]
    NotDagCbor {
        /// The block.
        cid: Cid,
        /// What the decoder found.
        reason: String,
    },
    /// A DAG exceeds the limits.
    #[error("the DAG under {root} exceeds {limit}: refuse it; no part of it was pinned")]
    DagLimit {
        /// The root of the walk.
        root: Cid,
        /// The limit that it exceeds.
        limit: String,
    },
    /// An unpin named a block that is not a pinned root.
    #[error("{0} is not pinned in this store (a block under a pinned one is unpinned by unpinning that one)")]
    NotPinned(Cid),
    /// A delete named a block that a pin keeps.
    #[error("{0} is pinned in this store, or lies under a pinned block: unpin that one first; the block stays")]
    Pinned(Cid),
    /// The disk, the quota or the file size limit is exhausted.
    #[error("no space left for {}: free some space or raise the limit, then try again; nothing was lost", path.display())]
    DiskFull {
        /// The file or folder that could not grow.
        path: PathBuf,
    },
    /// Another error of the file system.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The file system's error.
        source: io::Error,
    },
    /// The folder holds something other than a block store of this version.
    #[error("{} is not a block store of this version ({found}): choose an empty folder", path.display())]
    NotAStore {
        /// The folder.
        path: PathBuf,
        /// What was found.
        found: String,
    },
    /// The URL cannot be a Kubo RPC endpoint. It is not shown: it can hold a password.
    #[error("the Kubo RPC address cannot be used ({reason}): give one like http://127.0.0.1:5001")]
    Url {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Plain http to this address is not allowed.
    #[error("the Kubo RPC address cannot be used: {0}")]
    Address(#[from] AddressError),
    /// The node did not answer, or stopped in the middle of an answer. Trying again later can help.
    #[error("the IPFS node at {url} does not answer ({reason}): check that it runs, then try again")]
    Unreachable {
        /// The node.
        url: String,
        /// The reason.
        reason: String,
    },
    /// The node answered with an error.
    #[error("the IPFS node at {url} refused {call} with status {status}: {message}")]
    Refused {
        /// The node.
        url: String,
        /// The RPC.
        call: &'static str,
        /// The HTTP status.
        status: u16,
        /// The node's message, shortened.
        message: String,
    },
    /// The node's answer does not fit the call.
    #[error("the IPFS node at {url} gave no valid answer to {call} ({reason}): is this the RPC port of a Kubo node?")]
    BadAnswer {
        /// The node.
        url: String,
        /// The RPC.
        call: &'static str,
        /// What is wrong with the answer.
        reason: String,
    },
}

impl StoreError {
    /// The store does not have the block. Another store may have it.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }

    /// A pin keeps the block.
    pub fn is_pinned(&self) -> bool {
        matches!(self, Self::Pinned(_))
    }

    /// The store's disk is full.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }

    /// The node is down or unreachable: the same call may succeed later.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// The store returned wrong bytes: its disk is damaged, or it lies.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Mismatch(BlockMismatch::Digest(_) | BlockMismatch::TooLarge { .. }))
    }

    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::DiskFull { path }
            }
            _ => Self::Io { path, source },
        }
    }
}
