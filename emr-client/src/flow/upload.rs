//! Writing records: new records, new versions and deletions, by doctors under a grant and by patients.

mod error;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use emr_api::{PatientView, RecordSummary, StoredAt};
use emr_core::{
    AccountIndex, Authorship, Cid, Class, ClassMask, Codec, Commitment, GrantSlot, Opaque, Record, RecordSlot,
    RecordStatus, Revision, Rights, SaltSeed, UnixTime, Version, cid::cid_of,
};
use emr_crypto::{AuthoredRecord, DirectoryRoot, SealedRecord};
use emr_rollup::{
    operation::{Action, PutRecord, Tombstone},
    primitive::field,
    state::leaf::RecordLeaf,
};

use crate::{
    client::Client,
    error::ClientError,
    flow::attach::{AttachmentSource, SealedFiles, Told},
    flow::next_version::EditClass,
    flow::submit::{Acknowledged, Outgoing},
    keys,
    verify::attached::attached,
    verify::card::{Card, CheckedCard},
    verify::directory::PublishedDirectory,
    verify::record::RecordId,
};

pub use error::WriteError;

/// How often a write is tried while others write at the same time.
const ATTEMPTS: usize = 5;

/// A record that was written and acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The patient.
    pub patient: AccountIndex,
    /// The record's slot.
    pub slot: RecordSlot,
    /// The version.
    pub version: Version,
    /// Its class.
    pub class: Class,
    /// The manifest's CID.
    pub record_cid: Cid,
    /// The node's acknowledgement. The record is in force when its batch is settled.
    pub acknowledged: Acknowledged,
}

/// The content of a version, with its attachments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content<'a> {
    pub(crate) record: &'a Record,
    /// The bytes of `record`.
    pub(crate) bytes: &'a [u8],
    pub(crate) files: &'a SealedFiles,
}

/// Where a version is written, and in which class.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// The next free slot.
    New(Class),
    /// A slot that holds a record already.
    Over(RecordSlot, EditClass),
}

/// For the digest of a request.
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::New(class) => write!(f, "new {class}"),
            Self::Over(slot, EditClass::Proved) => write!(f, "{slot} same"),
            Self::Over(slot, EditClass::Stated(class)) => write!(f, "{slot} in {class}"),
            Self::Over(slot, EditClass::MoveTo(class)) => write!(f, "{slot} to {class}"),
        }
    }
}

impl Client {
    /// Writes a new record. If the same record was written before with the same class and patient and is not settled yet, that one is returned.
    ///
    /// # Errors
    /// [`WriteError`] if the record cannot be written. [`ClientError`] if the card does not hold, or the node or L1 does not do its part.
    pub async fn upload(&self, patient: &Card, class: Class, record: &Record) -> Result<Written, ClientError> {
        self.write(patient, Place::New(class), record, Vec::new(), &|_| {}).await
    }

    /// Writes a new record with attachments. Each is sealed and sent before the record is signed; `told` learns how far it is. After an interruption,
    /// make the same request again: what the node has is not sent again.
    ///
    /// # Errors
    /// [`WriteError::AttachmentFile`] if a file cannot be read. [`WriteError::AttachmentChanged`] if it keeps changing. Other variants as for
    /// [`Self::upload`].
    pub async fn upload_with(
        &self,
        patient: &Card,
        class: Class,
        record: &Record,
        attachments: Vec<AttachmentSource>,
        told: Told<'_>,
    ) -> Result<Written, ClientError> {
        self.write(patient, Place::New(class), record, attachments, told).await
    }

    /// Writes a record's next version, in the same class or in another one.
    ///
    /// # Errors
    /// [`WriteError::ClassNotProved`] or [`WriteError::OtherClass`] if the record's class is not certain. Other variants as for [`Self::upload`].
    pub async fn edit(
        &self,
        patient: &Card,
        slot: RecordSlot,
        class: EditClass,
        record: &Record,
    ) -> Result<Written, ClientError> {
        self.write(patient, Place::Over(slot, class), record, Vec::new(), &|_| {}).await
    }

