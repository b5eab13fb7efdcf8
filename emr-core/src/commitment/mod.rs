//! The commitment to a record: one salted leaf per field, so that any subset of fields can be disclosed and checked.
//!
//! ```text
//! salt   = HKDF-Expand(seed, "emr/field-salt/v1" || name, 32)
//! leaf   = SHA-256(0x00 || salt || dag-cbor([name, value]))
//! inner  = SHA-256(0x01 || left || right)                     a node without a right sibling moves up unchanged
//! root   = SHA-256("emr/commitment/v1" || leaves as u32 big-endian || tree root)
//! ```
//!
//! Leaves are in the order of the fields' names. A field's name is its key. The original document is one more field,
//! named `$original`, which cannot be a key. The tree is the one of RFC 6962, section 2.1. The number of leaves, which
//! is hashed into the root, fixes its shape. The tree root of no leaves is 32 zero bytes.

mod disclosure;
mod tree;

use std::collections::BTreeSet;

use hkdf::Hkdf;
use serde::Serialize;
use sha2::{Digest, Sha256};

pub use disclosure::{DisclosedField, Disclosure, DisclosureError};
use tree::{FieldTree, leaf};

use crate::codec;
use crate::excerpt::excerpt;
use crate::key::Key;
use crate::record::Record;

/// The field name of the original document.
const ORIGINAL: &str = "$original";
/// Domain tag of the root. Leaves start with 0x00 and inner nodes with 0x01, so neither can be a root.
const ROOT_TAG: &[u8] = b"emr/commitment/v1";
/// Domain tag of a salt's derivation.
const SALT_TAG: &[u8] = b"emr/field-salt/v1";

/// The seed of the salts of one version of one record: 32 random bytes. Every version needs a new seed.
///
/// Anyone who has the seed can test guesses of every field against the commitment. So it is as secret as the record,
/// and is encrypted together with it. Without the seed, a leaf reveals nothing about its field. The same seed for two
/// versions would reveal which fields they share.
#[derive(Clone, PartialEq, Eq)]
pub struct SaltSeed([u8; 32]);

impl SaltSeed {
    /// Makes a seed of these bytes, which must come from a cryptographic random number generator.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be encrypted together with the record.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn salts(&self) -> Salts {
        Salts(Hkdf::from_prk(&self.0).expect("a key of 32 bytes is long enough"))
    }
}

/// The salts of a seed. Its key is prepared once, which takes as long as two salts.
struct Salts(Hkdf<Sha256>);

impl Salts {
    fn of(&self, name: &str) -> [u8; 32] {
        let mut salt = [0; 32];
        self.0.expand_multi_info(&[SALT_TAG, name.as_bytes()], &mut salt).expect("32 bytes are not too many");
        salt
    }
}

/// Does not show the seed.
impl std::fmt::Debug for SaltSeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SaltSeed(..)")
    }
}

/// The hash by which an author signs a record's content. 32 bytes; `0x` and 64 hex digits in JSON and for people.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitmentRoot([u8; 32]);

/// The text is not a commitment root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a commitment root: it must be 0x and 64 hexadecimal digits")]
pub struct NotCommitmentRoot;

impl CommitmentRoot {
    /// Makes a root of these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn over(count: u32, tree_root: [u8; 32]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(ROOT_TAG);
        hasher.update(count.to_be_bytes());
        hasher.update(tree_root);
        Self(hasher.finalize().into())
    }
}

impl std::fmt::Display for CommitmentRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl std::fmt::Debug for CommitmentRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CommitmentRoot({self})")
    }
}

impl std::str::FromStr for CommitmentRoot {
    type Err = NotCommitmentRoot;
    fn from_str(text: &str) -> Result<Self, NotCommitmentRoot> {
        let mut bytes = [0; 32];
        let digits = text.strip_prefix("0x").ok_or(NotCommitmentRoot)?;
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| NotCommitmentRoot)?;
        Ok(Self(bytes))
    }
}

impl Serialize for CommitmentRoot {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serde_bytes::Bytes::new(&self.0).serialize(serializer)
        }
    }
}

impl<'de> serde::Deserialize<'de> for CommitmentRoot {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            Ok(Self(serde_bytes::ByteArray::deserialize(deserializer)?.into_array()))
        }
    }
}

/// Why fields cannot be disclosed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiscloseError {
    /// The record has no such field.
    #[error("the record has no field {}: list its keys and choose among them", excerpt(.0.as_str(), 120))]
    NoSuchField(Key),
    /// No field was chosen.
    #[error("choose at least one field to disclose")]
    Nothing,
    /// More fields than [`Disclosure::MAX_FIELDS`] were chosen.
    #[error("{0} are too many fields to disclose one by one, the limit is {max}: hand over the whole record", max = Disclosure::MAX_FIELDS)]
    TooMany(usize),
}

/// The commitment to a record, with everything that is needed to disclose some of its fields.
#[derive(Clone)]
pub struct Commitment<'a> {
    record: &'a Record,
    seed: SaltSeed,
    tree: FieldTree,
}

impl<'a> Commitment<'a> {
    /// Commits to every field of a record and to its original document.
    pub fn of(record: &'a Record, seed: &SaltSeed) -> Self {
        let salts = seed.salts();
        let mut leaves = Vec::with_capacity(record.fields().len() + 1);
        // `$` sorts before every character of a key, so the document is the first leaf.
        if let Some(document) = record.original() {
            leaves.push(leaf(&salts.of(ORIGINAL), ORIGINAL, |out| document.write(out)));
        }
        for (key, value) in record.fields() {
            leaves.push(leaf(&salts.of(key.as_str()), key.as_str(), |out| codec::write(value, out)));
        }
        let tree = FieldTree::new(leaves);
        Self { record, seed: seed.clone(), tree }
    }

    /// What the author signs.
    pub fn root(&self) -> CommitmentRoot {
        CommitmentRoot::over(self.tree.count(), self.tree.root())
    }

    /// Discloses some fields. The verifier learns these fields and the total number of fields.
    ///
    /// To disclose everything, the original document included, hand over the record and its seed instead.
    ///
    /// # Errors
    /// Returns [`DiscloseError`] for a key that the record does not have, for no keys, and for more than
    /// [`Disclosure::MAX_FIELDS`].
    pub fn disclose<'k>(&self, keys: impl IntoIterator<Item = &'k Key>) -> Result<Disclosure, DiscloseError> {
        let mut wanted: BTreeSet<&Key> = keys.into_iter().collect();
        if wanted.len() > Disclosure::MAX_FIELDS {
            return Err(DiscloseError::TooMany(wanted.len()));
        }
        let (first, salts) = (u32::from(self.record.original().is_some()), self.seed.salts());
        let fields: Vec<_> = (first..)
            .zip(self.record.fields())
            .filter(|(_, (key, _))| wanted.remove(key))
            .map(|(index, (key, value))| DisclosedField {
                index,
                salt: salts.of(key.as_str()),
                key: key.clone(),
                value: value.clone(),
            })
            .collect();
        if let Some(unknown) = wanted.pop_first() {
            return Err(DiscloseError::NoSuchField(unknown.clone()));
        }
        if fields.is_empty() {
            return Err(DiscloseError::Nothing);
        }
        let indices: Vec<u32> = fields.iter().map(|field| field.index).collect();
        Ok(Disclosure { count: self.tree.count(), fields, proof: self.tree.proof(&indices) })
    }
}

/// Does not show the record.
impl std::fmt::Debug for Commitment<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Commitment({})", self.root())
    }
}
