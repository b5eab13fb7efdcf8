use emr_crypto::{BadSignature, DecryptionFailed, RsaBits, RsaKeyError, RsaPublic, RsaSecret, SigningContext};

use crate::fixtures::{DOCTOR, HOSPITAL, OTHER_DOCTOR, PATIENT, fixture};

fn from_pem(pem: &[u8]) -> Result<RsaSecret, RsaKeyError> {
    RsaSecret::from_pem(std::str::from_utf8(pem).unwrap())
}

#[test]
fn openssl_keys_of_both_forms_and_all_sizes_are_read() {
    for (key, bits) in [(&PATIENT, 3072), (&DOCTOR, 3072), (&OTHER_DOCTOR, 2048), (&HOSPITAL, 4096)] {
        assert_eq!(key.rsa().public().bits().get(), bits);
        assert_eq!(key.rsa().public().exponent(), [1, 0, 1]);
        assert_eq!(key.rsa().public().modulus().len(), bits / 8);
        assert_eq!(RsaPublic::from_der(&key.rsa().public().to_der()).unwrap(), key.rsa().public());
        assert_eq!(RsaSecret::from_der(&key.rsa().to_der()).unwrap().public(), key.rsa().public());
    }
}

/// `sha256sum` of `openssl rsa -pubout -outform DER`.
#[test]
fn the_fingerprint_is_that_of_openssls_public_key() {
    assert_eq!(DOCTOR.rsa().public().to_der(), fixture!("doctor-3072.spki.der"));
    assert_eq!(
        hex::encode(DOCTOR.rsa().public().fingerprint()),
        "c87f0c439d7063ddf9fc3bba6c74ff2bf2420c4117dc330bda4949b820aafdcd"
    );
}

#[test]
fn keys_that_cannot_be_used_are_refused_with_a_reason() {
    assert_eq!(from_pem(fixture!("too-small-1024.pem")).unwrap_err(), RsaKeyError::Size { bits: 1024 });
    assert_eq!(from_pem(fixture!("exponent-3-2048.pem")).unwrap_err(), RsaKeyError::Exponent);
    assert_eq!(from_pem(fixture!("encrypted-2048.pem")).unwrap_err(), RsaKeyError::Encrypted);
    assert_eq!(from_pem(fixture!("ec.pem")).unwrap_err(), RsaKeyError::Malformed);
    assert_eq!(RsaSecret::from_pem("").unwrap_err(), RsaKeyError::Malformed);
    assert_eq!(RsaSecret::from_pem(&"A".repeat(1 << 20)).unwrap_err(), RsaKeyError::Malformed);
    assert_eq!(RsaBits::new(2047), Err(RsaKeyError::Size { bits: 2047 }));
    assert_eq!(RsaBits::new(3073), Err(RsaKeyError::Size { bits: 3073 }));
    assert_eq!(RsaBits::new(8192), Err(RsaKeyError::Size { bits: 8192 }));
}

/// Every byte of a public key's DER matters: any change gives another key or an error.
#[test]
fn public_keys_have_one_encoding() {
    let der = OTHER_DOCTOR.rsa().public().to_der();
    for position in 0..der.len() {
        let mut altered = der.clone();
        altered[position] ^= 1;
        if let Ok(key) = RsaPublic::from_der(&altered) {
            assert_ne!(key.fingerprint(), OTHER_DOCTOR.rsa().public().fingerprint(), "{position}");
        }
    }
    assert!(RsaPublic::from_der(&[&der[..], &[0]].concat()).is_err());
}

const KEY: [u8; 32] = {
    let mut key = [0; 32];
    let mut i = 0;
    while i < 32 {
        key[i] = i as u8;
        i += 1;
    }
    key
};

