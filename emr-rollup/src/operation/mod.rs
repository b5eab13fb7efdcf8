//! Operations: what accounts sign, and the rules for it. Each kind has one file with its data, its row in the table of rules, its packing,
//! its effect on the leaf, and what the statement demands of the leaf.

mod break_glass;
mod directory;
mod id;
mod kind;
mod put_record;
mod rekey;
mod request_access;
mod revoke;
mod rule;
mod set_grant;
mod signed;
mod tombstone;

use emr_core::{GrantSlot, OutOfRange, Purpose, RecordSlot, Version};
use serde::{Deserialize, Serialize};

use self::kind::kinds;
pub use self::{
    break_glass::{BreakGlass, MAX_EMERGENCY},
    directory::DirectoryCommitment,
    id::{NotOperationId, OperationId},
    put_record::PutRecord,
    rekey::Rekey,
    request_access::RequestAccess,
    revoke::{Revoke, revoked_leaf},
    rule::{Authority, Counter, DirectoryRule, Rule, SignerRule},
    set_grant::SetGrant,
    signed::{CLIENT_VALIDITY, Domain, MAX_VALIDITY, Operation, SignatureBytes, SignedOperation},
    tombstone::Tombstone,
};
use crate::{
    l1_operation::{self, L1Rule},
    primitive::field::Fr,
    state::{
        leaf::{GrantLeaf, RecordLeaf, Target},
        ledger::PatientLeaves,
    },
};

// The table of kinds: code in packed fields, and name in text and JSON. `Kind` and `Action` are made from it.
kinds! {
    L2 {
        /// Writes a record's next version.
        PutRecord = 1, "put-record";
        /// Deletes a record.
        Tombstone = 2, "tombstone";
        /// Stores a record under new keys, or with another hospital.
        Rekey = 3, "rekey";
        /// Writes a grant.
        SetGrant = 4, "set-grant";
        /// Ends a grant.
        Revoke = 5, "revoke";
        /// Records the use of a grant.
        RequestAccess = 6, "request-access";
        /// Gives a doctor an emergency grant.
        BreakGlass = 7, "break-glass";
    }
    L1 {
        /// Admits an account; comes through the L1 queue.
        Register = 16, "register";
        /// Sets an account's status; comes through the L1 queue.
        SetStatus = 17, "set-status";
        /// Gives an account new keys; comes through the L1 queue.
        RotateKey = 18, "rotate-key";
        /// Ends a patient's grants; comes through the L1 queue.
        ForcedRevoke = 19, "forced-revoke";
    }
}

impl Action {
    /// The leaf that it writes.
    pub fn target(&self) -> Target {
        self.signed().target()
    }

    /// The value that the leaf's counter is compared with.
    pub fn expected(&self) -> u64 {
        self.signed().expected()
    }

    /// The purpose, for kinds that have one.
    pub fn purpose(&self) -> Option<Purpose> {
        self.signed().purpose()
    }

    /// What a submission holds besides the operation.
    pub fn blocks(&self) -> Blocks {
        self.signed().blocks()
    }

    /// The key directories before and after, if the kind signs them.
    pub fn directories(&self) -> Option<(DirectoryCommitment, DirectoryCommitment)> {
        match self.blocks() {
            Blocks::Directory { before, after } => Some((before, after)),
            Blocks::None | Blocks::Record { .. } => None,
        }
    }

    /// The grant that it signs. The operation does not tell the grant's `uses`, so they are 0 here.
    ///
    /// # Errors
    /// [`OutOfRange`] if the grant's version would be above the maximum.
    pub fn signed_grant(&self) -> Result<Option<(GrantSlot, GrantLeaf)>, OutOfRange> {
        self.signed().grant()
    }

    /// The leaf of the record that it writes. `None` if it writes a grant.
    pub fn record(&self) -> Option<(RecordSlot, RecordLeaf)> {
        self.signed().record()
    }

    /// What readers lose as soon as the operation is signed, even if it is never settled.
    pub fn takes_away(&self) -> Option<TakenAway> {
        self.signed().takes_away()
    }

    /// The body of the message.
    pub(crate) fn body(&self) -> Body {
        self.signed().body()
    }

    /// The leaf after the operation. `None` if a counter is at its maximum, or the slot holds no grant to use.
    pub(crate) fn effect(&self, before: &PatientLeaves) -> Option<Written> {
        self.signed().effect(before)
    }
}

impl SignedOperation {
    /// The slot of the grant that the operation needs, if its kind needs one.
    pub fn used_grant(&self) -> Option<GrantSlot> {
        let operation = &self.operation;
        match (operation.action.rule().authority, operation.action.target()) {
            (Authority::None, _) | (Authority::Target(_), Target::Record(_)) => None,
            (Authority::UnlessOwn(_) | Authority::ManageUnlessOwn, _) => {
                self.authority.filter(|_| operation.signer != operation.patient)
            }
            (Authority::Target(_), Target::Grant(slot)) => Some(slot),
        }
    }
}

/// What every kind of L2 operation provides.
trait Signed {
    fn target(&self) -> Target;
    fn expected(&self) -> u64;
    fn purpose(&self) -> Option<Purpose> {
        None
    }
    fn body(&self) -> Body;
    fn blocks(&self) -> Blocks {
        Blocks::None
    }
    fn grant(&self) -> Result<Option<(GrantSlot, GrantLeaf)>, OutOfRange> {
        Ok(None)
    }
    fn record(&self) -> Option<(RecordSlot, RecordLeaf)> {
        None
    }
    fn takes_away(&self) -> Option<TakenAway> {
        None
    }
    fn effect(&self, before: &PatientLeaves) -> Option<Written>;
}

/// What readers lose by an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenAway {
    /// The grant in a slot, in every version up to this one.
    Grant {
        /// The grant's slot.
        slot: GrantSlot,
        /// The highest version that ends.
        version: Version,
    },
    /// What the grant in a slot allows beyond the grant `leaf`, in every version up to this one. The version is 0 if the slot was empty.
    Beyond {
        /// The grant's slot.
        slot: GrantSlot,
        /// The highest version that is narrowed.
        version: Version,
        /// The grant that remains.
        leaf: GrantLeaf,
    },
}

/// What a submission holds besides the operation, with the operation's commitment to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// Nothing.
    None,
    /// A record's manifest and every block that it refers to. [`RecordLeaf::stored`] commits to them.
    Record {
        /// The record's slot.
        slot: RecordSlot,
        /// The record's leaf.
        leaf: RecordLeaf,
    },
    /// The key directory after the operation, unless it is the same as before.
    Directory {
        /// The key directory in force.
        before: DirectoryCommitment,
        /// The key directory after the operation.
        after: DirectoryCommitment,
    },
}

/// The fields of a message that differ between kinds. A field that a kind does not have is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) new_packed: Fr,
    pub(crate) opaque_1: Fr,
    pub(crate) opaque_2: Fr,
    pub(crate) directory_before: Fr,
    pub(crate) directory_after: Fr,
}

impl Body {
    fn record(leaf: &RecordLeaf) -> Self {
        Self { new_packed: leaf.packed(), opaque_1: leaf.authored, opaque_2: leaf.stored, ..Self::default() }
    }

    fn grant(leaf: &GrantLeaf) -> Self {
        Self { new_packed: leaf.packed(), opaque_1: leaf.salt, ..Self::default() }
    }
}

/// The leaf after an operation, with its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Grant(GrantSlot, GrantLeaf),
    Record(RecordSlot, RecordLeaf),
}
