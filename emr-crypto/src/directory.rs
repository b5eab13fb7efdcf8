//! The key directory as it is published: the current public keys of all classes, and encrypted sections that only their
//! readers can open.

use cid::Cid;
use emr_core::cid::{MAX_BLOCK_BYTES, cid_of};
use emr_core::{Class, Codec};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::delegated_keys::ReaderLinks;
use crate::epoch::{ClassKeys, EpochKeyring, EpochPublicKey, EpochSecret, KeyEpoch};
use crate::key_wrap::{KeyUnwrap, KeyWrap, WrappedKey};
use crate::secret::SecretBytes;
use crate::{DecryptionFailed, aead, padded, random};

/// The largest directory in bytes: one block.
pub const MAX_DIRECTORY_BYTES: usize = MAX_BLOCK_BYTES;
/// The version of the encoding.
const VERSION: u8 = 1;
/// Readers' sections are padded to at least this many bytes. A section with all classes fits.
const LEAST_SECTION_BYTES: usize = 1024;
/// Segments are padded to at least this many bytes. Three epochs fit.
const LEAST_SEGMENT_BYTES: usize = 192;

/// The bytes are not a key directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key directory, or one of a newer version; fetch it again from another node, or update the program")]
pub struct DirectoryError;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Node {
    /// By class code: the current epoch and its public key.
    pub(crate) classes: Vec<(u32, ByteArray<32>)>,
    pub(crate) owner: Section,
    pub(crate) readers: Vec<Section>,
    pub(crate) segments: Vec<ByteBuf>,
    version: u8,
}

/// A key wrapped to one person, and the content that is encrypted with this key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Section {
    wrap: ByteBuf,
    sealed: ByteBuf,
    algorithm: String,
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
            Self::Owner => b"emr/directory/owner/v1",
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

    fn unwrap_key(&self, kind: SectionKind, reader: &dyn KeyUnwrap) -> Result<Zeroizing<[u8; 32]>, DecryptionFailed> {
        // A section with an algorithm that this version does not know cannot be for this reader.
        let algorithm = self.algorithm.parse().map_err(|_| DecryptionFailed)?;
        let wrapped = WrappedKey { algorithm, ciphertext: self.wrap.to_vec() };
        reader.unwrap_key(&wrapped, kind.label())
    }
}

/// The position of a segment, and the key that opens it.
pub(crate) type SegmentLink = (u32, SecretBytes);

/// The content of a reader's section: by class code, the first segment that they can read.
pub(crate) type ReaderPart = Vec<(u8, SegmentLink)>;

/// Consecutive epochs of a class: the first epoch, the epochs' secrets, and a link to the next segment. A reader of one
/// segment can read all later segments.
#[derive(Serialize, Deserialize)]
pub(crate) struct Segment(u32, Vec<SecretBytes>, Option<SegmentLink>);

impl Segment {
    /// Encrypts consecutive epochs with a new key.
    pub(crate) fn seal(
        first: KeyEpoch,
        secrets: &[EpochSecret],
        next: Option<SegmentLink>,
        aad: &[u8; 32],
    ) -> (SecretBytes, ByteBuf) {
        let key = SecretBytes::new(&random::secret());
        let secrets = secrets.iter().map(|secret| secret.secret().clone()).collect();
        let plaintext = padded::encode(&Self(first.get(), secrets, next), LEAST_SEGMENT_BYTES);
        let sealed = aead::seal_once(key.as_bytes(), aad, &plaintext).into();
        (key, sealed)
    }
}

/// A patient's key directory as it is published.
///
/// It shows the current epoch of each class, the number of readers, the number of different epochs from which they
/// read, and the sizes of their RSA keys. It does not show who they are or what they may read. The patient's account
/// commits to the SHA-256 of the directory's CID. Anyone who fetches a directory must compare it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDirectory {
    node: Node,
    current: [EpochPublicKey; 16],
    bytes: Vec<u8>,
}

impl KeyDirectory {
    pub(crate) fn new(
        current: [EpochPublicKey; 16],
        segments: Vec<ByteBuf>,
        readers: Vec<Section>,
        owner: Section,
    ) -> Self {
        let node = Node { classes: public_classes(&current), owner, readers, segments, version: VERSION };
        let bytes = serde_ipld_dagcbor::to_vec(&node).expect("plain data has a DAG-CBOR form");
        Self { node, current, bytes }
    }

