//! The purpose of a constraint, and the clause that it enforces. Each assertion of an L1 or L2 slot has its own demand
//! (a wide range check has several assertions with one demand), so tests and diagnoses name an assertion by its demand.

mod subject;

pub use subject::{Axis, Content, Covered, EntryTree, Field, Half, Leaf, Moment, Party, PublicInput, RightBit, Scalar};

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
    /// The value is this public input.
    PublicInput(PublicInput),
    /// The batch's time is in range.
    TimeInRange,
    /// The state root before the batch is the hash of its two roots.
    RootBefore,
    /// The state root after the batch is the hash of its two roots.
    RootAfter,
    /// The L1 slot after this one is used only if this one is.
    L1InOrder(u32),
    /// The number of used L1 slots.
    L1Count,
    /// The L2 slot after this one is used only if this one is.
    L2InOrder(u32),
    /// The number of used L2 slots.
    L2Count,
    /// The commitment is the hash of the data.
    DataCommitment,
    /// The evaluation of D1.
    D1Evaluation,
    /// The evaluation of D2.
    D2Evaluation,

    // An L1 slot.
    /// The L1 slot's flag of this kind is a bit.
    EntryKindFlag(Kind),
    /// At most one flag of the L1 slot is set.
    EntryOneKind,
    /// The entry's kind is the one whose flag is set.
    EntryKind,
    /// A field of the entry is in range.
    EntryField(Field),
    /// The words of an unused L1 slot are 0.
    UnusedEntry(u32),
    /// The entry's account is the position of the leaf.
    EntryAccount,
    /// The entry's slot is the position of the grant.
    EntrySlot,
    /// Whether the account was a patient's before.
    AccountIsPatient,
    /// Whether the entry takes effect, but for the last epoch.
    TakesEffect,
    /// Whether the account is in its last epoch.
    LastEpoch,
    /// Whether a new account is a patient's.
    EntryIsPatient,
    /// The identity leaf after.
    EntryIdentity,
    /// The medical leaf after.
    EntryMedical,
    /// The audit entry of a forced revocation, and the head after it.
    EntryAudit,
    /// The path's turns are bits.
    EntryTurns(EntryTree, Moment),
    /// The leaf before is under the root before, and the root after follows.
    EntryRoot(EntryTree),

    // The message of an L2 slot.
    /// The flag of this kind is a bit.
    KindFlag(Kind),
    /// At most one kind's flag is set.
    OneKind,
    /// The header's kind is the one whose flag is set.
    HeaderKind,
    /// The header's tree is the one of the kind.
    HeaderTree,
    /// A field of the header is in range.
    HeaderField(Field),
    /// The upper bit of the reason.
    PurposeReasonHigh,
    /// The lower bits of the reason.
    PurposeReasonLow,
    /// The requested class.
    PurposeClass,
    /// The purpose consists of reason and class.
    PurposeSpelled,
    /// The hash of the message.
    MessageHash,
    /// The hash that gives the challenge.
    ChallengeHash,
    /// The negated key of the signer. In an unused L2 slot, the neutral element.
    NegatedKey,
    /// `S·B - challenge·A`.
    Ladder,
    /// The ladder's result is R.
    SignaturePoint(Axis),
    /// This half of a scalar is at most that half of its bound.
    Canonical(Scalar, Half),
    /// Whether the upper half of a scalar equals that of its bound.
    CanonicalTight(Scalar),
    /// The signed epoch is the one in the leaf.
    AccountEpoch(Party),
    /// The operation has not expired.
    NotExpired,
    /// The operation is not valid for too long.
    NotTooLong,

    // The signer and the patient.
    /// A field of a leaf is in range.
    LeafField(Leaf, Field),
    /// The leaf's hash.
    LeafHash(Leaf),
    /// The signed account is the position of the leaf.
    Account(Party),
    /// The path's turns are bits.
    IdentityTurns(Party),
    /// The identity is under the identity root.
    IdentityRoot(Party),
    /// The signer's account is active.
    SignerActive,
    /// The patient's account has the role of a patient.
    PatientRole,
    /// The patient's account is active.
    PatientActive,
    /// Whether the patient signs.
    OwnOperation,
    /// Only the patient signs this kind.
    SignedByPatient,
    /// The patient or a doctor signs this kind.
    SignedByDoctor,
    /// The patient or the author signs this kind.
    SignedByAuthor,
    /// Only a doctor signs this kind.
    EmergencyByDoctor,
    /// The patient or a delegate signs this kind.
    SignedByDelegate,

    // The grant.
    /// The path's turns are bits.
    AuthorityTurns,
    /// The grant is under the grants root.
    AuthorityRoot,
    /// Which grant allows the operation.
    WhichGrant,
    /// Whether the grantee is 0.
    GranteeIsNobody,
    /// The grantee is not 0.
    GranteeIsSomebody,
    /// The grantee is the signer or their hospital.
    GranteeIsSigner,
    /// The grant has not expired.
    GrantNotExpired,
    /// A right is a bit.
    Right(RightBit),
    /// The bits of the rights mask that are not assigned.
    RightsRest,
    /// The rights mask consists of these bits.
    RightsSpelled,
    /// A record is written with the right to write.
    MayWrite,
    /// Access is requested with the right to read.
    MayRead,
    /// A delegate has the right to manage grants.
    MayManage,
    /// The class that has to be covered.
    WhichClass(Covered),
    /// A bit of the class.
    ClassBit(Covered, u32),
    /// The class consists of these bits.
    ClassSpelled(Covered),
    /// The scope's bit for the class is a bit.
    ScopeBit(Covered),
    /// The scope's bits below that bit are in range.
    ScopeBelow(Covered),
    /// The scope's bits below that bit are less than its weight.
    ScopeBelowBit(Covered),
    /// The scope's bits above that bit are in range.
    ScopeAbove(Covered),
    /// The scope consists of these three parts.
    ScopeSpelled(Covered),
    /// The class is in the scope.
    InScope(Covered),

    // A delegate, and the grant before and after.
    /// A delegate's grant is to themselves, not to their hospital.
    DelegateIsGrantee,
    /// A delegate neither gives nor takes rights above WRITE.
    ManagedRights(Moment),
    /// A delegate's grants end with their own.
    ManagedUntil,
    /// Whether the delegate's grant has the class is a bit.
    DelegateClass(u32),
    /// The delegate's scope consists of these bits.
    DelegateClasses,
    /// A class that the delegate's grant does not have is not managed.
    ManagedClass(Moment, u32),
    /// All classes of the grant are managed ones.
    ManagedClasses(Moment),
    /// Whether the new grant is to the signer or their hospital.
    GrantsToSelf,
    /// A delegate does not grant to themselves or their hospital.
    NotToSelf,
    /// A delegate revokes no emergency grant.
    ManagedSlot,
    /// A delegate revokes the version that the slot holds.
    ManagedVersion,
    /// A delegate keeps the key directory.
    ManagedDirectory,

    // The target before.
    /// Whether a slot is empty.
    SlotIsEmpty(Leaf),
    /// In an empty slot, this part of the leaf is 0.
    EmptyHolds(Leaf, Content),
    /// The leaf is a grant or a record, as the kind says.
    LeafOfKind,
    /// The counter is the expected one.
    Expected(Counter),
    /// The record that is written was not deleted.
    NotDeleted,
    /// The record that is deleted, or stored again, was live.
    StillLive,
    /// Whether a grant has no rights.
    GrantIsVoid,
    /// An emergency grant takes a slot whose grant does not hold any more.
    GrantIsOver,
    /// The signed old directory is the one in the medical leaf.
    DirectoryInForce,
    /// The signed slot is the position of the target.
    TargetSlot,
    /// The slot of a grant is within the grants tree.
    SlotBeyondTree,
    /// The path's turns are bits.
    TargetTurns(Moment),
    /// The target is under the root of this tree.
    TargetRoot(Tree),

    // The target after.
    /// What is written was signed.
    Signed(Content),
    /// A kind without directories has zeros in their place.
    NoDirectory(Moment),
    /// A kind without a purpose has 0 in its place.
    NoPurpose,
    /// The record's revision grows by one.
    NextRevision,
    /// The record's version grows by one, or stays.
    NextVersion,
    /// The record's new status is the one that the kind writes.
    NextStatus,
    /// The new author is the signer.
    AuthorIsSigner,
    /// An existing record keeps its custodian.
    CustodianStays,
    /// A record that is deleted, or stored again, keeps its author's statement.
    StatementStays,
    /// A Tombstone changes only status and revision.
    TombstoneKeeps(Content),
    /// A Rekey changes only storage, custodian and revision.
    RekeyKeeps,
    /// The grant's uses stay, or grow by one.
    NextUses,
    /// The grant's new version is one more than the expected one.
    NextGrantVersion,
    /// A RequestAccess changes only the uses.
    RequestKeeps(Content),
    /// A Revoke clears the grant.
    RevokedIsCleared,
    /// Whether the new grantee is 0.
    NewGranteeIsNobody,
    /// The new grantee is not 0.
    NewGranteeIsSomebody,
    /// The new grant has no rights above MANAGE.
    OrdinaryRights,
    /// The new grant is not in a slot reserved for BreakGlass.
    OrdinarySlot,
    /// An emergency grant is in a slot of break-glass.
    EmergencySlot,
    /// An emergency grant is the signer's.
    EmergencyGrantee,
    /// An emergency grant has the emergency right alone.
    EmergencyRight,
    /// An emergency grant is not over at once.
    EmergencyHolds,
    /// An emergency grant holds for a day at most.
    EmergencyEnds,
    /// An emergency grant covers exactly the class that its purpose names.
    EmergencyClass,
    /// An emergency grant has a reason.
    EmergencyReason,

    // The state after the operation.
    /// The roots of the patient's two trees after.
    SubtreeRoots,
    /// The audit entry and the head after it.
    AuditEntry,
    /// Whether the signed old directory is the one in the medical leaf.
    DirectoryIsCurrent,
    /// The key directory after.
    DirectoryAfter,
    /// The turns of the medical leaf's path are bits.
    MedicalTurns(Moment),
    /// The medical leaf is under the medical root.
    MedicalRoot,
    /// The medical root after.
    MedicalRootAfter,
    /// The data of an unused L2 slot are 0.
    UnusedData,
}

