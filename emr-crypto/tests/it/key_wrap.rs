use std::sync::Arc;

use emr_crypto::key_wrap::{HPKE_X25519, HPKE_XWING, HpkeSecret, RSA_OAEP_256, RecipientError, recipient};
use emr_crypto::{DecryptionFailed, KeyUnwrap, KeyWrap};

use crate::fixtures::{DOCTOR, PATIENT};

/// Wraps made through the registry open for the holder, in their context, unaltered - and not otherwise.
#[test]
fn every_registered_algorithm_wraps_to_one_holder_in_one_context() {
    type Holder = Box<dyn KeyUnwrap>;
    let pairs: [(&str, Holder, Holder); 3] = [
        (RSA_OAEP_256, Box::new(DOCTOR.clone()), Box::new(PATIENT.clone())),
        (HPKE_X25519, Box::new(HpkeSecret::generate_x25519()), Box::new(HpkeSecret::generate_x25519())),
        (HPKE_XWING, Box::new(HpkeSecret::generate_xwing()), Box::new(HpkeSecret::generate_xwing())),
    ];
    for (name, holder, other) in pairs {
        let public: Arc<dyn KeyWrap> = holder.recipient();
        assert_eq!(public.algorithm(), name);
        let wrapped = recipient(name, &public.public_bytes()).unwrap().wrap_key(&[9; 32], b"context");
        assert_eq!(wrapped.algorithm, name);
        assert_eq!(*holder.unwrap_key(&wrapped, b"context").unwrap(), [9; 32]);
        assert_eq!(holder.unwrap_key(&wrapped, b"other").unwrap_err(), DecryptionFailed);
        assert_eq!(other.unwrap_key(&wrapped, b"context").unwrap_err(), DecryptionFailed);
        let step = wrapped.ciphertext.len().div_ceil(64);
        for position in (0..wrapped.ciphertext.len()).step_by(step) {
            let mut altered = wrapped.clone();
            altered.ciphertext[position] ^= 0x80;
            // X25519 ignores the top bit of a point (RFC 7748 section 5); HPKE binds the encoding nevertheless.
            assert_eq!(holder.unwrap_key(&altered, b"context").unwrap_err(), DecryptionFailed, "{name} {position}");
        }
        for length in [0, 1, 31, 32, wrapped.ciphertext.len() - 1] {
            let mut cut = wrapped.clone();
            cut.ciphertext.truncate(length);
            assert_eq!(holder.unwrap_key(&cut, b"context").unwrap_err(), DecryptionFailed);
        }
        let mut renamed = wrapped;
        renamed.algorithm = "none".to_owned();
        assert_eq!(holder.unwrap_key(&renamed, b"context").unwrap_err(), DecryptionFailed);
    }
}

#[test]
fn unknown_names_and_foreign_keys_are_no_recipients() {
    assert_eq!(recipient("RSA1_5", b"").unwrap_err(), RecipientError::UnknownAlgorithm("RSA1_5".to_owned()));
    assert!(matches!(recipient(RSA_OAEP_256, b"key").unwrap_err(), RecipientError::Rsa(_)));
    for bad in [&[][..], &[0; 32], &[1; 31]] {
        assert_eq!(recipient(HPKE_X25519, bad).unwrap_err(), RecipientError::Hpke(HPKE_X25519));
    }
    assert_eq!(recipient(HPKE_XWING, &[1; 32]).unwrap_err(), RecipientError::Hpke(HPKE_XWING));
}
