//! The commitment to a participant's RSA key in the identity leaf.
//!
//! | who | value |
//! |---|---|
//! | doctor, hospital | `sha256(uint16 length of e ‖ e ‖ uint16 length of n ‖ n) >> 8`, as the contract computes it |
//! | patient | `sha256(fingerprint ‖ salt) >> 8`; fingerprint: SHA-256 of the key's SubjectPublicKeyInfo; both 32 bytes |
//!
//! A patient's key must not identify them elsewhere. So the commitment has a salt, which only people learn who may know
//! the key.

use emr_chain::rsa_commitment;
use emr_core::{Opaque, Role};
use emr_crypto::{Identity, RsaPublic};
use emr_rollup::primitive::field::{self, Fr};

/// An RSA key with its salt, which are needed to compare it with an identity leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedKey {
    /// The key.
    pub key: RsaPublic,
    /// A patient's salt; `None` for doctors and hospitals.
    pub salt: Option<[u8; 32]>,
}

impl CommittedKey {
    /// The key of an identity.
    pub fn of(identity: &Identity) -> Self {
        let salt = (identity.role() == Role::Patient).then(|| identity.commitment_salt());
        Self { key: identity.rsa().public(), salt }
    }

    /// The commitment.
    pub fn commitment(&self) -> Opaque {
        match &self.salt {
            Some(salt) => Opaque::of(&[self.key.fingerprint(), *salt].concat()),
            None => rsa_commitment(&self.key.modulus(), &self.key.exponent()),
        }
    }

    /// The commitment as a field element of the identity leaf.
    pub fn element(&self) -> Fr {
        field::from_opaque(self.commitment().as_bytes())
    }

    /// Whether an account of this role commits to this key. Each role has one formula: a patient's needs a salt, and
    /// the others must not have one.
    pub fn matches(&self, role: Role, encryption: &Fr) -> bool {
        (role == Role::Patient) == self.salt.is_some() && self.element() == *encryption
    }
}
