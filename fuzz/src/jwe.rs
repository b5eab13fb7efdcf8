//! An encrypted file of a SMART Health Link, which any server can answer.

use emr_crypto::{JweKey, open_compact};

/// The key of the seeds, 32 bytes 4b.
const KEY: &str = "S0tLS0tLS0tLS0tLS0tLS0tLS0tLS0tLS0tLS0tLS0s";
/// Made with Python's `cryptography`: a FHIR resource, and nothing at all.
const SEEDS: [&str; 2] = [
    "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwiY3R5IjoiYXBwbGljYXRpb24vZmhpcitqc29uIn0..AAAAAAAAAAAAAAAA.D-shR2orUMOL9HORD23vQQM2xQcm9_ud.HNXdjjvk5aSKKqnYdgZn5Q",
    "eyJlbmMiOiJBMjU2R0NNIiwiYWxnIjoiZGlyIn0..AQEBAQEBAQEBAQEB..PUQmBrlLcNG-WuonkQ5nPQ",
];

pub(crate) fn check(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    // The text is also tried as a key.
    if let Ok(key) = JweKey::from_text(text) {
        assert_eq!(*key.to_text(), text, "one text form");
    }
    let key = JweKey::from_text(KEY).expect("32 bytes");
    match open_compact(&key, text) {
        Ok(opened) => {
            assert!(opened.plaintext.len() < text.len());
            true
        }
        Err(error) => {
            crate::one_line(&error);
            false
        }
    }
}

pub(crate) fn seeds() -> crate::Seeds {
    Ok(SEEDS.map(|seed| seed.as_bytes().to_vec()).to_vec())
}
