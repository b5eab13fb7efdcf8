//! The header of a DICOM file, which a doctor attaches to a record.

use emr_core::dicom::describe;
use emr_core::{Key, Record, is_harmless};

pub(crate) fn check(data: &[u8]) -> bool {
    let description = match describe(data) {
        Ok(description) => description,
        Err(error) => {
            crate::one_line(&error);
            return false;
        }
    };
    let prefix: Key = "attachments.0.dicom".parse().expect("a key");
    let fields = description.fields(&prefix).expect("short names");
    assert!(
        !fields.is_empty() && fields.values().all(|value| value.to_string().chars().all(is_harmless)),
        "{fields:?}"
    );
    let record = Record::from_fields(fields, None).expect("few fields");
    assert!(record.to_dag_cbor().is_ok());
    let patient = description.patient();
    assert!([&patient.name, &patient.id].into_iter().flatten().all(|text| text.chars().all(is_harmless)));
    true
}

/// An element with an explicit type and a short length.
fn element(tag: [u16; 2], kind: &[u8; 2], value: &[u8]) -> Result<Vec<u8>, std::num::TryFromIntError> {
    let [group, number] = tag.map(u16::to_le_bytes);
    Ok([&group, &number, &kind[..], &u16::try_from(value.len())?.to_le_bytes(), value].concat())
}

pub(crate) fn seeds() -> crate::Seeds {
    let syntax = element([0x0002, 0x0010], b"UI", b"1.2.840.10008.1.2.1\0")?;
    let length = element([0x0002, 0x0000], b"UL", &u32::try_from(syntax.len())?.to_le_bytes())?;
    let body = [
        element([0x0008, 0x0005], b"CS", b"ISO_IR 192")?,
        element([0x0008, 0x0020], b"DA", b"20240229")?,
        element([0x0008, 0x0060], b"CS", b"CT")?,
        element([0x0010, 0x0010], b"PN", "L\u{e9}e^Ana ".as_bytes())?,
        element([0x0010, 0x0020], b"LO", b"77")?,
        element([0x0028, 0x0010], b"US", &[0, 2])?,
    ]
    .concat();
    let file = [&[0; 128][..], b"DICM", &length, &syntax, &body].concat();
    // Without a preamble, and with an implicit type.
    let bare = [&[8, 0, 0x60, 0, 2, 0, 0, 0][..], b"CT"].concat();
    Ok(vec![file, body, bare])
}
