//! One lock for each key: one request of a key runs at a time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Mutex as Line, OwnedMutexGuard};

/// A key that is locked. Dropping this unlocks it.
pub(crate) type KeyLock = OwnedMutexGuard<()>;

/// A lock for each key. Requests get it in the order of their arrival.
#[derive(Debug)]
pub(crate) struct KeyLocks<K: Ord> {
    lines: Mutex<BTreeMap<K, Arc<Line<()>>>>,
}

impl<K: Ord> Default for KeyLocks<K> {
    fn default() -> Self {
        Self { lines: Mutex::default() }
    }
}

impl<K: Ord> KeyLocks<K> {
    /// Waits until nobody else has the key.
    pub(crate) async fn lock(&self, key: K) -> KeyLock {
        let line = {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            // Every request that waits or has the key holds a second handle.
            lines.retain(|_, line| Arc::strong_count(line) > 1);
            Arc::clone(lines.entry(key).or_default())
        };
        line.lock_owned().await
    }
}
