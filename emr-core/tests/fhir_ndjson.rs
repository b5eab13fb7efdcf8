//! NDJSON in and out: lines with limits, whose resources they are, Bundles that are gathered from them, and the same lines back.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};

use emr_core::fhir::companions::Taken;
use emr_core::fhir::gather::{Gathered, Gatherer, MAX_GATHERED_BYTES};
use emr_core::fhir::line_resource::{LineResource, NotTaken, PatientId};
use emr_core::fhir::ndjson::{BadLine, Line, LineError, Lines, MAX_LINE_BYTES, MAX_SKIPPED_BYTES};
use emr_core::fhir::{FhirError, export, import, resources, validate};
use emr_core::{Class, Record};
use proptest::prelude::*;

type Anything = Box<dyn std::error::Error>;

const BUNDLE: &[u8] = include_bytes!("../fixtures/synthea-bundle.json");

fn lines(bytes: &[u8]) -> Vec<Result<Line, BadLine>> {
    Lines::new(bytes).collect()
}

fn texts(bytes: &[u8]) -> Result<Vec<(u64, String)>, Anything> {
    lines(bytes)
        .into_iter()
        .map(|line| line.map(|Line { number, bytes }| Ok((number, String::from_utf8(bytes)?)))?)
        .collect()
}

fn read(line: &str) -> Result<LineResource<'_>, NotTaken> {
    LineResource::read(line.as_bytes())
}

#[test]
fn line_ends_empty_lines_and_a_byte_order_mark() -> Result<(), Anything> {
    let file = b"\xef\xbb\xbf{\"a\":1}\r\n\n  \t\r\n {\"b\":2} \n\r\n{\"c\":3}";
    let expected =
        [(1, "{\"a\":1}"), (4, "{\"b\":2}"), (6, "{\"c\":3}")].map(|(number, text)| (number, text.to_owned()));
    assert_eq!(texts(file)?, expected);
    assert!(texts(b"")?.is_empty());
    assert!(texts(b"\n\r\n \n")?.is_empty());
    assert!(texts(b"\xef\xbb\xbf")?.is_empty());
    // A byte order mark in the middle is left, and then is no JSON.
    let middle = texts(b"1\n\xef\xbb\xbf{\"resourceType\":\"Basic\"}\n")?;
    assert_eq!(middle.len(), 2);
    assert!(matches!(read(&middle[1].1), Err(NotTaken::Fhir(FhirError::NotJson { .. }))));
    Ok(())
}

/// A file that never ends, and counts what was read of it.
struct Digits {
    left: u64,
    read: u64,
}

impl Read for Digits {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        buffer[..count].fill(b'7');
        self.left -= count as u64;
        self.read += count as u64;
        Ok(count)
    }
}

/// Digits without end stop at a limit, and a line that is only too long does not stop the next ones.
#[test]
fn long_lines_stop_at_a_limit() -> Result<(), Anything> {
    let mut endless = BufReader::with_capacity(1 << 20, Digits { left: u64::MAX, read: 0 });
    let mut bad = Lines::new(endless.by_ref());
    let first = bad.next();
    assert!(matches!(first, Some(Err(BadLine { number: 1, error: LineError::Endless }))), "{first:?}");
    assert!(bad.next().is_none());
    let read = endless.get_ref().read;
    assert!(read <= MAX_LINE_BYTES as u64 + MAX_SKIPPED_BYTES + (2 << 20), "{read}");

    let long = Digits { left: 2 * MAX_LINE_BYTES as u64, read: 0 };
    let file = long.chain(&b"\n{\"resourceType\":\"Basic\"}\n"[..]);
    let found: Vec<_> = Lines::new(BufReader::with_capacity(1 << 20, file)).collect();
    assert!(matches!(found[0], Err(BadLine { number: 1, error: LineError::TooLong })), "{found:?}");
    assert!(matches!(&found[1], Ok(Line { number: 2, .. })), "{found:?}");
    assert_eq!(found.len(), 2);

    // The longest line that is read, and one more byte, with both line ends.
    for (more, end, fits) in
        [(0, "\n", true), (0, "\r\n", true), (0, "", true), (1, "\n", false), (1, "\r\n", false), (1, "", false)]
    {
        let digits = Digits { left: MAX_LINE_BYTES as u64 + more, read: 0 };
        let file = BufReader::with_capacity(1 << 20, digits.chain(end.as_bytes()).chain(&b"1"[..]));
        let first = Lines::new(file).next().ok_or("a line")?;
        // Without an end, the digit after it belongs to the line.
        assert_eq!(first.is_ok(), fits && !end.is_empty(), "{more} {end:?}");
    }
    Ok(())
}

