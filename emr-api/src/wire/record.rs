//! Records: the list of a patient's records, and one record with its proof.

use emr_core::{AccountIndex, Cid, RecordSlot, Revision, UnixTime};
use emr_rollup::{
    operation::Kind,
    primitive::field::{Fr, hex_element},
    state::leaf::{MedicalLeaf, RecordLeaf},
    state::tree::Path,
    statement::IdentityFields,
};
use serde::{Deserialize, Serialize};

use super::operation::StoredAt;
use crate::form::{As, CidText};

/// A record in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordSummary {
    /// Its slot.
    pub slot: RecordSlot,
    /// Its leaf.
    pub leaf: RecordLeaf,
    /// The address of its manifest.
    pub stored: StoredAt,
    /// Whether this version is in the settled state.
    pub settled: bool,
}

/// A record with the data that its reader checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordView {
    /// Its slot.
    pub slot: RecordSlot,
    /// Its leaf.
    pub leaf: RecordLeaf,
    /// The address of its manifest.
    pub stored: StoredAt,
    /// CID of the patient's key directory.
    #[serde(with = "As::<CidText>")]
    pub directory: Cid,
    /// The author's identity leaf.
    pub author: IdentityFields,
    /// The proof that the leaf is in the settled state; absent while this version waits for a batch.
    pub proof: Option<RecordProof>,
}

/// The proof from a record leaf to a state root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordProof {
    /// The last batch of the state.
    pub batch: u64,
    /// Path of the record leaf under the records root.
    pub record_path: Path,
    /// The patient's medical leaf.
    pub medical: MedicalLeaf,
    /// Its path under the medical root.
    pub medical_path: Path,
    /// Path of the author's identity leaf under the identity root.
    pub author_path: Path,
    /// The identity root.
    #[serde(with = "hex_element")]
    pub identity_root: Fr,
    /// The medical root.
    #[serde(with = "hex_element")]
    pub medical_root: Fr,
}

/// The most revisions in a page of a record's versions.
pub const VERSIONS_PAGE: usize = 64;

/// A page of a record's settled versions, the newest first.
///
/// Every operation on the record wrote one revision. The caller sees those whose class they may read now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordVersionsView {
    /// The record's slot.
    pub slot: RecordSlot,
    /// Its settled leaf.
    pub leaf: RecordLeaf,
    /// The identity leaf of the author of the settled version.
    pub author: IdentityFields,
    /// The proof that the leaf is in the settled state.
    pub proof: RecordProof,
    /// CID of the patient's key directory.
    #[serde(with = "As::<CidText>")]
    pub directory: Cid,
    /// The revisions.
    pub revisions: Vec<RevisionView>,
    /// The authors of these revisions, each once.
    pub authors: Vec<AuthorProof>,
    /// If there are more: the revision before which they are.
    pub next: Option<Revision>,
}

/// What one settled operation made of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionView {
    /// The kind of the operation: PutRecord, Rekey or Tombstone.
    pub kind: Kind,
    /// The account that signed it.
    pub signer: AccountIndex,
    /// The record's leaf after it.
    pub leaf: RecordLeaf,
    /// The batch that settled it.
    pub batch: u64,
    /// The time of that batch.
    pub time: UnixTime,
    /// The address of the manifest. Absent if the node serves its blocks no more: the record was deleted, or a Rekey replaced
    /// them.
    pub stored: Option<StoredAt>,
}

/// An author's identity leaf with its proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorProof {
    /// The author.
    pub account: AccountIndex,
    /// The identity leaf.
    pub identity: IdentityFields,
    /// Its path under the identity root.
    pub path: Path,
}
