//! What says what a chosen field means.

use std::collections::BTreeSet;

use super::select::Names;
use crate::key::Key;
use crate::record::Record;

/// The elements of a resource that say what its other elements mean, when they were true, and whether they are void: what FHIR R4 calls
/// modifier elements, and the elements that name the matter and its time. `*` is the type of an element that has several.
const OF_RESOURCE: [&str; 24] = [
    "resourceType",
    "status",
    "statusReason",
    "verificationStatus",
    "clinicalStatus",
    "active",
    "intent",
    "doNotPerform",
    "modifierExtension",
    "implicitRules",
    "focus",
    "code",
    "vaccineCode",
    "medication*",
    "effective*",
    "occurrence*",
    "onset*",
    "abatement*",
    "performed*",
    "deceased*",
    "issued",
    "date",
    "authoredOn",
    "recordedDate",
];
/// The same for an object or an item of an array within a resource: the question that a component answers, whether a quantity is `<` or `>`, and
/// whether a name is an old one.
const OF_PART: [&str; 6] = ["code", "modifierExtension", "implicitRules", "comparator", "unit", "use"];

/// The keys, and with each of them the fields that say what it means, or that it is void. A value without them can mean anything: an Observation's
/// `status` can be `entered-in-error`, and a Condition's `verificationStatus` `refuted`.
///
/// Of the resource, and of a contained resource on the way to the key: `resourceType`, `status`, `statusReason`, `verificationStatus`,
/// `clinicalStatus`, `active`, `intent`, `doNotPerform`, `modifierExtension`, `implicitRules`, `focus`, `code`, `vaccineCode`, `medication..`,
/// `effective..`, `occurrence..`, `onset..`, `abatement..`, `performed..`, `deceased..`, `issued`, `date`, `authoredOn` and `recordedDate`. Of
/// every other object on the way: `code`, `modifierExtension`, `implicitRules`, `comparator`, `unit` and `use`. Extensions of these elements
/// (`_status`) too. The resource is an entry's resource in a Bundle, and otherwise the whole record.
pub fn with_context(record: &Record, keys: &BTreeSet<Key>) -> BTreeSet<Key> {
    let mut names = Names::of(record);
    let (mut resources, mut parts) = (BTreeSet::new(), BTreeSet::new());
    for (key, _) in keys.iter().filter_map(|key| record.fields().get_key_value(key)) {
        let resource = names.in_resource(key).0.trim_end_matches('.');
        for (path, _) in steps(key) {
            let is_contained = path.len() > resource.len() && path.rsplit('.').nth(1) == Some("contained");
            if path == resource || is_contained {
                resources.insert(path)
            } else {
                parts.insert(path)
            };
        }
    }
    let is_context = |(path, element): (&str, &str)| {
        let element = element.strip_prefix('_').unwrap_or(element);
        let is = |name: &&str| match name.strip_suffix('*') {
            Some(start) => element.starts_with(start),
            None => element == *name,
        };
        OF_RESOURCE.iter().any(&is) && resources.contains(path) || OF_PART.iter().any(&is) && parts.contains(path)
    };
    let context = record.fields().keys().filter(|key| steps(key).any(is_context));
    keys.iter().chain(context).cloned().collect()
}

