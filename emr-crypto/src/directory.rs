//! The key directory as everyone sees it: current epoch public keys, and sealed sections that only their readers open.

use cid::Cid;
use emr_core::cid::{MAX_BLOCK_BYTES, cid_of};
use emr_core::{Class, Codec};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::epoch::{ClassKeys, Epoch, EpochKeyring, EpochPublicKey};
use crate::epoch_tree::Subtree;
use crate::key_wrap::{KeyUnwrap, KeyWrap, WrappedKey};
use crate::{DecryptionFailed, aead, padme, random};

/// The most bytes of a directory: one block.
pub const MAX_DIRECTORY_BYTES: usize = MAX_BLOCK_BYTES;
/// The version of the encoding.
const VERSION: u8 = 1;
/// Reader sections are padded to at least this many bytes: all classes at one epoch fit.
const LEAST_SECTION_BYTES: usize = 1024;

/// The bytes are not a key directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key directory, or one of a newer version; fetch it again from another node, or update the program")]
pub struct DirectoryError;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Node {
    /// By class code: current epoch and its public key.
    pub(crate) classes: Vec<(u32, ByteArray<32>)>,
    pub(crate) owner: Section,
    pub(crate) readers: Vec<Section>,
    version: u8,
}

/// A key wrapped to someone, and what is sealed under it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Section {
    wrap: ByteBuf,
    sealed: ByteBuf,
    algorithm: String,
}

/// Whose section it is: the label that wraps of its kind are bound to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SectionKind {
    Owner,
    Reader,
}

impl SectionKind {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Owner => b"emr/directory/owner/v1",
            Self::Reader => b"emr/directory/reader/v1",
        }
    }
}

impl Section {
    /// Seals `value` to a recipient, padded: length in 4 bytes, DAG-CBOR, zeros.
    pub(crate) fn seal(kind: SectionKind, to: &dyn KeyWrap, aad: &[u8; 32], value: &impl Serialize) -> Self {
        let mut bytes = Zeroizing::new(vec![0; 4]);
        serde_ipld_dagcbor::to_writer(&mut *bytes, value).expect("plain data has a DAG-CBOR form");
        let length = u32::try_from(bytes.len() - 4).expect("a directory is far below 4 GiB");
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        padme::pad(&mut bytes, LEAST_SECTION_BYTES);
        let key = random::secret();
        let WrappedKey { algorithm, ciphertext } = to.wrap_key(&key, kind.label());
        Self { algorithm, wrap: ciphertext.into(), sealed: aead::seal_once(&key, aad, &bytes).into() }
    }

    pub(crate) fn open<T: for<'de> Deserialize<'de>>(
        &self,
        kind: SectionKind,
        reader: &dyn KeyUnwrap,
        aad: &[u8; 32],
    ) -> Result<T, DecryptionFailed> {
        let wrapped = WrappedKey { algorithm: self.algorithm.clone(), ciphertext: self.wrap.to_vec() };
        let key = reader.unwrap_key(&wrapped, kind.label())?;
        let bytes = aead::open_once(&key, aad, &self.sealed)?;
        let (length, rest) = bytes.split_first_chunk().ok_or(DecryptionFailed)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| DecryptionFailed)?;
        let encoded = rest.get(..length).ok_or(DecryptionFailed)?;
        serde_ipld_dagcbor::from_slice(encoded).map_err(|_| DecryptionFailed)
    }
}

/// What a reader's section holds.
#[derive(Serialize, Deserialize)]
pub(crate) struct ReaderKeys(Vec<ReaderClass>);

/// Class code, first epoch, nodes of the epoch tree as (index, height, secret).
type ReaderClass = (u8, u32, Vec<(u32, u8, ByteArray<32>)>);

impl ReaderKeys {
    pub(crate) fn new(keys: &EpochKeyring) -> Self {
        Self(
            keys.classes()
                .iter()
                .map(|(class, keys)| {
                    let nodes = keys.subtrees.iter();
                    let nodes = nodes.map(|node| (node.index(), node.height(), ByteArray::new(*node.secret_bytes())));
                    (class.code(), keys.first.get(), nodes.collect())
                })
                .collect(),
        )
    }

    fn into_keyring(self, directory: &KeyDirectory) -> Result<EpochKeyring, DecryptionFailed> {
        let mut ring = EpochKeyring::default();
        for (code, first, nodes) in self.0 {
            let class = Class::from_code(code).ok_or(DecryptionFailed)?;
            let first = Epoch::new(first).ok_or(DecryptionFailed)?;
            let current = directory.current_public(class);
            let subtrees = nodes
                .into_iter()
                .map(|(index, height, secret)| Subtree::from_parts(index, height, secret.into_array()))
                .collect::<Option<Vec<_>>>()
                .ok_or(DecryptionFailed)?;
            let keys = ClassKeys { first, last: current.epoch(), subtrees };
            // What was granted must open what writers are told to seal to.
            let secret = keys.secret(current.epoch()).ok_or(DecryptionFailed)?;
            if first > current.epoch() || secret.public(class, current.epoch()) != current {
                return Err(DecryptionFailed);
            }
            ring.insert(class, keys);
        }
        Ok(ring)
    }
}

