//! Wraps 32-byte keys to a recipient, with the recipient's algorithm.
//!
//! Everything that encrypts to a person goes through [`KeyWrap`] and [`KeyUnwrap`]. [`Algorithm::recipient`] parses a
//! public key. Each file holds one algorithm or family.
//!
//! To add an algorithm, write its file and add a variant to [`Algorithm`]. The compiler then demands its name and its
//! parser.

mod hpke;
mod rsa_oaep;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use emr_core::excerpt;
use zeroize::Zeroizing;

use crate::DecryptionFailed;
use crate::rsa_key::{RsaKeyError, RsaPublic};

use self::hpke::Kem;

pub use self::hpke::{HpkePublic, HpkeSecret};

/// A way to wrap keys. Key directories contain its [`Self::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// RSA-OAEP with SHA-256 and MGF1-SHA-256, named as in RFC 7518. Public key: DER SubjectPublicKeyInfo.
    RsaOaep256,
    /// HPKE base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305 (RFC 9180). Public key: 32 bytes.
    HpkeX25519,
    /// HPKE base mode with the hybrid KEM X-Wing (X25519 and ML-KEM-768). Public key: 1216 bytes.
    HpkeXWing,
}

impl Algorithm {
    /// Every algorithm of this version.
    pub const ALL: [Self; 3] = [Self::RsaOaep256, Self::HpkeX25519, Self::HpkeXWing];

    /// The name in published key directories. It never changes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RsaOaep256 => "RSA-OAEP-256",
            Self::HpkeX25519 => "HPKE-X25519",
            Self::HpkeXWing => "HPKE-X-Wing",
        }
    }

    /// The recipient with this public key.
    ///
    /// # Errors
    /// Returns [`RecipientError::Rsa`] or [`RecipientError::Hpke`] if the bytes are not such a key.
    pub fn recipient(self, public: &[u8]) -> Result<Arc<dyn KeyWrap>, RecipientError> {
        match self {
            Self::RsaOaep256 => Ok(Arc::new(RsaPublic::from_der(public)?)),
            Self::HpkeX25519 => Ok(Arc::new(HpkePublic::new(Kem::X25519, public)?)),
            Self::HpkeXWing => Ok(Arc::new(HpkePublic::new(Kem::XWing, public)?)),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = RecipientError;

    fn from_str(name: &str) -> Result<Self, RecipientError> {
        let named = Self::ALL.into_iter().find(|algorithm| algorithm.name() == name);
        named.ok_or_else(|| RecipientError::UnknownAlgorithm(name.to_owned()))
    }
}

/// A wrapped key and the algorithm that wrapped it. It does not name the recipient: a possible recipient tries to
/// unwrap it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// The algorithm that wrapped the key.
    pub algorithm: Algorithm,
    /// The algorithm's output.
    pub ciphertext: Vec<u8>,
}

/// Someone to whom keys can be wrapped.
pub trait KeyWrap: fmt::Debug + Send + Sync {
    /// The algorithm that wraps keys to this recipient.
    fn algorithm(&self) -> Algorithm;

    /// The public key in the form that [`Algorithm::recipient`] parses.
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
    /// Returns [`DecryptionFailed`] if it was wrapped to someone else, with another algorithm or context, or was
    /// altered.
    fn unwrap_key(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<Zeroizing<[u8; 32]>, DecryptionFailed>;
}

/// Why an algorithm's name and a key do not make a recipient.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecipientError {
    /// This version has no algorithm of this name.
    #[error("there is no key wrapping algorithm '{}' in this version; update the program", excerpt(.0, 40))]
    UnknownAlgorithm(String),
    /// The bytes are not a usable RSA key.
    #[error(transparent)]
    Rsa(#[from] RsaKeyError),
    /// The bytes are not a usable HPKE public key.
    #[error("not a public key for {0}")]
    Hpke(Algorithm),
}
