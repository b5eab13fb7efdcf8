//! The statement that a proof proves, in plain Rust: pure functions from a witness to the state's next roots.
//!
//! A witness holds raw field elements, so that it can be wrong in every way in which a prover could lie; the circuit takes
//! the same structure. Each refusal names the clause it breaks (`docs/circuit.md`, "Clauses").

mod batch;
mod operation;
mod register;
mod witness;

pub use batch::{BatchWitness, check_batch};
pub use operation::{Context, OperationEffect, check_operation};
pub(crate) use operation::{LeafChange, is_code, number};
pub use register::{RegistrationEffect, check_registration};
pub use witness::{
    EntryFields, GrantFields, Header, IdentityFields, MedicalFields, Message, OperationWitness, RecordFields,
    RegistrationWitness, SignatureFields,
};

/// The clauses of the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Clause {
    /// The signer's identity is in the state.
    C1,
    /// The signer may do this.
    C2,
    /// The signature is valid.
    C3,
    /// The message is current.
    C4,
    /// The patient's account is in order.
    C5,
    /// The grant is in the state.
    C6,
    /// The grant allows this.
    C7,
    /// The target is what the message expects.
    C8,
    /// The new leaf is what the rule allows.
    C9,
    /// The subtree root follows.
    C10,
    /// The audit head follows.
    C11,
    /// The medical leaf follows.
    C12,
    /// The roots chain.
    C13,
    /// The L1 operations are as queued.
    C14,
    /// The data commitment is over these operations.
    C15,
    /// The batch has one time.
    C16,
    /// Padding is empty.
    C17,
    /// The public inputs match.
    C18,
    /// Every field is in range.
    C19,
}

impl std::fmt::Display for Clause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match self {
            Self::C1 => "C1: the signer's identity is not in the state",
            Self::C2 => "C2: the signer may not do this",
            Self::C3 => "C3: the signature is not valid",
            Self::C4 => "C4: the message is not current",
            Self::C5 => "C5: the patient's account is not in order",
            Self::C6 => "C6: the grant is not in the state",
            Self::C7 => "C7: the grant does not allow this",
            Self::C8 => "C8: the target is not what the message expects",
            Self::C9 => "C9: the new leaf is not what the rule allows",
            Self::C10 => "C10: the subtree root does not follow",
            Self::C11 => "C11: the audit head does not follow",
            Self::C12 => "C12: the medical leaf does not follow",
            Self::C13 => "C13: the roots do not chain",
            Self::C14 => "C14: the L1 operations are not as queued",
            Self::C15 => "C15: the data commitment is not over these operations",
            Self::C16 => "C16: the batch has not one time",
            Self::C17 => "C17: padding is not empty",
            Self::C18 => "C18: the public inputs do not match",
            Self::C19 => "C19: a field is out of range",
        };
        f.write_str(text)
    }
}

/// A witness does not satisfy the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{clause} ({detail})")]
pub struct Violation {
    /// The clause.
    pub clause: Clause,
    /// What of it.
    pub detail: &'static str,
}

/// `Ok` if `holds`, else a [`Violation`].
pub(crate) fn require(holds: bool, clause: Clause, detail: &'static str) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { clause, detail }) }
}
