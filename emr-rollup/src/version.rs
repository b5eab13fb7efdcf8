//! What a proving key is made for: the depths of the trees and the number of slots.

use emr_core::GrantSlot;
use serde::{Deserialize, Serialize};

use crate::layout;

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
        account_depth: layout::ACCOUNT_DEPTH,
        grant_depth: layout::GRANT_DEPTH,
        record_depth: layout::RECORD_DEPTH,
        max_l1: 8,
        max_l2: 32,
        k: 17,
    };

    /// The first grant slot that is not kept for break-glass.
    pub(crate) fn first_ordinary_grant(&self) -> u64 {
        GrantSlot::FIRST_ORDINARY.get().min(1 << (self.grant_depth - 1))
    }
}
