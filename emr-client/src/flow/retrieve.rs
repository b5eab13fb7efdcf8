//! Reading a record: it is fetched, opened, and verified from its bytes up to L1 (`verify`).

use std::collections::{BTreeSet, HashMap};

use emr_api::{PatientView, RecordView};
use emr_core::{AccountIndex, Cid, Class, Codec, Reason, RecordSlot, RecordStatus, cid::codec_of, fhir::ExportError};
use emr_crypto::{
    DecryptionFailed, EpochKeyring, KeyDirectory, MAX_ATTACHMENTS, MAX_RECORD_BYTES, Manifest, OpenError, OpenedRecord,
    OwnDirectoryError, PatientDirectory,
};

use crate::{
    client::Client,
    error::ClientError,
    flow::request::Requested,
    keys,
    node::NodeError,
    node::parallel::Fetching,
    patience::Patience,
    verify::card::{Card, CheckedCard},
    verify::record::{AuthenticRecord, RecordId, RecordProofError, VerifiedRecord, check_unsettled, verify_record},
};

/// The most bytes that are fetched for one record: the longest record, padded by an eighth at most, and the tags of its chunks.
const MAX_FETCH: usize = MAX_RECORD_BYTES as usize / 8 * 9 + (8 << 20);
/// The most links of one record.
const MAX_FETCH_LINKS: usize = 2 + 512 + MAX_ATTACHMENTS;
/// Why a record was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No grant allows the account to read these records.
    #[error("no grant allows you to read {class} records of patient {patient}: ask the patient for one")]
    NotGranted {
        /// The patient.
        patient: AccountIndex,
        /// The class.
        class: Class,
    },
    /// The patient revoked the access.
    #[error("patient {patient} has revoked your access: {message}")]
    Revoked {
        /// The patient.
        patient: AccountIndex,
        /// What the node said.
        message: String,
    },
    /// Access has to be requested first.
    #[error("access to {class} records of patient {patient} has to be requested first, with a reason")]
    NotRequested {
        /// The patient.
        patient: AccountIndex,
        /// The class.
        class: Class,
    },
    /// The slot holds no record that this account may know of.
    #[error("patient {patient} has no record {slot} that you may know of: list the patient's records")]
    NoSuchRecord {
        /// The patient.
        patient: AccountIndex,
        /// The record's slot.
        slot: RecordSlot,
    },
    /// The patient's key directory holds no keys for this reader.
    #[error(
        "the patient's key directory holds no keys for you: ask the patient to grant you read access directly (a grant to your hospital carries no keys for you). If a delegate gave you access, the patient's program gives you keys when it next runs"
    )]
    NoKeys,
    /// The envelope does not open.
    #[error("record {slot}: {source}")]
    Open {
        /// The record's slot.
        slot: RecordSlot,
        /// The cause.
        #[source]
        source: OpenError<Missing>,
    },
    /// The record has no FHIR document, or its fields contradict it.
    #[error("record {slot}: {source}")]
    Document {
        /// The record's slot.
        slot: RecordSlot,
        /// The cause.
        #[source]
        source: Box<ExportError<std::io::Error>>,
    },
    /// The files in the document are too large for one.
    #[error(
        "the files in the document of record {slot} have {size} bytes together, the limit is {}: read them one by one with `get --attachment`",
        emr_core::fhir::MAX_BYTES
    )]
    LargeDocument {
        /// The record's slot.
        slot: RecordSlot,
        /// Bytes of all files.
        size: u64,
    },
    /// The record has no attachment with this number.
    #[error(
        "record {slot} has {count} attachments, counted from 0, and none with number {number}: `attachments` lists them"
    )]
    NoAttachment {
        /// The record's slot.
        slot: RecordSlot,
        /// The number.
        number: usize,
        /// How many there are.
        count: usize,
    },
    /// The attachment does not have these bytes.
    #[error("attachment {number} of record {slot} has {length} bytes: give a range within 0-{}", length.saturating_sub(1))]
    NoSuchBytes {
        /// The record's slot.
        slot: RecordSlot,
        /// The attachment's number.
        number: usize,
        /// Its length in bytes.
        length: u64,
    },
    /// An attachment does not open.
    #[error("attachment {number} of record {slot}: {source}")]
    Attachment {
        /// The record's slot.
        slot: RecordSlot,
        /// The attachment's number.
        number: usize,
        /// The cause.
        #[source]
        source: Box<OpenError<Missing>>,
    },
    /// The manifest lists more blocks or bytes than a record can have.
    #[error("record {0} claims more blocks than a record can have: do not rely on its author")]
    TooLarge(RecordSlot),
}

