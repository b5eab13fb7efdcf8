//! The document that a record was imported from.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;

use crate::codec::{self, map};

/// A position in an original document, in bytes from its start, where a text was taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cut(u64);

impl Cut {
    /// The position after this number of bytes.
    pub const fn new(offset: u64) -> Self {
        Self(offset)
    }

    /// How many bytes of the document are before it.
    pub const fn offset(self) -> u64 {
        self.0
    }
}

/// A document's cuts are not strictly ascending positions in it, or there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an original document has at most {max} cuts, in ascending order and within its bytes: do not rely on this record, ask its author",
    max = OriginalDocument::MAX_CUTS
)]
pub struct BadCuts;

/// The document that a record was imported from, byte for byte.
///
/// Files embedded in the document may be cut out: then the document is shorter, each of these files is an attachment of
/// the record, and `cuts` says where their texts belong. Which attachment belongs to a cut is for the format of the
/// document to say ([`fhir`](crate::fhir)).
///
/// DAG-CBOR: a map of `bytes`, `media-type` and, if there are any, `cuts` (a list of integers).
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Decoded")]
pub struct OriginalDocument {
    /// Its media type: `application/fhir+json`.
    pub media_type: String,
    /// The document, without the texts that were cut out.
    pub bytes: Vec<u8>,
    /// Where texts were cut out: strictly ascending, none after the last byte, at most
    /// [`MAX_CUTS`](OriginalDocument::MAX_CUTS).
    pub cuts: Vec<Cut>,
}

impl OriginalDocument {
    /// The most cuts: as many as a record may have attachments.
    pub const MAX_CUTS: usize = 4096;

    /// Writes the canonical bytes. The encoder of maps would keep copies of all entries to sort them, and the document may have many megabytes.
    ///
    /// # Errors
    /// Only those of `out`.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&map(if self.cuts.is_empty() { 2 } else { 3 }))?;
        if !self.cuts.is_empty() {
            codec::write("cuts", out)?;
            codec::write(&self.cuts, out)?;
        }
        codec::write("bytes", out)?;
        codec::write(Bytes::new(&self.bytes), out)?;
        codec::write("media-type", out)?;
        codec::write(self.media_type.as_str(), out)
    }

    /// Checks number, order and range of the cuts.
    pub(crate) fn check_cuts(&self) -> Result<(), BadCuts> {
        let ascending = self.cuts.is_sorted_by(|a, b| a < b);
        let within = self.cuts.last().is_none_or(|last| last.0 <= self.bytes.len() as u64);
        if ascending && within && self.cuts.len() <= Self::MAX_CUTS { Ok(()) } else { Err(BadCuts) }
    }
}

impl std::fmt::Debug for OriginalDocument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OriginalDocument({}, {} bytes, {} cuts)", self.media_type, self.bytes.len(), self.cuts.len())
    }
}

#[derive(Deserialize)]
#[serde(rename = "original", deny_unknown_fields, rename_all = "kebab-case")]
struct Decoded {
    media_type: String,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
    #[serde(default)]
    cuts: Vec<Cut>,
}

impl TryFrom<Decoded> for OriginalDocument {
    type Error = BadCuts;

    fn try_from(Decoded { media_type, bytes, cuts }: Decoded) -> Result<Self, BadCuts> {
        let document = Self { media_type, bytes, cuts };
        document.check_cuts()?;
        Ok(document)
    }
}
