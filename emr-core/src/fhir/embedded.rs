//! Files embedded in a document: taken out on import.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cid::Cid;

use super::flatten::flatten;
use super::{FhirError, MEDIA_TYPE};
use crate::key::Key;
use crate::original::{Cut, OriginalDocument};
use crate::record::Record;
use crate::value::{Attachment, Value};

/// How many embedded files are taken out of a document, the first ones. The rest stays text.
pub const MAX_EMBEDDED: usize = OriginalDocument::MAX_CUTS;

/// A file that was embedded in a document.
#[derive(Clone, PartialEq, Eq)]
pub struct Embedded {
    /// The path of its `data`: `DocumentReference.content.0.attachment.data`.
    pub key: Key,
    /// The type and subtype of the `contentType` beside it, in lower case, or `application/octet-stream`. The file can
    /// be of another type.
    pub media_type: String,
    /// The file. It is not empty.
    pub content: Vec<u8>,
}

/// Does not show the content.
impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Embedded({}, {}, {} bytes)", self.key, self.media_type, self.content.len())
    }
}

/// A document that was read, and whose embedded files have no place yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Without those of the embedded files.
    fields: BTreeMap<Key, Value>,
    embedded: Vec<Embedded>,
    original: OriginalDocument,
}

/// Reads a FHIR R4 resource, and takes out the files that are embedded in it.
///
/// A file is the member `data` of an object with a string `contentType`, or of a Binary. It is taken out if it is
/// base64 of RFC 4648, section 4, with padding, canonical, not empty and without escapes of JSON. Base64 of another form
/// stays text, because the text could not be restored from the file. The document is parsed once.
///
/// # Errors
/// The same as [`import`](super::import).
pub fn read(document: &[u8]) -> Result<Draft, FhirError> {
    let mut flat = flatten(document)?;
    let mut embedded = Vec::new();
    let mut cuts = Vec::new();
    let mut shortened = Vec::new();
    let mut copied = 0;
    for place in std::mem::take(&mut flat.places) {
        let wanted = embedded.len() < MAX_EMBEDDED && !place.text.is_empty();
        // This engine accepts exactly the canonical form, so encoding gives the text again.
        let Some(content) = wanted.then(|| STANDARD.decode(place.text).ok()).flatten() else {
            flat.keep(place);
            continue;
        };
        shortened.extend_from_slice(&document[copied..place.at]);
        cuts.push(Cut::new(shortened.len() as u64));
        copied = place.at + place.text.len();
        embedded.push(Embedded { key: flat.key(&place)?, media_type: place.media_type, content });
    }
    shortened.extend_from_slice(&document[copied..]);
    let original = OriginalDocument { media_type: MEDIA_TYPE.to_owned(), bytes: shortened, cuts };
    Ok(Draft { fields: flat.into_fields()?, embedded, original })
}

impl Draft {
    /// The embedded files, in the order of the document.
    pub fn embedded(&self) -> &[Embedded] {
        &self.embedded
    }

    /// The record without the fields of its embedded files, and these files. [`Record::attach`] adds each field when its file has an address;
    /// until then the record cannot be exported.
    ///
    /// # Errors
    /// Returns [`FhirError::Record`] if there are too many fields.
    pub fn into_parts(self) -> Result<(Record, Vec<Embedded>), FhirError> {
        Ok((Record::from_fields(self.fields, Some(self.original))?, self.embedded))
    }

    /// Makes the record. `links` has the address of each embedded file, in their order.
    ///
    /// # Errors
    /// Returns [`FhirError::Links`] if there are not as many links as embedded files.
    pub fn into_record(mut self, links: &[Cid]) -> Result<Record, FhirError> {
        if links.len() != self.embedded.len() {
            return Err(FhirError::Links { embedded: self.embedded.len(), links: links.len() });
        }
        for (Embedded { key, media_type, content }, link) in self.embedded.into_iter().zip(links) {
            let attachment = Attachment { link: *link, media_type, size: content.len() as u64 };
            self.fields.insert(key, Value::Attachment(attachment));
        }
        Ok(Record::from_fields(self.fields, Some(self.original))?)
    }
}
