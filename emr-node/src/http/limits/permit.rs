//! How many things of one key go on at once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// A limited number of permits for each key.
#[derive(Debug)]
pub(crate) struct Permits<K: Ord + Clone> {
    each: usize,
    taken: Arc<Mutex<BTreeMap<K, usize>>>,
}

/// A taken permit. Dropping this gives it back.
#[derive(Debug)]
pub(crate) struct Permit<K: Ord + Clone> {
    key: K,
    taken: Arc<Mutex<BTreeMap<K, usize>>>,
}

impl<K: Ord + Clone> Permits<K> {
    /// Makes `each` permits for each key.
    pub(crate) fn new(each: usize) -> Self {
        Self { each, taken: Arc::default() }
    }

    /// Takes a permit; `None` if the key has taken all of its permits.
    pub(crate) fn take(&self, key: K) -> Option<Permit<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(key.clone()).or_default();
        if *count >= self.each {
            return None;
        }
        *count += 1;
        Some(Permit { key, taken: Arc::clone(&self.taken) })
    }
}

impl<K: Ord + Clone> Drop for Permit<K> {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_given_back_and_not_shared() {
        let permits = Permits::new(2);
        let (first, second) = (permits.take(1), permits.take(1));
        assert!(first.is_some() && second.is_some() && permits.take(1).is_none() && permits.take(2).is_some());
        drop(first);
        assert!(permits.take(1).is_some());
        drop(second);
        assert!(permits.taken.lock().is_ok_and(|taken| taken.is_empty()));
    }
}
