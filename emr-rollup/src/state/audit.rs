//! A patient's audit chain, with the head after each entry.

use halo2curves::ff::Field;

use crate::{primitive::field::Fr, state::leaf::AuditEntry};

/// A patient's audit chain, oldest entry first.
///
/// The heads make any part of the chain provable: an entry and the head before it give the head after it. So the
/// entries of a part that ends at a known head are certain.
#[derive(Clone, Debug, Default)]
pub struct AuditChain {
    entries: Vec<AuditEntry>,
    /// The head after the entry at the same position.
    heads: Vec<Fr>,
}

/// A part of an audit chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditPart<'a> {
    /// Position of the part's first entry; the chain's first has 0.
    pub first: usize,
    /// The chain's head before that entry; 0 before the chain's first.
    pub before: Fr,
    /// The entries, oldest first.
    pub entries: &'a [AuditEntry],
}

impl AuditChain {
    pub(crate) fn push(&mut self, entry: AuditEntry) {
        self.heads.push(entry.extend(self.head()));
        self.entries.push(entry);
    }

    /// The head after the last entry, or 0 for an empty chain.
    pub fn head(&self) -> Fr {
        self.heads.last().copied().unwrap_or(Fr::ZERO)
    }

    /// Every entry, oldest first.
    pub fn entries(&self) -> &[AuditEntry] {
        &self.entries
    }

    /// The last `limit` entries before position `end`, or fewer at the chain's beginning. `None` if the chain is
    /// shorter than `end`.
    pub fn part(&self, end: usize, limit: usize) -> Option<AuditPart<'_>> {
        let first = end.saturating_sub(limit);
        let entries = self.entries.get(first..end)?;
        let before = first.checked_sub(1).map_or(Fr::ZERO, |last| self.heads[last]);
        Some(AuditPart { first, before, entries })
    }
}
