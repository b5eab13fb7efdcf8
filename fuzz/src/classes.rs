//! The classes of a FHIR document, and its parts.

use emr_core::{fhir, is_harmless};

/// A depression, the visit because of it, and a measurement at that visit.
const BUNDLE: &[u8] = br#"{"resourceType":"Bundle","type":"collection","entry":[
{"fullUrl":"urn:uuid:1","resource":{"resourceType":"Condition","id":"1","code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10-cm",
"code":"F32.1"}]}}},{"resource":{"resourceType":"Encounter","id":"v","reasonReference":[{"reference":"urn:uuid:1"}]}},
{"resource":{"resourceType":"Observation","category":[{"coding":[{"code":"laboratory"}]}],"encounter":{"reference":"Encounter/v"},
"code":{"coding":[{"system":"http://loinc.org","code":"718-7","display":"Hemoglobin"}]}}},{"resource":{"resourceType":"Composition",
"type":{"coding":[{"system":"http://loinc.org","code":"60591-5"}]},"section":[{"code":{"coding":[{"code":"10162-6"}]},
"entry":[{"reference":"Basic/b"}]}]}},{"resource":{"resourceType":"Basic","id":"b","meta":{"security":[{"code":"GDIS"}]}}}]}"#;

pub(crate) fn check(data: &[u8]) -> bool {
    let imported = fhir::import(data);
    let classification = match fhir::classify(data) {
        Ok(classification) => classification,
        Err(error) => {
            assert!(imported.is_err(), "what can be imported has classes");
            crate::one_line(&error);
            return false;
        }
    };
    for because in classification.resources.iter().flat_map(|classified| &classified.because) {
        let shown = because.to_string();
        assert!(shown.chars().count() <= 402 && shown.chars().all(is_harmless), "{shown:?}");
    }
    assert!(classification.resources.iter().all(|classified| !classified.because.is_empty()));
    let _ = classification.proposal();
    match fhir::split(data, &[7; 32]) {
        Ok(parts) => {
            assert!(parts.iter().map(|part| (part.class, part.resources)).eq(classification.classes()));
            if imported.is_ok() {
                assert!(parts.iter().all(|part| fhir::import(&part.document).is_ok()), "a part is a document");
            }
        }
        Err(error) => crate::one_line(&error),
    }
    true
}

pub(crate) fn seeds() -> crate::Seeds {
    let rules = br#"{"resourceType":"Bundle","implicitRules":"urn:x"}"#;
    Ok(vec![BUNDLE.to_vec(), crate::fhir::PATIENT.to_vec(), rules.to_vec()])
}
