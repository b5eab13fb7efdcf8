//! Bundles that are gathered from lines, and the same lines back.

use std::collections::BTreeMap;
use std::io::BufRead;

use emr_core::fhir::gather::{Gathered, Gatherer, MAX_GATHERED_BYTES};
use emr_core::fhir::line_resource::{LineResource, NotTaken, PatientId};
use emr_core::fhir::{FhirError, export, import, resources, validate};
use emr_core::{Class, Record};
use proptest::prelude::*;

use super::{Anything, BUNDLE, lines, read, texts};

/// Gathers lines in one class.
pub(super) fn gather(lines: &[&str]) -> Result<Vec<Gathered>, NotTaken> {
    let (mut gatherer, mut all) = (Gatherer::new(), Vec::new());
    for line in lines {
        all.extend(gatherer.add(&read(line)?, Class::Summary)?);
    }
    all.extend(gatherer.finish());
    Ok(all)
}

/// The lines of all resources of these Bundles, sorted, by type.
fn back(bundles: &[Gathered]) -> Result<BTreeMap<&'static str, Vec<String>>, Anything> {
    let mut by_type: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for gathered in bundles {
        let record = import(&gathered.bundle)?;
        assert!(record.to_dag_cbor()?.len() <= 64 << 20);
        let document = export(&Record::from_dag_cbor(&record.to_dag_cbor()?)?)?;
        let found = resources(&document)?;
        assert_eq!(found.len(), gathered.resources);
        for resource in found {
            by_type.entry(resource.resource_type).or_default().push(resource.line().into_owned());
        }
    }
    by_type.values_mut().for_each(|lines| lines.sort());
    Ok(by_type)
}

#[test]
fn a_gathered_bundle_is_fhir_and_keeps_every_byte() -> Result<(), Anything> {
    let lines = [
        r#"{"resourceType":"Patient","id":"p-1","birthDate":"1970-01-01"}"#,
        r#"{ "resourceType" : "Observation","id":"2020-01-01","status":"final","code":{"text":"\u0061 } \" ,"},"valueQuantity":{"value":1.50,"unit":"mg"} }"#,
        r#"{"id":"o_2","resourceType":"Observation","status":"final","code":{"text":"b"}}"#,
        r#"{"resourceType":"Observation","status":"final","code":{"text":"c"}}"#,
    ];
    let gathered = gather(&lines)?;
    assert_eq!(
        gathered.iter().map(|one| (&*one.resource_type, one.resources)).collect::<Vec<_>>(),
        [("Observation", 3), ("Patient", 1)]
    );
    let bundle = std::str::from_utf8(&gathered[0].bundle)?;
    assert!(
        bundle.contains(&format!("{{\"fullUrl\":\"Observation/2020-01-01\",\"resource\":{}}}", lines[1])),
        "{bundle}"
    );
    assert!(
        bundle.contains(&format!("\n{{\"resource\":{}}}", lines[2])),
        "an id that no reference can name has no fullUrl: {bundle}"
    );
    assert_eq!(validate(&gathered[1].bundle)?.total, 0);
    assert_eq!(back(&gathered)?["Observation"].len(), 3);
    // The same lines give the same bytes, so that a second run finds what the first one wrote.
    assert_eq!(gather(&lines)?, gathered);
    let twice = gather(&[lines[0], lines[0]]);
    assert_eq!(twice.err(), Some(NotTaken::Repeated("Patient/p-1".into())));
    Ok(())
}

