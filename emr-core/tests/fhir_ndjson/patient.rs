//! Whose resources the lines are.

use emr_core::fhir::companions::Taken;
use emr_core::fhir::line_resource::{LineResource, NotTaken, PatientId};
use emr_core::fhir::{FhirError, import};

use super::{Anything, gather::gather, read};

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
