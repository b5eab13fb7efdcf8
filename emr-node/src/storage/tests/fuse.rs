//! A block store that stands still at a chosen call, so that a test can end the process there or do something meanwhile.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use emr_ipfs::{Blockstore, Cid, Codec, StoreFuture};
use tokio::sync::Notify;

/// A call that changes the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Pin,
    Unpin,
    Delete,
}

/// Where a call stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Before,
    After,
}

#[derive(Debug, Default)]
struct Fuse {
    /// The call, the moment, and how many such calls go through first.
    armed: Mutex<Option<(Call, Moment, usize)>>,
    /// Told when a call stands still.
    reached: Notify,
    /// Lets it go on.
    go: Notify,
}

/// Passes every call on to another store.
#[derive(Clone, Debug)]
pub(super) struct FusedStore {
    inner: Arc<dyn Blockstore>,
    fuse: Arc<Fuse>,
}

impl FusedStore {
    pub(super) fn new(inner: Arc<dyn Blockstore>) -> Self {
        Self { inner, fuse: Arc::default() }
    }

    /// The next such call after `passed` ones stands still.
    pub(super) fn arm(&self, call: Call, moment: Moment, passed: usize) {
        *self.fuse.armed.lock().unwrap_or_else(PoisonError::into_inner) = Some((call, moment, passed));
    }

    /// No call stands still.
    pub(super) fn disarm(&self) {
        *self.fuse.armed.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Waits until a call stands still.
    pub(super) async fn reached(&self) {
        self.fuse.reached.notified().await;
    }

    /// Lets the call go on.
    pub(super) fn go(&self) {
        self.fuse.go.notify_one();
    }

    async fn stand_still(&self, call: Call, moment: Moment) {
        let burnt = {
            let mut armed = self.fuse.armed.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *armed {
                Some((of, at, passed)) if (*of, *at) == (call, moment) && *passed > 0 => {
                    *passed -= 1;
                    false
                }
                Some((of, at, _)) if (*of, *at) == (call, moment) => armed.take().is_some(),
                _ => false,
            }
        };
        if burnt {
            self.fuse.reached.notify_one();
            self.fuse.go.notified().await;
        }
    }

    fn fused<'a, T: Send + 'a>(&'a self, call: Call, done: StoreFuture<'a, T>) -> StoreFuture<'a, T> {
        Box::pin(async move {
            self.stand_still(call, Moment::Before).await;
            let done = done.await;
            self.stand_still(call, Moment::After).await;
            done
        })
    }
}

impl Blockstore for FusedStore {
    fn put<'a>(&'a self, codec: Codec, bytes: &'a [u8]) -> StoreFuture<'a, Cid> {
        self.inner.put(codec, bytes)
    }

    fn get<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, Vec<u8>> {
        self.inner.get(cid)
    }

    fn has<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, bool> {
        self.inner.has(cid)
    }

    fn pin<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, ()> {
        self.fused(Call::Pin, self.inner.pin(cid))
    }

    fn unpin<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, ()> {
        self.fused(Call::Unpin, self.inner.unpin(cid))
    }

    fn delete<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, ()> {
        self.fused(Call::Delete, self.inner.delete(cid))
    }

    fn pins(&self) -> StoreFuture<'_, BTreeSet<Cid>> {
        self.inner.pins()
    }
}
