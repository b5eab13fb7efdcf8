//! From a record to its document.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use base64::engine::general_purpose::STANDARD;
use base64::write::EncoderWriter;

use super::flatten::{Flat, flatten};
use super::rebuild::rebuild;
use super::{FhirError, MEDIA_TYPE};
use crate::key::Key;
use crate::original::OriginalDocument;
use crate::record::Record;
use crate::value::{Attachment, Value};

/// How many bytes of an attachment are in memory at a time.
const BUFFER: usize = 48 << 10;

/// Why a record was not exported with its attachments. `E` is the error of whoever holds their content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError<E: std::error::Error + 'static> {
    /// The record cannot be exported.
    #[error(transparent)]
    Fhir(#[from] FhirError),
    /// The content of an attachment was not found.
    #[error("the content of {key} cannot be had: {source}")]
    Content {
        /// The field.
        key: Key,
        /// The cause.
        source: E,
    },
    /// The content of an attachment could not be read to its end.
    #[error("the content of {key} cannot be read: {source}")]
    Read {
        /// The field.
        key: Key,
        /// The cause.
        source: io::Error,
    },
    /// The content of an attachment is shorter or longer than its field says.
    #[error("the content of {key} does not have the {size} bytes that the record says: fetch it again")]
    Size {
        /// The field.
        key: Key,
        /// The size in the record.
        size: u64,
    },
    /// The document could not be written.
    #[error("the document cannot be written: {0}")]
    Write(#[source] io::Error),
}

/// Writes a record as FHIR R4 JSON, if it has no attachments in its document.
///
/// If the record carries its original document, checks that the fields agree with it and returns it byte for byte.
/// Otherwise builds a resource from the fields. Leaves out the files attached beside the document ([`Key::is_beside_document`]).
///
/// # Errors
/// Returns [`FhirError::Attachments`] if files belong into the document: [`export_to`] puts them there. Returns
/// [`FhirError::Contradicts`] or [`FhirError::Cut`] if the document and the fields differ, [`FhirError::NotMappable`] if
/// FHIR JSON has no place for a field or its value (bytes, attachments elsewhere than at a `data` beside a
/// `contentType`, gaps in arrays), [`FhirError::Empty`] if there are no fields, [`FhirError::OtherFormat`] if the
/// document is not FHIR JSON, and otherwise the errors of [`import`](super::import).
pub fn export(record: &Record) -> Result<Vec<u8>, FhirError> {
    let outline = Outline::of(record)?;
    match outline.files.len() {
        0 => Ok(outline.document.into_owned()),
        files => Err(FhirError::Attachments(files)),
    }
}

/// Writes a record as FHIR R4 JSON, with its attachments as base64 where they belong. For a record of
/// [`read`](super::read) these are the bytes that were read.
///
/// `content_of` gives the content of an attachment. It is called once for each, in the order of the document, after the
/// checks of [`export`]. An attachment takes constant memory. It is for `content_of` to check that the content is what
/// the link says.
///
/// # Errors
/// Returns [`ExportError`]. If it is not [`ExportError::Fhir`], a part of the document may have been written: throw it
/// away.
pub fn export_to<R: Read, E: std::error::Error + 'static>(
    record: &Record,
    mut content_of: impl FnMut(&Key, &Attachment) -> Result<R, E>,
    mut out: impl Write,
) -> Result<(), ExportError<E>> {
    let outline = Outline::of(record)?;
    let mut written = 0;
    for File { at, key, attachment } in outline.files {
        out.write_all(&outline.document[written..at]).map_err(ExportError::Write)?;
        written = at;
        let content =
            content_of(key, attachment).map_err(|source| ExportError::Content { key: key.clone(), source })?;
        write_base64(key, attachment.size, content, &mut out)?;
    }
    out.write_all(&outline.document[written..]).and_then(|()| out.flush()).map_err(ExportError::Write)
}

/// Writes exactly `size` bytes of content as base64.
fn write_base64<E: std::error::Error + 'static>(
    key: &Key,
    size: u64,
    mut content: impl Read,
    out: impl Write,
) -> Result<(), ExportError<E>> {
    let mut encoder = EncoderWriter::new(out, &STANDARD);
    let mut buffer = vec![0; BUFFER];
    let mut left = size;
    loop {
        let read = match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(ExportError::Read { key: key.clone(), source }),
        };
        left = left.checked_sub(read as u64).ok_or_else(|| ExportError::Size { key: key.clone(), size })?;
        encoder.write_all(&buffer[..read]).map_err(ExportError::Write)?;
    }
    if left > 0 {
        return Err(ExportError::Size { key: key.clone(), size });
    }
    encoder.finish().map_err(ExportError::Write)?;
    Ok(())
}

