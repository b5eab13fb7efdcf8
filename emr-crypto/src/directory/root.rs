//! The root of a key directory: the block that an account commits to.

use std::collections::BTreeSet;

use cid::Cid;
use emr_core::cid::{MAX_BLOCK_BYTES, cid_of, codec_of};
use emr_core::{Class, Codec};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use super::section::Section;
use super::{DirectoryError, MAX_READERS, READERS_PER_BLOCK, SEGMENTS_PER_BLOCK};
use crate::epoch::{EpochPublicKey, KeyEpoch};
use crate::xwing::XWingPublic;

/// The version of the encoding.
const VERSION: u8 = 2;
/// The owner's and each reader's first epoch of each class begins a segment.
const MAX_SEGMENTS: usize = (MAX_READERS + 1) * 16;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    /// By class code: the current epoch and its public key.
    classes: Vec<(u32, ByteBuf)>,
    owner: Section,
    /// The blocks of the owner's list of readers.
    readers: Vec<Cid>,
    sections: Vec<Cid>,
    segments: Vec<Cid>,
    version: u8,
}

/// The links of a directory's root to its blocks, in three kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Links {
    pub(super) sections: Vec<Cid>,
    pub(super) segments: Vec<Cid>,
    pub(super) readers: Vec<Cid>,
}

impl Links {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Cid> {
        self.sections.iter().chain(&self.segments).chain(&self.readers)
    }

    /// Whether there are no more than the limits allow, each of its kind, and no link is there twice.
    fn are_proper(&self) -> bool {
        let blocks = MAX_READERS / READERS_PER_BLOCK;
        self.sections.len() <= blocks
            && self.readers.len() <= blocks
            && self.segments.len() <= MAX_SEGMENTS.div_ceil(SEGMENTS_PER_BLOCK)
            && self.iter().all(|link| codec_of(link) == Ok(Codec::DagCbor))
            && self.iter().collect::<BTreeSet<_>>().len() == self.iter().count()
    }
}

/// The root of a key directory. Writers need nothing else of it: it holds the current public key of each class. It links the blocks that
/// readers and the owner need.
///
/// The patient's account commits to the SHA-256 of the root's CID. Anyone who fetches a root must compare it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryRoot {
    current: [EpochPublicKey; 16],
    pub(super) owner: Section,
    pub(super) links: Links,
    bytes: Vec<u8>,
}

impl DirectoryRoot {
    pub(super) fn new(current: [EpochPublicKey; 16], links: Links, owner: Section) -> Self {
        let node = Node {
            classes: public_classes(&current),
            owner: owner.clone(),
            readers: links.readers.clone(),
            sections: links.sections.clone(),
            segments: links.segments.clone(),
            version: VERSION,
        };
        let bytes = serde_ipld_dagcbor::to_vec(&node).expect("plain data has a DAG-CBOR form");
        Self { current, owner, links, bytes }
    }

    /// Decodes the canonical encoding, a DAG-CBOR map of at most 1 MiB (`docs/envelope.md`).
    ///
    /// # Errors
    /// Returns [`DirectoryError::Malformed`] if the bytes are anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DirectoryError> {
        if bytes.len() > MAX_BLOCK_BYTES {
            return Err(DirectoryError::Malformed);
        }
        let node: Node = serde_ipld_dagcbor::from_slice(bytes).map_err(|_| DirectoryError::Malformed)?;
        let links = Links { sections: node.sections, segments: node.segments, readers: node.readers };
        // Before the keys: checking a key takes longer than comparing links.
        if node.version != VERSION || !links.are_proper() {
            return Err(DirectoryError::Malformed);
        }
        let current: Option<Vec<_>> = Class::ALL
            .into_iter()
            .zip(&node.classes)
            .map(|(class, (epoch, key))| {
                Some(EpochPublicKey::new(class, KeyEpoch::new(*epoch)?, XWingPublic::from_bytes(key).ok()?))
            })
            .collect();
        let current = current.and_then(|keys| keys.try_into().ok()).ok_or(DirectoryError::Malformed)?;
        let read = Self::new(current, links, node.owner);
        if read.bytes == bytes { Ok(read) } else { Err(DirectoryError::Malformed) }
    }

    /// The canonical encoding.
    pub fn to_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The CID of the encoding: CIDv1, DAG-CBOR, SHA-256.
    pub fn cid(&self) -> Cid {
        cid_of(Codec::DagCbor, &self.bytes)
    }

    /// The public key to which writers of `class` wrap content keys.
    pub fn current_public(&self, class: Class) -> EpochPublicKey {
        self.current[usize::from(class.code())].clone()
    }

    #[cfg(test)]
    pub(super) fn current(&self) -> [EpochPublicKey; 16] {
        self.current.clone()
    }

    /// The blocks of the directory besides this root, in the order that [`KeyDirectory::assemble`](crate::KeyDirectory::assemble) takes them.
    /// To keep a directory, a node keeps all of them.
    pub fn links(&self) -> impl Iterator<Item = &Cid> {
        self.links.iter()
    }

    /// The additional data of segments, readers' sections and the owner's list.
    pub(crate) fn classes_digest(&self) -> [u8; 32] {
        classes_digest(&self.current)
    }

    pub(super) fn owner_aad(&self) -> [u8; 32] {
        owner_aad(&self.current, &self.links)
    }
}

fn public_classes(current: &[EpochPublicKey; 16]) -> Vec<(u32, ByteBuf)> {
    current.iter().map(|key| (key.epoch().get(), ByteBuf::from(*key.key().as_bytes()))).collect()
}

fn digest(value: &impl Serialize) -> [u8; 32] {
    Sha256::digest(serde_ipld_dagcbor::to_vec(value).expect("plain data has a DAG-CBOR form")).into()
}

/// SHA-256 of the `classes` field's encoding.
pub(crate) fn classes_digest(current: &[EpochPublicKey; 16]) -> [u8; 32] {
    digest(&public_classes(current))
}

/// The additional data of the owner's section: SHA-256 of the encoding of `[classes, sections, segments, readers]`. The last three are
/// links, so it covers the content of every block.
pub(super) fn owner_aad(current: &[EpochPublicKey; 16], links: &Links) -> [u8; 32] {
    digest(&(public_classes(current), &links.sections, &links.segments, &links.readers))
}
