//! Importing many records so that a repeated import writes none of them twice.

use emr_core::{Class, Record};

use crate::{
    client::Client,
    error::ClientError,
    flow::{
        attach::{AttachmentSource, SealedFiles},
        on_l1::OnL1,
        owners::Owners,
        upload::{Content, Place, Written, intent},
    },
    profile::imports::{IMPORT, Imported},
    verify::card::Card,
};

/// What became of a record of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one exists at a time")]
pub enum ImportOutcome {
    /// It is written, by this run or an earlier one, and not settled yet.
    Written(Written),
    /// An earlier run wrote it, and it is settled.
    Settled(Imported),
}

impl Client {
    /// Writes a new record, unless an earlier call wrote the same record for the same patient in the same class. Unlike [`Self::upload`], it
    /// remembers that after the record is settled too: in the data folder, so another folder knows nothing of it.
    ///
    /// # Errors
    /// As for [`Self::upload_with`].
    pub async fn import(
        &self,
        patient: &Card,
        class: Class,
        record: &Record,
        attachments: Vec<AttachmentSource>,
    ) -> Result<ImportOutcome, ClientError> {
        let patient = self.check_card(patient).await?;
        let bytes = record.to_dag_cbor()?;
        let place = Place::New(class);
        let (mut record, mut files) = (record.clone(), SealedFiles::default());
        if !attachments.is_empty() {
            self.check_may_write(&patient, place).await?;
            files = self.attach(&patient, place, &mut record, attachments, &|_| {}).await?;
        }
        let intent = format!("{IMPORT}{}", intent(&patient, place, &bytes, &files.identity));
        let _turn = self.turn().await;
        self.settle_lapsed(&intent).await?;
        if let Some(acknowledged) = self.continue_intent(&intent).await?
            && let Some(written) = self.written_before(acknowledged)
        {
            return Ok(ImportOutcome::Written(written));
        }
        // If it was settled meanwhile, the outbox has just handed it over.
        if let Some(imported) = self.profile.imported(&intent)? {
            return Ok(ImportOutcome::Settled(imported));
        }
        let bytes = record.to_dag_cbor()?;
        let content = Content { record: &record, bytes: &bytes, files: &files };
        Ok(ImportOutcome::Written(self.write_as(&patient, place, content, &intent).await?))
    }

    /// Asks what became of an operation of this request whose time is over: a batch may still have taken it.
    async fn settle_lapsed(&self, intent: &str) -> Result<(), ClientError> {
        let entries = self.profile.outbox().entries();
        let now = emr_core::UnixTime::now();
        for entry in entries.iter().filter(|entry| entry.draft().intent.as_deref() == Some(intent)) {
            if entry.has_lapsed(now) {
                let fate = self.fate(entry, &mut Owners::default(), &mut OnL1::default()).await?;
                self.conclude(entry, &fate)?;
                if !fate.is_final() {
                    return Err(ClientError::Contended);
                }
            }
        }
        Ok(())
    }
}
