//! Files embedded in FHIR documents: out on import, back on export.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use emr_core::cid::cid_of;
use emr_core::fhir::{
    ATTACHMENTS, Draft, Embedded, ExportError, FhirError, MAX_BYTES, MAX_EMBEDDED, export, export_to, import, read,
};
use emr_core::{
    Attachment, BadCuts, Cid, Codec, Commitment, Cut, Key, OriginalDocument, Record, RecordError, SaltSeed, Value,
};
use proptest::prelude::*;

type Anything = Box<dyn std::error::Error>;

const BUNDLE: &str = include_str!("../fixtures/synthea-bundle.json");

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

fn forged(record: &Record, change: impl FnOnce(&mut OriginalDocument)) -> Result<Record, RecordError> {
    let mut original = record.original().cloned().unwrap_or_else(|| OriginalDocument {
        media_type: "application/fhir+json".into(),
        bytes: vec![],
        cuts: vec![],
    });
    change(&mut original);
    Record::from_fields(record.fields().clone(), Some(original))
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

/// An author signs fields and a document that do not agree.
#[test]
fn a_forged_cut_is_not_exported() -> Result<(), Anything> {
    const DOCUMENT: &[u8] =
        br#"{"resourceType":"Binary","contentType":"text/plain","data":"aGVsbG8gd29ybGQ=","id":""}"#;
    let (record, contents) = stored(read(DOCUMENT)?)?;
    let refused = |forged: &Record| match exported(forged, &contents) {
        Err(ExportError::Fhir(error)) => {
            assert_eq!(export(forged), Err(error.clone()));
            assert!(!error.to_string().contains('\n'));
            Ok(error)
        }
        other => Err(format!("exported: {other:?}")),
    };
    let data: Key = "Binary.data".parse()?;
    let at = record.original().ok_or("no document")?.cuts[0].offset();
    let id = at + 8; // in the empty string of `id`
    let cut = |cuts: &[u64]| forged(&record, |original| original.cuts = cuts.iter().map(|at| Cut::new(*at)).collect());

    // No cut for the attachment, then cuts that are elsewhere.
    assert_eq!(refused(&cut(&[])?)?, FhirError::Contradicts(data.clone()));
    for elsewhere in [0, 1, at - 1, at + 1, id] {
        assert_eq!(refused(&cut(&[elsewhere])?)?, FhirError::Cut(elsewhere), "{elsewhere}");
    }
    assert_eq!(refused(&cut(&[at, id])?)?, FhirError::Cut(id));
    assert_eq!(refused(&cut(&[0, at])?)?, FhirError::Cut(0));
    // Lists that no record can have.
    let len = record.original().ok_or("no document")?.bytes.len() as u64;
    for bad in [&[at, at][..], &[id, at], &[at, len + 1], &[u64::MAX], &vec![0; 2]] {
        assert_eq!(cut(bad), Err(RecordError::Cuts(BadCuts)), "{bad:?}");
    }
    let many: Vec<u64> = (0..=OriginalDocument::MAX_CUTS as u64).collect();
    let long = |original: &mut OriginalDocument| {
        original.bytes = vec![b' '; 5000];
        original.cuts = many.iter().map(|at| Cut::new(*at)).collect();
    };
    assert_eq!(forged(&record, long), Err(RecordError::Cuts(BadCuts)));

    // The document has text where the cut is, or another type, or no type.
    let document = |text: &str| forged(&record, |original| original.bytes = text.as_bytes().to_vec());
    let short = r#"{"resourceType":"Binary","contentType":"text/plain","data":"","id":""}"#;
    assert_eq!(refused(&document(&short.replace("\"data\":\"", "\"data\":\"AAAA"))?)?, FhirError::Cut(at));
    assert_eq!(
        refused(&document(&short.replace("text/plain", "text/PLAIN"))?)?,
        FhirError::Contradicts("Binary.contentType".parse()?)
    );
    assert_eq!(refused(&document(&short.replace("\"data\"", "\"dat_\""))?)?, FhirError::Cut(at));
    assert_eq!(refused(&document(&short.replace("Binary", "Basic2"))?)?, FhirError::UnknownResource("Basic2".into()));

    // The field is no attachment, or one of another type or size.
    let link = cid_of(Codec::Raw, b"hello world");
    let file = |media_type: &str, size| Value::Attachment(Attachment { link, media_type: media_type.into(), size });
    for value in [Value::Text(String::new()), Value::Null, file("text/html", 11), file("text/plain", 0)] {
        assert_eq!(refused(&with_field(&record, "Binary.data", value)?)?, FhirError::Contradicts(data.clone()));
    }
    // One more attachment than cuts.
    let more = with_field(&record, "Binary.securityContext", file("text/plain", 11))?;
    assert_eq!(refused(&more)?, FhirError::Contradicts("Binary.securityContext".parse()?));
    let mut fewer = record.fields().clone();
    fewer.remove(&data);
    let fewer = Record::from_fields(fewer, record.original().cloned())?;
    assert_eq!(refused(&fewer)?, FhirError::Contradicts(data));
    Ok(())
}

/// What `content_of` and the output do wrong.
#[test]
fn content_that_is_not_what_the_field_says_is_an_error() -> Result<(), Anything> {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (record, contents) = stored(read(FILES.as_bytes())?)?;
    let key: Key = "Bundle.entry.0.resource.content.0.attachment.data".parse()?;
    for wrong in [&b""[..], b"hello worl", b"hello world!", &[7; 1 << 20]] {
        let mut contents = contents.clone();
        contents.insert(cid_of(Codec::Raw, b"hello world"), wrong.to_vec());
        let refused = exported(&record, &contents);
        assert!(matches!(refused, Err(ExportError::Size { key: of, size: 11 }) if of == key));
    }
    let refused = exported(&record, &BTreeMap::new());
    assert!(matches!(refused, Err(ExportError::Content { key: of, .. }) if of == key));
    let refused = export_to(&record, |_, _| Ok::<_, Infallible>(Broken), io::sink());
    assert!(matches!(refused, Err(ExportError::Read { key: of, .. }) if of == key));
    let refused = export_to(&record, |_, _| Ok::<_, Infallible>(&b"hello world"[..]), Broken);
    assert!(matches!(refused, Err(ExportError::Write(_))));
    Ok(())
}

/// Reads a few bytes at a time, with interruptions, as a network does.
#[test]
fn content_may_come_in_small_pieces() -> Result<(), Anything> {
    struct Slow<'a>(&'a [u8], bool);
    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let len = buffer.len().min(2);
            self.0.read(&mut buffer[..len])
        }
    }
    let (record, contents) = stored(read(FILES.as_bytes())?)?;
    let mut out = Vec::new();
    let slow = |_: &Key, file: &Attachment| Ok::<_, Infallible>(Slow(&contents[&file.link], false));
    export_to(&record, slow, &mut out)?;
    assert_eq!(out, FILES.as_bytes());
    Ok(())
}

