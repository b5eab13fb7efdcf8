//! The purpose of a constraint, and the clause that it enforces. Each assertion of an L1 or L2 slot has its own demand (a wide range check
//! has several assertions with one demand), so tests and diagnoses name an assertion by its demand.

mod subject;

pub use subject::{
    AccountTree, Axis, Content, Covered, Field, Half, Leaf, Moment, Party, PublicInput, RightBit, Scalar,
};

use crate::{
    operation::{Counter, Kind},
    state::leaf::Tree,
    statement::Clause,
};

/// The purpose of a constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Demand {
    // The frame and the data.
    /// A constant.
    Constant,
    /// A public input is this one.
    PublicInput(PublicInput),
    /// The batch's time is in range.
    TimeInRange,
    /// The state root before is over both roots before.
    RootBefore,
    /// The state root after is over both roots after.
    RootAfter,
    /// The L1 slot after this one is used only if this one is.
    L1InOrder(u32),
    /// So many L1 slots are used.
    L1Count,
    /// The L2 slot after this one is used only if this one is.
    L2InOrder(u32),
    /// So many L2 slots are used.
    L2Count,
    /// The commitment is over the data.
    DataCommitment,
    /// The evaluation of D1.
    D1Evaluation,
    /// The evaluation of D2.
    D2Evaluation,

    // An L1 slot.
    /// Whether the L1 slot has this kind is a bit.
    EntryKindFlag(Kind),
    /// The entry's kind is the flag's.
    EntryKind,
    /// A field of the entry is in range.
    EntryField(Field),
    /// The words of an unused L1 slot are 0.
    UnusedEntry(u32),
    /// The entry's account is the leaf's position.
    EntryAccount,
    /// Whether the account is not registered yet.
    AccountIsFresh,
    /// An account that is not registered has no medical leaf.
    NoMedicalLeaf,
    /// Whether the account is a patient's.
    EntryIsPatient,
    /// The leaves that a registration writes.
    RegisteredLeaves,
    /// The path's turns are bits.
    EntryTurns(AccountTree, Moment),
    /// The leaf before is under the root before, and the root after follows.
    EntryRoot(AccountTree),

    // The message of an L2 slot.
    /// Whether the operation is of this kind is a bit.
    KindFlag(Kind),
    /// At most one kind's flag is set.
    OneKind,
    /// The header's kind is the flag's.
    HeaderKind,
    /// The header's tree is the kind's.
    HeaderTree,
    /// A field of the header is in range.
    HeaderField(Field),
    /// The upper bit of the reason.
    PurposeReasonHigh,
    /// The lower bits of the reason.
    PurposeReasonLow,
    /// The class asked for.
    PurposeClass,
    /// The purpose is reason and class.
    PurposeSpelled,
    /// The message's hash.
    MessageHash,
    /// The challenge's hash.
    ChallengeHash,
    /// The signer's key, negated; the neutral element in an unused L2 slot.
    NegatedKey,
    /// `S·B - challenge·A`.
    Ladder,
    /// The ladder gives R.
    SignaturePoint(Axis),
    /// Half of a scalar is not above its bound's.
    Canonical(Scalar, Half),
    /// Whether the upper half of a scalar is its bound's.
    CanonicalTight(Scalar),
    /// The epoch signed is the leaf's.
    AccountEpoch(Party),
    /// The operation has not expired.
    NotExpired,
    /// The operation is not valid for too long.
    NotTooLong,

    // Who acts.
    /// A field of a leaf is in range.
    LeafField(Leaf, Field),
    /// The leaf's hash.
    LeafHash(Leaf),
    /// The account signed is the leaf's position.
    Account(Party),
    /// The path's turns are bits.
    IdentityTurns(Party),
    /// The identity is under the identity root.
    IdentityRoot(Party),
    /// The signer's account is active.
    SignerActive,
    /// The patient's account is one of a patient.
    PatientRole,
    /// The patient's account is active.
    PatientActive,
    /// Whether the patient signs.
    OwnOperation,
    /// A kind for the patient alone.
    SignedByPatient,
    /// A kind for the patient or a doctor.
    SignedByDoctor,
    /// A kind for the patient or the author.
    SignedByAuthor,

    // The grant.
    /// The path's turns are bits.
    AuthorityTurns,
    /// The grant is under the grants root.
    AuthorityRoot,
    /// Which grant allows the operation.
    WhichGrant,
    /// Whether the grant is nobody's.
    GranteeIsNobody,
    /// The grant is somebody's.
    GranteeIsSomebody,
    /// The grant is the signer's, or their hospital's.
    GranteeIsSigner,
    /// The grant has not expired.
    GrantNotExpired,
    /// A right is a bit.
    Right(RightBit),
    /// The rights that have no meaning.
    RightsRest,
    /// The mask is its bits.
    RightsSpelled,
    /// A record is written with the right to write.
    MayWrite,
    /// Access is requested with the right to read.
    MayRead,
    /// The class that has to be covered.
    WhichClass(Covered),
    /// A bit of the class.
    ClassBit(Covered, u32),
    /// The class is its bits.
    ClassSpelled(Covered),
    /// Whether the class is in scope is a bit.
    ScopeBit(Covered),
    /// The scope below the class.
    ScopeBelow(Covered),
    /// The scope below the class is below its bit.
    ScopeBelowBit(Covered),
    /// The scope above the class.
    ScopeAbove(Covered),
    /// The scope is these three.
    ScopeSpelled(Covered),
    /// The class is in scope.
    InScope(Covered),

    // The target before.
    /// Whether a slot is empty.
    SlotIsEmpty(Leaf),
    /// An empty slot holds nothing.
    EmptyHolds(Leaf, Content),
    /// The leaf is a grant or a record, as the kind says.
    LeafOfKind,
    /// A counter is the one expected.
    Expected(Counter),
    /// A record that is written is not deleted.
    NotDeleted,
    /// A record that is deleted is live.
    StillLive,
    /// The directory signed as the one before is in force.
    DirectoryInForce,
    /// The slot signed is the target's position.
    TargetSlot,
    /// The slot of a grant is in the grants tree.
    SlotBeyondTree,
    /// The path's turns are bits.
    TargetTurns(Moment),
    /// The target is under its root.
    TargetRoot(Tree),

    // The target after.
    /// What is written is what is signed.
    Signed(Content),
    /// A kind without directories signs none.
    NoDirectory(Moment),
    /// A kind without purpose signs none.
    NoPurpose,
    /// A record's revision is one more.
    NextRevision,
    /// A record's version is one more, or stays.
    NextVersion,
    /// The record's status is the kind's.
    NextStatus,
    /// The signer is the author.
    AuthorIsSigner,
    /// The custodian stays.
    CustodianStays,
    /// A tombstone changes nothing but status and revision.
    TombstoneKeeps(Content),
    /// A grant's uses are carried over, or one more.
    NextUses,
    /// A grant's version is one more than the expected one.
    NextGrantVersion,
    /// A request changes nothing but the use count.
    RequestKeeps(Content),
    /// A revoked slot is cleared.
    RevokedIsCleared,
    /// Whether the new grant is nobody's.
    NewGranteeIsNobody,
    /// The new grant is somebody's.
    NewGranteeIsSomebody,
    /// The new grant has no rights above the ordinary ones.
    OrdinaryRights,
    /// The new grant is not in a slot of break-glass.
    OrdinarySlot,

    // What is left.
    /// The subtree's roots after.
    SubtreeRoots,
    /// The audit entry and the head after it.
    AuditEntry,
    /// Whether the directory signed as the one before is in force.
    DirectoryIsCurrent,
    /// The key directory after.
    DirectoryAfter,
    /// The medical leaf's path: its turns are bits.
    MedicalTurns(Moment),
    /// The medical leaf is under the medical root.
    MedicalRoot,
    /// The medical root after.
    MedicalRootAfter,
    /// The data of an unused L2 slot are 0.
    UnusedData,
}

