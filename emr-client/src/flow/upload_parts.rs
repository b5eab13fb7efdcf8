//! Writes a document in parts, one record for each class, and goes on where an interrupted run stopped.

use std::collections::BTreeSet;

use emr_core::{AccountIndex, Class, Codec, Record, cid::cid_of};
use emr_rollup::operation::OperationId;

use crate::{
    client::Client,
    error::ClientError,
    flow::attach::{AttachmentContent, AttachmentSource},
    profile::NotedPart,
    verify::card::Card,
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

impl NewPart {
    /// The digest of what is to be written, in hexadecimal digits. Of a file on this machine it covers the name alone.
    fn content(&self) -> Result<String, ClientError> {
        let mut all = Vec::new();
        let mut add = |bytes: &[u8]| {
            // Digests, so that no two different lists are the same bytes.
            all.extend_from_slice(cid_of(Codec::Raw, bytes).hash().digest());
        };
        add(self.class.to_string().as_bytes());
        add(&self.record.to_dag_cbor()?);
        for AttachmentSource { key, media_type, content } in &self.attachments {
            add(key.as_str().as_bytes());
            add(media_type.as_bytes());
            match content {
                AttachmentContent::Bytes(bytes) => add(bytes),
                AttachmentContent::Sealed(sealed) => add(&sealed.manifest.to_bytes()),
                AttachmentContent::File(path) => add(path.as_os_str().as_encoded_bytes()),
            }
        }
        Ok(hex::encode(cid_of(Codec::Raw, &all).hash().digest()))
    }
}

/// A document in parts, as it is written for a patient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartsWritten {
    /// The patient.
    pub patient: AccountIndex,
    /// The parts, in the order in which they were written.
    pub parts: Vec<NotedPart>,
    /// Records of an interrupted run whose content is not that of a part now: another version of this program split the document otherwise. Their
    /// resources are in the parts too, perhaps in other classes.
    pub stale: Vec<NotedPart>,
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
        // Another version of this program can split the document otherwise. What it wrote counts only if it is the same part.
        let known: BTreeSet<String> = noted.iter().map(|part| part.content.clone()).collect();
        let mut wanted = BTreeSet::new();
        for part in parts {
            let content = part.content()?;
            wanted.insert(content.clone());
            if known.contains(&content) {
                continue;
            }
            let NewPart { class, record, attachments } = part;
            let written = self.upload_with(patient, class, &record, attachments, &|_| {}).await?;
            noted.push(NotedPart {
                class: written.class,
                content,
                slot: written.slot,
                version: written.version,
                record_cid: written.record_cid.to_string(),
                operation: written.acknowledged.operation,
            });
            self.profile.note_split_parts(&split, noted.clone())?;
        }
        let (parts, stale) = noted.into_iter().partition(|part| wanted.contains(&part.content));
        Ok(PartsWritten { patient: checked.account(), parts, stale, split })
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

#[cfg(test)]
mod tests {
    use emr_core::{Key, Value};

    use super::*;

    #[test]
    fn another_record_or_file_is_another_part() -> Result<(), Box<dyn std::error::Error>> {
        let file = |key: &str, media_type: &str, bytes: &[u8]| -> Result<_, emr_core::KeyError> {
            let content = AttachmentContent::Bytes(bytes.to_vec());
            Ok(AttachmentSource { key: Key::new(key)?, media_type: media_type.to_owned(), content })
        };
        let mut record = Record::new();
        record.insert(Key::new("Patient.id")?, Value::Text("p".to_owned()))?;
        let part = NewPart {
            class: Class::Summary,
            record: record.clone(),
            attachments: vec![file("attachments.0", "text/plain", b"a")?],
        };
        let content = part.content()?;
        assert_eq!((content.len(), part.clone().content()?), (64, content.clone()));
        record.insert(Key::new("Patient.id")?, Value::Text("q".to_owned()))?;
        let (a, b) = (file("attachments.0", "text/plain", b"a")?, file("attachments.1", "text/plain", b"")?);
        for other in [
            NewPart { class: Class::Laboratory, ..part.clone() },
            NewPart { record, ..part.clone() },
            NewPart { attachments: Vec::new(), ..part.clone() },
            NewPart { attachments: vec![a, b], ..part.clone() },
            NewPart { attachments: vec![file("attachments.0", "text/plain", b"b")?], ..part.clone() },
            NewPart { attachments: vec![file("attachments.0", "text/html", b"a")?], ..part.clone() },
            NewPart { attachments: vec![file("attachments.1", "text/plain", b"a")?], ..part.clone() },
        ] {
            assert_ne!(other.content()?, content, "{other:?}");
        }
        Ok(())
    }
}
