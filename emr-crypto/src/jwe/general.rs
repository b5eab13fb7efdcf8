//! The general JSON serialization (RFC 7516, 7.2.1) with `RSA-OAEP-256` (RFC 7518, 4.3), for one or many recipients:
//!
//! ```json
//! {
//!   "protected": "BASE64URL({\"enc\":\"A256GCM\",\"typ\":\"JOSE+JSON\"})",
//!   "unprotected": { "cty": "application/fhir+json" },
//!   "recipients": [{ "header": { "alg": "RSA-OAEP-256" }, "encrypted_key": "BASE64URL(as long as the modulus)" }],
//!   "iv": "BASE64URL(12 bytes)",
//!   "ciphertext": "BASE64URL",
//!   "tag": "BASE64URL(16 bytes)"
//! }
//! ```
//!
//! The protected header says nothing of the recipients, and no `kid` names them: the file shows how many there are and
//! the sizes of their keys. `cty` is outside the protected header, so anyone can change it: readers must not let it decide
//! anything that matters.
//!
//! The content key is used for one JWE. It is closed with RSA alone: a quantum computer opens it. Nobody signs a JWE:
//! anyone who has a public key can make one for it. AES-GCM does not commit to its key: a dishonest sender can make one
//! ciphertext that two recipients open to different contents.

use data_encoding::BASE64URL_NOPAD;
use emr_core::excerpt;
use serde::Serialize;

use super::{A256GCM, GeneralJwe, OpenedJwe, SealedContent};
use crate::key_wrap::Algorithm;
use crate::rsa_key::{RsaPublic, RsaSecret};
use crate::{DecryptionFailed, KeyUnwrap, random};

/// The most recipients of a JWE that is made or read. Each costs a private key operation. joserfc reads as many.
pub const MAX_JWE_RECIPIENTS: usize = 16;
/// The most content of a JWE that is made or read, in bytes: 64 MiB, as much as a FHIR document.
pub const MAX_JWE_CONTENT_BYTES: usize = 64 << 20;
/// The longest JWE that is read, in bytes: the largest content in base64url, and 1 MiB for everything else.
pub const MAX_JWE_BYTES: usize = MAX_JWE_CONTENT_BYTES.div_ceil(3) * 4 + (1 << 20);
/// The name of a type or algorithm in an error has at most so many characters.
const SHOWN: usize = 40;
/// `typ` of a JWE in JSON (RFC 7516, 4.1.11).
const JSON: &str = "JOSE+JSON";

/// Why a JWE in JSON was not made or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GeneralJweError {
    /// There is more content than a JWE may hold.
    #[error(
        "the JWE would hold more than {MAX_JWE_CONTENT_BYTES} bytes: name fewer records, or export them as --ndjson"
    )]
    ContentTooLarge,
    /// The file is longer than any that is made.
    #[error("the JWE has more than the {MAX_JWE_BYTES} bytes that are read: ask for fewer records in one file")]
    TooLarge,
    /// Nobody is to open it, or too many are.
    #[error("a JWE has 1 to {MAX_JWE_RECIPIENTS} recipients, this one has {0}")]
    Recipients(usize),
    /// It is not a JWE in JSON.
    #[error("not a JWE in JSON at line {line}, column {column} (RFC 7516, 7.2; each name once): ask for it again")]
    Malformed {
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
    },
    /// A member is missing, or has another length.
    #[error("the JWE has no {0} (RFC 7516, 7.2): ask for it again")]
    Incomplete(&'static str),
    /// The protected header is not an object of JSON, or has a name twice.
    #[error("the protected header of the JWE is not JSON in base64url, or has a name twice: ask for it again")]
    ProtectedHeader,
    /// Two headers have the same name (RFC 7516, 7.2.1).
    #[error("two headers of the JWE have the name \"{0}\": ask for it again")]
    NameTwice(String),
    /// No recipient has a key that is encrypted with `RSA-OAEP-256`.
    #[error("the JWE's key is encrypted with \"{0}\"; only RSA-OAEP-256 is opened: ask for such a JWE")]
    KeyEncryption(String),
    /// The content is not encrypted with `A256GCM`.
    #[error("the JWE's content is encrypted with \"{0}\"; only A256GCM is opened: ask for such a JWE")]
    ContentEncryption(String),
    /// A header asks for compression, or for an extension that must be understood (`crit`).
    #[error("the JWE has the header \"{0}\", which is not opened: ask for a JWE without it")]
    Extension(&'static str),
    /// Key or content did not open. All causes give this one value.
    #[error("the JWE cannot be opened with this key: it is for somebody else, or it was altered")]
    Decryption,
}

impl From<DecryptionFailed> for GeneralJweError {
    fn from(DecryptionFailed: DecryptionFailed) -> Self {
        Self::Decryption
    }
}

impl GeneralJweError {
    /// A name of the file in an error.
    pub(super) fn shown(name: Option<&str>) -> String {
        name.map_or_else(|| "nothing".to_owned(), |name| excerpt(name, SHOWN))
    }
}

#[derive(Serialize)]
struct Protected {
    enc: &'static str,
    typ: &'static str,
}

#[derive(Serialize)]
struct Shared<'a> {
    cty: &'a str,
}

