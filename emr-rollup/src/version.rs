//! Circuit versions: the depths of the trees and the number of L1 and L2 slots for which a proving key is made.

use emr_core::GrantSlot;
use serde::{Deserialize, Serialize};

use crate::layout;

/// The depths and sizes for which a proving key is made. Version 1 is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CircuitVersion {
    /// The version's number. `z` depends on it.
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
    /// Version 1.
    pub const V1: Self = Self {
        number: 1,
        account_depth: layout::ACCOUNT_DEPTH,
        grant_depth: layout::GRANT_DEPTH,
        record_depth: layout::RECORD_DEPTH,
        max_l1: 8,
        max_l2: 90,
        k: 17,
    };

    /// The first grant slot that is not reserved for break-glass.
    pub(crate) fn first_ordinary_grant(&self) -> u64 {
        GrantSlot::FIRST_ORDINARY.get().min(1 << (self.grant_depth - 1))
    }
}
