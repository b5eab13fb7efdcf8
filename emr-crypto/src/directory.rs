//! The key directory as it is published: a root with the current public keys of all classes, and blocks with encrypted sections that only
//! their readers can open.

mod root;
mod sealed_list;
mod section;
mod segment;

use cid::Cid;
use emr_core::cid::{BlockMismatch, cid_of, verify_block};
use emr_core::{Class, Codec};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::delegated_keys::ReaderLinks;
use crate::epoch::{ClassKeys, EpochKeyring, EpochPublicKey, EpochSecret, KeyEpoch};
use crate::key_wrap::{KeyUnwrap, KeyWrap};
use crate::secret::SecretBytes;
use crate::{DecryptionFailed, aead, padded};

use self::root::{Links, owner_aad};

pub use self::root::DirectoryRoot;
pub(crate) use self::root::classes_digest;
pub(crate) use self::sealed_list::ListedReader;
pub(crate) use self::section::{ReaderPart, Section, SectionKind};
pub(crate) use self::segment::{Segment, SegmentLink};

/// The largest number of readers, without the owner.
pub const MAX_READERS: usize = 4096;
/// The largest directory in bytes, with all its blocks: 32 MiB.
pub const MAX_DIRECTORY_BYTES: usize = 32 << 20;
/// The readers in a section block, and in a block of the owner's list. Every block but the last of a kind is full.
const READERS_PER_BLOCK: usize = 64;
/// The segments in a segment block.
const SEGMENTS_PER_BLOCK: usize = 256;

/// Why bytes are not a key directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The bytes of the root or of a block have another form.
    #[error("not a key directory, or one of another version; fetch it again from another node, or update the program")]
    Malformed,
    /// A block is not the one that the root links.
    #[error(transparent)]
    WrongBlock(#[from] BlockMismatch),
    /// There are more or fewer blocks than links.
    #[error("the key directory is not complete, or has more blocks than it links; fetch it again from another node")]
    BlockCount,
    /// All blocks together have more than [`MAX_DIRECTORY_BYTES`].
    #[error("the key directory has more than {MAX_DIRECTORY_BYTES} bytes, so it is none of this system's")]
    TooLarge,
}

/// The content of the owner's section: by class code, the segment with the first epoch; and the keys of the blocks of the list of readers.
#[derive(Serialize, Deserialize)]
struct OwnerPart(Vec<SegmentLink>, Vec<SecretBytes>);

/// What goes into a new directory.
pub(crate) struct NewDirectory<'a> {
    pub(crate) current: [EpochPublicKey; 16],
    pub(crate) segments: Vec<ByteBuf>,
    /// Readers' sections, in any order.
    pub(crate) sections: Vec<Section>,
    /// By class code, the segment with the first epoch.
    pub(crate) firsts: Vec<SegmentLink>,
    pub(crate) readers: Vec<ListedReader>,
    pub(crate) owner: &'a dyn KeyWrap,
}

/// A patient's key directory as it is published, with all its blocks.
///
/// It shows the current epoch of each class, the number of readers, the number of different epochs from which they
/// read, and who of them reads with RSA alone, with which size of key. It does not show who they are or what they may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDirectory {
    root: DirectoryRoot,
    sections: Vec<Section>,
    segments: Vec<ByteBuf>,
    /// The sealed blocks of the owner's list of readers.
    list: Vec<ByteBuf>,
    /// In the order of the root's links.
    blocks: Vec<Vec<u8>>,
}

/// Whether a DAG-CBOR block has the form of a key directory's root, or of one of its other blocks: a list of sections, or of byte strings. It does not
/// show whose directory it is part of, or that anybody can open it. For nodes, which keep space for directories.
pub fn is_directory_block(bytes: &[u8]) -> bool {
    let block = [bytes.to_vec()];
    joined::<Section>(&block, READERS_PER_BLOCK).is_ok()
        || joined::<ByteBuf>(&block, SEGMENTS_PER_BLOCK).is_ok()
        || DirectoryRoot::from_bytes(bytes).is_ok()
}

/// Encodes a list in blocks, and appends these. Returns their links.
fn cut<T: Serialize>(items: &[T], per_block: usize, blocks: &mut Vec<Vec<u8>>) -> Vec<Cid> {
    let mut put = |items: &[T]| {
        let bytes = serde_ipld_dagcbor::to_vec(items).expect("plain data has a DAG-CBOR form");
        let cid = cid_of(Codec::DagCbor, &bytes);
        blocks.push(bytes);
        cid
    };
    items.chunks(per_block).map(&mut put).collect()
}

