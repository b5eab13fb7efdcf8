//! A resource on a line of NDJSON, and the patient to whom it belongs.

use std::collections::{BTreeMap, BTreeSet};

use super::flatten;
use super::{FhirError, MAX_DEPTH};
use crate::excerpt::is_harmless;
use crate::key::Key;
use crate::record::Record;
use crate::value::Value;

/// How many levels a Bundle adds around a resource: the Bundle, its list of entries, the entry.
const BUNDLE_LEVELS: usize = 3;
/// The longest start that a Bundle gives to the keys of a resource: `Bundle.entry.524287.resource.`, and some room.
const BUNDLE_PREFIX: usize = 32;

/// Why a resource is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotTaken {
    /// The line is not a FHIR R4 resource.
    #[error(transparent)]
    Fhir(#[from] FhirError),
    /// The resource alone fits the limits, but not in a Bundle.
    #[error("the resource is nested so deep, or has so long paths, that no Bundle can hold it: export it again")]
    TooDeep,
    /// The record of this resource alone would be too large.
    #[error("the resource is too large for a record: keep documents and images outside it")]
    TooLarge,
    /// The resource holds other resources, whose patients are not checked.
    #[error("a {0} on a line is not taken: a line of Bulk Data is one resource of the patient")]
    Container(String),
    /// The resource reports an error of the export.
    #[error(
        "an OperationOutcome reports a problem of the export and is no record: read it, and export again if needed"
    )]
    Outcome,
    /// The resource is another patient, or is about another patient.
    #[error("{element} is {reference}, another patient")]
    OtherPatient {
        /// The element.
        element: String,
        /// What it says.
        reference: String,
    },
    /// An element that must say whose the resource is names something else.
    #[error("{element} is {reference}, which does not say that it is this patient's")]
    OtherSubject {
        /// The element.
        element: String,
        /// What it says.
        reference: String,
    },
    /// The resource does not say whose it is.
    #[error("the {0} does not say whose it is")]
    Nobody(String),
    /// A file that no resource of this patient refers to, in a folder with other patients' resources.
    #[error(
        "no resource that was taken refers to the {0}, and the folder holds resources that are not this patient's: give it a securityContext that \
         names the patient, or keep one patient's resources in a folder"
    )]
    Unlinked(String),
    /// A Provenance of a resource that was not taken, in a folder with other patients' resources.
    #[error(
        "{element} is {reference}, which was not taken, and the folder holds resources that are not this patient's: a Provenance is taken with all \
         that it is about"
    )]
    OtherTarget {
        /// The element.
        element: String,
        /// What it says.
        reference: String,
    },
    /// A resource of this type with this id was taken already.
    #[error("{0} occurs a second time: only the first one is taken")]
    Repeated(String),
}

/// The logical id of a Patient resource: 1 to 64 of `A-Z a-z 0-9 - .`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PatientId(String);

/// The text is not the id of a resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not the id of a FHIR resource: it has 1 to 64 of A-Z a-z 0-9 - .")]
pub struct NotAnId(String);

impl std::str::FromStr for PatientId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        if is_id(text) { Ok(Self(text.to_owned())) } else { Err(NotAnId(short(text))) }
    }
}

impl PatientId {
    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for PatientId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

pub(super) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
}

/// Top-level elements of R4 that name the patient to whom a resource belongs. If a resource has one, it must name the patient. In a contained
/// resource, they may also name another contained one.
const SUBJECTS: [&str; 6] = ["subject", "patient", "beneficiary", "for", "individual", "candidate"];
/// Elements that may name the patient beside others: they must not name another patient. With `*` for an array's index.
const PARTICIPANTS: [(&str, &str); 9] = [
    ("Appointment", "participant.*.actor"),
    ("AppointmentResponse", "actor"),
    ("AuditEvent", "agent.*.who"),
    ("AuditEvent", "entity.*.what"),
    ("Binary", "securityContext"),
    ("Group", "member.*.entity"),
    ("Person", "link.*.target"),
    ("Provenance", "target.*"),
    ("Schedule", "actor.*"),
];
/// Types that belong to no patient, or say so only in a participant: those that a Bulk Data export adds because the patient's resources refer
/// to them. Every other type must name the patient. [`super::companions`] says when a Binary and a Provenance are taken.
const SUPPORTING: [&str; 34] = [
    "ActivityDefinition",
    "Binary",
    "ChargeItemDefinition",
    "CodeSystem",
    "ConceptMap",
    "Device",
    "DeviceDefinition",
    "Endpoint",
    "EventDefinition",
    "HealthcareService",
    "InsurancePlan",
    "Library",
    "Location",
    "Measure",
    "Medication",
    "MedicationKnowledge",
    "NamingSystem",
    "ObservationDefinition",
    "Organization",
    "OrganizationAffiliation",
    "Patient",
    "PlanDefinition",
    "Practitioner",
    "PractitionerRole",
    "Provenance",
    "Questionnaire",
    "ResearchStudy",
    "Schedule",
    "SearchParameter",
    "Slot",
    "SpecimenDefinition",
    "StructureDefinition",
    "Substance",
    "ValueSet",
];

