//! RustCrypto's `aes-gcm` and `rsa`: Rust only.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use rsa::{Oaep, Pkcs1v15Sign, Pss, RsaPrivateKey, RsaPublicKey};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{Backend, Gcm, RsaOperations};
use crate::{BadSignature, DecryptionFailed, random};

/// The back end in Rust.
pub(crate) struct Pure;

impl Backend for Pure {
    type Gcm = PureGcm;
    type RsaSecret = PureRsa;

    fn encrypt_oaep(public: &RsaPublicKey, label: &[u8], message: &[u8]) -> Vec<u8> {
        public
            .encrypt(&mut random::system(), Oaep::<Sha256>::new_with_label(label), message)
            .expect("190 bytes fit OAEP-SHA-256 from 2048 bits on")
    }

    fn verify_pss(public: &RsaPublicKey, digest: &[u8; 32], signature: &[u8]) -> Result<(), BadSignature> {
        public.verify(Pss::<Sha256>::new(), digest, signature).map_err(|_| BadSignature)
    }

    fn verify_pkcs1v15(public: &RsaPublicKey, digest: &[u8; 32], signature: &[u8]) -> Result<(), BadSignature> {
        public.verify(Pkcs1v15Sign::new::<Sha256>(), digest, signature).map_err(|_| BadSignature)
    }
}

/// AES-256-GCM of `aes-gcm`.
pub(crate) struct PureGcm(Aes256Gcm);

impl Gcm for PureGcm {
    fn new(key: &[u8; 32]) -> Self {
        Self(Aes256Gcm::new(key.into()))
    }

    fn seal_in_place(&self, nonce: &[u8; 12], aad: &[u8], buffer: &mut Vec<u8>) {
        self.0.encrypt_in_place(&Nonce::from(*nonce), aad, buffer).expect("the plaintext is far below GCM's 64 GiB");
    }

    fn open_in_place(&self, nonce: &[u8; 12], aad: &[u8], buffer: &mut Vec<u8>) -> Result<(), DecryptionFailed> {
        self.0.decrypt_in_place(&Nonce::from(*nonce), aad, buffer).map_err(|_| DecryptionFailed)
    }
}

/// A private key of `rsa`.
#[derive(Clone)]
pub(crate) struct PureRsa(RsaPrivateKey);

impl RsaOperations for PureRsa {
    fn new(key: RsaPrivateKey) -> Option<Self> {
        Some(Self(key))
    }

    fn key(&self) -> &RsaPrivateKey {
        &self.0
    }

    fn decrypt_oaep(&self, label: &[u8], ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, DecryptionFailed> {
        self.0
            .decrypt_blinded(&mut random::system(), Oaep::<Sha256>::new_with_label(label), ciphertext)
            .map(Zeroizing::new)
            .map_err(|_| DecryptionFailed)
    }

    fn sign_pss(&self, digest: &[u8; 32]) -> Option<Vec<u8>> {
        self.0.sign_with_rng(&mut random::system(), Pss::<Sha256>::new_blinded(), digest).ok()
    }

    fn sign_pkcs1v15(&self, digest: &[u8; 32]) -> Option<Vec<u8>> {
        self.0.sign_with_rng(&mut random::system(), Pkcs1v15Sign::new::<Sha256>(), digest).ok()
    }
}
