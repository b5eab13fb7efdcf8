//! A public key, from a card or an envelope: an RSA key, or an encryption key.

use emr_crypto::{EncryptionKey, KeyWrap, RsaPublic, RsaSecret};

use crate::craft;

/// A key that exists only for tests.
pub(crate) const DOCTOR: &str = include_str!("../../emr-crypto/tests/fixtures/doctor-2048.pem");

fn check_encryption_key(data: &[u8]) -> bool {
    match EncryptionKey::from_bytes(data) {
        Ok(key) => {
            assert_eq!(key.to_bytes(), data, "one byte form");
            let wrapped = key.wrap_key(&[7; 32], b"label");
            assert!(wrapped.algorithm.recipient(&key.public_bytes()).is_ok());
            true
        }
        Err(error) => {
            crate::one_line(&error);
            false
        }
    }
}

pub(crate) fn check(data: &[u8]) -> bool {
    match RsaPublic::from_der(data) {
        Ok(key) => {
            assert_eq!(key.to_der(), data, "one byte form");
            assert!((2048..=4096).contains(&key.bits().get()));
            // Wrapping to any accepted key ends.
            assert_eq!(key.encrypt_oaep(b"label", &[7; 32]).len(), key.bits().get() / 8);
            true
        }
        Err(error) => {
            crate::one_line(&error);
            check_encryption_key(data)
        }
    }
}

pub(crate) fn seeds() -> crate::Seeds {
    let key = RsaSecret::from_pem(DOCTOR)?.public();
    let hybrid = EncryptionKey::new(key.clone(), Some(craft::PUBLIC.clone()));
    Ok(vec![key.to_der(), EncryptionKey::from(key).to_bytes(), hybrid.to_bytes()])
}