/// A file that belongs into a document.
pub(super) struct File<'a> {
    /// Where, in bytes from the start of the document without files.
    pub(super) at: usize,
    pub(super) key: &'a Key,
    pub(super) attachment: &'a Attachment,
}

/// A checked document without its files, and the files in the order of the document.
struct Outline<'a> {
    document: Cow<'a, [u8]>,
    files: Vec<File<'a>>,
}

impl<'a> Outline<'a> {
    fn of(record: &'a Record) -> Result<Self, FhirError> {
        if in_document(record).next().is_none() {
            return Err(FhirError::Empty);
        }
        match record.original() {
            Some(original) => Self::of_original(record, original),
            None => Self::rebuilt(record),
        }
    }

    /// The original document, if reading it gives exactly the record's fields.
    fn of_original(record: &'a Record, original: &'a OriginalDocument) -> Result<Self, FhirError> {
        if original.media_type != MEDIA_TYPE {
            return Err(FhirError::OtherFormat(original.media_type.chars().take(80).collect()));
        }
        let mut flat = flatten(&original.bytes)?;
        let mut cuts = original.cuts.iter().map(|cut| cut.offset()).peekable();
        let mut files = Vec::new();
        for place in std::mem::take(&mut flat.places) {
            // A cut is in the empty string that it left.
            if !place.text.is_empty() || cuts.next_if_eq(&(place.at as u64)).is_none() {
                flat.keep(place);
                continue;
            }
            let key = flat.key(&place)?;
            match record.fields().get_key_value(&key) {
                Some((key, Value::Attachment(attachment)))
                    if attachment.media_type == place.media_type && attachment.size > 0 =>
                {
                    files.push(File { at: place.at, key, attachment });
                }
                _ => return Err(FhirError::Contradicts(key)),
            }
        }
        if let Some(cut) = cuts.next() {
            return Err(FhirError::Cut(cut));
        }
        let mut fields = flat.into_fields()?;
        fields.extend(files.iter().map(|file| (file.key.clone(), Value::Attachment(file.attachment.clone()))));
        match first_difference(record, &fields) {
            Some(key) => Err(FhirError::Contradicts(key.clone())),
            None => Ok(Self { document: Cow::Borrowed(&original.bytes), files }),
        }
    }

    /// A document of the record's fields.
    fn rebuilt(record: &'a Record) -> Result<Self, FhirError> {
        let (document, files) = rebuild(in_document(record))?;
        let flat = flatten(&document)?;
        // The first segment of the keys and the type that the resource states must agree.
        let other = |key: &&Key| key.segments().next() != Some(flat.resource_type());
        if let Some(key) = in_document(record).map(|(key, _)| key).find(other) {
            return Err(FhirError::NotMappable(key.clone()));
        }
        let has_place = |file: &File<'_>| is_place(&flat, file.at) && file.attachment.size > 0;
        if let Some(file) = files.iter().find(|file| !has_place(file)) {
            return Err(FhirError::NotMappable(file.key.clone()));
        }
        drop(flat);
        Ok(Self { document: Cow::Owned(document), files })
    }
}

/// Whether a file can be at this position.
fn is_place(flat: &Flat<'_>, at: usize) -> bool {
    flat.places.binary_search_by_key(&at, |place| place.at).is_ok()
}

/// The fields of a record that belong into its document.
fn in_document(record: &Record) -> impl Iterator<Item = (&Key, &Value)> {
    record.fields().iter().filter(|(key, _)| !key.is_beside_document())
}

/// The first key with different values in the record and in its document.
fn first_difference<'a>(record: &'a Record, document: &'a BTreeMap<Key, Value>) -> Option<&'a Key> {
    let from_record = in_document(record).find(|(key, value)| document.get(key) != Some(value));
    let from_document = document.iter().find(|(key, value)| record.get(key) != Some(value));
    from_record.into_iter().chain(from_document).map(|(key, _)| key).min()
}
