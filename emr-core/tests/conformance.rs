//! Research profiles, over a Synthea bundle.

use std::time::{Duration, Instant};

use emr_core::conformance::{Problem, Profile, ProfileError, Report};
use emr_core::{Record, fhir};
use serde_json::{Value as Json, json};

type Anything = Box<dyn std::error::Error>;

const BUNDLE: &str = include_str!("../fixtures/synthea-bundle.json");
const DIABETES: &[u8] = include_bytes!("../../examples/profiles/diabetes-laboratory.json");

/// A number that no float holds, and what stands for it in a [`Json`], which would round it.
const EXACT: &str = "111.00000000000000000000000001";
const STANDS_FOR_EXACT: &str = "424242";

/// The Synthea bundle with more resources, which are written behind the others, so that its numbers stay as written.
fn bundle_with(resources: &[Json]) -> Result<Record, Anything> {
    let (before, after) = BUNDLE.rsplit_once(']').ok_or("entries")?;
    let more: String = resources.iter().map(|resource| format!(",{}", json!({ "resource": resource }))).collect();
    let document = format!("{before}{}]{after}", more.replace(STANDS_FOR_EXACT, EXACT));
    Ok(fhir::import(document.as_bytes())?)
}

fn glucose(value: Json) -> Json {
    json!({
        "resourceType": "Observation", "status": "final", "effectiveDateTime": "2024-02-29T08:30:00+01:00",
        "code": { "coding": [{ "system": "http://loinc.org", "code": "2345-7", "display": "Glucose" }] },
        "valueQuantity": value
    })
}

fn mmol(value: &str) -> Result<Json, Anything> {
    Ok(serde_json::from_str(&format!(
        r#"{{"value": {value}, "unit": "mmol/L", "system": "http://unitsofmeasure.org", "code": "mmol/L"}}"#
    ))?)
}

fn problems(report: &Report) -> Vec<(&str, &'static str)> {
    report.violations.iter().map(|violation| (violation.path.as_str(), violation.problem.name())).collect()
}

/// The profile with one rule for the fields of each Observation of glucose.
fn profile(fields: &Json) -> Result<Profile, Anything> {
    let rule = json!({
        "name": "glucose", "each": ["Bundle.entry.*.resource"],
        "when": [{ "key": "code.coding.*", "code": { "system": "http://loinc.org", "code": "2345-7" } }], "fields": fields
    });
    Ok(Profile::from_json(&serde_json::to_vec(&json!({ "name": "p", "version": "1", "rules": [rule] }))?)?)
}

#[test]
fn the_synthea_bundle_conforms_to_the_example() -> Result<(), Anything> {
    let report = Profile::from_json(DIABETES)?.check(&bundle_with(&[])?);
    assert!(report.conforms(), "{:?}", report.violations);
    let applied: Vec<_> = report.applied.iter().map(|applied| applied.objects).collect();
    assert_eq!(applied, [1, 0, 0, 1, 16], "patient, glucose, HbA1c, weight, all observations");
    let report = Profile::from_json(DIABETES)?.check(&bundle_with(&[glucose(mmol("5.4")?), glucose(mmol("111.0")?)])?);
    assert!(report.conforms(), "{:?}", report.violations);
    assert_eq!(report.applied[1].objects, 2);
    Ok(())
}