impl Demand {
    /// The clause that the demand belongs to.
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
            | Self::SignedByAuthor
            | Self::EmergencyByDoctor
            | Self::SignedByDelegate => Clause::SignerAllowed,
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
            | Self::MayManage
            | Self::DelegateIsGrantee
            | Self::ManagedRights(_)
            | Self::ManagedUntil
            | Self::DelegateClass(_)
            | Self::DelegateClasses
            | Self::ManagedClass(..)
            | Self::ManagedClasses(_)
            | Self::GrantsToSelf
            | Self::NotToSelf
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
            | Self::GrantIsVoid
            | Self::GrantIsOver
            | Self::DirectoryInForce
            | Self::ManagedVersion
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
            | Self::StatementStays
            | Self::TombstoneKeeps(_)
            | Self::RekeyKeeps
            | Self::NextUses
            | Self::NextGrantVersion
            | Self::RequestKeeps(_)
            | Self::RevokedIsCleared
            | Self::NewGranteeIsNobody
            | Self::NewGranteeIsSomebody
            | Self::OrdinaryRights
            | Self::OrdinarySlot
            | Self::ManagedSlot
            | Self::ManagedDirectory
            | Self::EmergencySlot
            | Self::EmergencyGrantee
            | Self::EmergencyRight
            | Self::EmergencyHolds
            | Self::EmergencyEnds
            | Self::EmergencyClass
            | Self::EmergencyReason => Clause::NewLeafAllowed,
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
            | Self::EntryOneKind
            | Self::EntryKind
            | Self::UnusedEntry(_)
            | Self::EntryAccount
            | Self::EntrySlot
            | Self::AccountIsPatient
            | Self::TakesEffect
            | Self::LastEpoch
            | Self::EntryIsPatient
            | Self::EntryIdentity
            | Self::EntryMedical
            | Self::EntryAudit
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
