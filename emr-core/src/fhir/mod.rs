//! FHIR R4 JSON in and out, losslessly.
//!
//! A resource, usually a Bundle, becomes one record. Its fields are the values of the document by path. The record also
//! carries the document byte for byte, so [`export`] returns exactly what [`import`] was given.
//!
//! | JSON | key | value |
//! |---|---|---|
//! | member `family` of the object at `p` | `p.family` | |
//! | item 0 of the array at `p` | `p.0` | |
//! | the resource itself | its `resourceType`, as in `Patient` | |
//! | whole number of 64 bits in its shortest form | | integer |
//! | any other number | | decimal, as written |
//! | string that is a full date, or such a date with time and zone | | date-time, as written |
//! | any other string | | text |
//! | `true`, `false`; `null` | | bool; null |
//! | object of the texts `system` and `code`, perhaps `display` | | code |
//! | object of the number `value` and the texts `unit` or `code`, perhaps `system` | | quantity |
//!
//! `resourceType` is a field too, also in nested resources: `Bundle.resourceType`,
//! `Bundle.entry.0.resource.resourceType`, `Bundle.entry.0.resource.name.0.family`. Element names of FHIR never start
//! with a digit, and FHIR has neither empty objects nor empty arrays. So each key has one meaning, and no value is
//! lost.
//!
//! [`import`] requires JSON, the shape above and a resource type of R4. [`validate`] lists what else violates R4's
//! definitions; it uses the crate fhirkit. fhirkit drops unknown elements when it writes, so the fields are read from
//! the document itself.

mod error;
mod flatten;
mod json;
mod rebuild;
mod validate;

use std::collections::BTreeMap;

pub use error::FhirError;
use flatten::flatten;
use rebuild::rebuild;
pub use validate::{Problem, Problems, validate};

use crate::key::Key;
use crate::record::{OriginalDocument, Record};
use crate::value::Value;

/// The media type of FHIR JSON.
pub const MEDIA_TYPE: &str = "application/fhir+json";
/// The largest document: 64 MiB.
pub const MAX_BYTES: usize = 64 << 20;
/// How deep objects and arrays may nest. Clinical documents nest less than half as deep.
pub const MAX_DEPTH: usize = 64;
/// How many members an object may have. Every element of R4 has less than half as many.
pub const MAX_MEMBERS: usize = 512;

/// Reads a FHIR R4 resource.
///
/// # Errors
/// Returns [`FhirError`] if the bytes are not JSON, not FHIR R4, or exceed the limits of a record.
pub fn import(document: &[u8]) -> Result<Record, FhirError> {
    let fields = flatten(document)?;
    let original = OriginalDocument { media_type: MEDIA_TYPE.to_owned(), bytes: document.to_vec() };
    Ok(Record::from_fields(fields, Some(original))?)
}

/// Writes a record as FHIR R4 JSON. If the record carries its original document, checks that the fields agree with it
/// and returns it byte for byte. Otherwise builds a resource from the fields.
///
/// # Errors
/// Returns [`FhirError::Contradicts`] if the document and the fields differ, [`FhirError::NotMappable`] if FHIR JSON
/// has no place for a field or its value (bytes, attachments, gaps in arrays), [`FhirError::Empty`] if there are no
/// fields, [`FhirError::OtherFormat`] if the document is not FHIR JSON, and otherwise the errors of [`import`].
pub fn export(record: &Record) -> Result<Vec<u8>, FhirError> {
    if record.fields().is_empty() {
        return Err(FhirError::Empty);
    }
    let Some(original) = record.original() else {
        let document = rebuild(record)?;
        // The first segment of the keys and the type that the resource states must agree.
        let fields = flatten(&document)?;
        if let Some(key) = record.fields().keys().find(|key| key.segments().next() != type_of(&fields)) {
            return Err(FhirError::NotMappable(key.clone()));
        }
        return Ok(document);
    };
    if original.media_type != MEDIA_TYPE {
        return Err(FhirError::OtherFormat(original.media_type.chars().take(80).collect()));
    }
    let fields = flatten(&original.bytes)?;
    if let Some(key) = first_difference(record.fields(), &fields) {
        return Err(FhirError::Contradicts(key.clone()));
    }
    Ok(original.bytes.clone())
}

fn type_of(fields: &BTreeMap<Key, Value>) -> Option<&str> {
    fields.keys().next().and_then(|key| key.segments().next())
}

/// The first key with different values in the two records.
fn first_difference<'a>(a: &'a BTreeMap<Key, Value>, b: &'a BTreeMap<Key, Value>) -> Option<&'a Key> {
    let differs = |(key, value): &(&Key, &Value), other: &BTreeMap<Key, Value>| other.get(*key) != Some(*value);
    let from_a = a.iter().find(|field| differs(field, b));
    let from_b = b.iter().find(|field| differs(field, a));
    from_a.into_iter().chain(from_b).map(|(key, _)| key).min()
}
