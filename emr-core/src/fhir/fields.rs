//! The fields of a document while it is read: their paths in one text, and the order of their keys.
//!
//! A large Bundle has a hundred thousand fields, and a sort of all keys compares and moves each of them many times. Here
//! only their numbers are moved, where an object or array closes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use crate::key::{Key, KeyError};
use crate::value::Value;

/// Fields by number, counted from 0 in the order of the document.
#[derive(Default)]
pub(super) struct Fields {
    /// All paths, one after the other.
    paths: String,
    /// Where in `paths` the path of the field ends; and its value, if it has one yet.
    fields: Vec<(usize, Option<Value>)>,
    /// The numbers of the fields. Those of an object or array that was read to its end are in the order of their keys.
    order: Vec<u32>,
    /// Numbers on their way to another place in `order`.
    moved: Vec<u32>,
}

/// A member of an object, with the numbers of its fields. There is at least one.
pub(super) struct Member<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) fields: Range<usize>,
}

impl Fields {
    pub(super) fn len(&self) -> usize {
        self.fields.len()
    }

    /// Adds a field. A value that is not known yet comes with [`Self::set`].
    ///
    /// # Panics
    /// Panics if there are more than 2^32 fields.
    pub(super) fn push(&mut self, path: &str, value: Option<Value>) {
        self.order.push(u32::try_from(self.len()).expect("a record has fewer fields"));
        self.paths.push_str(path);
        self.fields.push((self.paths.len(), value));
    }

    /// Gives a field its value.
    pub(super) fn set(&mut self, field: usize, value: Value) {
        self.fields[field].1 = Some(value);
    }

    /// Forgets the fields from this number on.
    pub(super) fn truncate(&mut self, len: usize) {
        self.paths.truncate(self.span(len).start);
        self.fields.truncate(len);
        self.order.truncate(len);
    }

    fn span(&self, field: usize) -> Range<usize> {
        let end = |field: usize| self.fields.get(field).map_or(self.paths.len(), |(end, _)| *end);
        field.checked_sub(1).map_or(0, end)..end(field)
    }

    /// The path of a field.
    pub(super) fn path(&self, field: usize) -> &str {
        &self.paths[self.span(field)]
    }

    /// The value of a field, if it has one yet.
    pub(super) fn value(&self, field: usize) -> Option<&Value> {
        self.fields[field].1.as_ref()
    }

    /// Whether the member of the object at this path is one field: a scalar value, or an object that was folded. Fields
    /// of other objects and of arrays have more segments.
    pub(super) fn is_scalar(&self, path: &str, member: &Member<'_>) -> bool {
        let dot = usize::from(!path.is_empty());
        self.path(member.fields.start).len() == path.len() + dot + member.name.len()
    }

    /// Puts parts of the order one after the other. Together they are the end of it, from `first` on.
    pub(super) fn arrange(&mut self, first: usize, parts: impl Iterator<Item = Range<usize>>) {
        self.moved.clear();
        for part in parts {
            self.moved.extend_from_slice(&self.order[part]);
        }
        self.order[first..].copy_from_slice(&self.moved);
    }

    /// All fields that have a value, with keys that start with this segment.
    pub(super) fn under(self, segment: &str) -> Result<BTreeMap<Key, Value>, KeyError> {
        // Sorts again, which finds nothing to do. The order of a record never depends on the order here.
        Ok(self.in_order(segment)?.into_iter().collect())
    }

    /// The same in the order of the keys, if all objects and arrays were read to their ends.
    pub(super) fn in_order(mut self, segment: &str) -> Result<Vec<(Key, Value)>, KeyError> {
        let mut fields = Vec::with_capacity(self.len());
        for field in std::mem::take(&mut self.order) {
            let field = field as usize;
            if let Some(value) = self.fields[field].1.take() {
                fields.push((Key::new([segment, ".", self.path(field)].concat())?, value));
            }
        }
        Ok(fields)
    }
}

/// The numbers below `count` in the order of their decimal texts: 0, 1, 10, 100, 101, .., 11, .., 2, ..
pub(super) fn by_decimal_text(count: usize) -> impl Iterator<Item = usize> {
    let after = move |number: &usize| {
        let mut number = *number;
        if number > 0 && number * 10 < count {
            return Some(number * 10);
        }
        while number % 10 == 9 || number + 1 >= count {
            number /= 10;
            if number == 0 {
                return None;
            }
        }
        Some(number + 1)
    };
    std::iter::successors((count > 0).then_some(0), after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_the_order_of_their_texts() {
        for count in (0..130).chain([999, 1000, 1001, 1010, 12_345]) {
            let mut expected: Vec<usize> = (0..count).collect();
            expected.sort_by_key(usize::to_string);
            assert_eq!(by_decimal_text(count).collect::<Vec<_>>(), expected, "{count}");
        }
    }
}
