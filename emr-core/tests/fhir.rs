//! FHIR R4 in and out.

use emr_core::fhir::{FhirError, MAX_BYTES, MAX_DEPTH, MAX_MEMBERS, export, import, validate};
use emr_core::{Attachment, Codec, Key, OriginalDocument, Record, Value};
use proptest::prelude::*;

type Anything = Box<dyn std::error::Error>;

const BUNDLE: &[u8] = include_bytes!("../fixtures/synthea-bundle.json");

fn shown(record: &Record) -> Vec<(String, String)> {
    record.fields().iter().map(|(key, value)| (key.to_string(), format!("{value:?}"))).collect()
}

fn get<'a>(record: &'a Record, key: &str) -> Result<&'a Value, Anything> {
    record.get(&key.parse()?).ok_or_else(|| format!("no {key} in {:?}", shown(record)).into())
}

#[test]
fn a_synthea_bundle_comes_back_byte_for_byte() -> Result<(), Anything> {
    let record = import(BUNDLE)?;
    assert_eq!(export(&record)?, BUNDLE);
    assert_eq!(export(&Record::from_dag_cbor(&record.to_dag_cbor()?)?)?, BUNDLE);
    assert_eq!(validate(BUNDLE)?.total, 0);

    // Every value of the document is in a field: as many as serde_json counts, two to four to a code or quantity.
    let json: serde_json::Value = serde_json::from_slice(BUNDLE)?;
    fn values(json: &serde_json::Value) -> usize {
        match json {
            serde_json::Value::Array(items) => items.iter().map(values).sum(),
            serde_json::Value::Object(members) => members.values().map(values).sum(),
            _ => 1,
        }
    }
    let in_field = |value: &Value| match value {
        Value::Code(code) => 2 + usize::from(code.display.is_some()),
        Value::Quantity(q) => 1 + [&q.unit, &q.system, &q.code].into_iter().flatten().count(),
        _ => 1,
    };
    assert_eq!(record.fields().values().map(in_field).sum::<usize>(), values(&json));

    // Without the document, the resource that is built from the fields has the same content.
    let bare = Record::from_fields(record.fields().clone(), None)?;
    let rebuilt = export(&bare)?;
    assert_eq!(import(&rebuilt)?.fields(), record.fields());
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&rebuilt)?, json);
    Ok(())
}

#[test]
fn the_mapping() -> Result<(), Anything> {
    let document = br#" { "name": [{"given": ["Ana", null], "_given": [null, {"id": "2020-01-01"}]}], "active": true,
        "birthDate": "1970-01-31", "multipleBirthInteger": 2, "resourceType":"Patient", "maritalStatus":
        {"coding": [{"code": "M", "system": "urn:x"}, {"system": "urn:x", "code": "M", "display": "M\u00e9"},
        {"system": "urn:x", "code": "M", "version": "1"}, {"code": "M"}]},
        "extension": [{"url": "urn:a", "valueQuantity": {"value": 1.50, "unit": "mg"}}, {"url": "urn:b", "valueQuantity":
        {"code": "mg", "system": "urn:u", "value": 7}}, {"url": "urn:c", "valueQuantity": {"value": 7}},
        {"url": "urn:d", "valueQuantity": {"value": 7, "unit": "mg", "comparator": "<"}}] } "#;
    let record = import(document)?;
    let shown = shown(&record);
    let expected = [
        ("_given.0", "Null"),
        ("_given.1.id", "DateTime(DateTime(\"2020-01-01\"))"),
        ("given.0", "Text(\"Ana\")"),
        ("given.1", "Null"),
    ]
    .map(|(key, value)| (format!("Patient.name.0.{key}"), value.to_owned()));
    assert!(expected.iter().all(|field| shown.contains(field)), "{shown:?}");
    assert_eq!(get(&record, "Patient.resourceType")?, &Value::Text("Patient".into()));
    assert_eq!(get(&record, "Patient.active")?, &Value::Bool(true));
    assert_eq!(get(&record, "Patient.multipleBirthInteger")?, &Value::Integer(2));
    assert_eq!(get(&record, "Patient.birthDate")?, &Value::DateTime("1970-01-31".parse()?));
    assert!(matches!(get(&record, "Patient.maritalStatus.coding.0")?, Value::Code(code) if code.display.is_none()));
    assert!(
        matches!(get(&record, "Patient.maritalStatus.coding.1")?, Value::Code(code) if code.display.as_deref() == Some("M\u{e9}"))
    );
    assert_eq!(get(&record, "Patient.maritalStatus.coding.2.version")?, &Value::Text("1".into()));
    assert_eq!(get(&record, "Patient.maritalStatus.coding.3.code")?, &Value::Text("M".into()));
    assert!(
        matches!(get(&record, "Patient.extension.0.valueQuantity")?, Value::Quantity(q) if q.value.as_str() == "1.50")
    );
    assert!(
        matches!(get(&record, "Patient.extension.1.valueQuantity")?, Value::Quantity(q) if q.value.as_str() == "7")
    );
    assert_eq!(get(&record, "Patient.extension.2.valueQuantity.value")?, &Value::Integer(7));
    assert_eq!(get(&record, "Patient.extension.3.valueQuantity.comparator")?, &Value::Text("<".into()));
    assert_eq!(export(&record)?, document);
    let bare = Record::from_fields(record.fields().clone(), None)?;
    assert_eq!(import(&export(&bare)?)?.fields(), record.fields());
    Ok(())
}

