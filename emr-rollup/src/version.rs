//! Circuit versions and their sizes: the depths of the trees, and the numbers of L1 and L2 slots, for which a proving key is
//! made.

use emr_core::GrantSlot;
use serde::{Deserialize, Serialize};

use crate::layout;

/// One size of a circuit version: the depths of the trees and the numbers of slots for which a proving key is made. All
/// sizes of a version prove the same statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CircuitVersion {
    /// The version's number. `z` depends on it, and on the numbers of slots.
    pub number: u32,
    /// The depth of the identity tree and the medical tree.
    pub account_depth: usize,
    /// The depth of the grants trees.
    pub grant_depth: usize,
    /// The depth of the records trees.
    pub record_depth: usize,
    /// The number of L1 slots: places for L1 operations in a batch.
    pub max_l1: usize,
    /// The number of L2 slots: places for L2 operations in a batch.
    pub max_l2: usize,
    /// The binary logarithm of the number of rows.
    pub k: u32,
}

impl CircuitVersion {
    /// Version 1 in its standard size: 90 operations in 9 s on two cores.
    pub const V1: Self = Self {
        number: 1,
        account_depth: layout::ACCOUNT_DEPTH,
        grant_depth: layout::GRANT_DEPTH,
        record_depth: layout::RECORD_DEPTH,
        max_l1: 8,
        max_l2: 90,
        k: 17,
    };
    /// Version 1 for a few operations that shall be settled soon.
    pub const V1_SMALL: Self = Self { max_l1: 5, max_l2: 9, k: 14, ..Self::V1 };
    /// Version 1 for a long L1 queue, without L2 operations.
    pub const V1_QUEUE: Self = Self { max_l1: 175, max_l2: 0, ..Self::V1 };
    /// Version 1 for many operations at less gas each. A proof takes five times as long as in the standard size, and three
    /// times its memory.
    pub const V1_LARGE: Self = Self { max_l1: 8, max_l2: 370, k: 19, ..Self::V1 };

    /// The first grant slot that is not reserved for break-glass.
    pub(crate) fn first_ordinary_grant(&self) -> u64 {
        GrantSlot::FIRST_ORDINARY.get().min(1 << (self.grant_depth - 1))
    }

    /// The numbers of L1 and L2 slots, for people: `8 + 90 slots`.
    pub fn slots(&self) -> impl std::fmt::Display + use<> {
        let Self { max_l1, max_l2, .. } = *self;
        std::fmt::from_fn(move |f| write!(f, "{max_l1} + {max_l2} slots"))
    }

    /// Whether both are sizes of one circuit version.
    pub(crate) fn proves_the_same_as(&self, other: &Self) -> bool {
        *self == Self { max_l1: self.max_l1, max_l2: self.max_l2, k: self.k, ..*other }
    }

    /// Whether a batch of this size has slots for so many L1 and L2 operations.
    pub const fn holds(&self, l1: usize, l2: usize) -> bool {
        l1 <= self.max_l1 && l2 <= self.max_l2
    }
}

/// The sizes in which one statement is proved, in the order in which L1 lists them. Each has a key. A batch is proved in
/// the smallest one that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitSizes(Vec<CircuitVersion>);

/// Why a list of sizes cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SizesError {
    /// The list is empty.
    #[error("there is no size")]
    Empty,
    /// Two sizes differ in the version's number or in the depth of a tree: they prove different statements.
    #[error("the sizes are of different circuit versions")]
    DifferentVersions,
}

impl CircuitSizes {
    /// The sizes of a rollup on this list.
    ///
    /// # Errors
    /// [`SizesError`] if the list is empty, or if the sizes do not prove the same statement.
    pub fn new(sizes: Vec<CircuitVersion>) -> Result<Self, SizesError> {
        let first = *sizes.first().ok_or(SizesError::Empty)?;
        if sizes.iter().all(|size| size.proves_the_same_as(&first)) {
            Ok(Self(sizes))
        } else {
            Err(SizesError::DifferentVersions)
        }
    }

    /// Version 1 in the sizes that every rollup has: small, standard, and for the queue.
    pub fn v1() -> Self {
        Self(vec![CircuitVersion::V1_SMALL, CircuitVersion::V1, CircuitVersion::V1_QUEUE])
    }