/// A file that breaks while it is read.
struct Broken(bool);

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.0 {
            return Err(std::io::Error::other("the disk is gone"));
        }
        self.0 = true;
        let line = b"{\"a\":1}\n{\"b\"";
        buffer[..line.len()].copy_from_slice(line);
        Ok(line.len())
    }
}

#[test]
fn a_file_that_cannot_be_read_on_ends_with_an_error() {
    let found: Vec<_> = Lines::new(BufReader::new(Broken(false))).collect();
    assert!(matches!(&found[..], [Ok(_), Err(BadLine { number: 2, error: LineError::Read(_) })]), "{found:?}");
}

#[test]
fn hostile_lines_are_refused_with_a_reason() {
    let deep = "{\"resourceType\":\"Basic\",\"a\":".to_owned() + &"{\"a\":".repeat(10_000) + "1" + &"}".repeat(10_001);
    let in_bundle = |levels: usize| {
        "{\"resourceType\":\"Basic\",\"a\":".to_owned() + &"{\"a\":".repeat(levels) + "1" + &"}".repeat(levels + 1)
    };
    let path = format!("{{\"resourceType\":\"Basic\",\"{}\":1}}", "a".repeat(1010));
    let too_deep = in_bundle(62);
    type Expected = fn(&NotTaken) -> bool;
    let cases: [(&str, Expected); 8] = [
        (&deep, |e| matches!(e, NotTaken::Fhir(FhirError::TooDeep { .. }))),
        (&too_deep, |e| *e == NotTaken::TooDeep),
        (&path, |e| *e == NotTaken::TooDeep),
        ("{\"resourceType\":\"Basic\",\"id\":\"a\",\"id\":\"b\"}", |e| {
            *e == NotTaken::Fhir(FhirError::Duplicate { path: "id".into() })
        }),
        ("{\"resourceType\":\"Basic\",\"id\":", |e| matches!(e, NotTaken::Fhir(FhirError::NotJson { .. }))),
        ("{\"resourceType\":\"Basic\"}{\"resourceType\":\"Basic\"}", |e| {
            matches!(e, NotTaken::Fhir(FhirError::NotJson { .. }))
        }),
        ("{\"resourceType\":\"../../etc\"}", |e| matches!(e, NotTaken::Fhir(FhirError::UnknownResource(_)))),
        ("[1]", |e| *e == NotTaken::Fhir(FhirError::NotFhir)),
    ];
    for (line, expected) in cases {
        let refused = read(line).map(|_| ());
        let start: String = line.chars().take(60).collect();
        assert!(refused.as_ref().is_err_and(expected), "{start}: {refused:?}");
        assert!(
            refused.is_err_and(|error| error.to_string().len() < 300 && !error.to_string().contains('\n')),
            "{start}"
        );
    }
    assert!(matches!(LineResource::read(b"{\"a\":\"\xff\"}"), Err(NotTaken::Fhir(FhirError::NotJson { .. }))));
    // What is read fits a Bundle.
    let line = in_bundle(59);
    let gathered = gather(&[&line]).expect("it fits");
    assert!(import(&gathered[0].bundle).is_ok());
}

