//! The typed values of a record's fields.

mod encoding;
mod written;

use cid::Cid;
use serde::{Deserialize, Serialize};

pub use written::{DateTime, Decimal, ValueError};

/// A concept of a code system, like FHIR's Coding.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Code {
    /// The code system's URI, such as `http://loinc.org`.
    pub system: String,
    /// The symbol in that system.
    pub code: String,
    /// The system's name for the concept, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
}

/// A measured amount, like FHIR's Quantity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantity {
    /// The number.
    pub value: Decimal,
    /// The unit for people, such as `mmol/L`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The system of `code`, usually `http://unitsofmeasure.org`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The unit for machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// A document or image stored beside the record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Attachment {
    /// Where it is: the address of its (encrypted) root block.
    pub link: Cid,
    /// Its media type, such as `application/dicom`.
    pub media_type: String,
    /// Its size in bytes before encryption.
    pub size: u64,
}

/// The value of a field.
///
/// DAG-CBOR: null, booleans, integers, text and bytes are themselves; each other type is a map of one entry named after
/// it: `decimal`, `date-time` (text), `code`, `quantity`, `attachment` (maps). `docs/record.md` has vectors.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// An explicit `null`: in a FHIR array, an extension takes the place of the value.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number of 64 bits.
    Integer(i64),
    /// Any other number.
    Decimal(Decimal),
    /// Text.
    Text(String),
    /// A date or a date with a time.
    DateTime(DateTime),
    /// A coded concept.
    Code(Code),
    /// A measured amount.
    Quantity(Quantity),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A link to a document or image.
    Attachment(Attachment),
}

/// For people: `5.4 mmol/L`, `Glucose (2345-7)`, `<1234 bytes>`. On one line if the value is.
impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Decimal(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
            Self::DateTime(value) => value.fmt(f),
            Self::Code(Code { code, display: Some(display), .. }) => write!(f, "{display} ({code})"),
            Self::Code(Code { code, system, display: None }) => write!(f, "{code} ({system})"),
            Self::Quantity(Quantity { value, unit, code, .. }) => match unit.as_ref().or(code.as_ref()) {
                Some(unit) => write!(f, "{value} {unit}"),
                None => value.fmt(f),
            },
            Self::Bytes(bytes) => write!(f, "<{} bytes>", bytes.len()),
            Self::Attachment(Attachment { link, media_type, size }) => {
                write!(f, "<{media_type}, {size} bytes, {link}>")
            }
        }
    }
}
