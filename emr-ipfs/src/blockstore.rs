//! The joint of this crate.

use std::collections::BTreeSet;
use std::fmt;

use cid::Cid;
use emr_core::Codec;
use futures::future::BoxFuture;

use crate::StoreError;

/// What a [`Blockstore`] call gives: a boxed future, so that `dyn Blockstore` works.
pub type StoreFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Blocks by content address, and pins on the DAGs that must stay.
///
/// A store answers for what it holds itself; it fetches nothing from anybody else. Every store keeps the same contract
/// (one test, run against each of them):
///
/// - Addresses are CIDv1, sha2-256, `raw` or `dag-cbor`; anything else is refused before any work is done.
/// - What `get` returns was hashed again and is the block that the CID names. A store cannot make a caller use wrong bytes.
/// - Kubo keeps blocks by their digest: it has a block under both codecs as soon as it has it under one.
/// - A call that fails leaves the store as it was. Calls may be repeated: a second `put` or `pin` of the same thing
///   changes nothing.
/// - The futures need a Tokio runtime, and may be dropped at any time.
pub trait Blockstore: fmt::Debug + Send + Sync {
    /// Stores a block of at most [`emr_core::cid::MAX_BLOCK_BYTES`] and returns its address once the store holds it durably.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`]; [`StoreError::NotDagCbor`] if `codec` is [`Codec::DagCbor`] and the bytes are not;
    /// [`StoreError::DiskFull`].
    fn put<'a>(&'a self, codec: Codec, bytes: &'a [u8]) -> StoreFuture<'a, Cid>;

    /// The bytes of a block, verified.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Mismatch`] if the store has or sends other bytes under that address (a
    /// `put` of the right bytes repairs a damaged disk).
    fn get<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, Vec<u8>>;

    /// Whether the store says that it holds the block. Only [`get`](Self::get) proves it.
    fn has<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, bool>;

    /// Keeps a block and everything under it. Every block of the DAG was read and verified before this returns.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] with the first block that is missing; [`StoreError::DagLimit`] if the DAG exceeds the default
    /// [`DagLimits`](crate::DagLimits).
    fn pin<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, ()>;

    /// Takes a pin back.
    ///
    /// # Errors
    /// [`StoreError::NotPinned`].
    fn unpin<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, ()>;

    /// Removes a block, durably. A block that is not there counts as removed.
    ///
    /// The caller answers for what it deletes. It must not put or pin a block, or a DAG over it, while it deletes that block.
    /// A store that keeps blocks by their digest removes the block under both codecs.
    ///
    /// # Errors
    /// [`StoreError::Pinned`] if the block is a pinned root or lies under one; it stays then.
    fn delete<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, ()>;

    /// The roots that are pinned.
    fn pins(&self) -> StoreFuture<'_, BTreeSet<Cid>>;
}
