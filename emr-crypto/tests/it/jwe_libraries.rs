//! Programs that others wrote open our JWEs, and we open theirs: joserfc, jwcrypto, jose, and OpenSSL as docs/jwe.md says.

use std::fs;
use std::process::Command;

use emr_crypto::{GeneralJweError, RsaPublic, RsaSecret, open_general, seal_general};
use emr_testkit::part::{JoseLibrary, JoseName};
use serde_json::Value;

use crate::fixtures::fixture;
use crate::fixtures::rsa::{DOCTOR, HOSPITAL, OTHER_DOCTOR, PATIENT};

type TestResult<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Both kinds of content that the programs put into a JWE.
const KINDS: [(&str, &str); 2] = [
    ("application/fhir+json", "{\"resourceType\":\"Patient\",\"id\":\"ä\"}"),
    ("application/fhir+ndjson", "{\"resourceType\":\"Patient\"}\n{\"resourceType\":\"Observation\"}\n"),
];

/// The private key of [`DOCTOR`].
fn doctors_pem() -> TestResult<&'static str> {
    Ok(std::str::from_utf8(fixture!("doctor-3072.pem"))?)
}

fn public_pem(key: &RsaPublic) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", data_encoding::BASE64.encode(&key.to_der()))
}

/// One recipient, and three with [`DOCTOR`] in the middle.
fn recipients() -> [Vec<&'static RsaSecret>; 2] {
    [vec![&DOCTOR], vec![&OTHER_DOCTOR, &DOCTOR, &HOSPITAL]]
}

/// The libraries that are installed.
fn libraries() -> TestResult<Vec<JoseLibrary>> {
    let found = JoseName::ALL.into_iter().map(JoseLibrary::find_or_skip);
    Ok(found.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// A JWE with one byte of a part changed.
fn changed(jwe: &str, part: &str) -> TestResult<String> {
    let mut jwe: Value = serde_json::from_str(jwe)?;
    let place = match part {
        "encrypted_key" if jwe["recipients"].is_array() => &mut jwe["recipients"][0]["encrypted_key"],
        part => &mut jwe[part],
    };
    let mut bytes = data_encoding::BASE64URL_NOPAD.decode(place.as_str().ok_or(part.to_owned())?.as_bytes())?;
    if part == "protected" {
        // The same header, with a space.
        bytes.insert(1, b' ');
    } else {
        bytes[1] ^= 1;
    }
    *place = data_encoding::BASE64URL_NOPAD.encode(&bytes).into();
    Ok(jwe.to_string())
}

#[test]
fn libraries_open_ours() -> TestResult {
    for library in libraries()? {
        for recipients in recipients() {
            let keys: Vec<RsaPublic> = recipients.iter().map(|secret| secret.public()).collect();
            for (content_type, content) in KINDS {
                let jwe = seal_general(&keys, content_type, content.as_bytes())?;
                let opened = library.open(doctors_pem()?, &jwe)?;
                assert_eq!(opened.as_deref(), Ok(content), "{library:?}, recipients: {}", keys.len());
            }
        }
        let for_another = seal_general(&[PATIENT.public()], KINDS[0].0, KINDS[0].1.as_bytes())?;
        assert!(library.open(doctors_pem()?, &for_another)?.is_err(), "{library:?}");
        let ours = seal_general(&[DOCTOR.public()], KINDS[0].0, KINDS[0].1.as_bytes())?;
        for part in ["ciphertext", "tag", "encrypted_key", "iv"] {
            assert!(library.open(doctors_pem()?, &changed(&ours, part)?)?.is_err(), "{library:?} {part}");
        }
    }
    Ok(())
}

/// jwcrypto writes the flattened form for one recipient, and additional data here.
#[test]
fn we_open_what_libraries_made() -> TestResult {
    for library in libraries()? {
        for recipients in recipients() {
            let keys: Vec<String> = recipients.iter().map(|secret| public_pem(&secret.public())).collect();
            for (content_type, content) in KINDS {
                let jwe = library.seal(&keys, content_type, content)?;
                for secret in &recipients {
                    let opened = open_general(secret, jwe.as_bytes())?;
                    assert_eq!(std::str::from_utf8(&opened.plaintext)?, content, "{library:?}");
                    assert_eq!(opened.content_type.as_deref(), Some(content_type), "{library:?}");
                }
                assert_eq!(open_general(&PATIENT, jwe.as_bytes()), Err(GeneralJweError::Decryption), "{library:?}");
                for part in ["ciphertext", "tag", "protected", "encrypted_key", "iv"] {
                    let refused = open_general(recipients[0], changed(&jwe, part)?.as_bytes());
                    assert_eq!(refused, Err(GeneralJweError::Decryption), "{library:?} {part}");
                }
            }
        }
    }
    Ok(())
}

/// The commands of docs/jwe.md, as they are there.
#[test]
fn openssl_opens_ours_as_documented() -> TestResult {
    let page = include_str!("../../../docs/jwe.md");
    let (_, section) = page.split_once("\n## With OpenSSL\n").ok_or("the section")?;
    let (_, commands) = section.split_once("```sh\n").ok_or("the commands")?;
    let (commands, _) = commands.split_once("\n```").ok_or("the end of the commands")?;
    assert!(commands.contains("openssl pkeyutl -decrypt"));
    let folder = tempfile::tempdir()?;
    let content = "{\"resourceType\":\"Bundle\"}".repeat(1000);
    // The file's first recipient is the doctor, whose private key is `key.pem`.
    let jwe = seal_general(&[DOCTOR.public(), PATIENT.public()], KINDS[0].0, content.as_bytes())?;
    fs::write(folder.path().join("record.jwe"), &jwe)?;
    fs::write(folder.path().join("key.pem"), doctors_pem()?)?;
    let run = Command::new("bash").args(["-euc", commands]).current_dir(folder.path()).output()?;
    assert!(run.status.success(), "{run:?}");
    assert_eq!(fs::read_to_string(folder.path().join("record.json"))?, content);
    let key: [u8; 32] = fs::read(folder.path().join("content.key"))?.try_into().map_err(|_| "a key of 32 bytes")?;
    // It is the key of the JWE: wrapped again for another person, the file opens.
    let mut again: Value = serde_json::from_str(&jwe)?;
    let wrapped = OTHER_DOCTOR.public().encrypt_oaep(b"", &key);
    again["recipients"][0]["encrypted_key"] = data_encoding::BASE64URL_NOPAD.encode(&wrapped).into();
    let opened = open_general(&OTHER_DOCTOR, again.to_string().as_bytes())?;
    assert_eq!(std::str::from_utf8(&opened.plaintext)?, content);
    Ok(())
}
