//! A disclosure: some fields of a record, with the proof that their author committed to them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::CommitmentRoot;
use super::tree::{MAX_LEAVES, Node, leaf, root_from};
use crate::codec::{self, CodecError, decode, encode};
use crate::key::Key;
use crate::record::Record;
use crate::value::Value;

/// A field with everything that its leaf is computed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisclosedField {
    /// The position of its leaf.
    pub index: u32,
    /// Its salt.
    pub salt: [u8; 32],
    /// Its key.
    pub key: Key,
    /// Its value.
    pub value: Value,
}

/// Some fields of a record, with the proof that the commitment covers them.
///
/// DAG-CBOR: a map of `type` (`"emr/disclosure/v1"`), `count`, `fields` (a list of `[index, salt, key, value]`) and
/// `proof` (the nodes, 32 bytes each, in one byte string: levels from the leaves upwards, each level from left to
/// right).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disclosure {
    /// The number of leaves: one per field, and one more if there is an original document.
    pub count: u32,
    /// The disclosed fields, by position.
    pub fields: Vec<DisclosedField>,
    /// The other nodes that are needed to compute the root.
    pub proof: Vec<[u8; 32]>,
}

/// Why a disclosure proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DisclosureError {
    /// The author did not commit to these fields, or the disclosure belongs to another commitment.
    #[error("the disclosed fields do not belong to this commitment: do not rely on them, ask for the disclosure again")]
    NotCommitted,
    /// Positions or keys do not ascend strictly, a position is beyond the count, there are no fields or too many, or
    /// the count is larger than that of any record.
    #[error("the disclosure is malformed: ask for it again")]
    Malformed,
    /// The bytes are not a disclosure.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl Disclosure {
    /// The largest number of fields. rs_merkle's time to make or check a proof grows with the square of this number;
    /// 4096 fields take some tens of milliseconds.
    pub const MAX_FIELDS: usize = 4096;

    /// Checks the disclosure against a commitment root, which the caller took from a signed authorship, and gives back
    /// the fields. Pure.
    ///
    /// It proves that the author committed to these fields. It does not prove what else the record says, nor that a
    /// cheating author did not commit to a second field under the same key: only the whole record proves that.
    ///
    /// # Errors
    /// Returns [`DisclosureError`] if anything in the disclosure differs from what [`Commitment::disclose`] made.
    ///
    /// [`Commitment::disclose`]: super::Commitment::disclose
    pub fn verify(&self, root: &CommitmentRoot) -> Result<BTreeMap<Key, Value>, DisclosureError> {
        let Some(last) = self.fields.last() else { return Err(DisclosureError::Malformed) };
        let ascending = self.fields.windows(2).all(|pair| pair[0].index < pair[1].index && pair[0].key < pair[1].key);
        if !ascending || self.fields.len() > Self::MAX_FIELDS || last.index >= self.count || self.count > MAX_LEAVES {
            return Err(DisclosureError::Malformed);
        }
        let leaves: Vec<(u32, Node)> = self
            .fields
            .iter()
            .map(|field| (field.index, leaf(&field.salt, field.key.as_str(), |out| codec::write(&field.value, out))))
            .collect();
        let tree_root = root_from(&leaves, self.count, &self.proof).ok_or(DisclosureError::NotCommitted)?;
        if CommitmentRoot::over(self.count, tree_root) != *root {
            return Err(DisclosureError::NotCommitted);
        }
        Ok(self.fields.iter().map(|field| (field.key.clone(), field.value.clone())).collect())
    }

    /// The canonical bytes.
    pub fn to_dag_cbor(&self) -> Vec<u8> {
        let fields =
            self.fields.iter().map(|field| (field.index, ByteArray::new(field.salt), &field.key, &field.value));
        encode(&Encoded { r#type: TYPE, count: self.count, fields: fields.collect(), proof: &self.proof.concat() })
    }

    /// Decodes canonical bytes. [`Disclosure::verify`] then checks their content.
    ///
    /// # Errors
    /// Returns [`DisclosureError::Codec`] if the bytes are more than [`Record::MAX_BYTES`] or not a disclosure's
    /// canonical bytes, and [`DisclosureError::Malformed`] if the proof is not a whole number of nodes.
    pub fn from_dag_cbor(bytes: &[u8]) -> Result<Self, DisclosureError> {
        let wire: Wire = decode("a disclosure", Record::MAX_BYTES, bytes)?;
        let (nodes, rest) = wire.proof.as_chunks::<32>();
        if wire.r#type != TYPE || !rest.is_empty() {
            return Err(DisclosureError::Malformed);
        }
        let fields = wire.fields.into_iter().map(|(index, salt, key, value)| DisclosedField {
            index,
            salt: salt.into_array(),
            key,
            value,
        });
        Ok(Self { count: wire.count, fields: fields.collect(), proof: nodes.to_vec() })
    }
}

const TYPE: &str = "emr/disclosure/v1";

#[derive(Serialize)]
struct Encoded<'a> {
    r#type: &'static str,
    count: u32,
    fields: Vec<(u32, ByteArray<32>, &'a Key, &'a Value)>,
    #[serde(with = "serde_bytes")]
    proof: &'a [u8],
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    r#type: String,
    count: u32,
    fields: Vec<(u32, ByteArray<32>, Key, Value)>,
    #[serde(with = "serde_bytes")]
    proof: Vec<u8>,
}
