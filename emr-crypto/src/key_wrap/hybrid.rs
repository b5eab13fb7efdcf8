//! X-Wing and RSA-OAEP together: a wrapped key stays secret unless both are broken.
//!
//! ```text
//! s1 = 32 random bytes;  c1 = RSA-OAEP-SHA256(label = context, s1)
//! (enc, ctx) = HPKE SetupBaseS(X-Wing key, info = "emr/hybrid-wrap/v1" | 00 | context)
//! c2 = ctx.Seal("", c1 padded with zeros to 512)
//! s2 = ctx.Export("emr/hybrid-wrap/share/v1", 32)
//! kek = HKDF-SHA256(s1 | s2, info = "emr/hybrid-wrap/key/v1" | 00 | SHA-256 of len4 | x for each x of
//!                   context, RSA DER, X-Wing key, enc, c2, c1)
//! c3 = AES-256-GCM(kek, K);  wrapped key = enc 1120 | c2 528 | c3 48
//! ```
//!
//! Both shares go into one extraction of HKDF, and the key depends on every byte of the wrap: a dual-PRF combiner (Bindel, Brendel, Fischlin,
//! Goncalves, Stebila, "Hybrid Key Encapsulation Mechanisms and Authenticated Key Exchange", PQCrypto 2019). The RSA ciphertext is inside the
//! HPKE message, so the wrap shows neither the size of the RSA key nor, if X-Wing holds, anything of it. Opening tries X-Wing first: it is
//! cheap, and it fails for everybody else.

use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Algorithm, OaepDecrypt, WrappedKey};
use crate::rsa_key::RsaPublic;
use crate::xwing::{XWingPublic, XWingSecret};
use crate::{DecryptionFailed, aead, hpke_suite, random};

/// Bytes of a hybrid wrap, whatever the size of the RSA key.
pub const HYBRID_WRAP_BYTES: usize = MESSAGE_BYTES + SEALED_KEY_BYTES;
/// An RSA ciphertext is padded to the size of the largest, of a key of 4096 bits.
const PADDED_OAEP_BYTES: usize = 512;
/// The HPKE message: encapsulated key 1120, padded RSA ciphertext 512, tag 16.
const MESSAGE_BYTES: usize = PADDED_OAEP_BYTES + hpke_suite::OVERHEAD_BYTES;
const SEALED_KEY_BYTES: usize = 32 + aead::TAG_BYTES;

const INFO: &[u8] = b"emr/hybrid-wrap/v1\0";
const SHARE: &[u8] = b"emr/hybrid-wrap/share/v1";
const KEY_INFO: &[u8] = b"emr/hybrid-wrap/key/v1\0";

fn info(context: &[u8]) -> Vec<u8> {
    [INFO, context].concat()
}

/// Everything that the two shares belong to: recipient, context and ciphertexts.
struct Transcript<'a> {
    context: &'a [u8],
    rsa: &'a RsaPublic,
    xwing: &'a XWingPublic,
    /// `enc | c2`
    message: &'a [u8],
    oaep: &'a [u8],
}

impl Transcript<'_> {
    fn digest(&self) -> [u8; 32] {
        let (encapsulated, ciphertext) = self.message.split_at(crate::xwing::ENCAPSULATED_BYTES);
        let der = self.rsa.to_der();
        let mut hasher = Sha256::new();
        for part in [self.context, &der, self.xwing.as_bytes(), encapsulated, ciphertext, self.oaep] {
            let length = u32::try_from(part.len()).expect("keys, ciphertexts and contexts are short");
            hasher.update(length.to_be_bytes());
            hasher.update(part);
        }
        hasher.finalize().into()
    }

    /// The key that wraps: `s1` is the RSA share, `s2` that of X-Wing.
    fn key(&self, s1: &[u8; 32], s2: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        let mut shares = Zeroizing::new([0; 64]);
        shares[..32].copy_from_slice(s1);
        shares[32..].copy_from_slice(s2);
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, &*shares)
            .expand_multi_info(&[KEY_INFO, &self.digest()], &mut *key)
            .expect("32 bytes are within HKDF's limit");
        key
    }
}

/// Wraps a key to the holder of both private keys.
pub(crate) fn wrap(rsa: &RsaPublic, xwing: &XWingPublic, key: &[u8; 32], context: &[u8]) -> WrappedKey {
    let s1 = random::secret();
    let oaep = rsa.encrypt_oaep(context, &s1);
    let mut padded = [0; PADDED_OAEP_BYTES];
    padded[..oaep.len()].copy_from_slice(&oaep);
    let (message, s2) = hpke_suite::seal_and_export(xwing, &info(context), b"", &padded, Some(SHARE));
    let kek = Transcript { context, rsa, xwing, message: &message, oaep: &oaep }.key(&s1, &s2);
    let mut ciphertext = message;
    ciphertext.extend(aead::seal_once(&kek, b"", key));
    WrappedKey { algorithm: Algorithm::XWingRsaOaep256, ciphertext }
}

/// Opens what [`wrap`] made. RSA is used only after the X-Wing part opened.
pub(super) fn unwrap<R: OaepDecrypt>(
    rsa: &R,
    xwing: &XWingSecret,
    ciphertext: &[u8],
    context: &[u8],
) -> Result<Zeroizing<[u8; 32]>, R::Error> {
    if ciphertext.len() != HYBRID_WRAP_BYTES {
        return Err(DecryptionFailed.into());
    }
    let (message, sealed) = ciphertext.split_at(MESSAGE_BYTES);
    let (padded, s2) = hpke_suite::open_and_export(xwing, &info(context), b"", message, Some(SHARE))?;
    let public = rsa.rsa_public();
    let (oaep, padding) = padded.split_at_checked(public.bits().bytes()).ok_or(DecryptionFailed)?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(DecryptionFailed.into());
    }
    let s1 = rsa.decrypt_oaep(context, oaep)?;
    let kek = Transcript { context, rsa: &public, xwing: &xwing.public(), message, oaep }.key(&s1, &s2);
    let opened = aead::open_once(&kek, b"", sealed)?;
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(&opened);
    Ok(key)
}

#[cfg(test)]
mod tests;
