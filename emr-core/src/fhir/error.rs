//! Why a document was not imported or a record not exported.

use crate::excerpt::excerpt;
use crate::key::{Key, KeyError};
use crate::record::{Record, RecordError};

use super::{MAX_BYTES, MAX_DEPTH, MAX_MEMBERS, MEDIA_TYPE};

/// How much of a path an error shows, in characters.
const PATH: usize = 120;

/// Why a document was not imported or a record not exported. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FhirError {
    /// The document is not JSON (RFC 8259) in UTF-8.
    #[error(
        "not JSON at line {line}, column {column}, where {expected} should be; export the document again as FHIR R4 JSON"
    )]
    NotJson {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
        /// What should be there.
        expected: &'static str,
    },
    /// The document has more than [`MAX_BYTES`] bytes.
    #[error("the document has {0} bytes, more than {MAX_BYTES}: split the Bundle into several records")]
    TooLarge(usize),
    /// Objects and arrays nest deeper than [`MAX_DEPTH`].
    #[error(
        "nested deeper than {MAX_DEPTH} at line {line}, column {column}: no FHIR resource is; export the document again"
    )]
    TooDeep {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// An object has more than [`MAX_MEMBERS`] members.
    #[error(
        "{} has more than {MAX_MEMBERS} members: no FHIR element has; export the document again",
        excerpt(path, PATH)
    )]
    TooManyMembers {
        /// The element.
        path: String,
    },
    /// The document has more values, objects and arrays, or longer paths to them, than a record may have.
    #[error(
        "the document has more than {} values, or too long paths: split the Bundle into several records",
        Record::MAX_FIELDS
    )]
    TooManyFields,
    /// A member occurs twice in one object: readers would disagree on which one counts.
    #[error("{} occurs twice: remove the one that is wrong", excerpt(path, PATH))]
    Duplicate {
        /// The element.
        path: String,
    },
    /// The document is JSON, but not a FHIR resource.
    #[error("this is JSON but not FHIR: a resource is an object with a \"resourceType\"; choose a FHIR R4 file")]
    NotFhir,
    /// FHIR R4 has no such resource type.
    #[error("FHIR R4 has no resource type '{}': check the spelling, or convert the document to R4", excerpt(.0, 40))]
    UnknownResource(String),
    /// FHIR does not allow this JSON: an empty object or array, an array in an array, or a name that no element has.
    #[error("not FHIR: {} {message}", excerpt(path, PATH))]
    Invalid {
        /// The element; empty for the document itself.
        path: String,
        /// What is wrong with the element, and what to do.
        message: &'static str,
    },
    /// An entry of a Bundle that is to be split holds no resource, so it belongs to no class.
    #[error("{path} holds no resource, so it belongs to no class: remove it, or write the Bundle as one record")]
    NoResource {
        /// The entry.
        path: String,
    },
    /// A Bundle that is to be split says something that changes the meaning of its resources, and that no part would say.
    #[error(
        "{} changes the meaning of the resources, and the parts would not have it: write the Bundle as one record",
        excerpt(path, PATH)
    )]
    ChangesMeaning {
        /// The element.
        path: String,
    },
    /// The path of an element is not a key.
    #[error("the path of an element cannot be a key: {0}")]
    Key(#[from] KeyError),
    /// A number is longer than [`Decimal`](crate::Decimal) allows.
    #[error(
        "{} is a number of {len} characters, more than any measurement needs: correct it at its source",
        excerpt(path, PATH)
    )]
    NumberTooLong {
        /// The element.
        path: String,
        /// The length.
        len: usize,
    },
    /// The record's fields differ from the original document that the record carries.
    #[error("the record's original document has another {}: do not rely on this record, ask its author", excerpt(.0.as_str(), PATH))]
    Contradicts(Key),
    /// The record's original document has a cut where no file can be.
    #[error(
        "the record's original document has no place for a file at byte {0}: do not rely on this record, ask its author"
    )]
    Cut(u64),
    /// The document is not complete without attachments of the record.
    #[error(
        "{0} files belong into this document and are attachments of the record: export it together with their content"
    )]
    Attachments(usize),
    /// There are not as many links as embedded files.
    #[error(
        "the document has {embedded} embedded files, but {links} links were given: give one for each, in their order"
    )]
    Links {
        /// The number of files.
        embedded: usize,
        /// The number of links.
        links: usize,
    },
    /// The record carries an original document of another format.
    #[error("the record's original document is {}, not {MEDIA_TYPE}: save the document as it is", excerpt(.0, 40))]
    OtherFormat(String),
    /// The record did not come from FHIR, and a field cannot be written as FHIR.
    #[error("FHIR JSON has no place for {} or for its value: remove or correct that field", excerpt(.0.as_str(), PATH))]
    NotMappable(Key),
    /// The record has no fields.
    #[error("the record has no fields: there is nothing to export")]
    Empty,
    /// The record would exceed the limits of a record.
    #[error(transparent)]
    Record(#[from] RecordError),
}