#[derive(Serialize)]
struct RecipientHeader {
    alg: &'static str,
}

#[derive(Serialize)]
struct Recipient {
    header: RecipientHeader,
    encrypted_key: String,
}

#[derive(Serialize)]
struct General<'a> {
    protected: &'a str,
    unprotected: Shared<'a>,
    recipients: Vec<Recipient>,
    iv: String,
    ciphertext: String,
    tag: String,
}

/// Encrypts content of a media type for the holders of these keys. Returns JSON with a line for each member and a line
/// end: four characters for three bytes of content, up to 850 for each recipient, and some 300 more.
///
/// # Errors
/// Returns [`GeneralJweError::Recipients`] for no key or more than [`MAX_JWE_RECIPIENTS`], and
/// [`GeneralJweError::ContentTooLarge`] for more than [`MAX_JWE_CONTENT_BYTES`].
pub fn seal_general(recipients: &[RsaPublic], content_type: &str, plaintext: &[u8]) -> Result<String, GeneralJweError> {
    if !(1..=MAX_JWE_RECIPIENTS).contains(&recipients.len()) {
        return Err(GeneralJweError::Recipients(recipients.len()));
    }
    if plaintext.len() > MAX_JWE_CONTENT_BYTES {
        return Err(GeneralJweError::ContentTooLarge);
    }
    let protected = serde_json::to_vec(&Protected { enc: A256GCM, typ: JSON }).expect("texts have a JSON form");
    let protected = BASE64URL_NOPAD.encode(&protected);
    let key = random::secret();
    let SealedContent { iv, ciphertext, tag } = SealedContent::seal(&key, &protected, plaintext);
    let recipients = recipients.iter().map(|recipient| Recipient {
        header: RecipientHeader { alg: Algorithm::RsaOaep256.name() },
        encrypted_key: BASE64URL_NOPAD.encode(&recipient.encrypt_oaep(b"", &key)),
    });
    let [iv, ciphertext, tag] = [&iv[..], &ciphertext, &tag].map(|part| BASE64URL_NOPAD.encode(part));
    let jwe = General {
        protected: &protected,
        unprotected: Shared { cty: content_type },
        recipients: recipients.collect(),
        iv,
        ciphertext,
        tag,
    };
    let mut json = serde_json::to_string_pretty(&jwe).expect("texts have a JSON form");
    json.push('\n');
    Ok(json)
}

/// Opens what [`seal_general`] or another program made, with a key in memory.
///
/// # Errors
/// Returns [`GeneralJweError`] if it is no such JWE, or not for this key.
pub fn open_general(secret: &RsaSecret, jwe: &[u8]) -> Result<OpenedJwe, GeneralJweError> {
    GeneralJwe::parse(jwe)?.open_with(|wrapped| Ok(secret.unwrap_key(wrapped, b"").ok()))
}