/// The envelope needs a block that the manifest does not list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the manifest does not list it")]
pub struct Missing;

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retrieved {
    /// Verified up to the state root on L1.
    Verified(VerifiedRecord),
    /// This version waits for its batch. Its content is signed. But only the node says that the key is the author's and that the version will
    /// be settled. Do not rely on it.
    Unsettled(AuthenticRecord),
}

impl Retrieved {
    /// The record, verified or not.
    pub const fn unproven(&self) -> &AuthenticRecord {
        match self {
            Self::Verified(record) => record.authentic(),
            Self::Unsettled(record) => record,
        }
    }

    /// The record if it is verified, else `None`.
    pub const fn verified(&self) -> Option<&VerifiedRecord> {
        match self {
            Self::Verified(record) => Some(record),
            Self::Unsettled(_) => None,
        }
    }
}

impl Client {
    /// Reads a record and verifies it. If the node asks for an access request and `reason` is given, access is requested first.
    ///
    /// # Errors
    /// [`ReadError`] if the account may not read the record, or the record cannot be opened. [`ClientError`] if something does not verify, or the
    /// node or L1 does not do its part.
    pub async fn retrieve(
        &self,
        patient: &Card,
        slot: RecordSlot,
        reason: Option<Reason>,
    ) -> Result<(Retrieved, Option<Requested>), ClientError> {
        let patient = self.check_card(patient).await?;
        {
            let _turn = self.turn().await;
            self.deliver_waiting().await?;
        }
        let mut requested = None;
        let mut patience = Patience::new();
        loop {
            let view = match self.node.record(patient.account(), slot).await {
                Err(error) if error.is_no_session() && requested.is_none() => {
                    let class = self.class_of(&patient, slot).await?;
                    let reason = reason.ok_or(ReadError::NotRequested { patient: patient.account(), class })?;
                    let _turn = self.turn().await;
                    requested = Some(self.request_checked(&patient, class, reason).await?);
                    continue;
                }
                other => other.map_err(|error| refused(error, patient.account(), slot))?,
            };
            match self.open_and_verify(&patient, &view).await {
                Err(error) if error.is_other_state() && patience.again().await => {}
                other => {
                    let read = other?;
                    let class = read.unproven().authorship().class;
                    // The node named the class, and the audit chain now holds a request for it. The record must be of that class.
                    if requested.as_ref().is_some_and(|requested: &Requested| requested.purpose.class != class) {
                        return Err(RecordProofError::Mismatch("class").into());
                    }
                    return Ok((read, requested));
                }
            }
        }
    }

    pub(super) async fn class_of(&self, patient: &CheckedCard, slot: RecordSlot) -> Result<Class, ClientError> {
        let patient = patient.account();
        let records = self.node.records(patient).await.map_err(|error| refused(error, patient, slot))?;
        let record = records.iter().find(|record| record.slot == slot);
        Ok(record.ok_or(ReadError::NoSuchRecord { patient, slot })?.leaf.class)
    }

    async fn open_and_verify(&self, patient: &CheckedCard, view: &RecordView) -> Result<Retrieved, ClientError> {
        let id = RecordId { domain: self.domain(), patient: patient.account(), slot: view.slot };
        if view.leaf.status != RecordStatus::Live {
            return Err(RecordProofError::NotLive { slot: view.slot, status: view.leaf.status }.into());
        }
        let opened = self.open_envelope(patient, &id, view).await?;
        match &view.proof {
            Some(proof) => {
                let state = self.settled_state().await?;
                Ok(Retrieved::Verified(verify_record(&id, view, proof, &opened, &state)?))
            }
            None => Ok(Retrieved::Unsettled(check_unsettled(&id, view, &opened)?)),
        }
    }

    /// A record's view, as the node sends it.
    pub(super) async fn record_view(&self, patient: AccountIndex, slot: RecordSlot) -> Result<RecordView, ClientError> {
        self.node.record(patient, slot).await.map_err(|error| refused(error, patient, slot))
    }

