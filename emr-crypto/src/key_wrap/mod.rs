//! Wraps 32-byte keys to a recipient, with the recipient's algorithm.
//!
//! Everything that encrypts to a person goes through [`KeyWrap`] and [`KeyUnwrap`]. [`Algorithm::recipient`] parses a
//! public key. Each file holds one algorithm.
//!
//! To add an algorithm, write its file and add a variant to [`Algorithm`]. The compiler then demands its name and its
//! parser.

pub(crate) mod hybrid;
mod rsa_oaep;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use emr_core::excerpt;
use zeroize::Zeroizing;

use crate::DecryptionFailed;
use crate::encryption_key::{EncryptionKey, EncryptionKeyError};
use crate::rsa_key::{RsaKeyError, RsaPublic};
use crate::xwing::XWingSecret;

pub use self::hybrid::HYBRID_WRAP_BYTES;

/// A way to wrap keys. Key directories contain its [`Self::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// RSA-OAEP with SHA-256 and MGF1-SHA-256, named as in RFC 7518. Public key: DER SubjectPublicKeyInfo.
    RsaOaep256,
    /// X-Wing (X25519 and ML-KEM-768) and RSA-OAEP together. Public key: as [`EncryptionKey::to_bytes`], with an X-Wing key.
    XWingRsaOaep256,
}

impl Algorithm {
    /// Every algorithm of this version.
    pub const ALL: [Self; 2] = [Self::RsaOaep256, Self::XWingRsaOaep256];

    /// The name in published key directories. It never changes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RsaOaep256 => "RSA-OAEP-256",
            Self::XWingRsaOaep256 => "X-Wing+RSA-OAEP-256",
        }
    }

    /// The recipient with this public key.
    ///
    /// # Errors
    /// Returns [`RecipientError::Rsa`] or [`RecipientError::Encryption`] if the bytes are not such a key.
    pub fn recipient(self, public: &[u8]) -> Result<Arc<dyn KeyWrap>, RecipientError> {
        match self {
            Self::RsaOaep256 => Ok(Arc::new(RsaPublic::from_der(public)?)),
            Self::XWingRsaOaep256 => {
                let key = EncryptionKey::from_bytes(public)?;
                if key.xwing().is_some() { Ok(Arc::new(key)) } else { Err(EncryptionKeyError::Truncated.into()) }
            }
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
///
/// Bytes, where one is kept: length of the algorithm's name 1 | name | ciphertext.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// The algorithm that wrapped the key.
    pub algorithm: Algorithm,
    /// The algorithm's output.
    pub ciphertext: Vec<u8>,
}

impl WrappedKey {
    /// The bytes.
    ///
    /// # Panics
    /// Never: names of algorithms are short.
    pub fn to_bytes(&self) -> Vec<u8> {
        let name = self.algorithm.name().as_bytes();
        let length = u8::try_from(name.len()).expect("names of algorithms are short");
        [&[length][..], name, &self.ciphertext].concat()
    }

    /// Decodes the bytes. Any ciphertext is accepted: unwrapping tells whether it is one.
    ///
    /// # Errors
    /// Returns [`DecryptionFailed`] if they do not begin with the name of an algorithm.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecryptionFailed> {
        let (length, rest) = bytes.split_first().ok_or(DecryptionFailed)?;
        let (name, ciphertext) = rest.split_at_checked(usize::from(*length)).ok_or(DecryptionFailed)?;
        let name = std::str::from_utf8(name).map_err(|_| DecryptionFailed)?;
        let algorithm = name.parse().map_err(|_| DecryptionFailed)?;
        Ok(Self { algorithm, ciphertext: ciphertext.to_vec() })
    }
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

/// The private operation of an RSA key, which may be in memory or in a token.
pub trait OaepDecrypt {
    /// Why it failed. A token can fail in more ways than a key in memory.
    type Error: From<DecryptionFailed>;

    /// The public half.
    fn rsa_public(&self) -> RsaPublic;

    /// Decrypts 32 bytes with RSA-OAEP, SHA-256 and MGF1-SHA-256 (RFC 8017 7.1.2). `ciphertext` is as long as the modulus.
    ///
    /// # Errors
    /// [`DecryptionFailed`] for every fault of the ciphertext, without a difference in time or value; or a failure of the token.
    fn decrypt_oaep(&self, label: &[u8], ciphertext: &[u8]) -> Result<Zeroizing<[u8; 32]>, Self::Error>;
}

/// Unwraps a key with one pair of private keys. Each pair opens one algorithm: with an X-Wing key the hybrid, without it RSA alone.
///
/// # Errors
/// [`DecryptionFailed`] as for [`KeyUnwrap::unwrap_key`], or a failure of the token.
pub fn unwrap_with<R: OaepDecrypt>(
    rsa: &R,
    xwing: Option<&XWingSecret>,
    wrapped: &WrappedKey,
    context: &[u8],
) -> Result<Zeroizing<[u8; 32]>, R::Error> {
    match (wrapped.algorithm, xwing) {
        (Algorithm::RsaOaep256, None) => rsa.decrypt_oaep(context, &wrapped.ciphertext),
        (Algorithm::XWingRsaOaep256, Some(xwing)) => hybrid::unwrap(rsa, xwing, &wrapped.ciphertext, context),
        (Algorithm::RsaOaep256, Some(_)) | (Algorithm::XWingRsaOaep256, None) => Err(DecryptionFailed.into()),
    }
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
    /// The bytes are not a usable pair of keys.
    #[error(transparent)]
    Encryption(#[from] EncryptionKeyError),
}
