//! The state's trees: hashes, and the identities, which are public. Anybody can rebuild them from batch data alone.

use std::sync::Arc;

use emr_core::{AccountIndex, StateRoot, UnixTime};
use halo2curves::ff::Field;
use rpds::RedBlackTreeMapSync;

use crate::{
    batch::{BatchData, D2Entry},
    l1_operation::{ForcedRevoke, L1Operation, MedicalChange, RevokedGrants},
    operation::DirectoryCommitment,
    primitive::{
        field::{self, Fr},
        poseidon,
    },
    state::{
        leaf::{IdentityLeaf, LeafHash, MedicalLeaf, Target, extend_head},
        tree::{Path, SparseMerkleTree},
    },
    version::CircuitVersion,
};

pub mod audit;
pub mod leaf;
pub mod ledger;
pub mod snapshot;
pub mod tree;

/// Why batch data cannot be applied. No honest batch has such data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A D1 entry does not decode.
    #[error("entry {entry} of the L1 data is malformed: {reason}")]
    MalformedEntry {
        /// The entry's number in the batch.
        entry: usize,
        /// What is wrong.
        reason: String,
    },
    /// A D2 entry names no leaf.
    #[error("entry {entry} of the L2 data names no leaf of a patient's subtree")]
    NoSuchLeaf {
        /// The entry's number in the batch.
        entry: usize,
    },
}

/// One patient's subtree.
#[derive(Clone, Debug)]
pub struct Subtree {
    /// The patient's grants.
    pub grants: SparseMerkleTree,
    /// The patient's records.
    pub records: SparseMerkleTree,
    /// The head of the patient's audit chain.
    pub audit_head: Fr,
    /// The commitment to the patient's key directory.
    pub key_directory: DirectoryCommitment,
}

impl Subtree {
    fn new(version: &CircuitVersion) -> Self {
        Self {
            grants: SparseMerkleTree::new(version.grant_depth),
            records: SparseMerkleTree::new(version.record_depth),
            audit_head: Fr::ZERO,
            key_directory: DirectoryCommitment::NONE,
        }
    }

    /// The medical leaf of this subtree.
    pub fn medical_leaf(&self) -> MedicalLeaf {
        MedicalLeaf {
            grants_root: self.grants.root(),
            records_root: self.records.root(),
            audit_head: self.audit_head,
            key_directory: self.key_directory,
        }
    }

    fn set(&mut self, target: Target, leaf: LeafHash) {
        match target {
            Target::Grant(slot) => self.grants.set(slot.get() as u32, leaf),
            Target::Record(slot) => self.records.set(slot.get() as u32, leaf),
        }
    }

    fn revoke(&mut self, revoke: &ForcedRevoke, time: UnixTime) {
        match revoke.grants {
            RevokedGrants::Slot(slot) => self.grants.set(slot.get() as u32, LeafHash::EMPTY),
            RevokedGrants::All => self.grants = SparseMerkleTree::new(self.grants.depth()),
        }
        self.audit_head = revoke.audit_entry(time).extend(self.audit_head);
        self.key_directory = revoke.directory.unwrap_or(self.key_directory);
    }
}

/// Both trees and every subtree. A clone costs nothing: it shares all nodes with the original. A change copies the
/// nodes on its paths.
#[derive(Clone, Debug)]
pub struct StateTrees {
    version: CircuitVersion,
    accounts: RedBlackTreeMapSync<AccountIndex, IdentityLeaf>,
    registrations: RedBlackTreeMapSync<AccountIndex, LeafHash>,
    identities: SparseMerkleTree,
    medical: SparseMerkleTree,
    subtrees: RedBlackTreeMapSync<AccountIndex, Arc<Subtree>>,
}

impl StateTrees {
    /// The state before the first batch.
    pub fn genesis(version: CircuitVersion) -> Self {
        Self {
            version,
            accounts: RedBlackTreeMapSync::default(),
            registrations: RedBlackTreeMapSync::default(),
            identities: SparseMerkleTree::new(version.account_depth),
            medical: SparseMerkleTree::new(version.account_depth),
            subtrees: RedBlackTreeMapSync::default(),
        }
    }

    /// The circuit version, which holds the depths.
    pub fn version(&self) -> &CircuitVersion {
        &self.version
    }

    /// Root of the identity tree.
    pub fn identity_root(&self) -> Fr {
        self.identities.root()
    }

    /// Root of the medical tree.
    pub fn medical_root(&self) -> Fr {
        self.medical.root()
    }

    /// The state root over both.
    pub fn root(&self) -> StateRoot {
        state_root(self.identity_root(), self.medical_root())
    }

    /// An account's identity.
    pub fn account(&self, account: AccountIndex) -> Option<&IdentityLeaf> {
        self.accounts.get(&account)
    }

    /// The identity leaf value that an account had after its registration. It stays the same when status, keys or epoch change.
    pub fn registration(&self, account: AccountIndex) -> Option<LeafHash> {
        self.registrations.get(&account).copied()
    }

    /// The identity leaf value at an account.
    pub fn identity(&self, account: AccountIndex) -> LeafHash {
        self.identities.get(position(account))
    }