/// A resource on a line, read and within the limits of a Bundle's entry.
#[derive(Clone, Debug)]
pub struct LineResource<'a> {
    json: &'a str,
    record: Record,
    resource_type: String,
    id: Option<String>,
    containers: usize,
    encoded: usize,
}

impl<'a> LineResource<'a> {
    /// Reads the JSON of a line.
    ///
    /// # Errors
    /// [`NotTaken`] if it is not a resource of R4, or if no Bundle could hold it. Positions in [`FhirError`] count from the start of the line.
    pub fn read(line: &'a [u8]) -> Result<Self, NotTaken> {
        if line.starts_with(b"\xef\xbb\xbf") {
            // A byte order mark here would be in the middle of a Bundle.
            return Err(
                FhirError::NotJson { line: 1, column: 1, expected: "a resource without a byte order mark" }.into()
            );
        }
        let fields = flatten::fields(line)?;
        let json = std::str::from_utf8(line).map_err(|_| FhirError::NotFhir)?;
        let deepest = fields.keys().map(|key| key.segments().count()).max().unwrap_or_default();
        let longest = fields.keys().map(|key| key.to_string().len()).max().unwrap_or_default();
        // A folded value hides one level, so the number of segments bounds the number of levels.
        if deepest + BUNDLE_LEVELS > MAX_DEPTH || longest + BUNDLE_PREFIX > Key::MAX_BYTES {
            return Err(NotTaken::TooDeep);
        }
        let resource_type = fields.keys().next().and_then(|key| key.segments().next()).unwrap_or_default().to_owned();
        let id = Key::new(format!("{resource_type}.id")).ok().and_then(|key| fields.get(&key)).and_then(text_of);
        let (id, containers) = (id.map(str::to_owned), containers(&fields));
        let record = Record::from_fields(fields, None).map_err(FhirError::from)?;
        let encoded = record.to_dag_cbor().map_err(FhirError::from)?.len() + record.fields().len() * BUNDLE_PREFIX;
        Ok(Self { json, record, resource_type, id, containers, encoded })
    }