impl Demand {
    /// The clause that it enforces.
    pub const fn clause(self) -> Clause {
        match self {
            Self::Account(Party::Signer) | Self::IdentityTurns(Party::Signer) | Self::IdentityRoot(Party::Signer) => {
                Clause::SignerKnown
            }
            Self::KindFlag(_)
            | Self::OneKind
            | Self::HeaderKind
            | Self::SignerActive
            | Self::OwnOperation
            | Self::SignedByPatient
            | Self::SignedByDoctor
            | Self::SignedByAuthor => Clause::SignerAllowed,
            Self::MessageHash
            | Self::ChallengeHash
            | Self::NegatedKey
            | Self::Ladder
            | Self::SignaturePoint(_)
            | Self::Canonical(..)
            | Self::CanonicalTight(_) => Clause::SignatureValid,
            Self::AccountEpoch(_) | Self::NotExpired | Self::NotTooLong => Clause::MessageCurrent,
            Self::Account(Party::Patient)
            | Self::IdentityTurns(Party::Patient)
            | Self::IdentityRoot(Party::Patient)
            | Self::PatientRole
            | Self::PatientActive
            | Self::MedicalTurns(Moment::Before)
            | Self::MedicalRoot => Clause::PatientInOrder,
            Self::AuthorityTurns | Self::AuthorityRoot => Clause::GrantKnown,
            Self::WhichGrant
            | Self::GranteeIsNobody
            | Self::GranteeIsSomebody
            | Self::GranteeIsSigner
            | Self::GrantNotExpired
            | Self::Right(_)
            | Self::RightsRest
            | Self::RightsSpelled
            | Self::MayWrite
            | Self::MayRead
            | Self::WhichClass(_)
            | Self::ClassBit(..)
            | Self::ClassSpelled(_)
            | Self::ScopeBit(_)
            | Self::ScopeBelow(_)
            | Self::ScopeBelowBit(_)
            | Self::ScopeAbove(_)
            | Self::ScopeSpelled(_)
            | Self::InScope(_) => Clause::GrantAllows,
            Self::LeafOfKind
            | Self::Expected(_)
            | Self::NotDeleted
            | Self::StillLive
            | Self::DirectoryInForce
            | Self::TargetSlot
            | Self::TargetTurns(Moment::Before)
            | Self::TargetRoot(_) => Clause::TargetExpected,
            Self::HeaderTree
            | Self::Signed(_)
            | Self::NoDirectory(_)
            | Self::NoPurpose
            | Self::NextRevision
            | Self::NextVersion
            | Self::NextStatus
            | Self::AuthorIsSigner
            | Self::CustodianStays
            | Self::TombstoneKeeps(_)
            | Self::NextUses
            | Self::NextGrantVersion
            | Self::RequestKeeps(_)
            | Self::RevokedIsCleared
            | Self::NewGranteeIsNobody
            | Self::NewGranteeIsSomebody
            | Self::OrdinaryRights
            | Self::OrdinarySlot => Clause::NewLeafAllowed,
            Self::TargetTurns(Moment::After) | Self::SubtreeRoots => Clause::SubtreeRoot,
            Self::AuditEntry => Clause::AuditHead,
            Self::DirectoryIsCurrent | Self::DirectoryAfter | Self::MedicalTurns(Moment::After) => Clause::MedicalLeaf,
            Self::PublicInput(PublicInput::Pre | PublicInput::Post)
            | Self::RootBefore
            | Self::RootAfter
            | Self::MedicalRootAfter => Clause::RootsChain,
            Self::PublicInput(PublicInput::N1)
            | Self::L1InOrder(_)
            | Self::L1Count
            | Self::EntryKindFlag(_)
            | Self::EntryKind
            | Self::UnusedEntry(_)
            | Self::EntryAccount
            | Self::AccountIsFresh
            | Self::NoMedicalLeaf
            | Self::EntryIsPatient
            | Self::RegisteredLeaves
            | Self::EntryTurns(..)
            | Self::EntryRoot(_) => Clause::L1AsQueued,
            Self::PublicInput(PublicInput::Commitment) | Self::DataCommitment => Clause::DataCommitment,
            Self::PublicInput(PublicInput::Time) | Self::TimeInRange => Clause::OneTime,
            Self::UnusedData => Clause::UnusedEmpty,
            Self::Constant
            | Self::PublicInput(
                PublicInput::Domain | PublicInput::N | PublicInput::Z | PublicInput::Y1 | PublicInput::Y2,
            )
            | Self::L2InOrder(_)
            | Self::L2Count
            | Self::D1Evaluation
            | Self::D2Evaluation => Clause::PublicInputs,
            Self::EntryField(_)
            | Self::HeaderField(_)
            | Self::PurposeReasonHigh
            | Self::PurposeReasonLow
            | Self::PurposeClass
            | Self::PurposeSpelled
            | Self::LeafField(..)
            | Self::LeafHash(_)
            | Self::SlotIsEmpty(_)
            | Self::EmptyHolds(..)
            | Self::SlotBeyondTree => Clause::InRange,
        }
    }
}
