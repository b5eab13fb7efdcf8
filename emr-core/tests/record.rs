//! The record and its canonical bytes.

use std::collections::BTreeMap;

use emr_core::cid::cid_of;
use emr_core::{
    Attachment, Code, Codec, CodecError, DateTime, Decimal, Key, OriginalDocument, Quantity, Record, RecordError, Value,
};
use ipld_core::ipld::Ipld;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

type Anything = Box<dyn std::error::Error>;

fn key() -> impl Strategy<Value = Key> {
    vec("[A-Za-z0-9_-]{1,6}", 1..5).prop_filter_map("a key", |segments| Key::new(segments.join(".")).ok())
}

fn decimal() -> impl Strategy<Value = Decimal> {
    "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,3})?"
        .prop_filter_map("a decimal", |text| text.parse().ok())
}

fn value() -> impl Strategy<Value = Value> {
    let text = || option::of("\\PC{0,8}");
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Integer),
        decimal().prop_map(Value::Decimal),
        any::<String>().prop_map(Value::Text),
        "20[0-9]{2}-0[1-9]-[12][0-8](T[01][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]0[0-9]:30))?"
            .prop_filter_map("a date-time", |text| text.parse::<DateTime>().ok())
            .prop_map(Value::DateTime),
        ("\\PC{0,8}", "\\PC{0,8}", text())
            .prop_map(|(system, code, display)| Code { system, code, display })
            .prop_map(Value::Code),
        (decimal(), text(), text(), text()).prop_map(|(value, unit, system, code)| Value::Quantity(Quantity {
            value,
            unit,
            system,
            code
        })),
        vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        (any::<[u8; 8]>(), "[a-z]{1,8}/[a-z]{1,8}", any::<u64>()).prop_map(|(block, media_type, size)| {
            Value::Attachment(Attachment { link: cid_of(Codec::Raw, &block), media_type, size })
        }),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    let original =
        vec(any::<u8>(), 0..60).prop_map(|bytes| OriginalDocument { media_type: "a/b".into(), bytes, cuts: vec![] });
    (btree_map(key(), value(), 0..12), option::of(original))
        .prop_filter_map("a record", |(fields, original)| Record::from_fields(fields, original).ok())
}

/// Put together by hand after RFC 8949; `docs/record.md` shows it.
#[test]
fn vector() -> Result<(), Anything> {
    let mut record = Record::new();
    record.insert("b".parse()?, Value::Integer(1))?;
    record.insert("a.10".parse()?, Value::Bool(false))?;
    record.insert("a.9".parse()?, Value::Text("x".into()))?;
    let bare = format!(
        "a264{}6d{}66{}83{}",
        hex::encode("type"),
        hex::encode("emr/record/v1"),
        hex::encode("fields"),
        ["8264612e3130f4", "8263612e396178", "82616201"].concat()
    );
    assert_eq!(hex::encode(record.to_dag_cbor()?), bare);

    let original = OriginalDocument { media_type: "text/plain".into(), bytes: vec![7], cuts: vec![] };
    let record = Record::from_fields(record.fields().clone(), Some(original))?;
    let with_original = format!(
        "a3{}68{}a265{}41076a{}6a{}",
        &bare[2..],
        hex::encode("original"),
        hex::encode("bytes"),
        hex::encode("media-type"),
        hex::encode("text/plain")
    );
    assert_eq!(hex::encode(record.to_dag_cbor()?), with_original);
    assert_eq!(Record::from_dag_cbor(&hex::decode(with_original)?)?, record);
    Ok(())
}

#[test]
fn a_change_drops_the_original_document() -> Result<(), Anything> {
    let original = OriginalDocument { media_type: "text/plain".into(), bytes: vec![7], cuts: vec![] };
    let key: Key = "a".parse()?;
    let fields = BTreeMap::from([(key.clone(), Value::Bool(true))]);
    let fresh = Record::from_fields(fields, Some(original))?;

    let mut record = fresh.clone();
    assert_eq!(record.insert(key.clone(), Value::Bool(true))?, Some(Value::Bool(true)));
    assert_eq!(record.remove(&"b".parse()?), None);
    assert_eq!(record, fresh);

    assert_eq!(record.insert(key.clone(), Value::Bool(false))?, Some(Value::Bool(true)));
    assert_eq!(record.original(), None);
    let mut record = fresh.clone();
    assert_eq!(record.remove(&key), Some(Value::Bool(true)));
    assert_eq!(record.original(), None);
    Ok(())
}

