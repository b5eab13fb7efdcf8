//! What references say about a resource.

use emr_core::{Class, fhir::classify};

use crate::{Anything, ICD, bundle, classes, coded};

#[test]
fn what_is_referred_to_counts() -> Result<(), Anything> {
    let condition = r#"{"resourceType":"Condition","id":"c","encounter":{"reference":"Encounter/e"},"code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10","code":"F32"}]}}"#;
    let with = |others: &[&str]| classes(&bundle(&[&[condition][..], others].concat()));
    for (resource, class) in [
        (
            r#"{"resourceType":"Encounter","id":"e","reasonReference":[{"reference":"Condition/c"}]}"#,
            Class::MentalHealth,
        ),
        (
            r#"{"resourceType":"Procedure","reasonReference":[{"reference":"http://host/fhir/Condition/c/_history/2"}]}"#,
            Class::MentalHealth,
        ),
        (r#"{"resourceType":"MedicationRequest","reasonReference":[{"reference":"urn:uuid:c"}]}"#, Class::MentalHealth),
        (r#"{"resourceType":"CarePlan","addresses":[{"reference":"Condition/c"}]}"#, Class::MentalHealth),
        (
            r#"{"resourceType":"Claim","diagnosis":[{"diagnosisReference":{"reference":"Condition/c"}}]}"#,
            Class::MentalHealth,
        ),
        (r#"{"resourceType":"Provenance","target":[{"reference":"Condition/c"}]}"#, Class::MentalHealth),
        (
            r#"{"resourceType":"Claim","diagnosis":[{"diagnosisReference":{"reference":"Condition/other"}}]}"#,
            Class::Administrative,
        ),
    ] {
        assert_eq!(with(&[resource])?, [Class::MentalHealth, class], "{resource}");
    }
    // What was decided at the visit is about its reason; what was measured, diagnosed or given there is not. A bill of a
    // bill, a medication of a prescription and the items of a panel follow.
    let visit = r#"{"resourceType":"Encounter","id":"e","reasonReference":[{"reference":"Condition/c"}]}"#;
    let at = |resource_type: &str, rest: &str| {
        format!(
            "{{\"resourceType\":\"{resource_type}\",\"id\":\"x\",\"subject\":{{\"reference\":\"Patient/p\"}},\"encounter\":{{\"reference\":\"Encounter/e\"}}{rest}}}"
        )
    };
    for (resource_type, rest, class) in [
        ("MedicationRequest", "", Class::MentalHealth),
        ("Procedure", "", Class::MentalHealth),
        ("DocumentReference", "", Class::MentalHealth),
        ("Claim", "", Class::MentalHealth),
        ("Observation", ",\"category\":[{\"coding\":[{\"code\":\"laboratory\"}]}]", Class::Laboratory),
        ("Immunization", "", Class::Immunization),
        ("Condition", "", Class::Condition),
    ] {
        let resource = at(resource_type, rest);
        let patient = r#"{"resourceType":"Patient","id":"p"}"#;
        assert_eq!(
            with(&[visit, &resource, patient])?[1..],
            [Class::MentalHealth, class, Class::Summary],
            "{resource}"
        );
    }
    let chain = [
        r#"{"resourceType":"MedicationRequest","id":"m","medicationReference":{"reference":"Medication/d"},"reasonReference":[{"reference":"Condition/c"}]}"#,
        r#"{"resourceType":"Medication","id":"d","code":{"text":"lamotrigine"}}"#,
        r#"{"resourceType":"Claim","id":"a","prescription":{"reference":"MedicationRequest/m"}}"#,
        r#"{"resourceType":"ExplanationOfBenefit","claim":{"reference":"Claim/a"}}"#,
        r#"{"resourceType":"Observation","code":{"text":"PHQ"},"hasMember":[{"reference":"Observation/o"}]}"#,
        r#"{"resourceType":"Observation","id":"o","valueInteger":3}"#,
    ];
    assert_eq!(with(&chain)?, [Class::MentalHealth; 7]);
    let why = classify(bundle(&[&[condition][..], &chain[..]].concat()).as_bytes())?;
    assert_eq!(
        why.resources[3].because[0].to_string(),
        "Bundle.entry[3].resource.prescription: refers to Bundle.entry[1].resource"
    );
    assert_eq!(
        why.resources[6].because[0].to_string(),
        "Bundle.entry[5].resource.hasMember[0]: Bundle.entry[5].resource counts it as a part"
    );
    // A label is not overruled by a link.
    let labelled = r#"{"resourceType":"Claim","meta":{"security":[{"code":"GDIS"}]},"diagnosis":[{"diagnosisReference":{"reference":"Condition/c"}}]}"#;
    assert_eq!(with(&[labelled])?[1], Class::Genetics);
    Ok(())
}

/// Circles, references to itself, one address for many resources: each is read in a time that grows with the document only.
#[test]
fn many_links_take_no_long_time() -> Result<(), Anything> {
    let mut resources: Vec<String> = (0..20_000)
        .map(|i| {
            format!("{{\"resourceType\":\"Basic\",\"id\":\"same\",\"author\":{{\"reference\":\"Basic/same\"}},\"x\":{{\"reference\":\"Claim/{i}\"}}}}")
        })
        .collect();
    resources.extend((0..20_000).map(|i| {
        let next = (i + 1) % 20_000;
        format!("{{\"resourceType\":\"Claim\",\"id\":\"{i}\",\"related\":[{{\"claim\":{{\"reference\":\"Claim/{next}\"}}}}]}}")
    }));
    resources.push(coded("Condition", ICD, "F32.9").replace("\"code\":{", "\"id\":\"c\",\"code\":{"));
    resources.push(r#"{"resourceType":"Claim","id":"7","reason":{"reference":"Condition/c"}}"#.to_owned());
    let all: Vec<&str> = resources.iter().map(String::as_str).collect();
    let started = std::time::Instant::now();
    let classes = classes(&bundle(&all))?;
    assert!(started.elapsed().as_secs() < 60);
    assert!(classes.iter().all(|class| *class == Class::MentalHealth));
    Ok(())
}
