//! X-Wing keys (draft-connolly-cfrg-xwing-kem): X25519 and ML-KEM-768 (FIPS 203) in one KEM. It stays secure if one of the two is broken.

use std::fmt;
use std::sync::Arc;

use emr_core::KemHash;
use hpke::kem::{Kem, XWing};
use hpke::{Deserializable, Serializable};

use crate::random;
use crate::secret::SecretBytes;

/// Bytes of an encapsulated key: ML-KEM-768 ciphertext 1088, X25519 point 32.
pub(crate) const ENCAPSULATED_BYTES: usize = 1120;

/// The bytes are not an X-Wing public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an X-Wing public key: it must have 1216 bytes, with ML-KEM-768 coefficients below 3329")]
pub struct NotXWingPublic;

/// An X-Wing public key: ML-KEM-768 encapsulation key 1184 | X25519 public key 32. Copies share the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct XWingPublic(Arc<[u8; Self::BYTES]>);

impl XWingPublic {
    /// Size in bytes.
    pub const BYTES: usize = 1216;

    /// Reads a public key.
    ///
    /// # Errors
    /// Returns [`NotXWingPublic`] for another length, and for coefficients that are not reduced (FIPS 203, 7.2).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotXWingPublic> {
        <XWing as Kem>::PublicKey::from_bytes(bytes).map_err(|_| NotXWingPublic)?;
        Ok(Self(Arc::new(bytes.try_into().map_err(|_| NotXWingPublic)?)))
    }

    /// The 1216 bytes.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// The hash that L1 and commitments hold.
    pub fn hash(&self) -> KemHash {
        KemHash::of(&*self.0)
    }
}

/// Shows the hash's first 8 bytes in hex.
impl fmt::Debug for XWingPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "XWingPublic({})", hex::encode(&self.hash().as_bytes()[..8]))
    }
}

/// An X-Wing private key: its seed of 32 bytes. Erased from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct XWingSecret(SecretBytes);

impl XWingSecret {
    /// Makes a new random key.
    pub fn generate() -> Self {
        Self(SecretBytes::new(&random::secret()))
    }

    /// The key with this seed. Every seed is a key.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SecretBytes::new(seed))
    }

    pub(crate) const fn of(seed: SecretBytes) -> Self {
        Self(seed)
    }

    pub(crate) const fn secret(&self) -> &SecretBytes {
        &self.0
    }

    /// The seed, 32 bytes.
    pub fn seed(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The public half. Takes some 0.05 ms.
    pub fn public(&self) -> XWingPublic {
        let secret = <XWing as Kem>::PrivateKey::from_bytes(self.seed()).expect("any 32 bytes are a private key");
        let mut bytes = [0; XWingPublic::BYTES];
        XWing::sk_to_pk(&secret).write_exact(&mut bytes);
        XWingPublic(Arc::new(bytes))
    }
}

/// Shows no secret.
impl fmt::Debug for XWingSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("XWingSecret(..)")
    }
}