#[test]
fn bundles_stay_within_the_limits_of_a_record() -> Result<(), Anything> {
    // By bytes: each line takes about twice its length.
    let text = "x".repeat(5 << 20);
    let large: Vec<String> = (0..12)
        .map(|id| format!(r#"{{"resourceType":"Basic","id":"{id}","author":{{"display":"{text}"}}}}"#))
        .collect();
    let large: Vec<&str> = large.iter().map(String::as_str).collect();
    let gathered = gather(&large)?;
    assert_eq!(gathered.iter().map(|one| one.resources).collect::<Vec<_>>(), [4, 4, 4]);
    assert_eq!(back(&gathered)?["Basic"].len(), 12);
    let too_large =
        format!(r#"{{"resourceType":"Basic","author":{{"display":"{}"}}}}"#, "x".repeat(MAX_GATHERED_BYTES / 2));
    assert_eq!(gather(&[&too_large]).err(), Some(NotTaken::TooLarge));
    // By fields, and by objects and arrays.
    let numbers = "7,".repeat(200_000);
    for inner in [format!("[{numbers}7]"), format!("[{}{{\"b\":[1]}}]", "{\"b\":[1]},".repeat(90_000))] {
        let many: Vec<String> =
            (0..4).map(|id| format!(r#"{{"resourceType":"Basic","id":"{id}","a":{inner}}}"#)).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let gathered = gather(&many)?;
        assert_eq!(gathered.iter().map(|one| one.resources).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(back(&gathered)?["Basic"].len(), 4);
    }
    Ok(())
}

#[test]
fn a_document_is_taken_apart_as_it_is_written() -> Result<(), Anything> {
    let found = resources(BUNDLE)?;
    let json: serde_json::Value = serde_json::from_slice(BUNDLE)?;
    let entries = json["entry"].as_array().ok_or("entries")?;
    assert_eq!(found.len(), entries.len());
    for (resource, entry) in found.iter().zip(entries) {
        assert_eq!(entry["resource"]["resourceType"], resource.resource_type);
        let line = resource.line();
        assert!(!line.contains(['\n', '\r']));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line)?, entry["resource"]);
        assert!(std::str::from_utf8(BUNDLE)?.contains(resource.json));
    }
    // One resource, the type after the entries, entries of another type, a Bundle in a Bundle, no resource.
    let types = |document: &str| {
        resources(document.as_bytes()).map(|all| all.iter().map(|one| one.resource_type).collect::<Vec<_>>())
    };
    assert_eq!(types(r#" {"a":"x\ny","resourceType":"Basic"} "#), Ok(vec!["Basic"]));
    assert_eq!(
        types(r#"{"entry":[{"resource":{"resourceType":"Basic"}},{"link":[{"url":"x"}]}],"resourceType":"Bundle"}"#),
        Ok(vec!["Basic"])
    );
    assert_eq!(types(r#"{"resourceType":"List","entry":[{"item":{"reference":"a"}}]}"#), Ok(vec!["List"]));
    assert_eq!(types(r#"{"resourceType":"List","entry":7}"#), Ok(vec!["List"]));
    assert_eq!(
        types(
            r#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Basic"}}]}}]}"#
        ),
        Ok(vec!["Bundle"])
    );
    assert_eq!(types(r#"{"resourceType":"Bundle","type":"collection"}"#), Ok(vec![]));
    // A type becomes a file's name.
    assert!(matches!(
        types(r#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"../x"}}]}"#),
        Err(FhirError::UnknownResource(_))
    ));
    assert_eq!(types(r#"{"resourceType":"Bundle","entry":[{"resource":{"id":"x"}}]}"#), Err(FhirError::NotFhir));
    assert!(matches!(types(&"[".repeat(1 << 20)), Err(FhirError::NotFhir)));
    assert!(matches!(types(&format!("{{\"a\":{}", "[".repeat(1 << 20))), Err(FhirError::TooDeep { .. })));
    Ok(())
}

/// Every resource of a real example is its patient's, and comes back from Bundles as it was.
#[test]
fn a_synthea_patient_is_one_patient() -> Result<(), Anything> {
    let found = resources(BUNDLE)?;
    let lines: Vec<String> = found.iter().map(|resource| resource.line().into_owned()).collect();
    let patient =
        lines.iter().find_map(|line| read(line).ok().filter(|resource| resource.resource_type() == "Patient"));
    let patient: PatientId = patient.and_then(|patient| patient.id().map(str::to_owned)).ok_or("a patient")?.parse()?;
    for line in &lines {
        read(line)?.check_patient(&patient)?;
    }
    let gathered = gather(&lines.iter().map(String::as_str).collect::<Vec<_>>())?;
    assert_eq!(back(&gathered)?.values().map(Vec::len).sum::<usize>(), lines.len());
    let stranger: PatientId = "stranger".parse()?;
    let refused =
        lines.iter().filter(|line| read(line).is_ok_and(|resource| resource.check_patient(&stranger).is_err()));
    assert!(refused.count() > lines.len() / 2);
    Ok(())
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,3})?",
        any::<String>().prop_map(|text| serde_json::Value::String(text).to_string()),
        Just("\"2024-02-29\"".to_owned()),
    ];
    leaf.prop_recursive(4, 20, 4, |inner| {
        let name = prop_oneof!["value", "code", "system", "unit", "resource", "entry", "[a-c]_?"];
        let object = prop::collection::btree_map(name, inner.clone(), 1..5).prop_map(|members| {
            let members: Vec<_> = members.iter().map(|(name, value)| format!(" \"{name}\" :{value}")).collect();
            format!("{{{}\t}}", members.join(","))
        });
        let array = prop::collection::vec(inner.prop_filter("an array", |item| !item.starts_with('[')), 1..4)
            .prop_map(|items| format!("[{}]", items.join(", ")));
        prop_oneof![object, array]
    })
}

fn resource() -> impl Strategy<Value = (&'static str, String)> {
    let types = prop_oneof![Just("Basic"), Just("Observation"), Just("Patient"), Just("Binary")];
    (types, json(), any::<bool>()).prop_map(|(name, value, first)| {
        let line = match first {
            true => format!("{{\"resourceType\":\"{name}\",\"a\":{value}}}"),
            false => format!("{{\"a\":{value} , \"resourceType\" : \"{name}\"}}"),
        };
        (name, line)
    })
}

proptest! {
    /// export(import(x)) has the lines of x.
    #[test]
    fn the_same_lines_come_back(resources in prop::collection::vec(resource(), 0..12), crlf in any::<bool>(), end in any::<bool>()) {
        let end_of_line = if crlf { "\r\n" } else { "\n" };
        let mut file = resources.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>().join(end_of_line);
        if end {
            file.push_str(end_of_line);
        }
        let lines = texts(file.as_bytes()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let lines: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
        let gathered = gather(&lines).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let found = back(&gathered).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let mut expected: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (name, line) in resources {
            expected.entry(name).or_default().push(line);
        }
        expected.values_mut().for_each(|lines| lines.sort());
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for line in lines(&bytes).into_iter().flatten() {
            prop_assert!(!line.bytes.contains(&b'\n'));
            if let Ok(resource) = LineResource::read(&line.bytes) {
                let _ = resource.check_patient(&"p-1".parse()?);
            }
        }
        let _ = resources(&bytes);
    }

    /// As many lines as the standard library finds.
    #[test]
    fn lines_are_those_of_the_standard_library(file in "[ab\r\n \t]{0,40}") {
        let theirs: Vec<_> = file.as_bytes().lines().map_while(Result::ok).map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
        let ours = texts(file.as_bytes()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(ours.into_iter().map(|(_, line)| line).collect::<Vec<_>>(), theirs);
    }
}
