//! How many things of one key go on at once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// A limited number of places for each key.
#[derive(Debug)]
pub(crate) struct Places<K: Ord + Clone> {
    each: usize,
    taken: Arc<Mutex<BTreeMap<K, usize>>>,
}

/// A taken place. Dropping this gives it back.
#[derive(Debug)]
pub(crate) struct Place<K: Ord + Clone> {
    key: K,
    taken: Arc<Mutex<BTreeMap<K, usize>>>,
}

impl<K: Ord + Clone> Places<K> {
    /// Makes `each` places for each key.
    pub(crate) fn new(each: usize) -> Self {
        Self { each, taken: Arc::default() }
    }

    /// Takes a place; `None` if the key has taken all of its places.
    pub(crate) fn take(&self, key: K) -> Option<Place<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(key.clone()).or_default();
        if *count >= self.each {
            return None;
        }
        *count += 1;
        Some(Place { key, taken: Arc::clone(&self.taken) })
    }
}

impl<K: Ord + Clone> Drop for Place<K> {
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
    fn places_are_given_back_and_not_shared() {
        let places = Places::new(2);
        let (first, second) = (places.take(1), places.take(1));
        assert!(first.is_some() && second.is_some() && places.take(1).is_none() && places.take(2).is_some());
        drop(first);
        assert!(places.take(1).is_some());
        drop(second);
        assert!(places.taken.lock().is_ok_and(|taken| taken.is_empty()));
    }
}
