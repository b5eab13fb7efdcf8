//! Batch data: what everybody needs to rebuild the state, and the values that bind it to a proof
//! (`docs/encoding.md`, "Batch data").

use halo2curves::ff::Field;

use crate::{
    primitive::{
        field::{self, Fr},
        keccak::keccak256,
        poseidon::{self, Tag},
    },
    version::CircuitVersion,
};

/// Four elements: an entry of D1 or D2.
pub type Words = [Fr; 4];

/// An unused slot.
const UNUSED: Words = [Fr::zero(); 4];

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
pub(super) fn word_bytes(entries: &[Words]) -> Vec<u8> {
    entries.iter().flatten().flat_map(field::to_bytes).collect()
}

fn evaluate(entries: &[Words], z: Fr) -> Fr {
    entries.iter().flatten().rev().fold(Fr::ZERO, |sum, element| sum * z + element)
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
}
