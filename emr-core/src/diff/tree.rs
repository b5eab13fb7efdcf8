//! The fields of a record as a tree of the segments of their keys.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::codec::encode;
use crate::key::Key;
use crate::value::Value;

/// A part of a record: the fields whose keys begin with a path.
pub(super) struct Tree<'a> {
    /// The last segment of the path; empty for the whole record.
    pub(super) segment: &'a str,
    /// The field whose key is the path.
    pub(super) field: Option<(&'a Key, &'a Value)>,
    /// What is below, by its segment.
    pub(super) children: BTreeMap<&'a str, Tree<'a>>,
    /// SHA-256 of everything in it, but not of the path.
    pub(super) hash: [u8; 32],
    /// A key in it, and how many bytes of that key are the path.
    place: Option<(&'a Key, usize)>,
}

impl<'a> Tree<'a> {
    /// The tree of these fields. It is as deep as the longest key has segments, at most [`Key::MAX_SEGMENTS`].
    pub(super) fn of(fields: &'a BTreeMap<Key, Value>) -> Self {
        let mut root = Self::at("", None);
        for (key, value) in fields {
            let (mut node, mut end) = (&mut root, 0);
            for segment in key.segments() {
                end += segment.len() + usize::from(end > 0);
                node = node.children.entry(segment).or_insert_with(|| Self::at(segment, Some((key, end))));
            }
            node.field = Some((key, value));
        }
        root.add_hashes();
        root
    }

    const fn at(segment: &'a str, place: Option<(&'a Key, usize)>) -> Self {
        Self { segment, field: None, children: BTreeMap::new(), hash: [0; 32], place }
    }

    fn add_hashes(&mut self) {
        let mut hasher = Sha256::new();
        // The value has its length before it, so no other list of parts has the same bytes.
        let value = self.field.map(|(_, value)| encode(value)).unwrap_or_default();
        hasher.update((value.len() as u64).to_be_bytes());
        hasher.update(&value);
        for (segment, child) in &mut self.children {
            child.add_hashes();
            hasher.update((segment.len() as u64).to_be_bytes());
            hasher.update(segment.as_bytes());
            hasher.update(child.hash);
        }
        self.hash = hasher.finalize().into();
    }

    /// The path, which is a key too.
    pub(super) fn path(&self) -> Option<Key> {
        let (key, end) = self.place?;
        key.as_str().get(..end).and_then(|path| Key::new(path).ok())
    }

    /// Whether it is an array: every child is an item.
    pub(super) fn is_array(&self) -> bool {
        !self.children.is_empty() && self.children.keys().all(|segment| item(segment).is_some())
    }

    /// The items of an array, in order.
    pub(super) fn items(&self) -> Vec<&Self> {
        let mut items: Vec<_> = self.children.values().collect();
        items.sort_by_key(|child| item(child.segment));
        items
    }

    /// The text at a member.
    pub(super) fn text(&self, member: &str) -> Option<&'a str> {
        match self.children.get(member)?.field? {
            (_, Value::Text(text)) => Some(text),
            // An id such as `2024` has the form of a date.
            (_, Value::DateTime(text)) => Some(text.as_str()),
            _ => None,
        }
    }

    /// Calls `told` for each field, in the order of the segments.
    pub(super) fn each(&self, told: &mut impl FnMut(&Key, &Value)) {
        if let Some((key, value)) = self.field {
            told(key, value);
        }
        self.children.values().for_each(|child| child.each(told));
    }
}

/// The number of an array item.
fn item(segment: &str) -> Option<u64> {
    let is_shortest = segment == "0" || !segment.starts_with('0');
    let digits = segment.bytes().all(|byte| byte.is_ascii_digit());
    if is_shortest && digits { segment.parse().ok() } else { None }
}