#[test]
fn only_the_canonical_bytes_are_a_record() -> Result<(), Anything> {
    let head = format!("a264{}6d{}66{}", hex::encode("type"), hex::encode("emr/record/v1"), hex::encode("fields"));
    let accepted = |tail: &str| {
        let bytes = hex::decode(format!("{head}{tail}"))?;
        Ok::<_, hex::FromHexError>(Record::from_dag_cbor(&bytes).is_ok())
    };
    assert!(accepted("80")?);
    assert!(accepted("82826161f5826162f5")?);
    for (tail, why) in [
        ("82826162f5826161f5", "descending keys"),
        ("82826161f5826161f4", "a key twice"),
        ("828260f5826162f5", "an empty key"),
        ("81826124f5", "a key that is not a key"),
        ("9fff", "a list of indefinite length"),
        ("9800", "a length in more bytes than it needs"),
        ("83826161f5826162f5", "an entry too few"),
        ("81826161f5826162f5", "an entry too many"),
        ("8183616161f5f5", "three in an entry"),
        ("81816161", "one in an entry"),
        ("a0", "a map for a list"),
        ("8000", "more after the record"),
        ("9b7fffffffffffffff", "a length beyond the bytes"),
    ] {
        assert!(!accepted(tail)?, "{why}");
    }
    let other_type = head.replace(&hex::encode("/v1"), &hex::encode("/v2")) + "80";
    assert!(Record::from_dag_cbor(&hex::decode(other_type)?).is_err());
    let null_original = format!("a3{}8068{}f6", &head[2..], hex::encode("original"));
    assert_eq!(
        Record::from_dag_cbor(&hex::decode(null_original)?),
        Err(RecordError::Codec(CodecError::NotCanonical { what: "a record" }))
    );
    Ok(())
}

/// Deep nesting is refused at the first level that a record does not have, so the stack does not grow.
#[test]
fn nesting_beyond_that_of_a_record_is_refused() {
    for opening in [0x81, 0xa1, 0xd8] {
        assert!(Record::from_dag_cbor(&vec![opening; 1 << 20]).is_err());
    }
}

#[test]
fn bounds() -> Result<(), Anything> {
    let fields =
        |count: usize| (0..count).map(|i| Ok((Key::new(i.to_string())?, Value::Null))).collect::<Result<_, Anything>>();
    assert_eq!(Record::from_fields(fields(Record::MAX_FIELDS + 1)?, None), Err(RecordError::TooManyFields));
    let mut full = Record::from_fields(fields(Record::MAX_FIELDS)?, None)?;
    assert_eq!(full.insert("one-more".parse()?, Value::Null), Err(RecordError::TooManyFields));
    assert!(full.insert("0".parse()?, Value::Bool(true)).is_ok());

    let oversized = vec![0; Record::MAX_BYTES + 1];
    assert!(matches!(Record::from_dag_cbor(&oversized), Err(RecordError::Codec(CodecError::TooLarge { .. }))));
    let mut record = Record::new();
    record.insert("a".parse()?, Value::Bytes(oversized))?;
    assert!(matches!(record.to_dag_cbor(), Err(RecordError::Codec(CodecError::TooLarge { .. }))));
    Ok(())
}

proptest! {
    #[test]
    fn round_trip(record in record()) {
        let bytes = record.to_dag_cbor()?;
        prop_assert_eq!(&Record::from_dag_cbor(&bytes)?, &record);
        // Another implementation of DAG-CBOR's data model reads it and writes the same bytes.
        let ipld: Ipld = serde_ipld_dagcbor::from_slice(&bytes)?;
        prop_assert_eq!(serde_ipld_dagcbor::to_vec(&ipld)?, bytes);
    }

    #[test]
    fn changed_bytes_are_refused_or_another_record(record in record(), at in any::<prop::sample::Index>(), flip in 1..=u8::MAX) {
        let mut bytes = record.to_dag_cbor()?;
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(other) = Record::from_dag_cbor(&bytes) {
            prop_assert_ne!(&other, &record);
            prop_assert_eq!(other.to_dag_cbor()?, bytes);
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(record) = Record::from_dag_cbor(&bytes) {
            prop_assert_eq!(&record.to_dag_cbor()?, &bytes);
        }
        let _ = emr_core::Disclosure::from_dag_cbor(&bytes);
        let _ = emr_core::Authorship::from_dag_cbor(&bytes);
        let text = String::from_utf8_lossy(&bytes);
        let _ = (text.parse::<Key>(), text.parse::<Decimal>(), text.parse::<DateTime>());
        let _ = (text.parse::<emr_core::Opaque>(), text.parse::<emr_core::CommitmentRoot>());
    }

    #[test]
    fn any_data_model_value_is_read_without_panic(ipld in ipld()) {
        let bytes = serde_ipld_dagcbor::to_vec(&ipld)?;
        let _ = Record::from_dag_cbor(&bytes);
        let _ = emr_core::Disclosure::from_dag_cbor(&bytes);
        let _ = emr_core::Authorship::from_dag_cbor(&bytes);
    }
}

/// Data that resembles a record, with the names that a record uses.
fn ipld() -> impl Strategy<Value = Ipld> {
    let name = prop_oneof!["type", "fields", "original", "bytes", "media-type", "decimal", "code", "[a-z]{0,3}"];
    let leaf = prop_oneof![
        Just(Ipld::Null),
        any::<bool>().prop_map(Ipld::Bool),
        any::<i64>().prop_map(|i| Ipld::Integer(i.into())),
        prop_oneof!["emr/record/v1", "emr/disclosure/v1", "[a-z.]{0,5}"].prop_map(Ipld::String),
        vec(any::<u8>(), 0..33).prop_map(Ipld::Bytes),
        Just(Ipld::Link(cid_of(Codec::Raw, b""))),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Ipld::List),
            btree_map(name.clone(), inner, 0..6).prop_map(Ipld::Map)
        ]
    })
}
