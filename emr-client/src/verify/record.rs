//! Verifies a record, from the author's signature up to the state root on L1. Pure: bytes in, typed result out.
//!
//! ```text
//! record ─ commitment ─ authorship ─ author's signature ─ author's key ─ encryption commitment ─ identity leaf ┐
//!                           │ authored                                                              identity root ┐
//!                      record leaf ─ records root ─ medical leaf ───────────────────────────────── medical root ─┴ state root
//!                           │ stored
//! manifest ─ salt ──────────┘
//! record's fields ─ links of attachments ─ keys in the sealed part
//! ```

use emr_api::{RecordProof, RecordView, StoredAt, encryption};
use emr_core::{
    AccountIndex, Authorship, Cid, Class, Commitment, Opaque, Record, RecordSlot, RecordStatus, SaltSeed, Version,
};
use emr_crypto::{AuthoredRecord, CommittedKey, KeyEpoch, OpenedRecord, RecordContext, RsaPublic, verify_authorship};
use emr_rollup::{
    layout::RECORD_DEPTH,
    operation::Domain,
    primitive::field::{self, Fr},
    state::leaf::{IdentityLeaf, RecordLeaf},
};

use crate::{
    verify::attached::{Attached, OtherAttachments, attached},
    verify::membership::{MembershipError, StateRoots, check_path, identity_leaf},
    verify::settled_state::SettledState,
};

/// Why a record does not verify.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordProofError {
    /// The record was deleted, or the slot is empty.
    #[error("record {slot} is {status}: there is nothing to read")]
    NotLive {
        /// The slot.
        slot: RecordSlot,
        /// What the slot holds.
        status: RecordStatus,
    },
    /// The authorship cannot be decoded.
    #[error("the record's authorship is malformed: its author has to write the record again")]
    Authorship,
    /// The author that the record names did not sign its authorship.
    #[error("the record is not signed by the author it names: do not rely on it")]
    Signature,
    /// A value differs from what the state commits to.
    #[error("the record does not check: its {0} is not what the state commits to. Do not rely on it; ask another node")]
    Mismatch(&'static str),
    /// The content cannot be decoded as a record.
    #[error("the content is not a record: its author has to write it again")]
    Content,
    /// The author lists other attachments in the record than they sealed.
    #[error(transparent)]
    Attachments(#[from] OtherAttachments),
    /// The leaf is not in the settled state.
    #[error(transparent)]
    Membership(#[from] MembershipError),
}

/// A record's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordId {
    /// The rollup.
    pub domain: Domain,
    /// The patient.
    pub patient: AccountIndex,
    /// The record's slot.
    pub slot: RecordSlot,
}

impl RecordId {
    /// The context to which the envelope of this leaf's version is bound.
    pub fn context(&self, leaf: &RecordLeaf) -> RecordContext {
        self.context_of(leaf.version, leaf.class)
    }

    /// The context of a version of this record.
    pub fn context_of(&self, version: Version, class: Class) -> RecordContext {
        let domain = field::to_bytes(&self.domain.element());
        RecordContext { domain, patient: self.patient, slot: self.slot, version, class }
    }
}

/// A record whose content, author and storage agree with a leaf.
///
/// It does not show that the leaf is in the state. A [`VerifiedRecord`] does; an unsettled record does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthenticRecord {
    record: Record,
    authorship: Authorship,
    author: AccountIndex,
    author_key: RsaPublic,
    leaf: RecordLeaf,
    manifest: Cid,
    attachments: Vec<Attached>,
    epoch: KeyEpoch,
}

impl AuthenticRecord {
    /// The record.
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// The authorship that the author signed.
    pub const fn authorship(&self) -> &Authorship {
        &self.authorship
    }

    /// The author of this version.
    pub const fn author(&self) -> AccountIndex {
        self.author
    }

    /// The key that signed the authorship.
    pub const fn author_key(&self) -> &RsaPublic {
        &self.author_key
    }

    /// The record's leaf.
    pub const fn leaf(&self) -> &RecordLeaf {
        &self.leaf
    }

    /// The manifest's CID.
    pub const fn manifest(&self) -> &Cid {
        &self.manifest
    }

    /// The record's files. The number of a file is its place in this list.
    pub fn attachments(&self) -> &[Attached] {
        &self.attachments
    }

    /// The epoch of the class key to which the record was sealed.
    pub const fn epoch(&self) -> KeyEpoch {
        self.epoch
    }

    /// Returns only the record.
    pub fn into_record(self) -> Record {
        self.record
    }
}

/// A record that is in the state that L1 holds. Only [`verify_record`] makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRecord {
    authentic: AuthenticRecord,
    batch: u64,
}

impl VerifiedRecord {
    /// The last batch of the state.
    pub const fn batch(&self) -> u64 {
        self.batch
    }

    /// The record with its author and address.
    pub const fn authentic(&self) -> &AuthenticRecord {
        &self.authentic
    }

    /// Returns only the record.
    pub fn into_record(self) -> Record {
        self.authentic.record
    }
}

