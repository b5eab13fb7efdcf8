//! What one resource says by itself: codes, types, words, labels.

use emr_core::Class;

use crate::{ACT, ATC, Anything, ICD, LOINC, RXNORM, SNOMED, classes, coded, one};

#[test]
fn codes_without_a_display_decide() -> Result<(), Anything> {
    for (resource_type, system, code, class) in [
        ("Observation", LOINC, "55758-7", Class::MentalHealth),
        ("Observation", LOINC, "44261-6", Class::MentalHealth),
        ("Observation", LOINC, "70274-6", Class::MentalHealth),
        ("Observation", LOINC, "76504-0", Class::MentalHealth),
        ("Observation", LOINC, "75626-2", Class::SubstanceUse),
        ("Observation", LOINC, "82667-7", Class::SubstanceUse),
        ("Observation", LOINC, "72166-2", Class::SubstanceUse),
        ("Observation", LOINC, "74013-4", Class::SubstanceUse),
        ("Observation", LOINC, "82810-3", Class::ReproductiveHealth),
        ("Observation", LOINC, "69548-6", Class::Genetics),
        ("DiagnosticReport", LOINC, "51969-4", Class::Genetics),
        ("DiagnosticReport", LOINC, "81247-9", Class::Genetics),
        ("Observation", LOINC, "85354-9", Class::VitalSigns),
        ("Observation", LOINC, "718-7", Class::Condition),
        ("DiagnosticReport", LOINC, "58410-2", Class::Laboratory),
        ("Condition", SNOMED, "370143000", Class::MentalHealth),
        ("Condition", SNOMED, "192127007", Class::MentalHealth),
        ("Condition", SNOMED, "6525002", Class::SubstanceUse),
        ("Condition", SNOMED, "72892002", Class::ReproductiveHealth),
        ("Condition", SNOMED, "86406008", Class::ReproductiveHealth),
        ("Condition", SNOMED, "41040004", Class::Genetics),
        ("Condition", SNOMED, "38341003", Class::Condition),
        ("Condition", ICD, "F10.20", Class::SubstanceUse),
        ("Condition", ICD, "F32.9", Class::MentalHealth),
        ("Condition", ICD, "O80", Class::ReproductiveHealth),
        ("Condition", ICD, "Z15.01", Class::Genetics),
        ("Condition", ICD, "I10", Class::Condition),
        ("Procedure", SNOMED, "76168009", Class::MentalHealth),
        ("Procedure", "http://www.ama-assn.org/go/cpt", "90837", Class::MentalHealth),
        ("Procedure", SNOMED, "80146002", Class::Procedure),
        ("Medication", RXNORM, "36437", Class::MentalHealth),
        ("Medication", ATC, "N06AB06", Class::MentalHealth),
        ("Medication", ATC, "N07BC02", Class::SubstanceUse),
        ("Medication", ATC, "G03AA07", Class::ReproductiveHealth),
        ("Medication", ATC, "C10AA01", Class::Medication),
        ("Immunization", "http://hl7.org/fhir/sid/cvx", "140", Class::Immunization),
        // The same digits in another system say nothing.
        ("Observation", "http://example.org/local", "44261-6", Class::Condition),
    ] {
        let classified = one(&coded(resource_type, system, code))?;
        assert_eq!(classified.class, class, "{system} {code}: {:?}", classified.because);
    }
    let depression = one(&coded("Condition", ICD, "F32.9"))?;
    assert_eq!(depression.because[0].to_string(), format!("Condition.code.coding[0]: {ICD} F32.9"));
    Ok(())
}

