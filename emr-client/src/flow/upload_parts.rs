//! Writes a document in parts, one record for each class, and goes on where an interrupted run stopped.

use std::collections::HashSet;

use emr_core::{AccountIndex, Class, Codec, Record, cid::cid_of};
use emr_rollup::operation::OperationId;

use crate::{
    client::Client, error::ClientError, flow::attach::AttachmentSource, profile::NotedPart, verify::card::Card,
};

/// A part that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPart {
    /// Its class.
    pub class: Class,
    /// Its record, without the fields of its files.
    pub record: Record,
    /// The files.
    pub attachments: Vec<AttachmentSource>,
}

/// A document in parts, as it is written for a patient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartsWritten {
    /// The patient.
    pub patient: AccountIndex,
    /// The parts, in the order in which they were written.
    pub parts: Vec<NotedPart>,
    /// The digest of patient and document, under which the profile notes the parts.
    split: String,
}

impl Client {
    /// Writes each part as a new record. Returns the parts of an interrupted run as they were written then, also if they are settled by now.
    /// After that the profile still notes them, until [`Self::parts_done`].
    ///
    /// A part is noted when the node has acknowledged it. If the process is killed just before, the outbox knows the part until it is settled;
    /// only a run that begins after that writes this one part again.
    ///
    /// # Errors
    /// As for [`Self::upload_with`]. The parts before stay written.
    pub async fn upload_parts(
        &self,
        patient: &Card,
        document: &[u8],
        parts: Vec<NewPart>,
    ) -> Result<PartsWritten, ClientError> {
        let checked = self.check_card(patient).await?;
        let head = format!("emr/parts/v1 {} {}\n", checked.account(), checked.ethereum());
        let split = hex::encode(cid_of(Codec::Raw, &[head.as_bytes(), document].concat()).hash().digest());
        let mut noted = self.profile.split_parts(&split);
        // A document has one part for each class. Parts of classes that it no longer has were written by another version of this program.
        let known: HashSet<Class> = noted.iter().map(|part| part.class).collect();
        for NewPart { class, record, attachments } in parts.into_iter().filter(|part| !known.contains(&part.class)) {
            let written = self.upload_with(patient, class, &record, attachments, &|_| {}).await?;
            noted.push(NotedPart {
                class: written.class,
                slot: written.slot,
                version: written.version,
                record_cid: written.record_cid.to_string(),
                operation: written.acknowledged.operation,
            });
            self.profile.note_split_parts(&split, noted.clone())?;
        }
        Ok(PartsWritten { patient: checked.account(), parts: noted, split })
    }

    /// Forgets the parts: the same document is written again if somebody asks for it.
    ///
    /// # Errors
    /// [`ClientError`] if the profile cannot be written.
    pub fn parts_done(&self, written: &PartsWritten) -> Result<(), ClientError> {
        Ok(self.profile.note_split_parts(&written.split, Vec::new())?)
    }

    /// Forgets one part, which the node returned. The next run writes it again.
    ///
    /// # Errors
    /// [`ClientError`] if the profile cannot be written.
    pub fn part_returned(&self, written: &PartsWritten, operation: OperationId) -> Result<(), ClientError> {
        let mut parts = self.profile.split_parts(&written.split);
        parts.retain(|part| part.operation != operation);
        Ok(self.profile.note_split_parts(&written.split, parts)?)
    }
}
