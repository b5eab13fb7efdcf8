//! Snapshots of the settled state in the node's folder, so that a start does not begin with the first batch.
//!
//! - [`file`]: a snapshot as bytes;
//! - [`spacing`]: which snapshots are kept;
//! - [`folder`]: the files, and when a new one is written.
//!
//! A snapshot is a cache. If it is missing, damaged or of another chain, the node takes an older one, and at last derives everything.

mod file;
mod folder;
mod spacing;

use std::io;

use alloy::primitives::{Address, B256};
use emr_core::{StateRoot, UnixTime};
use emr_rollup::primitive::field::Fr;

use crate::{derivation::SettledLedger, l1::follow::Position};

pub(crate) use self::folder::{Kept, Snapshots};

/// Which rollup a snapshot belongs to. A chain that was restarted from its beginning has another block of the deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RollupId {
    pub(crate) chain_id: u64,
    pub(crate) contract: Address,
    pub(crate) deployed_at: u64,
    /// The hash of the block of the deployment.
    pub(crate) block_hash: B256,
}

/// What a snapshot says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) rollup: RollupId,
    /// The circuit version of the trees.
    pub(crate) version: u32,
    /// Number of settled batches.
    pub(crate) batches: u64,
    /// Time of the last of them.
    pub(crate) last_time: UnixTime,
    /// Its commitment.
    pub(crate) commitment: Fr,
    /// The state root after it.
    pub(crate) root: StateRoot,
    /// The block of L1 at which this was the settled state.
    pub(crate) block: Position,
}

/// The settled state at a block of L1.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) settled: SettledLedger,
    pub(crate) block: Position,
}

/// Why a snapshot is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("it cannot be read: {0}")]
    Disk(#[source] io::Error),
    #[error("another version of this program wrote it")]
    OtherFormat,
    #[error("it belongs to another rollup")]
    OtherRollup,
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    #[error("L1 was reorganised: block {0} is another one now")]
    Reorganised(u64),
    #[error("L1 says that another state follows its batch")]
    OtherState,
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData => Self::Damaged("it holds something that no snapshot holds"),
            io::ErrorKind::UnexpectedEof => Self::Damaged("it ends too early"),
            _ => Self::Disk(error),
        }
    }
}
