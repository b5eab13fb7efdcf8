//! The record: an ordered map from keys to values, with the document it was read from.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError, decode_written, map};
use crate::key::Key;
use crate::original::{BadCuts, OriginalDocument};
use crate::value::{Attachment, Value};

/// Why something is not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// There are more than [`Record::MAX_FIELDS`] fields.
    #[error("a record has at most {} fields: split it into several records", Record::MAX_FIELDS)]
    TooManyFields,
    /// The cuts of the original document are not a list that it can have.
    #[error(transparent)]
    Cuts(#[from] BadCuts),
    /// The bytes are not a record, or there are too many.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// A medical record.
///
/// Fields are ordered by the bytes of their keys. The record carries the document that it was imported from, so that
/// export returns the same bytes. Changing a field drops the document, because the two would contradict each other. Fields of files beside the
/// document ([`Key::is_beside_document`]) are no part of it, so changing them keeps it.
///
/// DAG-CBOR: a map of `type` (`"emr/record/v1"`), `fields` (a list of `[key, value]`, keys strictly ascending) and, if
/// there is one, `original` ([`OriginalDocument`]). At most [`Record::MAX_BYTES`] bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    fields: BTreeMap<Key, Value>,
    original: Option<OriginalDocument>,
}

impl Record {
    /// The largest number of fields.
    pub const MAX_FIELDS: usize = 1 << 19;
    /// The largest encoding, the original document included: 192 MiB.
    pub const MAX_BYTES: usize = 192 << 20;

    /// A record without fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a record of these fields, imported from `original` if given. The importer must make sure that the fields
    /// agree with the document. Exporters check it again.
    ///
    /// # Errors
    /// Returns [`RecordError::TooManyFields`] beyond [`Record::MAX_FIELDS`], and [`RecordError::Cuts`] if the original
    /// document's cuts are not ascending positions in it.
    pub fn from_fields(fields: BTreeMap<Key, Value>, original: Option<OriginalDocument>) -> Result<Self, RecordError> {
        if fields.len() > Self::MAX_FIELDS {
            return Err(RecordError::TooManyFields);
        }
        if let Some(original) = &original {
            original.check_cuts()?;
        }
        Ok(Self { fields, original })
    }

    /// The fields.
    pub fn fields(&self) -> &BTreeMap<Key, Value> {
        &self.fields
    }

