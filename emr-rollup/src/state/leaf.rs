//! The leaves of the state and the audit entry, with their packings and hashes (`docs/encoding.md`, "Trees").

use emr_core::{
    AccountEpoch, AccountIndex, AccountStatus, Class, ClassMask, GrantSlot, Purpose, RecordSlot, RecordStatus,
    Revision, Rights, Role, UnixTime, Uses, Version,
};
use halo2curves::ff::Field;
use serde::{Deserialize, Serialize};

use crate::{
    layout,
    operation::{DirectoryCommitment, Kind},
    primitive::{
        eddsa::PublicKey,
        field::{Fr, hex_element},
        poseidon::{self, Tag},
    },
    state::tree::empty_root,
};

/// The value of a leaf in a tree: the hash of its content, or 0 if it is empty. It is neither a root nor the hash of an
/// audit entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeafHash(#[serde(with = "hex_element")] Fr);

impl LeafHash {
    /// A leaf that was never written.
    pub const EMPTY: Self = Self(Fr::ZERO);

    /// The field element.
    pub const fn element(&self) -> Fr {
        self.0
    }
}

/// For elements from L1. It does not show that such a leaf was ever written.
impl From<Fr> for LeafHash {
    fn from(element: Fr) -> Self {
        Self(element)
    }
}

/// The index of an optional account, or 0 for none.
pub fn index_or_zero(account: Option<AccountIndex>) -> u64 {
    account.map_or(0, AccountIndex::get)
}

/// The tree of a patient's subtree that an operation writes. 2 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Tree {
    /// The grants.
    Grants = 1,
    /// The records.
    Records = 2,
}

/// An account's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityLeaf {
    /// The account's role.
    pub role: Role,
    /// Whether the account may act.
    pub status: AccountStatus,
    /// The hospital that the account belongs to.
    pub org: Option<AccountIndex>,
    /// The account's epoch. A change of its keys or status begins a new one.
    pub epoch: AccountEpoch,
    /// The key that signs the account's operations.
    pub key: PublicKey,
    /// The commitment to the account's RSA key: an opaque 248-bit value.
    pub encryption: Fr,
}

impl IdentityLeaf {
    /// `pack(role 8, status 8, org 24, epoch 32)`.
    pub fn packed(&self) -> Fr {
        layout::IDENTITY.pack([
            u64::from(self.role.code()),
            u64::from(self.status.code()),
            index_or_zero(self.org),
            self.epoch.get(),
        ])
    }

    /// The same leaf in the next epoch. `None` in the last epoch.
    pub(crate) fn next_epoch(&self) -> Option<Self> {
        let epoch = self.epoch.next().ok()?;
        Some(Self { epoch, ..self.clone() })
    }

    /// The leaf value.
    pub fn hash(&self) -> LeafHash {
        LeafHash(poseidon::hash(Tag::Identity, &[self.packed(), self.key.x(), self.key.y(), self.encryption]))
    }
}

/// The root of a patient's subtree. The default has zeros only, and no patient has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MedicalLeaf {
    /// The root of the patient's grants tree.
    #[serde(with = "hex_element")]
    pub grants_root: Fr,
    /// The root of the patient's records tree.
    #[serde(with = "hex_element")]
    pub records_root: Fr,
    /// The head of the patient's audit chain, or 0 before the first entry.
    #[serde(with = "hex_element")]
    pub audit_head: Fr,
    /// The commitment to the CID of the patient's key directory, or 0 before the first directory.
    pub key_directory: DirectoryCommitment,
}

impl MedicalLeaf {
    /// The leaf that a patient's registration writes.
    pub fn registered() -> Self {
        Self {
            grants_root: empty_root(layout::GRANT_DEPTH),
            records_root: empty_root(layout::RECORD_DEPTH),
            audit_head: Fr::ZERO,
            key_directory: DirectoryCommitment::NONE,
        }
    }

    /// The leaf value.
    pub fn hash(&self) -> LeafHash {
        let Self { grants_root, records_root, audit_head, key_directory } = *self;
        LeafHash(poseidon::hash(Tag::Medical, &[grants_root, records_root, audit_head, key_directory.element()]))
    }
}

/// A grant: who may do what, for which classes, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantLeaf {
    /// A doctor, a hospital (and so its doctors), or nobody once revoked.
    pub grantee: Option<AccountIndex>,
    /// The rights.
    pub rights: Rights,
    /// The classes.
    pub scope: ClassMask,
    /// The last second at which the grant holds.
    pub not_after: UnixTime,
    /// How often it was used to request access.
    pub uses: Uses,
    /// How often the slot was written.
    pub version: Version,
    /// The salt. It hides the fields from those who see only the hash.
    #[serde(with = "hex_element")]
    pub salt: Fr,
}

impl GrantLeaf {
    /// `pack(grantee 24, rights 8, scope 16, not_after 40, uses 32, version 32)`.
    pub fn packed(&self) -> Fr {
        layout::GRANT.pack([
            index_or_zero(self.grantee),
            u64::from(self.rights.bits()),
            u64::from(self.scope.bits()),
            self.not_after.get(),
            self.uses.get(),
            self.version.get(),
        ])
    }

