//! The compact serialization (RFC 7516, 7.1) with a key that both sides have (`alg: dir`, RFC 7518, 4.5), as SMART Health
//! Links use it:
//!
//! ```text
//! BASE64URL(header) || ".." || BASE64URL(iv, 12 bytes) || "." || BASE64URL(ciphertext) || "." || BASE64URL(tag, 16 bytes)
//! ```

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use zeroize::Zeroizing;

use super::{A256GCM, OpenedJwe, SealedContent};
use crate::secret::SecretBytes;
use crate::{DecryptionFailed, random};

/// The algorithm of keys that both sides have.
const DIRECT: &str = "dir";

/// The key of the files of one link: 32 random bytes. Erased from memory when dropped.
///
/// The nonce of each file is random (96 bits). A key seals a handful of files, so nonces do not repeat.
#[derive(Clone, PartialEq, Eq)]
pub struct JweKey(SecretBytes);

impl JweKey {
    /// Makes a new random key.
    pub fn generate() -> Self {
        Self(SecretBytes::new(&random::secret()))
    }

    /// The key as base64url without padding: 43 characters.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64URL_NOPAD.encode(self.0.as_bytes()))
    }

    /// Reads the text of a key.
    ///
    /// # Errors
    /// Returns [`JweError::Key`] if it is not base64url of 32 bytes.
    pub fn from_text(text: &str) -> Result<Self, JweError> {
        let bytes = Zeroizing::new(BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| JweError::Key)?);
        let bytes = bytes.as_slice().try_into().map_err(|_| JweError::Key)?;
        Ok(Self(SecretBytes::new(bytes)))
    }
}

impl fmt::Debug for JweKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JweKey(..)")
    }
}

/// Why a JWE was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JweError {
    /// The text of the key is not a key.
    #[error("the key is not 32 bytes in base64url (43 characters): copy the whole link")]
    Key,
    /// The text is not a JWE in compact serialization.
    #[error("this is not a JWE in compact serialization: fetch the file again")]
    Malformed,
    /// The header asks for another algorithm.
    #[error("the JWE does not use dir with A256GCM, which is all that this program opens")]
    Algorithm,
    /// The header asks for compression, or for an extension that must be understood (`crit`).
    #[error("the JWE is compressed, or needs an extension that this program does not know")]
    Extension,
    /// The key is another one, or the JWE was altered.
    #[error(transparent)]
    Decryption(#[from] DecryptionFailed),
}

/// The protected header.
#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    enc: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cty: Option<String>,
    #[serde(default, skip_serializing)]
    zip: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    crit: Option<IgnoredAny>,
}

/// Encrypts content of a media type. The text has four characters for three bytes of content, and some 130 more.
///
/// # Panics
/// Only for content of 64 GiB and more.
pub fn seal_compact(key: &JweKey, content_type: &str, plaintext: &[u8]) -> String {
    let header = Header {
        alg: DIRECT.to_owned(),
        enc: A256GCM.to_owned(),
        cty: Some(content_type.to_owned()),
        zip: None,
        crit: None,
    };
    let header = BASE64URL_NOPAD.encode(&serde_json::to_vec(&header).expect("texts have a JSON form"));
    let SealedContent { iv, ciphertext, tag } = SealedContent::seal(key.0.as_bytes(), &header, plaintext);
    let [iv, ciphertext, tag] = [&iv[..], &ciphertext, &tag].map(|part| BASE64URL_NOPAD.encode(part));
    format!("{header}..{iv}.{ciphertext}.{tag}")
}

/// Opens what [`seal_compact`] or another program made.
///
/// # Errors
/// Returns [`JweError`] if the text is no such JWE, or the key is another one.
pub fn open_compact(key: &JweKey, jwe: &str) -> Result<OpenedJwe, JweError> {
    let mut parts = jwe.split('.');
    let [Some(protected), Some(encrypted_key), Some(iv), Some(ciphertext), Some(tag), None] =
        std::array::from_fn(|_| parts.next())
    else {
        return Err(JweError::Malformed);
    };
    let decode = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| JweError::Malformed);
    let header: Header = serde_json::from_slice(&decode(protected)?).map_err(|_| JweError::Malformed)?;
    if header.alg != DIRECT || header.enc != A256GCM {
        return Err(JweError::Algorithm);
    }
    if header.zip.is_some() || header.crit.is_some() {
        return Err(JweError::Extension);
    }
    // With `dir`, the encrypted key is empty (RFC 7516, 5.2, step 10).
    if !encrypted_key.is_empty() {
        return Err(JweError::Malformed);
    }
    let sealed = SealedContent {
        iv: decode(iv)?.try_into().map_err(|_| JweError::Malformed)?,
        ciphertext: decode(ciphertext)?,
        tag: decode(tag)?.try_into().map_err(|_| JweError::Malformed)?,
    };
    let plaintext = sealed.open(key.0.as_bytes(), protected)?;
    Ok(OpenedJwe { content_type: header.cty, plaintext })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nonce_is_new_each_time() {
        let key = JweKey::generate();
        let iv = || seal_compact(&key, "text/plain", b"x").split('.').nth(2).map(str::to_owned);
        assert_ne!(iv(), iv());
    }

    #[test]
    fn no_secret_is_printed() {
        let key = JweKey::generate();
        assert_eq!(format!("{key:?}"), "JweKey(..)");
        let opened = open_compact(&key, &seal_compact(&key, "text/plain", b"potassium"));
        assert!(opened.is_ok_and(|opened| !format!("{opened:?}").contains("112")));
    }
}
