use std::sync::Arc;

use emr_crypto::key_wrap::{Algorithm, HpkeSecret, RecipientError};
use emr_crypto::{DecryptionFailed, KeyUnwrap, KeyWrap};

use crate::fixtures::{DOCTOR, PATIENT};

/// A wrapped key opens only for its holder, in its context, and unaltered.
#[test]
fn every_algorithm_wraps_to_one_holder_in_one_context() {
    type Holder = Box<dyn KeyUnwrap>;
    let pair = |algorithm| -> (Holder, Holder) {
        match algorithm {
            Algorithm::RsaOaep256 => (Box::new(DOCTOR.clone()), Box::new(PATIENT.clone())),
            Algorithm::HpkeX25519 => (Box::new(HpkeSecret::generate_x25519()), Box::new(HpkeSecret::generate_x25519())),
            Algorithm::HpkeXWing => (Box::new(HpkeSecret::generate_xwing()), Box::new(HpkeSecret::generate_xwing())),
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
        let step = wrapped.ciphertext.len().div_ceil(64);
        for position in (0..wrapped.ciphertext.len()).step_by(step) {
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
    assert_eq!(Algorithm::ALL.map(Algorithm::name), ["RSA-OAEP-256", "HPKE-X25519", "HPKE-X-Wing"]);
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.name().parse(), Ok(algorithm));
    }
}

#[test]
fn unknown_names_and_foreign_keys_are_refused() {
    for name in ["RSA1_5", "", "hpke-x-wing", "HPKE-X-Wing "] {
        assert_eq!(name.parse::<Algorithm>(), Err(RecipientError::UnknownAlgorithm(name.to_owned())));
    }
    let refusal = |algorithm: Algorithm, public: &[u8]| algorithm.recipient(public).unwrap_err();
    assert!(matches!(refusal(Algorithm::RsaOaep256, b"key"), RecipientError::Rsa(_)));
    for bad in [&[][..], &[0; 32], &[1; 31]] {
        assert_eq!(refusal(Algorithm::HpkeX25519, bad), RecipientError::Hpke(Algorithm::HpkeX25519));
    }
    assert_eq!(refusal(Algorithm::HpkeXWing, &[1; 32]), RecipientError::Hpke(Algorithm::HpkeXWing));
}
