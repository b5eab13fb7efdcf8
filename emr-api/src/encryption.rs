//! The commitment to a participant's encryption keys in the identity leaf: the RSA key and the second one beside it.
//!
//! | who | value |
//! |---|---|
//! | doctor, hospital | `sha256(uint16 length of e ‖ e ‖ uint16 length of n ‖ n ‖ kem hash) >> 8`, as the contract computes it |
//! | patient | `sha256(fingerprint ‖ kem hash ‖ salt) >> 8`; fingerprint: SHA-256 of the RSA key's SubjectPublicKeyInfo; each 32 bytes |
//!
//! The kem hash is [`KemHash`]: 32 zero bytes for an RSA key alone.
//!
//! A patient's keys must not identify them elsewhere. So the commitment has a salt, which only people learn who may know
//! the keys.

use emr_chain::rsa_commitment;
use emr_core::{KemHash, Opaque, Role};
use emr_crypto::{Identity, RsaPublic};
use emr_rollup::primitive::field::{self, Fr};

/// An RSA key with what is needed to compare it with an identity leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedKey {
    /// The RSA key.
    pub key: RsaPublic,
    /// The second key beside it.
    pub kem: KemHash,
    /// A patient's salt; `None` for doctors and hospitals.
    pub salt: Option<[u8; 32]>,
}

impl CommittedKey {
    /// The keys of an identity.
    pub fn of(identity: &Identity) -> Self {
        let salt = (identity.role() == Role::Patient).then(|| identity.commitment_salt());
        Self { key: identity.rsa().public(), kem: KemHash::NONE, salt }
    }

    /// The commitment.
    pub fn commitment(&self) -> Opaque {
        match &self.salt {
            Some(salt) => Opaque::of(&[self.key.fingerprint(), *self.kem.as_bytes(), *salt].concat()),
            None => rsa_commitment(&self.key.modulus(), &self.key.exponent(), self.kem),
        }
    }

    /// The commitment as a field element of the identity leaf.
    pub fn element(&self) -> Fr {
        field::from_opaque(self.commitment().as_bytes())
    }

    /// Whether an account of this role commits to these keys. Each role has one formula: a patient's needs a salt, and
    /// the others must not have one.
    pub fn matches(&self, role: Role, encryption: &Fr) -> bool {
        (role == Role::Patient) == self.salt.is_some() && self.element() == *encryption
    }
}
