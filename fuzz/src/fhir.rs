//! A FHIR document, which a doctor imports as a file.

use emr_core::{Record, fhir};

/// A resource with values of all types that FHIR has.
pub(crate) const PATIENT: &[u8] = br#"{"resourceType":"Patient","active":true,"birthDate":"1970-01-31","multipleBirthInteger":2,
"name":[{"family":"L\u00e9e \"x\"","given":["Ana",null],"_given":[null,{"id":"a"}]}],"maritalStatus":{"coding":[{"system":"urn:x",
"code":"M","display":"m"},{"system":"urn:x","code":"M"}]},"extension":[{"url":"urn:a","valueQuantity":{"value":1.50,"unit":"mg",
"system":"urn:u","code":"mg"}},{"url":"urn:b","valueDecimal":-1.5e+400},{"url":"urn:c","valueInstant":"2016-12-31T23:59:60Z"}]}"#;

pub(crate) fn check(data: &[u8]) -> bool {
    let checked = fhir::validate(data);
    let record = match fhir::import(data) {
        Ok(record) => record,
        Err(error) => {
            assert_eq!(checked, Err(error.clone()), "both refuse the same documents");
            crate::one_line(&error);
            return false;
        }
    };
    for problem in checked.expect("what can be imported can be checked").first {
        assert!(problem.path.chars().count() <= 200 && problem.message.chars().count() <= 200);
    }
    assert_eq!(fhir::export(&record).as_deref(), Ok(data), "byte for byte");
    let bare = Record::from_fields(record.fields().clone(), None).expect("no more fields");
    let rebuilt = fhir::export(&bare).expect("it came from FHIR");
    assert_eq!(fhir::import(&rebuilt).expect("rebuilt").fields(), record.fields(), "no field is lost");
    let bytes = record.to_dag_cbor().expect("within the limits");
    assert_eq!(Record::from_dag_cbor(&bytes), Ok(record), "one byte form");
    true
}

pub(crate) fn seeds() -> crate::Seeds {
    let bundle = [
        &b"\xef\xbb\xbf {\"resourceType\":\"Bundle\",\"type\":\"collection\",\"entry\":[{\"resource\":"[..],
        PATIENT,
        b"},{\"fullUrl\":\"urn:uuid:1\"}]}\n",
    ];
    Ok(vec![PATIENT.to_vec(), bundle.concat(), br#"{"resourceType":"Basic","id":"a\ud83d\ude00\n"}"#.to_vec()])
}
