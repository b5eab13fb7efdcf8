//! Files embedded in FHIR documents: out on import, back on export.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use emr_core::cid::cid_of;
use emr_core::fhir::{
    Draft, Embedded, ExportError, FhirError, MAX_BYTES, MAX_EMBEDDED, export, export_to, import, read,
};
use emr_core::{Attachment, Cid, Codec, Key, Record, Value};

mod content;
mod forged;
mod properties;

type Anything = Box<dyn std::error::Error>;

const BUNDLE: &str = include_str!("../../fixtures/synthea-bundle.json");

/// Every place where R4 puts a file, in one Bundle. `hello world` is `aGVsbG8gd29ybGQ=`.
const FILES: &str = r#"{"resourceType":"Bundle","type":"collection","entry":[
 {"resource":{"resourceType":"DocumentReference","status":"current","content":[
   {"attachment":{"contentType":"application/pdf","data":"aGVsbG8gd29ybGQ=","title":"a"}},
   {"attachment":{"data" : "AQID" , "contentType":"text/plain; charset=UTF-8"}}]}},
 {"resource":{"resourceType":"Patient","photo":[{"contentType":"image/png","data":"+/8="}]}},
 {"resource":{"resourceType":"Binary","data":"AA==","contentType":"application/dicom"}},
 {"resource":{"resourceType":"Binary","data":"AAA="}},
 {"resource":{"resourceType":"DiagnosticReport","presentedForm":[{"contentType":"a\u0000b","\u0064ata":"AAAA"}]}},
 {"resource":{"resourceType":"Communication","payload":[{"contentAttachment":{"contentType":"text/html","data":"PGI+"}}]}}
]}"#;

/// The record of a draft, and the contents of its attachments by link.
fn stored(draft: Draft) -> Result<(Record, BTreeMap<Cid, Vec<u8>>), FhirError> {
    let link = |file: &Embedded| cid_of(Codec::Raw, &file.content);
    let links: Vec<Cid> = draft.embedded().iter().map(link).collect();
    let contents = draft.embedded().iter().map(|file| (link(file), file.content.clone())).collect();
    Ok((draft.into_record(&links)?, contents))
}

fn exported(record: &Record, contents: &BTreeMap<Cid, Vec<u8>>) -> Result<Vec<u8>, ExportError<io::Error>> {
    let mut out = Vec::new();
    let content = |_: &Key, attachment: &Attachment| {
        contents.get(&attachment.link).map(Vec::as_slice).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    };
    export_to(record, content, &mut out)?;
    Ok(out)
}

/// Reads, stores and exports a document. It must be the same.
fn comes_back(document: &[u8]) -> Result<Record, Anything> {
    let (record, contents) = stored(read(document)?)?;
    let record = Record::from_dag_cbor(&record.to_dag_cbor()?)?;
    assert!(exported(&record, &contents)? == document);
    // The fields alone give a document with the same fields and files.
    let bare = Record::from_fields(record.fields().clone(), None)?;
    let (again, _) = stored(read(&exported(&bare, &contents)?)?)?;
    assert_eq!(again.fields(), record.fields());
    Ok(record)
}

fn with_field(record: &Record, key: &str, value: Value) -> Result<Record, Anything> {
    let mut fields = record.fields().clone();
    fields.insert(key.parse()?, value);
    Ok(Record::from_fields(fields, record.original().cloned())?)
}

