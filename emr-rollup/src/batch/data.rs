//! Batch data: what anybody needs to rebuild the state, and the values that bind the data to a proof
//! (`docs/encoding.md`, "Batch data").

use halo2curves::ff::Field;

use super::entry::{D1Entry, D2Entry, Words};
use crate::{
    primitive::{
        field::Fr,
        keccak::keccak256,
        poseidon::{self, Tag},
    },
    version::CircuitVersion,
};

/// The words of an unused L1 or L2 slot.
const UNUSED: Words = [Fr::zero(); 4];

/// A batch's data: the used entries of D1 and D2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchData {
    /// The L1 operations, as queued.
    pub d1: Vec<D1Entry>,
    /// What the L2 operations wrote.
    pub d2: Vec<D2Entry>,
}

impl BatchData {
    /// `C = H_6(D1, D2)` at full width.
    ///
    /// # Panics
    /// If there are more entries than the version has L1 or L2 slots.
    pub fn commitment(&self, version: &CircuitVersion) -> Fr {
        assert!(self.d1.len() <= version.max_l1 && self.d2.len() <= version.max_l2, "more entries than slots");
        let pad = |entries: Vec<Words>, slots: usize| {
            entries.into_iter().chain(std::iter::repeat(UNUSED)).take(slots).flatten().collect::<Vec<_>>()
        };
        let elements = [pad(self.d1_words(), version.max_l1), pad(self.d2_words(), version.max_l2)].concat();
        poseidon::hash(Tag::Data, &elements)
    }

    /// The rolling hash of the D1 entries.
    pub fn queue_hash(&self) -> [u8; 32] {
        self.d1.iter().fold([0; 32], |hash, entry| keccak256(&[&hash[..], entry.to_bytes().as_flattened()].concat()))
    }

    /// `keccak256` of the D2 words, 32 bytes each.
    pub(super) fn d2_hash(&self) -> [u8; 32] {
        keccak256(&self.d2.iter().flat_map(D2Entry::to_bytes).flatten().collect::<Vec<u8>>())
    }

    fn d1_words(&self) -> Vec<Words> {
        self.d1.iter().map(D1Entry::words).collect()
    }

    fn d2_words(&self) -> Vec<Words> {
        self.d2.iter().map(D2Entry::words).collect()
    }

    /// `sum D1_i z^i`.
    pub fn y1(&self, z: Fr) -> Fr {
        evaluate(&self.d1_words(), z)
    }

    /// `sum D2_i z^i`.
    pub fn y2(&self, z: Fr) -> Fr {
        evaluate(&self.d2_words(), z)
    }
}

fn evaluate(entries: &[Words], z: Fr) -> Fr {
    entries.iter().flatten().rev().fold(Fr::ZERO, |sum, element| sum * z + element)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitive::field::{self, NotCanonical};

    #[test]
    fn evaluation_is_the_sum_of_powers() -> Result<(), NotCanonical> {
        let words = |words: [u64; 4]| words.map(|word| field::to_bytes(&Fr::from(word)));
        let d1 = vec![D1Entry::from_bytes(&words([2, 3, 5, 7]))?];
        let d2 = vec![D2Entry::from_bytes(&words([0; 4]))?, D2Entry::from_bytes(&words([1, 0, 0, 0]))?];
        let data = BatchData { d1, d2 };
        let z = Fr::from(10);
        assert_eq!(data.y1(z), Fr::from(7532));
        assert_eq!(data.y2(z), Fr::from(10_000));
        Ok(())
    }

    #[test]
    fn empty_entries_and_absent_ones_commit_alike() -> Result<(), NotCanonical> {
        let version = CircuitVersion { max_l1: 2, max_l2: 2, ..CircuitVersion::V1 };
        let absent = BatchData::default();
        let zero = [[0; 32]; 4];
        let zeros = BatchData { d1: vec![D1Entry::from_bytes(&zero)?], d2: vec![D2Entry::from_bytes(&zero)?] };
        assert_eq!(absent.commitment(&version), zeros.commitment(&version));
        assert_ne!(absent.queue_hash(), zeros.queue_hash());
        Ok(())
    }
}