/// A patient's key directory as it is published.
///
/// It shows the current epoch of each class, how many readers there are and the sizes of their RSA keys; not who they are
/// nor what they may read. Her account commits to the SHA-256 of its CID: whoever fetches a directory compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDirectory {
    node: Node,
    current: [EpochPublicKey; 16],
    bytes: Vec<u8>,
}

impl KeyDirectory {
    pub(crate) fn new(current: [EpochPublicKey; 16], owner: Section, readers: Vec<Section>) -> Self {
        let node = Node { classes: public_classes(&current), owner, readers, version: VERSION };
        let bytes = serde_ipld_dagcbor::to_vec(&node).expect("plain data has a DAG-CBOR form");
        Self { node, current, bytes }
    }

    /// Reads the canonical encoding, a DAG-CBOR map (`docs/envelope.md`).
    ///
    /// # Errors
    /// [`DirectoryError`] if the bytes are anything else or more than [`MAX_DIRECTORY_BYTES`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DirectoryError> {
        if bytes.len() > MAX_DIRECTORY_BYTES {
            return Err(DirectoryError);
        }
        let node: Node = serde_ipld_dagcbor::from_slice(bytes).map_err(|_| DirectoryError)?;
        let current: Option<Vec<_>> = Class::ALL
            .into_iter()
            .zip(&node.classes)
            .map(|(class, (epoch, key))| Some(EpochPublicKey::new(class, Epoch::new(*epoch)?, **key)))
            .collect();
        let current = current.and_then(|keys| keys.try_into().ok()).ok_or(DirectoryError)?;
        let read = Self::new(current, node.owner, node.readers);
        if read.bytes == bytes { Ok(read) } else { Err(DirectoryError) }
    }

    /// The encoding.
    pub fn to_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The CID of the encoding: CIDv1, DAG-CBOR, SHA-256.
    pub fn cid(&self) -> Cid {
        cid_of(Codec::DagCbor, &self.bytes)
    }

    /// The key that a writer of `class` wraps to.
    pub fn current_public(&self, class: Class) -> EpochPublicKey {
        self.current[usize::from(class.code())]
    }

    /// How many readers there are, the owner not counted.
    pub fn reader_count(&self) -> usize {
        self.node.readers.len()
    }

    /// What the holder of this key may read. Sections do not say whose they are: each is tried, which takes one private key
    /// operation for every reader whose key has the same size.
    ///
    /// # Errors
    /// [`DecryptionFailed`] if no section is for this key, or the directory was altered.
    pub fn open_for(&self, reader: &dyn KeyUnwrap) -> Result<EpochKeyring, DecryptionFailed> {
        let aad = classes_digest(&self.current);
        let keys: ReaderKeys = self
            .node
            .readers
            .iter()
            .find_map(|section| section.open(SectionKind::Reader, reader, &aad).ok())
            .ok_or(DecryptionFailed)?;
        keys.into_keyring(self)
    }

    pub(crate) fn owner(&self) -> &Section {
        &self.node.owner
    }

    pub(crate) fn current(&self) -> &[EpochPublicKey; 16] {
        &self.current
    }

    pub(crate) fn owner_aad(&self) -> [u8; 32] {
        owner_aad(&self.current, &self.node.readers)
    }
}

fn public_classes(current: &[EpochPublicKey; 16]) -> Vec<(u32, ByteArray<32>)> {
    current.iter().map(|key| (key.epoch().get(), ByteArray::new(*key.as_bytes()))).collect()
}

/// What reader sections are bound to: SHA-256 of the `classes` field's encoding.
pub(crate) fn classes_digest(current: &[EpochPublicKey; 16]) -> [u8; 32] {
    let bytes = serde_ipld_dagcbor::to_vec(&public_classes(current)).expect("plain data has a DAG-CBOR form");
    Sha256::digest(bytes).into()
}

/// What the owner's section is bound to: SHA-256 of the encodings of `classes` and `readers`.
pub(crate) fn owner_aad(current: &[EpochPublicKey; 16], readers: &[Section]) -> [u8; 32] {
    let bytes = serde_ipld_dagcbor::to_vec(&(public_classes(current), readers));
    Sha256::digest(bytes.expect("plain data has a DAG-CBOR form")).into()
}
