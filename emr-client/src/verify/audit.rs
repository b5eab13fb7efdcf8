//! Proves the audit chain page by page, from its newest entry to its first. Pure.
//!
//! A head is a hash over the head before it and one entry. A reader who knows a head can therefore check a page at
//! once: the entries of the page, folded over the head before them, must give the known head. The head before the page
//! is then the known one. The walk begins at the head in the proved medical leaf and ends at 0, which is the head of an
//! empty chain. So no entry can be missing, repeated, moved or forged, and no page has to be kept.

use std::collections::BTreeMap;

use emr_api::AuditPage;
use emr_rollup::{
    primitive::field::Fr,
    state::leaf::{AuditEntry, LeafHash, Target},
};

use crate::verify::light::{LightError, VerifiedLeaves, name};

const CHAIN: LightError = LightError::NotAll("audit entries");

/// A leaf of the settled state, and whether an entry of the chain has accounted for it.
#[derive(Clone, Copy, Debug)]
struct Accounted {
    target: Target,
    leaf: LeafHash,
    seen: bool,
}

/// A walk through a patient's audit chain, newest page first. It needs memory for each leaf, not for each entry.
#[derive(Clone, Debug)]
pub struct AuditWalk {
    leaves: VerifiedLeaves,
    accounts: BTreeMap<(u8, u64), Accounted>,
    /// The head after the newest entry that is still to come.
    head: Fr,
    /// Number of entries that are still to come.
    position: u64,
}

/// Everything that the settled state holds about a patient, verified, including the audit chain. Only
/// [`AuditWalk::finish`] makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    leaves: VerifiedLeaves,
    audit_length: u64,
}

impl Verified {
    /// The leaves.
    pub const fn leaves(&self) -> &VerifiedLeaves {
        &self.leaves
    }

    /// Number of entries of the audit chain.
    pub const fn audit_length(&self) -> u64 {
        self.audit_length
    }
}

const fn key(target: Target) -> (u8, u64) {
    (target.tree() as u8, target.slot())
}

impl AuditWalk {
    /// Begins at the head that the proved medical leaf holds.
    ///
    /// # Errors
    /// [`LightError::NotAll`] if the node's number of entries cannot be correct.
    pub fn begin(leaves: VerifiedLeaves) -> Result<Self, LightError> {
        let (head, position) = (leaves.audit_head(), leaves.audit_length());
        let accounts = leaves.targets().map(|(target, leaf)| (key(target), Accounted { target, leaf, seen: false }));
        let accounts = accounts.collect();
        Self { leaves, accounts, head, position }.checked()
    }

    /// Checks that the chain ends exactly where its head is 0.
    fn checked(self) -> Result<Self, LightError> {
        if (self.position == 0) == (self.head == Fr::default()) { Ok(self) } else { Err(CHAIN) }
    }

    /// The position where the next page ends, or `None` once the chain's first entry was seen.
    pub const fn next_end(&self) -> Option<u64> {
        if self.position == 0 { None } else { Some(self.position) }
    }

    /// Takes the page that ends at [`Self::next_end`]. It may have any length except 0.
    ///
    /// # Errors
    /// [`LightError::NotAll`] if the page is not that part of the chain. [`LightError::Unaccounted`] if an entry does
    /// not agree with the leaves.
    pub fn page(mut self, page: &AuditPage) -> Result<Self, LightError> {
        let end = page.first.checked_add(page.entries.len() as u64);
        let head = page.entries.iter().fold(page.before, |head, entry| entry.extend(head));
        if page.entries.is_empty() || end != Some(self.position) || head != self.head {
            return Err(CHAIN);
        }
        page.entries.iter().rev().try_for_each(|entry| self.account(entry))?;
        (self.head, self.position) = (page.before, page.first);
        self.checked()
    }

    /// Checks that the newest entry for a leaf has the leaf's value, and that no entry names a leaf that does not
    /// exist.
    ///
    /// A proof that the contract accepted implies this. If the circuit has a flaw, the patient's own check still finds
    /// the difference.
    fn account(&mut self, entry: &AuditEntry) -> Result<(), LightError> {
        match self.accounts.get_mut(&key(entry.target)) {
            Some(Accounted { seen: true, .. }) => Ok(()),
            Some(account) if account.leaf == entry.new_leaf => {
                account.seen = true;
                Ok(())
            }
            _ => Err(LightError::Unaccounted(name(entry.target))),
        }
    }

    /// Ends the walk early. The pages that were taken are proved; older entries are not.
    pub fn into_leaves(self) -> VerifiedLeaves {
        self.leaves
    }

    /// Ends the walk.
    ///
    /// # Errors
    /// [`LightError::NotAll`] if entries are still missing. [`LightError::Unaccounted`] if no entry names one of the
    /// leaves.
    pub fn finish(self) -> Result<Verified, LightError> {
        if self.position != 0 {
            return Err(CHAIN);
        }
        if let Some(account) = self.accounts.values().find(|account| !account.seen) {
            return Err(LightError::Unaccounted(name(account.target)));
        }
        let audit_length = self.leaves.audit_length();
        Ok(Verified { leaves: self.leaves, audit_length })
    }
}