#[test]
fn every_difference_is_listed_with_its_path() -> Result<(), Anything> {
    let count = serde_json::from_str::<Json>(BUNDLE)?["entry"].as_array().ok_or("entries")?.len();
    let system = "http://unitsofmeasure.org";
    let mut without = glucose(json!(null));
    without.as_object_mut().ok_or("an object")?.remove("valueQuantity");
    without.as_object_mut().ok_or("an object")?.remove("effectiveDateTime");
    let mut partial = glucose(mmol("5")?);
    partial["effectiveDateTime"] = "2024-02".into();
    let wrong = [
        glucose(mmol(STANDS_FOR_EXACT)?),
        glucose(mmol("-0.1")?),
        glucose(json!({ "value": 5, "system": system, "code": "g/L" })),
        glucose(json!({ "value": 5, "system": system, "code": "mmol/l " })),
        glucose(json!({ "value": 5, "unit": "mmol/L" })),
        glucose(json!({ "value": 5, "system": "http://example.org", "code": "mmol/L" })),
        glucose(json!({ "value": 5, "system": system, "code": "mmol/L", "comparator": "<" })),
        without,
        partial,
    ];
    let report = Profile::from_json(DIABETES)?.check(&bundle_with(&wrong)?);
    let at = |number: usize, rest: &str| format!("Bundle.entry.{}.resource.{rest}", count + number);
    let expected = [
        (at(0, "valueQuantity"), "range"),
        (at(1, "valueQuantity"), "range"),
        (at(2, "valueQuantity"), "unit"),
        (at(3, "valueQuantity"), "unit"),
        (at(4, "valueQuantity"), "no-unit"),
        (at(5, "valueQuantity"), "no-unit"),
        (at(6, "valueQuantity"), "parts"),
        (at(7, "valueQuantity"), "too-few"),
        (at(7, "effectiveDateTime"), "too-few"),
        (at(8, "effectiveDateTime"), "type"),
    ];
    let expected: Vec<_> = expected.iter().map(|(path, name)| (path.as_str(), *name)).collect();
    assert_eq!(problems(&report), expected);
    assert_eq!(report.total, 10);
    let first = report.violations[0].to_string();
    assert_eq!(
        first,
        format!(
            "Bundle.entry.{count}.resource.valueQuantity: 111.00000000000000000000000001 is not in the range 0 to 111 (glucose in serum or plasma)"
        )
    );
    let json = serde_json::to_value(&report)?;
    assert_eq!(json["violations"][6]["problem"], "parts");
    assert!(json["violations"][6]["message"].as_str().is_some_and(|text| text.contains("comparator")), "{json}");
    Ok(())
}

#[test]
fn a_second_patient_and_a_missing_one() -> Result<(), Anything> {
    let profile = Profile::from_json(DIABETES)?;
    let second = json!({ "resourceType": "Patient", "gender": "f" });
    let report = profile.check(&bundle_with(&[second])?);
    let names: Vec<_> = problems(&report).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["too-few", "text", "too-many"]);
    let bundle = br#"{"resourceType": "Bundle", "type": "collection"}"#;
    let report = profile.check(&fhir::import(bundle)?);
    assert_eq!(problems(&report), [("Bundle.entry.*.resource", "too-few")]);
    Ok(())
}

/// A code with one more member is no code in the record's fields. The rule is about it all the same.
#[test]
fn a_rule_is_not_escaped_by_a_member_more() -> Result<(), Anything> {
    let mut sly = glucose(json!({ "value": 5, "unit": "spoons" }));
    sly["code"]["coding"][0]["userSelected"] = true.into();
    let report = Profile::from_json(DIABETES)?.check(&bundle_with(&[sly.clone()])?);
    assert_eq!(report.applied[1].objects, 1);
    assert_eq!(problems(&report).first().map(|(_, name)| *name), Some("no-unit"));
    // Another coding before the one that counts, and a null.
    sly["code"]["coding"] = json!([{ "text": "sugar" }, { "system": "http://loinc.org", "code": "2345-7" }]);
    assert_eq!(Profile::from_json(DIABETES)?.check(&bundle_with(&[sly])?).applied[1].objects, 1);
    Ok(())
}

#[test]
fn each_type_takes_its_values_only() -> Result<(), Anything> {
    let system = "http://unitsofmeasure.org";
    let values = [
        ("bool", json!(true)),
        ("integer", json!(7)),
        ("decimal", serde_json::from_str("7.25")?),
        ("text", json!("seven")),
        ("date-time", json!("2024-02-29")),
        ("code", json!({ "system": "urn:s", "code": "c" })),
        ("quantity", json!({ "value": 7, "system": system, "code": "kg" })),
    ];
    for (wanted, _) in &values {
        let profile = profile(&json!([{ "key": "value", "value": { "type": wanted } }]))?;
        for (given, value) in &values {
            let mut observation = glucose(mmol("5")?);
            observation["value"] = value.clone();
            let report = profile.check(&bundle_with(&[observation])?);
            // An integer is a number too, and a date-time was written as a text.
            let fits = given == wanted || matches!((*wanted, *given), ("decimal", "integer") | ("text", "date-time"));
            assert_eq!(report.conforms(), fits, "{given} as {wanted}: {:?}", report.violations);
        }
        // An explicit null is not a value.
        let mut observation = glucose(mmol("5")?);
        observation["value"] = json!(null);
        let report = profile.check(&bundle_with(&[observation])?);
        assert_eq!(problems(&report).first().map(|(_, name)| *name), Some("too-few"));
    }
    Ok(())
}

