//! Sections of a key directory: content that is sealed to one person.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use zeroize::Zeroizing;

use super::SegmentLink;
use crate::key_wrap::{KeyUnwrap, KeyWrap, WrappedKey};
use crate::{DecryptionFailed, aead, padded, random};

/// Sections are padded to at least this many bytes. A reader's section with all classes fits.
const LEAST_SECTION_BYTES: usize = 1024;

/// The content of a reader's section: by class code, the first segment that they can read.
pub(crate) type ReaderPart = Vec<(u8, SegmentLink)>;

/// A key wrapped to one person, and the content that is encrypted with this key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Section {
    wrap: ByteBuf,
    sealed: ByteBuf,
    pub(super) algorithm: String,
}

/// Whose section it is. The kind gives the label that the wrap is bound to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SectionKind {
    Owner,
    Reader,
    /// A reader's section that a delegate made; it lies beside the directory.
    Delegated,
}

impl SectionKind {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Owner => b"emr/directory/owner/v2",
            Self::Reader => b"emr/directory/reader/v1",
            Self::Delegated => b"emr/directory/delegated/v1",
        }
    }
}

impl Section {
    /// Seals `value` to a recipient.
    pub(crate) fn seal(kind: SectionKind, to: &dyn KeyWrap, aad: &[u8; 32], value: &impl Serialize) -> Self {
        let key = random::secret();
        let WrappedKey { algorithm, ciphertext } = to.wrap_key(&key, kind.label());
        let sealed = aead::seal_once(&key, aad, &padded::encode(value, LEAST_SECTION_BYTES));
        Self { algorithm: algorithm.name().to_owned(), wrap: ciphertext.into(), sealed: sealed.into() }
    }

    pub(crate) fn open<T: for<'de> Deserialize<'de>>(
        &self,
        kind: SectionKind,
        reader: &dyn KeyUnwrap,
        aad: &[u8; 32],
    ) -> Result<T, DecryptionFailed> {
        let key = self.unwrap_key(kind, reader)?;
        padded::decode(&aead::open_once(&key, aad, &self.sealed)?)
    }

    pub(super) fn unwrap_key(
        &self,
        kind: SectionKind,
        reader: &dyn KeyUnwrap,
    ) -> Result<Zeroizing<[u8; 32]>, DecryptionFailed> {
        // A section with an algorithm that this version does not know cannot be for this reader.
        let algorithm = self.algorithm.parse().map_err(|_| DecryptionFailed)?;
        let wrapped = WrappedKey { algorithm, ciphertext: self.wrap.to_vec() };
        reader.unwrap_key(&wrapped, kind.label())
    }
}
