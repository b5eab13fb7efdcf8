//! Who computes AES-256-GCM and RSA: RustCrypto, or AWS-LC with the feature `aws-lc-rs`.
//!
//! The back ends make the same bytes and refuse the same input with the same errors (`contract.rs`), so the choice is
//! for one build and shows in no file. RSA keys are generated, read and written by the crate `rsa` in both.

#[cfg(feature = "aws-lc-rs")]
mod aws_lc;
#[cfg(any(test, not(feature = "aws-lc-rs")))]
mod pure;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod wycheproof;

use rsa::{RsaPrivateKey, RsaPublicKey};
use zeroize::Zeroizing;

use crate::{BadSignature, DecryptionFailed};

/// The back end of this build.
#[cfg(feature = "aws-lc-rs")]
pub(crate) type Selected = aws_lc::AwsLc;
/// The back end of this build.
#[cfg(not(feature = "aws-lc-rs"))]
pub(crate) type Selected = pure::Pure;

/// An implementation of AES-256-GCM and RSA.
///
/// RSA public keys have 2048 to 4096 bits and the exponent 65537, and their modulus is odd. Nothing else is known of
/// them: others made them. The operations with them must not panic.
pub(crate) trait Backend {
    /// AES-256-GCM with one key.
    type Gcm: Gcm;
    /// An RSA private key that is ready for use.
    type RsaSecret: RsaOperations;

    /// Encrypts with RSA-OAEP, SHA-256 and MGF1-SHA-256 (RFC 8017 7.1.1). The message has at most 190 bytes.
    fn encrypt_oaep(public: &RsaPublicKey, label: &[u8], message: &[u8]) -> Vec<u8>;

    /// Verifies an RSA-PSS signature of a digest: SHA-256, MGF1-SHA-256, exactly 32 bytes of salt (RFC 8017 8.1.2).
    fn verify_pss(public: &RsaPublicKey, digest: &[u8; 32], signature: &[u8]) -> Result<(), BadSignature>;

    /// Verifies an RSASSA-PKCS1-v1_5 signature of a SHA-256 digest (RFC 8017 8.2.2).
    fn verify_pkcs1v15(public: &RsaPublicKey, digest: &[u8; 32], signature: &[u8]) -> Result<(), BadSignature>;
}

/// AES-256-GCM (SP 800-38D) with nonces of 12 bytes and tags of 16. Erases the key when dropped.
pub(crate) trait Gcm: Send + Sync {
    /// Expands the key.
    fn new(key: &[u8; 32]) -> Self;

    /// Encrypts the buffer, and appends the tag. Reserve 16 bytes, or the vector leaves a copy of the plaintext behind
    /// when it grows. The caller never uses this key and nonce together again.
    fn seal_in_place(&self, nonce: &[u8; 12], aad: &[u8], buffer: &mut Vec<u8>);

    /// Decrypts a buffer that [`Self::seal_in_place`] made, and removes the tag. After an error the buffer holds no
    /// plaintext.
    fn open_in_place(&self, nonce: &[u8; 12], aad: &[u8], buffer: &mut Vec<u8>) -> Result<(), DecryptionFailed>;
}

/// Operations with an RSA private key, each with blinding and with a check of the result, so that neither its time nor
/// a fault shows the key. Erases the key when dropped.
pub(crate) trait RsaOperations: Clone + Send + Sync {
    /// Prepares the key; `None` if its numbers do not belong together.
    fn new(key: RsaPrivateKey) -> Option<Self>;

    /// The key.
    fn key(&self) -> &RsaPrivateKey;

    /// Decrypts a ciphertext of [`Backend::encrypt_oaep`]. All failures give the same error, at the same time.
    fn decrypt_oaep(&self, label: &[u8], ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, DecryptionFailed>;

    /// Signs a SHA-256 digest with RSA-PSS and 32 bytes of salt; `None` if the key does not work.
    fn sign_pss(&self, digest: &[u8; 32]) -> Option<Vec<u8>>;

    /// Signs a SHA-256 digest with RSASSA-PKCS1-v1_5; `None` if the key does not work.
    fn sign_pkcs1v15(&self, digest: &[u8; 32]) -> Option<Vec<u8>>;
}

/// How often encryption tries to get a ciphertext with a clear top bit. All tries fail with probability 2^-128, unless
/// the key was made for that purpose.
const MAX_OAEP_TRIES: usize = 128;

/// Encrypts with [`Backend::encrypt_oaep`] until the ciphertext's top bit is clear, two tries on average. Such a
/// ciphertext is below the modulus of every key of this size, so it does not show whose key made it (RSA-RAEP: Bellare,
/// Boldyreva, Desai, Pointcheval, "Key-Privacy in Public-Key Encryption", ASIACRYPT 2001).
pub(crate) fn encrypt_raep<B: Backend>(public: &RsaPublicKey, label: &[u8], message: &[u8]) -> Vec<u8> {
    let encrypt = || B::encrypt_oaep(public, label, message);
    let mut tries = std::iter::repeat_with(encrypt).take(MAX_OAEP_TRIES);
    tries.find(|ciphertext| ciphertext.first().is_some_and(|first| first & 0x80 == 0)).unwrap_or_else(encrypt)
}
