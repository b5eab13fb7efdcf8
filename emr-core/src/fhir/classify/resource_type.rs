//! The class of a resource that names nothing sensitive: by its type, its category and its code.

use crate::class::Class;
use crate::fhir::element::Element;

use super::loinc;

/// What decided: the element below the resource (empty for its type), and what it says.
pub(super) struct Ordinary {
    pub(super) class: Class,
    pub(super) element: &'static str,
    pub(super) what: String,
}

/// The class of a resource by its type alone. A type that is not listed is a [`Class::Document`].
pub(super) fn by_type(resource_type: &str) -> Class {
    match resource_type {
        "Patient" => Class::Summary,
        "Encounter" | "EpisodeOfCare" => Class::Encounter,
        "Specimen" | "DiagnosticReport" | "SubstanceSpecification" | "Substance" => Class::Laboratory,
        "ImagingStudy" | "Media" => Class::Imaging,
        "Medication"
        | "MedicationRequest"
        | "MedicationStatement"
        | "MedicationAdministration"
        | "MedicationDispense"
        | "MedicationKnowledge" => Class::Medication,
        "AllergyIntolerance" => Class::Allergy,
        "Immunization" | "ImmunizationEvaluation" | "ImmunizationRecommendation" => Class::Immunization,
        "Procedure"
        | "ServiceRequest"
        | "Device"
        | "DeviceRequest"
        | "DeviceUseStatement"
        | "DeviceMetric"
        | "DeviceDefinition"
        | "SupplyRequest"
        | "SupplyDelivery"
        | "NutritionOrder"
        | "VisionPrescription"
        | "BiologicallyDerivedProduct"
        | "RequestGroup" => Class::Procedure,
        "Condition" | "Observation" | "CarePlan" | "Goal" | "ClinicalImpression" | "DetectedIssue" | "AdverseEvent"
        | "RiskAssessment" | "Flag" | "BodyStructure" | "GuidanceResponse" => Class::Condition,
        // Family history is genetic information.
        "FamilyMemberHistory" | "MolecularSequence" => Class::Genetics,
        "Practitioner"
        | "PractitionerRole"
        | "Organization"
        | "OrganizationAffiliation"
        | "Location"
        | "HealthcareService"
        | "Endpoint"
        | "CareTeam"
        | "RelatedPerson"
        | "Person"
        | "Group"
        | "Appointment"
        | "AppointmentResponse"
        | "Schedule"
        | "Slot"
        | "Task"
        | "Account"
        | "Coverage"
        | "CoverageEligibilityRequest"
        | "CoverageEligibilityResponse"
        | "EnrollmentRequest"
        | "EnrollmentResponse"
        | "InsurancePlan"
        | "Claim"
        | "ClaimResponse"
        | "ExplanationOfBenefit"
        | "PaymentNotice"
        | "PaymentReconciliation"
        | "Invoice"
        | "ChargeItem"
        | "ChargeItemDefinition"
        | "Contract"
        | "Consent"
        | "Provenance"
        | "AuditEvent"
        | "ResearchStudy"
        | "ResearchSubject"
        | "VerificationResult" => Class::Administrative,
        _ => Class::Document,
    }
}

/// Whether resources of this type only accompany others: persons, places and organisations.
pub(super) fn accompanies(resource_type: &str) -> bool {
    matches!(
        resource_type,
        "Patient"
            | "Practitioner"
            | "PractitionerRole"
            | "Organization"
            | "OrganizationAffiliation"
            | "Location"
            | "HealthcareService"
            | "Endpoint"
            | "RelatedPerson"
            | "Person"
    )
}

/// Whether resources of this type say where, when or by whom something happened, and not what.
pub(super) fn is_place(resource_type: &str) -> bool {
    accompanies(resource_type) || matches!(resource_type, "Encounter" | "EpisodeOfCare" | "CareTeam" | "Appointment")
}

/// The class of a resource by type, category and code.
pub(super) fn ordinary(resource_type: &str, resource: &Element<'_>) -> Ordinary {
    let decided = |class, element, what: &str| Ordinary { class, element, what: what.to_owned() };
    let categories = || resource.get("category").into_iter().flat_map(Element::codings);
    let codes = || resource.get("code").into_iter().flat_map(Element::codings);
    let by_category = |table: fn(&str) -> Option<Class>| {
        categories().find_map(|(_, code)| Some(decided(table(code)?, "category", code)))
    };
    let found = match resource_type {
        "Observation" => by_category(observation_category).or_else(|| {
            let vital = codes().find(|(system, code)| loinc::SYSTEMS.contains(system) && loinc::is_vital_sign(code));
            vital.map(|(_, code)| decided(Class::VitalSigns, "code", code))
        }),
        "DiagnosticReport" => by_category(report_category),
        "ServiceRequest" => by_category(request_category),
        _ => None,
    };
    found.unwrap_or_else(|| decided(by_type(resource_type), "", resource_type))
}

/// Codes of FHIR's observation-category. `social-history`, `survey` and `exam` are findings about the patient.
fn observation_category(code: &str) -> Option<Class> {
    match code.to_ascii_lowercase().as_str() {
        "laboratory" => Some(Class::Laboratory),
        "vital-signs" | "activity" => Some(Class::VitalSigns),
        "imaging" => Some(Class::Imaging),
        "procedure" | "therapy" => Some(Class::Procedure),
        "social-history" | "survey" | "exam" => Some(Class::Condition),
        _ => None,
    }
}

/// Diagnostic services of HL7 v2 (table 0074), and LOINC's codes of the same.
fn report_category(code: &str) -> Option<Class> {
    match code {
        "GE" => Some(Class::Genetics),
        "RAD" | "RX" | "CT" | "CTH" | "NMR" | "NMS" | "US" | "RUS" | "VUS" | "OUS" | "CUS" | "XRC" | "LP29684-5"
        | "imaging" => Some(Class::Imaging),
        "LAB" | "CH" | "HM" | "MB" | "MCB" | "MYC" | "VR" | "BLB" | "IMM" | "SR" | "TX" | "URN" | "CP" | "SP"
        | "PAT" | "CY" | "LP29693-6" | "LP7839-6" | "laboratory" => Some(Class::Laboratory),
        "EC" | "EN" | "CG" | "PF" | "PHY" | "PT" | "OT" | "LP29708-2" => Some(Class::Procedure),
        // Notes: LOINC's documents, and US Core's category of them.
        "34117-2" | "51847-2" | "11488-4" | "18842-5" | "11506-3" | "28570-0" | "34109-9" | "LP173421-1"
        | "clinical-note" => Some(Class::Document),
        _ => None,
    }
}

/// SNOMED CT procedures that US Core names for ServiceRequest.category.
fn request_category(code: &str) -> Option<Class> {
    match code {
        "108252007" | "laboratory" => Some(Class::Laboratory),
        "363679005" | "imaging" => Some(Class::Imaging),
        _ => None,
    }
}
