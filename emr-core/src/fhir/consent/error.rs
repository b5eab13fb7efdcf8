//! Why a Consent is not a grant.

use crate::excerpt::excerpt;
use crate::fhir::{FhirError, Problem, SHOWN};

/// How many refusals a message names.
const NAMED: usize = 5;

/// An element that keeps a Consent from being a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The element: `Consent.provision.purpose[0]`.
    pub path: String,
    /// Why, and what to do.
    pub reason: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", excerpt(&self.path, SHOWN), excerpt(&self.reason, SHOWN))
    }
}

/// Why a document is not a Consent that can be granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConsentError {
    /// The document is not a FHIR resource.
    #[error(transparent)]
    Fhir(#[from] FhirError),
    /// The resource is of another type.
    #[error("this is a {0}, not a Consent: choose the file of a Consent")]
    OtherType(String),
    /// The resource violates R4's definitions.
    #[error("the Consent does not conform to FHIR R4 ({0}): export it again")]
    NotR4(Problem),
    /// The Consent says something that a grant cannot say. All elements are listed, in the order of their paths.
    #[error("a grant cannot say what this Consent says: {}", listed(.0))]
    Refused(Vec<Refusal>),
}

fn listed(refusals: &[Refusal]) -> String {
    let mut named: Vec<_> = refusals.iter().take(NAMED).map(Refusal::to_string).collect();
    if refusals.len() > NAMED {
        named.push(format!("and {} more", refusals.len() - NAMED));
    }
    named.join("; ")
}