#[test]
fn files_become_attachments_and_come_back() -> Result<(), Anything> {
    let draft = read(FILES.as_bytes())?;
    let found: Vec<_> = draft
        .embedded()
        .iter()
        .map(|Embedded { key, media_type, content }| (key.as_str(), media_type.as_str(), content.as_slice()))
        .collect();
    assert_eq!(
        found,
        [
            ("Bundle.entry.0.resource.content.0.attachment.data", "application/pdf", &b"hello world"[..]),
            ("Bundle.entry.0.resource.content.1.attachment.data", "text/plain", &[1, 2, 3]),
            ("Bundle.entry.1.resource.photo.0.data", "image/png", &[0xfb, 0xff]),
            ("Bundle.entry.2.resource.data", "application/dicom", &[0]),
            ("Bundle.entry.3.resource.data", "application/octet-stream", &[0, 0]),
            ("Bundle.entry.4.resource.presentedForm.0.data", "application/octet-stream", &[0, 0, 0]),
            ("Bundle.entry.5.resource.payload.0.contentAttachment.data", "text/html", b"<b>"),
        ]
    );
    assert!(!format!("{draft:?}").contains("104"), "a draft shows the content");

    let record = comes_back(FILES.as_bytes())?;
    let original = record.original().ok_or("no document")?;
    let texts = ["aGVsbG8gd29ybGQ=", "AQID", "+/8=", "AA==", "AAA=", "AAAA", "PGI+"];
    let shortened = texts.iter().fold(FILES.to_owned(), |rest, text| rest.replacen(&format!("\"{text}\""), "\"\"", 1));
    assert_eq!(String::from_utf8_lossy(&original.bytes), shortened);
    assert_eq!(original.cuts.len(), texts.len());
    let attachment = |value: &&Value| matches!(value, Value::Attachment(_));
    assert_eq!(record.fields().values().filter(attachment).count(), texts.len());
    assert_eq!(record.fields().len(), import(FILES.as_bytes())?.fields().len());

    // In memory there is only an error that says what to do.
    assert_eq!(export(&record), Err(FhirError::Attachments(7)));
    // A document that was imported with its files inside is still exported as it is.
    assert_eq!(export(&import(FILES.as_bytes())?)?, FILES.as_bytes());
    Ok(())
}

