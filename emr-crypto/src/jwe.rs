//! JSON Web Encryption (RFC 7516) with the content encryption `A256GCM` (RFC 7518, 5.3).
//!
//! [`seal_compact`] and [`open_compact`] are the compact serialization with a key that both sides have (`alg: dir`, RFC
//! 7518, 4.5), as SMART Health Links use it:
//!
//! ```text
//! BASE64URL(header) || ".." || BASE64URL(iv, 12 bytes) || "." || BASE64URL(ciphertext) || "." || BASE64URL(tag, 16 bytes)
//! ```
//!
//! Other serializations differ in how the key gets to the recipient. The content is sealed in the same way
//! (`SealedContent`), with the protected header as additional data.
//!
//! Nothing is compressed (`zip`): the length of a compressed text tells something about its content.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use zeroize::Zeroizing;

use crate::aead::{self, TAG_BYTES};
use crate::secret::SecretBytes;
use crate::{DecryptionFailed, random};

/// The algorithm of keys that both sides have.
const DIRECT: &str = "dir";
/// AES-256-GCM with a nonce of 12 bytes and a tag of 16.
const A256GCM: &str = "A256GCM";
const IV_BYTES: usize = 12;

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

/// What the content encryption makes, in any serialization.
struct SealedContent {
    iv: [u8; IV_BYTES],
    ciphertext: Vec<u8>,
    tag: [u8; TAG_BYTES],
}

impl SealedContent {
    /// Seals with a random nonce. `header` is the protected header as it is transmitted, in base64url.
    fn seal(key: &[u8; 32], header: &str, plaintext: &[u8]) -> Self {
        Self::seal_with(key, random::bytes(), header, plaintext)
    }

    fn seal_with(key: &[u8; 32], iv: [u8; IV_BYTES], header: &str, plaintext: &[u8]) -> Self {
        let mut ciphertext = aead::seal(key, &iv, header.as_bytes(), plaintext);
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&ciphertext.split_off(plaintext.len()));
        Self { iv, ciphertext, tag }
    }

    fn open(mut self, key: &[u8; 32], header: &str) -> Result<Zeroizing<Vec<u8>>, DecryptionFailed> {
        self.ciphertext.extend(self.tag);
        aead::open(key, &self.iv, header.as_bytes(), &self.ciphertext)
    }
}

/// An opened JWE.
#[derive(PartialEq, Eq)]
pub struct OpenedJwe {
    /// The content's media type, if the header names one (`cty`).
    pub content_type: Option<String>,
    /// The content. Erased when dropped.
    pub plaintext: Zeroizing<Vec<u8>>,
}

/// Shows no content.
impl fmt::Debug for OpenedJwe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenedJwe").field("content_type", &self.content_type).finish_non_exhaustive()
    }
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

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    /// RFC 7516, appendix A.1. Its `alg` is RSA-OAEP; this is its content encryption, with the key after RSA.
    #[test]
    fn content_is_encrypted_as_in_rfc_7516() -> TestResult {
        let key = [
            177, 161, 244, 128, 84, 143, 225, 115, 63, 180, 3, 255, 107, 154, 212, 246, 138, 7, 110, 91, 112, 46, 34,
            105, 47, 130, 203, 46, 122, 234, 64, 252,
        ];
        let iv = [227, 197, 117, 252, 2, 219, 233, 68, 180, 225, 77, 219];
        let header = "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ";
        let plaintext = b"The true sign of intelligence is not knowledge but imagination.";
        let sealed = SealedContent::seal_with(&key, iv, header, plaintext);
        assert_eq!(BASE64URL_NOPAD.encode(&sealed.iv), "48V1_ALb6US04U3b");
        assert_eq!(
            BASE64URL_NOPAD.encode(&sealed.ciphertext),
            "5eym8TW_c8SuK0ltJ3rpYIzOeDQz7TALvtu6UG9oMo4vpzs9tX_EFShS8iB7j6jiSdiwkIr3ajwQzaBtQD_A"
        );
        assert_eq!(BASE64URL_NOPAD.encode(&sealed.tag), "XFBoMYUZodetZdvTiFvSkQ");
        assert_eq!(sealed.open(&key, header)?.as_slice(), plaintext);
        Ok(())
    }

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
