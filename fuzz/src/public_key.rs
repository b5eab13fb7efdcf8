//! An RSA public key, from a card or an envelope.

use emr_crypto::{RsaPublic, RsaSecret};

/// A key that exists only for tests.
pub(crate) const DOCTOR: &str = include_str!("../../emr-crypto/tests/fixtures/doctor-2048.pem");

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
            false
        }
    }
}

pub(crate) fn seeds() -> crate::Seeds {
    Ok(vec![RsaSecret::from_pem(DOCTOR)?.public().to_der()])
}
