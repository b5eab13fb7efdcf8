//! Records: the list of a patient's records, and one record with its proof.

use emr_core::{Cid, RecordSlot};
use emr_rollup::{
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
