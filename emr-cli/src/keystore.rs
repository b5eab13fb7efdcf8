//! Reads an Ethereum key from an encrypted keystore file (Web3 Secret Storage, version 3), as geth, Clef, Foundry and wallets write it.

use std::path::Path;

use alloy::signers::local::PrivateKeySigner;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{
    failure::{Exit, Failure},
    input,
};

/// The most memory that the key derivation may take, in bytes. geth takes 256 MiB.
const MOST_MEMORY: u64 = 1 << 30;
/// The most work, which takes a minute or less: for scrypt the product of its three parameters (geth: 2^21), for PBKDF2 its rounds (geth: 2^18).
const MOST_WORK: u64 = 1 << 25;

/// What a file must have so that alloy's reader neither panics nor takes any time and memory that the file asks for.
#[derive(Debug, Deserialize)]
struct Keystore {
    version: u64,
    crypto: Crypto,
}

#[derive(Debug, Deserialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParameters,
    ciphertext: String,
    kdfparams: KeyDerivation,
}

#[derive(Debug, Deserialize)]
struct CipherParameters {
    iv: String,
}

/// The parameters of scrypt (`n`, `r`, `p`) or PBKDF2 (`c`). The reader chooses by what is there, and not by the name: so all are checked.
#[derive(Debug, Deserialize)]
struct KeyDerivation {
    dklen: u64,
    n: Option<u64>,
    r: Option<u64>,
    p: Option<u64>,
    c: Option<u64>,
}

impl Keystore {
    fn is_well_formed(&self) -> bool {
        let Crypto { cipher, cipherparams, ciphertext, kdfparams } = &self.crypto;
        let lengths = (cipherparams.iv.len(), ciphertext.len(), kdfparams.dklen);
        self.version == 3 && cipher == "aes-128-ctr" && lengths == (2 * 16, 2 * 32, 32)
    }
}

impl KeyDerivation {
    fn is_usable(&self) -> bool {
        let [n, r, p, c] = [self.n, self.r, self.p, self.c].map(|parameter| parameter.unwrap_or(1));
        let memory = n.saturating_mul(r).saturating_mul(128);
        let affordable = memory <= MOST_MEMORY && n.saturating_mul(r).saturating_mul(p) <= MOST_WORK && c <= MOST_WORK;
        // RFC 7914, section 6: N is a power of 2, and less than 2^(128 r / 8).
        affordable && n.is_power_of_two() && u64::from(n.ilog2()) < 16 * r.min(4)
    }
}

