//! A participant's encryption key: an RSA key, and an X-Wing key beside it unless the participant chose RSA alone.

use std::sync::Arc;

use emr_core::KemHash;
use zeroize::Zeroizing;

use crate::DecryptionFailed;
use crate::committed_key::CommittedKey;
use crate::key_wrap::{Algorithm, KeyUnwrap, KeyWrap, WrappedKey, hybrid, unwrap_with};
use crate::rsa_key::{RsaKeyError, RsaPublic, RsaSecret};
use crate::xwing::{NotXWingPublic, XWingPublic, XWingSecret};

/// Whether a new identity has an X-Wing key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyProfile {
    /// RSA and X-Wing. What is wrapped to such a key stays secret unless both are broken.
    #[default]
    Hybrid,
    /// RSA alone: for programs and tokens that know nothing else. A quantum computer would open it.
    RsaAlone,
}

/// Why bytes are not an encryption key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncryptionKeyError {
    /// The RSA key cannot be used.
    #[error(transparent)]
    Rsa(#[from] RsaKeyError),
    /// What follows the RSA key is not an X-Wing key.
    #[error(transparent)]
    XWing(#[from] NotXWingPublic),
    /// The RSA key is not as long as the first two bytes say.
    #[error("not an encryption key: it is cut short; ask its owner for it again")]
    Truncated,
}

/// The public half of an [`EncryptionSecret`]: keys are wrapped to it.
///
/// Bytes: length of the DER 2 (big-endian) | RSA key, DER SubjectPublicKeyInfo | X-Wing public key 1216, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptionKey {
    rsa: RsaPublic,
    xwing: Option<XWingPublic>,
}

impl From<RsaPublic> for EncryptionKey {
    fn from(rsa: RsaPublic) -> Self {
        Self::new(rsa, None)
    }
}

impl EncryptionKey {
    /// A pair of public keys; `None` for RSA alone.
    pub const fn new(rsa: RsaPublic, xwing: Option<XWingPublic>) -> Self {
        Self { rsa, xwing }
    }

    /// The RSA key.
    pub const fn rsa(&self) -> &RsaPublic {
        &self.rsa
    }

    /// The X-Wing key; `None` for RSA alone.
    pub const fn xwing(&self) -> Option<&XWingPublic> {
        self.xwing.as_ref()
    }

    /// The hash of the X-Wing key; [`KemHash::NONE`] for RSA alone.
    pub fn kem_hash(&self) -> KemHash {
        self.xwing.as_ref().map_or(KemHash::NONE, XWingPublic::hash)
    }

    /// What an account commits to. Patients have a salt.
    pub fn committed(&self, salt: Option<[u8; 32]>) -> CommittedKey {
        CommittedKey { rsa: self.rsa.clone(), kem: self.kem_hash(), salt }
    }

    /// The encoding: 424 bytes with RSA of 3072 bits alone, 1640 with X-Wing.
    ///
    /// # Panics
    /// Never: an RSA key of 4096 bits has 550 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let der = self.rsa.to_der();
        let length = u16::try_from(der.len()).expect("an RSA public key has at most 600 bytes");
        let xwing = self.xwing.as_ref().map_or(&[][..], |xwing| xwing.as_bytes());
        [&length.to_be_bytes()[..], &der, xwing].concat()
    }

    /// Decodes the encoding. Accepts only the canonical form.
    ///
    /// # Errors
    /// Returns [`EncryptionKeyError`] if the bytes are anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EncryptionKeyError> {
        let (length, rest) = bytes.split_first_chunk().ok_or(EncryptionKeyError::Truncated)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (der, xwing) = rest.split_at_checked(length).ok_or(EncryptionKeyError::Truncated)?;
        let rsa = RsaPublic::from_der(der)?;
        let xwing = if xwing.is_empty() { None } else { Some(XWingPublic::from_bytes(xwing)?) };
        Ok(Self { rsa, xwing })
    }
}

impl KeyWrap for EncryptionKey {
    fn algorithm(&self) -> Algorithm {
        if self.xwing.is_some() { Algorithm::XWingRsaOaep256 } else { self.rsa.algorithm() }
    }

    fn public_bytes(&self) -> Vec<u8> {
        if self.xwing.is_some() { self.to_bytes() } else { self.rsa.public_bytes() }
    }

    fn wrap_key(&self, key: &[u8; 32], context: &[u8]) -> WrappedKey {
        match &self.xwing {
            Some(xwing) => hybrid::wrap(&self.rsa, xwing, key, context),
            None => self.rsa.wrap_key(key, context),
        }
    }
}

/// A participant's private encryption keys. Erased from memory when dropped; `Debug` shows the public half.
#[derive(Clone)]
pub struct EncryptionSecret {
    rsa: RsaSecret,
    xwing: Option<XWingSecret>,
}

impl From<RsaSecret> for EncryptionSecret {
    fn from(rsa: RsaSecret) -> Self {
        Self::new(rsa, None)
    }
}

impl EncryptionSecret {
    /// A pair of private keys; `None` for RSA alone.
    pub const fn new(rsa: RsaSecret, xwing: Option<XWingSecret>) -> Self {
        Self { rsa, xwing }
    }

    /// An existing RSA key, with a new X-Wing key if the profile has one.
    pub fn with_rsa(rsa: RsaSecret, profile: KeyProfile) -> Self {
        let xwing = match profile {
            KeyProfile::Hybrid => Some(XWingSecret::generate()),
            KeyProfile::RsaAlone => None,
        };
        Self { rsa, xwing }
    }

    /// The RSA key.
    pub const fn rsa(&self) -> &RsaSecret {
        &self.rsa
    }

    /// The X-Wing key; `None` for RSA alone.
    pub const fn xwing(&self) -> Option<&XWingSecret> {
        self.xwing.as_ref()
    }

    /// The public half.
    pub fn public(&self) -> EncryptionKey {
        EncryptionKey::new(self.rsa.public(), self.xwing.as_ref().map(XWingSecret::public))
    }
}

/// Shows the public half only.
impl std::fmt::Debug for EncryptionSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EncryptionSecret({:?})", self.public())
    }
}

impl KeyUnwrap for EncryptionSecret {
    fn recipient(&self) -> Arc<dyn KeyWrap> {
        Arc::new(self.public())
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<Zeroizing<[u8; 32]>, DecryptionFailed> {
        unwrap_with(&self.rsa, self.xwing.as_ref(), wrapped, context)
    }
}