    /// The medical leaf value at an account.
    pub fn medical(&self, account: AccountIndex) -> LeafHash {
        self.medical.get(position(account))
    }

    /// The path of an identity leaf.
    pub fn identity_path(&self, account: AccountIndex) -> Path {
        self.identities.path(position(account))
    }

    /// The path of a medical leaf.
    pub fn medical_path(&self, account: AccountIndex) -> Path {
        self.medical.path(position(account))
    }

    /// A patient's subtree.
    pub fn subtree(&self, patient: AccountIndex) -> Option<&Subtree> {
        self.subtrees.get(&patient).map(Arc::as_ref)
    }

    /// Whether the account and the slot of an entry have a place in trees of this version's depths.
    fn fits(&self, operation: &L1Operation) -> bool {
        let slot = match operation.medical() {
            MedicalChange::GrantsEnd(ForcedRevoke { grants: RevokedGrants::Slot(slot), .. }) => slot.get(),
            MedicalChange::GrantsEnd(_) | MedicalChange::Begins | MedicalChange::Stays => 0,
        };
        operation.account().get() >> self.version.account_depth == 0 && slot >> self.version.grant_depth == 0
    }

    /// Takes an entry of the L1 queue, in a batch with this time. Returns whether it took effect; if not, nothing changes.
    pub fn consume(&mut self, operation: &L1Operation, time: UnixTime) -> bool {
        let account = operation.account();
        let after = operation.identity(self.account(account)).filter(|_| self.fits(operation));
        let Some(identity) = after else { return false };
        let leaf = identity.hash();
        if !self.registrations.contains_key(&account) {
            self.registrations.insert_mut(account, leaf);
        }
        self.identities.set(position(account), leaf);
        self.accounts.insert_mut(account, identity);
        match operation.medical() {
            MedicalChange::Stays => {}
            MedicalChange::Begins => {
                self.subtrees.insert_mut(account, Arc::new(Subtree::new(&self.version)));
                self.write_medical(account);
            }
            MedicalChange::GrantsEnd(revoke) => {
                // The account is a patient's, or the entry had no effect.
                if let Some(subtree) = self.subtrees.get_mut(&account).map(Arc::make_mut) {
                    subtree.revoke(&revoke, time);
                }
                self.write_medical(account);
            }
        }
        true
    }

    /// Writes the medical leaf of a patient's present subtree.
    fn write_medical(&mut self, patient: AccountIndex) {
        if let Some(subtree) = self.subtrees.get(&patient) {
            self.medical.set(position(patient), subtree.medical_leaf().hash());
        }
    }

    /// Writes a leaf, extends the audit chain and sets the key directory.
    ///
    /// Returns `false`, and changes nothing, if the entry names no leaf of a patient's subtree.
    pub fn write(&mut self, entry: &D2Entry) -> bool {
        let Some((patient, target)) = entry.target() else { return false };
        let Some(subtree) = self.subtrees.get_mut(&patient).map(Arc::make_mut) else { return false };
        subtree.set(target, entry.leaf);
        subtree.audit_head = extend_head(subtree.audit_head, entry.audit_entry);
        subtree.key_directory = entry.key_directory;
        self.write_medical(patient);
        true
    }

    /// Copies one account's identity, and its subtree if it is a patient's, from another state. Returns `false`, and changes nothing, if that state has
    /// no such account.
    pub(crate) fn restore(&mut self, account: AccountIndex, from: &Self) -> bool {
        let known = from.accounts.get(&account).zip(from.registrations.get(&account));
        let Some((identity, registration)) = known else { return false };
        self.accounts.insert_mut(account, identity.clone());
        self.registrations.insert_mut(account, *registration);
        self.identities.set(position(account), from.identity(account));
        if let Some(subtree) = from.subtrees.get(&account) {
            self.subtrees.insert_mut(account, Arc::clone(subtree));
            self.write_medical(account);
        }
        true
    }

    /// Applies the data of a settled batch with this time. The state is derived from L1 by applying every batch, beginning at genesis.
    ///
    /// # Errors
    /// [`DataError`] if an entry is malformed. The batch may then be applied in part, so the caller has to start again.
    pub fn apply(&mut self, data: &BatchData, time: UnixTime) -> Result<(), DataError> {
        for (entry, queued) in data.d1.iter().enumerate() {
            let operation = L1Operation::from_entry(queued)
                .map_err(|error| DataError::MalformedEntry { entry, reason: error.to_string() })?;
            self.consume(&operation, time);
        }
        for (entry, written) in data.d2.iter().enumerate() {
            if !self.write(written) {
                return Err(DataError::NoSuchLeaf { entry });
            }
        }
        Ok(())
    }
}

/// `H_10(identity_root, medical_root)`.
pub fn state_root(identity_root: Fr, medical_root: Fr) -> StateRoot {
    field::to_root(&poseidon::hash(poseidon::Tag::State, &[identity_root, medical_root]))
}

fn position(account: AccountIndex) -> u32 {
    account.get() as u32
}