/// Decodes a list from its blocks, of which all but the last are full.
fn joined<T: Serialize + for<'de> Deserialize<'de>>(
    blocks: &[Vec<u8>],
    per_block: usize,
) -> Result<Vec<T>, DirectoryError> {
    let mut all: Vec<T> = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        let items: Vec<T> = serde_ipld_dagcbor::from_slice(block).map_err(|_| DirectoryError::Malformed)?;
        let is_last = index + 1 == blocks.len();
        let fills = if is_last { (1..=per_block).contains(&items.len()) } else { items.len() == per_block };
        if !fills || serde_ipld_dagcbor::to_vec(&items).ok().as_ref() != Some(block) {
            return Err(DirectoryError::Malformed);
        }
        all.extend(items);
    }
    Ok(all)
}

impl KeyDirectory {
    pub(crate) fn new(new: NewDirectory<'_>) -> Self {
        let NewDirectory { current, segments, mut sections, firsts, readers, owner } = new;
        sections.sort();
        let (keys, list) = sealed_list::seal(&readers, &classes_digest(&current));
        let mut blocks = Vec::new();
        let links = Links {
            sections: cut(&sections, READERS_PER_BLOCK, &mut blocks),
            segments: cut(&segments, SEGMENTS_PER_BLOCK, &mut blocks),
            readers: cut(&list, 1, &mut blocks),
        };
        let aad = owner_aad(&current, &links);
        let owner = Section::seal(SectionKind::Owner, owner, &aad, &OwnerPart(firsts, keys));
        Self { root: DirectoryRoot::new(current, links, owner), sections, segments, list, blocks }
    }

    /// Puts a directory together from its root and its blocks, in the order of [`DirectoryRoot::links`]. Checks every block against its link.
    /// Takes no more blocks than there are links, and stops when they have more than [`MAX_DIRECTORY_BYTES`].
    ///
    /// # Errors
    /// Returns [`DirectoryError`] if a block is missing or another one, or the blocks are not those of a key directory.
    pub fn assemble(root: DirectoryRoot, blocks: impl IntoIterator<Item = Vec<u8>>) -> Result<Self, DirectoryError> {
        let mut rest = blocks.into_iter();
        let (mut blocks, mut size) = (Vec::new(), root.to_bytes().len());
        for link in root.links() {
            let block = rest.next().ok_or(DirectoryError::BlockCount)?;
            size = size.saturating_add(block.len());
            if size > MAX_DIRECTORY_BYTES {
                return Err(DirectoryError::TooLarge);
            }
            verify_block(link, &block)?;
            blocks.push(block);
        }
        if rest.next().is_some() {
            return Err(DirectoryError::BlockCount);
        }
        let (of_sections, others) = blocks.split_at(root.links.sections.len());
        let sections: Vec<Section> = joined(of_sections, READERS_PER_BLOCK)?;
        let (of_segments, of_readers) = others.split_at(root.links.segments.len());
        let segments = joined(of_segments, SEGMENTS_PER_BLOCK)?;
        let list = joined(of_readers, 1)?;
        if !sections.is_sorted_by(|a, b| a < b) {
            return Err(DirectoryError::Malformed);
        }
        Ok(Self { root, sections, segments, list, blocks })
    }

    /// The root: what an account commits to, and what writers need.
    pub const fn root(&self) -> &DirectoryRoot {
        &self.root
    }

    /// All blocks to store, each at most [`emr_core::cid::MAX_BLOCK_BYTES`]; the root is the last.
    pub fn blocks(&self) -> impl Iterator<Item = (Cid, &[u8])> {
        let others = self.root.links().copied().zip(self.blocks.iter().map(Vec::as_slice));
        others.chain([(self.root.cid(), self.root.to_bytes())])
    }

    /// The CID of the root.
    pub fn cid(&self) -> Cid {
        self.root.cid()
    }

    /// The size of all blocks in bytes.
    pub fn size(&self) -> usize {
        self.blocks.iter().map(Vec::len).sum::<usize>() + self.root.to_bytes().len()
    }

    /// The size of the largest block in bytes.
    pub(crate) fn largest_block(&self) -> usize {
        self.blocks.iter().map(Vec::len).fold(self.root.to_bytes().len(), usize::max)
    }

    /// The public key to which writers of `class` wrap content keys.
    pub fn current_public(&self, class: Class) -> EpochPublicKey {
        self.root.current_public(class)
    }

