//! Operations: what accounts sign, and by what rules. One file a kind: its data, its row of the table of rules, its packing, its
//! effect on the leaf, and what the statement demands of the leaf.

mod directory;
mod id;
mod kind;
mod put_record;
mod request_access;
mod revoke;
mod rule;
mod set_grant;
mod signed;
mod tombstone;

use emr_core::{GrantSlot, OutOfRange, Purpose, RecordSlot, Version};
use serde::{Deserialize, Serialize};

pub use self::{
    directory::DirectoryCommitment,
    id::{NotOperationId, OperationId},
    kind::Kind,
    put_record::PutRecord,
    request_access::RequestAccess,
    revoke::{Revoke, revoked_leaf},
    rule::{Authority, Counter, DirectoryRule, Rule, Signer},
    set_grant::SetGrant,
    signed::{CLIENT_VALIDITY, Domain, MAX_VALIDITY, Operation, SignatureBytes, SignedOperation},
    tombstone::Tombstone,
};
use crate::{
    primitive::field::Fr,
    state::{
        leaf::{GrantLeaf, RecordLeaf, Target},
        ledger::PatientLeaves,
    },
};

/// Makes [`Action`] and its dispatch from the list of kinds.
macro_rules! actions {
    ($($(#[$meta:meta])* $kind:ident,)+) => {
        /// What an operation does: its own fields, as signed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum Action {
            $($(#[$meta])* $kind($kind),)+
        }

        impl Action {
            /// Its kind.
            pub const fn kind(&self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind,)+
                }
            }

            /// The rules of its kind.
            pub const fn rule(&self) -> &'static Rule {
                match self {
                    $(Self::$kind(_) => &$kind::RULE,)+
                }
            }

            fn signed(&self) -> &dyn Signed {
                match self {
                    $(Self::$kind(action) => action,)+
                }
            }
        }

        $(impl From<$kind> for Action {
            fn from(action: $kind) -> Self {
                Self::$kind(action)
            }
        })+
    };
}

actions! {
    /// Writes a record's next version.
    PutRecord,
    /// Deletes a record.
    Tombstone,
    /// Writes a grant.
    SetGrant,
    /// Ends a grant.
    Revoke,
    /// Records the use of a grant.
    RequestAccess,
}

impl Action {
    /// The leaf it writes.
    pub fn target(&self) -> Target {
        self.signed().target()
    }

    /// What the target's counter is compared with.
    pub fn expected(&self) -> u64 {
        self.signed().expected()
    }

    /// Why, where the kind says so.
    pub fn purpose(&self) -> Option<Purpose> {
        self.signed().purpose()
    }

    /// What a submission brings besides the operation.
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

    /// The grant that it signs; its `uses` are not known from the operation and are 0.
    ///
    /// # Errors
    /// [`OutOfRange`] if its version would be beyond the last.
    pub fn signed_grant(&self) -> Result<Option<(GrantSlot, GrantLeaf)>, OutOfRange> {
        self.signed().grant()
    }

    /// What it takes away from readers once it is signed, whatever becomes of it.
    pub fn takes_away(&self) -> Option<TakenAway> {
        self.signed().takes_away()
    }

    /// The body of the message.
    pub(crate) fn body(&self) -> Body {
        self.signed().body()
    }

    /// The leaf after it; `None` if a counter is at its end or there is nothing to use.
    pub(crate) fn effect(&self, before: &PatientLeaves) -> Option<Written> {
        self.signed().effect(before)
    }
}

impl SignedOperation {
    /// The grant that it needs, if the rules of its kind ask for one.
    pub fn used_grant(&self) -> Option<GrantSlot> {
        let operation = &self.operation;
        match (operation.action.rule().authority, operation.action.target()) {
            (Authority::None, _) | (Authority::Target(_), Target::Record(_)) => None,
            (Authority::UnlessOwn(_), _) => self.authority.filter(|_| operation.signer != operation.patient),
            (Authority::Target(_), Target::Grant(slot)) => Some(slot),
        }
    }
}

/// What every kind says of itself.
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
    fn takes_away(&self) -> Option<TakenAway> {
        None
    }
    fn effect(&self, before: &PatientLeaves) -> Option<Written>;
}

/// What an operation takes away from readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenAway {
    /// The grant in a slot, in every version up to this one.
    Grant {
        /// Where.
        slot: GrantSlot,
        /// The highest version that ends.
        version: Version,
    },
    /// What the grant in a slot allows beyond another, in every version up to this one. 0 if the slot was empty.
    Beyond {
        /// Where.
        slot: GrantSlot,
        /// The highest version that is narrowed.
        version: Version,
        /// What is left of it.
        leaf: GrantLeaf,
    },
}

/// What a submission brings besides the operation, and what the operation commits to of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// Nothing.
    None,
    /// A record's manifest and all that it refers to: [`RecordLeaf::stored`].
    Record {
        /// Where the record is written.
        slot: RecordSlot,
        /// The record.
        leaf: RecordLeaf,
    },
    /// The key directory after, unless it is the one before.
    Directory {
        /// The key directory in force.
        before: DirectoryCommitment,
        /// The key directory from then on.
        after: DirectoryCommitment,
    },
}

/// The fields of a message that differ from kind to kind; 0 where a kind has none.
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

/// The leaf after an operation, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Grant(GrantSlot, GrantLeaf),
    Record(RecordSlot, RecordLeaf),
}
