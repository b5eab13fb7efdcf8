//! Lets one request per key run at a time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Mutex as Line, OwnedMutexGuard};

/// A turn. Dropping this ends it.
pub(crate) type Turn = OwnedMutexGuard<()>;

/// A line for each key, served in order of arrival.
#[derive(Debug)]
pub(crate) struct Turns<K: Ord> {
    lines: Mutex<BTreeMap<K, Arc<Line<()>>>>,
}

impl<K: Ord> Default for Turns<K> {
    fn default() -> Self {
        Self { lines: Mutex::default() }
    }
}

impl<K: Ord> Turns<K> {
    /// Waits for a key's turn.
    pub(crate) async fn take(&self, key: K) -> Turn {
        let line = {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            // Every request that waits or has its turn holds a second handle.
            lines.retain(|_, line| Arc::strong_count(line) > 1);
            Arc::clone(lines.entry(key).or_default())
        };
        line.lock_owned().await
    }
}
