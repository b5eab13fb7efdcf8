//! A document of several classes, with the programs: proposed, refused, and written in parts.

use std::fs;

use emr_core::fhir::resources;
use serde_json::Value;

use crate::world::*;

/// A depression, its visit, and a laboratory value of that visit.
const MIXED: &str = r#"{"resourceType":"Bundle","type":"collection","entry":[
{"fullUrl":"urn:uuid:p","resource":{"resourceType":"Patient","id":"p","active":true}},
{"fullUrl":"urn:uuid:c","resource":{"resourceType":"Condition","id":"c","subject":{"reference":"urn:uuid:p"},"code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10","code":"F32.1"}]}}},
{"fullUrl":"urn:uuid:e","resource":{"resourceType":"Encounter","id":"e","status":"finished","reasonReference":[{"reference":"urn:uuid:c"}]}},
{"fullUrl":"urn:uuid:o","resource":{"resourceType":"Observation","id":"o","status":"final","encounter":{"reference":"urn:uuid:e"},"category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"laboratory"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"718-7"}]}}}]}"#;

/// The doctor may write the classes summary, laboratory and mental-health for the patient of `patient.json`.
pub(crate) fn a_mixed_document(world: &World) -> TestResult {
    fs::write(world.at("mixed.json"), MIXED)?;
    let upload = ["upload", "mixed.json", "--class", "auto"];
    // Nobody: no identity, and no address of a node.
    let dry = [&upload[..], &["--dry-run", "--json"]].concat();
    let proposal: Value = serde_json::from_str(&world.run_in(None, "emr-doctor", "nobody", &dry)?.done()?)?;
    assert!(!world.at("nobody").exists(), "a dry run writes nothing");
    assert!(proposal["class"].is_null(), "{proposal}");
    let classes = serde_json::json!({ "summary": 1, "laboratory": 1, "mental-health": 2 });
    assert_eq!(proposal["classes"], classes, "{proposal}");

    let refused = world.doctor(&[&upload[..], &["--patient", "patient.json"]].concat())?;
    let advice = "error: the document mixes sensitive resources with others";
    assert!(refused.exit == Some(3) && refused.stdout.is_empty(), "{refused:?}");
    assert!(refused.stderr.contains(advice) && refused.stderr.contains("Use --split"), "{refused:?}");

    let split = [&["--json"], &upload[..], &["--patient", "patient.json", "--split"]].concat();
    let written: Value = serde_json::from_str(&world.doctor(&split)?.done()?)?;
    let parts = written["parts"].as_array().ok_or("parts")?;
    let mut found = Vec::new();
    for (part, (class, of_class)) in parts.iter().zip([
        ("summary", &["Patient"][..]),
        ("laboratory", &["Observation"]),
        ("mental-health", &["Condition", "Encounter"]),
    ]) {
        assert_eq!(part["class"], class, "{written}");
        let document = world.patient(&["get", part["record"].as_str().ok_or("a record")?])?.done()?;
        let of_part = resources(document.as_bytes())?;
        let types: Vec<&str> = of_part.iter().map(|resource| resource.resource_type).collect();
        assert_eq!(types, of_class, "{document}");
        found.extend(of_part.iter().map(|resource| resource.json.to_owned()));
    }
    let mut all: Vec<String> = resources(MIXED.as_bytes())?.iter().map(|one| one.json.to_owned()).collect();
    found.sort();
    all.sort();
    assert_eq!((parts.len(), found), (3, all), "each resource once, byte for byte");
    Ok(())
}
