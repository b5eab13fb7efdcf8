//! An encrypted file of a SMART Health Link, which any server can answer, and a record's JWE in JSON, which anyone can make.

use emr_crypto::{GeneralJwe, GeneralJweError, JweKey, MAX_JWE_RECIPIENTS, open_compact};
use zeroize::Zeroizing;

/// The key of the seeds, 32 bytes 4b.
const KEY: &str = "S0tLS0tLS0tLS0tLS0tLS0tLS0tLS0tLS0tLS0tLS0s";
/// Made with Python's `cryptography`: a FHIR resource, and nothing at all.
const SEEDS: [&str; 2] = [
    "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwiY3R5IjoiYXBwbGljYXRpb24vZmhpcitqc29uIn0..AAAAAAAAAAAAAAAA.D-shR2orUMOL9HORD23vQQM2xQcm9_ud.HNXdjjvk5aSKKqnYdgZn5Q",
    "eyJlbmMiOiJBMjU2R0NNIiwiYWxnIjoiZGlyIn0..AQEBAQEBAQEBAQEB..PUQmBrlLcNG-WuonkQ5nPQ",
];
/// Made in the same way, with the key as it is in place of the encrypted key: a resource in the general form, for two; and nothing in the
/// flattened form, without protected header and with additional data.
const JSON_SEEDS: [&str; 2] = [
    r#"{"protected":"eyJlbmMiOiJBMjU2R0NNIiwidHlwIjoiSk9TRStKU09OIn0","unprotected":{"cty":"application/fhir+json"},"recipients":[{"header":{"alg":"ECDH-ES+A256KW","kid":"1"},"encrypted_key":"AAAA"},{"header":{"alg":"RSA-OAEP-256"},"encrypted_key":"S0tLS0tLS0tLS0tLS0tLS0tLS0tLS0tLS0tLS0tLS0s"}],"iv":"AAAAAAAAAAAAAAAA","ciphertext":"D-shR2orUMOL9HORD23vQQMkxQAm8beUhRU","tag":"W01wBTHywmdgMB4lu_pEIg"}"#,
    r#"{"header":{"alg":"RSA-OAEP-256","enc":"A256GCM","jku":"https://example.com/","x":{"a":[1,"b",null]}},"encrypted_key":"S0tLS0tLS0tLS0tLS0tLS0tLS0tLS0tLS0tLS0tLS0s","aad":"bm90ZQ","iv":"AQEBAQEBAQEBAQEB","ciphertext":"","tag":"XZWFRFFDWHLwzcdq38_INg"}"#,
];

pub(crate) fn check(data: &[u8]) -> bool {
    let general = open_json(data);
    let Ok(text) = std::str::from_utf8(data) else { return general };
    // The text is also tried as a key.
    if let Ok(key) = JweKey::from_text(text) {
        assert_eq!(*key.to_text(), text, "one text form");
    }
    let key = JweKey::from_text(KEY).expect("32 bytes");
    match open_compact(&key, text) {
        Ok(opened) => {
            assert!(opened.plaintext.len() < text.len() && !general, "one serialization");
            true
        }
        Err(error) => {
            crate::one_line(&error);
            general
        }
    }
}

/// Reads and opens a JWE in JSON. An encrypted key of 32 bytes is the key, so that a target needs no private key operation.
fn open_json(data: &[u8]) -> bool {
    let jwe = match GeneralJwe::parse(data) {
        Ok(jwe) => jwe,
        Err(error) => {
            assert_ne!(error, GeneralJweError::Decryption, "nothing was decrypted");
            crate::one_line(&error);
            return false;
        }
    };
    let mut tried = 0;
    let opened = jwe.open_with(|wrapped| {
        tried += 1;
        Ok::<_, GeneralJweError>(wrapped.ciphertext.as_slice().try_into().ok().map(Zeroizing::new))
    });
    assert!((1..=MAX_JWE_RECIPIENTS).contains(&tried));
    match opened {
        Ok(opened) => {
            assert!(opened.plaintext.len() < data.len());
            true
        }
        Err(error) => {
            assert_eq!(error, GeneralJweError::Decryption, "one error");
            false
        }
    }
}

pub(crate) fn seeds() -> crate::Seeds {
    Ok(SEEDS.iter().chain(&JSON_SEEDS).map(|seed| seed.as_bytes().to_vec()).collect())
}