#[test]
fn codes_systems_counts_and_commensurable_units() -> Result<(), Anything> {
    let observation = glucose(mmol("5")?);
    let check = |field: Json| -> Result<Vec<&'static str>, Anything> {
        let report = profile(&json!([field]))?.check(&bundle_with(std::slice::from_ref(&observation))?);
        Ok(report.violations.iter().map(|violation| violation.problem.name()).collect())
    };
    let code = |rest: Json| json!({ "key": "code.coding.*", "value": rest });
    assert!(check(code(json!({ "type": "code", "code-systems": ["http://loinc.org"] })))?.is_empty());
    assert_eq!(check(code(json!({ "type": "code", "code-systems": ["http://snomed.info/sct"] })))?, ["code-system"]);
    let is = |code: &str| json!({ "type": "code", "codes": [{ "system": "http://loinc.org", "code": code }] });
    assert!(check(code(is("2345-7")))?.is_empty());
    assert_eq!(check(code(is("2345-6")))?, ["code"]);
    let quantity = |rest: Json| json!({ "key": "valueQuantity", "value": rest });
    assert!(check(quantity(json!({ "type": "quantity" })))?.is_empty());
    assert!(check(quantity(json!({ "type": "quantity", "commensurable": "umol/mL" })))?.is_empty());
    assert_eq!(check(quantity(json!({ "type": "quantity", "commensurable": "mg/dL" })))?, ["unit"]);
    assert!(check(json!({ "key": "component", "min": 0, "max": 0 }))?.is_empty());
    assert_eq!(check(json!({ "key": "code", "min": 0, "max": 0 }))?, ["too-many"]);
    assert_eq!(check(json!({ "key": "code.coding.*", "min": 2 }))?, ["too-few"]);
    assert!(check(json!({ "key": "code" }))?.is_empty(), "an object is there if something in it is");
    Ok(())
}