    /// Decodes the canonical encoding, a DAG-CBOR map (`docs/envelope.md`).
    ///
    /// # Errors
    /// Returns [`DirectoryError`] if the bytes are anything else, or more than [`MAX_DIRECTORY_BYTES`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DirectoryError> {
        if bytes.len() > MAX_DIRECTORY_BYTES {
            return Err(DirectoryError);
        }
        let node: Node = serde_ipld_dagcbor::from_slice(bytes).map_err(|_| DirectoryError)?;
        let current: Option<Vec<_>> = Class::ALL
            .into_iter()
            .zip(&node.classes)
            .map(|(class, (epoch, key))| Some(EpochPublicKey::new(class, KeyEpoch::new(*epoch)?, **key)))
            .collect();
        let current = current.and_then(|keys| keys.try_into().ok()).ok_or(DirectoryError)?;
        let read = Self::new(current, node.segments, node.readers, node.owner);
        if read.bytes == bytes { Ok(read) } else { Err(DirectoryError) }
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
        self.current[usize::from(class.code())]
    }

    /// The number of readers, without the owner.
    pub fn reader_count(&self) -> usize {
        self.node.readers.len()
    }

    /// Opens the section of this reader and returns the keys that they may read with. Sections do not name their
    /// readers, so this tries each. That takes one private key operation for every reader whose key has the same size.
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
        let aad = self.classes_digest();
        let sections = self.node.readers.iter();
        let mut opened = sections.filter_map(|section| section.open(SectionKind::Reader, reader, &aad).ok());
        opened.next().ok_or(DecryptionFailed)
    }

    /// The additional data of readers' sections.
    pub(crate) fn classes_digest(&self) -> [u8; 32] {
        classes_digest(&self.current)
    }

    /// Collects the secrets of a class from one segment on. The last one must belong to the current public key.
    pub(crate) fn class_keys(&self, class: Class, link: SegmentLink) -> Result<ClassKeys, DecryptionFailed> {
        let aad = classes_digest(&self.current);
        let current = self.current_public(class);
        let mut keys: Option<ClassKeys> = None;
        let mut link = Some(link);
        while let Some((index, key)) = link {
            let index = usize::try_from(index).map_err(|_| DecryptionFailed)?;
            let sealed = self.node.segments.get(index).ok_or(DecryptionFailed)?;
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

    pub(crate) fn owner(&self) -> &Section {
        &self.node.owner
    }

    pub(crate) fn owner_aad(&self) -> [u8; 32] {
        owner_aad(&self.current, &self.node.segments, &self.node.readers)
    }
}

fn public_classes(current: &[EpochPublicKey; 16]) -> Vec<(u32, ByteArray<32>)> {
    current.iter().map(|key| (key.epoch().get(), ByteArray::new(*key.as_bytes()))).collect()
}

/// The additional data of segments and readers' sections: SHA-256 of the `classes` field's encoding.
pub(crate) fn classes_digest(current: &[EpochPublicKey; 16]) -> [u8; 32] {
    let bytes = serde_ipld_dagcbor::to_vec(&public_classes(current)).expect("plain data has a DAG-CBOR form");
    Sha256::digest(bytes).into()
}

/// The additional data of the owner's section: SHA-256 of the encoding of the list `[classes, segments, readers]`.
pub(crate) fn owner_aad(current: &[EpochPublicKey; 16], segments: &[ByteBuf], readers: &[Section]) -> [u8; 32] {
    let bytes = serde_ipld_dagcbor::to_vec(&(public_classes(current), segments, readers));
    Sha256::digest(bytes.expect("plain data has a DAG-CBOR form")).into()
}

#[cfg(all(test, target_os = "linux"))]
mod memory;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_wrap::HpkeSecret;

    /// A dishonest owner can put anything into segments. A reader accepts only consecutive epochs that end with the
    /// current key.
    #[test]
    fn contrived_segments_are_refused() -> Result<(), Box<dyn std::error::Error>> {
        let epoch = |number| KeyEpoch::new(number).ok_or("0");
        let secrets: Vec<_> = (0..3).map(|_| EpochSecret::generate()).collect();
        let current =
            Class::ALL.map(|class| secrets[2].public(class, KeyEpoch::FIRST.after(2).unwrap_or(KeyEpoch::FIRST)));
        let aad = classes_digest(&current);
        let reader = HpkeSecret::generate_x25519();
        let open = |runs: &[(u32, std::ops::Range<usize>)]| -> Result<EpochKeyring, Box<dyn std::error::Error>> {
            let mut segments = Vec::new();
            let mut next = None;
            for (first, range) in runs.iter().rev() {
                let (key, sealed) = Segment::seal(epoch(*first)?, &secrets[range.clone()], next, &aad);
                next = Some((u32::try_from(segments.len())?, key));
                segments.push(sealed);
            }
            let part: ReaderPart = next.into_iter().map(|link| (Class::Imaging.code(), link)).collect();
            let section = |kind| Section::seal(kind, &*reader.recipient(), &aad, &part);
            let sections = (section(SectionKind::Reader), section(SectionKind::Owner));
            let directory = KeyDirectory::new(current, segments, vec![sections.0], sections.1);
            Ok(KeyDirectory::from_bytes(directory.to_bytes())?.open_for(&reader)?)
        };
        for good in [&[(1, 0..3)][..], &[(1, 0..1), (2, 1..3)], &[(2, 1..2), (3, 2..3)], &[(3, 2..3)]] {
            let keys = open(good)?;
            assert_eq!(keys.epochs(Class::Imaging), Some((epoch(good[0].0)?, epoch(3)?)));
        }
        for bad in [
            &[(1, 0..2)][..],        // ends before the current epoch
            &[(2, 0..3)],            // and after it
            &[(1, 0..1), (3, 2..3)], // has a gap
            &[(1, 0..2), (2, 1..3)], // overlaps
            &[(3, 2..3), (1, 0..3)], // goes back
            &[(1, 0..0), (1, 0..3)], // does not go on
            &[(3, 1..2)],            // another key than the published one
            &[(u32::MAX, 0..3)],     // past the last number
        ] {
            assert!(open(bad).is_err(), "{bad:?}");
        }
        Ok(())
    }

    /// An owner who names a class twice makes a reader walk its segments twice. A section holds 20,000 links, and a directory 4,000 segments.
    #[test]
    fn a_class_is_named_once() -> Result<(), Box<dyn std::error::Error>> {
        let secret = EpochSecret::generate();
        let current = Class::ALL.map(|class| secret.public(class, KeyEpoch::FIRST));
        let aad = classes_digest(&current);
        let reader = HpkeSecret::generate_x25519();
        let (key, segment) = Segment::seal(KeyEpoch::FIRST, std::slice::from_ref(&secret), None, &aad);
        for (codes, opens) in [(&[3_u8, 5][..], true), (&[3, 3], false), (&[3, 5, 3], false), (&[16], false)] {
            let part: ReaderPart = codes.iter().map(|code| (*code, (0, key.clone()))).collect();
            let section = |kind| Section::seal(kind, &*reader.recipient(), &aad, &part);
            let readers = vec![section(SectionKind::Reader)];
            let directory = KeyDirectory::new(current, vec![segment.clone()], readers, section(SectionKind::Owner));
            assert_eq!(directory.open_for(&reader).is_ok(), opens, "{codes:?}");
        }
        Ok(())
    }

    /// A section with an unknown algorithm does not stop the other readers.
    #[test]
    fn a_section_of_an_unknown_algorithm_is_skipped() -> Result<(), Box<dyn std::error::Error>> {
        let secret = EpochSecret::generate();
        let current = Class::ALL.map(|class| secret.public(class, KeyEpoch::FIRST));
        let aad = classes_digest(&current);
        let reader = HpkeSecret::generate_xwing();
        let (key, segment) = Segment::seal(KeyEpoch::FIRST, std::slice::from_ref(&secret), None, &aad);
        let part: ReaderPart = vec![(Class::Imaging.code(), (0, key))];
        let known = Section::seal(SectionKind::Reader, &*reader.recipient(), &aad, &part);
        let unknown = Section { algorithm: "HPKE-Next".to_owned(), ..known.clone() };
        let directory = |readers: &[&Section]| {
            let readers = readers.iter().map(|section| (*section).clone()).collect();
            let directory = KeyDirectory::new(current, vec![segment.clone()], readers, known.clone());
            KeyDirectory::from_bytes(directory.to_bytes())
        };
        assert!(directory(&[&unknown, &known])?.open_for(&reader)?.epochs(Class::Imaging).is_some());
        assert_eq!(directory(&[&unknown])?.open_for(&reader).err(), Some(DecryptionFailed));
        Ok(())
    }
}
