//! AWS-LC through `aws-lc-rs`: C and assembly. It blinds every private operation, checks its result with the public key
//! (`rsa_default_private_transform` in its `rsa_impl.c`), and erases all memory that it frees (`OPENSSL_free`). Blinding,
//! salts and seeds come from its own generator, which the operating system seeds.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::rsa::{
    KeyPair, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey, PublicKeyComponents, RsaParameters,
};
use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256, RsaEncoding,
};
use rsa::pkcs8::EncodePrivateKey;
use rsa::traits::PublicKeyParts;
use rsa::{RsaPrivateKey, RsaPublicKey};
use zeroize::Zeroizing;

use super::{Backend, Gcm, RsaOperations};
use crate::{BadSignature, DecryptionFailed};

/// The back end in C.
pub(crate) struct AwsLc;

fn components(public: &RsaPublicKey) -> PublicKeyComponents<Box<[u8]>> {
    PublicKeyComponents { n: public.n_bytes(), e: public.e_bytes() }
}

fn imported(digest: &[u8; 32]) -> Digest {
    Digest::import_less_safe(digest, &SHA256).expect("SHA-256 has 32 bytes")
}

fn verify(
    parameters: &'static RsaParameters,
    public: &RsaPublicKey,
    digest: &[u8; 32],
    signature: &[u8],
) -> Result<(), BadSignature> {
    let public = components(public).to_parsed_public_key(parameters).map_err(|_| BadSignature)?;
    public.verify_digest_sig(&imported(digest), signature).map_err(|_| BadSignature)
}

impl Backend for AwsLc {
    type Gcm = AwsLcGcm;
    type RsaSecret = AwsLcRsa;

    fn encrypt_oaep(public: &RsaPublicKey, label: &[u8], message: &[u8]) -> Vec<u8> {
        let key: PublicEncryptingKey = components(public).try_into().expect("any odd modulus of this size is a key");
        let key = OaepPublicEncryptingKey::new(key).expect("any public key can encrypt");
        let mut ciphertext = vec![0; key.ciphertext_size()];
        key.encrypt(&OAEP_SHA256_MGF1SHA256, message, &mut ciphertext, Some(label))
            .expect("190 bytes fit OAEP-SHA-256 from 2048 bits on");
        ciphertext
    }

    fn verify_pss(public: &RsaPublicKey, digest: &[u8; 32], signature: &[u8]) -> Result<(), BadSignature> {
        verify(&RSA_PSS_2048_8192_SHA256, public, digest, signature)
    }

    fn verify_pkcs1v15(public: &RsaPublicKey, digest: &[u8; 32], signature: &[u8]) -> Result<(), BadSignature> {
        verify(&RSA_PKCS1_2048_8192_SHA256, public, digest, signature)
    }
}

/// AES-256-GCM of AWS-LC.
pub(crate) struct AwsLcGcm(LessSafeKey);

impl Gcm for AwsLcGcm {
    fn new(key: &[u8; 32]) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("the key has 32 bytes")))
    }

    fn seal_in_place(&self, nonce: &[u8; 12], aad: &[u8], buffer: &mut Vec<u8>) {
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), buffer)
            .expect("the plaintext is far below GCM's 64 GiB");
    }

    fn open_in_place(&self, nonce: &[u8; 12], aad: &[u8], buffer: &mut Vec<u8>) -> Result<(), DecryptionFailed> {
        let opened = self.0.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), buffer);
        let length = opened.map_err(|_| DecryptionFailed)?.len();
        buffer.truncate(length);
        Ok(())
    }
}

/// A private key in AWS-LC, and the same key in the crate `rsa`, which reads and writes it. AWS-LC has one type for
/// decryption and one for signatures.
#[derive(Clone)]
pub(crate) struct AwsLcRsa {
    key: RsaPrivateKey,
    decrypting: Arc<OaepPrivateDecryptingKey>,
    signing: Arc<KeyPair>,
}

impl AwsLcRsa {
    fn sign(&self, encoding: &'static dyn RsaEncoding, digest: &[u8; 32]) -> Option<Vec<u8>> {
        let mut signature = vec![0; self.signing.public_modulus_len()];
        self.signing.sign_digest(encoding, &imported(digest), &mut signature).ok()?;
        Some(signature)
    }
}

impl RsaOperations for AwsLcRsa {
    fn new(key: RsaPrivateKey) -> Option<Self> {
        let der = key.to_pkcs8_der().ok()?;
        let decrypting = PrivateDecryptingKey::from_pkcs8(der.as_bytes()).ok()?;
        let decrypting = Arc::new(OaepPrivateDecryptingKey::new(decrypting).ok()?);
        let signing = Arc::new(KeyPair::from_pkcs8(der.as_bytes()).ok()?);
        Some(Self { key, decrypting, signing })
    }

    fn key(&self) -> &RsaPrivateKey {
        &self.key
    }

    fn decrypt_oaep(&self, label: &[u8], ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, DecryptionFailed> {
        let mut message = Zeroizing::new(vec![0; self.decrypting.min_output_size()]);
        let length = self
            .decrypting
            .decrypt(&OAEP_SHA256_MGF1SHA256, ciphertext, &mut message, Some(label))
            .map_err(|_| DecryptionFailed)?
            .len();
        message.truncate(length);
        Ok(message)
    }

    fn sign_pss(&self, digest: &[u8; 32]) -> Option<Vec<u8>> {
        self.sign(&RSA_PSS_SHA256, digest)
    }

    fn sign_pkcs1v15(&self, digest: &[u8; 32]) -> Option<Vec<u8>> {
        self.sign(&RSA_PKCS1_SHA256, digest)
    }
}
