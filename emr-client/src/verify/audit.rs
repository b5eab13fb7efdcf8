//! The audit chain, proved page by page from its newest entry to its first. Pure.
//!
//! A head is a hash over the head before it and one entry. A reader who knows a head can therefore check a page at once: the
//! entries of the page, folded over the head before them, must give the known head. The head before the page is then the known
//! one. The walk begins at the head in the proved medical leaf and ends at 0, which is the head of an empty chain. So no entry
//! can be missing, repeated, moved or made up, and no page has to be kept.

use std::collections::BTreeMap;

use emr_api::AuditPage;
use emr_rollup::{
    primitive::field::Fr,
    state::leaf::{AuditEntry, LeafHash, Target},
};

use crate::verify::light::{LightError, VerifiedLeaves, name};

const CHAIN: LightError = LightError::NotAll("audit entries");

/// A leaf of the settled state, and whether the chain was seen to account for it.
#[derive(Clone, Copy, Debug)]
struct Accounted {
    target: Target,
    leaf: LeafHash,
    seen: bool,
}

/// A walk through the audit chain of a patient, newest page first. Memory grows with the number of leaves, not of entries.
#[derive(Clone, Debug)]
pub struct AuditWalk {
    leaves: VerifiedLeaves,
    accounts: BTreeMap<(u8, u64), Accounted>,
    /// The head after the newest entry that is still to come.
    head: Fr,
    /// Number of entries that are still to come.
    position: u64,
}

/// Everything that the settled state says of a patient, verified, the audit chain included. Only [`AuditWalk::finish`] makes
/// one.
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
    /// [`LightError::NotAll`] if the node's number of entries cannot be right.
    pub fn begin(leaves: VerifiedLeaves) -> Result<Self, LightError> {
        let (head, position) = (leaves.audit_head(), leaves.audit_length());
        let accounts = leaves.targets().map(|(target, leaf)| (key(target), Accounted { target, leaf, seen: false }));
        let accounts = accounts.collect();
        Self { leaves, accounts, head, position }.checked()
    }

    /// The chain ends exactly where its head is 0.
    fn checked(self) -> Result<Self, LightError> {
        if (self.position == 0) == (self.head == Fr::default()) { Ok(self) } else { Err(CHAIN) }
    }

    /// The position before which the next page ends; `None` once the chain's first entry was seen.
    pub const fn next_end(&self) -> Option<u64> {
        if self.position == 0 { None } else { Some(self.position) }
    }

    /// Takes the page that ends at [`Self::next_end`]. It may be of any length but 0.
    ///
    /// # Errors
    /// [`LightError::NotAll`] if it is not that part of the chain; [`LightError::Unaccounted`].
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

    /// The newest entry for a leaf must say what the leaf holds, and no entry may speak of a leaf that is not there.
    ///
    /// A proof that the contract accepted implies it. Should the circuit have a hole, the patient's own check still finds this.
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

    /// Breaks the walk off. What the pages held so far is proved; older entries are not.
    pub fn into_leaves(self) -> VerifiedLeaves {
        self.leaves
    }

    /// Ends the walk.
    ///
    /// # Errors
    /// [`LightError::NotAll`] if entries are still to come; [`LightError::Unaccounted`] if no entry speaks of a leaf.
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