    /// Writes a record's next version with attachments: as [`Self::upload_with`], and with those of the earlier version that are given again
    /// ([`AttachmentContent::Sealed`](crate::flow::attach::AttachmentContent::Sealed)). The version has no others.
    ///
    /// # Errors
    /// The same as [`Self::edit`] and [`Self::upload_with`].
    pub async fn edit_with(
        &self,
        patient: &Card,
        (slot, class): (RecordSlot, EditClass),
        record: &Record,
        attachments: Vec<AttachmentSource>,
        told: Told<'_>,
    ) -> Result<Written, ClientError> {
        self.write(patient, Place::Over(slot, class), record, attachments, told).await
    }

    /// Deletes a record permanently. Honest nodes then serve it to its patient only, and remove its blocks a day after the deletion is
    /// settled. The audit chain keeps its entries.
    ///
    /// # Errors
    /// [`WriteError::NotAuthor`] if this account is neither the author nor the patient. Other variants as for [`Self::upload`].
    pub async fn delete(&self, patient: &Card, slot: RecordSlot) -> Result<Acknowledged, ClientError> {
        let patient = self.check_card(patient).await?;
        let _turn = self.turn().await;
        self.deliver_waiting().await?;
        let account = self.account()?;
        for _ in 0..ATTEMPTS {
            let (view, _) = self.patient_view(&patient).await?;
            let old = self.existing(&patient, slot).await?.leaf;
            if account != patient.account() && account != old.author {
                return Err(WriteError::NotAuthor { slot, author: old.author }.into());
            }
            let authority = self.authority(&view, old.class.into(), old.class).await?;
            let leaf = RecordLeaf { status: RecordStatus::Tombstone, revision: old.revision.next()?, ..old };
            let action = Action::Tombstone(Tombstone { slot, expected: old.revision, leaf });
            let operation = self.operation(&patient, action).await?;
            match self.hand_in(Outgoing::plain(&patient, operation, authority)).await {
                Err(error) if error.is_stale() => {}
                other => return other,
            }
        }
        Err(ClientError::Contended)
    }

    /// The records of a patient that this account may know of.
    ///
    /// # Errors
    /// [`ClientError`] if the card does not hold or the node does not answer.
    pub async fn records(&self, patient: &Card) -> Result<Vec<RecordSummary>, ClientError> {
        let patient = self.check_card(patient).await?;
        Ok(self.node.records(patient.account()).await?)
    }

    async fn write(
        &self,
        patient: &Card,
        place: Place,
        record: &Record,
        attachments: Vec<AttachmentSource>,
        told: Told<'_>,
    ) -> Result<Written, ClientError> {
        let patient = self.check_card(patient).await?;
        let bytes = record.to_dag_cbor()?;
        if attachments.is_empty() {
            let (intent, files) = (intent(&patient, place, &bytes, &[]), SealedFiles::default());
            let _turn = self.turn().await;
            return self.write_as(&patient, place, Content { record, bytes: &bytes, files: &files }, &intent).await;
        }
        // Nobody sends a gigabyte for a record that they may not write.
        self.check_may_write(&patient, place).await?;
        let mut record = record.clone();
        let files = self.attach(&patient, place, &mut record, attachments, told).await?;
        // The links are new with each key. So the request is known by what was given, and by the content of the attachments.
        let intent = intent(&patient, place, &bytes, &files.identity);
        let bytes = record.to_dag_cbor()?;
        let _turn = self.turn().await;
        self.write_as(&patient, place, Content { record: &record, bytes: &bytes, files: &files }, &intent).await
    }