/// No number goes through a float, with the document and without it.
#[test]
fn numbers_stay_as_written() -> Result<(), Anything> {
    for number in [
        "1.50",
        "1e400",
        "-0",
        "0.1",
        "100000000000000000000000000000001",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "1E+2",
        "0.00",
        "3.141592653589793238462643383279",
    ] {
        let document = format!(r#"{{"resourceType":"Observation","valueQuantity":{{"value":{number}}}}}"#);
        let record = import(document.as_bytes())?;
        let value = get(&record, "Observation.valueQuantity.value")?;
        assert_eq!(value.to_string(), number);
        assert_eq!(matches!(value, Value::Integer(_)), number.parse::<i64>().is_ok() && number != "-0");
        assert_eq!(export(&record)?, document.as_bytes());
        let bare = Record::from_fields(record.fields().clone(), None)?;
        assert_eq!(String::from_utf8(export(&bare)?)?, document);
    }
    Ok(())
}

#[test]
fn invalid_fhir_is_refused_with_a_reason() {
    let deep = |depth: usize| {
        let inner = "{\"a\":".repeat(depth - 1);
        format!("{{\"resourceType\":\"Basic\",\"a\":{inner}1{}", "}".repeat(depth))
    };
    assert!(import(deep(MAX_DEPTH).as_bytes()).is_ok());
    let members: Vec<_> = (0..MAX_MEMBERS).map(|i| format!("\"a{i}\":1")).collect();
    let members = format!("{{\"resourceType\":\"Basic\",{}}}", members.join(","));
    let long_number = format!("{{\"resourceType\":\"Basic\",\"a\":{}}}", "1".repeat(2000));
    let long_path = format!("{{\"resourceType\":\"Basic\",\"{}\":1}}", "a".repeat(2000));
    let (too_deep, very_deep) = (deep(MAX_DEPTH + 1), "[".repeat(1 << 20));
    let in_patient = |rest: &str| format!("{{\"resourceType\":\"Patient\",{rest}}}");
    type Expected = fn(&FhirError) -> bool;
    let cases: Vec<(String, Expected)> = vec![
        ("".into(), |e| matches!(e, FhirError::NotJson { line: 1, column: 1, .. })),
        ("PATIENT|Ana\n".into(), |e| matches!(e, FhirError::NotJson { line: 1, column: 1, .. })),
        ("{\n \"resourceType\": \"Patient\",\n \"a\": tru\n}".into(), |e| {
            matches!(e, FhirError::NotJson { line: 3, column: 7, .. })
        }),
        ("{\"\u{e9}\u{e9}\":x".into(), |e| matches!(e, FhirError::Invalid { .. })),
        (in_patient("\"a\":\"\u{e9}\u{e9}\" x"), |e| matches!(e, FhirError::NotJson { line: 1, column: 36, .. })),
        (in_patient("\"a\":1,"), |e| matches!(e, FhirError::NotJson { .. })),
        (in_patient("\"a\":[1,]"), |e| matches!(e, FhirError::NotJson { .. })),
        (in_patient("\"a\":01"), |e| matches!(e, FhirError::NotJson { .. })),
        (in_patient("\"a\":\"\\ud800\""), |e| matches!(e, FhirError::NotJson { .. })),
        (in_patient("\"a\":\"\t\""), |e| matches!(e, FhirError::NotJson { .. })),
        (in_patient("\"a\":1") + "}", |e| matches!(e, FhirError::NotJson { .. })),
        ("[]".into(), |e| *e == FhirError::NotFhir),
        ("7".into(), |e| *e == FhirError::NotFhir),
        ("{\"a\":1}".into(), |e| *e == FhirError::NotFhir),
        ("{\"resourceType\":1}".into(), |e| *e == FhirError::NotFhir),
        ("{\"resourceType\":{\"a\":\"Patient\"}}".into(), |e| *e == FhirError::NotFhir),
        ("{\"resourceType\":\"patient\"}".into(), |e| *e == FhirError::UnknownResource("patient".into())),
        (in_patient("\"name\":[{\"text\":\"a\",\"text\":\"b\"}]"), |e| {
            *e == FhirError::Duplicate { path: "name.0.text".into() }
        }),
        (in_patient("\"a\":1,\"\\u0061\":2"), |e| *e == FhirError::Duplicate { path: "a".into() }),
        (in_patient("\"resourceType\":\"Basic\""), |e| *e == FhirError::Duplicate { path: "resourceType".into() }),
        (in_patient("\"name\":[]"), |e| matches!(e, FhirError::Invalid { path, .. } if path == "name")),
        (in_patient("\"name\":[{}]"), |e| matches!(e, FhirError::Invalid { path, .. } if path == "name.0")),
        (in_patient("\"name\":[[1]]"), |e| matches!(e, FhirError::Invalid { .. })),
        (in_patient("\"a.b\":1"), |e| matches!(e, FhirError::Invalid { .. })),
        (in_patient("\"0\":1"), |e| matches!(e, FhirError::Invalid { .. })),
        (in_patient("\"\":1"), |e| matches!(e, FhirError::Invalid { .. })),
        (too_deep, |e| matches!(e, FhirError::TooDeep { line: 1, .. })),
        (very_deep, |e| *e == FhirError::NotFhir),
        (members, |e| matches!(e, FhirError::TooManyMembers { .. })),
        (long_number, |e| *e == FhirError::NumberTooLong { path: "a".into(), len: 2000 }),
        (long_path, |e| matches!(e, FhirError::Key(_))),
    ];
    for (document, expected) in cases {
        let refused = import(document.as_bytes());
        let start: String = document.chars().take(80).collect();
        assert!(refused.as_ref().is_err_and(expected), "{start}: {refused:?}");
        assert!(refused.is_err_and(|e| e.to_string().len() < 300 && !e.to_string().contains('\n')), "{start}");
        assert!(validate(document.as_bytes()).is_err(), "{start}");
    }
    // UTF-16, as some editors save it.
    let utf16: Vec<u8> = "{\"resourceType\":\"Patient\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(matches!(
        import(&[&[0xff, 0xfe], utf16.as_slice()].concat()),
        Err(FhirError::NotJson { line: 1, column: 1, .. })
    ));
    assert!(matches!(import(b"{\n\"a\":\"\xff\"}"), Err(FhirError::NotJson { line: 2, column: 6, .. })));
}

