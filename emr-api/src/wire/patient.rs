//! A patient as a grantee sees them.

use emr_core::{AccountEpoch, AccountIndex, Cid, GrantSlot, RecordSlot, Version};
use emr_rollup::{
    operation::{DirectoryCommitment, SignedOperation},
    primitive::field::{Fr, hex_element},
    state::leaf::{GrantLeaf, MedicalLeaf},
    state::tree::Path,
};
use serde::{Deserialize, Serialize};

use crate::form::{CidText, Maybe};

/// The data about a patient that a grantee needs to act. They come from the soft state, in which every acknowledged operation counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatientView {
    /// The patient.
    pub patient: AccountIndex,
    /// The patient's account epoch.
    pub epoch: AccountEpoch,
    /// CID of the patient's key directory, if there is one already.
    #[serde(default, with = "Maybe::<CidText>")]
    pub directory: Option<Cid>,
    /// The commitment to the key directory, as the patient's medical leaf holds it.
    pub directory_commitment: DirectoryCommitment,
    /// The grants that are live for the caller. For the patient, all grants.
    pub grants: Vec<GrantView>,
    /// The lowest record slot that was never written.
    pub next_record_slot: RecordSlot,
    /// The proof of the patient's medical leaf in the settled state.
    pub proof: MedicalProof,
    /// The patient's acknowledged operations that lead from the settled key directory to this one, in order: each `directory_before` is
    /// the previous `directory_after`. A writer checks their signatures. So no node can make a writer seal to the node's keys, or to an
    /// epoch that the patient ended.
    pub directory_operations: Vec<SignedOperation>,
}

/// The proof from a patient's medical leaf, or from the empty leaf at their index, to a state root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MedicalProof {
    /// The last batch of the state; 0 before the first.
    pub batch: u64,
    /// The leaf; absent while the patient's registration is not settled.
    pub leaf: Option<MedicalLeaf>,
    /// The path at the patient's index under the medical root.
    pub path: Path,
    /// The identity root.
    #[serde(with = "hex_element")]
    pub identity_root: Fr,
    /// The medical root.
    #[serde(with = "hex_element")]
    pub medical_root: Fr,
}

/// A slot in which a doctor can open an emergency grant. It is all that the node tells a doctor without a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmergencySlot {
    /// The slot. It holds no grant that is in force.
    pub slot: GrantSlot,
    /// The version of the slot's leaf, which the emergency grant replaces. 0 if the slot was never written.
    pub version: Version,
}

/// A grant with its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantView {
    /// Its slot.
    pub slot: GrantSlot,
    /// The grant.
    pub grant: GrantLeaf,
}