/// Ciphertexts by `openssl pkeyutl`: RSA-OAEP with SHA-256 opens. Everything else fails, always with the same error.
#[test]
fn oaep_by_openssl() {
    assert_eq!(*DOCTOR.rsa().decrypt_oaep(b"", fixture!("doctor-3072.oaep.bin")).unwrap(), KEY);
    assert_eq!(*DOCTOR.rsa().decrypt_oaep(b"emr/test", fixture!("doctor-3072.oaep-label.bin")).unwrap(), KEY);

    let good = fixture!("doctor-3072.oaep.bin");
    let mut modulus = DOCTOR.rsa().public().modulus();
    let mut bad: Vec<(&str, Vec<u8>)> = vec![
        ("SHA-1", fixture!("doctor-3072.oaep-sha1.bin").to_vec()),
        ("PKCS#1 v1.5 padding", fixture!("doctor-3072.pkcs1.bin").to_vec()),
        ("label", fixture!("doctor-3072.oaep-label.bin").to_vec()),
        ("empty", vec![]),
        ("zero", vec![0; 384]),
        ("one", [&[0; 383][..], &[1]].concat()),
        ("too short", good[1..].to_vec()),
        ("too long", [&[0], good].concat()),
        ("the modulus", modulus.clone()),
        ("above the modulus", vec![0xff; 384]),
    ];
    modulus[383] -= 1;
    bad.push(("minus one", modulus));
    for position in [0, 1, 191, 383] {
        let mut altered = good.to_vec();
        altered[position] ^= 1;
        bad.push(("altered", altered));
    }
    for (what, ciphertext) in bad {
        assert_eq!(DOCTOR.rsa().decrypt_oaep(b"", &ciphertext).unwrap_err(), DecryptionFailed, "{what}");
    }
    assert_eq!(PATIENT.rsa().decrypt_oaep(b"", good).unwrap_err(), DecryptionFailed);
}

/// A ciphertext is as long as the modulus, is below 2^(bits - 1), and does not show which key it is for.
#[test]
fn oaep_ciphertexts_do_not_show_whose_they_are() {
    for _ in 0..16 {
        let ciphertext = DOCTOR.rsa().public().encrypt_oaep(b"label", &KEY);
        assert_eq!((ciphertext.len(), ciphertext[0] >> 7), (384, 0));
        assert_eq!(*DOCTOR.rsa().decrypt_oaep(b"label", &ciphertext).unwrap(), KEY);
        assert!(DOCTOR.rsa().decrypt_oaep(b"other", &ciphertext).is_err());
    }
}

/// Signatures by `openssl dgst`.
#[test]
fn signatures_by_openssl() {
    let public = DOCTOR.rsa().public();
    let pss = fixture!("doctor-3072.pss.sig");
    assert_eq!(public.verify_pss(SigningContext::AUTHORSHIP, b"authorship", pss), Ok(()));
    assert_eq!(public.verify_pss(SigningContext::LOGIN, b"authorship", pss), Err(BadSignature));
    assert_eq!(public.verify_pkcs1v15(b"possession", fixture!("doctor-3072.pkcs1v15.sig")), Ok(()));
    // PKCS#1 v1.5 is deterministic.
    assert_eq!(DOCTOR.rsa().sign_pkcs1v15(b"possession"), fixture!("doctor-3072.pkcs1v15.sig"));
}

#[test]
fn signatures_hold_for_one_key_context_message_and_scheme() {
    let signature = DOCTOR.rsa().sign_pss(SigningContext::AUTHORSHIP, b"message");
    let public = DOCTOR.rsa().public();
    assert_eq!(public.verify_pss(SigningContext::AUTHORSHIP, b"message", &signature), Ok(()));
    assert_eq!(
        PATIENT.rsa().public().verify_pss(SigningContext::AUTHORSHIP, b"message", &signature),
        Err(BadSignature)
    );
    assert_eq!(public.verify_pss(SigningContext::LOGIN, b"message", &signature), Err(BadSignature));
    assert_eq!(public.verify_pss(SigningContext::AUTHORSHIP, b"massage", &signature), Err(BadSignature));
    assert_eq!(public.verify_pkcs1v15(b"emr/authorship/v1\0message", &signature), Err(BadSignature));
    let v15 = DOCTOR.rsa().sign_pkcs1v15(b"emr/authorship/v1\0message");
    assert_eq!(public.verify_pss(SigningContext::AUTHORSHIP, b"message", &v15), Err(BadSignature));
    for position in [0, 100, 383] {
        let mut altered = signature.clone();
        altered[position] ^= 1;
        assert_eq!(public.verify_pss(SigningContext::AUTHORSHIP, b"message", &altered), Err(BadSignature));
    }
    assert_eq!(public.verify_pss(SigningContext::AUTHORSHIP, b"message", &signature[1..]), Err(BadSignature));
    assert_eq!(public.verify_pss(SigningContext::AUTHORSHIP, b"message", &[]), Err(BadSignature));
}

#[test]
fn secrets_are_not_printed() {
    let debug = format!("{:?}", DOCTOR.rsa());
    assert_eq!(debug, "RsaSecret(RsaPublic(3072, c87f0c439d7063dd))");
}
