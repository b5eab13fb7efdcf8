//! Seals chosen content as a dishonest writer or owner would: in the form of docs/envelope.md, with keys that everybody here knows.
//!
//! Behind an authenticated decryption, changed bytes alone reach nothing. Whoever writes a record or owns a directory can put anything there.

use std::sync::{Arc, LazyLock};

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use emr_core::{AccountIndex, Class, RecordSlot, Version};
use emr_crypto::key_wrap::{Algorithm, KeyUnwrap, KeyWrap, WrappedKey};
use emr_crypto::{ContentKey, DecryptionFailed, RecordContext, XWingPublic, XWingSecret, padded_length};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// The key of everything that is sealed here.
pub const KEY: [u8; 32] = [0x4b; 32];

/// Somebody whose wrapped keys are not wrapped: the ciphertext is the key. So a target needs no private key operation, and its inputs
/// need no randomness.
#[derive(Clone, Copy, Debug)]
pub struct Open;

impl KeyWrap for Open {
    fn algorithm(&self) -> Algorithm {
        Algorithm::RsaOaep256
    }

    fn public_bytes(&self) -> Vec<u8> {
        Vec::new()
    }

    fn wrap_key(&self, key: &[u8; 32], _: &[u8]) -> WrappedKey {
        WrappedKey { algorithm: self.algorithm(), ciphertext: key.to_vec() }
    }
}

impl KeyUnwrap for Open {
    fn recipient(&self) -> Arc<dyn KeyWrap> {
        Arc::new(*self)
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, _: &[u8]) -> Result<Zeroizing<[u8; 32]>, DecryptionFailed> {
        wrapped.ciphertext.as_slice().try_into().map(Zeroizing::new).map_err(|_| DecryptionFailed)
    }
}

/// The seed of an X-Wing key.
pub const SECRET: [u8; 32] = [9; 32];
/// Its public key.
pub static PUBLIC: LazyLock<XWingPublic> = LazyLock::new(|| XWingSecret::from_seed(&SECRET).public());
/// The place of the crafted records.
///
/// # Panics
/// Never: the numbers are in their ranges.
pub fn context() -> RecordContext {
    RecordContext {
        domain: [1; 32],
        patient: AccountIndex::new(5).expect("an account"),
        slot: RecordSlot::new(0).expect("a slot"),
        version: Version::new(1).expect("a version"),
        class: Class::Laboratory,
    }
}

/// [`KEY`] as a content key.
///
/// # Panics
/// Never: [`Open`] unwraps it.
pub fn content_key() -> ContentKey {
    ContentKey::unwrap(&Open, &Open.wrap_key(&KEY, &[]), &context()).expect("32 bytes")
}

/// `derive(KEY, label, context)`.
///
/// # Panics
/// Never: 32 bytes are within HKDF's limit.
pub fn derive(label: &str, context: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    let info = [label.as_bytes(), &[0], context];
    Hkdf::<Sha256>::new(None, &KEY).expand_multi_info(&info, &mut key).expect("32 bytes");
    key
}

/// AES-256-GCM.
///
/// # Panics
/// Never: inputs are far below GCM's limit.
pub fn seal(key: &[u8; 32], nonce: [u8; 12], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let cipher = Aes256Gcm::new(key.into());
    cipher.encrypt(&Nonce::from(nonce), Payload { msg: plaintext, aad }).expect("short")
}

/// `padded(x)` of docs/envelope.md, where `x` need not be DAG-CBOR.
pub fn padded(encoded: &[u8], least: usize) -> Vec<u8> {
    let mut bytes = u32::try_from(encoded.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    bytes.extend(encoded);
    let size = usize::try_from(padded_length(bytes.len() as u64)).unwrap_or(usize::MAX).max(least);
    bytes.resize(size, 0);
    bytes
}

/// Cuts an input into parts: each has a length of 2 bytes, big-endian, in front of it. The last one may be cut short.
pub fn parts(mut data: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<2>() {
        let (part, after) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
        parts.push(part);
        data = after;
    }
    parts
}

/// The input that [`parts`] cuts into these parts, each of less than 64 KiB.
pub fn joined(parts: &[Vec<u8>]) -> Vec<u8> {
    let part = |part: &Vec<u8>| [&u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes()[..], part].concat();
    parts.iter().flat_map(part).collect()
}
