//! One class for a whole Bundle, and the International Patient Summary.

use emr_core::Class;
use emr_core::fhir::{classify, split};

use crate::{Anything, ICD, LOINC, SENSITIVE, bundle, coded};

#[test]
fn one_record_only_if_nothing_sensitive_is_mixed_in() -> Result<(), Anything> {
    let patient = r#"{"resourceType":"Patient"}"#;
    let doctor = r#"{"resourceType":"Practitioner"}"#;
    let hemoglobin = r#"{"resourceType":"Observation","category":[{"coding":[{"code":"laboratory"}]}]}"#;
    let weight = coded("Observation", LOINC, "29463-7");
    let depression = coded("Condition", ICD, "F32.9");
    let proposal = |resources: &[&str]| -> Result<Option<Class>, Anything> {
        Ok(classify(bundle(resources).as_bytes())?.proposal())
    };
    assert_eq!(proposal(&[patient, doctor, hemoglobin, hemoglobin])?, Some(Class::Laboratory));
    assert_eq!(proposal(&[patient, hemoglobin, &weight])?, Some(Class::Summary));
    assert_eq!(proposal(&[patient, &depression])?, Some(Class::MentalHealth));
    assert_eq!(proposal(&[patient, hemoglobin, &depression])?, None);
    assert_eq!(proposal(&[patient])?, Some(Class::Summary));
    assert_eq!(proposal(&[patient, doctor])?, Some(Class::Summary));
    let empty = classify(br#"{"resourceType":"Bundle","type":"collection"}"#)?;
    assert_eq!((empty.proposal(), empty.resources.len()), (Some(Class::Document), 0));
    // Sensitive matter in the patient's own resource never ends in a summary.
    let telling = r#"{"resourceType":"Patient","extension":[{"valueString":"pregnant"}]}"#;
    assert_eq!(proposal(&[telling, hemoglobin])?, None);
    assert_eq!(proposal(&[telling])?, Some(Class::ReproductiveHealth));
    Ok(())
}

/// An International Patient Summary as HL7's guide lays it out: sections with LOINC codes that list entries.
fn patient_summary(social: &str) -> String {
    let section = |code: &str, entry: &str| {
        format!(
            "{{\"title\":\"s\",\"code\":{{\"coding\":[{{\"system\":\"{LOINC}\",\"code\":\"{code}\"}}]}},\"entry\":[{{\"reference\":\"{entry}\"}}]}}"
        )
    };
    let sections = [
        section("48765-2", "AllergyIntolerance/a"),
        section("10160-0", "MedicationStatement/m"),
        section("11450-4", "Condition/c"),
        section("11369-6", "Immunization/i"),
        section("47519-4", "Procedure/p"),
        section("46264-8", "DeviceUseStatement/d"),
        section("30954-2", "urn:uuid:result"),
        section("8716-3", "Observation/v"),
        section("18776-5", "CarePlan/cp"),
        social.to_owned(),
    ];
    let composition = format!(
        "{{\"resourceType\":\"Composition\",\"type\":{{\"coding\":[{{\"system\":\"{LOINC}\",\"code\":\"60591-5\"}}]}},\"section\":[{}]}}",
        sections.join(",")
    );
    let others = [
        r#"{"resourceType":"Patient","id":"pt"}"#,
        r#"{"resourceType":"AllergyIntolerance","id":"a"}"#,
        r#"{"resourceType":"MedicationStatement","id":"m"}"#,
        r#"{"resourceType":"Condition","id":"c"}"#,
        r#"{"resourceType":"Immunization","id":"i"}"#,
        r#"{"resourceType":"Procedure","id":"p"}"#,
        r#"{"resourceType":"DeviceUseStatement","id":"d"}"#,
        r#"{"resourceType":"Observation","id":"v"}"#,
        r#"{"resourceType":"CarePlan","id":"cp"}"#,
        r#"{"resourceType":"Observation","id":"s"}"#,
    ];
    let mut entries = vec![format!("{{\"resource\":{composition}}}")];
    entries.extend(others.map(|resource| format!("{{\"resource\":{resource}}}")));
    entries.push("{\"fullUrl\":\"urn:uuid:result\",\"resource\":{\"resourceType\":\"Observation\"}}".to_owned());
    format!("{{\"resourceType\":\"Bundle\",\"type\":\"document\",\"entry\":[{}]}}", entries.join(","))
}

#[test]
fn sections_of_a_patient_summary_class_their_entries() -> Result<(), Anything> {
    let section = |code: &str| {
        format!(
            "{{\"code\":{{\"coding\":[{{\"system\":\"{LOINC}\",\"code\":\"{code}\"}}]}},\"entry\":[{{\"reference\":\"Observation/s\"}}]}}"
        )
    };
    let plain = classify(patient_summary(&section("29762-2")).as_bytes())?;
    assert!(plain.patient_summary);
    let expected = [
        Class::Document,
        Class::Summary,
        Class::Allergy,
        Class::Medication,
        Class::Condition,
        Class::Immunization,
        Class::Procedure,
        Class::Procedure,
        Class::VitalSigns,
        Class::Condition,
        Class::Condition,
        Class::Laboratory,
    ];
    assert_eq!(plain.resources.iter().map(|resource| resource.class).collect::<Vec<_>>(), expected);
    assert_eq!(plain.proposal(), Some(Class::Summary));

    // With a section about pregnancies its entry is sensitive, and so is the Composition, which lists it.
    for (code, class) in [("10162-6", Class::ReproductiveHealth), ("10190-7", Class::MentalHealth)] {
        let telling = patient_summary(&section(code));
        let classification = classify(telling.as_bytes())?;
        assert_eq!(classification.proposal(), None);
        assert_eq!((classification.resources[0].class, classification.resources[10].class), (class, class));
        for part in split(telling.as_bytes(), &[3; 32])? {
            let told = String::from_utf8(part.document)?.contains(code);
            assert_eq!(told, part.class == class, "{}", part.class);
        }
    }
    // Another document is none.
    assert!(!classify(SENSITIVE)?.patient_summary);
    Ok(())
}
