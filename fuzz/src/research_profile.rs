//! A research profile, which a registry publishes, over a record.

use std::sync::LazyLock;

use emr_core::conformance::{Profile, Report};
use emr_core::{Record, fhir};

/// What is checked.
static RECORD: LazyLock<Record> = LazyLock::new(|| fhir::import(crate::fhir::PATIENT).expect("a Patient"));

pub(crate) fn check(data: &[u8]) -> bool {
    let profile = match Profile::from_json(data) {
        Ok(profile) => profile,
        Err(error) => {
            // It repeats up to 300 characters of a message about the JSON.
            crate::at_most(&error, 400);
            return false;
        }
    };
    let report = profile.check(&RECORD);
    assert_eq!(report.applied.len(), profile.rules.len());
    assert!(report.violations.len() <= report.total.min(Report::MAX_LISTED));
    assert_eq!(report.conforms(), report.total == 0);
    true
}

pub(crate) fn seeds() -> crate::Seeds {
    let own = br#"{"name":"p","version":"1","rules":[{"name":"patient","each":["Patient"],"count":{"min":1,"max":2},"when":[{"key":
"name.*.given.*","text":"Ana"}],"fields":[{"key":"birthDate","value":{"type":"date-time"}},{"key":"extension.*.valueDecimal","min":0,"value":
{"type":"decimal","range":{"low":"-1e500"}}},{"key":"maritalStatus.coding.*","min":0,"max":9,"value":{"type":"code","code-systems":["urn:x"]}}]}]}"#;
    Ok(vec![include_bytes!("../../examples/profiles/diabetes-laboratory.json").to_vec(), own.to_vec()])
}
