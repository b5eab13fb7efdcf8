//! FHIR R4 JSON in and out, losslessly.
//!
//! A resource, usually a Bundle, becomes one record. Its fields are the values of the document by path. The record also
//! carries the document byte for byte, so [`export`] returns exactly what [`import`] was given.
//!
//! Files that the document embeds as base64 become attachments, if it is imported with [`read`]. The record then carries
//! the document without their texts, and [`export_to`] puts them back.
//!
//! | JSON | key | value |
//! |---|---|---|
//! | member `family` of the object at `p` | `p.family` | |
//! | item 0 of the array at `p` | `p.0` | |
//! | the resource itself | its `resourceType`, as in `Patient` | |
//! | whole number of 64 bits in its shortest form | | integer |
//! | any other number | | decimal, as written |
//! | string that is a full date, or such a date with time and zone | | date-time, as written |
//! | file taken out by [`read`] | the path of its `data` | attachment |
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
//!
//! [`classify`] proposes a class for each resource, and [`split`] makes one Bundle for each class.

pub mod audit_event;
mod classify;
mod coding;
pub mod companions;
pub mod consent;
mod element;
mod embedded;
mod entries;
mod error;
mod export;
mod fields;
mod flatten;
mod fold;
pub mod gather;
mod json;
pub mod line_resource;
mod media_type;
pub mod ndjson;
mod rebuild;
mod split;
mod validate;

pub use classify::{Classification, Classified, Evidence, classify};
pub use coding::{Account, Deployment, NotAnAccount};
pub use embedded::{Draft, Embedded, MAX_EMBEDDED, read};
pub use entries::{WrittenResource, resources};
pub use error::FhirError;
pub use export::{ExportError, export, export_to};
pub use split::{Part, split};
pub use validate::{Problem, Problems, validate};

use crate::original::OriginalDocument;
use crate::record::Record;

/// The media type of FHIR JSON.
pub const MEDIA_TYPE: &str = "application/fhir+json";
/// The largest document: 64 MiB.
pub const MAX_BYTES: usize = 64 << 20;
/// How deep objects and arrays may nest. Clinical documents nest less than half as deep.
pub const MAX_DEPTH: usize = 64;
/// How many members an object may have. Every element of R4 has less than half as many.
pub const MAX_MEMBERS: usize = 512;
/// How many characters of a text from a document are shown.
const SHOWN: usize = 200;

/// Reads a FHIR R4 resource. Embedded files stay in it as base64, in fields of text: [`read`] takes them out.
///
/// # Errors
/// Returns [`FhirError`] if the bytes are not JSON, not FHIR R4, or exceed the limits of a record.
pub fn import(document: &[u8]) -> Result<Record, FhirError> {
    // First, so that a document that is refused is not copied.
    let fields = flatten::fields(document)?;
    let original = OriginalDocument { media_type: MEDIA_TYPE.to_owned(), bytes: document.to_vec(), cuts: Vec::new() };
    Ok(Record::from_fields(fields, Some(original))?)
}