#[test]
fn an_attachment_takes_constant_memory() -> Result<(), Anything> {
    struct Count(u64);
    impl Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            assert!(bytes.len() < 1 << 20);
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let size = 300_000_000;
    let (record, _) = stored(read(br#"{"resourceType":"Binary","data":"AAAA"}"#)?)?;
    let link = cid_of(Codec::Raw, b"large");
    let file = Attachment { link, media_type: "application/octet-stream".into(), size };
    let record = with_field(&record, "Binary.data", Value::Attachment(file))?;
    let mut count = Count(0);
    export_to(&record, |_, file| Ok::<_, Infallible>(io::repeat(7).take(file.size)), &mut count)?;
    assert_eq!(count.0, size / 3 * 4 + r#"{"resourceType":"Binary","data":""}"#.len() as u64);
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
    fields.insert(format!("{ATTACHMENTS}.0.file").parse()?, Value::Attachment(file.clone()));
    fields.insert(format!("{ATTACHMENTS}.0.name").parse()?, Value::Text("scan.png".into()));
    let beside = Record::from_fields(fields.clone(), record.original().cloned())?;
    assert_eq!(exported(&beside, &contents)?, FILES.as_bytes());
    let (bare, with) = (Record::from_fields(record.fields().clone(), None)?, Record::from_fields(fields, None)?);
    assert_eq!(exported(&with, &contents)?, exported(&bare, &contents)?);
    // Similar names are not left out, and files alone are no document.
    let similar = with_field(&record, &format!("{ATTACHMENTS}2.file"), Value::Attachment(file.clone()))?;
    assert!(matches!(exported(&similar, &contents), Err(ExportError::Fhir(FhirError::Contradicts(_)))));
    let mut alone = Record::new();
    alone.insert(format!("{ATTACHMENTS}.0.file").parse()?, Value::Attachment(file))?;
    assert_eq!(export(&alone), Err(FhirError::Empty));

    // No document has such fields: the types of R4 start with a capital letter, and others are refused.
    assert!(fhirkit::r4::RESOURCE_TYPES.iter().all(|name| name.starts_with(|c: char| c.is_ascii_uppercase())));
    for name in [ATTACHMENTS, "Attachments", "attachment"] {
        let document = format!(r#"{{"resourceType":"{name}","id":"a"}}"#);
        assert_eq!(import(document.as_bytes()), Err(FhirError::UnknownResource(name.into())));
        assert_eq!(read(document.as_bytes()), Err(FhirError::UnknownResource(name.into())));
    }
    Ok(())
}

/// Put together by hand after RFC 8949; `docs/record.md` shows it.
#[test]
fn vector() -> Result<(), Anything> {
    let document = br#"{"resourceType":"Binary","contentType":"text/plain","data":"aGVsbG8gd29ybGQ="}"#;
    let (record, _) = stored(read(document)?)?;
    let hex = |text: &str| hex::encode(text);
    let link = hex::encode(cid_of(Codec::Raw, b"hello world").to_bytes());
    let fields = [
        format!("8272{}6a{}", hex("Binary.contentType"), hex("text/plain")),
        format!(
            "826b{}a16a{}a364{}d82a582500{link}64{}0b6a{}6a{}",
            hex("Binary.data"),
            hex("attachment"),
            hex("link"),
            hex("size"),
            hex("media-type"),
            hex("text/plain")
        ),
        format!("8273{}66{}", hex("Binary.resourceType"), hex("Binary")),
    ];
    let shortened = r#"{"resourceType":"Binary","contentType":"text/plain","data":""}"#;
    let head = format!(
        "a364{}6d{}66{}83{}68{}",
        hex("type"),
        hex("emr/record/v1"),
        hex("fields"),
        fields.concat(),
        hex("original")
    );
    let tail =
        format!("65{}583e{}6a{}75{}", hex("bytes"), hex(shortened), hex("media-type"), hex("application/fhir+json"));
    let original = |cuts: &str| format!("{head}a364{}{cuts}{tail}", hex("cuts"));
    assert_eq!(hex::encode(record.to_dag_cbor()?), original("81183c"));
    assert_eq!(Record::from_dag_cbor(&hex::decode(original("81183c"))?)?, record);

    for (cuts, why) in [
        ("80", "an empty list"),
        ("82183c183c", "a cut twice"),
        ("82183c183b", "descending"),
        ("81183f", "after the end"),
        ("811bffffffffffffffff", "far after the end"),
        ("8120", "negative"),
        ("8119003c", "a number in more bytes than it needs"),
        ("f6", "null"),
        ("9f183cff", "a list of indefinite length"),
        ("9b7fffffffffffffff183c", "a length beyond the bytes"),
        ("183c", "a number for a list"),
    ] {
        assert!(Record::from_dag_cbor(&hex::decode(original(cuts))?).is_err(), "{why}");
    }
    // The last position is after the last byte.
    assert!(Record::from_dag_cbor(&hex::decode(original("81183e"))?).is_ok());

    // The author signs where the files belong.
    let root = |record: &Record| Commitment::of(record, &SaltSeed::new([5; 32])).root();
    let moved = forged(&record, |original| original.cuts = vec![Cut::new(59)])?;
    assert_ne!(root(&moved), root(&record));
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

/// JSON in which files are frequent, also nested ones, and look-alikes.
fn element() -> impl Strategy<Value = String> {
    let file =
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|content| format!("\"{}\"", STANDARD.encode(content)));
    let leaf = prop_oneof![
        4 => file,
        1 => "[A-Za-z0-9+/]{0,9}={0,2}".prop_map(|text| format!("\"{text}\"")),
        1 => any::<String>().prop_map(|text| serde_json::Value::String(text).to_string()),
        1 => Just("\"Binary\"".to_owned()),
        1 => Just("7.50".to_owned()),
        1 => Just("null".to_owned()),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        let name = prop_oneof![4 => Just("data".to_owned()), 4 => Just("contentType".to_owned()), 1 => Just("resourceType".to_owned()), 2 => "[a-c]"];
        let object = prop::collection::vec((name, inner.clone()), 1..6).prop_map(|members| {
            // In the order of the list, each name once.
            let mut names = std::collections::BTreeSet::new();
            let members = members.iter().filter(|(name, _)| names.insert(name.clone()));
            let members: Vec<_> = members.map(|(name, value)| format!("\"{name}\": {value}")).collect();
            format!("{{{} }}", members.join(" ,"))
        });
        let array = prop::collection::vec(inner.prop_filter("an array", |item| !item.starts_with('[')), 1..5)
            .prop_map(|items| format!("[{}]", items.join(", ")));
        prop_oneof![3 => object, 1 => array]
    })
}

proptest! {
    #[test]
    fn any_document_with_files_comes_back(value in element(), other in element()) {
        let document = format!("{{\"a\":{value},\"resourceType\":\"Binary\",\"data\":{other}}}");
        let record = comes_back(document.as_bytes()).map_err(|error| TestCaseError::fail(format!("{document}: {error}")))?;
        // A file is taken out exactly where the text is the canonical base64 of something.
        let inline = import(document.as_bytes())?;
        prop_assert!(inline.fields().keys().eq(record.fields().keys()));
        for (key, value) in record.fields() {
            match (value, inline.get(key)) {
                (Value::Attachment(file), Some(Value::Text(text))) => {
                    prop_assert_eq!(key.segments().last(), Some("data"));
                    let content = STANDARD.decode(text)?;
                    prop_assert_eq!(&STANDARD.encode(&content), text);
                    prop_assert_eq!(content.len() as u64, file.size);
                }
                (value, inline) => prop_assert_eq!(Some(value), inline),
            }
        }
    }

    /// Whatever cuts an author signs: what is exported is exactly what the fields say.
    #[test]
    fn any_cuts_are_refused_or_give_the_fields(mut cuts in prop::collection::vec(0..1200_u64, 0..9)) {
        let (record, contents) = stored(read(FILES.as_bytes())?)?;
        cuts.sort_unstable();
        cuts.dedup();
        let honest = record.original().map(|original| original.cuts.clone()).unwrap_or_default();
        let mut forged_cuts: Vec<Cut> = honest.iter().copied().take(cuts.len()).chain(cuts.iter().map(|at| Cut::new(*at))).collect();
        forged_cuts.sort_unstable();
        forged_cuts.dedup();
        if let Ok(forged) = forged(&record, |original| original.cuts = forged_cuts.clone()) {
            prop_assert_eq!(exported(&forged, &contents).is_ok(), forged_cuts == honest);
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let document = [b"{\"resourceType\":\"Binary\",\"contentType\":\"a/b\",\"data\":\"", bytes.as_slice(), b"\"}"].concat();
        match read(&document) {
            Ok(draft) => {
                let (record, contents) = stored(draft)?;
                prop_assert_eq!(exported(&record, &contents)?, document);
            }
            Err(error) => prop_assert_eq!(Err(error), import(&document)),
        }
    }
}