#[test]
fn what_is_not_a_profile_is_refused() -> Result<(), Anything> {
    let good: Json = serde_json::from_slice(DIABETES)?;
    let refused = |change: &dyn Fn(&mut Json)| -> Result<ProfileError, Anything> {
        let mut profile = good.clone();
        change(&mut profile);
        match Profile::from_json(&serde_json::to_vec(&profile)?) {
            Ok(_) => Err("it was accepted".into()),
            Err(error) => Ok(error),
        }
    };
    let glucose = |profile: &mut Json, value: Json| profile["rules"][1]["fields"][0]["value"] = value;
    // Members that profiles do not have, at every level.
    for path in [
        "",
        "/rules/0",
        "/rules/0/when/0",
        "/rules/0/count",
        "/rules/0/fields/0",
        "/rules/0/fields/0/value",
        "/rules/1/fields/0/value",
        "/rules/1/fields/0/value/units/0",
        "/rules/1/fields/0/value/units/0/range",
        "/rules/1/when/1/code",
    ] {
        let error = refused(&|profile| {
            if let Some(Json::Object(members)) = profile.pointer_mut(path) {
                members.insert("requierd".to_owned(), true.into());
            }
        })?;
        assert!(matches!(&error, ProfileError::Malformed(text) if text.contains("requierd")), "{path}: {error}");
    }
    type Edit<'a> = &'a dyn Fn(&mut Json);
    let invalid: [(&str, Edit<'_>); 16] = [
        ("rules", &|p| p["rules"] = json!([])),
        ("name", &|p| p["name"] = "".into()),
        ("version", &|p| p["version"] = "1\u{1b}[31m".into()),
        ("rules[1].name", &|p| p["rules"][1]["name"] = "the patient".into()),
        ("rules[0].each", &|p| p["rules"][0]["each"] = json!([])),
        ("rules[0].count", &|p| p["rules"][0]["count"] = json!({ "min": 2, "max": 1 })),
        ("rules[1]", &|p| p["rules"][1]["fields"] = json!([])),
        ("rules[0].when[0]", &|p| p["rules"][0]["when"][0] = json!({ "key": "a" })),
        ("rules[0].fields[0]", &|p| p["rules"][0]["fields"][0]["min"] = 2.into()),
        ("rules[0].fields[1].value.values", &|p| p["rules"][0]["fields"][1]["value"]["values"] = json!([])),
        ("rules[1].fields[0].value.units[0]", &|p| {
            glucose(p, json!({ "type": "quantity", "units": [{ "code": "mmol/l!" }] }))
        }),
        ("rules[1].fields[0].value.units[1]", &|p| {
            glucose(p, json!({ "type": "quantity", "units": [{ "code": "kg" }, { "code": "kg" }] }));
        }),
        ("rules[1].fields[0].value.commensurable", &|p| {
            glucose(p, json!({ "type": "quantity", "commensurable": "mmHg" }))
        }),
        ("rules[1].fields[0].value", &|p| {
            glucose(p, json!({ "type": "quantity", "commensurable": "kg", "units": [{ "code": "kg" }] }))
        }),
        ("rules[1].fields[0].value.range", &|p| {
            glucose(p, json!({ "type": "decimal", "range": { "low": "1e2", "high": "99.9" } }))
        }),
        ("rules[1].fields[0].value.codes", &|p| glucose(p, json!({ "type": "code", "codes": [] }))),
    ];
    for (expected, edit) in invalid {
        let error = refused(edit)?;
        assert!(matches!(&error, ProfileError::Invalid { at, .. } if at == expected), "{expected}: {error}");
    }
    let malformed: [Edit<'_>; 6] = [
        &|p| p["rules"][0]["each"] = json!(["a..b"]),
        &|p| glucose(p, json!({ "type": "quantitty" })),
        &|p| glucose(p, json!({ "type": "decimal", "range": { "low": 0 } })),
        &|p| glucose(p, json!({ "type": "bool", "range": { "low": "0" } })),
        &|p| p["rules"][0]["count"]["min"] = (-1).into(),
        &|p| drop(p.as_object_mut().and_then(|members| members.remove("version"))),
    ];
    for edit in malformed {
        let error = refused(edit)?;
        assert!(matches!(error, ProfileError::Malformed(_)), "{error}");
    }
    for text in ["", "{}", "[]", "{\"name\":1}", "\u{0}"] {
        assert!(matches!(Profile::from_json(text.as_bytes()), Err(ProfileError::Malformed(_))), "{text}");
    }
    let twice = br#"{"name": "a", "name": "b", "version": "1", "rules": []}"#;
    assert!(matches!(Profile::from_json(twice), Err(ProfileError::Malformed(_))));
    assert!(matches!(Profile::from_json(&[b' '; Profile::MAX_BYTES + 1]), Err(ProfileError::TooLarge(_))));
    let rule = good["rules"][3].clone();
    let many = (0..300).map(|n| {
        let mut rule = rule.clone();
        rule["name"] = n.to_string().into();
        rule
    });
    let error = refused(&|profile| profile["rules"] = many.clone().collect())?;
    assert_eq!(error, ProfileError::TooMany(300 * 5));
    Ok(())
}

/// Fifty violations are listed, all are counted, and texts of the record cannot write control characters.
#[test]
fn a_hostile_record_gives_a_short_and_printable_list() -> Result<(), Anything> {
    let evil = format!("\u{1b}[2J{}", "x".repeat(10_000));
    let wrong = vec![glucose(json!({ "value": 5, "system": "http://unitsofmeasure.org", "code": evil })); 300];
    let report =
        profile(&json!([{ "key": "valueQuantity", "value": { "type": "quantity" } }]))?.check(&bundle_with(&wrong)?);
    assert_eq!((report.total, report.violations.len()), (300, Report::MAX_LISTED));
    for violation in &report.violations {
        assert!(matches!(violation.problem, Problem::NotUcum(_)));
        let line = violation.to_string();
        assert!(line.len() < 300 && !line.chars().any(char::is_control), "{line:?}");
    }
    Ok(())
}

/// The largest profile over a large record: patterns cannot explode.
#[test]
fn the_largest_profile_takes_seconds() -> Result<(), Anything> {
    let record = bundle_with(&vec![glucose(mmol("5")?); 5000])?;
    let star = vec!["*"; 60].join(".");
    let rule = |n: usize| json!({ "name": n.to_string(), "each": ["*.*.*.*"], "when": [], "fields": [{ "key": star, "min": 0 }, { "key": "*.*.*", "min": 0 }] });
    let rules: Vec<_> = (0..250).map(rule).collect();
    let profile = Profile::from_json(&serde_json::to_vec(&json!({ "name": "p", "version": "1", "rules": rules }))?)?;
    let begun = Instant::now();
    assert!(profile.check(&record).conforms());
    assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", begun.elapsed());
    Ok(())
}