#[test]
fn oversized_documents_are_refused() {
    assert_eq!(import(&vec![b' '; MAX_BYTES + 1]), Err(FhirError::TooLarge(MAX_BYTES + 1)));
    let items = "1,".repeat(Record::MAX_FIELDS);
    let document = format!("{{\"resourceType\":\"Basic\",\"a\":[{items}1]}}");
    assert_eq!(import(document.as_bytes()), Err(FhirError::TooManyFields));
    // Long paths, repeated for every item, must not multiply the document.
    let name = "a".repeat(1000);
    let items = "1,".repeat(Record::MAX_FIELDS / 2);
    let document = format!("{{\"resourceType\":\"Basic\",\"{name}\":[{items}1]}}");
    assert_eq!(import(document.as_bytes()), Err(FhirError::TooManyFields));
}

#[test]
fn a_byte_order_mark_is_kept() -> Result<(), Anything> {
    let document = b"\xef\xbb\xbf{\"resourceType\":\"Patient\",\"active\":true}";
    assert_eq!(export(&import(document)?)?, document);
    Ok(())
}

/// A doctor signs fields and a document that contradict each other.
#[test]
fn a_document_that_contradicts_the_fields_is_not_exported() -> Result<(), Anything> {
    let record = import(br#"{"resourceType":"Patient","active":true,"gender":"female"}"#)?;
    for (other, key) in [
        (&br#"{"resourceType":"Patient","active":false,"gender":"female"}"#[..], "Patient.active"),
        (
            br#"{"resourceType":"Patient","active":true,"gender":"female","deceasedBoolean":true}"#,
            "Patient.deceasedBoolean",
        ),
        (br#"{"resourceType":"Patient","active":true}"#, "Patient.gender"),
    ] {
        let original =
            OriginalDocument { media_type: "application/fhir+json".into(), bytes: other.to_vec(), cuts: vec![] };
        let forged = Record::from_fields(record.fields().clone(), Some(original))?;
        assert_eq!(export(&forged), Err(FhirError::Contradicts(key.parse()?)));
    }
    let original = OriginalDocument { media_type: "application/dicom".into(), bytes: vec![], cuts: vec![] };
    let image = Record::from_fields(record.fields().clone(), Some(original))?;
    assert_eq!(export(&image), Err(FhirError::OtherFormat("application/dicom".into())));
    Ok(())
}

#[test]
fn an_edited_record_is_rebuilt_from_its_fields() -> Result<(), Anything> {
    let mut record = import(br#"{"resourceType":"Patient","name":[{"family":"Lee"}]}"#)?;
    record.insert("Patient.name.0.family".parse()?, Value::Text("O\"Lee\n\u{1}\u{e9}".into()))?;
    // A text that looks like a date in JSON is written unchanged.
    record.insert("Patient.name.0.text".parse()?, Value::Text("2020-01-01".into()))?;
    let document = String::from_utf8(export(&record)?)?;
    assert_eq!(
        document,
        "{\"resourceType\":\"Patient\",\"name\":[{\"family\":\"O\\\"Lee\\n\\u0001\u{e9}\",\"text\":\"2020-01-01\"}]}"
    );
    Ok(())
}

#[test]
fn a_field_that_fhir_cannot_hold_is_named() -> Result<(), Anything> {
    let patient = || import(br#"{"resourceType":"Patient","name":[{"family":"Lee"}]}"#);
    let link = Attachment { link: emr_core::cid::cid_of(Codec::Raw, b""), media_type: "a/b".into(), size: 0 };
    for (key, value) in [
        ("Patient.photo", Value::Attachment(link)),
        ("Patient.photo", Value::Bytes(vec![1])),
        ("Patient.name.2.family", Value::Text("a gap".into())),
        ("Patient.name.family", Value::Text("beside an item".into())),
        ("Patient.name.00.family", Value::Text("no number".into())),
        ("Patient.name.0.family.x", Value::Text("below a value".into())),
        ("Patient.name", Value::Text("above a value".into())),
        ("Patient", Value::Text("the resource".into())),
        ("Observation.status", Value::Text("another resource".into())),
    ] {
        let mut record = patient()?;
        record.insert(key.parse()?, value)?;
        assert!(matches!(export(&record), Err(FhirError::NotMappable(_))), "{key}: {:?}", export(&record));
    }
    let mut record = patient()?;
    record.insert("Patient.resourceType".parse()?, Value::Text("Basic".into()))?;
    assert!(matches!(export(&record), Err(FhirError::NotMappable(_))));
    record.insert("Patient.resourceType".parse()?, Value::Text("Patent".into()))?;
    assert_eq!(export(&record), Err(FhirError::UnknownResource("Patent".into())));
    assert_eq!(export(&Record::new()), Err(FhirError::Empty));
    Ok(())
}

#[test]
fn problems_are_reported_with_their_path() -> Result<(), Anything> {
    let document = br#"{"resourceType":"Bundle","type":"collection","entry":[{"resource":{"resourceType":"Patient","active":true}},
        {"resource":{"resourceType":"Patient","birthDate":"31.1.1970","nickname":"x","_line":7}},
        {"resource":{"resourceType":"Patent","id":"x"}}],"colour":"red"}"#;
    let problems = validate(document)?;
    let paths: Vec<_> = problems.first.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(problems.total, 5);
    for path in ["Bundle.colour", "Bundle.entry[1].resource.birthDate", "Bundle.entry[1].resource.nickname"] {
        assert!(paths.contains(&path), "{paths:?}");
    }
    assert!(paths.contains(&"Bundle.entry[2].resource"), "{paths:?}");
    // The document is imported in spite of that, and nothing is lost.
    assert_eq!(export(&import(document)?)?, document);
    Ok(())
}

/// Elements of a few bytes that take kilobytes in fhirkit.
#[test]
fn a_huge_resource_is_not_checked() -> Result<(), Anything> {
    let elements = r#"{"id":"a"},"#.repeat(20_000);
    let document =
        format!(r#"{{"resourceType":"StructureDefinition","snapshot":{{"element":[{elements}{{"id":"a"}}]}}}}"#);
    let problems = validate(document.as_bytes())?;
    assert_eq!((problems.total, problems.first[0].path.as_str()), (1, "StructureDefinition"));
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
    leaf.prop_recursive(5, 40, 5, |inner| {
        let name = prop_oneof!["value", "code", "system", "unit", "display", "[a-c]_?"];
        let object = prop::collection::btree_map(name, inner.clone(), 1..6).prop_map(|members| {
            let members: Vec<_> = members.iter().map(|(name, value)| format!(" \"{name}\" :{value}")).collect();
            format!("{{{}\n}}", members.join(","))
        });
        let array = prop::collection::vec(inner.prop_filter("an array", |item| !item.starts_with('[')), 1..5)
            .prop_map(|items| format!("[{}]", items.join(", ")));
        prop_oneof![object, array]
    })
}

proptest! {
    #[test]
    fn any_resource_comes_back(value in json()) {
        let document = format!("{{\"a\":{value},\"resourceType\":\"Basic\"}}");
        let record = import(document.as_bytes())?;
        prop_assert_eq!(export(&record)?, document.as_bytes());
        let bare = Record::from_fields(record.fields().clone(), None)?;
        let rebuilt = export(&bare)?;
        let again = import(&rebuilt)?;
        prop_assert_eq!(again.fields(), record.fields());
        // Two keys never stand for one element.
        let bytes = record.to_dag_cbor()?;
        prop_assert_eq!(Record::from_dag_cbor(&bytes)?, record);
    }

    /// The scanner accepts what serde_json accepts, and nothing else.
    #[test]
    fn json_is_what_serde_json_says(inner in "[ \\[\\]{}:,\"\\\\truefalsn0-9.eE+ub/\u{e9}\u{1}-]{0,12}") {
        let document = format!("{{\"resourceType\":\"Basic\",\"a\":{inner}}}");
        let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&document).is_ok();
        let ours = !matches!(import(document.as_bytes()), Err(FhirError::NotJson { .. }));
        prop_assert!(!theirs || ours, "refused: {}", document);
        prop_assert!(theirs || import(document.as_bytes()).is_err(), "accepted: {}", document);
    }

    #[test]
    fn any_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let _ = (import(&bytes), validate(&bytes));
        let within = [b"{\"resourceType\":\"Patient\",\"a\":\"", bytes.as_slice(), b"\"}"].concat();
        if let Ok(record) = import(&within) {
            prop_assert_eq!(export(&record)?, within);
        }
    }

    #[test]
    fn a_cut_or_changed_bundle_is_read_without_panic(cut in 0..3000_usize, at in 0..3000_usize, with in any::<u8>()) {
        prop_assert!(import(&BUNDLE[..cut]).is_err());
        let mut changed = BUNDLE[..3000].to_vec();
        changed[at] = with;
        let _ = import(&changed);
    }
}

#[test]
fn keys_of_a_bundle_name_one_element_each() -> Result<(), Anything> {
    let record = import(BUNDLE)?;
    let family: Key = "Bundle.entry.0.resource.name.0.family".parse()?;
    assert!(matches!(record.get(&family), Some(Value::Text(_))));
    Ok(())
}
