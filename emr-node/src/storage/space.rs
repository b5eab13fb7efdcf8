//! How much space is left: on the disk of the node's folder, and in the block store, which may be on another disk.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Mutex as Turns;

use crate::{engine::Engine, mempool::Usage};

/// How long an answer of the disks is used. Blocks that are uploaded meanwhile are subtracted.
const FRESH: Duration = Duration::from_secs(1);

/// What is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Free {
    /// Bytes and files on the disk of the node's folder.
    pub(crate) node: Usage,
    /// Bytes and blocks in the block store.
    pub(crate) store: Usage,
}

impl Free {
    /// What there is room for on both.
    pub(crate) fn both(&self) -> Usage {
        Usage { bytes: self.node.bytes.min(self.store.bytes), blocks: self.node.blocks.min(self.store.blocks) }
    }
}

/// What was free when the disks were last asked, without the blocks that were uploaded since.
#[derive(Debug, Default)]
pub(crate) struct Space {
    known: Mutex<Option<(Instant, Free)>>,
    asking: Turns<()>,
}

impl Space {
    /// Disks with more space than any test needs.
    #[cfg(test)]
    pub(crate) fn plenty() -> Self {
        let much = Usage { bytes: u64::MAX, blocks: u64::MAX };
        Self { known: Mutex::new(Some((Instant::now(), Free { node: much, store: much }))), ..Self::default() }
    }

    /// Asks again next time.
    #[cfg(test)]
    pub(crate) fn forget(&self) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What is free. Before the first [`Self::ask`], nothing.
    pub(crate) fn free(&self) -> Free {
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.map_or(Free { node: Usage::default(), store: Usage::default() }, |(_, free)| free)
    }

    /// Subtracts a block that is about to be stored.
    pub(crate) fn take(&self, bytes: u64) {
        if let Some((_, free)) = &mut *self.known.lock().unwrap_or_else(PoisonError::into_inner) {
            for free in [&mut free.node, &mut free.store] {
                *free = free.without(Usage { bytes, blocks: 1 });
            }
        }
    }

    /// Asks the disks, unless they answered just now. If one of them does not answer, nothing is free on it: then the node takes what it takes
    /// on a full disk.
    pub(crate) async fn ask(engine: &Engine) {
        let space = &engine.space;
        let is_fresh = || {
            let known = space.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.is_some_and(|(asked, _)| asked.elapsed() < FRESH)
        };
        if is_fresh() {
            return;
        }
        let _turn = space.asking.lock().await;
        if is_fresh() {
            return;
        }
        let store = engine.blockstore.free_space().await.map(|free| Usage { bytes: free.bytes, blocks: free.blocks });
        let node = engine.mempool.free_space().map(|free| Usage { bytes: free.bytes, blocks: free.files });
        let store = store.inspect_err(|error| tracing::warn!(%error, "the block store does not say how much is free"));
        let node = node.inspect_err(|error| tracing::warn!(%error, "the disk does not say how much is free"));
        let free = Free { node: node.unwrap_or_default(), store: store.unwrap_or_default() };
        // Now, and not before the question: if a disk takes long to answer, those who wait do not all ask it again.
        *space.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), free));
    }
}
