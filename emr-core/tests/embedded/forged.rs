//! Cuts: their encoding, and what an author may not sign.

use emr_core::cid::cid_of;
use emr_core::fhir::{ExportError, FhirError, export, read};
use emr_core::{
    Attachment, BadCuts, Codec, Commitment, Cut, Key, OriginalDocument, Record, RecordError, SaltSeed, Value,
};

use super::{Anything, exported, stored, with_field};

/// The record with another document.
pub(super) fn forged(record: &Record, change: impl FnOnce(&mut OriginalDocument)) -> Result<Record, RecordError> {
    let mut original = record.original().cloned().unwrap_or_else(|| OriginalDocument {
        media_type: "application/fhir+json".into(),
        bytes: vec![],
        cuts: vec![],
    });
    change(&mut original);
    Record::from_fields(record.fields().clone(), Some(original))
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
    for bad in [&[at, at][..], &[id, at], &[at, len + 1], &[u64::MAX], &[0; 2]] {
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
