//! Content keys, and the encryption of content in chunks.
//!
//! Content of any length is sealed in chunks with STREAM (Hoang, Reyhanitabar, Rogaway, Vizár, "Online
//! Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", CRYPTO 2015) over AES-256-GCM: the nonce is 7 zero
//! bytes, a 32-bit big-endian chunk counter, and a byte that is 1 in the last chunk and 0 in all others. Content with a
//! missing, doubled, moved or truncated chunk does not open. Each key is used for one stream only, so the nonce prefix
//! may be zero.

use zeroize::Zeroizing;

use crate::aead::{self, TAG_BYTES};
use crate::backend::{Backend, Gcm, Selected};
use crate::key_wrap::{KeyUnwrap, KeyWrap, WrappedKey};
use crate::secret::SecretBytes;
use crate::{DecryptionFailed, RecordContext, random};

/// Plaintext bytes of every chunk but the last: 256 KiB.
pub const CHUNK_BYTES: usize = 256 * 1024;
/// Ciphertext bytes of every chunk but the last.
pub(crate) const SEALED_CHUNK_BYTES: usize = CHUNK_BYTES + TAG_BYTES;

/// The key of one sealed record or attachment: 32 random bytes, never reused. Erased from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct ContentKey(SecretBytes);

impl ContentKey {
    /// Makes a new random key.
    pub fn generate() -> Self {
        Self(SecretBytes::new(&random::secret()))
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Result<Self, DecryptionFailed> {
        Ok(Self(SecretBytes::new(bytes.try_into().map_err(|_| DecryptionFailed)?)))
    }

    pub(crate) const fn of(secret: SecretBytes) -> Self {
        Self(secret)
    }

    /// Wraps this key to a recipient, for one context. Writers wrap it to themselves and keep it until the record is
    /// settled.
    pub fn wrap(&self, to: &dyn KeyWrap, context: &RecordContext) -> WrappedKey {
        to.wrap_key(self.as_bytes(), &kept_key_context(context))
    }

    /// Unwraps a key that [`Self::wrap`] wrapped.
    ///
    /// # Errors
    /// Returns [`DecryptionFailed`] if the key was wrapped to another recipient or for another context, or was altered.
    pub fn unwrap(by: &dyn KeyUnwrap, wrapped: &WrappedKey, context: &RecordContext) -> Result<Self, DecryptionFailed> {
        Ok(Self(SecretBytes::new(&*by.unwrap_key(wrapped, &kept_key_context(context))?)))
    }

    /// Wraps the key of an attachment to its writer, for one request to store it. Writers keep it until the record is settled, to go on with an
    /// interrupted upload. `request` is a digest of the request: the key opens for the same request only.
    pub fn wrap_for_upload(&self, to: &dyn KeyWrap, request: &[u8; 32]) -> WrappedKey {
        to.wrap_key(self.as_bytes(), &upload_context(request))
    }

    /// Unwraps a key that [`Self::wrap_for_upload`] wrapped.
    ///
    /// # Errors
    /// Returns [`DecryptionFailed`] if the key was wrapped to another recipient or for another request, or was altered.
    pub fn unwrap_for_upload(
        by: &dyn KeyUnwrap,
        wrapped: &WrappedKey,
        request: &[u8; 32],
    ) -> Result<Self, DecryptionFailed> {
        Ok(Self(SecretBytes::new(&*by.unwrap_key(wrapped, &upload_context(request))?)))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    pub(crate) const fn secret(&self) -> &SecretBytes {
        &self.0
    }

    /// Derives the key for one use of this content key.
    pub(crate) fn derive(&self, label: &str, context: &[u8]) -> Zeroizing<[u8; 32]> {
        aead::derive(self.0.as_bytes(), label, context)
    }
}

fn kept_key_context(context: &RecordContext) -> Vec<u8> {
    [&b"emr/kept-content-key/v1"[..], &context.to_bytes()].concat()
}

fn upload_context(request: &[u8; 32]) -> Vec<u8> {
    [&b"emr/kept-attachment-key/v1"[..], request].concat()
}

impl std::fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContentKey(..)")
    }
}

/// The nonce of a chunk.
fn nonce(number: u32, is_last: bool) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[7..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = u8::from(is_last);
    nonce
}

/// Seals chunks one after the other, in place.
pub(crate) struct ChunkSealer<G = <Selected as Backend>::Gcm> {
    gcm: G,
    number: u32,
}

impl<G: Gcm> ChunkSealer<G> {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self { gcm: G::new(key), number: 0 }
    }

    /// Seals a chunk that is not the last; it has [`CHUNK_BYTES`].
    pub(crate) fn next(&mut self, chunk: &mut Vec<u8>) {
        self.gcm.seal_in_place(&nonce(self.number, false), b"", chunk);
        self.number = self.number.checked_add(1).expect("fewer than 2^32 chunks");
    }

    /// Seals the last chunk, which may be empty.
    pub(crate) fn last(self, chunk: &mut Vec<u8>) {
        self.gcm.seal_in_place(&nonce(self.number, true), b"", chunk);
    }
}

/// Opens chunks in any order, in place. A chunk opens only at its own place: the nonce holds its number, and whether it is the last.
pub(crate) struct ChunkOpener<G = <Selected as Backend>::Gcm>(G);

impl<G: Gcm> ChunkOpener<G> {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(G::new(key))
    }

    /// Opens the chunk with this number, counted from 0.
    pub(crate) fn open(&self, number: u32, is_last: bool, chunk: &mut Vec<u8>) -> Result<(), DecryptionFailed> {
        self.0.open_in_place(&nonce(number, is_last), b"", chunk)
    }
}
