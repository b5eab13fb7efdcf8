//! Blocks, and how much storage each account uses.

use emr_core::{AccountIndex, Cid};
use serde::{Deserialize, Serialize};

use crate::form::{As, CidText};

/// A stored block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockPut {
    /// Its CID.
    #[serde(with = "As::<CidText>")]
    pub cid: Cid,
}

/// Blocks that their uploader gives up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropBlocks {
    /// The blocks, at most [`Self::MOST`].
    pub blocks: Vec<BlockPut>,
}

impl DropBlocks {
    /// How many blocks one request gives up at most.
    pub const MOST: usize = 256;
}

/// What was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlocksDropped {
    /// How many of the blocks no longer take room of the caller's. The others were not the caller's, or are part of a record, or are in use.
    pub dropped: u64,
}

/// An amount of storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageAmount {
    /// Bytes.
    pub bytes: u64,
    /// Blocks.
    pub blocks: u64,
}

impl StorageAmount {
    /// What a node holds of one account in blocks that no operation refers to yet: 2 GiB.
    pub const STAGED: Self = Self { bytes: 2 << 30, blocks: 16_384 };

    /// What the sealed attachments of one record may take, in bytes: 1968 MiB. The record itself is in staging too, 64 MiB at most before its padding
    /// of 12%.
    pub const NEW_ATTACHMENTS: u64 = Self::STAGED.bytes - (80 << 20);
}

/// A writer's share of a patient's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterStorage {
    /// The writer.
    pub account: AccountIndex,
    /// Their use: all versions of records that are not deleted, and records that were returned in the last 30 days, without second copies.
    pub used: StorageAmount,
    /// Their limit.
    pub limit: StorageAmount,
    /// The number of their record slots, with deleted records.
    pub slots: u64,
    /// The limit of record slots.
    pub slot_limit: u64,
}

/// Who uses how much of a patient's space on a node. A deleted record's space becomes free a day after the deletion is settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageView {
    /// The patient.
    pub patient: AccountIndex,
    /// The writers' shares.
    pub writers: Vec<WriterStorage>,
    /// The limit of all writers together.
    pub limit: StorageAmount,
    /// Second copies of rekeyed records, which are outside the writers' shares. A day after a rekey is settled, the old ciphertext is removed.
    pub rekeyed: StorageAmount,
    /// The use by the patient's key directories, which are outside the limits.
    pub directories: StorageAmount,
}
