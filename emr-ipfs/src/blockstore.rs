//! The [`Blockstore`] trait, which every backend implements.

use std::collections::BTreeSet;
use std::fmt;

use cid::Cid;
use emr_core::Codec;
use futures::future::BoxFuture;

use crate::StoreError;

/// The result of a [`Blockstore`] call: a boxed future, so that `dyn Blockstore` works.
pub type StoreFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Blocks by content address, and pins on the DAGs that must be kept.
///
/// A store answers only for its own blocks. It never fetches a block from elsewhere. Every store obeys the same
/// contract (one test, run against each store):
///
/// - Addresses are CIDv1, sha2-256, `raw` or `dag-cbor`. Any other address is refused before any work is done.
/// - `get` hashes the bytes again and returns only the block that the CID names. A store cannot give wrong bytes to a
///   caller.
/// - Kubo keeps blocks by their digest. If it has a block under one codec, it has it under both.
/// - A call that fails leaves the store unchanged. Calls can be repeated: a second `put` or `pin` of the same CID
///   changes nothing.
/// - The futures need a Tokio runtime, and may be dropped at any time.
pub trait Blockstore: fmt::Debug + Send + Sync {
    /// Stores a block of at most [`emr_core::cid::MAX_BLOCK_BYTES`] and returns its address once the store holds it
    /// durably.
    ///
    /// # Errors
    /// Returns [`StoreError::TooLarge`] for a larger block, [`StoreError::NotDagCbor`] if `codec` is [`Codec::DagCbor`]
    /// and the bytes are not, and [`StoreError::DiskFull`] if there is no space.
    fn put<'a>(&'a self, codec: Codec, bytes: &'a [u8]) -> StoreFuture<'a, Cid>;

    /// Returns the bytes of a block, verified.
    ///
    /// # Errors
    /// Returns [`StoreError::NotFound`] if the store does not have the block, and [`StoreError::Mismatch`] if it has or
    /// sends other bytes under that address. (A `put` of the right bytes repairs a damaged disk.)
    fn get<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, Vec<u8>>;

    /// Whether the store claims to hold the block. Only [`get`](Self::get) proves it.
    fn has<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, bool>;

    /// Keeps a block and everything under it. Reads and verifies every block of the DAG before it returns.
    ///
    /// # Errors
    /// Returns [`StoreError::NotFound`] with the first missing block, and [`StoreError::DagLimit`] if the DAG exceeds
    /// the default [`DagLimits`](crate::DagLimits).
    fn pin<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, ()>;

    /// Removes a pin. The blocks stay.
    ///
    /// # Errors
    /// Returns [`StoreError::NotPinned`] if the block is not a pinned root.
    fn unpin<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, ()>;

    /// Removes a block, durably. Succeeds if the block is not there.
    ///
    /// The caller must be sure that nothing needs the block. It must not put or pin the block, or a DAG over it, at the
    /// same time. A store that keeps blocks by their digest removes the block under both codecs.
    ///
    /// # Errors
    /// Returns [`StoreError::Pinned`] if the block is a pinned root or lies under one. The block then stays.
    fn delete<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, ()>;

    /// The pinned roots.
    fn pins(&self) -> StoreFuture<'_, BTreeSet<Cid>>;

    /// How much more the store takes. Others may use the same disk, so this is no promise.
    ///
    /// # Errors
    /// Returns [`StoreError::Io`] or [`StoreError::Unreachable`] if nobody says.
    fn free_space(&self) -> StoreFuture<'_, FreeSpace>;
}

/// How much more a block store takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeSpace {
    /// Bytes of blocks.
    pub bytes: u64,
    /// Blocks, each with a pin. `u64::MAX` if there is no limit, or nobody says.
    pub blocks: u64,
}