    pub(super) async fn open_envelope(
        &self,
        patient: &CheckedCard,
        id: &RecordId,
        view: &RecordView,
    ) -> Result<OpenedRecord, ClientError> {
        let refused = |error| refused(error, id.patient, id.slot);
        let manifest = view.stored.manifest;
        let blocks = self.fetch(view.slot, &manifest).await?;
        let context = id.context(&view.leaf);
        // The newest directory comes first: the grant may be newer than the record and than the settled state.
        let newest = self.node.patient(id.patient).await.map_err(refused)?;
        let mut last = ReadError::NoKeys;
        for cid in directories(&newest, view) {
            let directory = self.directory(&cid).await.map_err(|error| match error {
                ClientError::Node(error) => refused(error),
                other => other,
            })?;
            let fetch = |cid: &Cid| blocks.get(cid).cloned().ok_or(Missing);
            let mut open = |keys: &EpochKeyring| match OpenedRecord::open(&manifest, fetch, keys, &context) {
                Ok(opened) => Some(opened),
                Err(source) => {
                    last = ReadError::Open { slot: id.slot, source };
                    None
                }
            };
            let own = self.keyring(patient.account(), directory.clone()).await?;
            if let Some(opened) = own.as_ref().and_then(&mut open) {
                return Ok(opened);
            }
            // Then the keys that a delegate handed on, beside this directory.
            if self.account()? != patient.account() {
                let handed_on = self.handed_on(id.patient, view.leaf.class, &directory).await?;
                if let Some(opened) = handed_on.iter().find_map(&mut open) {
                    return Ok(opened);
                }
            }
        }
        Err(last.into())
    }

    /// This participant's keys in a patient's key directory, or `None` if the directory holds none.
    ///
    /// # Errors
    /// [`ClientError::OwnDirectory`] if the directory is the participant's own and does not open. [`ClientError::Keys`] if the keys cannot be used.
    pub async fn keyring(
        &self,
        patient: AccountIndex,
        directory: KeyDirectory,
    ) -> Result<Option<EpochKeyring>, ClientError> {
        let own = self.account()? == patient;
        let opened = keys::opening(&self.keys, move |reader| -> Result<_, OwnDirectoryError> {
            if own {
                return Ok(Some(PatientDirectory::open(directory, reader)?.keyring()));
            }
            Ok(directory.open_for(reader).ok())
        });
        Ok(opened.await??)
    }

    /// Fetches a record's blocks: the manifest and every block that it links, within the limits. Attachments have manifests of their own, and are
    /// fetched only when somebody wants them.
    pub(crate) async fn fetch(&self, slot: RecordSlot, manifest: &Cid) -> Result<HashMap<Cid, Vec<u8>>, ClientError> {
        let bytes = self.node.block(manifest).await?;
        let invalid = |_| ReadError::Open { slot, source: DecryptionFailed.into() };
        let links: BTreeSet<Cid> = Manifest::from_bytes(&bytes).map_err(invalid)?.links().iter().copied().collect();
        if links.len() > MAX_FETCH_LINKS {
            return Err(ReadError::TooLarge(slot).into());
        }
        let mut total = bytes.len();
        let mut blocks = HashMap::from([(*manifest, bytes)]);
        let is_attachment = |cid: &Cid| codec_of(cid).is_ok_and(|codec| codec == Codec::DagCbor);
        let mut fetching = Fetching::from(&self.node, links.into_iter().filter(|cid| !is_attachment(cid)));
        while let Some((cid, bytes)) = fetching.next().await? {
            total += bytes.len();
            if total > MAX_FETCH {
                return Err(ReadError::TooLarge(slot).into());
            }
            blocks.insert(cid, bytes);
        }
        Ok(blocks)
    }
}

/// The directories that may hold a reader's keys, newest first, without duplicates.
fn directories(newest: &PatientView, view: &RecordView) -> Vec<Cid> {
    let mut cids = Vec::new();
    for cid in newest.directory.into_iter().chain([view.directory]) {
        if !cids.contains(&cid) {
            cids.push(cid);
        }
    }
    cids
}

/// The reader's error for a refusal of the node.
pub(super) fn refused(error: NodeError, patient: AccountIndex, slot: RecordSlot) -> ClientError {
    if error.is_revoked() {
        return ReadError::Revoked { patient, message: error.to_string() }.into();
    }
    if error.is_not_found() {
        return ReadError::NoSuchRecord { patient, slot }.into();
    }
    error.into()
}