    /// The number of readers, without the owner.
    pub fn reader_count(&self) -> usize {
        self.sections.len()
    }

    /// Opens the section of this reader and returns the keys that they may read with. Sections do not name their
    /// readers, so this tries each. That takes an X-Wing operation for every hybrid section (some 0.1 ms), and for
    /// a reader with RSA alone an RSA operation for every section that was made with a key of the same size.
    ///
    /// # Errors
    /// Returns [`DecryptionFailed`] if no section is for this key, or if the directory was altered.
    pub fn open_for(&self, reader: &dyn KeyUnwrap) -> Result<EpochKeyring, DecryptionFailed> {
        self.keyring(self.part_of(reader)?)
    }

    /// The links of this reader, which a delegate hands on.
    ///
    /// # Errors
    /// As for [`Self::open_for`].
    pub fn links_of(&self, reader: &dyn KeyUnwrap) -> Result<ReaderLinks, DecryptionFailed> {
        self.part_of(reader).map(ReaderLinks::new)
    }

    /// The keys that these links lead to. Each class may be there once: otherwise a dishonest owner could make a reader walk the same
    /// segments again and again, for hours.
    pub(crate) fn keyring(&self, part: ReaderPart) -> Result<EpochKeyring, DecryptionFailed> {
        let mut ring = EpochKeyring::default();
        for (code, link) in part {
            let class = Class::from_code(code).ok_or(DecryptionFailed)?;
            if ring.epochs(class).is_some() {
                return Err(DecryptionFailed);
            }
            ring.insert(class, self.class_keys(class, link)?);
        }
        Ok(ring)
    }

    fn part_of(&self, reader: &dyn KeyUnwrap) -> Result<ReaderPart, DecryptionFailed> {
        let aad = self.root.classes_digest();
        let mut opened =
            self.sections.iter().filter_map(|section| section.open(SectionKind::Reader, reader, &aad).ok());
        opened.next().ok_or(DecryptionFailed)
    }

    /// The additional data of readers' sections.
    pub(crate) fn classes_digest(&self) -> [u8; 32] {
        self.root.classes_digest()
    }

    /// Opens the owner's section and list. Returns by class code the segment with the first epoch, and the readers.
    pub(crate) fn open_owner(
        &self,
        owner: &dyn KeyUnwrap,
    ) -> Result<(Vec<SegmentLink>, Vec<ListedReader>), DecryptionFailed> {
        let OwnerPart(firsts, keys) = self.root.owner.open(SectionKind::Owner, owner, &self.root.owner_aad())?;
        Ok((firsts, sealed_list::open(&keys, &self.list, &self.root.classes_digest())?))
    }

    /// Collects the secrets of a class from one segment on. The last one must belong to the current public key.
    pub(crate) fn class_keys(&self, class: Class, link: SegmentLink) -> Result<ClassKeys, DecryptionFailed> {
        let aad = self.root.classes_digest();
        let current = self.current_public(class);
        let mut keys: Option<ClassKeys> = None;
        let mut link = Some(link);
        while let Some((index, key)) = link {
            let index = usize::try_from(index).map_err(|_| DecryptionFailed)?;
            let sealed = self.segments.get(index).ok_or(DecryptionFailed)?;
            let Segment(first, secrets, next) = padded::decode(&aead::open_once(key.as_bytes(), &aad, sealed)?)?;
            let first = KeyEpoch::new(first).ok_or(DecryptionFailed)?;
            let keys = keys.get_or_insert_with(|| ClassKeys { first, secrets: Vec::new() });
            // Every segment continues where the previous one ended and adds an epoch at least, so this loop ends.
            if secrets.is_empty() || keys.first.after(keys.secrets.len()) != Some(first) {
                return Err(DecryptionFailed);
            }
            keys.secrets.extend(secrets.into_iter().map(EpochSecret::of));
            if keys.first.after(keys.secrets.len() - 1).is_none_or(|last| last > current.epoch()) {
                return Err(DecryptionFailed);
            }
            link = next;
        }
        let keys = keys.ok_or(DecryptionFailed)?;
        let last = keys.first.after(keys.secrets.len() - 1).ok_or(DecryptionFailed)?;
        let secret = keys.secrets.last().ok_or(DecryptionFailed)?;
        if last == current.epoch() && secret.public(class, last) == current { Ok(keys) } else { Err(DecryptionFailed) }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod memory;
#[cfg(test)]
mod tests;
