//! The document of a record, with the files that were embedded in it when it was written.

use std::{collections::BTreeMap, io};

use emr_core::{Key, fhir};

use crate::{client::Client, error::ClientError, flow::retrieve::ReadError, verify::record::AuthenticRecord};

impl Client {
    /// The FHIR document of a record that was read. Files that belong into the document are fetched, and are in it as base64. A document whose files
    /// have more than [`fhir::MAX_BYTES`] together is refused, because no import makes one.
    ///
    /// # Errors
    /// [`ReadError::Document`] if the record has no FHIR document, or contradicts it. [`ReadError::LargeDocument`] if its files are too large. Other
    /// variants as for [`Self::open_attachment`].
    pub async fn document(&self, record: &AuthenticRecord) -> Result<Vec<u8>, ClientError> {
        let slot = record.authorship().slot;
        let files = record.attachments().iter().enumerate().filter(|(_, file)| !file.key.is_beside_document());
        let size = files.clone().fold(0, |size: u64, (_, file)| size.saturating_add(file.sealed.length));
        if size > fhir::MAX_BYTES as u64 {
            return Err(ReadError::LargeDocument { slot, size }.into());
        }
        let mut contents: BTreeMap<&Key, Vec<u8>> = BTreeMap::new();
        for (number, file) in files {
            let mut stream = self.open_attachment(record, number, None).await?;
            let content = contents.entry(&file.key).or_default();
            while let Some(part) = stream.next().await? {
                content.extend_from_slice(&part);
            }
        }
        let content_of = |key: &Key, _: &_| contents.get(key).map(Vec::as_slice).ok_or(io::ErrorKind::NotFound);
        let mut document = Vec::new();
        fhir::export_to(record.record(), |key, file| content_of(key, file).map_err(io::Error::from), &mut document)
            .map_err(|source| ReadError::Document { slot, source: Box::new(source) })?;
        Ok(document)
    }
}
