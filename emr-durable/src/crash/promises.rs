//! Records what a store acknowledged, and after which step.

use std::collections::BTreeSet;

use super::Journal;

/// The acknowledged and the unfinished changes of values, by key.
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
    /// Starts with nothing acknowledged.
    #[expect(clippy::new_without_default, reason = "tests say what they begin with")]
    pub const fn new() -> Self {
        Self { said: Vec::new() }
    }

    /// Begins to change a value. From now on, the key may have the new value after a crash.
    pub fn begin(&mut self, journal: &Journal, key: K, value: V) {
        self.said.push(Promise { key, value, begun: journal.steps(), acknowledged: None, lost: false });
    }

    /// The call returned successfully. From now on, all changes that were begun must survive a crash.
    pub fn acknowledge(&mut self, journal: &Journal) {
        for promise in self.said.iter_mut().filter(|promise| !promise.lost && promise.acknowledged.is_none()) {
            promise.acknowledged = Some(journal.steps());
        }
    }

    /// The process was killed after `steps` steps. Forgets everything that it did later.
    pub fn killed_after(&mut self, steps: usize) {
        self.said.retain(|promise| promise.begun < steps);
        for promise in &mut self.said {
            promise.acknowledged = promise.acknowledged.filter(|acknowledged| *acknowledged <= steps);
            promise.lost = promise.acknowledged.is_none();
        }
    }

    /// All keys that were ever changed.
    pub fn keys(&self) -> BTreeSet<K> {
        self.said.iter().map(|promise| promise.key.clone()).collect()
    }

    /// The values that a key may have after a crash after `steps` steps: the last acknowledged one, and all that were
    /// begun since.
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
