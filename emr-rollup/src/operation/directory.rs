//! The commitment to a patient's key directory, as the state holds it.

use emr_core::{Cid, Opaque};
use halo2curves::ff::Field;
use serde::{Deserialize, Serialize};

use crate::primitive::field::{self, Fr, hex_element};

/// The commitment to a key directory: its CID hashed to 248 bits. An operation names the commitments before and after
/// it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DirectoryCommitment(#[serde(with = "hex_element")] Fr);

impl DirectoryCommitment {
    /// The patient has no key directory yet: 0.
    pub const NONE: Self = Self(Fr::ZERO);

    /// The commitment to the directory with this CID.
    pub fn of(directory: &Cid) -> Self {
        Self(field::from_opaque(Opaque::directory(directory).as_bytes()))
    }

    /// Whether the patient has no key directory yet.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// The field element.
    pub const fn element(&self) -> Fr {
        self.0
    }

    /// 32 bytes, big-endian.
    pub fn to_bytes(&self) -> [u8; 32] {
        field::to_bytes(&self.0)
    }
}

/// For elements from L1 or from an operation. It does not show that such a directory exists.
impl From<Fr> for DirectoryCommitment {
    fn from(element: Fr) -> Self {
        Self(element)
    }
}
