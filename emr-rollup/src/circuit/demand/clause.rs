//! Which clause each demand enforces.

use super::{Demand, Instance, Moment, Party};
use crate::statement::Clause;

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
            Self::Epoch(_) | Self::NotExpired | Self::NotTooLong => Clause::MessageCurrent,
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
            Self::PublicInput(Instance::Pre | Instance::Post)
            | Self::RootBefore
            | Self::RootAfter
            | Self::MedicalRootAfter => Clause::RootsChain,
            Self::PublicInput(Instance::N1)
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
            Self::PublicInput(Instance::Commitment) | Self::DataCommitment => Clause::DataCommitment,
            Self::PublicInput(Instance::Time) | Self::TimeInRange => Clause::OneTime,
            Self::PaddingData => Clause::PaddingEmpty,
            Self::Constant
            | Self::PublicInput(Instance::Domain | Instance::N | Instance::Z | Instance::Y1 | Instance::Y2)
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