/// Decrypts the key, 32 bytes big-endian. Asks for the passphrase only if the file can be used.
///
/// # Errors
/// Fails if the file cannot be read or is not such a keystore, if its key derivation costs far more than any wallet's, or if the passphrase is
/// wrong.
pub(crate) fn read(
    file: &Path,
    passphrase: impl FnOnce() -> Result<SecretString, Failure>,
) -> Result<Zeroizing<[u8; 32]>, Failure> {
    let name = file.display();
    let text = input::read_text("the keystore", file)?;
    let Some(keystore) = serde_json::from_str(&text).ok().filter(Keystore::is_well_formed) else {
        let message =
            format!("{name}: not an Ethereum keystore of version 3, the JSON file that geth and wallets write");
        return Err(Failure::new(Exit::Input, message));
    };
    if !keystore.crypto.kdfparams.is_usable() {
        let message = format!(
            "{name}: its key derivation asks for far more memory or time than a wallet's, or for what RFC 7914 does not allow; write it again with \
             your wallet's usual settings"
        );
        return Err(Failure::new(Exit::Input, message));
    }
    let passphrase = passphrase()?;
    let signer = PrivateKeySigner::decrypt_keystore(file, passphrase.expose_secret()).map_err(|_| {
        let message = format!("{name}: wrong passphrase of the keystore, or the file was damaged: try again");
        Failure::new(Exit::Identity, message)
    })?;
    Ok(Zeroizing::new(signer.to_bytes().0))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    /// The key of both examples of the specification, whose passphrase is "testpassword". The one for scrypt has parameters that RFC 7914 forbids, which
    /// no reader that follows it takes.
    const KEY: &str = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d";

    fn scrypt() -> Value {
        json!({
            "crypto": {
                "cipher": "aes-128-ctr",
                "cipherparams": { "iv": "83dbcc02d8ccb40e466191a123791e0e" },
                "ciphertext": "d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c",
                "kdf": "scrypt",
                "kdfparams": {
                    "dklen": 32,
                    "n": 262_144,
                    "p": 8,
                    "r": 1,
                    "salt": "ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19",
                },
                "mac": "2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097",
            },
            "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
            "version": 3,
        })
    }

    fn pbkdf2() -> Value {
        json!({
            "crypto": {
                "cipher": "aes-128-ctr",
                "cipherparams": { "iv": "6087dab2f9fdbbfaddc31a909735c1e6" },
                "ciphertext": "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
                "kdf": "pbkdf2",
                "kdfparams": {
                    "c": 262_144,
                    "dklen": 32,
                    "prf": "hmac-sha256",
                    "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd",
                },
                "mac": "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2",
            },
            "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
            "version": 3,
        })
    }

    fn key_in(keystore: &Value, passphrase: &str) -> Result<Result<String, Exit>, std::io::Error> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("keystore.json");
        fs::write(&file, keystore.to_string())?;
        let key = read(&file, || Ok(SecretString::from(passphrase)));
        Ok(key.map(|key| hex::encode(*key)).map_err(|failure| failure.exit()))
    }

    #[test]
    fn the_examples_of_the_specification_are_read_as_far_as_they_are_valid() -> TestResult {
        assert_eq!(key_in(&pbkdf2(), "testpassword")?.as_deref(), Ok(KEY));
        assert_eq!(key_in(&pbkdf2(), "other")?, Err(Exit::Identity));
        assert_eq!(key_in(&scrypt(), "testpassword")?, Err(Exit::Input));
        Ok(())
    }

    #[test]
    fn a_file_that_the_reader_cannot_take_is_refused_before_the_passphrase_is_asked_for() -> TestResult {
        let changed = |keystore: Value, pointer: &str, value: Value| -> Result<Value, &str> {
            let mut keystore = keystore;
            *keystore.pointer_mut(pointer).ok_or("no such member")? = value;
            Ok(keystore)
        };
        let costs = |n: u64, r: u64, p: u64| json!({ "dklen": 32, "n": n, "r": r, "p": p, "salt": "" });
        let geths = KeyDerivation { dklen: 32, n: Some(1 << 18), r: Some(8), p: Some(1), c: None };
        assert!(geths.is_usable());
        let (derivation, both) =
            ("/crypto/kdfparams", json!({ "dklen": 32, "n": 2, "r": 1, "p": 1, "c": u32::MAX, "prf": "", "salt": "" }));
        let damaged = [
            json!({}),
            json!([]),
            scrypt(),
            changed(pbkdf2(), "/version", json!(1))?,
            changed(pbkdf2(), "/crypto/cipher", json!("aes-256-gcm"))?,
            changed(pbkdf2(), "/crypto/cipherparams/iv", json!("83db"))?,
            changed(pbkdf2(), "/crypto/ciphertext", json!(""))?,
            changed(pbkdf2(), "/crypto/kdfparams/dklen", json!(16))?,
            changed(pbkdf2(), "/crypto/kdfparams", costs(1 << 24, 8, 1))?,
            changed(pbkdf2(), "/crypto/kdfparams", costs(u64::MAX, 8, 1))?,
            changed(pbkdf2(), "/crypto/kdfparams", costs((1 << 18) - 1, 8, 1))?,
            changed(pbkdf2(), "/crypto/kdfparams", costs(1 << 18, u64::MAX, 1))?,
            changed(pbkdf2(), "/crypto/kdfparams", costs(1 << 18, 0, 1))?,
            changed(pbkdf2(), "/crypto/kdfparams", costs(1 << 18, 8, 1 << 20))?,
            changed(pbkdf2(), "/crypto/kdfparams/c", json!(u32::MAX))?,
            changed(pbkdf2(), derivation, both)?,
        ];
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("keystore.json");
        for keystore in damaged {
            fs::write(&file, keystore.to_string())?;
            let refused = read(&file, || Err(Failure::new(Exit::Internal, "asked"))).map_err(|failure| failure.exit());
            assert_eq!(refused, Err(Exit::Input), "{keystore}");
        }
        Ok(())
    }
}
