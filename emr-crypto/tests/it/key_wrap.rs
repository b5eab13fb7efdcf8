use std::sync::Arc;

use emr_crypto::key_wrap::{Algorithm, HYBRID_WRAP_BYTES, RecipientError, WrappedKey};
use emr_crypto::{DecryptionFailed, EncryptionKey, EncryptionKeyError, KeyUnwrap, KeyWrap, NotXWingPublic};

use crate::fixtures::{DOCTOR, HOSPITAL, OTHER_DOCTOR, PATIENT, hybrid};

/// A wrapped key opens only for its holder, in its context, and unaltered.
#[test]
fn every_algorithm_wraps_to_one_holder_in_one_context() {
    type Holder = Box<dyn KeyUnwrap>;
    let pair = |algorithm| -> (Holder, Holder) {
        match algorithm {
            Algorithm::RsaOaep256 => (Box::new(DOCTOR.rsa().clone()), Box::new(PATIENT.rsa().clone())),
            Algorithm::XWingRsaOaep256 => (Box::new(DOCTOR.clone()), Box::new(PATIENT.clone())),
            other => panic!("{other} has no keys here"),
        }
    };
    for algorithm in Algorithm::ALL {
        let (holder, other) = pair(algorithm);
        let public: Arc<dyn KeyWrap> = holder.recipient();
        assert_eq!(public.algorithm(), algorithm);
        let wrapped = algorithm.recipient(&public.public_bytes()).unwrap().wrap_key(&[9; 32], b"context");
        assert_eq!(wrapped.algorithm, algorithm);
        assert_eq!(*holder.unwrap_key(&wrapped, b"context").unwrap(), [9; 32]);
        assert_eq!(holder.unwrap_key(&wrapped, b"other").unwrap_err(), DecryptionFailed);
        assert_eq!(other.unwrap_key(&wrapped, b"context").unwrap_err(), DecryptionFailed);
        for position in 0..wrapped.ciphertext.len() {
            let mut altered = wrapped.clone();
            altered.ciphertext[position] ^= 0x80;
            // X25519 ignores the top bit of a point (RFC 7748 section 5), but HPKE binds the encoding.
            assert_eq!(
                holder.unwrap_key(&altered, b"context").unwrap_err(),
                DecryptionFailed,
                "{algorithm} {position}"
            );
        }
        for length in [0, 1, 31, 32, wrapped.ciphertext.len() - 1] {
            let mut cut = wrapped.clone();
            cut.ciphertext.truncate(length);
            assert_eq!(holder.unwrap_key(&cut, b"context").unwrap_err(), DecryptionFailed);
        }
        for renamed in Algorithm::ALL.into_iter().filter(|renamed| *renamed != algorithm) {
            let mut wrapped = wrapped.clone();
            wrapped.algorithm = renamed;
            assert_eq!(holder.unwrap_key(&wrapped, b"context").unwrap_err(), DecryptionFailed, "{renamed}");
        }
    }
}

/// The names are in published directories, so they never change.
#[test]
fn names_are_the_published_ones() {
    assert_eq!(Algorithm::ALL.map(Algorithm::name), ["RSA-OAEP-256", "X-Wing+RSA-OAEP-256"]);
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.name().parse(), Ok(algorithm));
    }
}

#[test]
fn unknown_names_and_foreign_keys_are_refused() {
    for name in ["RSA1_5", "", "x-wing+rsa-oaep-256", "X-Wing+RSA-OAEP-256 ", "HPKE-X-Wing"] {
        assert_eq!(name.parse::<Algorithm>(), Err(RecipientError::UnknownAlgorithm(name.to_owned())));
    }
    let refusal = |algorithm: Algorithm, public: &[u8]| algorithm.recipient(public).unwrap_err();
    assert!(matches!(refusal(Algorithm::RsaOaep256, b"key"), RecipientError::Rsa(_)));
    let hybrid = Algorithm::XWingRsaOaep256;
    let key = DOCTOR.public();
    let alone = EncryptionKey::from(key.rsa().clone());
    assert_eq!(refusal(hybrid, &alone.to_bytes()), RecipientError::Encryption(EncryptionKeyError::Truncated));
    assert!(matches!(refusal(hybrid, &key.rsa().to_der()), RecipientError::Encryption(_)));
    assert!(matches!(refusal(hybrid, &key.to_bytes()[1..]), RecipientError::Encryption(_)));
}

/// An encryption key has one encoding. A coefficient of ML-KEM that is not reduced is refused (FIPS 203, 7.2).
#[test]
fn encryption_keys_are_encoded_in_one_way() {
    let key = DOCTOR.public();
    let bytes = key.to_bytes();
    assert_eq!(bytes.len(), 2 + 422 + 1216);
    assert_eq!(bytes[..2], [1, 166]);
    assert_eq!(bytes[424..], *key.xwing().unwrap().as_bytes());
    assert_eq!(EncryptionKey::from_bytes(&bytes), Ok(key.clone()));
    let alone = EncryptionKey::from(key.rsa().clone());
    assert_eq!(EncryptionKey::from_bytes(&alone.to_bytes()), Ok(alone));
    for length in (0..bytes.len()).filter(|length| *length != 424) {
        assert!(EncryptionKey::from_bytes(&bytes[..length]).is_err(), "{length}");
    }
    assert!(EncryptionKey::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    // The first coefficient becomes 0xfff, above 3328.
    let mut unreduced = bytes.clone();
    (unreduced[424], unreduced[425]) = (0xff, unreduced[425] | 0x0f);
    assert_eq!(EncryptionKey::from_bytes(&unreduced), Err(EncryptionKeyError::XWing(NotXWingPublic)));
}

/// The wrap has one size for all RSA keys.
#[test]
fn a_hybrid_wrap_does_not_show_the_size_of_the_rsa_key() {
    for rsa in [OTHER_DOCTOR.rsa(), DOCTOR.rsa(), HOSPITAL.rsa()] {
        let holder = hybrid(rsa);
        let wrapped = holder.public().wrap_key(&[9; 32], b"context");
        assert_eq!((wrapped.ciphertext.len(), HYBRID_WRAP_BYTES), (1696, 1696));
        assert_eq!(*holder.unwrap_key(&wrapped, b"context").unwrap(), [9; 32]);
    }
}

#[test]
fn wrapped_keys_are_kept_as_bytes() {
    for key in [DOCTOR.public(), OTHER_DOCTOR.public()] {
        let wrapped = key.wrap_key(&[9; 32], b"context");
        let bytes = wrapped.to_bytes();
        assert_eq!(usize::from(bytes[0]), wrapped.algorithm.name().len());
        assert_eq!(WrappedKey::from_bytes(&bytes), Ok(wrapped));
        for length in 0..=usize::from(bytes[0]) {
            assert_eq!(WrappedKey::from_bytes(&bytes[..length]), Err(DecryptionFailed));
        }
    }
    assert_eq!(WrappedKey::from_bytes(b"\x03abc1234"), Err(DecryptionFailed));
}
