//! Files beside the document: their keys, and what they leave unchanged.

use emr_core::cid::cid_of;
use emr_core::fhir::{FhirError, export, import};
use emr_core::{Attachment, Codec, Commitment, Key, Record, RecordError, SaltSeed, Value};

type Anything = Box<dyn std::error::Error>;

const DOCUMENT: &[u8] = br#"{"resourceType":"Patient", "gender":"female"}"#;

fn attachment(content: &[u8]) -> Attachment {
    Attachment {
        link: cid_of(Codec::DagCbor, content),
        media_type: "application/dicom".to_owned(),
        size: content.len() as u64,
    }
}

fn attached() -> Result<Record, Anything> {
    let mut record = import(DOCUMENT)?;
    record.insert("attachments.0".parse()?, Value::Attachment(attachment(b"scan")))?;
    record.insert("attachments.0.name".parse()?, Value::Text("scan.dcm".to_owned()))?;
    Ok(record)
}

#[test]
fn a_file_beside_the_document_leaves_the_document_as_it_is() -> Result<(), Anything> {
    let mut record = attached()?;
    assert_eq!(export(&record)?, DOCUMENT);
    assert_eq!(Record::from_dag_cbor(&record.to_dag_cbor()?)?, record);
    assert!(record.remove(&"attachments.0".parse()?).is_some());
    assert_eq!(export(&record)?, DOCUMENT);
    // A field of the document is another matter.
    assert!(record.remove(&"Patient.gender".parse()?).is_some() && record.original().is_none());
    Ok(())
}

/// The author signs the attachments: each is a leaf of the commitment.
#[test]
fn the_commitment_covers_attachments() -> Result<(), Anything> {
    let seed = SaltSeed::new([5; 32]);
    let root = |record: &Record| Commitment::of(record, &seed).root();
    let record = attached()?;
    for (key, value) in [
        ("attachments.0", Value::Attachment(attachment(b"another scan"))),
        ("attachments.0", Value::Attachment(Attachment { size: 5, ..attachment(b"scan") })),
        ("attachments.0.name", Value::Text("other.dcm".to_owned())),
        ("attachments.1", Value::Attachment(attachment(b"more"))),
    ] {
        let mut changed = record.clone();
        changed.insert(key.parse()?, value)?;
        assert_ne!(root(&changed), root(&record), "{key}");
    }
    Ok(())
}

#[test]
fn a_resource_that_is_built_from_fields_has_no_files() -> Result<(), Anything> {
    let bare = Record::from_fields(attached()?.fields().clone(), None)?;
    let built: serde_json::Value = serde_json::from_slice(&export(&bare)?)?;
    assert_eq!(built, serde_json::from_slice::<serde_json::Value>(DOCUMENT)?);
    let mut files_only = Record::new();
    files_only.insert("attachments.0".parse()?, Value::Attachment(attachment(b"scan")))?;
    assert_eq!(export(&files_only), Err(FhirError::Empty));
    Ok(())
}

/// A writer cannot hide a field of the document beside it, or a file in the document.
#[test]
fn only_the_area_is_beside_the_document() -> Result<(), Anything> {
    for key in ["attachment.0", "Patient.attachments", "attachments-0"] {
        let mut fields = import(DOCUMENT)?.fields().clone();
        fields.insert(key.parse()?, Value::Text("x".to_owned()));
        let record = Record::from_fields(fields, import(DOCUMENT)?.original().cloned())?;
        assert!(matches!(export(&record), Err(FhirError::Contradicts(_))), "{key}");
    }
    // No document can have fields there.
    assert!(fhirkit::r4::RESOURCE_TYPES.iter().all(|name| name.starts_with(|c: char| c.is_ascii_uppercase())));
    let named = format!(r#"{{"resourceType":"{}","id":"1"}}"#, Key::ATTACHMENTS);
    assert!(matches!(import(named.as_bytes()), Err(FhirError::UnknownResource(_))));
    Ok(())
}

#[test]
fn attachments_are_counted_as_people_count() -> Result<(), Anything> {
    let mut record = Record::new();
    let keys = ["Bundle.entry.3.content.0.attachment.data", "attachments.0", "attachments.2", "attachments.10"];
    for key in keys.iter().rev() {
        record.insert(key.parse()?, Value::Attachment(attachment(key.as_bytes())))?;
    }
    record.insert("attachments.10.name".parse()?, Value::Text("a name".to_owned()))?;
    let counted: Vec<String> = record.attachments().iter().map(|(key, _)| key.to_string()).collect();
    assert_eq!(counted, keys);
    Ok(())
}

/// Where the content of an attachment is, is said after the document was imported.
#[test]
fn attaching_keeps_the_document() -> Result<(), Anything> {
    let mut record = import(DOCUMENT)?;
    record.attach("Patient.photo.0.data".parse()?, attachment(b"photo"))?;
    assert_eq!(record.original().map(|original| &*original.bytes), Some(DOCUMENT));
    let full = (0..Record::MAX_FIELDS).map(|number| Ok((format!("a.{number}").parse()?, Value::Null)));
    let mut full = Record::from_fields(full.collect::<Result<_, Anything>>()?, None)?;
    assert_eq!(full.attach("b".parse()?, attachment(b"x")), Err(RecordError::TooManyFields));
    Ok(())
}
