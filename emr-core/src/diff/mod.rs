//! What changed between two versions of a record.
//!
//! Fields are compared by key. The items of arrays have numbers as keys, so an item that is inserted at the front changes the
//! keys of all others. Therefore the items of two arrays are paired first: by what identifies them (`fullUrl`, `id`), then by
//! equal content, then by their order. An item that has another number in the new version is *moved*, and only what is
//! different in it counts as changed.
//!
//! [`Diff::between`] needs time for a sort of the fields, and no more: an array is never compared item by item with the other.

mod pairing;
mod tree;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::key::Key;
use crate::record::Record;
use crate::value::Value;
use tree::Tree;

/// One field that is different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Change {
    /// Only the old version has it.
    Removed {
        /// Its key in the old version.
        key: Key,
        /// Its value.
        old: Value,
    },
    /// Only the new version has it.
    Added {
        /// Its key in the new version.
        key: Key,
        /// Its value.
        new: Value,
    },
    /// Both have it, with different values.
    Changed {
        /// Its key in the new version.
        key: Key,
        /// Its key in the old version. Another one if it is in an item that moved.
        old_key: Key,
        /// The value in the old version.
        old: Value,
        /// The value in the new version.
        new: Value,
    },
}

impl Change {
    /// The key: that in the new version, if it has the field.
    pub const fn key(&self) -> &Key {
        match self {
            Self::Removed { key, .. } | Self::Added { key, .. } | Self::Changed { key, .. } => key,
        }
    }
}

/// An array item that has another number in the new version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Moved {
    /// Its key in the old version.
    pub from: Key,
    /// Its key in the new version.
    pub to: Key,
}

/// What is different between two versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// The fields that are different, in the order of [`Change::key`].
    pub changes: Vec<Change>,
    /// The array items with another number, in the order of their old keys.
    pub moved: Vec<Moved>,
}

/// The fields are not the old version of a diff.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the difference is to another version: {0} is not as it says")]
pub struct OtherVersion(Key);

impl Diff {
    /// Compares the fields of two records. The original documents are not compared.
    pub fn between(old: &Record, new: &Record) -> Self {
        let (old, new) = (Tree::of(old.fields()), Tree::of(new.fields()));
        let mut diff = Self::default();
        diff.compare(Some(&old), Some(&new));
        diff.changes.sort_by(|a, b| a.key().cmp(b.key()));
        diff.moved.sort();
        diff
    }

    /// Whether the two versions have the same fields.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.moved.is_empty()
    }

    /// Turns the fields of the old version into those of the new one.
    ///
    /// # Errors
    /// [`OtherVersion`] if the fields are not those of the old version.
    pub fn apply(&self, old: &BTreeMap<Key, Value>) -> Result<BTreeMap<Key, Value>, OtherVersion> {
        let moved: BTreeMap<&str, &str> =
            self.moved.iter().map(|item| (item.from.as_str(), item.to.as_str())).collect();
        let mut rest = old.clone();
        let mut new = BTreeMap::new();
        for change in &self.changes {
            match change {
                Change::Removed { key, old } => take(&mut rest, key, old)?,
                Change::Changed { key, old_key, old, new: value } => {
                    take(&mut rest, old_key, old)?;
                    new.insert(key.clone(), value.clone());
                }
                Change::Added { key, new: value } => drop(new.insert(key.clone(), value.clone())),
            }
        }
        for (key, value) in rest {
            let now = renamed(&key, &moved).ok_or_else(|| OtherVersion(key.clone()))?;
            if new.insert(now, value).is_some() {
                return Err(OtherVersion(key));
            }
        }
        Ok(new)
    }

    /// Compares two subtrees at paths that belong together.
    fn compare(&mut self, old: Option<&Tree<'_>>, new: Option<&Tree<'_>>) {
        let (old, new) = match (old, new) {
            (Some(old), Some(new)) => (old, new),
            (Some(old), None) => {
                return old.each(&mut |key, value| {
                    self.changes.push(Change::Removed { key: key.clone(), old: value.clone() });
                });
            }
            (None, Some(new)) => {
                return new.each(&mut |key, value| {
                    self.changes.push(Change::Added { key: key.clone(), new: value.clone() });
                });
            }
            (None, None) => return,
        };
        if old.hash == new.hash {
            return;
        }
        match (old.field, new.field) {
            (Some((old_key, old)), Some((key, new))) if old != new => {
                let (key, old_key) = (key.clone(), old_key.clone());
                self.changes.push(Change::Changed { key, old_key, old: old.clone(), new: new.clone() });
            }
            (Some((key, old)), None) => self.changes.push(Change::Removed { key: key.clone(), old: old.clone() }),
            (None, Some((key, new))) => self.changes.push(Change::Added { key: key.clone(), new: new.clone() }),
            (Some(_), Some(_)) | (None, None) => {}
        }
        let pairs =
            if old.is_array() && new.is_array() { pairing::items(old, new) } else { pairing::members(old, new) };
        for (old, new) in pairs {
            if let (Some(old), Some(new)) = (old, new)
                && old.segment != new.segment
            {
                self.moved.extend(old.path().zip(new.path()).map(|(from, to)| Moved { from, to }));
            }
            self.compare(old, new);
        }
    }
}

fn take(fields: &mut BTreeMap<Key, Value>, key: &Key, value: &Value) -> Result<(), OtherVersion> {
    match fields.remove(key) {
        Some(found) if found == *value => Ok(()),
        _ => Err(OtherVersion(key.clone())),
    }
}

/// The key of an unchanged field in the new version: the longest of its paths that moved decides. `None` if that is no key.
fn renamed(key: &Key, moved: &BTreeMap<&str, &str>) -> Option<Key> {
    let text = key.as_str();
    let mut end = text.len();
    loop {
        let (path, rest) = text.split_at_checked(end)?;
        if let Some(to) = moved.get(path) {
            return Key::new(format!("{to}{rest}")).ok();
        }
        match path.rfind('.') {
            Some(dot) => end = dot,
            None => return Some(key.clone()),
        }
    }
}
