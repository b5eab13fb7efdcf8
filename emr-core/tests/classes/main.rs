//! The classes that are proposed for FHIR documents, with codes of LOINC, SNOMED CT, ICD-10, RxNorm, ATC and HL7 as they are used.

mod codes;
mod leaks;
mod links;
mod parts;
mod record;

use emr_core::Class;
use emr_core::fhir::{Classified, classify};

pub(crate) type Anything = Box<dyn std::error::Error>;

/// A synthetic patient with screenings, a depression, pregnancies and contraceptives.
pub(crate) const SENSITIVE: &[u8] = include_bytes!("../../fixtures/synthea-sensitive-bundle.json");
/// A synthetic patient with an attention deficit disorder.
pub(crate) const ATTENTION: &[u8] = include_bytes!("../../fixtures/synthea-bundle.json");

pub(crate) const LOINC: &str = "http://loinc.org";
pub(crate) const SNOMED: &str = "http://snomed.info/sct";
pub(crate) const ICD: &str = "http://hl7.org/fhir/sid/icd-10-cm";
pub(crate) const RXNORM: &str = "http://www.nlm.nih.gov/research/umls/rxnorm";
pub(crate) const ATC: &str = "http://www.whocc.no/atc";
pub(crate) const ACT: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";

pub(crate) fn one(document: &str) -> Result<Classified, Anything> {
    let mut classification = classify(document.as_bytes())?;
    assert_eq!(classification.resources.len(), 1);
    let classified = classification.resources.remove(0);
    assert!(!classified.because.is_empty(), "{document}");
    Ok(classified)
}

pub(crate) fn bundle(resources: &[&str]) -> String {
    let entries: Vec<_> = resources.iter().map(|resource| format!("{{\"resource\":{resource}}}")).collect();
    format!("{{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"entry\":[{}]}}", entries.join(","))
}

pub(crate) fn classes(document: &str) -> Result<Vec<Class>, Anything> {
    Ok(classify(document.as_bytes())?.resources.iter().map(|resource| resource.class).collect())
}

/// A resource whose `code` has one coding without a display.
pub(crate) fn coded(resource_type: &str, system: &str, code: &str) -> String {
    format!(
        "{{\"resourceType\":\"{resource_type}\",\"code\":{{\"coding\":[{{\"system\":\"{system}\",\"code\":\"{code}\"}}]}}}}"
    )
}
