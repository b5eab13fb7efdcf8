//! A FHIR document with embedded files, which are taken out and put back.

use std::convert::Infallible;

use emr_core::cid::cid_of;
use emr_core::{Codec, Record, fhir};

/// Two embedded files, and base64 that is not canonical.
const DOCUMENT: &[u8] = br#"{"resourceType":"DocumentReference","status":"current","content":[{"attachment":{"contentType":"text/plain",
"data":"aGVsbG8="}},{"attachment":{"data":"AAEC","contentType":"Image/PNG; q=1"}},{"attachment":{"contentType":"text/plain","data":"aGVsbG9="}}]}"#;

pub(crate) fn check(data: &[u8]) -> bool {
    let whole = fhir::import(data);
    let draft = match fhir::read(data) {
        Ok(draft) => draft,
        Err(error) => {
            assert_eq!(whole, Err(error.clone()), "both refuse the same documents");
            crate::one_line(&error);
            return false;
        }
    };
    let files = draft.embedded().to_vec();
    assert!(files.iter().all(|file| !file.content.is_empty() && file.media_type.is_ascii()));
    let links: Vec<_> = files.iter().map(|file| cid_of(Codec::Raw, &file.content)).collect();
    let record = draft.into_record(&links).expect("a link for each");
    assert_eq!(record.fields().len(), whole.expect("what is read can be imported").fields().len());
    let bytes = record.to_dag_cbor().expect("within the limits");
    assert_eq!(Record::from_dag_cbor(&bytes).as_ref(), Ok(&record), "one byte form");
    let mut document = Vec::new();
    let mut next = files.iter();
    let content_of = |key: &_, attachment: &emr_core::Attachment| {
        let file = next.next().expect("no more files than there were");
        assert_eq!((key, &attachment.media_type), (&file.key, &file.media_type));
        Ok::<_, Infallible>(file.content.as_slice())
    };
    fhir::export_to(&record, content_of, &mut document).expect("it came from FHIR");
    assert_eq!((document.as_slice(), next.count()), (data, 0), "byte for byte");
    true
}

pub(crate) fn seeds() -> crate::Seeds {
    let binary = br#"{"resourceType":"Binary","contentType":"application/pdf","data":"JVBERi0="}"#;
    Ok(vec![DOCUMENT.to_vec(), binary.to_vec(), crate::fhir::PATIENT.to_vec()])
}
