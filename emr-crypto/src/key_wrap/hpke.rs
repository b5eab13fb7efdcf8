//! HPKE (RFC 9180) with either of two KEMs. The context is HPKE's `info`.

use std::fmt;
use std::sync::Arc;

use hpke::kem::{X25519HkdfSha256, XWing};
use zeroize::Zeroizing;

use super::{Algorithm, KeyUnwrap, KeyWrap, RecipientError, WrappedKey};
use crate::{DecryptionFailed, hpke_suite};

/// The key encapsulation mechanism, which decides the algorithm. Private keys of both have 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kem {
    X25519,
    XWing,
}

impl Kem {
    const fn algorithm(self) -> Algorithm {
        match self {
            Self::X25519 => Algorithm::HpkeX25519,
            Self::XWing => Algorithm::HpkeXWing,
        }
    }

    fn generate(self) -> Zeroizing<[u8; 32]> {
        match self {
            Self::X25519 => hpke_suite::generate::<X25519HkdfSha256>().0,
            Self::XWing => hpke_suite::generate::<XWing>().0,
        }
    }

    fn public(self, secret: &[u8; 32]) -> Vec<u8> {
        match self {
            Self::X25519 => hpke_suite::public::<X25519HkdfSha256>(secret),
            Self::XWing => hpke_suite::public::<XWing>(secret),
        }
    }

    /// Returns `None` if `public` is not a usable key.
    fn seal(self, public: &[u8], context: &[u8], key: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::X25519 => hpke_suite::seal::<X25519HkdfSha256>(public, context, b"", key),
            Self::XWing => hpke_suite::seal::<XWing>(public, context, b"", key),
        }
    }

    fn open(self, secret: &[u8; 32], context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, DecryptionFailed> {
        match self {
            Self::X25519 => hpke_suite::open::<X25519HkdfSha256>(secret, context, b"", sealed),
            Self::XWing => hpke_suite::open::<XWing>(secret, context, b"", sealed),
        }
    }
}

/// The public half of an [`HpkeSecret`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HpkePublic {
    kem: Kem,
    bytes: Vec<u8>,
}

impl HpkePublic {
    pub(super) fn new(kem: Kem, public: &[u8]) -> Result<Self, RecipientError> {
        // Refuses keys to which nothing can be encrypted (wrong length, small order), so that wrapping cannot fail
        // later.
        kem.seal(public, b"", b"").ok_or(RecipientError::Hpke(kem.algorithm()))?;
        Ok(Self { kem, bytes: public.to_vec() })
    }
}

impl KeyWrap for HpkePublic {
    fn algorithm(&self) -> Algorithm {
        self.kem.algorithm()
    }

    fn public_bytes(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    fn wrap_key(&self, key: &[u8; 32], context: &[u8]) -> WrappedKey {
        let ciphertext = self.kem.seal(&self.bytes, context, key).expect("checked when the key was read");
        WrappedKey { algorithm: self.algorithm(), ciphertext }
    }
}

/// An HPKE private key, for X25519 or X-Wing. Erased from memory when dropped.
#[derive(Clone)]
pub struct HpkeSecret {
    kem: Kem,
    bytes: Zeroizing<[u8; 32]>,
}

impl HpkeSecret {
    /// Makes a new X25519 key.
    pub fn generate_x25519() -> Self {
        Self::generate(Kem::X25519)
    }

    /// Makes a new X-Wing key.
    pub fn generate_xwing() -> Self {
        Self::generate(Kem::XWing)
    }

    fn generate(kem: Kem) -> Self {
        Self { kem, bytes: kem.generate() }
    }

    /// The public half.
    pub fn public(&self) -> HpkePublic {
        HpkePublic { kem: self.kem, bytes: self.kem.public(&self.bytes) }
    }
}

impl fmt::Debug for HpkeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HpkeSecret({})", self.kem.algorithm())
    }
}

impl KeyUnwrap for HpkeSecret {
    fn recipient(&self) -> Arc<dyn KeyWrap> {
        Arc::new(self.public())
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<Zeroizing<[u8; 32]>, DecryptionFailed> {
        if wrapped.algorithm != self.kem.algorithm() {
            return Err(DecryptionFailed);
        }
        let opened = self.kem.open(&self.bytes, context, &wrapped.ciphertext)?;
        let mut key = Zeroizing::new([0; 32]);
        if opened.len() != key.len() {
            return Err(DecryptionFailed);
        }
        key.copy_from_slice(&opened);
        Ok(key)
    }
}
