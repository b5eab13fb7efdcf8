//! A ledger as bytes: every account, and every leaf and audit entry of every patient. Trees are not written. They are built again from the
//! leaves while the bytes are read. So a ledger that was read has the root of what was written, or another root, which the caller sees.
//!
//! The reader compares the root, and so need not trust the writer, with one exception. If the keys or the status of an account changed, the root
//! no longer covers what the account was registered with. L1 has that in the transaction that registered it.

mod plain;

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    sync::Arc,
};

use emr_core::{AccountIndex, GrantSlot, RecordSlot};
use rpds::RedBlackTreeMapSync;

pub use self::plain::{PlainBytes, invalid};
use self::plain::{write_count, write_list};
use crate::{
    operation::{DirectoryCommitment, Domain},
    state::{
        StateTrees, Subtree,
        audit::AuditChain,
        leaf::{AuditEntry, GrantLeaf, IdentityLeaf, LeafHash, RecordLeaf},
        ledger::{Ledger, PatientLeaves},
        position,
        tree::SparseMerkleTree,
    },
    version::CircuitVersion,
};

/// Whether a position is in a tree of this depth.
fn fits(position: u64, depth: usize) -> io::Result<()> {
    if position >> depth == 0 { Ok(()) } else { Err(invalid("a position outside the tree")) }
}

impl AuditChain {
    fn of(entries: Vec<AuditEntry>) -> Self {
        let mut chain = Self::default();
        entries.into_iter().for_each(|entry| chain.push(entry));
        chain
    }
}

impl Subtree {
    fn of(version: &CircuitVersion, leaves: &PatientLeaves, key_directory: DirectoryCommitment) -> io::Result<Self> {
        let slots = leaves.grants.keys().map(|slot| (slot.get(), version.grant_depth));
        let mut slots = slots.chain(leaves.records.keys().map(|slot| (slot.get(), version.record_depth)));
        slots.try_for_each(|(slot, depth)| fits(slot, depth))?;
        let grants: Vec<_> = leaves.grants.iter().map(|(slot, leaf)| (slot.get() as u32, leaf.hash())).collect();
        let records: Vec<_> = leaves.records.iter().map(|(slot, leaf)| (slot.get() as u32, leaf.hash())).collect();
        Ok(Self {
            grants: SparseMerkleTree::of_leaves(version.grant_depth, &grants),
            records: SparseMerkleTree::of_leaves(version.record_depth, &records),
            audit_head: leaves.audit.head(),
            key_directory,
        })
    }
}

impl Ledger {
    /// Writes the ledger. The bytes depend only on the state.
    ///
    /// First the number of accounts (4 bytes). Then each account, by ascending index: the index, the identity leaf, its registration's leaf if
    /// that is another one, and the patient's part if it is a patient's account. A patient's part is the key directory, the grants by slot,
    /// the records by slot, and the audit entries, oldest first.
    ///
    /// # Errors
    /// The error of `out`.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        write_count(self.trees.accounts.size(), out)?;
        for (account, identity) in &self.trees.accounts {
            account.write_to(out)?;
            identity.write_to(out)?;
            let registration = self.trees.registration(*account);
            registration.filter(|leaf| *leaf != self.trees.identity(*account)).write_to(out)?;
            match self.patients.get(account).zip(self.trees.subtree(*account)) {
                None => 0_u8.write_to(out)?,
                Some((leaves, subtree)) => {
                    1_u8.write_to(out)?;
                    subtree.key_directory.write_to(out)?;
                    leaves.write_to(out)?;
                }
            }
        }
        Ok(())
    }

    /// Reads a ledger, and builds its trees. Whether it is the right one, its root says. The memory that it takes grows with what is read, and
    /// not with what the bytes promise.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if the bytes are no ledger of this version, and the errors of `input`.
    pub fn read_from(domain: Domain, version: CircuitVersion, input: &mut impl Read) -> io::Result<Self> {
        let mut trees = StateTrees::genesis(version);
        let mut patients = RedBlackTreeMapSync::default();
        let (mut identities, mut medical) = (Vec::new(), Vec::new());
        let mut last = None;
        for _ in 0..u32::read_from(input)? {
            let account = AccountIndex::read_from(input)?;
            if last.replace(account).is_some_and(|last| last >= account) {
                return Err(invalid("accounts are not in order"));
            }
            fits(account.get(), version.account_depth)?;
            let identity = IdentityLeaf::read_from(input)?;
            let leaf = identity.hash();
            let registration = Option::<LeafHash>::read_from(input)?;
            if registration == Some(leaf) {
                return Err(invalid("a registration that says nothing"));
            }
            identities.push((position(account), leaf));
            trees.accounts.insert_mut(account, identity);
            trees.registrations.insert_mut(account, registration.unwrap_or(leaf));
            if let Some((key_directory, leaves)) = Option::<(DirectoryCommitment, PatientLeaves)>::read_from(input)? {
                let subtree = Subtree::of(&version, &leaves, key_directory)?;
                medical.push((position(account), subtree.medical_leaf().hash()));
                trees.subtrees.insert_mut(account, Arc::new(subtree));
                patients.insert_mut(account, Arc::new(leaves));
            }
        }
        trees.identities = SparseMerkleTree::of_leaves(version.account_depth, &identities);
        trees.medical = SparseMerkleTree::of_leaves(version.account_depth, &medical);
        Ok(Self { domain, trees, patients })
    }
}

impl PlainBytes for PatientLeaves {
    fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        self.grants.write_to(out)?;
        self.records.write_to(out)?;
        write_list(self.audit.entries(), out)
    }

    fn read_from(input: &mut impl Read) -> io::Result<Self> {
        Ok(Self {
            grants: BTreeMap::<GrantSlot, GrantLeaf>::read_from(input)?,
            records: BTreeMap::<RecordSlot, RecordLeaf>::read_from(input)?,
            audit: AuditChain::of(PlainBytes::read_from(input)?),
        })
    }
}

#[cfg(test)]
mod tests;
