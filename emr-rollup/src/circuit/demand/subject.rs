//! The leaves, fields and other things that demands name.

use emr_core::Rights;

/// A public input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the fields of PublicInputs")]
pub enum PublicInput {
    Domain,
    Pre,
    Post,
    Time,
    N1,
    N,
    Commitment,
    Z,
    Y1,
    Y2,
}

impl PublicInput {
    /// All of them, in the order of the instance column.
    pub const ALL: [Self; 10] = [
        Self::Domain,
        Self::Pre,
        Self::Post,
        Self::Time,
        Self::N1,
        Self::N,
        Self::Commitment,
        Self::Z,
        Self::Y1,
        Self::Y2,
    ];
}

/// One of the two accounts that an operation names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the name says it")]
pub enum Party {
    Signer,
    Patient,
}

/// A leaf that an L1 or L2 slot reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the identity of EntryWitness, and the fields of OperationWitness")]
pub enum Leaf {
    Account,
    Signer,
    Patient,
    Authority,
    OldGrant,
    NewGrant,
    OldRecord,
    NewRecord,
}

/// A packed field of a leaf, a header or an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the fields of layout's packings")]
pub enum Field {
    Role,
    Status,
    Org,
    AccountEpoch,
    Grantee,
    Rights,
    Scope,
    NotAfter,
    Uses,
    Version,
    Class,
    Author,
    Custodian,
    Revision,
    Expected,
    ValidUntil,
    Tree,
    Slot,
    ReplaceDirectory,
}

/// A part of a leaf or of a message's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Content {
    /// The packed fields.
    Packed,
    /// A grant's salt, a record's `authored`, or the x coordinate of an account's key.
    First,
    /// A record's `stored`, or the y coordinate of an account's key.
    Second,
    /// An account's encryption commitment.
    Third,
}

/// A tree that an L1 slot reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the name says it")]
pub enum EntryTree {
    Identity,
    Medical,
    Grants,
}

/// Before or after the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the name says it")]
pub enum Moment {
    Before,
    After,
}

/// A coordinate of the signature's R.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the name says it")]
pub enum Axis {
    X,
    Y,
}

/// A scalar of the signature's equation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scalar {
    /// S, which must be below the group's order.
    S,
    /// The challenge, which must be below p.
    Challenge,
}

/// The upper or the lower bits of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the name says it")]
pub enum Half {
    High,
    Low,
}

/// The class that a grant has to cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Covered {
    /// The class that is written or requested.
    New,
    /// The class that the record had before.
    Old,
}

/// A right that the circuit reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the rights of emr-core")]
pub enum RightBit {
    Read,
    Write,
    Manage,
    Emergency,
}

impl RightBit {
    pub(in crate::circuit) const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Manage, Self::Emergency];

    pub(in crate::circuit) fn rights(self) -> Rights {
        match self {
            Self::Read => Rights::READ,
            Self::Write => Rights::WRITE,
            Self::Manage => Rights::MANAGE,
            Self::Emergency => Rights::EMERGENCY,
        }
    }
}