#[test]
fn only_the_patients_resources_are_taken() -> Result<(), Anything> {
    let patient: PatientId = "p-1".parse()?;
    let taken = |line: &str| read(line).and_then(|resource| resource.check_patient(&patient));
    for line in [
        r#"{"resourceType":"Patient","id":"p-1","link":[{"other":{"reference":"Patient/old"},"type":"replaces"}]}"#,
        r#"{"resourceType":"Observation","subject":{"reference":"Patient/p-1"}}"#,
        r#"{"resourceType":"Observation","subject":{"reference":"https://ehr.example/fhir/Patient/p-1/_history/3"}}"#,
        r#"{"resourceType":"Observation","subject":{"reference":"urn:uuid:p-1"},"performer":[{"reference":"Practitioner/9"}]}"#,
        r#"{"resourceType":"Coverage","beneficiary":{"reference":"Patient/p-1"},"policyHolder":{"reference":"Patient/mother"}}"#,
        r#"{"resourceType":"Account","subject":[{"reference":"Patient/p-1"}]}"#,
        r#"{"resourceType":"Appointment","participant":[{"actor":{"reference":"Practitioner/9"}},{"actor":{"reference":"Patient/p-1"}}]}"#,
        r#"{"resourceType":"Practitioner","id":"9"}"#,
        r#"{"resourceType":"Provenance","target":[{"reference":"Observation/1"},{"reference":"urn:uuid:77"}]}"#,
        r#"{"resourceType":"Task","for":{"reference":"Patient/p-1"}}"#,
        r#"{"resourceType":"Binary","securityContext":{"reference":"DocumentReference/1"},"data":"AA=="}"#,
        r##"{"resourceType":"Observation","subject":{"reference":"Patient/p-1"},"contained":[{"resourceType":"Condition","subject":{"reference":"Patient/p-1"}},{"resourceType":"Specimen","subject":{"reference":"#x"}}]}"##,
    ] {
        assert_eq!(taken(line), Ok(()), "{line}");
    }
    type Expected = fn(&NotTaken) -> bool;
    let other: Expected = |e| matches!(e, NotTaken::OtherPatient { .. });
    let unclear: Expected = |e| matches!(e, NotTaken::OtherSubject { .. });
    let nobody: Expected = |e| matches!(e, NotTaken::Nobody(_));
    let cases: [(&str, Expected); 25] = [
        (r#"{"resourceType":"Binary","securityContext":{"reference":"Patient/p-2"},"data":"AA=="}"#, other),
        (
            r#"{"resourceType":"Observation","subject":{"reference":"Patient/p-1"},"contained":[{"resourceType":"Condition","subject":{"reference":"Patient/p-2"}}]}"#,
            other,
        ),
        (
            r#"{"resourceType":"Practitioner","contained":[{"resourceType":"Basic","contained":[{"resourceType":"Account","subject":[{"reference":"Patient/p-2"}]}]}]}"#,
            other,
        ),
        (
            r#"{"resourceType":"Observation","subject":{"reference":"Patient/p-1"},"contained":[{"resourceType":"Provenance","target":[{"reference":"Patient/p-2"}]}]}"#,
            other,
        ),
        (
            r#"{"resourceType":"Observation","subject":{"reference":"Patient/p-1"},"contained":[{"resourceType":"Condition","subject":{"identifier":{"value":"p-2"}}}]}"#,
            unclear,
        ),
        (
            r#"{"resourceType":"Observation","subject":{"reference":"Patient/p-1"},"contained":[{"resourceType":"Condition","subject":{"reference":"Group/p-1"}}]}"#,
            unclear,
        ),
        // Whose a contained resource is says nothing of the one around it.
        (
            r#"{"resourceType":"Observation","contained":[{"resourceType":"Condition","subject":{"reference":"Patient/p-1"}}]}"#,
            nobody,
        ),
        (r#"{"resourceType":"Patient","id":"p-2"}"#, other),
        (r#"{"resourceType":"Patient"}"#, other),
        (r#"{"resourceType":"Observation","subject":{"reference":"Patient/p-10"}}"#, other),
        (r#"{"resourceType":"Observation","subject":{"\u0072eference":"Patient\/p-2"}}"#, other),
        (r#"{"resourceType":"Observation","subject":{"reference":"https://ehr.example/Patient/p-2"}}"#, other),
        (r#"{"resourceType":"Observation","subject":{"reference":"urn:uuid:p-2"}}"#, other),
        (r#"{"resourceType":"Immunization","patient":{"reference":"Patient/p-2"}}"#, other),
        (r#"{"resourceType":"Coverage","beneficiary":{"reference":"Patient/p-2"}}"#, other),
        (r#"{"resourceType":"Account","subject":[{"reference":"Patient/p-1"},{"reference":"Patient/p-2"}]}"#, other),
        (
            r#"{"resourceType":"Appointment","participant":[{"actor":{"reference":"Patient/p-1"}},{"actor":{"reference":"Patient/p-2"}}]}"#,
            other,
        ),
        (r#"{"resourceType":"Device","patient":{"reference":"Patient/p-2"}}"#, other),
        (r#"{"resourceType":"Observation","subject":{"reference":"Group/p-1"}}"#, unclear),
        (r##"{"resourceType":"Observation","subject":{"reference":"#p-1"}}"##, unclear),
        (r#"{"resourceType":"Observation","subject":{"reference":"Patient?identifier=p-1"}}"#, unclear),
        (r#"{"resourceType":"Device","patient":{"identifier":{"system":"urn:x","value":"p-2"}}}"#, unclear),
        (r#"{"resourceType":"Observation","status":"final"}"#, nobody),
        (r#"{"resourceType":"Group","member":[{"entity":{"reference":"Practitioner/1"}}]}"#, nobody),
        (r#"{"resourceType":"OperationOutcome","id":"x"}"#, |e| *e == NotTaken::Outcome),
    ];
    for (line, expected) in cases {
        let refused = taken(line);
        assert!(refused.as_ref().is_err_and(expected), "{line}: {refused:?}");
    }
    assert_eq!(taken(r#"{"resourceType":"Bundle","type":"batch"}"#), Err(NotTaken::Container("Bundle".into())));
    for id in ["", "a b", "../x", "p/1", &"a".repeat(65), "p_1"] {
        assert!(id.parse::<PatientId>().is_err(), "{id}");
    }
    Ok(())
}

/// Beside another patient's resources, files and Provenances must be linked with what was taken.
#[test]
fn binaries_and_provenances_follow_what_was_taken() -> Result<(), Anything> {
    let patient: PatientId = "p-1".parse()?;
    let mut taken = Taken::of(&patient);
    for line in [
        r#"{"resourceType":"Observation","id":"1","subject":{"reference":"Patient/p-1"}}"#,
        r#"{"resourceType":"DocumentReference","subject":{"reference":"Patient/p-1"},"content":[{"attachment":{"url":"https://ehr.example/fhir/Binary/b-1"}}]}"#,
    ] {
        taken.add(&read(line)?);
    }
    let binary = |id: &str, context: &str| {
        let context = match context {
            "" => String::new(),
            context => format!(",\"securityContext\":{{\"reference\":\"{context}\"}}"),
        };
        format!("{{\"resourceType\":\"Binary\",\"id\":\"{id}\"{context},\"data\":\"AA==\"}}")
    };
    let about = |targets: &str| format!("{{\"resourceType\":\"Provenance\",\"target\":[{targets}]}}");
    let good = [
        binary("b-1", ""),
        binary("b-2", "Patient/p-1"),
        binary("b-3", "Observation/1"),
        about(r#"{"reference":"Observation/1/_history/2","type":"Observation"},{"reference":"Patient/p-1"}"#),
    ];
    let bad = [
        binary("b-9", ""),
        binary("b-9", "Observation/2"),
        binary("b-9", "https://ehr.example/fhir/Encounter/1"),
        about(r#"{"reference":"Observation/2"}"#),
        about(r#"{"reference":"Observation/1"},{"reference":"Observation/2"}"#),
        about(r#"{"reference":"Observation/1"},{"identifier":{"value":"p-2"}}"#),
        about(r#"{"reference":"urn:uuid:1"}"#),
        r#"{"resourceType":"Provenance","recorded":"2020"}"#.to_owned(),
    ];
    for line in good.iter().chain(&bad) {
        assert_eq!(taken.check(&read(line)?), Ok(()), "alone in its folder: {line}");
    }
    taken.has_others();
    for line in &good {
        assert_eq!(taken.check(&read(line)?), Ok(()), "{line}");
    }
    for line in &bad {
        let refused = taken.check(&read(line)?);
        let expected =
            matches!(refused, Err(NotTaken::Unlinked(_) | NotTaken::OtherTarget { .. } | NotTaken::Nobody(_)));
        assert!(expected, "{line}: {refused:?}");
    }
    Ok(())
}

/// Gathers lines in one class.
fn gather(lines: &[&str]) -> Result<Vec<Gathered>, NotTaken> {
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
