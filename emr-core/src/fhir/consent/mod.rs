//! A FHIR R4 Consent as a grant, and a grant as a Consent.
//!
//! A grant says: one account may read, write, or both, records of these classes, until a time. [`read`] accepts a Consent only if it says exactly
//! that. Whatever else it says is refused by name ([`ConsentError::Refused`]): a condition that was dropped would give more than the patient
//! agreed to. `docs/fhir.md` has the tables.

mod codes;
mod elements;
mod error;
mod read;
mod write;

pub use error::{ConsentError, Refusal};
pub use read::{ConsentTerms, Context, read};
pub use write::{GrantConsent, NotExpressible, bundle};