    /// Whether this account may write there, as far as the node says now.
    pub(crate) async fn check_may_write(&self, patient: &CheckedCard, place: Place) -> Result<(), ClientError> {
        let (view, _) = self.patient_view(patient).await?;
        let (scope, class) = match place {
            Place::New(class) => (class.into(), class),
            Place::Over(slot, class) => {
                let (old, class) = self.next_version(patient, slot, class).await?;
                ([old.class, class].into_iter().collect(), class)
            }
        };
        self.authority(&view, scope, class).await.map(drop)
    }

    /// Writes for a request, within the caller's turn. If an undelivered record of the same request is kept, the new operation replaces it.
    pub(crate) async fn write_as(
        &self,
        patient: &CheckedCard,
        place: Place,
        content: Content<'_>,
        intent: &str,
    ) -> Result<Written, ClientError> {
        // What readers check too: they would refuse the record.
        attached(content.record, &content.files.keys).map_err(WriteError::from)?;
        if let Some(acknowledged) = self.continue_intent(intent).await?
            && let Some(written) = self.written_before(acknowledged)
        {
            while let Some(refused) = self.refused_before(intent) {
                self.profile.outbox().discard(refused)?;
            }
            return Ok(written);
        }
        self.deliver_waiting().await?;
        for _ in 0..ATTEMPTS {
            match self.try_write(patient, place, content, intent).await {
                // Somebody wrote this record or took the slot meanwhile. Everything but the attachments is bound to slot and version, so it is made
                // again.
                Err(error) if error.is_stale() => {}
                Err(ClientError::Write(WriteError::NoDirectory(of))) if of == self.account()? => {
                    self.publish_directory().await?
                }
                other => return other,
            }
        }
        Err(ClientError::Contended)
    }

    async fn try_write(
        &self,
        patient: &CheckedCard,
        place: Place,
        Content { record, bytes, files }: Content<'_>,
        intent: &str,
    ) -> Result<Written, ClientError> {
        let (view, published) = self.patient_view(patient).await?;
        let (slot, old, class) = match place {
            Place::New(class) => (view.next_record_slot, None, class),
            Place::Over(slot, class) => {
                let (old, class) = self.next_version(patient, slot, class).await?;
                (slot, Some(old), class)
            }
        };
        let scope: ClassMask = old.map(|old| old.class).into_iter().chain([class]).collect();
        let authority = self.authority(&view, scope, class).await?;
        let directory = self.writers_directory(patient, &published).await?;

        let version = old.map_or(Version::ZERO, |old| old.version).next()?;
        let previous = old.map(|old| Opaque::from_be_bytes32(field::to_bytes(&old.authored)));
        let previous = previous.transpose().map_err(|_| ClientError::Malformed("its list of records".to_owned()))?;
        let id = RecordId { domain: self.domain(), patient: patient.account(), slot };
        let context = id.context_of(version, class);
        let seed = SaltSeed::new(rand::random());
        let authorship = Authorship {
            domain: context.domain,
            patient: patient.account(),
            slot,
            version,
            class,
            commitment: Commitment::of(record, &seed).root(),
            previous,
        };
        let author = self.account()?;
        let authorship_bytes = authorship.to_dag_cbor();
        let to_sign = authorship_bytes.clone();
        let signature = keys::with(&self.keys, move |keys| keys.sign_authorship(&to_sign)).await?;
        let authored = AuthoredRecord {
            record: bytes.to_vec(),
            signature,
            authorship: authorship_bytes,
            author,
            author_key: self.keys.committed_key(),
            commitment_seed: *seed.as_bytes(),
            attachments: files.keys.clone(),
        };
        let current = directory.current_public(class);
        let sealed = SealedRecord::seal(&authored, &context, &current)?;
        let stored = Opaque::stored(&sealed.manifest, &sealed.storage_salt);
        let leaf = RecordLeaf {
            status: RecordStatus::Live,
            class,
            author,
            custodian: match old {
                Some(old) => old.custodian,
                None => Some(self.hospital()?),
            },
            version,
            revision: old.map_or(Revision::ZERO, |old| old.revision).next()?,
            authored: field::from_opaque(authorship.authored().as_bytes()),
            stored: field::from_opaque(stored.as_bytes()),
        };
        let expected = old.map_or(Revision::ZERO, |old| old.revision);
        let operation = self.operation(patient, Action::PutRecord(PutRecord { slot, expected, leaf })).await?;
        let acknowledged = self
            .hand_in(Outgoing {
                operation,
                authority,
                stored: Some(StoredAt { manifest: sealed.manifest, salt: sealed.storage_salt }),
                epoch: Some((&current).into()),
                directory: None,
                intent: Some(intent.to_owned()),
                key: Some(BASE64.encode(sealed.key.wrap(&self.keys.encryption_key(), &context).to_bytes())),
                replaces: self.refused_before(intent),
                owner: patient.ethereum(),
                blocks: [files.blocks.clone(), sealed.blocks].concat(),
                journals: files.journals.clone(),
            })
            .await?;
        let record_cid = sealed.manifest;
        Ok(Written { patient: patient.account(), slot, version, class, record_cid, acknowledged })
    }

