//! Keys that a delegate hands on: a reader's section that lies beside the patient's key directory.
//!
//! A delegate grants for a patient, and never changes the key directory. So the new reader gets the links that the delegate has into the
//! directory: by class, where the delegate's first segment is, and its key. The secrets themselves stay in the directory that the patient
//! published. So a delegate hands on what they can read, no false key can be handed on, and the keys end with that directory.

use std::fmt;

use cid::Cid;
use emr_core::cid::cid_of;
use emr_core::{Class, ClassMask, Codec};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::directory::{ReaderPart, Section, SectionKind, SegmentLink};
use crate::encryption_key::EncryptionKey;
use crate::epoch::{EpochKeyring, EpochSecret};
use crate::key_wrap::KeyUnwrap;
use crate::{DecryptionFailed, KeyDirectory, hpke_suite, padded};

/// The largest encoding in bytes. Hybrid keys take about 5,800.
pub const MAX_DELEGATED_KEYS_BYTES: usize = 8192;
/// The version of the encoding.
const VERSION: u8 = 2;
/// HPKE's `info` for the reader's public key.
const READER_INFO: &[u8] = b"emr/delegated-keys/reader/v2";
/// The reader's encryption key is padded to at least this many bytes. The largest fits: RSA of 4096 bits and X-Wing.
const LEAST_READER_BYTES: usize = 1792;

/// The bytes are not delegated keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the keys that a delegate hands on, or of a newer version; fetch them again, or update the program")]
pub struct DelegatedKeysError;

/// Why keys could not be handed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandOnError {
    /// The delegate has no keys of a class.
    #[error("you have no keys of {0} records, so you cannot let others read them: ask the patient")]
    NoKeys(Class),
    /// No class was named.
    #[error("no class of records was named: name at least one")]
    NoClass,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    /// The reader's encryption key, sealed to the epoch key of the lowest class. The patient opens it and adds the reader to the directory.
    key: ByteBuf,
    reader: Section,
    version: u8,
}

/// The links of one reader into a key directory: what they can read, by class.
pub struct ReaderLinks(ReaderPart);

impl fmt::Debug for ReaderLinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReaderLinks").field(&self.classes()).finish()
    }
}

impl ReaderLinks {
    pub(crate) const fn new(part: ReaderPart) -> Self {
        Self(part)
    }

    /// The classes that they can read.
    pub fn classes(&self) -> ClassMask {
        self.0.iter().filter_map(|(code, _)| Class::from_code(*code)).collect()
    }

    fn of(&self, class: Class) -> Result<(u8, SegmentLink), HandOnError> {
        let link = self.0.iter().find(|(code, _)| *code == class.code());
        link.cloned().ok_or(HandOnError::NoKeys(class))
    }
}

/// Keys of some classes that a delegate hands on to a reader, as they are stored.
///
/// Outsiders see neither patient nor reader nor classes. The delegate's signed grant commits to the block: see `docs/envelope.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegatedKeys {
    node: Node,
    bytes: Vec<u8>,
}

impl DelegatedKeys {
    /// Hands on the keys of these classes, under the directory that the links lead into.
    ///
    /// # Errors
    /// [`HandOnError::NoKeys`] if the delegate cannot read one of the classes. [`HandOnError::NoClass`] if no class is named.
    pub fn hand_on(
        links: &ReaderLinks,
        directory: &KeyDirectory,
        classes: ClassMask,
        reader: &EncryptionKey,
    ) -> Result<Self, HandOnError> {
        let part: ReaderPart = classes.classes().map(|class| links.of(class)).collect::<Result<_, _>>()?;
        let lowest = classes.classes().next().ok_or(HandOnError::NoClass)?;
        let plaintext = padded::encode(&ByteBuf::from(reader.to_bytes()), LEAST_READER_BYTES);
        let key = hpke_suite::seal(directory.current_public(lowest).key(), READER_INFO, &[], &plaintext).into();
        let reader = Section::seal(SectionKind::Delegated, reader, &directory.classes_digest(), &part);
        Ok(Self::new(Node { key, reader, version: VERSION }))
    }

    fn new(node: Node) -> Self {
        let bytes = serde_ipld_dagcbor::to_vec(&node).expect("plain data has a DAG-CBOR form");
        Self { node, bytes }
    }

    /// Decodes the canonical encoding, a DAG-CBOR map (`docs/envelope.md`).
    ///
    /// # Errors
    /// [`DelegatedKeysError`] if the bytes are anything else, or more than [`MAX_DELEGATED_KEYS_BYTES`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DelegatedKeysError> {
        if bytes.len() > MAX_DELEGATED_KEYS_BYTES {
            return Err(DelegatedKeysError);
        }
        let node: Node = serde_ipld_dagcbor::from_slice(bytes).map_err(|_| DelegatedKeysError)?;
        let read = Self::new(node);
        if read.bytes == bytes && read.node.version == VERSION { Ok(read) } else { Err(DelegatedKeysError) }
    }

    /// The canonical encoding.
    pub fn to_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The CID of the encoding: CIDv1, DAG-CBOR, SHA-256.
    pub fn cid(&self) -> Cid {
        cid_of(Codec::DagCbor, &self.bytes)
    }

    /// The keys of these classes, opened by their reader. Other classes are left out: the grant does not cover them.
    ///
    /// # Errors
    /// [`DecryptionFailed`] if they are for somebody else or another directory, or a link does not lead to the keys of its class.
    pub fn open(
        &self,
        reader: &dyn KeyUnwrap,
        directory: &KeyDirectory,
        classes: ClassMask,
    ) -> Result<EpochKeyring, DecryptionFailed> {
        let mut part: ReaderPart =
            self.node.reader.open(SectionKind::Delegated, reader, &directory.classes_digest())?;
        if part.iter().any(|(code, _)| Class::from_code(*code).is_none()) {
            return Err(DecryptionFailed);
        }
        part.retain(|(code, _)| Class::from_code(*code).is_some_and(|class| classes.contains(class)));
        directory.keyring(part)
    }

    /// The reader's encryption key, opened by the patient with all their keys. `classes` are those of the grant. The caller must compare the
    /// key with the reader's identity leaf: a delegate may have sealed anything.
    ///
    /// # Errors
    /// [`DecryptionFailed`] if none of these keys opens it, or it is no encryption key.
    pub fn reader_key(&self, patient: &EpochKeyring, classes: ClassMask) -> Result<EncryptionKey, DecryptionFailed> {
        let lowest = classes.classes().next().ok_or(DecryptionFailed)?;
        let open = |secret: &EpochSecret| hpke_suite::open(secret.key(), READER_INFO, &[], &self.node.key).ok();
        let opened = patient.newest_first(lowest).find_map(open).ok_or(DecryptionFailed)?;
        let bytes: ByteBuf = padded::decode(&opened)?;
        EncryptionKey::from_bytes(&bytes).map_err(|_| DecryptionFailed)
    }
}