#[test]
fn types_and_categories_decide_the_rest() -> Result<(), Anything> {
    for (resource_type, class) in [
        ("Patient", Class::Summary),
        ("Encounter", Class::Encounter),
        ("ImagingStudy", Class::Imaging),
        ("MedicationRequest", Class::Medication),
        ("AllergyIntolerance", Class::Allergy),
        ("Immunization", Class::Immunization),
        ("Device", Class::Procedure),
        ("CarePlan", Class::Condition),
        ("FamilyMemberHistory", Class::Genetics),
        ("MolecularSequence", Class::Genetics),
        ("Claim", Class::Administrative),
        ("Practitioner", Class::Administrative),
        ("DocumentReference", Class::Document),
        // Not listed.
        ("Basic", Class::Document),
        ("Parameters", Class::Document),
        ("Bundle", Class::Document),
    ] {
        let document = format!(
            "{{\"resourceType\":\"Bundle\",\"entry\":[{{\"resource\":{{\"resourceType\":\"{resource_type}\"}}}}]}}"
        );
        assert_eq!(classes(&document)?, [class], "{resource_type}");
    }
    let category = |resource_type: &str, code: &str| {
        one(&format!(
            "{{\"resourceType\":\"{resource_type}\",\"category\":[{{\"coding\":[{{\"code\":\"{code}\"}}]}}]}}"
        ))
    };
    for (resource_type, code, class) in [
        ("Observation", "laboratory", Class::Laboratory),
        ("Observation", "vital-signs", Class::VitalSigns),
        ("Observation", "imaging", Class::Imaging),
        ("Observation", "social-history", Class::Condition),
        ("Observation", "survey", Class::Condition),
        ("DiagnosticReport", "LAB", Class::Laboratory),
        ("DiagnosticReport", "RAD", Class::Imaging),
        ("DiagnosticReport", "GE", Class::Genetics),
        ("DiagnosticReport", "34117-2", Class::Document),
        ("ServiceRequest", "108252007", Class::Laboratory),
    ] {
        assert_eq!(category(resource_type, code)?.class, class, "{resource_type} {code}");
    }
    Ok(())
}

