//! Headers of DICOM files: real ones, and hostile ones.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use emr_core::dicom::{Description, DicomError, MAX_ELEMENTS, MAX_HEADER, describe};
use emr_core::{Key, KeyError, Value};
use emr_testkit::part::Pydicom;
use proptest::prelude::*;

type Anything = Box<dyn std::error::Error>;

/// What pydicom finds in each of its files: the values as text, by the names of our fields.
const PYDICOM: &str = r#"
import json, pathlib, sys, pydicom
from pydicom.multival import MultiValue
names = {
    "sop-class-uid": 0x00080016, "sop-instance-uid": 0x00080018, "study-date": 0x00080020, "accession-number": 0x00080050,
    "modality": 0x00080060, "manufacturer": 0x00080070, "study-description": 0x00081030, "body-part": 0x00180015,
    "study-instance-uid": 0x0020000D, "series-instance-uid": 0x0020000E, "number-of-frames": 0x00280008, "rows": 0x00280010,
    "columns": 0x00280011, "patient-name": 0x00100010, "patient-id": 0x00100020,
}
found = {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*/*.dcm")):
    file = pydicom.dcmread(path, force=True, stop_before_pixels=True)
    values = {}
    for name, tag in names.items():
        value = file[tag].value if tag in file else None
        if isinstance(value, MultiValue):
            value = "\\".join(str(item) for item in value)
        text = "" if value is None else str(value).strip(" \0")
        if text:
            # Older files write 1997.04.24.
            values[name] = text.replace(".", "") if name == "study-date" else text
    found[path.name] = values
print(json.dumps(found))
"#;

/// The values in the form of the script above.
fn shown(description: &Description) -> Result<BTreeMap<String, String>, Anything> {
    let prefix: Key = "x".parse()?;
    let fields = description.fields(&prefix)?;
    let mut shown = BTreeMap::new();
    for (key, value) in fields {
        let name = key.segments().last().unwrap_or_default().to_owned();
        let text = value.to_string();
        match name.as_str() {
            "acquisition-date-time" => continue,
            "study-date" if matches!(value, Value::DateTime(_)) => shown.insert(name, text.replace('-', "")),
            _ => shown.insert(name, text),
        };
    }
    let patient = description.patient();
    // pydicom leaves out empty spellings at the end of a name.
    let name = |name: &String| ("patient-name".to_owned(), name.trim_end_matches('=').to_owned());
    shown.extend(patient.name.as_ref().map(name));
    shown.extend(patient.id.clone().map(|id| ("patient-id".to_owned(), id)));
    Ok(shown)
}

#[test]
fn real_files_are_read_as_pydicom_reads_them() -> Result<(), Anything> {
    let Some(pydicom) = Pydicom::find_or_skip()? else { return Ok(()) };
    let expected: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_slice(&pydicom.run(PYDICOM)?)?;
    assert!(expected.len() > 90, "{}", expected.len());
    let (mut read, mut refused, mut different) = (0, BTreeMap::new(), Vec::new());
    for folder in ["test_files", "charset_files", "palettes"] {
        for (name, expected) in &expected {
            let Ok(file) = fs::File::open(pydicom.data().join(folder).join(name)) else { continue };
            match describe(file) {
                Ok(description) => {
                    let shown = shown(&description).map_err(|error| format!("{name}: {error}"))?;
                    if &shown != expected {
                        different.push((name, shown, expected));
                    }
                    read += 1;
                }
                Err(error) => {
                    assert!(!error.to_string().contains('\n'));
                    refused.insert(name.as_str(), format!("{error:?}"));
                }
            }
        }
    }
    assert!(different.is_empty(), "{different:#?}");
    let expected: BTreeMap<&str, String> = REFUSED.iter().map(|(name, error)| (*name, (*error).to_owned())).collect();
    assert_eq!(refused, expected);
    assert_eq!(read + refused.len(), expected_files(&pydicom)?);
    Ok(())
}

/// The files that are not read, and why: most have none of our elements. pydicom guesses more: another encoding than the
/// file states (`SC_rgb_jpeg`), and the order (`winter`).
const REFUSED: &[(&str, &str)] = &[
    ("SC_rgb_jpeg.dcm", "Malformed { tag: \"(0008,0008)\", message: \"states no type of its value\" }"),
    ("UN_sequence.dcm", "Nothing"),
    ("badVR.dcm", "Malformed { tag: \"(0028,0008)\", message: \"is not a whole number\" }"),
    ("chrSQEncoding.dcm", "Nothing"),
    ("chrSQEncoding1.dcm", "Nothing"),
    ("empty_charset_LEI.dcm", "Nothing"),
    ("image_dfl.dcm", "Deflated"),
    ("meta_missing_tsyntax.dcm", "NotDicom"),
    ("nested_priv_SQ.dcm", "Nothing"),
    ("no_meta.dcm", "NotDicom"),
    ("no_meta_group_length.dcm", "Nothing"),
    ("priv_SQ.dcm", "Nothing"),
    ("winter.dcm", "Malformed { tag: \"(0008,0018)\", message: \"is out of order\" }"),
];

fn expected_files(pydicom: &Pydicom) -> Result<usize, Anything> {
    let mut count = 0;
    for folder in ["test_files", "charset_files", "palettes"] {
        for entry in fs::read_dir(pydicom.data().join(folder))? {
            count += usize::from(entry?.path().extension().is_some_and(|extension| extension == "dcm"));
        }
    }
    Ok(count)
}

/// An element in explicit little endian.
fn element(tag: (u16, u16), vr: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = [tag.0.to_le_bytes(), tag.1.to_le_bytes()].concat();
    bytes.extend_from_slice(vr.as_bytes());
    if ["SQ", "OB", "UN", "UT"].contains(&vr) {
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
    } else {
        bytes.extend_from_slice(&(value.len() as u16).to_le_bytes());
    }
    bytes.extend_from_slice(value);
    bytes
}

/// A header of undefined length.
fn open(tag: (u16, u16), vr: &str) -> Vec<u8> {
    let mut bytes = element(tag, vr, b"");
    let at = bytes.len() - 4;
    bytes[at..].fill(0xff);
    bytes
}

/// An item or a delimiter.
fn item(number: u16, length: u32) -> Vec<u8> {
    [&0xfffe_u16.to_le_bytes()[..], &number.to_le_bytes(), &length.to_le_bytes()].concat()
}

fn file(transfer_syntax: &str, elements: &[Vec<u8>]) -> Vec<u8> {
    let mut uid = transfer_syntax.as_bytes().to_vec();
    uid.resize(uid.len().next_multiple_of(2), 0);
    [vec![0; 128], b"DICM".to_vec(), element((2, 0x10), "UI", &uid), elements.concat()].concat()
}

const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const ITEM: u16 = 0xe000;
const ITEM_END: u16 = 0xe00d;
const SEQUENCE_END: u16 = 0xe0dd;

/// The fields of a header, and nothing about the patient.
#[test]
fn the_fields() -> Result<(), Anything> {
    let bytes = file(
        EXPLICIT,
        &[
            element((8, 5), "CS", b"ISO_IR 100"),
            element((8, 0x16), "UI", b"1.2.840.10008.5.1.4.1.1.2\0"),
            element((8, 0x20), "DA", b"20240229"),
            element((8, 0x22), "DA", b"20240229"),
            element((8, 0x32), "TM", b"101112.5"),
            element((8, 0x60), "CS", b"CT"),
            element((8, 0x70), "LO", b" M\xfcller\x07 "),
            element((8, 0x201), "SH", b"+0100 "),
            element((8, 0x1030), "LO", b""),
            element((0x10, 0x10), "PN", b"M\xfcller^Ana"),
            element((0x10, 0x20), "LO", b"4711"),
            element((0x10, 0x30), "DA", b"19700131"),
            element((0x28, 8), "IS", b"12"),
            element((0x28, 0x10), "US", &[0, 2]),
            element((0x28, 0x11), "US", &[1, 1]),
            // What follows is not read.
            vec![0xff; 3],
        ],
    );
    let description = describe(bytes.as_slice())?;
    let fields = description.fields(&"attachments.0.dicom".parse()?)?;
    let fields: Vec<_> = fields.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    assert_eq!(
        fields,
        [
            ("attachments.0.dicom.acquisition-date-time", Value::DateTime("2024-02-29T10:11:12.5+01:00".parse()?)),
            ("attachments.0.dicom.columns", Value::Integer(257)),
            ("attachments.0.dicom.manufacturer", Value::Text("M\u{fc}ller\u{fffd}".into())),
            ("attachments.0.dicom.modality", Value::Text("CT".into())),
            ("attachments.0.dicom.number-of-frames", Value::Integer(12)),
            ("attachments.0.dicom.rows", Value::Integer(512)),
            ("attachments.0.dicom.sop-class-uid", Value::Text("1.2.840.10008.5.1.4.1.1.2".into())),
            ("attachments.0.dicom.study-date", Value::DateTime("2024-02-29".parse()?)),
        ]
    );
    let patient = description.patient();
    assert_eq!((patient.name.as_deref(), patient.id.as_deref()), (Some("M\u{fc}ller^Ana"), Some("4711")));
    assert_eq!(patient.birth_date, Some(Value::DateTime("1970-01-31".parse()?)));
    assert!(!format!("{description:?} {patient:?}").contains("4711"));
    let long = Key::new("a".repeat(Key::MAX_BYTES - 3))?;
    assert!(matches!(description.fields(&long), Err(KeyError::TooLong(_))));

    // Without a preamble, and without meta information.
    assert_eq!(describe(&bytes[132..])?, description);
    let meta = element((2, 0x10), "UI", b"1.2.840.10008.1.2.1\0").len();
    assert_eq!(describe(&bytes[132 + meta..])?, description);
    Ok(())
}

#[test]
fn damaged_and_hostile_files_are_refused_in_bounded_time() -> Result<(), Anything> {
    let modality = || element((8, 0x60), "CS", b"CT");
    let lying = |tag: (u16, u16), vr: &str, length: u32| {
        let mut bytes = open(tag, vr);
        let at = bytes.len() - 4;
        bytes[at..].copy_from_slice(&length.to_le_bytes());
        bytes
    };
    type Expected = fn(&DicomError) -> bool;
    let malformed: Expected = |e| matches!(e, DicomError::Malformed { .. });
    let truncated: Expected = |e| matches!(e, DicomError::Truncated);
    let many_items = [open((8, 0x1140), "SQ"), item(ITEM, 0).repeat(MAX_ELEMENTS as usize)];
    let cases: Vec<(&str, Vec<u8>, Expected)> = vec![
        ("nothing", vec![], |e| matches!(e, DicomError::NotDicom)),
        ("a PDF", b"%PDF-1.7\n".repeat(40), |e| matches!(e, DicomError::NotDicom)),
        ("zeros", vec![0; 1000], |e| matches!(e, DicomError::NotDicom)),
        ("a preamble alone", [vec![0; 128], b"DICM".to_vec()].concat(), |e| matches!(e, DicomError::NotDicom)),
        ("no element that is needed", file(EXPLICIT, &[element((8, 8), "CS", b"A")]), |e| {
            matches!(e, DicomError::Nothing)
        }),
        ("deflated", file("1.2.840.10008.1.2.1.99", &[vec![0x78; 100]]), |e| matches!(e, DicomError::Deflated)),
        ("no type", file(EXPLICIT, &[element((8, 0x60), "c\0", b"CT")]), malformed),
        ("out of order", file(EXPLICIT, &[modality(), element((8, 0x16), "UI", b"1.2")]), malformed),
        ("twice", file(EXPLICIT, &[modality(), modality()]), malformed),
        ("a long value", file(EXPLICIT, &[element((8, 0x60), "CS", &[b'A'; 2000])]), malformed),
        ("a needed value of undefined length", file(EXPLICIT, &[open((8, 0x60), "UN")]), malformed),
        ("rows of one byte", file(EXPLICIT, &[modality(), element((0x28, 0x10), "US", &[1])]), malformed),
        ("no number of frames", file(EXPLICIT, &[modality(), element((0x28, 8), "IS", b"many")]), malformed),
        ("a length beyond the file", file(EXPLICIT, &[modality(), lying((9, 1), "OB", 1_000_000)]), truncated),
        ("a length of 4 GiB", file(EXPLICIT, &[modality(), lying((9, 1), "OB", 0xffff_fffe)]), |e| {
            matches!(e, DicomError::TooLong)
        }),
        ("a sequence without end", file(EXPLICIT, &[open((8, 0x1140), "SQ"), item(ITEM, 0)]), truncated),
        ("too many items", file(EXPLICIT, &many_items), |e| matches!(e, DicomError::TooManyElements)),
    ];
    for (what, bytes, expected) in cases {
        let started = Instant::now();
        let refused = describe(bytes.as_slice());
        assert!(refused.as_ref().is_err_and(expected), "{what}: {refused:?}");
        assert!(refused.is_err_and(|e| e.to_string().len() < 200 && !e.to_string().contains('\n')), "{what}");
        assert!(started.elapsed() < Duration::from_secs(5), "{what}");
    }
    // A stream without end: only the header's limit is read.
    struct Endless(u64);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += buffer.len() as u64;
            buffer.fill(0);
            Ok(buffer.len())
        }
    }
    let mut endless = Endless(0);
    let head = file(EXPLICIT, &[modality(), lying((9, 1), "OB", (MAX_HEADER - 200) as u32)]);
    assert!(matches!(
        describe(head.as_slice().chain(&mut endless)),
        Err(DicomError::Malformed { .. } | DicomError::TooLong)
    ));
    assert!(endless.0 <= MAX_HEADER + 1024, "{}", endless.0);
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    assert!(matches!(describe(file(EXPLICIT, &[modality()]).as_slice().chain(Broken)), Err(DicomError::Read(_))));
    // A file that ends early at any byte gives an error or what was complete.
    let whole = file(EXPLICIT, &[modality(), element((0x28, 0x10), "US", &[1, 0])]);
    for end in 0..whole.len() {
        match describe(&whole[..end]) {
            Ok(description) => {
                assert_eq!(shown(&description)?, BTreeMap::from([("modality".into(), "CT".into())]), "{end}")
            }
            Err(error) => assert!(
                matches!(error, DicomError::NotDicom | DicomError::Truncated | DicomError::Nothing),
                "{end}: {error:?}"
            ),
        }
    }
    Ok(())
}

/// Nested sequences take no stack and no memory, and what is in them is not taken for the image's.
#[test]
fn nested_sequences_are_skipped() -> Result<(), Anything> {
    let (levels, other) = (10_000, element((8, 0x60), "CS", b"MR"));
    for vr in ["SQ", "UN"] {
        let mut sequence = open((8, 0x1140), vr);
        for _ in 0..levels {
            sequence.extend(item(ITEM, u32::MAX));
            // Within UN, elements are implicit.
            sequence.extend(if vr == "UN" {
                [&[8, 0, 0x40, 0x11][..], &[0xff; 4]].concat()
            } else {
                open((8, 0x1140), "SQ")
            });
        }
        for _ in 0..levels {
            sequence.extend(item(SEQUENCE_END, 0));
            sequence.extend(item(ITEM_END, 0));
        }
        sequence.extend(item(SEQUENCE_END, 0));
        let description = describe(
            file(EXPLICIT, &[element((8, 0x60), "CS", b"CT"), sequence, element((0x28, 0x10), "US", &[1, 0])])
                .as_slice(),
        )?;
        let expected = [("modality", "CT"), ("rows", "1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(shown(&description)?, BTreeMap::from(expected), "{vr}");
    }
    // Sequences and items of a stated length too.
    let inside =
        [item(ITEM, other.len() as u32), other.clone(), item(ITEM, u32::MAX), other, item(ITEM_END, 0)].concat();
    let header =
        [element((8, 0x50), "SH", b"A"), element((8, 0x1140), "SQ", &inside), element((0x28, 0x10), "US", &[1, 0])];
    let description = describe(file(EXPLICIT, &header).as_slice())?;
    assert_eq!(shown(&description)?.get("modality"), None);
    assert_eq!(shown(&description)?.get("rows").map(String::as_str), Some("1"));
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0..140_usize) {
        let _ = describe(bytes.as_slice());
        let _ = describe([&[8, 0][..], bytes.as_slice()].concat().as_slice());
        for syntax in [EXPLICIT, "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"] {
            let whole = file(syntax, std::slice::from_ref(&bytes));
            let _ = describe(whole.as_slice());
            let _ = describe(&whole[cut.min(whole.len())..]);
        }
    }

    #[test]
    fn any_changed_header_is_read_without_panic(at in 128..400_usize, with in any::<u8>()) {
        let mut bytes = file(EXPLICIT, &[
            element((8, 5), "CS", b"\\ISO 2022 IR 87 "),
            open((8, 0x1140), "UN"), item(ITEM, u32::MAX), item(ITEM_END, 0), item(SEQUENCE_END, 0),
            element((0x10, 0x10), "PN", b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"),
            element((0x20, 0xd), "UI", b"1.2.3.4"),
            element((0x28, 8), "IS", b"12"),
        ]);
        let at = at % bytes.len();
        bytes[at] = with;
        let _ = describe(bytes.as_slice());
    }
}
