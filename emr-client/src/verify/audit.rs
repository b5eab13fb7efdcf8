//! Proves the audit chain page by page, from its newest entry to its first. Pure.
//!
//! A head is a hash over the head before it and one entry. A reader who knows a head can therefore check a page at
//! once: the entries of the page, folded over the head before them, must give the known head. The head before the page
//! is then the known one. The walk begins at the head in the proved medical leaf and ends at 0, which is the head of an
//! empty chain. So no entry can be missing, repeated, moved or forged, and no page has to be kept.

use std::collections::{BTreeMap, BTreeSet};

use emr_api::AuditPage;
use emr_core::GrantSlot;
use emr_rollup::{
    operation::Kind,
    primitive::field::Fr,
    state::leaf::{AuditEntry, AuditTarget, LeafHash, Target},
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

/// The slots of the grants tree that are empty in the settled state because an L1 operation emptied them.
#[derive(Clone, Debug, Default)]
struct Removed {
    slots: BTreeSet<GrantSlot>,
    all: bool,
}

/// A walk through a patient's audit chain, newest page first. It needs memory for each leaf, not for each entry.
#[derive(Clone, Debug)]
pub struct AuditWalk {
    leaves: VerifiedLeaves,
    accounts: BTreeMap<(u8, u64), Accounted>,
    /// Grants that an L1 operation removed and that are not set again since.
    removed: Removed,
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
        Self { leaves, accounts, removed: Removed::default(), head, position }.checked()
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
    /// exist. A grant that an L1 operation removed does not exist any more, but older entries name it.
    ///
    /// A proof that the contract accepted implies this. If the circuit has a flaw, the patient's own check still finds
    /// the difference.
    fn account(&mut self, entry: &AuditEntry) -> Result<(), LightError> {
        let target = match entry.target {
            AuditTarget::AllGrants => return self.all_grants_end(entry),
            AuditTarget::Grant(slot) => Target::Grant(slot),
            AuditTarget::Record(slot) => Target::Record(slot),
        };
        let ends = entry.kind == Kind::ForcedRevoke && entry.new_leaf == LeafHash::EMPTY;
        match (self.accounts.get_mut(&key(target)), target) {
            (Some(Accounted { seen: true, .. }), _) => Ok(()),
            (Some(account), _) if account.leaf == entry.new_leaf => {
                account.seen = true;
                Ok(())
            }
            (None, Target::Grant(slot)) if self.removed.all || self.removed.slots.contains(&slot) => Ok(()),
            (None, Target::Grant(slot)) if ends => {
                self.removed.slots.insert(slot);
                Ok(())
            }
            (Some(_) | None, _) => Err(LightError::Unaccounted(name(target))),
        }
    }

    /// Every grant of the settled state must be newer than the entry that ended all grants.
    fn all_grants_end(&mut self, entry: &AuditEntry) -> Result<(), LightError> {
        if entry.kind != Kind::ForcedRevoke || entry.new_leaf != LeafHash::EMPTY {
            return Err(LightError::Unaccounted("all grants".to_owned()));
        }
        let older = self.accounts.values().find(|account| !account.seen && matches!(account.target, Target::Grant(_)));
        if let Some(account) = older {
            return Err(LightError::Unaccounted(name(account.target)));
        }
        self.removed.all = true;
        Ok(())
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
