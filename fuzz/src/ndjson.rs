//! A file of NDJSON, as a hospital's Bulk Data export writes it.

use emr_core::fhir::{self, gather::Gatherer, line_resource::LineResource, ndjson::Lines};
use emr_core::{Class, is_harmless};

pub(crate) fn check(data: &[u8]) -> bool {
    let patient = "p-1".parse().expect("an id");
    let mut gatherer = Gatherer::new();
    let (mut last, mut taken, mut gathered) = (0, 0, Vec::new());
    for line in Lines::new(data) {
        let line = line.expect("a short line in memory");
        assert!(line.number > last && !line.bytes.is_empty());
        last = line.number;
        let added = LineResource::read(&line.bytes).and_then(|resource| {
            resource.check_patient(&patient)?;
            gatherer.add(&resource, Class::Summary)
        });
        match added {
            Ok(complete) => {
                taken += 1;
                gathered.extend(complete);
            }
            Err(error) => assert!(error.to_string().chars().all(is_harmless), "{error:?}"),
        }
    }
    gathered.extend(gatherer.finish());
    assert_eq!(gathered.iter().map(|bundle| bundle.resources).sum::<usize>(), taken);
    for bundle in gathered {
        let written = fhir::resources(&bundle.bundle).expect("a Bundle").len();
        assert_eq!(written, bundle.resources);
        fhir::import(&bundle.bundle).expect("a Bundle of what was taken is a document");
    }
    taken > 0
}

pub(crate) fn seeds() -> crate::Seeds {
    let lines: &[u8] = br#"{"resourceType":"Patient","id":"p-1"}
{"resourceType":"Observation","id":"o","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/p-1"}}

{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"https://h.example/Patient/p-1/_history/2"}}
{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/p-2"}}
{"resourceType":"Device","id":"d"}"#;
    Ok(vec![lines.to_vec(), [b"\xef\xbb\xbf", lines].concat()])
}
