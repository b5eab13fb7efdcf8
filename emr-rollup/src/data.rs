//! Batch data: what everybody needs to rebuild the state, and the values that bind it to a proof
//! (`docs/encoding.md`, "Batch data").

use halo2curves::ff::Field;
use serde::{Deserialize, Serialize};
use sha3::{Digest, Keccak256};

use crate::{
    field::{self, Fr, hex_element},
    operation::Domain,
    poseidon::{self, Tag},
};

/// Four elements: an entry of D1 or D2.
pub type Words = [Fr; 4];

/// An unused slot.
pub const UNUSED: Words = [Fr::zero(); 4];

/// Keccak-256.
pub fn keccak256(bytes: &[u8]) -> [u8; 32] {
    Keccak256::digest(bytes).into()
}

/// The depths and sizes that a proving key is made for. Number 1 is the one in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CircuitVersion {
    /// The version's number, bound into `z`.
    pub number: u32,
    /// Depth of the identity and medical trees.
    pub account_depth: usize,
    /// Depth of the grants trees.
    pub grant_depth: usize,
    /// Depth of the records trees.
    pub record_depth: usize,
    /// Slots for L1 operations.
    pub max_l1: usize,
    /// Slots for L2 operations.
    pub max_l2: usize,
    /// Binary logarithm of the number of rows.
    pub k: u32,
}

impl CircuitVersion {
    /// Version 1.
    pub const V1: Self = Self {
        number: 1,
        account_depth: crate::leaf::ACCOUNT_DEPTH,
        grant_depth: crate::leaf::GRANT_DEPTH,
        record_depth: crate::leaf::RECORD_DEPTH,
        max_l1: 8,
        max_l2: 32,
        k: 17,
    };
}

/// A batch's data: the used entries of D1 and D2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchData {
    /// L1 operations, as queued.
    pub d1: Vec<Words>,
    /// L2 operations: what they wrote.
    pub d2: Vec<Words>,
}

impl BatchData {
    /// `C = H_6(D1, D2)` at full width.
    ///
    /// # Panics
    /// If there are more entries than the version has slots.
    pub fn commitment(&self, version: &CircuitVersion) -> Fr {
        assert!(self.d1.len() <= version.max_l1 && self.d2.len() <= version.max_l2, "more entries than slots");
        let pad = |entries: &[Words], slots: usize| {
            entries.iter().copied().chain(std::iter::repeat(UNUSED)).take(slots).flatten().collect::<Vec<_>>()
        };
        let elements = [pad(&self.d1, version.max_l1), pad(&self.d2, version.max_l2)].concat();
        poseidon::hash(Tag::Data, &elements)
    }

    /// The rolling hash of the D1 entries.
    pub fn queue_hash(&self) -> [u8; 32] {
        self.d1
            .iter()
            .fold([0; 32], |hash, entry| keccak256(&[&hash[..], &word_bytes(std::slice::from_ref(entry))].concat()))
    }

    /// `sum D1_i z^i`.
    pub fn y1(&self, z: Fr) -> Fr {
        evaluate(&self.d1, z)
    }

    /// `sum D2_i z^i`.
    pub fn y2(&self, z: Fr) -> Fr {
        evaluate(&self.d2, z)
    }
}

/// The 32-byte words of entries, in order.
pub fn word_bytes(entries: &[Words]) -> Vec<u8> {
    entries.iter().flatten().flat_map(field::to_bytes).collect()
}

fn evaluate(entries: &[Words], z: Fr) -> Fr {
    entries.iter().flatten().rev().fold(Fr::ZERO, |sum, element| sum * z + element)
}

/// The values a proof is verified against, in the order of the instance column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicInputs {
    /// The rollup's domain.
    pub domain: Domain,
    /// State root before.
    #[serde(with = "hex_element")]
    pub pre: Fr,
    /// State root after.
    #[serde(with = "hex_element")]
    pub post: Fr,
    /// The batch's time, Unix seconds.
    pub time: u64,
    /// Used L1 slots.
    pub n1: u64,
    /// Used L2 slots.
    pub n: u64,
    /// `C`.
    #[serde(with = "hex_element")]
    pub commitment: Fr,
    /// The point at which the data are evaluated.
    #[serde(with = "hex_element")]
    pub z: Fr,
    /// `sum D1_i z^i`.
    #[serde(with = "hex_element")]
    pub y1: Fr,
    /// `sum D2_i z^i`.
    #[serde(with = "hex_element")]
    pub y2: Fr,
}

impl PublicInputs {
    /// Number of instances.
    pub const COUNT: usize = 10;

    /// Derives the instances of a batch.
    ///
    /// # Panics
    /// As [`BatchData::commitment`].
    pub fn derive(
        version: &CircuitVersion,
        domain: Domain,
        batch_number: u64,
        (pre, post): (Fr, Fr),
        time: u64,
        data: &BatchData,
    ) -> Self {
        let (n1, n) = (data.d1.len() as u64, data.d2.len() as u64);
        let commitment = data.commitment(version);
        let integer = |value: u64| field::to_bytes(&Fr::from(value));
        let words = [
            field::to_bytes(&domain.element()),
            integer(version.number.into()),
            integer(batch_number),
            field::to_bytes(&pre),
            field::to_bytes(&post),
            integer(time),
            field::to_bytes(&commitment),
            integer(n1),
            integer(n),
            data.queue_hash(),
            keccak256(&word_bytes(&data.d2)),
        ];
        let z = field::reduce(&keccak256(&words.concat()));
        Self { domain, pre, post, time, n1, n, commitment, z, y1: data.y1(z), y2: data.y2(z) }
    }

    /// The instance column.
    pub fn elements(&self) -> [Fr; Self::COUNT] {
        [
            self.domain.element(),
            self.pre,
            self.post,
            Fr::from(self.time),
            Fr::from(self.n1),
            Fr::from(self.n),
            self.commitment,
            self.z,
            self.y1,
            self.y2,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evaluation_is_the_sum_of_powers() {
        let data = BatchData { d1: vec![[2, 3, 5, 7].map(Fr::from)], d2: vec![UNUSED, [1, 0, 0, 0].map(Fr::from)] };
        let z = Fr::from(10);
        assert_eq!(data.y1(z), Fr::from(7532));
        assert_eq!(data.y2(z), Fr::from(10_000));
    }

    #[test]
    fn empty_entries_and_absent_ones_commit_alike() {
        let version = CircuitVersion { max_l1: 2, max_l2: 2, ..CircuitVersion::V1 };
        let absent = BatchData::default();
        let zeros = BatchData { d1: vec![UNUSED], d2: vec![UNUSED] };
        assert_eq!(absent.commitment(&version), zeros.commitment(&version));
        assert_ne!(absent.queue_hash(), zeros.queue_hash());
    }

    #[test]
    fn keccak_is_ethereums() {
        assert_eq!(hex::encode(keccak256(b"")), "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
    }
}
