//! JSON Web Encryption: what another implementation made, and what must not open.

use data_encoding::BASE64URL_NOPAD;
use emr_crypto::{DecryptionFailed, JweError, JweKey, open_compact, seal_compact};

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// The bytes 00 to 1f. The texts below were made by `jose` 6.2.18 (npm) with the nonce a0 to ab.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const FHIR: &str = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwiY3R5IjoiYXBwbGljYXRpb24vZmhpcitqc29uIn0..oKGio6Slpqeoqaqr.\
                    nToOSDakd80BANOqdx_i5FL8OGT70iwYviIE7xuJTyMR0mWC.11lxsKQjEiJzVtZHwY4dVA";
const WITH_KEY_ID: &str = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiMSJ9..oKGio6Slpqeoqaqr.\
                           nToOSDakd80BANOqdx_i5FL8OGT70iwYviIE7xuJTyMR0mWC.IuO61y9MC8Ycdj7g70q3VA";
const A128GCM: &str = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..oKGio6Slpqeoqaqr.\
                       0aRK3g3mRnjpHeF5NneSWnG-QnzqclPbBzxT8iavtYpZB2dM.YZvMRHSikJfjuTiYQHCMWg";
const PLAINTEXT: &str = r#"{"resourceType":"Patient","id":"ä"}"#;

/// The same JWE with another header, which its tag does not cover.
fn with_header(header: &str) -> String {
    let rest = FHIR.split_once('.').map_or("", |(_, rest)| rest);
    format!("{}.{rest}", BASE64URL_NOPAD.encode(header.as_bytes()))
}

#[test]
fn what_jose_made_opens() -> TestResult {
    let key = JweKey::from_text(KEY)?;
    assert_eq!(key.to_text().as_str(), KEY);
    let opened = open_compact(&key, FHIR)?;
    assert_eq!(opened.content_type.as_deref(), Some("application/fhir+json"));
    assert_eq!(std::str::from_utf8(&opened.plaintext)?, PLAINTEXT);
    let opened = open_compact(&key, WITH_KEY_ID)?;
    assert_eq!((opened.content_type, opened.plaintext.as_slice()), (None, PLAINTEXT.as_bytes()));
    Ok(())
}

#[test]
fn what_was_sealed_opens_with_its_key_alone() -> TestResult {
    let key = JweKey::generate();
    for content in [&b""[..], b"x", &vec![7; 100_000]] {
        let sealed = seal_compact(&key, "application/fhir+json", content);
        let opened = open_compact(&JweKey::from_text(&key.to_text())?, &sealed)?;
        assert_eq!(opened.plaintext.as_slice(), content);
        assert_eq!(open_compact(&JweKey::generate(), &sealed), Err(DecryptionFailed.into()));
    }
    Ok(())
}

/// Every character counts.
#[test]
fn an_altered_jwe_does_not_open() -> TestResult {
    let key = JweKey::from_text(KEY)?;
    for at in 0..FHIR.len() {
        for other in ["A", "B", "", ".", "="] {
            let changed = format!("{}{other}{}", &FHIR[..at], &FHIR[at + 1..]);
            assert!(changed == FHIR || open_compact(&key, &changed).is_err(), "{changed}");
        }
    }
    Ok(())
}

#[test]
fn other_algorithms_and_extensions_are_refused() -> TestResult {
    let key = JweKey::from_text(KEY)?;
    assert_eq!(open_compact(&key, A128GCM), Err(JweError::Algorithm));
    for (header, refusal) in [
        (r#"{"alg":"RSA-OAEP-256","enc":"A256GCM"}"#, JweError::Algorithm),
        (r#"{"alg":"none","enc":"A256GCM"}"#, JweError::Algorithm),
        (r#"{"alg":"dir","enc":"A256CBC-HS512"}"#, JweError::Algorithm),
        (r#"{"alg":"dir","enc":"A256GCM","zip":"DEF"}"#, JweError::Extension),
        (r#"{"alg":"dir","enc":"A256GCM","crit":["b64"]}"#, JweError::Extension),
        (r#"{"alg":"dir","enc":"A256GCM"}"#, DecryptionFailed.into()),
        (r#"{"alg":"none","alg":"dir","enc":"A256GCM"}"#, JweError::Malformed),
        (r#"{"enc":"A256GCM"}"#, JweError::Malformed),
        ("[]", JweError::Malformed),
        ("", JweError::Malformed),
    ] {
        assert_eq!(open_compact(&key, &with_header(header)), Err(refusal), "{header}");
    }
    // An encrypted key has no place beside a key that both sides have.
    let smuggled = FHIR.replacen("..", ".AAAA.", 1);
    assert_eq!(open_compact(&key, &smuggled), Err(JweError::Malformed));
    for nonsense in ["", ".", "....", ".....", "a.b.c.d.e", &FHIR.replace("..", "."), &format!("{FHIR}.")] {
        assert_eq!(open_compact(&key, nonsense), Err(JweError::Malformed), "{nonsense}");
    }
    Ok(())
}

#[test]
fn a_key_has_one_text() {
    // Too short, too long, padded, with other characters, and with bits that no byte uses.
    let wrong =
        ["", &KEY[..42], &format!("{KEY}A"), &format!("{KEY}="), &KEY.replace('A', "+"), &KEY.replace('8', "9")];
    for text in wrong {
        assert_eq!(JweKey::from_text(text), Err(JweError::Key), "{text}");
    }
}
