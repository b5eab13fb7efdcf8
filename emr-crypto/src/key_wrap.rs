//! Wrapping 32-byte keys to a recipient, by whatever algorithm the recipient has.
//!
//! [`KeyWrap`] and [`KeyUnwrap`] are the crate's joint: everything that encrypts to a person goes through them, and
//! [`recipient`] finds an implementation by its registered name. To add an algorithm, implement both and register it.

use std::sync::Arc;

use hpke::kem::{X25519HkdfSha256, XWing};
use zeroize::Zeroizing;

use crate::rsa_key::{RsaKeyError, RsaPublic, RsaSecret};
use crate::{DecryptionFailed, hpke_suite};

/// RSA-OAEP with SHA-256 and MGF1-SHA-256, named as in RFC 7518. Public key: DER SubjectPublicKeyInfo.
pub const RSA_OAEP_256: &str = "RSA-OAEP-256";
/// HPKE base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305 (RFC 9180). Public key: 32 bytes.
pub const HPKE_X25519: &str = "HPKE-X25519";
/// HPKE base mode with the hybrid KEM X-Wing (X25519 and ML-KEM-768). Public key: 1216 bytes.
pub const HPKE_XWING: &str = "HPKE-X-Wing";

/// A wrapped key and the name of the algorithm that wrapped it. It does not say for whom: a recipient tries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// A registered algorithm name.
    pub algorithm: String,
    /// What the algorithm made.
    pub ciphertext: Vec<u8>,
}

/// Someone to whom keys can be wrapped.
pub trait KeyWrap: std::fmt::Debug + Send + Sync {
    /// The registered name.
    fn algorithm(&self) -> &'static str;

    /// The public key as [`recipient`] reads it.
    fn public_bytes(&self) -> Vec<u8>;

    /// Wraps `key`. Unwrapping needs the same `context`, which is not part of the result.
    fn wrap_key(&self, key: &[u8; 32], context: &[u8]) -> WrappedKey;
}

/// Someone who can unwrap keys.
pub trait KeyUnwrap {
    /// The public half.
    fn recipient(&self) -> Arc<dyn KeyWrap>;

    /// Unwraps a key.
    ///
    /// # Errors
    /// [`DecryptionFailed`] if it was wrapped to someone else, by another algorithm or in another context, or altered.
    fn unwrap_key(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<Zeroizing<[u8; 32]>, DecryptionFailed>;
}

/// Why there is no recipient of that name and key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecipientError {
    /// Nothing is registered under this name.
    #[error("there is no key wrapping algorithm '{0}' in this version; update the program")]
    UnknownAlgorithm(String),
    /// Not an RSA key that can be used.
    #[error(transparent)]
    Rsa(#[from] RsaKeyError),
    /// Not an HPKE public key that can be used.
    #[error("not a public key for {0}")]
    Hpke(&'static str),
}

/// The recipient with this public key under the algorithm registered as `algorithm`.
///
/// # Errors
/// [`RecipientError`] if the name is not registered or the bytes are not such a key.
pub fn recipient(algorithm: &str, public: &[u8]) -> Result<Arc<dyn KeyWrap>, RecipientError> {
    match algorithm {
        RSA_OAEP_256 => Ok(Arc::new(RsaPublic::from_der(public)?)),
        HPKE_X25519 => Ok(Arc::new(HpkePublic::new(HPKE_X25519, public)?)),
        HPKE_XWING => Ok(Arc::new(HpkePublic::new(HPKE_XWING, public)?)),
        unknown => Err(RecipientError::UnknownAlgorithm(unknown.to_owned())),
    }
}

impl KeyWrap for RsaPublic {
    fn algorithm(&self) -> &'static str {
        RSA_OAEP_256
    }

    fn public_bytes(&self) -> Vec<u8> {
        self.to_der()
    }

    fn wrap_key(&self, key: &[u8; 32], context: &[u8]) -> WrappedKey {
        WrappedKey { algorithm: RSA_OAEP_256.to_owned(), ciphertext: self.encrypt_oaep(context, key) }
    }
}

impl KeyUnwrap for RsaSecret {
    fn recipient(&self) -> Arc<dyn KeyWrap> {
        Arc::new(self.public())
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<Zeroizing<[u8; 32]>, DecryptionFailed> {
        if wrapped.algorithm != RSA_OAEP_256 {
            return Err(DecryptionFailed);
        }
        self.decrypt_oaep(context, &wrapped.ciphertext)
    }
}

fn seal(algorithm: &str, public: &[u8], context: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    match algorithm {
        HPKE_X25519 => hpke_suite::seal::<X25519HkdfSha256>(public, context, b"", key),
        _ => hpke_suite::seal::<XWing>(public, context, b"", key),
    }
}

/// The public half of an [`HpkeSecret`]; `context` is HPKE's `info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HpkePublic {
    algorithm: &'static str,
    bytes: Vec<u8>,
}

impl HpkePublic {
    fn new(algorithm: &'static str, public: &[u8]) -> Result<Self, RecipientError> {
        // A key that cannot be encrypted to (wrong length, small order) is refused here, so wrapping cannot fail.
        seal(algorithm, public, b"", b"").ok_or(RecipientError::Hpke(algorithm))?;
        Ok(Self { algorithm, bytes: public.to_vec() })
    }
}

impl KeyWrap for HpkePublic {
    fn algorithm(&self) -> &'static str {
        self.algorithm
    }

    fn public_bytes(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    fn wrap_key(&self, key: &[u8; 32], context: &[u8]) -> WrappedKey {
        let ciphertext = seal(self.algorithm, &self.bytes, context, key).expect("checked when the key was read");
        WrappedKey { algorithm: self.algorithm.to_owned(), ciphertext }
    }
}

/// An HPKE private key, for X25519 or X-Wing. Erased from memory when dropped.
#[derive(Clone)]
pub struct HpkeSecret {
    algorithm: &'static str,
    bytes: Zeroizing<[u8; 32]>,
}

impl HpkeSecret {
    /// A fresh X25519 key.
    pub fn generate_x25519() -> Self {
        Self { algorithm: HPKE_X25519, bytes: hpke_suite::generate::<X25519HkdfSha256>().0 }
    }

    /// A fresh X-Wing key.
    pub fn generate_xwing() -> Self {
        Self { algorithm: HPKE_XWING, bytes: hpke_suite::generate::<XWing>().0 }
    }

    /// The public half.
    pub fn public(&self) -> HpkePublic {
        let bytes = match self.algorithm {
            HPKE_X25519 => hpke_suite::public::<X25519HkdfSha256>(&self.bytes),
            _ => hpke_suite::public::<XWing>(&self.bytes),
        };
        HpkePublic { algorithm: self.algorithm, bytes }
    }
}

impl std::fmt::Debug for HpkeSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HpkeSecret({})", self.algorithm)
    }
}

impl KeyUnwrap for HpkeSecret {
    fn recipient(&self) -> Arc<dyn KeyWrap> {
        Arc::new(self.public())
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<Zeroizing<[u8; 32]>, DecryptionFailed> {
        if wrapped.algorithm != self.algorithm {
            return Err(DecryptionFailed);
        }
        let opened = match self.algorithm {
            HPKE_X25519 => hpke_suite::open::<X25519HkdfSha256>(&self.bytes, context, b"", &wrapped.ciphertext)?,
            _ => hpke_suite::open::<XWing>(&self.bytes, context, b"", &wrapped.ciphertext)?,
        };
        let mut key = Zeroizing::new([0; 32]);
        if opened.len() != key.len() {
            return Err(DecryptionFailed);
        }
        key.copy_from_slice(&opened);
        Ok(key)
    }
}
