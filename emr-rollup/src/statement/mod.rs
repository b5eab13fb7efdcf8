//! The statement that a proof proves, in plain Rust: pure functions from a witness to the state's next roots.
//!
//! A witness holds raw field elements, so it can be wrong in every way in which a prover could lie. The circuit takes
//! the same structure. Each refusal names the clause that is broken (`docs/circuit.md`, "Clauses").

mod batch;
mod entry;
mod fields;
mod manage;
mod message;
mod operation;
mod witness;

pub use batch::{BatchWitness, check_batch};
pub(crate) use entry::empty_medical;
pub use entry::{EntryEffect, check_entry};
pub use fields::{EntryFields, GrantFields, Header, IdentityFields, MedicalFields, RecordFields};
pub(crate) use manage::MANAGED;
pub use message::{Message, SignatureFields};
pub use operation::{Context, OperationEffect, check_operation};
pub(crate) use operation::{LeafChange, is_code, number};
pub use witness::{EntryWitness, OperationWitness};

/// The clauses of the statement, in the order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Clause {
    /// The signer's identity is in the state.
    SignerKnown,
    /// The signer may do this.
    SignerAllowed,
    /// The signature is valid.
    SignatureValid,
    /// The message is current.
    MessageCurrent,
    /// The patient's account is in order.
    PatientInOrder,
    /// The grant is in the state.
    GrantKnown,
    /// The grant allows this.
    GrantAllows,
    /// The target is what the message expects.
    TargetExpected,
    /// The new leaf is what the rule allows.
    NewLeafAllowed,
    /// The subtree root follows.
    SubtreeRoot,
    /// The audit head follows.
    AuditHead,
    /// The medical leaf follows.
    MedicalLeaf,
    /// The roots chain.
    RootsChain,
    /// The L1 operations are as queued.
    L1AsQueued,
    /// The data commitment is over these operations.
    DataCommitment,
    /// The batch has one time.
    OneTime,
    /// Unused L1 and L2 slots are empty.
    UnusedEmpty,
    /// The public inputs match.
    PublicInputs,
    /// Every field is in range.
    InRange,
}

impl Clause {
    /// The clause's number in `docs/circuit.md`, from 1.
    pub const fn number(self) -> u8 {
        self as u8 + 1
    }
}

/// Writes a clause like `C4: the message is not current`.
impl std::fmt::Display for Clause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match self {
            Self::SignerKnown => "the signer's identity is not in the state",
            Self::SignerAllowed => "the signer may not do this",
            Self::SignatureValid => "the signature is not valid",
            Self::MessageCurrent => "the message is not current",
            Self::PatientInOrder => "the patient's account is not in order",
            Self::GrantKnown => "the grant is not in the state",
            Self::GrantAllows => "the grant does not allow this",
            Self::TargetExpected => "the target is not what the message expects",
            Self::NewLeafAllowed => "the new leaf is not what the rule allows",
            Self::SubtreeRoot => "the subtree root does not follow",
            Self::AuditHead => "the audit head does not follow",
            Self::MedicalLeaf => "the medical leaf does not follow",
            Self::RootsChain => "the roots do not chain",
            Self::L1AsQueued => "the L1 operations are not as queued",
            Self::DataCommitment => "the data commitment is not over these operations",
            Self::OneTime => "the operations of the batch have different times",
            Self::UnusedEmpty => "an unused slot is not empty",
            Self::PublicInputs => "the public inputs do not match",
            Self::InRange => "a field is out of range",
        };
        write!(f, "C{}: {text}", self.number())
    }
}

/// A witness does not satisfy the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{clause} ({detail})")]
pub struct Violation {
    /// The clause.
    pub clause: Clause,
    /// The part of the clause that is broken.
    pub detail: &'static str,
}

/// `Ok` if `holds`, else a [`Violation`].
pub(crate) fn require(holds: bool, clause: Clause, detail: &'static str) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { clause, detail }) }
}