    /// The value of a field.
    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.fields.get(key)
    }

    /// Sets a field and returns its old value. Drops the original document if something changed that is part of it.
    ///
    /// # Errors
    /// Returns [`RecordError::TooManyFields`] if the record is full. The record is then unchanged.
    pub fn insert(&mut self, key: Key, value: Value) -> Result<Option<Value>, RecordError> {
        if self.fields.len() == Self::MAX_FIELDS && !self.fields.contains_key(&key) {
            return Err(RecordError::TooManyFields);
        }
        if !key.is_beside_document() && self.fields.get(&key) != Some(&value) {
            self.original = None;
        }
        Ok(self.fields.insert(key, value))
    }

    /// Says where an attachment is, once it is sealed. Keeps the original document also if the key is one of the document's: where the content of an
    /// attachment is says nothing about it. Exporters check that the document and the fields agree.
    ///
    /// # Errors
    /// Returns [`RecordError::TooManyFields`] if the record is full. The record is then unchanged.
    pub fn attach(&mut self, key: Key, attachment: Attachment) -> Result<(), RecordError> {
        let original = self.original.take();
        let inserted = self.insert(key, Value::Attachment(attachment)).map(drop);
        self.original = original;
        inserted
    }

    /// Removes a field and returns its value. Drops the original document if the field existed and was part of it.
    pub fn remove(&mut self, key: &Key) -> Option<Value> {
        let value = self.fields.remove(key)?;
        if !key.is_beside_document() {
            self.original = None;
        }
        Some(value)
    }

    /// The attachments: all fields that are one, whatever their keys. They are in the order of their keys' segments, where numbers are compared by
    /// value: `attachments.2` is before `attachments.10`.
    pub fn attachments(&self) -> Vec<(&Key, &Attachment)> {
        let attachments = self.fields.iter().filter_map(|(key, value)| match value {
            Value::Attachment(attachment) => Some((key, attachment)),
            _ => None,
        });
        let mut attachments: Vec<(&Key, &Attachment)> = attachments.collect();
        attachments.sort_by_cached_key(|(key, _)| key.segments().map(Segment::of).collect::<Vec<_>>());
        attachments
    }

    /// The document that the record was imported from.
    pub fn original(&self) -> Option<&OriginalDocument> {
        self.original.as_ref()
    }

    /// The canonical bytes.
    ///
    /// # Errors
    /// Returns [`CodecError::TooLarge`] beyond [`Record::MAX_BYTES`].
    pub fn to_dag_cbor(&self) -> Result<Vec<u8>, RecordError> {
        let mut bytes = Vec::with_capacity(self.likely_bytes());
        self.write(&mut bytes).expect("a record in memory always encodes");
        if bytes.len() > Self::MAX_BYTES {
            return Err(CodecError::TooLarge { what: "a record", len: bytes.len(), limit: Self::MAX_BYTES }.into());
        }
        Ok(bytes)
    }

    /// Decodes canonical bytes. Needs at most a small multiple of their size in memory.
    ///
    /// # Errors
    /// Returns [`RecordError`] if there are too many bytes, or if they are not the canonical bytes of a record.
    pub fn from_dag_cbor(bytes: &[u8]) -> Result<Self, RecordError> {
        Ok(decode_written("a record", Self::MAX_BYTES, bytes, |record: &Self, expected| record.write(expected))?)
    }
}

/// A segment of a key, in the order in which people count.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Segment<'a> {
    Number(u64, &'a str),
    Name(&'a str),
}

impl<'a> Segment<'a> {
    fn of(segment: &'a str) -> Self {
        segment.parse().map_or(Self::Name(segment), |number| Self::Number(number, segment))
    }
}

const TYPE: &str = "emr/record/v1";

/// As serde would, but the encoder of maps keeps copies of all entries to sort them. Here a document of many megabytes may be an entry.
impl Record {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&map(if self.original.is_some() { 3 } else { 2 }))?;
        codec::write("type", out)?;
        codec::write(TYPE, out)?;
        codec::write("fields", out)?;
        codec::write(&Entries(&self.fields), out)?;
        if let Some(original) = &self.original {
            codec::write("original", out)?;
            original.write(out)?;
        }
        Ok(())
    }

    /// About as many bytes as the encoding takes.
    fn likely_bytes(&self) -> usize {
        64 + 128 * self.fields.len() + self.original.as_ref().map_or(0, |original| original.bytes.len())
    }
}

struct Entries<'a>(&'a BTreeMap<Key, Value>);

impl Serialize for Entries<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0)
    }
}

#[derive(Deserialize)]
#[serde(rename = "record", deny_unknown_fields)]
struct Decoded {
    r#type: String,
    fields: Fields,
    original: Option<OriginalDocument>,
}

struct Fields(BTreeMap<Key, Value>);

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Decoded { r#type, fields: Fields(fields), original } = Decoded::deserialize(deserializer)?;
        if r#type != TYPE {
            return Err(D::Error::custom(format_args!("the type is not {TYPE}")));
        }
        Ok(Self { fields, original })
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of [key, value] with ascending keys")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Fields, A::Error> {
                let mut fields = BTreeMap::<Key, Value>::new();
                while let Some((key, value)) = entries.next_element::<(Key, Value)>()? {
                    if fields.len() == Record::MAX_FIELDS {
                        return Err(A::Error::custom(RecordError::TooManyFields));
                    }
                    if fields.last_key_value().is_some_and(|(last, _)| *last >= key) {
                        return Err(A::Error::custom(format_args!("the key {key} is out of order")));
                    }
                    fields.insert(key, value);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_seq(FieldsVisitor)
    }
}