/// Everything that is not exactly a file in canonical base64 stays text, and comes back too.
#[test]
fn other_data_stays_text() -> Result<(), Anything> {
    for object in [
        // Not a file: SampledData, Signature, another name, another type.
        r#"{"origin":{"value":0},"data":"1234"}"#,
        r#"{"sigFormat":"application/jose","data":"AAAA"}"#,
        r#"{"contentType":"text/plain","_data":"AAAA"}"#,
        r#"{"contentType":"text/plain","Data":"AAAA"}"#,
        r#"{"contentType":"text/plain","data":1234}"#,
        r#"{"contentType":"text/plain","data":["AAAA"]}"#,
        r#"{"contentType":"text/plain","data":{"value":"AAAA"}}"#,
        r#"{"contentType":7,"data":"AAAA"}"#,
        r#"{"contentType":["text/plain"],"data":"AAAA"}"#,
        r#"{"contentType":{"contentType":"text/plain"},"data":"AAAA"}"#,
        r#"{"resourceType":"Basic","data":"AAAA"}"#,
        r#"{"resourceType":["Binary"],"data":"AAAA"}"#,
        // Not canonical base64, or spelled with escapes of JSON.
        r#"{"contentType":"text/plain","data":""}"#,
        r#"{"contentType":"text/plain","data":"AA"}"#,
        r#"{"contentType":"text/plain","data":"AA="}"#,
        r#"{"contentType":"text/plain","data":"A==="}"#,
        r#"{"contentType":"text/plain","data":"===="}"#,
        r#"{"contentType":"text/plain","data":"AB=="}"#,
        r#"{"contentType":"text/plain","data":"AA==AA=="}"#,
        r#"{"contentType":"text/plain","data":"AAAA\n"}"#,
        r#"{"contentType":"text/plain","data":"AA AA"}"#,
        r#"{"contentType":"text/plain","data":" AAAA"}"#,
        r#"{"contentType":"text/plain","data":"-_8="}"#,
        r#"{"contentType":"text/plain","data":"AA\/A"}"#,
        r#"{"contentType":"text/plain","data":"\u0041AAA"}"#,
        r#"{"contentType":"text/plain","data":"2024-02-29"}"#,
        r#"{"contentType":"text/plain","data":"ÀÀÀÀ"}"#,
        // A code and a quantity stay one value.
        r#"{"system":"urn:x","code":"data"}"#,
    ] {
        let document = format!(r#"{{"resourceType":"Basic","extension":[{object}]}}"#);
        let draft = read(document.as_bytes()).map_err(|error| format!("{object}: {error}"))?;
        assert_eq!(draft.embedded(), [], "{object}");
        let record = draft.into_record(&[])?;
        assert_eq!(record, import(document.as_bytes())?, "{object}");
        assert_eq!(export(&record)?, document.as_bytes(), "{object}");
    }
    let found = |document: &str| read(document.as_bytes()).map(|draft| draft.embedded().to_vec());
    // A date for a type is a string too.
    let dated = found(r#"{"resourceType":"Media","content":{"contentType":"2024-02-29","data":"AAAA"}}"#)?;
    assert_eq!((dated.len(), dated[0].media_type.as_str()), (1, "application/octet-stream"));
    for refused in [
        r#"{"resourceType":"Media","content":{"contentType":"a/b","data":"AAAA","data":"AAAA"}}"#,
        r#"{"resourceType":"Media","content":{"contentType":"a/b","data":"AAAA","contentType":"c/d"}}"#,
        r#"{"resourceType":"Media","content":{"contentType":"a/b","\u0064ata":"AAAA","data":""}}"#,
    ] {
        assert!(matches!(found(refused), Err(FhirError::Duplicate { .. })), "{refused}");
    }
    assert!(matches!(read(b"{\"resourceType\":\"Binary\",\"data\":\"AA\xffA\"}"), Err(FhirError::NotJson { .. })));
    assert!(matches!(found(r#"{"resourceType":"Binary","data":"AAAA"#), Err(FhirError::NotJson { .. })));
    Ok(())
}

/// The first ones of the document are taken, also where an outer object ends after the objects in it.
#[test]
fn a_bounded_number_of_files_is_taken_in_the_order_of_the_document() -> Result<(), Anything> {
    let inner = vec![r#"{"contentType":"a/b","data":"AAAA"}"#; MAX_EMBEDDED].join(",");
    let document = format!(r#"{{"resourceType":"Binary","data":"AQID","extension":[{inner}],"contentType":"a/b"}}"#);
    let draft = read(document.as_bytes())?;
    assert_eq!(draft.embedded().len(), MAX_EMBEDDED);
    assert_eq!(draft.embedded()[0].key.as_str(), "Binary.data");
    let record = comes_back(document.as_bytes())?;
    let last: Key = format!("Binary.extension.{}.data", MAX_EMBEDDED - 1).parse()?;
    assert_eq!(record.get(&last), Some(&Value::Text("AAAA".into())));
    Ok(())
}

#[test]
fn every_file_needs_a_link() -> Result<(), Anything> {
    let link = cid_of(Codec::Raw, b"");
    for links in [0, 6, 8] {
        let refused = read(FILES.as_bytes())?.into_record(&vec![link; links]);
        assert_eq!(refused, Err(FhirError::Links { embedded: 7, links }));
    }
    Ok(())
}

#[test]
fn an_edited_record_is_rebuilt_with_its_files() -> Result<(), Anything> {
    let (mut record, mut contents) = stored(read(FILES.as_bytes())?)?;
    let contentless = record.fields().clone();
    contents.insert(cid_of(Codec::Raw, b"new"), b"new".to_vec());
    let file = Attachment { link: cid_of(Codec::Raw, b"new"), media_type: "image/png".into(), size: 3 };
    record.insert("Bundle.entry.1.resource.photo.0.data".parse()?, Value::Attachment(file.clone()))?;
    assert!(record.original().is_none());
    let document = exported(&record, &contents)?;
    let json = |document: &[u8]| serde_json::from_slice::<serde_json::Value>(document);
    assert_eq!(json(&document)?, json(FILES.replace("+/8=", &STANDARD.encode("new")).as_bytes())?);
    let (again, _) = stored(read(&document)?)?;
    assert_eq!(again.fields(), record.fields());

    // Only where FHIR has a place for a file.
    for key in ["Bundle.id", "Bundle.data", "Bundle.entry.1.resource.photo.0.hash", "Bundle.entry.6.resource.data"] {
        let mut fields = contentless.clone();
        fields.insert(key.parse()?, Value::Attachment(file.clone()));
        let refused = exported(&Record::from_fields(fields, None)?, &contents);
        assert!(matches!(refused, Err(ExportError::Fhir(FhirError::NotMappable(of))) if of.as_str() == key), "{key}");
    }
    Ok(())
}

/// Files that a person attached beside the document are no part of it.
#[test]
fn attachments_beside_the_document_are_left_out() -> Result<(), Anything> {
    let (record, contents) = stored(read(FILES.as_bytes())?)?;
    let file = Attachment { link: cid_of(Codec::Raw, b"x"), media_type: "image/png".into(), size: 1 };
    let mut fields = record.fields().clone();
    fields.insert(format!("{}.0.file", Key::ATTACHMENTS).parse()?, Value::Attachment(file.clone()));
    fields.insert(format!("{}.0.name", Key::ATTACHMENTS).parse()?, Value::Text("scan.png".into()));
    let beside = Record::from_fields(fields.clone(), record.original().cloned())?;
    assert_eq!(exported(&beside, &contents)?, FILES.as_bytes());
    let (bare, with) = (Record::from_fields(record.fields().clone(), None)?, Record::from_fields(fields, None)?);
    assert_eq!(exported(&with, &contents)?, exported(&bare, &contents)?);
    // Similar names are not left out, and files alone are no document.
    let similar = with_field(&record, &format!("{}2.file", Key::ATTACHMENTS), Value::Attachment(file.clone()))?;
    assert!(matches!(exported(&similar, &contents), Err(ExportError::Fhir(FhirError::Contradicts(_)))));
    let mut alone = Record::new();
    alone.insert(format!("{}.0.file", Key::ATTACHMENTS).parse()?, Value::Attachment(file))?;
    assert_eq!(export(&alone), Err(FhirError::Empty));

    // No document has such fields: the types of R4 start with a capital letter, and others are refused.
    assert!(fhirkit::r4::RESOURCE_TYPES.iter().all(|name| name.starts_with(|c: char| c.is_ascii_uppercase())));
    for name in [Key::ATTACHMENTS, "Attachments", "attachment"] {
        let document = format!(r#"{{"resourceType":"{name}","id":"a"}}"#);
        assert_eq!(import(document.as_bytes()), Err(FhirError::UnknownResource(name.into())));
        assert_eq!(read(document.as_bytes()), Err(FhirError::UnknownResource(name.into())));
    }
    Ok(())
}

/// A Synthea bundle, with files of all sizes in it.
#[test]
fn a_synthea_bundle_with_files_comes_back() -> Result<(), Anything> {
    assert_eq!(comes_back(BUNDLE.as_bytes())?, import(BUNDLE.as_bytes())?);
    let start = BUNDLE.find("\"entry\"").and_then(|at| Some(at + BUNDLE[at..].find('[')? + 1)).ok_or("no entries")?;
    let mut files = String::new();
    for size in [1_usize, 2, 3, 1000, 1 << 20] {
        let content: Vec<u8> = (0..size).map(|i| (i * i % 251) as u8).collect();
        files += &format!(
            "{{\"resource\": {{\"resourceType\": \"DocumentReference\", \"status\": \"current\", \"content\": [{{\n\"attachment\": {{\"contentType\": \"application/pdf\", \"data\": \"{}\"}} }}] }} }},\r\n",
            STANDARD.encode(content)
        );
    }
    let document = [&BUNDLE[..start], &files, &BUNDLE[start..]].concat();
    let record = comes_back(document.as_bytes())?;
    assert!(record.to_dag_cbor()?.len() < document.len());
    assert_eq!(record.original().map(|original| original.cuts.len()), Some(5));
    Ok(())
}

/// The largest document is one file, or text that is not quite base64.
#[test]
fn the_largest_file_is_taken_in_bounded_time() -> Result<(), Anything> {
    let (head, tail) = (r#"{"resourceType":"Binary","contentType":"a/b","data":""#, "\"}");
    let room = (MAX_BYTES - head.len() - tail.len()) / 4 * 4;
    let started = Instant::now();
    let document = [head, &"A".repeat(room), tail].concat();
    let draft = read(document.as_bytes())?;
    assert_eq!(draft.embedded()[0].content.len(), room / 4 * 3);
    let (record, contents) = stored(draft)?;
    assert!(record.to_dag_cbor()?.len() < 1000);
    assert!(exported(&record, &contents)? == document.as_bytes());
    let almost = [head, &"A".repeat(room - 1), "*", tail].concat();
    assert!(read(almost.as_bytes())?.embedded().is_empty());
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    Ok(())
}