    /// The record that an earlier run wrote.
    pub(crate) fn written_before(&self, acknowledged: Acknowledged) -> Option<Written> {
        let operation = acknowledged.signed.operation;
        let (slot, leaf) = operation.action.record()?;
        let entries = self.profile.outbox().entries();
        let entry = entries.iter().find(|entry| entry.draft().operation == acknowledged.operation)?;
        let stored = entry.draft().submission.stored.as_ref()?;
        Some(Written {
            patient: operation.patient,
            slot,
            version: leaf.version,
            class: leaf.class,
            record_cid: stored.manifest,
            acknowledged,
        })
    }

    /// The grant under which this account writes these classes, or `None` for the patient's own account.
    async fn authority(
        &self,
        view: &PatientView,
        scope: ClassMask,
        class: Class,
    ) -> Result<Option<GrantSlot>, ClientError> {
        let account = self.account()?;
        if account == view.patient {
            return Ok(None);
        }
        let org = self.node.account(account).await?.org;
        let now = UnixTime::now();
        let allows = |grant: &emr_rollup::state::leaf::GrantLeaf| {
            grant.is_live_for(account, org, now)
                && grant.rights.contains(Rights::WRITE)
                && grant.scope.bits() & scope.bits() == scope.bits()
        };
        // The grant that holds longest is best, because the operation waits for its batch.
        let grants = view.grants.iter().filter(|view| allows(&view.grant));
        let longest = grants.max_by_key(|view| view.grant.not_after);
        let longest = longest.ok_or(WriteError::NotGranted { patient: view.patient, class })?;
        Ok(Some(longest.slot))
    }

    /// The key directory that a writer seals to.
    async fn writers_directory(
        &self,
        patient: &CheckedCard,
        published: &PublishedDirectory,
    ) -> Result<DirectoryRoot, ClientError> {
        let cid = published.cid().ok_or(WriteError::NoDirectory(patient.account()))?;
        self.directory_root(&cid).await
    }
}

/// The digest that tells whether two requests are the same.
pub(crate) fn intent(patient: &CheckedCard, place: Place, record: &[u8], attachments: &[u8]) -> String {
    let place = match place {
        Place::New(class) => format!("new {class}"),
        Place::Over(slot, EditClass::Proved) => format!("{slot} same"),
        Place::Over(slot, EditClass::Stated(class)) => format!("{slot} in {class}"),
        Place::Over(slot, EditClass::MoveTo(class)) => format!("{slot} to {class}"),
    };
    let head = format!("emr/put-record/v1 {} {} {place}\n", patient.account(), patient.ethereum());
    hex::encode(cid_of(Codec::Raw, &[head.as_bytes(), record, attachments].concat()).hash().digest())
}