fn same<T: PartialEq>(what: &'static str, a: T, b: T) -> Result<(), RecordProofError> {
    if a == b { Ok(()) } else { Err(RecordProofError::Mismatch(what)) }
}

pub(super) fn element(opaque: Opaque) -> Fr {
    field::from_opaque(opaque.as_bytes())
}

/// Checks that the key is the author's, that it signed the authorship, and that the authorship is the one of this leaf. Returns the authorship.
pub(crate) fn check_authorship(
    id: &RecordId,
    leaf: &RecordLeaf,
    (author, key): (&IdentityLeaf, &CommittedKey),
    authorship: &[u8],
    signature: &[u8],
) -> Result<Authorship, RecordProofError> {
    if !encryption::matches(key, author.role, &author.encryption) {
        return Err(RecordProofError::Mismatch("author's key"));
    }
    verify_authorship(authorship, signature, &key.rsa).map_err(|_| RecordProofError::Signature)?;

    let authorship = Authorship::from_dag_cbor(authorship).map_err(|_| RecordProofError::Authorship)?;
    same("contract", authorship.domain, field::to_bytes(&id.domain.element()))?;
    same("patient", authorship.patient, id.patient)?;
    same("slot", authorship.slot, id.slot)?;
    same("version", authorship.version, leaf.version)?;
    same("class", authorship.class, leaf.class)?;
    same("authorship", element(authorship.authored()), leaf.authored)?;
    Ok(authorship)
}

/// Checks everything except the state: the opened envelope must be what the record leaf commits to, and the author's key must have signed
/// it.
pub(super) fn check_content(
    id: &RecordId,
    leaf: &RecordLeaf,
    stored: &StoredAt,
    author: &IdentityLeaf,
    opened: &OpenedRecord,
) -> Result<AuthenticRecord, RecordProofError> {
    if leaf.status != RecordStatus::Live {
        return Err(RecordProofError::NotLive { slot: id.slot, status: leaf.status });
    }
    let StoredAt { manifest, salt } = *stored;
    same("storage", element(Opaque::stored(&manifest, &salt)), leaf.stored)?;
    same("storage salt", opened.storage_salt, salt)?;

    let AuthoredRecord { record, authorship, signature, author: account, author_key, .. } = &opened.authored;
    same("author", *account, leaf.author)?;
    let authorship = check_authorship(id, leaf, (author, author_key), authorship, signature)?;

    let record = Record::from_dag_cbor(record).map_err(|_| RecordProofError::Content)?;
    let commitment = Commitment::of(&record, &SaltSeed::new(opened.authored.commitment_seed)).root();
    same("content", commitment, authorship.commitment)?;
    let attachments = attached(&record, &opened.authored.attachments)?;
    Ok(AuthenticRecord {
        record,
        authorship,
        author: *account,
        author_key: author_key.rsa.clone(),
        leaf: *leaf,
        manifest,
        attachments,
        epoch: opened.epoch,
    })
}

/// Checks that a record's leaf and its author's identity are in the settled state. Returns the last batch of that state.
///
/// # Errors
/// [`RecordProofError::Membership`] if one of them is not.
pub fn check_membership(
    id: &RecordId,
    leaf: &RecordLeaf,
    author: &IdentityLeaf,
    proof: &RecordProof,
    state: &SettledState,
) -> Result<u64, RecordProofError> {
    let roots = StateRoots::of(state, proof.identity_root, proof.medical_root, proof.batch)?;
    let records_root = proof.medical.records_root;
    check_path("record leaf", records_root, RECORD_DEPTH, id.slot.get(), leaf.hash(), &proof.record_path)?;
    roots.check_medical(id.patient, Some(&proof.medical), &proof.medical_path)?;
    roots.check_identity(leaf.author, author, &proof.author_path)?;
    Ok(roots.batch())
}

/// Verifies a record: content, author, storage and leaf, and that the leaf is in the state that L1 holds.
///
/// # Errors
/// [`RecordProofError`] if one of these checks fails.
pub fn verify_record(
    id: &RecordId,
    view: &RecordView,
    proof: &RecordProof,
    opened: &OpenedRecord,
    state: &SettledState,
) -> Result<VerifiedRecord, RecordProofError> {
    let author = identity_leaf(&view.author)?;
    same("slot", view.slot, id.slot)?;
    let authentic = check_content(id, &view.leaf, &view.stored, &author, opened)?;
    let batch = check_membership(id, &view.leaf, &author, proof, state)?;
    Ok(VerifiedRecord { authentic, batch })
}

/// Checks as much as possible of a record that waits for its batch: its content and signature. Only the node says that the key is the
/// author's and that the leaf will be in the state.
///
/// # Errors
/// [`RecordProofError`] if one of these checks fails.
pub fn check_unsettled(
    id: &RecordId,
    view: &RecordView,
    opened: &OpenedRecord,
) -> Result<AuthenticRecord, RecordProofError> {
    let author = identity_leaf(&view.author)?;
    same("slot", view.slot, id.slot)?;
    check_content(id, &view.leaf, &view.stored, &author, opened)
}
