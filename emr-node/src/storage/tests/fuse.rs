//! A block store that stops at a chosen call. A test can then end the process, or do something else before the call
//! continues. The store can also have a limited size.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use emr_core::cid::cid_of;
use emr_ipfs::{Blockstore, Cid, Codec, FreeSpace, StoreError, StoreFuture};
use tokio::sync::Notify;

/// A call that changes the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Pin,
    Unpin,
    Delete,
}

/// Whether a call stops before or after its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Before,
    After,
}

#[derive(Debug, Default)]
struct Fuse {
    /// The call, the moment, and how many such calls pass first.
    armed: Mutex<Option<(Call, Moment, usize)>>,
    /// Notified when a call has stopped.
    reached: Notify,
    /// Lets the stopped call continue.
    go: Notify,
}

/// A store of limited size: what is left, and the sizes of the blocks since it was limited.
#[derive(Debug)]
struct Limited {
    left: FreeSpace,
    sizes: BTreeMap<Cid, u64>,
}

/// Forwards every call to another store.
#[derive(Clone, Debug)]
pub(super) struct FusedStore {
    inner: Arc<dyn Blockstore>,
    fuse: Arc<Fuse>,
    limited: Arc<Mutex<Option<Limited>>>,
}

impl FusedStore {
    pub(super) fn new(inner: Arc<dyn Blockstore>) -> Self {
        Self { inner, fuse: Arc::default(), limited: Arc::default() }
    }

    /// From now on, the store takes only so much more.
    pub(super) fn limit(&self, left: FreeSpace) {
        *self.limited() = Some(Limited { left, sizes: BTreeMap::new() });
    }

    fn limited(&self) -> MutexGuard<'_, Option<Limited>> {
        self.limited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes room for a block. Returns whether there is room.
    fn takes(&self, cid: Cid, size: u64) -> bool {
        let mut limited = self.limited();
        let Some(Limited { left, sizes }) = &mut *limited else { return true };
        let Entry::Vacant(new) = sizes.entry(cid) else { return true };
        let rest = (left.bytes.checked_sub(size), left.blocks.checked_sub(1));
        let Some((bytes, blocks)) = rest.0.zip(rest.1) else { return false };
        *left = FreeSpace { bytes, blocks };
        new.insert(size);
        true
    }

    /// Stops the next such call after `passed` calls.
    pub(super) fn arm(&self, call: Call, moment: Moment, passed: usize) {
        *self.fuse.armed.lock().unwrap_or_else(PoisonError::into_inner) = Some((call, moment, passed));
    }

    /// Stops no further call.
    pub(super) fn disarm(&self) {
        *self.fuse.armed.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Waits until a call has stopped.
    pub(super) async fn reached(&self) {
        self.fuse.reached.notified().await;
    }

    /// Lets the stopped call continue.
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
        if self.takes(cid_of(codec, bytes), bytes.len() as u64) {
            self.inner.put(codec, bytes)
        } else {
            Box::pin(async { Err(StoreError::DiskFull { path: "the limited store".into() }) })
        }
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
        if let Some(Limited { left, sizes }) = &mut *self.limited()
            && let Some(size) = sizes.remove(cid)
        {
            *left = FreeSpace { bytes: left.bytes + size, blocks: left.blocks + 1 };
        }
        self.fused(Call::Delete, self.inner.delete(cid))
    }

    fn pins(&self) -> StoreFuture<'_, BTreeSet<Cid>> {
        self.inner.pins()
    }

    fn free_space(&self) -> StoreFuture<'_, FreeSpace> {
        match &*self.limited() {
            Some(limited) => {
                let left = limited.left;
                Box::pin(async move { Ok(left) })
            }
            None => self.inner.free_space(),
        }
    }
}