#[test]
fn words_and_forms_without_known_codes_decide() -> Result<(), Anything> {
    for (document, class) in [
        (
            r#"{"resourceType":"Encounter","serviceProvider":{"display":"St. Mary Psychiatric Hospital"}}"#,
            Class::MentalHealth,
        ),
        (r#"{"resourceType":"Organization","name":"Opioid treatment center"}"#, Class::SubstanceUse),
        (
            r#"{"resourceType":"Observation","category":[{"coding":[{"code":"laboratory"}]}],"code":{"text":"Pregnancy test"}}"#,
            Class::ReproductiveHealth,
        ),
        (r#"{"resourceType":"Observation","valueString":"cocaine positive"}"#, Class::SubstanceUse),
        (r#"{"resourceType":"QuestionnaireResponse","item":[{"linkId":"/44249-1/44250-9"}]}"#, Class::MentalHealth),
        (
            r#"{"resourceType":"QuestionnaireResponse","questionnaire":"http://loinc.org/q/72109-2"}"#,
            Class::SubstanceUse,
        ),
        (
            r#"{"resourceType":"MedicationRequest","contained":[{"resourceType":"Medication","code":{"text":"Sertralina / SERTRALINE 50 mg"}}]}"#,
            Class::MentalHealth,
        ),
        (
            r#"{"resourceType":"Observation","meta":{"profile":["http://hl7.org/fhir/uv/ips/StructureDefinition/Observation-pregnancy-status-uv-ips"]}}"#,
            Class::ReproductiveHealth,
        ),
        (r#"{"resourceType":"FamilyMemberHistory","condition":[{"code":{"text":"Depression"}}]}"#, Class::MentalHealth),
        // Two sensitive classes: the first of substance-use, mental-health, reproductive-health, genetics wins.
        (
            r#"{"resourceType":"Condition","code":{"text":"Alcohol abuse with depression in pregnancy"}}"#,
            Class::SubstanceUse,
        ),
    ] {
        assert_eq!(one(document)?.class, class, "{document}");
    }
    Ok(())
}

/// What is stated as not analysed is not analysed, so that people do not rely on it.
#[test]
fn narratives_notes_and_names_are_not_analysed() -> Result<(), Anything> {
    for document in [
        r#"{"resourceType":"Condition","text":{"status":"generated","div":"<div>Depression</div>"}}"#,
        r#"{"resourceType":"Condition","note":[{"text":"denies alcohol"}]}"#,
        r#"{"resourceType":"Condition","identifier":[{"system":"urn:depression","value":"suicide"}]}"#,
    ] {
        assert_eq!(one(document)?.class, Class::Condition, "{document}");
    }
    let person = r#"{"resourceType":"Patient","name":[{"family":"Manic"}],"address":[{"line":["1 Psychiatry Road"]}]}"#;
    assert_eq!(one(person)?.class, Class::Summary);
    Ok(())
}

#[test]
fn security_labels_win_over_everything() -> Result<(), Anything> {
    let labelled = |code: &str, rest: &str| {
        one(&format!(
            "{{\"resourceType\":\"Observation\",\"meta\":{{\"security\":[{{\"system\":\"{ACT}\",\"code\":\"{code}\"}}]}}{rest}}}"
        ))
    };
    for (code, class) in [
        ("PSY", Class::MentalHealth),
        ("MH", Class::MentalHealth),
        ("BH", Class::MentalHealth),
        ("SUD", Class::SubstanceUse),
        ("ETH", Class::SubstanceUse),
        ("HIV", Class::ReproductiveHealth),
        ("SEX", Class::ReproductiveHealth),
        ("GDIS", Class::Genetics),
    ] {
        assert_eq!(labelled(code, "")?.class, class, "{code}");
        let text = ",\"code\":{\"text\":\"alcohol\"}";
        assert_eq!(labelled(code, text)?.class, class, "{code}");
    }
    // A label without a subject: few may know it, nobody says why.
    let restricted = r#"{"resourceType":"Observation","meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"R"}]}"#;
    assert_eq!(one(&format!("{restricted}}}"))?.class, Class::MentalHealth);
    assert_eq!(one(&format!("{restricted},\"code\":{{\"text\":\"HIV\"}}}}"))?.class, Class::ReproductiveHealth);
    // "Normal" makes nothing less sensitive. A label of the Bundle holds for all that is in it.
    let normal = restricted.replace("\"R\"", "\"N\"");
    assert_eq!(one(&format!("{normal},\"code\":{{\"text\":\"HIV\"}}}}"))?.class, Class::ReproductiveHealth);
    let whole = format!(
        "{{\"resourceType\":\"Bundle\",\"meta\":{{\"security\":[{{\"code\":\"PSY\"}}]}},\"entry\":[{{\"resource\":{}}}]}}",
        coded("Observation", LOINC, "718-7")
    );
    assert_eq!(classes(&whole)?, [Class::MentalHealth]);
    Ok(())
}

/// Nobody can hide a depression behind the label of a whole Bundle.
#[test]
fn a_label_of_the_bundle_raises_and_never_lowers() -> Result<(), Anything> {
    let depression = coded("Condition", ICD, "F20");
    let visit = r#"{"resourceType":"Condition","id":"c","code":{"text":"Depression"}},{"resourceType":"Claim","diagnosis":[{"diagnosisReference":{"reference":"Condition/c"}}]}"#;
    let own = r#"{"resourceType":"Observation","meta":{"security":[{"code":"GDIS"}]}}"#;
    let labelled = |code: &str, resources: &str| {
        let entries = resources.replace("},{\"resourceType\"", "}},{\"resource\":{\"resourceType\"");
        classes(&format!(
            "{{\"resourceType\":\"Bundle\",\"meta\":{{\"security\":[{{\"code\":\"{code}\"}}]}},\"entry\":[{{\"resource\":{entries}}}]}}"
        ))
    };
    assert_eq!(labelled("GDIS", &depression)?, [Class::MentalHealth]);
    assert_eq!(labelled("ETH", &depression)?, [Class::SubstanceUse]);
    // Links still raise what only the Bundle labels.
    assert_eq!(labelled("GDIS", visit)?, [Class::MentalHealth, Class::MentalHealth]);
    // A resource's own label decides.
    assert_eq!(labelled("PSY", own)?, [Class::Genetics]);
    Ok(())
}