    /// The JSON as it was written.
    pub const fn json(&self) -> &'a str {
        self.json
    }

    /// The resource's type.
    pub fn resource_type(&self) -> &str {
        &self.resource_type
    }

    /// The resource's id, if it has one.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The fields of the resource, for a choice of its class.
    pub fn fields(&self) -> &BTreeMap<Key, Value> {
        self.record.fields()
    }

    /// `Type/id`, if the id is one that references can name.
    pub fn reference(&self) -> Option<String> {
        let id = self.id().filter(|id| is_id(id))?;
        Some(format!("{}/{id}", self.resource_type))
    }

    /// How many objects and arrays it has.
    pub(super) const fn containers(&self) -> usize {
        self.containers
    }

    /// At most how many bytes its fields take in the record of a Bundle.
    pub(super) const fn encoded(&self) -> usize {
        self.encoded
    }

    /// Checks that the resource is this Patient, is about this patient, or belongs to no patient.
    ///
    /// # Errors
    /// [`NotTaken`] with the element that says otherwise.
    pub fn check_patient(&self, patient: &PatientId) -> Result<(), NotTaken> {
        match self.resource_type.as_str() {
            "Bundle" | "Parameters" => return Err(NotTaken::Container(self.resource_type.clone())),
            "OperationOutcome" => return Err(NotTaken::Outcome),
            "Patient" if self.id.as_deref() != Some(patient.as_str()) => {
                let reference = self.id.clone().unwrap_or_else(|| "missing".to_owned());
                return Err(NotTaken::OtherPatient { element: "Patient.id".to_owned(), reference: short(&reference) });
            }
            _ => {}
        }
        let mut named = SUPPORTING.contains(&self.resource_type.as_str());
        let (mut subjects, mut referenced) = (BTreeSet::new(), BTreeSet::new());
        for (key, value) in self.record.fields() {
            let Some(Owner { element, must, is_reference, is_contained }) = self.owner(key) else { continue };
            subjects.extend(must.then(|| element.clone()));
            if !is_reference {
                continue;
            }
            referenced.insert(element.clone());
            let reference = text_of(value).unwrap_or_default();
            match target(reference, must) {
                // Whose a contained resource is says nothing of the resource around it.
                Some(id) if id == patient.as_str() => named |= !is_contained,
                Some(_) => return Err(NotTaken::OtherPatient { element, reference: short(reference) }),
                None if must && !(is_contained && reference.starts_with('#')) => {
                    return Err(NotTaken::OtherSubject { element, reference: short(reference) });
                }
                None => {}
            }
        }
        if let Some(element) = subjects.difference(&referenced).next() {
            let (element, reference) = (element.clone(), "given without a reference".to_owned());
            return Err(NotTaken::OtherSubject { element, reference });
        }
        if named { Ok(()) } else { Err(NotTaken::Nobody(self.resource_type.clone())) }
    }

    /// The element about the resource's patient to which a field belongs. `None` for all other fields.
    fn owner(&self, key: &Key) -> Option<Owner> {
        let all: Vec<&str> = key.segments().skip(1).collect();
        let is_index = |segment: &&str| segment.bytes().all(|byte| byte.is_ascii_digit());
        // FHIR has no contained resources in contained ones, but nobody has checked that.
        let mut depth = 0;
        while let ["contained", index, ..] = &all[depth..]
            && is_index(index)
        {
            depth += 2;
        }
        let (before, path) = all.split_at(depth);
        let owner = |length: usize, must: bool, is_reference: bool| {
            let element = format!("{}.{}", self.resource_type, all[..depth + length].join("."));
            Owner { element, must, is_reference, is_contained: depth > 0 }
        };
        if path.first().is_some_and(|first| SUBJECTS.contains(first)) {
            // An element of these names with an index is an array, as Account.subject.
            let length = 1 + usize::from(path.get(1).is_some_and(is_index));
            return Some(owner(length, true, path[length..] == ["reference"]));
        }
        let (last, element) = path.split_last()?;
        if *last != "reference" {
            return None;
        }
        let resource_type = if depth == 0 { self.resource_type() } else { self.contained_type(before)? };
        let fits = |pattern: &str| {
            let wanted: Vec<&str> = pattern.split('.').collect();
            wanted.len() == element.len() && wanted.iter().zip(element).all(|(want, has)| *want == "*" || want == has)
        };
        let participant = PARTICIPANTS.iter().any(|(of, pattern)| *of == resource_type && fits(pattern));
        participant.then(|| owner(element.len(), false, true))
    }

    /// The type of the contained resource at this place.
    fn contained_type(&self, place: &[&str]) -> Option<&str> {
        let key = Key::new(format!("{}.{}.resourceType", self.resource_type, place.join("."))).ok()?;
        self.fields().get(&key).and_then(text_of)
    }
}

/// An element that says whose a resource is.
struct Owner {
    element: String,
    /// Whether it must name the patient.
    must: bool,
    /// Whether the field is its reference.
    is_reference: bool,
    /// Whether it is in a contained resource.
    is_contained: bool,
}

/// The id of the Patient that a reference names, or `None` if it does not name one: `Patient/ID`, the same at the end of a URL, with or without
/// a version, or `urn:uuid:ID`. A urn does not say what it names: where the patient `must` be named, it is taken as a Patient's.
pub(super) fn target(reference: &str, must: bool) -> Option<&str> {
    if let Some(id) = reference.strip_prefix("urn:uuid:") {
        return must.then_some(id);
    }
    type_and_id(reference).filter(|(resource_type, _)| *resource_type == "Patient").map(|(_, id)| id)
}

/// `Type/id` at the end of a reference or a URL, without a version.
pub(super) fn type_and_id(reference: &str) -> Option<(&str, &str)> {
    let reference = reference.split_once("/_history/").map_or(reference, |(start, _)| start);
    let (start, id) = reference.rsplit_once('/')?;
    Some((start.rsplit('/').next()?, id))
}

/// The start of a text from outside, for a message on one line.
pub(super) fn short(text: &str) -> String {
    text.chars().filter(|c| is_harmless(*c)).take(80).collect()
}

/// The text of a value. Texts in the form of a date are date-times.
pub(super) fn text_of(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        Value::DateTime(text) => Some(text.as_str()),
        _ => None,
    }
}

/// The number of objects and arrays of a resource: the different starts of its keys, and one for each folded value.
fn containers(fields: &BTreeMap<Key, Value>) -> usize {
    let mut count = 0;
    let mut before: Vec<&str> = Vec::new();
    for (key, value) in fields {
        let segments: Vec<&str> = key.segments().collect();
        let inner = &segments[..segments.len().saturating_sub(1)];
        // Keys with the same start follow each other, because '.' sorts before every character of an element's name.
        let shared = inner.iter().zip(&before).take_while(|(a, b)| a == b).count();
        count += inner.len() - shared;
        count += usize::from(matches!(value, Value::Code(_) | Value::Quantity(_)));
        before = inner.to_vec();
    }
    count
}
