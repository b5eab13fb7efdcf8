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

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kem: KemHash, salt: Option<[u8; 32]>) -> Result<CommittedKey, crate::RsaKeyError> {
        let rsa = RsaPublic::from_der(include_bytes!("../tests/fixtures/doctor-3072.spki.der"))?;
        Ok(CommittedKey { rsa, kem, salt })
    }

    /// Computed with Python, where `n` is the modulus and `der` the file:
    /// `"00" + sha256(b"\0\3\1\0\1" + b"\1\x80" + n.to_bytes(384, "big") + kem).hexdigest()[:62]`, and
    /// `"00" + sha256(sha256(der).digest() + kem + b"\7" * 32).hexdigest()[:62]`; `kem` is 32 zeros, or `sha256(b"abc")`.
    #[test]
    fn both_formulas() -> Result<(), Box<dyn std::error::Error>> {
        let (abc, salt) = (KemHash::of(b"abc"), Some([7; 32]));
        for (kem, salt, expected) in [
            (KemHash::NONE, None, "00b5cdd3d75746e4234122350701c25f29b2eea7a27cc27762fa2794d26b3db1"),
            (KemHash::NONE, salt, "007825eafa4236e4222a246cf6d79e72dbb57f2584dba06e4f49e863ed45b63c"),
            (abc, None, "007cf773d1c9cbd4cb6af6648a46039a0c7da8573df1e95e80ce968f82b7ef79"),
            (abc, salt, "0020a88012ff594d1838d692e53a0a3c0826a8c87dd842765c225a2bee3d676f"),
        ] {
            assert_eq!(hex::encode(key(kem, salt)?.commitment().to_be_bytes32()), expected);
        }
        Ok(())
    }

    /// A patient's account does not accept a key without a salt, nor another's one with it. Nobody can drop the X-Wing key.
    #[test]
    fn a_key_matches_one_role_and_one_pair() -> Result<(), Box<dyn std::error::Error>> {
        let (hybrid, alone) = (key(KemHash::of(b"abc"), None)?, key(KemHash::NONE, None)?);
        let salted = CommittedKey { salt: Some([7; 32]), ..hybrid.clone() };
        for role in [Role::Patient, Role::Doctor, Role::Hospital] {
            assert_eq!(salted.matches(role, &salted.commitment()), role == Role::Patient);
            assert_eq!(hybrid.matches(role, &hybrid.commitment()), role != Role::Patient);
            assert!(!alone.matches(role, &hybrid.commitment()) && !hybrid.matches(role, &alone.commitment()));
        }
        let public = EncryptionKey::from(alone.rsa.clone());
        assert!(alone.is_of(&public) && !hybrid.is_of(&public));
        assert!(!format!("{salted:?}").contains("7, 7"));
        Ok(())
    }
}
