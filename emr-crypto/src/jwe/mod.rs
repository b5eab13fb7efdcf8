//! JSON Web Encryption (RFC 7516) with the content encryption `A256GCM` (RFC 7518, 5.3).
//!
//! | file | serialization | how the key gets to the recipient |
//! |---|---|---|
//! | `compact.rs` | compact (7.1) | both sides have it (`dir`): SMART Health Links |
//! | `general.rs`, `parsed.rs` | general JSON (7.2.1); reads flattened JSON (7.2.2) too | `RSA-OAEP-256` (RFC 7518, 4.3), for each recipient: records that leave the system |
//!
//! The content is sealed in the same way (`SealedContent`), with the protected header as additional data.
//!
//! Nothing is compressed (`zip`): the length of a compressed text tells something about its content. Nothing compressed is
//! read either, because a few bytes can become gigabytes.

mod compact;
mod general;
mod parsed;

pub use compact::{JweError, JweKey, open_compact, seal_compact};
pub use general::{
    GeneralJweError, MAX_JWE_BYTES, MAX_JWE_CONTENT_BYTES, MAX_JWE_RECIPIENTS, open_general, seal_general,
};
pub use parsed::GeneralJwe;

use std::fmt;

use zeroize::Zeroizing;

use crate::aead::{self, TAG_BYTES};
use crate::{DecryptionFailed, random};

/// AES-256-GCM with a nonce of 12 bytes and a tag of 16.
const A256GCM: &str = "A256GCM";
const IV_BYTES: usize = 12;

/// What the content encryption makes, in any serialization.
struct SealedContent {
    iv: [u8; IV_BYTES],
    ciphertext: Vec<u8>,
    tag: [u8; TAG_BYTES],
}

impl SealedContent {
    /// Seals with a random nonce. `header` is the additional data: the protected header as it is transmitted, in base64url.
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

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;

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
}