    /// The leaf value.
    pub fn hash(&self) -> LeafHash {
        LeafHash(poseidon::hash(Tag::Grant, &[self.packed(), self.salt]))
    }

    /// Whether the grant holds at `time` for an account of this index and organisation.
    pub fn is_live_for(&self, account: AccountIndex, org: Option<AccountIndex>, time: UnixTime) -> bool {
        self.grantee.is_some_and(|grantee| grantee == account || Some(grantee) == org) && time <= self.not_after
    }
}

/// A record in the state: its author and class, and commitments to the authorship and to the stored blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordLeaf {
    /// Live, or a tombstone.
    pub status: RecordStatus,
    /// The record's class.
    pub class: Class,
    /// The author of this version.
    pub author: AccountIndex,
    /// The hospital that keeps the record's blocks, if one does.
    pub custodian: Option<AccountIndex>,
    /// How often the content was written.
    pub version: Version,
    /// How often the leaf was written.
    pub revision: Revision,
    /// The hash of the authorship.
    #[serde(with = "hex_element")]
    pub authored: Fr,
    /// The salted commitment to the manifest's CID.
    #[serde(with = "hex_element")]
    pub stored: Fr,
}

impl RecordLeaf {
    /// `pack(status 8, class 4, author 24, custodian 24, version 32, rev 32)`.
    pub fn packed(&self) -> Fr {
        layout::RECORD.pack([
            u64::from(self.status.code()),
            u64::from(self.class.code()),
            self.author.get(),
            index_or_zero(self.custodian),
            self.version.get(),
            self.revision.get(),
        ])
    }

    /// The leaf value.
    pub fn hash(&self) -> LeafHash {
        LeafHash(poseidon::hash(Tag::Record, &[self.packed(), self.authored, self.stored]))
    }
}

/// One entry of a patient's audit chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// The kind of the operation.
    pub kind: Kind,
    /// The account that signed it, or whose owner queued it on L1.
    pub signer: AccountIndex,
    /// What it wrote.
    pub target: AuditTarget,
    /// The purpose, if the operation has one.
    pub purpose: Option<Purpose>,
    /// The batch's time.
    pub time: UnixTime,
    /// The leaf value after the operation.
    pub new_leaf: LeafHash,
    /// The salt. It hides the fields from those who see only the hash.
    #[serde(with = "hex_element")]
    pub salt: Fr,
}

impl AuditEntry {
    /// `pack(kind 8, signer 24, tree 2, slot 16, purpose 8, time 40)`.
    pub fn packed(&self) -> Fr {
        let (tree, slot) = self.target.leaf().map_or((0, 0), |leaf| (leaf.tree() as u64, leaf.slot()));
        layout::AUDIT_ENTRY.pack([
            u64::from(self.kind.code()),
            self.signer.get(),
            tree,
            slot,
            self.purpose.map_or(0, |purpose| u64::from(purpose.code())),
            self.time.get(),
        ])
    }

    /// The entry's hash.
    pub fn hash(&self) -> Fr {
        poseidon::hash(Tag::AuditEntry, &[self.packed(), self.new_leaf.element(), self.salt])
    }

    /// The head after this entry.
    pub fn extend(&self, head: Fr) -> Fr {
        extend_head(head, self.hash())
    }
}

/// `H_5(head, entry)`.
pub fn extend_head(head: Fr, entry: Fr) -> Fr {
    poseidon::hash(Tag::AuditHead, &[head, entry])
}

/// The leaf of a subtree that an operation writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// A grant.
    Grant(GrantSlot),
    /// A record.
    Record(RecordSlot),
}

impl Target {
    /// The leaf's tree.
    pub const fn tree(self) -> Tree {
        match self {
            Self::Grant(_) => Tree::Grants,
            Self::Record(_) => Tree::Records,
        }
    }

    /// The leaf's position.
    pub const fn slot(self) -> u64 {
        match self {
            Self::Grant(slot) => slot.get(),
            Self::Record(slot) => slot.get(),
        }
    }
}

/// What an audit entry says was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditTarget {
    /// A grant.
    Grant(GrantSlot),
    /// A record.
    Record(RecordSlot),
    /// Every grant: all slots of the grants tree are empty after it.
    AllGrants,
}

impl AuditTarget {
    /// The leaf, if it is a single one.
    pub const fn leaf(self) -> Option<Target> {
        match self {
            Self::Grant(slot) => Some(Target::Grant(slot)),
            Self::Record(slot) => Some(Target::Record(slot)),
            Self::AllGrants => None,
        }
    }
}

impl From<Target> for AuditTarget {
    fn from(target: Target) -> Self {
        match target {
            Target::Grant(slot) => Self::Grant(slot),
            Target::Record(slot) => Self::Record(slot),
        }
    }
}