/// The paths above a key, each with the segment of the key that follows it.
fn steps(key: &Key) -> impl Iterator<Item = (&str, &str)> {
    let key = key.as_str();
    key.match_indices('.').map(|(dot, _)| {
        let rest = &key[dot + 1..];
        (&key[..dot], rest.split('.').next().unwrap_or(rest))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;

    type Anything = Box<dyn std::error::Error>;

    /// What is added to one key of a record with these keys and types.
    fn added(fields: &[(&str, &str)], key: &str) -> Result<Vec<String>, Anything> {
        let record = record(fields)?;
        let key: Key = key.parse()?;
        assert!(record.get(&key).is_some(), "{key}");
        let all = with_context(&record, &BTreeSet::from([key.clone()]));
        assert!(all.contains(&key));
        Ok(all.iter().filter(|one| **one != key).map(Key::to_string).collect())
    }

    const BUNDLE: &[(&str, &str)] = &[
        ("Bundle.entry.0.resource.resourceType", "Patient"),
        ("Bundle.entry.0.resource.name.0.family", "Smith"),
        ("Bundle.entry.0.resource.name.0.use", "old"),
        ("Bundle.entry.0.resource.name.1.use", "official"),
        ("Bundle.entry.1.resource.resourceType", "Observation"),
        ("Bundle.entry.1.resource.status", "final"),
        ("Bundle.entry.1.resource.code.coding.0", "potassium"),
        ("Bundle.entry.1.resource.valueQuantity.value", "4.1"),
        ("Bundle.entry.1.resource.valueQuantity.comparator", "<"),
        ("Bundle.entry.1.resource.valueQuantity.unit", "mmol/l"),
        ("Bundle.entry.1.resource.subject.reference", "Patient/1"),
        ("Bundle.entry.10.modifierExtension.0.url", "urn:not"),
        ("Bundle.entry.10.resource.resourceType", "Observation"),
        ("Bundle.entry.10.resource.component.0.code.text", "systolic"),
        ("Bundle.entry.10.resource.component.0.modifierExtension.0.url", "urn:not"),
        ("Bundle.entry.10.resource.component.0.valueQuantity", "120"),
        ("Bundle.entry.10.resource.component.1.code.text", "diastolic"),
        ("Bundle.entry.10.resource.effectiveDateTime", "2026-01-01"),
        ("Bundle.implicitRules", "urn:rules"),
        ("Bundle.resourceType", "Bundle"),
    ];

    #[test]
    fn context_is_that_of_the_same_resource_and_of_what_is_on_the_way() -> Result<(), Anything> {
        assert_eq!(
            added(BUNDLE, "Bundle.entry.1.resource.valueQuantity.value")?,
            [
                "Bundle.entry.1.resource.code.coding.0",
                "Bundle.entry.1.resource.resourceType",
                "Bundle.entry.1.resource.status",
                "Bundle.entry.1.resource.valueQuantity.comparator",
                "Bundle.entry.1.resource.valueQuantity.unit",
                "Bundle.implicitRules",
            ]
        );
        // A component without its code can be the other one.
        assert_eq!(
            added(BUNDLE, "Bundle.entry.10.resource.component.0.valueQuantity")?,
            [
                "Bundle.entry.10.modifierExtension.0.url",
                "Bundle.entry.10.resource.component.0.code.text",
                "Bundle.entry.10.resource.component.0.modifierExtension.0.url",
                "Bundle.entry.10.resource.effectiveDateTime",
                "Bundle.entry.10.resource.resourceType",
                "Bundle.implicitRules",
            ]
        );
        assert_eq!(
            added(BUNDLE, "Bundle.entry.0.resource.name.0.family")?,
            ["Bundle.entry.0.resource.name.0.use", "Bundle.entry.0.resource.resourceType", "Bundle.implicitRules"]
        );
        Ok(())
    }

    /// Each is one way to show something that the record takes back, or that means something else.
    #[test]
    fn what_voids_or_defines_a_field_is_context() -> Result<(), Anything> {
        for (chosen, context) in [
            ("Condition.severity.text", "Condition.verificationStatus.coding.0"),
            ("Condition.severity.text", "Condition.clinicalStatus.coding.0"),
            ("Condition.severity.text", "Condition.abatementDateTime"),
            ("AllergyIntolerance.criticality", "AllergyIntolerance.verificationStatus.text"),
            ("AllergyIntolerance.criticality", "AllergyIntolerance.onsetAge"),
            ("MedicationRequest.dosageInstruction.0.text", "MedicationRequest.doNotPerform"),
            ("MedicationRequest.dosageInstruction.0.text", "MedicationRequest.intent"),
            ("MedicationRequest.dosageInstruction.0.text", "MedicationRequest.medicationCodeableConcept.text"),
            ("MedicationRequest.dosageInstruction.0.text", "MedicationRequest.modifierExtension.0.valueBoolean"),
            (
                "MedicationRequest.dosageInstruction.0.text",
                "MedicationRequest.dosageInstruction.0.modifierExtension.0.url",
            ),
            ("Immunization.lotNumber", "Immunization.vaccineCode.coding.0"),
            ("Immunization.lotNumber", "Immunization.occurrenceDateTime"),
            ("Immunization.lotNumber", "Immunization.statusReason.text"),
            ("Immunization.lotNumber", "Immunization._status.extension.0.url"),
            ("Procedure.outcome.text", "Procedure.performedPeriod.start"),
            ("Observation.valueInteger", "Observation.effectivePeriod.start"),
            ("Observation.valueInteger", "Observation.focus.0.reference"),
            ("Patient.gender", "Patient.deceasedBoolean"),
            ("Observation.contained.0.valueString", "Observation.contained.0.status"),
        ] {
            assert_eq!(added(&[(chosen, ""), (context, "")], chosen)?, [context]);
        }
        for (chosen, other) in [
            ("Observation.valueInteger", "Observation.codes"),
            ("Observation.valueInteger", "Observation.component.0.code.text"),
            ("Observation.valueInteger", "Observation.contained.0.status"),
            ("Observation.component.0.valueInteger", "Observation.component.0.status"),
            ("Observation.component.0.valueInteger", "Observation.component.10.code"),
            ("Bundle.entry.1.resource.valueInteger", "Bundle.entry.10.resource.status"),
        ] {
            assert_eq!(added(&[(chosen, ""), (other, "")], chosen)?, Vec::<String>::new(), "{other}");
        }
        Ok(())
    }
}
