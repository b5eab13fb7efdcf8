//! AES-256-GCM (SP 800-38D) with keys that are used once, and HKDF-SHA256 (RFC 5869) to derive such keys.

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::DecryptionFailed;
use crate::backend::{Backend, Gcm, Selected};

/// Bytes that AES-GCM adds to a plaintext.
pub(crate) const TAG_BYTES: usize = 16;
/// The nonce for keys that seal exactly one message.
const ONLY_NONCE: [u8; 12] = [0; 12];

/// Derives the key for one purpose: HKDF-SHA256 without salt, `info = label || 0x00 || context`.
pub(crate) fn derive(secret: &[u8; 32], label: &str, context: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, secret)
        .expand_multi_info(&[label.as_bytes(), &[0], context], &mut *key)
        .expect("32 bytes are within HKDF's limit");
    key
}

/// Encrypts `plaintext`. The caller never uses this key and nonce together again.
pub(crate) fn seal(key: &[u8; 32], nonce: &[u8; 12], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(plaintext.len() + TAG_BYTES);
    sealed.extend_from_slice(plaintext);
    <Selected as Backend>::Gcm::new(key).seal_in_place(nonce, aad, &mut sealed);
    sealed
}

/// Opens what [`seal`] made.
pub(crate) fn open(
    key: &[u8; 32],
    nonce: &[u8; 12],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, DecryptionFailed> {
    let mut opened = Zeroizing::new(sealed.to_vec());
    <Selected as Backend>::Gcm::new(key).open_in_place(nonce, aad, &mut opened)?;
    Ok(opened)
}

/// Encrypts the only message that `key` is ever used for.
pub(crate) fn seal_once(key: &[u8; 32], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    seal(key, &ONLY_NONCE, aad, plaintext)
}

/// Opens what [`seal_once`] made.
pub(crate) fn open_once(key: &[u8; 32], aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, DecryptionFailed> {
    open(key, &ONLY_NONCE, aad, sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B, test case 16.
    #[test]
    fn gcm_test_case_16() -> Result<(), Box<dyn std::error::Error>> {
        let hex = |text: &str| hex::decode(text);
        let key =
            <[u8; 32]>::try_from(hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")?.as_slice())?;
        let nonce = <[u8; 12]>::try_from(hex("cafebabefacedbaddecaf888")?.as_slice())?;
        let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2")?;
        let plaintext = hex(concat!(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72",
            "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
        ))?;
        let sealed = hex(concat!(
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa",
            "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
            "76fc6ece0f4e1768cddf8853bb2d551b"
        ))?;
        assert_eq!(seal(&key, &nonce, &aad, &plaintext), sealed);
        assert_eq!(*open(&key, &nonce, &aad, &sealed)?, plaintext);
        assert!(open(&key, &nonce, b"", &sealed).is_err());
        Ok(())
    }

    /// RFC 5869 has no vector with `info` in several parts. The parts must count as one string.
    #[test]
    fn derivation_is_hkdf_of_label_zero_context() {
        let mut whole = [0; 32];
        Hkdf::<Sha256>::new(None, &[7; 32]).expand(b"label\0context", &mut whole).expect("short");
        assert_eq!(*derive(&[7; 32], "label", b"context"), whole);
        assert_ne!(*derive(&[7; 32], "label", b"other"), whole);
    }
}
