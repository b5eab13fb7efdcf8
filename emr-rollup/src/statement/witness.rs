//! The witness of a slot: everything that it reads, as the circuit assigns it.

use serde::{Deserialize, Serialize};

use super::{EntryFields, GrantFields, IdentityFields, MedicalFields, Message, RecordFields, SignatureFields};
use crate::{
    primitive::field::{Fr, hex_element},
    state::{leaf::LeafHash, tree::Path},
};

/// One L2 operation with everything it reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationWitness {
    /// What was signed.
    pub message: Message,
    /// The signature.
    pub signature: SignatureFields,
    /// The signer's identity.
    pub signer: IdentityFields,
    /// Its path in the identity tree.
    pub signer_path: Path,
    /// The patient's identity.
    pub patient: IdentityFields,
    /// Its path in the identity tree.
    pub patient_path: Path,
    /// The patient's medical leaf before.
    pub medical: MedicalFields,
    /// Its path in the medical tree.
    pub medical_path: Path,
    /// Slot of the grant that allows a doctor to write; 0 where none is needed.
    #[serde(with = "hex_element")]
    pub authority_slot: Fr,
    /// That grant; zeros where none is needed.
    pub authority: GrantFields,
    /// Its path in the grants tree; zeros where none is needed.
    pub authority_path: Path,
    /// The target before, if it is a grant; else zeros.
    pub old_grant: GrantFields,
    /// The target after, if it is a grant; else zeros.
    pub new_grant: GrantFields,
    /// The target before, if it is a record; else zeros.
    pub old_record: RecordFields,
    /// The target after, if it is a record; else zeros.
    pub new_record: RecordFields,
    /// The target's path: of the records tree's depth, zeros above the root of the grants tree.
    pub target_path: Path,
}

/// One L1 operation with everything it reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryWitness {
    /// The entry, as queued.
    pub entry: EntryFields,
    /// The identity leaf value before.
    pub old_identity: LeafHash,
    /// Its path.
    pub identity_path: Path,
    /// The medical leaf value before.
    pub old_medical: LeafHash,
    /// Its path.
    pub medical_path: Path,
}
