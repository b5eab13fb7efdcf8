//! The witness of an L1 or L2 slot: everything that it reads, as the circuit assigns it.

use serde::{Deserialize, Serialize};

use super::{EntryFields, GrantFields, IdentityFields, MedicalFields, Message, RecordFields, SignatureFields};
use crate::{
    primitive::field::{Fr, hex_element},
    state::{leaf::LeafHash, tree::Path},
};

/// One L2 operation with everything that it reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationWitness {
    /// What was signed.
    pub message: Message,
    /// The signature.
    pub signature: SignatureFields,
    /// The signer's identity.
    pub signer: IdentityFields,
    /// The path of this leaf in the identity tree.
    pub signer_path: Path,
    /// The patient's identity.
    pub patient: IdentityFields,
    /// The path of this leaf in the identity tree.
    pub patient_path: Path,
    /// The patient's medical leaf before the operation.
    pub medical: MedicalFields,
    /// The path of this leaf in the medical tree.
    pub medical_path: Path,
    /// The slot of the grant that allows a doctor to write, or 0 if none is needed.
    #[serde(with = "hex_element")]
    pub authority_slot: Fr,
    /// That grant, or zeros if none is needed.
    pub authority: GrantFields,
    /// The path of that grant in the grants tree, or zeros if none is needed.
    pub authority_path: Path,
    /// The target before the operation if it is a grant, else zeros.
    pub old_grant: GrantFields,
    /// The target after the operation if it is a grant, else zeros.
    pub new_grant: GrantFields,
    /// The target before the operation if it is a record, else zeros.
    pub old_record: RecordFields,
    /// The target after the operation if it is a record, else zeros.
    pub new_record: RecordFields,
    /// The target's path. It has the depth of the records tree; for a grant it is filled with zeros above the root of
    /// the grants tree.
    pub target_path: Path,
}

/// One L1 operation with everything that it reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryWitness {
    /// The entry, as queued.
    pub entry: EntryFields,
    /// The account's identity before the operation, or zeros if the account is not registered.
    pub identity: IdentityFields,
    /// The path of this leaf.
    pub identity_path: Path,
    /// The medical leaf before the operation, or zeros if the account is not a patient's.
    pub medical: MedicalFields,
    /// The path of this leaf.
    pub medical_path: Path,
    /// The value of the grant in the queued slot before the operation, or 0 if no grant ends.
    pub grant: LeafHash,
    /// The path of this leaf in the grants tree, or zeros if no grant ends.
    pub grant_path: Path,
}
