//! The sizes in which batches are proved, as the contract's storage holds them: for clients that have them proved.

use std::{fmt, str::FromStr};

use alloy::primitives::{Address, B256, Keccak256, U256, keccak256};
use alloy::sol_types::SolValue;
use serde::{Deserialize, Serialize};

/// The slot of the mapping from positions to sizes (`contracts/artifacts/storage-layout.json`, `_sizes`).
const SIZES_SLOT: u64 = 10;

/// A size in which batches are proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// The contract that verifies its proofs.
    pub verifier: Address,
    /// Queue entries per batch.
    pub max_l1: u64,
    /// L2 operations per batch.
    pub max_l2: u64,
}

impl Size {
    /// The storage slot of the size at a position.
    pub fn slot(position: u8) -> U256 {
        U256::from_be_bytes(keccak256((U256::from(position), U256::from(SIZES_SLOT)).abi_encode()).0)
    }

    /// The word in that slot. From the least significant bit: verifier (160 bits), queue entries (48), operations (48).
    ///
    /// # Panics
    /// Never for a size that a contract holds: its numbers have 48 bits.
    pub fn word(&self) -> U256 {
        U256::from_be_slice(self.verifier.as_slice())
            | U256::from(self.max_l1) << 160_usize
            | U256::from(self.max_l2) << 208_usize
    }
}

/// Names all sizes of a rollup, with their verifiers: Keccak-256 of the circuit version (8 bytes, big-endian) and of the words of the sizes
/// ([`Size::word`], 32 bytes each, big-endian) in their order. A verifier's address commits to its code and its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SizesDigest(B256);

impl SizesDigest {
    /// The digest of these sizes.
    pub fn of(circuit_version: u64, sizes: &[Size]) -> Self {
        Self::of_words(circuit_version, sizes.iter().map(Size::word))
    }

    /// The digest of the words of the sizes.
    pub fn of_words(circuit_version: u64, words: impl IntoIterator<Item = U256>) -> Self {
        let mut hasher = Keccak256::new();
        hasher.update(circuit_version.to_be_bytes());
        for word in words {
            hasher.update(word.to_be_bytes::<32>());
        }
        Self(hasher.finalize())
    }
}

impl fmt::Display for SizesDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // All digits, also where `B256` would write fewer.
        write!(f, "{:?}", self.0)
    }
}

impl FromStr for SizesDigest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| "write 0x and 64 hexadecimal digits".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_changes_in_a_size_the_digest_is_another_one() {
        let size = |verifier| Size { verifier: Address::repeat_byte(verifier), max_l1: 8, max_l2: 90 };
        let good = [size(1), size(2)];
        let mut digests = vec![
            SizesDigest::of(1, &good),
            SizesDigest::of(2, &good),
            SizesDigest::of(1, &good[..1]),
            SizesDigest::of(1, &[size(2), size(1)]),
            SizesDigest::of(1, &[size(1), size(3)]),
            SizesDigest::of(1, &[size(1), Size { max_l1: 9, ..size(2) }]),
            SizesDigest::of(1, &[size(1), Size { max_l2: 91, ..size(2) }]),
        ];
        let count = digests.len();
        digests.sort_unstable_by_key(|digest| digest.0);
        digests.dedup();
        assert_eq!(digests.len(), count);
        assert_eq!(digests[0].to_string().parse(), Ok(digests[0]));
        assert!("0x12".parse::<SizesDigest>().is_err());
    }
}
