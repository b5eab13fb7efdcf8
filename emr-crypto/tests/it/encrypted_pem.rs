//! Encrypted keys that OpenSSL wrote (`tests/fixtures/README.md`).

use std::error::Error;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use emr_crypto::{EncryptedPem, RsaKeyError};
use secrecy::SecretString;

use crate::fixtures::{fixture, rsa::OTHER_DOCTOR};

type TestResult<T = ()> = Result<T, Box<dyn Error>>;

fn text(pem: &[u8]) -> TestResult<&str> {
    Ok(std::str::from_utf8(pem)?)
}

fn passphrase() -> SecretString {
    SecretString::from("secret")
}

/// The bytes in a PEM.
fn der(pem: &str) -> TestResult<Vec<u8>> {
    let letters: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    Ok(BASE64.decode(letters.as_bytes())?)
}

fn pem(der: &[u8]) -> String {
    let letters = BASE64.encode(der);
    let lines: Vec<_> = letters.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN ENCRYPTED PRIVATE KEY-----\n{}\n-----END ENCRYPTED PRIVATE KEY-----\n", lines.join("\n"))
}

#[test]
fn keys_that_openssl_encrypted_are_read() -> TestResult {
    for file in
        [fixture!("encrypted-2048.pem"), fixture!("encrypted-scrypt-2048.pem"), fixture!("encrypted-sha512-2048.pem")]
    {
        assert!(EncryptedPem::is_one(text(file)?));
        let encrypted = EncryptedPem::parse(text(file)?)?;
        assert_eq!(encrypted.decrypt(&passphrase())?.public(), OTHER_DOCTOR.public());
        for wrong in ["", "Secret", "secret "] {
            assert_eq!(encrypted.decrypt(&SecretString::from(wrong)).err(), Some(RsaKeyError::WrongPassphrase));
        }
        assert_eq!(format!("{encrypted:?}"), "EncryptedPem(..)");
    }
    Ok(())
}

/// The reason tells what to do: each of these can be written again by OpenSSL.
#[test]
fn other_encryptions_are_refused_with_a_reason() -> TestResult {
    let refused = |file| -> TestResult<Option<RsaKeyError>> {
        let opened = EncryptedPem::parse(text(file)?).and_then(|encrypted| encrypted.decrypt(&passphrase()));
        Ok(opened.err())
    };
    assert_eq!(refused(fixture!("encrypted-des3-2048.pem"))?, Some(RsaKeyError::Algorithm));
    assert_eq!(refused(fixture!("encrypted-sha1-2048.pem"))?, Some(RsaKeyError::Algorithm));
    assert_eq!(refused(fixture!("encrypted-pbes1-2048.pem"))?, Some(RsaKeyError::Algorithm));
    assert_eq!(refused(fixture!("encrypted-ec.pem"))?, Some(RsaKeyError::Malformed));
    assert_eq!(refused(fixture!("doctor-2048.pem"))?, Some(RsaKeyError::Malformed));
    let older = text(fixture!("encrypted-traditional-2048.pem"))?;
    assert!(!EncryptedPem::is_one(older));
    assert_eq!(emr_crypto::RsaSecret::from_pem(older).err(), Some(RsaKeyError::Encrypted));
    assert_eq!(EncryptedPem::parse(&"A".repeat(1 << 20)).err(), Some(RsaKeyError::Malformed));
    Ok(())
}

/// A hostile file asks for hours, or for all memory. It is refused before anything is computed.
#[test]
fn a_costly_file_is_refused_at_once() -> TestResult {
    let started = Instant::now();
    assert_eq!(EncryptedPem::parse(text(fixture!("encrypted-slow-2048.pem"))?).err(), Some(RsaKeyError::Cost));
    // N = 16384, r = 8, p = 1, as DER INTEGERs, in OpenSSL's file.
    let (known, scrypt) = ([2, 2, 0x40, 0, 2, 1, 8, 2, 1, 1], der(text(fixture!("encrypted-scrypt-2048.pem"))?)?);
    let at = scrypt.windows(known.len()).position(|window| window == known).ok_or("no parameters")?;
    assert!(EncryptedPem::parse(&pem(&scrypt)).is_ok());
    let asks = |n: [u8; 2], r: u8, p: u8| {
        let mut file = scrypt.clone();
        file[at..at + known.len()].copy_from_slice(&[2, 2, n[0], n[1], 2, 1, r, 2, 1, p]);
        EncryptedPem::parse(&pem(&file)).err()
    };
    assert_eq!(asks([0x40, 0], 127, 127), Some(RsaKeyError::Cost));
    assert_eq!(asks([0x7f, 0xff], 127, 127), Some(RsaKeyError::Cost));
    assert_eq!(asks([0x40, 0], 8, 1), None);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    Ok(())
}

/// Numbers that scrypt does not allow, and damaged bytes, are errors and no panics.
#[test]
fn damaged_files_are_errors() -> TestResult {
    let whole = der(text(fixture!("encrypted-scrypt-2048.pem"))?)?;
    // The parameters are in the first 90 bytes. Each change could reach the derivation, so the most work of one is bounded.
    for at in 0..90 {
        for change in [1, 0x80] {
            let mut file = whole.clone();
            file[at] ^= change;
            if let Ok(encrypted) = EncryptedPem::parse(&pem(&file)) {
                let opened = encrypted.decrypt(&passphrase());
                assert!(opened.is_err() || at < 2, "byte {at}");
            }
        }
    }
    for length in [0, 1, 50, whole.len() - 1] {
        assert!(EncryptedPem::parse(&pem(&whole[..length])).is_err());
    }
    Ok(())
}
