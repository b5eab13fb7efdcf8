//! The signed message and its signature as raw field elements.

use serde::{Deserialize, Serialize};

use super::Header;
use crate::{
    operation::{Body, Operation, SignedOperation},
    primitive::{
        field::{self, Fr, hex_element},
        poseidon::{self, Tag},
    },
};

/// A signed message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The header's fields.
    pub header: Header,
    /// `new_packed`.
    #[serde(with = "hex_element")]
    pub new_packed: Fr,
    /// `opaque_1`.
    #[serde(with = "hex_element")]
    pub opaque_1: Fr,
    /// `opaque_2`.
    #[serde(with = "hex_element")]
    pub opaque_2: Fr,
    /// `directory_before`.
    #[serde(with = "hex_element")]
    pub directory_before: Fr,
    /// `directory_after`.
    #[serde(with = "hex_element")]
    pub directory_after: Fr,
    /// The salt of the audit entry.
    #[serde(with = "hex_element")]
    pub salt: Fr,
}

impl Message {
    /// The element that is signed.
    pub fn hash(&self, domain: Fr) -> Fr {
        poseidon::hash(
            Tag::Message,
            &[
                domain,
                self.header.packed(),
                self.new_packed,
                self.opaque_1,
                self.opaque_2,
                self.directory_before,
                self.directory_after,
                self.salt,
            ],
        )
    }
}

impl From<&Operation> for Message {
    fn from(operation: &Operation) -> Self {
        let target = operation.action.target();
        let Body { new_packed, opaque_1, opaque_2, directory_before, directory_after } = operation.action.body();
        let header = Header {
            kind: u64::from(operation.action.kind().code()).into(),
            signer: operation.signer.get().into(),
            signer_epoch: operation.signer_epoch.get().into(),
            patient: operation.patient.get().into(),
            patient_epoch: operation.patient_epoch.get().into(),
            tree: (target.tree() as u64).into(),
            slot: target.slot().into(),
            expected: operation.action.expected().into(),
            purpose: operation.action.purpose().map_or(0, |purpose| u64::from(purpose.code())).into(),
            valid_until: operation.valid_until.get().into(),
        };
        Self { header, new_packed, opaque_1, opaque_2, directory_before, directory_after, salt: operation.salt }
    }
}

/// A signature, canonical or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureFields {
    /// The x coordinate of R.
    #[serde(with = "hex_element")]
    pub r_x: Fr,
    /// The y coordinate of R.
    #[serde(with = "hex_element")]
    pub r_y: Fr,
    /// S as an integer below p.
    #[serde(with = "hex_element")]
    pub s: Fr,
}

impl From<&SignedOperation> for SignatureFields {
    fn from(signed: &SignedOperation) -> Self {
        let signature = &signed.signature.0;
        Self { r_x: signature.r.x(), r_y: signature.r.y(), s: field::reduce(&signature.s.to_bytes()) }
    }
}
