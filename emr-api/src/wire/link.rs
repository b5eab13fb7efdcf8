//! Links that open documents of a patient to anyone who has them: SMART Health Links 1.0 (HL7,
//! <http://hl7.org/fhir/uv/smart-health-cards-and-links>). The node has neither the keys of the files nor the links
//! themselves: only where the files are, and who may fetch them.

use std::fmt;

use emr_core::{AccountIndex, Origin, UnixTime};
use serde::{Deserialize, Serialize};

use super::Problem;
use crate::{
    form::{As, Hex, OriginText, UrlTokenText},
    url_token::UrlToken,
};

/// A patient's new link. If the same is sent again, the node gives the same answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewLink {
    /// Random; the part of the link's address that nobody can guess.
    #[serde(with = "As::<UrlTokenText>")]
    pub id: UrlToken,
    /// The node's address in the link. The addresses of files in manifests begin with it.
    #[serde(with = "As::<OriginText>")]
    pub origin: Origin,
    /// The last second in which the node serves it.
    pub expires: UnixTime,
    /// How it is opened.
    pub access: LinkAccess,
    /// The files, encrypted: 1 to [`Self::MAX_FILES`], and exactly one with [`LinkAccess::DirectFile`].
    pub files: Vec<LinkFile>,
}

impl NewLink {
    /// The most files of a link.
    pub const MAX_FILES: usize = 32;
    /// The most bytes of a link's encrypted files together: 8 MiB.
    pub const MAX_BYTES: usize = 8 << 20;
    /// The longest time until a link expires, in seconds: 366 days.
    pub const LONGEST: u64 = 366 * 86_400;
    /// The most links of a patient that are open at the same time.
    pub const MAX_OPEN: usize = 32;
}

/// Shows neither the link's address nor what checks its passcode.
impl fmt::Debug for NewLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expires, files, .. } = self;
        f.debug_struct("NewLink").field("expires", expires).field("files", &files.len()).finish_non_exhaustive()
    }
}

/// How a link is opened.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum LinkAccess {
    /// By a manifest, for anyone who has the link.
    Manifest,
    /// By a manifest, for anyone who has the link and its passcode (flag `P`). What the node keeps is
    /// [`emr_crypto::PasscodeVerifier`].
    Passcode {
        /// The salt.
        #[serde(with = "As::<Hex<16>>")]
        salt: [u8; 16],
        /// The output of scrypt.
        #[serde(with = "As::<Hex<32>>")]
        digest: [u8; 32],
    },
    /// The address is that of the only file (flag `U`).
    DirectFile,
}

impl fmt::Debug for LinkAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manifest => "Manifest",
            Self::Passcode { .. } => "Passcode",
            Self::DirectFile => "DirectFile",
        })
    }
}

/// An encrypted file of a link.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkFile {
    /// The media type of its content: `application/fhir+json`.
    pub content_type: String,
    /// A JWE in compact serialization (RFC 7516, 7.1).
    pub jwe: String,
}

impl fmt::Debug for LinkFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkFile").field("bytes", &self.jwe.len()).finish_non_exhaustive()
    }
}

/// The number of a new link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkMade {
    /// The link's number among the links of its patient, from 1. A number is never used again.
    pub number: u32,
}

/// Whether a link can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    /// It can be opened.
    Open,
    /// Its time is over.
    Expired,
    /// The patient ended it.
    Ended,
    /// The hospital ended it.
    EndedByHospital,
    /// Too many wrong passcodes were tried.
    WrongPasscodes,
}

/// A link as its patient sees it. All of it is the node's word: nothing of it is in the state that L1 proves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkView {
    /// Its number.
    pub number: u32,
    /// When it was made.
    pub created: UnixTime,
    /// The last second in which it can be opened.
    pub expires: UnixTime,
    /// Whether it can be opened now.
    pub state: LinkState,
    /// How many wrong passcodes are left before it ends. `None` if it has no passcode.
    pub remaining_attempts: Option<u32>,
    /// The number of files.
    pub files: u32,
    /// Their bytes, encrypted.
    pub bytes: u64,
    /// How many times it was opened.
    pub opened: u64,
    /// The newest openings and wrong passcodes, oldest first: [`Self::SHOWN`] in a list of links, all that the node
    /// keeps for a single link ([`Self::KEPT`]).
    pub openings: Vec<LinkOpening>,
}

impl LinkView {
    /// How many openings of each link a list shows.
    pub const SHOWN: usize = 20;
    /// How many openings of a link the node keeps: the newest. Older ones are only counted.
    pub const KEPT: usize = 1000;
}

/// A link as the hospital sees it: not its address, nothing of its files but their size, and not who opened it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkOfPatient {
    /// The patient's account.
    pub account: AccountIndex,
    /// Its number among the links of its patient.
    pub number: u32,
    /// When it was made.
    pub created: UnixTime,
    /// The last second in which it can be opened.
    pub expires: UnixTime,
    /// Whether it can be opened now.
    pub state: LinkState,
    /// The number of files.
    pub files: u32,
    /// The bytes that its files take now, encrypted.
    pub bytes: u64,
    /// How many times it was opened.
    pub opened: u64,
}

/// Links of all patients, by account and number. All links of a patient are in one page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinksPage {
    /// The links.
    pub links: Vec<LinkOfPatient>,
    /// The account with which the next page begins; `None` if this is the last.
    pub next: Option<AccountIndex>,
}

impl LinksPage {
    /// A page ends with the patient with whom it has at least so many links.
    pub const ENOUGH: usize = 512;
}

/// Somebody opened a link, or tried to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkOpening {
    /// When.
    pub at: UnixTime,
    /// Who, as they said. Nobody checks it.
    pub recipient: String,
    /// What they got.
    pub outcome: LinkOutcome,
}

/// What the opener of a link got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkOutcome {
    /// The files.
    Opened,
    /// Nothing: the passcode was wrong. Also written if the node was stopped while it checked the passcode.
    WrongPasscode,
}

/// A request for the manifest of a link. Unknown fields are ignored, as the specification demands.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestRequest {
    /// Who opens the link, as the opener says.
    pub recipient: String,
    /// The passcode, if the link has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passcode: Option<String>,
    /// The largest file that the manifest may contain, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedded_length_max: Option<u64>,
}

/// Shows no passcode.
impl fmt::Debug for ManifestRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManifestRequest").field("recipient", &self.recipient).finish_non_exhaustive()
    }
}

/// The manifest of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkManifest {
    /// Its files.
    pub files: Vec<ManifestFile>,
}

/// A file in a manifest.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestFile {
    /// The media type of its content.
    pub content_type: String,
    /// Where it is.
    #[serde(flatten)]
    pub place: ManifestPlace,
}

impl fmt::Debug for ManifestFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManifestFile").field("content_type", &self.content_type).finish_non_exhaustive()
    }
}

/// Where a file of a manifest is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ManifestPlace {
    /// In the manifest: the JWE.
    Embedded(String),
    /// At this address, which works once and for some minutes.
    Location(String),
}

impl fmt::Debug for ManifestPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedded(_) => "Embedded(..)",
            Self::Location(_) => "Location(..)",
        })
    }
}

/// The answer to a wrong or missing passcode: status 401.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PasscodeRefused {
    /// How many wrong passcodes are left before the link ends.
    pub remaining_attempts: u32,
    /// The same as in every other refusal of the node.
    #[serde(flatten)]
    pub problem: Problem,
}
