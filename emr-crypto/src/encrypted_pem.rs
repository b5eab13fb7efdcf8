//! Encrypted private keys as OpenSSL writes them: PKCS#8 EncryptedPrivateKeyInfo (RFC 5958) with PBES2 (RFC 8018).

use std::fmt;

use rsa::pkcs8::der::Decode;
use rsa::pkcs8::der::pem::PemLabel;
use rsa::pkcs8::pkcs5::{EncryptionScheme, pbes2::Kdf};
use rsa::pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use secrecy::{ExposeSecret, SecretString};

use crate::RsaSecret;
use crate::rsa_key::{MAX_PRIVATE_BYTES, RsaKeyError};

/// The most rounds of PBKDF2: OpenSSL takes 2,048, OWASP recommends 600,000, and these take some seconds.
const MOST_ROUNDS: u32 = 10_000_000;
/// The most memory of scrypt, 128 r N, in bytes. OpenSSL takes 16 MiB.
const MOST_MEMORY: u64 = 1 << 30;
/// The most work of scrypt, r N p. OpenSSL takes 2^17, and this takes some seconds.
const MOST_WORK: u64 = 1 << 24;

/// An encrypted RSA key whose form, and the work that it asks for, were checked. Nothing is decrypted yet.
pub struct EncryptedPem(SecretDocument);

impl EncryptedPem {
    /// Whether a PEM begins like such a key. The older encryption of OpenSSL ("Proc-Type: 4,ENCRYPTED") is another one.
    pub fn is_one(pem: &str) -> bool {
        pem.trim_start().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    }

    /// Reads the form. A hostile file is refused before a passphrase is asked for or anything is computed.
    ///
    /// # Errors
    /// Returns [`RsaKeyError::Malformed`] if it is not such a PEM, [`RsaKeyError::Algorithm`] for algorithms other than PBES2 with PBKDF2 or scrypt
    /// and AES, and [`RsaKeyError::Cost`] if the derivation of its key costs far more than OpenSSL's.
    pub fn parse(pem: &str) -> Result<Self, RsaKeyError> {
        if pem.len() > MAX_PRIVATE_BYTES {
            return Err(RsaKeyError::Malformed);
        }
        let (label, document) = SecretDocument::from_pem(pem.trim()).map_err(|_| RsaKeyError::Malformed)?;
        EncryptedPrivateKeyInfoRef::validate_pem_label(label).map_err(|_| RsaKeyError::Malformed)?;
        let encrypted = Self(document);
        match encrypted.scheme()? {
            EncryptionScheme::Pbes2(parameters) if is_affordable(&parameters.kdf) => Ok(encrypted),
            EncryptionScheme::Pbes2(_) => Err(RsaKeyError::Cost),
            _ => Err(RsaKeyError::Algorithm),
        }
    }

    /// An algorithm that is not known is an error of the parser too, so both have the same message.
    fn info(&self) -> Result<EncryptedPrivateKeyInfoRef<'_>, RsaKeyError> {
        EncryptedPrivateKeyInfoRef::from_der(self.0.as_bytes()).map_err(|_| RsaKeyError::Algorithm)
    }

    fn scheme(&self) -> Result<EncryptionScheme, RsaKeyError> {
        Ok(self.info()?.encryption_algorithm)
    }

    /// Decrypts the key.
    ///
    /// # Errors
    /// Returns [`RsaKeyError::WrongPassphrase`] if the passphrase is wrong or the file was damaged, [`RsaKeyError::Algorithm`] if the derivation
    /// uses SHA-1 or the encryption is not AES, and the same as [`RsaSecret::from_der`] if the content is not an RSA key that can be used.
    pub fn decrypt(&self, passphrase: &SecretString) -> Result<RsaSecret, RsaKeyError> {
        use rsa::pkcs8::{Error, pkcs5};
        let der = self.info()?.decrypt(passphrase.expose_secret()).map_err(|error| match error {
            Error::EncryptedPrivateKey(pkcs5::Error::UnsupportedAlgorithm { .. }) => RsaKeyError::Algorithm,
            _ => RsaKeyError::WrongPassphrase,
        })?;
        RsaSecret::from_der(der.as_bytes())
    }
}

/// Shows nothing of the content.
impl fmt::Debug for EncryptedPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptedPem(..)")
    }
}

fn is_affordable(derivation: &Kdf) -> bool {
    match derivation {
        Kdf::Pbkdf2(parameters) => parameters.iteration_count <= MOST_ROUNDS,
        Kdf::Scrypt(parameters) => {
            let (n, r) = (parameters.cost_parameter, u64::from(parameters.block_size));
            let blocks = n.saturating_mul(r);
            blocks.saturating_mul(128) <= MOST_MEMORY
                && blocks.saturating_mul(u64::from(parameters.parallelization)) <= MOST_WORK
        }
        _ => false,
    }
}
