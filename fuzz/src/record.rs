//! A record from a node, and what is made of it.

use emr_core::{Commitment, Key, OriginalDocument, Record, SaltSeed, Value, fhir};

pub(crate) fn check(data: &[u8]) -> bool {
    let record = match Record::from_dag_cbor(data) {
        Ok(record) => record,
        Err(error) => {
            crate::one_line(&error);
            return false;
        }
    };
    assert_eq!(record.to_dag_cbor().as_deref(), Ok(data), "one byte form");
    let seed = SaltSeed::new([7; 32]);
    let commitment = Commitment::of(&record, &seed);
    if let Ok(disclosure) = commitment.disclose(record.fields().keys().step_by(2)) {
        let shown = disclosure.verify(&commitment.root()).expect("an honest disclosure");
        assert!(shown.iter().all(|(key, value)| record.get(key) == Some(value)));
    }
    match fhir::export(&record) {
        Ok(document) => assert_eq!(fhir::import(&document).expect("exported").fields(), record.fields()),
        Err(error) => crate::one_line(&error),
    }
    true
}

pub(crate) fn seeds() -> crate::Seeds {
    let imported = fhir::import(crate::fhir::PATIENT)?;
    let mut all = vec![Record::new(), imported.clone(), Record::from_fields(imported.fields().clone(), None)?];
    let mut fields = std::collections::BTreeMap::new();
    let link = emr_core::cid::cid_of(emr_core::Codec::Raw, b"image");
    fields.insert("a.b".parse::<Key>()?, Value::Bytes(vec![1, 2]));
    fields.insert(
        "a.c".parse()?,
        Value::Attachment(emr_core::Attachment { link, media_type: "application/dicom".into(), size: 5 }),
    );
    let original = OriginalDocument { media_type: "text/plain".into(), bytes: b"text".to_vec(), cuts: Vec::new() };
    all.push(Record::from_fields(fields, Some(original))?);
    Ok(all.iter().map(Record::to_dag_cbor).collect::<Result<_, _>>()?)
}