    /// Version 1 in every size that this program knows: those of [`Self::v1`], and the large one.
    pub fn v1_all() -> Self {
        Self([Self::v1().0, vec![CircuitVersion::V1_LARGE]].concat())
    }

    /// One of the sizes, for what does not depend on the size: the version's number and the depths of its trees.
    pub fn any(&self) -> &CircuitVersion {
        &self.0[0]
    }

    /// The sizes in L1's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &CircuitVersion> {
        self.0.iter()
    }

    /// The size with so many slots.
    pub fn with_slots(&self, max_l1: u64, max_l2: u64) -> Option<&CircuitVersion> {
        self.0.iter().find(|size| (size.max_l1 as u64, size.max_l2 as u64) == (max_l1, max_l2))
    }

    /// The size at this position of L1's list.
    pub fn get(&self, position: u8) -> Option<&CircuitVersion> {
        self.0.get(usize::from(position))
    }

    /// The position of a size in L1's list.
    pub fn position(&self, size: &CircuitVersion) -> Option<u8> {
        self.0.iter().position(|other| other == size).and_then(|position| u8::try_from(position).ok())
    }

    /// The size with the fewest rows that holds so many L1 and L2 operations. Of two with the same number of rows, the first.
    pub fn smallest_for(&self, l1: usize, l2: usize) -> Option<&CircuitVersion> {
        self.0.iter().filter(|size| size.holds(l1, l2)).min_by_key(|size| size.k)
    }

    /// The most L1 operations that a batch can hold beside so many L2 operations. 0 if no size holds these.
    pub fn max_l1_beside(&self, l2: usize) -> usize {
        self.0.iter().filter(|size| size.holds(0, l2)).map(|size| size.max_l1).max().unwrap_or(0)
    }

    /// The most L2 operations that a batch can hold beside so many L1 operations. 0 if no size holds these.
    pub fn max_l2_beside(&self, l1: usize) -> usize {
        self.0.iter().filter(|size| size.holds(l1, 0)).map(|size| size.max_l2).max().unwrap_or(0)
    }
}

impl From<CircuitVersion> for CircuitSizes {
    /// One size.
    fn from(size: CircuitVersion) -> Self {
        Self(vec![size])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gets_the_smallest_size_that_holds_it() {
        let sizes = CircuitSizes::v1_all();
        let [small, standard, queue, large] =
            [CircuitVersion::V1_SMALL, CircuitVersion::V1, CircuitVersion::V1_QUEUE, CircuitVersion::V1_LARGE];
        let cases = [
            ((0, 1), Some(small)),
            ((5, 9), Some(small)),
            ((6, 1), Some(standard)),
            ((0, 10), Some(standard)),
            ((8, 90), Some(standard)),
            ((9, 0), Some(queue)),
            ((175, 0), Some(queue)),
            ((0, 91), Some(large)),
            ((8, 370), Some(large)),
            ((9, 1), None),
            ((176, 0), None),
            ((0, 371), None),
        ];
        for ((l1, l2), size) in cases {
            assert_eq!(sizes.smallest_for(l1, l2).copied(), size, "{l1} + {l2}");
        }
        assert_eq!([0, 1, 90, 370, 371].map(|l2| sizes.max_l1_beside(l2)), [175, 8, 8, 8, 0]);
        assert_eq!([0, 8, 9, 175, 176].map(|l1| sizes.max_l2_beside(l1)), [370, 370, 0, 0, 0]);
    }

    #[test]
    fn sizes_prove_the_same_statement() {
        let deeper = CircuitVersion { grant_depth: 12, ..CircuitVersion::V1_SMALL };
        let newer = CircuitVersion { number: 2, ..CircuitVersion::V1_SMALL };
        assert_eq!(CircuitSizes::new(Vec::new()), Err(SizesError::Empty));
        for other in [deeper, newer] {
            assert_eq!(CircuitSizes::new(vec![CircuitVersion::V1, other]), Err(SizesError::DifferentVersions));
        }
        assert_eq!(CircuitSizes::new(CircuitSizes::v1_all().0), Ok(CircuitSizes::v1_all()));
    }
}
