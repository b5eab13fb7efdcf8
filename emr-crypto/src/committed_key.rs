//! The commitment to a participant's encryption key, which their account holds.
//!
//! | who | value |
//! |---|---|
//! | doctor, hospital | `sha256(uint16 length of e ‖ e ‖ uint16 length of n ‖ n ‖ kemHash 32) >> 8`, as the contract computes it |
//! | patient | `sha256(fingerprint 32 ‖ kemHash 32 ‖ salt 32) >> 8`; fingerprint: SHA-256 of the RSA key's SubjectPublicKeyInfo |
//!
//! `kemHash` is the hash of the X-Wing key, or 32 zero bytes without one. A patient's key must not identify them elsewhere. So the commitment
//! has a salt, which only people learn who may know the key.

use std::fmt;

use emr_core::{KemHash, Opaque, Role};

use crate::encryption_key::EncryptionKey;
use crate::rsa_key::RsaPublic;

/// An encryption key as an account commits to it: the RSA key, the hash of the X-Wing key, and a patient's salt.
#[derive(Clone, PartialEq, Eq)]
pub struct CommittedKey {
    /// The RSA key.
    pub rsa: RsaPublic,
    /// The hash of the X-Wing key; [`KemHash::NONE`] for RSA alone.
    pub kem: KemHash,
    /// A patient's salt; `None` for doctors and hospitals.
    pub salt: Option<[u8; 32]>,
}

impl CommittedKey {
    /// The commitment: 32 bytes, of which the first is zero.
    ///
    /// # Panics
    /// Never: an RSA modulus has at most 512 bytes.
    pub fn commitment(&self) -> Opaque {
        if let Some(salt) = &self.salt {
            return Opaque::of(
                &[&self.rsa.fingerprint(), self.kem.as_bytes(), salt].map(<[u8; 32]>::as_slice).concat(),
            );
        }
        let mut bytes = Vec::new();
        for number in [self.rsa.exponent(), self.rsa.modulus()] {
            let length = u16::try_from(number.len()).expect("a modulus has at most 512 bytes");
            bytes.extend(length.to_be_bytes());
            bytes.extend(number);
        }
        bytes.extend(self.kem.as_bytes());
        Opaque::of(&bytes)
    }

    /// Whether an account of this role commits to this key. Each role has one formula: a patient's needs a salt, and the others must not have
    /// one.
    pub fn matches(&self, role: Role, commitment: &Opaque) -> bool {
        (role == Role::Patient) == self.salt.is_some() && self.commitment() == *commitment
    }

    /// Whether it commits to this encryption key.
    pub fn is_of(&self, key: &EncryptionKey) -> bool {
        self.rsa == *key.rsa() && self.kem == key.kem_hash()
    }
}

/// Does not show the salt.
impl fmt::Debug for CommittedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommittedKey({:?}, {}, salted: {})", self.rsa, self.kem, self.salt.is_some())
    }
}
