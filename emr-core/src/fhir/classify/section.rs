//! Sections of documents, above all of the International Patient Summary.

use crate::class::Class;

/// LOINC's document type of the International Patient Summary.
pub(super) const PATIENT_SUMMARY: &str = "60591-5";

/// The class of what a section lists, by the section's LOINC code.
pub(super) fn class_of(code: &str) -> Option<Class> {
    Some(match code {
        "48765-2" => Class::Allergy,
        "10160-0" => Class::Medication,
        "11450-4" | "11348-0" | "47420-5" | "18776-5" | "104605-1" => Class::Condition,
        "11369-6" => Class::Immunization,
        "47519-4" | "46264-8" => Class::Procedure,
        "30954-2" => Class::Laboratory,
        "8716-3" => Class::VitalSigns,
        "29762-2" => Class::Condition,
        "42348-3" | "81338-6" => Class::Document,
        "46240-8" => Class::Encounter,
        "48768-6" => Class::Administrative,
        // Sensitive sections.
        "10162-6" => Class::ReproductiveHealth,
        "10190-7" => Class::MentalHealth,
        "10157-6" => Class::Genetics,
        _ => return None,
    })
}
