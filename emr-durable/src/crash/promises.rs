//! What a store acknowledged, and after which step.

use std::collections::BTreeSet;

use super::Journal;

/// What was said about things, each known by a key.
#[derive(Clone, Debug)]
pub struct Promises<K, V> {
    said: Vec<Promise<K, V>>,
}

#[derive(Clone, Debug)]
struct Promise<K, V> {
    key: K,
    value: V,
    begun: usize,
    acknowledged: Option<usize>,
    /// The process was killed before the call returned.
    lost: bool,
}

impl<K: Ord + Clone, V: Ord + Clone> Promises<K, V> {
    /// Nothing was said.
    #[expect(clippy::new_without_default, reason = "tests say what they begin with")]
    pub const fn new() -> Self {
        Self { said: Vec::new() }
    }

    /// Makes a thing have a value: from now on it may have it.
    pub fn begin(&mut self, journal: &Journal, key: K, value: V) {
        self.said.push(Promise { key, value, begun: journal.steps(), acknowledged: None, lost: false });
    }

    /// The call returned: what was begun has its value, after a crash too.
    pub fn acknowledge(&mut self, journal: &Journal) {
        for promise in self.said.iter_mut().filter(|promise| !promise.lost && promise.acknowledged.is_none()) {
            promise.acknowledged = Some(journal.steps());
        }
    }

    /// The process was killed after so many steps: what it did later did not happen.
    pub fn killed_after(&mut self, steps: usize) {
        self.said.retain(|promise| promise.begun < steps);
        for promise in &mut self.said {
            promise.acknowledged = promise.acknowledged.filter(|acknowledged| *acknowledged <= steps);
            promise.lost = promise.acknowledged.is_none();
        }
    }

    /// Every key.
    pub fn keys(&self) -> BTreeSet<K> {
        self.said.iter().map(|promise| promise.key.clone()).collect()
    }

    /// The values that a thing may have after a crash after so many steps: the one acknowledged last, and each that was begun since.
    pub fn allowed(&self, key: &K, steps: usize, before: V) -> BTreeSet<V> {
        let mut allowed = BTreeSet::from([before]);
        for promise in self.said.iter().filter(|promise| promise.key == *key && promise.begun < steps) {
            if promise.acknowledged.is_some_and(|acknowledged| acknowledged <= steps) {
                allowed.clear();
            }
            allowed.insert(promise.value.clone());
        }
        allowed
    }
}
