//! Which codes of a Consent mean which part of a grant.

use crate::class::Class;
use crate::fhir::coding::{ACT_CODE, CLASS, PARTICIPATION, RESOURCE_TYPES};
use crate::standing::Rights;

pub(super) const SCOPE: (&str, &str) = ("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy");
/// The codes of `category` that do not change what a Consent says. The first is written.
pub(super) const CATEGORIES: [(&str, &str); 4] =
    [("http://loinc.org", "59284-0"), ("http://loinc.org", "64292-6"), (ACT_CODE, "INFA"), (ACT_CODE, "IDSCL")];
/// The rules under which a provision permits. The first is written: what no provision permits is denied. Opting in permits at least that.
pub(super) const POLICY_RULES: [(&str, &str); 3] =
    [("urn:emr:policy", "deny-unless-granted"), (ACT_CODE, "OPTIN"), (ACT_CODE, "OPTINR")];
/// The roles of a reader. The first is written.
pub(super) const ROLES: [(&str, &str); 2] = [(PARTICIPATION, "IRCP"), (PARTICIPATION, "PRCP")];

const ACTION: &str = "http://terminology.hl7.org/CodeSystem/consentaction";
/// How rights are written.
pub(super) const WRITTEN_ACTIONS: [(Rights, (&str, &str)); 2] =
    [(Rights::READ, (ACTION, "access")), (Rights::WRITE, (ACTION, "correct"))];

/// The right that an action needs. Disclosing to others is none: no grant to one reader allows it.
pub(super) fn action(system: &str, code: &str) -> Option<Rights> {
    match (system, code) {
        (ACTION, "access" | "collect" | "use") | ("urn:emr:action", "read") => Some(Rights::READ),
        (ACTION, "correct") | ("urn:emr:action", "write") => Some(Rights::WRITE),
        _ => None,
    }
}

/// The class of this code, and whether it is more than the code says: a class can hold resources of other types.
pub(super) fn class(system: &str, code: &str) -> Option<(Class, bool)> {
    match system {
        CLASS => code.parse().ok().map(|class| (class, false)),
        RESOURCE_TYPES => of_type(code).map(|class| (class, true)),
        _ => None,
    }
}

/// The class that holds the resources of a type. `None` if they are in several classes, as those of Observation and DiagnosticReport.
fn of_type(resource_type: &str) -> Option<Class> {
    Some(match resource_type {
        "AllergyIntolerance" => Class::Allergy,
        "Condition" => Class::Condition,
        "Encounter" => Class::Encounter,
        "ImagingStudy" => Class::Imaging,
        "Immunization" => Class::Immunization,
        "Medication"
        | "MedicationAdministration"
        | "MedicationDispense"
        | "MedicationRequest"
        | "MedicationStatement" => Class::Medication,
        "Procedure" => Class::Procedure,
        "DocumentReference" => Class::Document,
        "Appointment" | "Claim" | "Coverage" | "ExplanationOfBenefit" => Class::Administrative,
        _ => return None,
    })
}

/// Elements that are left out because they do not change what a Consent permits, with the reason.
pub(super) const HARMLESS: [(&str, &str); 9] = [
    ("Consent.resourceType", "checked before"),
    ("Consent.id", "a server's name for the resource"),
    ("Consent.meta.versionId", "a server's name for the version"),
    ("Consent.meta.lastUpdated", "when a server stored it"),
    (
        "Consent.meta.profile",
        "a profile only restricts what a Consent can say, and everything that it says is read here",
    ),
    ("Consent.language", "the language of texts for people"),
    ("Consent.text", "the same for people; the elements count"),
    ("Consent.dateTime", "when it was made"),
    ("Consent.identifier", "names in other systems"),
];

/// Why other elements are refused.
pub(super) const REFUSED: [(&str, &str); 19] = [
    ("Consent.contained", "resources inside a Consent are not read: give it without them"),
    (
        "Consent.extension",
        "this program does not know the extension: give the Consent without it, if it still says what you want",
    ),
    ("Consent.implicitRules", "rules outside the resource are not known here"),
    ("Consent.meta", "labels and sources of the Consent are not kept in a grant"),
    ("Consent.modifierExtension", "it changes the meaning of the Consent, and this program does not know it"),
    ("Consent.organization", "a grant has no custodian: name only the reader, in provision.actor"),
    ("Consent.policy", "other policies are not known here"),
    ("Consent.provision.actor", "a grant has one reader, named by a urn:emr:account identifier and no other reference"),
    ("Consent.provision.code", "a grant covers classes, not single codes: use codes of urn:emr:class"),
    ("Consent.provision.data", "a grant covers classes, not single resources"),
    (
        "Consent.provision.dataPeriod",
        "a grant has no period of data; `--from-now` without --consent gives only later records",
    ),
    ("Consent.provision.extension", "this program does not know the extension"),
    (
        "Consent.provision.modifierExtension",
        "it changes the meaning of the provision, and this program does not know it",
    ),
    ("Consent.provision.provision", "a grant has no exceptions: make one Consent for each permission"),
    (
        "Consent.provision.purpose",
        "a grant holds for every purpose; readers state one with each request, which nobody enforces",
    ),
    ("Consent.provision.securityLabel", "a grant covers classes, not security labels"),
    (
        "Consent.sourceAttachment",
        "the document behind the Consent is not kept: upload it as a record, and remove the element",
    ),
    (
        "Consent.sourceReference",
        "the document behind the Consent is not kept: upload it as a record, and remove the element",
    ),
    ("Consent.verification", "a grant is signed by you and does not wait for a verification"),
];
