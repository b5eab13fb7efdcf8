//! What a DICOM file (PS3.10) says about itself: the header, without the image.
//!
//! [`describe`] reads the elements up to `Columns` (0028,0011) and stops there, long before the pixels. It skips what it
//! does not need, keeps at most 1,024 bytes of a value, and needs no memory for lengths that a file claims. It reads at
//! most [`MAX_HEADER`] bytes and [`MAX_ELEMENTS`] elements.
//!
//! | key | element | value |
//! |---|---|---|
//! | `sop-class-uid`, `sop-instance-uid` | (0008,0016), (0008,0018) | text |
//! | `study-instance-uid`, `series-instance-uid` | (0020,000D), (0020,000E) | text |
//! | `accession-number`, `modality`, `manufacturer` | (0008,0050), (0008,0060), (0008,0070) | text |
//! | `study-description`, `body-part` | (0008,1030), (0018,0015) | text |
//! | `study-date` | (0008,0020) | date-time: a date |
//! | `acquisition-date-time` | (0008,002A), else (0008,0022) with (0008,0032) | date-time |
//! | `number-of-frames`, `rows`, `columns` | (0028,0008), (0028,0010), (0028,0011) | integer |
//!
//! Elements that are empty or absent give no field. A date or time that DICOM does not allow becomes text as written, and
//! so does a time without an offset from UTC, because a [`DateTime`](crate::DateTime) has one.
//!
//! The patient in the file is not among the fields: [`Description::patient`].

mod date_time;
mod element;
mod error;
mod file;
mod text;

use std::collections::BTreeMap;
use std::io::Read;

use element::{Elements, Syntax, Tag};
pub use error::DicomError;
use text::CharacterSets;

use crate::excerpt::is_harmless;
use crate::key::{Key, KeyError};
use crate::value::Value;

/// How many bytes of a file are read or skipped.
pub const MAX_HEADER: u64 = 8 << 20;
/// How many elements are read or skipped, those in undefined lengths included.
pub const MAX_ELEMENTS: u32 = 100_000;

/// What the header of a DICOM file says.
#[derive(Clone, PartialEq, Eq)]
pub struct Description {
    fields: BTreeMap<&'static str, Value>,
    patient: ImagedPatient,
}

/// The patient that a DICOM file names, as the file spells them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ImagedPatient {
    /// Patient's Name (0010,0010): `Family^Given^Middle^Prefix^Suffix`, perhaps with other spellings after `=`.
    pub name: Option<String>,
    /// Patient ID (0010,0020), in the numbering of the institution.
    pub id: Option<String>,
    /// Patient's Birth Date (0010,0030): a date, or text if it is none.
    pub birth_date: Option<Value>,
}

/// Does not show the patient.
impl std::fmt::Debug for ImagedPatient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ImagedPatient(..)")
    }
}

/// Does not show the values.
impl std::fmt::Debug for Description {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Description({} fields)", self.fields.len())
    }
}

impl Description {
    /// The fields, with keys that start with `prefix`: for `attachments.0.dicom`, `attachments.0.dicom.modality`.
    ///
    /// # Errors
    /// Returns [`KeyError`] if a key would be too long or have too many segments.
    pub fn fields(&self, prefix: &Key) -> Result<BTreeMap<Key, Value>, KeyError> {
        self.fields.iter().map(|(name, value)| Ok((Key::new(format!("{prefix}.{name}"))?, value.clone()))).collect()
    }

    /// The patient that the file names. Compare them with the patient of the record, and warn the doctor.
    pub fn patient(&self) -> &ImagedPatient {
        &self.patient
    }
}

/// Reads the header of a DICOM file.
///
/// Files with a preamble are read, and files that start with the meta information or with group 0008. All encodings of
/// elements are known (implicit, explicit little endian, explicit big endian). A deflated header is refused.
///
/// # Errors
/// Returns [`DicomError`] if the file is no DICOM file, is damaged before the last element that is needed, is deflated,
/// exceeds a limit, or cannot be read.
pub fn describe(reader: impl Read) -> Result<Description, DicomError> {
    let mut elements = Elements::new(reader);
    let syntax = file::start(&mut elements)?;
    let values = Values::read(&mut elements, syntax)?;
    let fields = values.fields()?;
    if fields.is_empty() {
        return Err(DicomError::Nothing);
    }
    Ok(Description { fields, patient: values.patient() })
}

const CHARACTER_SET: Tag = Tag(0x0008, 0x0005);
const STUDY_DATE: Tag = Tag(0x0008, 0x0020);
const ACQUISITION_DATE: Tag = Tag(0x0008, 0x0022);
const ACQUISITION_DATE_TIME: Tag = Tag(0x0008, 0x002a);
const ACQUISITION_TIME: Tag = Tag(0x0008, 0x0032);
const UTC_OFFSET: Tag = Tag(0x0008, 0x0201);
const PATIENT_NAME: Tag = Tag(0x0010, 0x0010);
const PATIENT_ID: Tag = Tag(0x0010, 0x0020);
const PATIENT_BIRTH_DATE: Tag = Tag(0x0010, 0x0030);
const NUMBER_OF_FRAMES: Tag = Tag(0x0028, 0x0008);
const ROWS: Tag = Tag(0x0028, 0x0010);
const COLUMNS: Tag = Tag(0x0028, 0x0011);

/// The elements whose text becomes a field.
const TEXTS: [(Tag, &str); 9] = [
    (Tag(0x0008, 0x0016), "sop-class-uid"),
    (Tag(0x0008, 0x0018), "sop-instance-uid"),
    (Tag(0x0008, 0x0050), "accession-number"),
    (Tag(0x0008, 0x0060), "modality"),
    (Tag(0x0008, 0x0070), "manufacturer"),
    (Tag(0x0008, 0x1030), "study-description"),
    (Tag(0x0018, 0x0015), "body-part"),
    (Tag(0x0020, 0x000d), "study-instance-uid"),
    (Tag(0x0020, 0x000e), "series-instance-uid"),
];

/// The other elements that are needed.
const OTHERS: [Tag; 12] = [
    CHARACTER_SET,
    STUDY_DATE,
    ACQUISITION_DATE,
    ACQUISITION_DATE_TIME,
    ACQUISITION_TIME,
    UTC_OFFSET,
    PATIENT_NAME,
    PATIENT_ID,
    PATIENT_BIRTH_DATE,
    NUMBER_OF_FRAMES,
    ROWS,
    COLUMNS,
];

/// The values of the elements that are needed.
struct Values {
    bytes: BTreeMap<Tag, Vec<u8>>,
    syntax: Syntax,
    character_sets: CharacterSets,
}

impl Values {
    fn read<R: Read>(elements: &mut Elements<R>, syntax: Syntax) -> Result<Self, DicomError> {
        let mut bytes = BTreeMap::new();
        let mut last = None;
        while let Some(element) = elements.next(syntax)? {
            if element.tag > COLUMNS {
                break;
            }
            // Readers would disagree on which of two values counts.
            if last.is_some_and(|last| last >= element.tag) {
                return Err(element.tag.malformed("is out of order"));
            }
            last = Some(element.tag);
            if OTHERS.contains(&element.tag) || TEXTS.iter().any(|(tag, _)| *tag == element.tag) {
                bytes.insert(element.tag, elements.value(&element)?);
            } else {
                elements.skip_value(syntax, &element)?;
            }
            if element.tag == COLUMNS {
                break;
            }
        }
        let declared = bytes.get(&CHARACTER_SET).map(Vec::as_slice).unwrap_or_default();
        let character_sets = CharacterSets::declared(declared);
        Ok(Self { bytes, syntax, character_sets })
    }

    /// The text of an element without the spaces and zeros around it, if there is any.
    fn text(&self, tag: Tag) -> Option<String> {
        let text = self.character_sets.decode(self.bytes.get(&tag)?);
        let text = text.trim_matches([' ', '\0']);
        let printable = |c: char| if is_harmless(c) { c } else { char::REPLACEMENT_CHARACTER };
        (!text.is_empty()).then(|| text.chars().map(printable).collect())
    }

    /// The number of an element of type US.
    fn unsigned(&self, tag: Tag) -> Result<Option<Value>, DicomError> {
        let Some(bytes) = self.bytes.get(&tag).filter(|bytes| !bytes.is_empty()) else { return Ok(None) };
        let number: [u8; 2] = bytes.as_slice().try_into().map_err(|_| tag.malformed("is not a number of 16 bits"))?;
        Ok(Some(Value::Integer(self.syntax.u16(number).into())))
    }

    fn fields(&self) -> Result<BTreeMap<&'static str, Value>, DicomError> {
        let mut fields = BTreeMap::new();
        fields.extend(TEXTS.iter().filter_map(|(tag, name)| Some((*name, Value::Text(self.text(*tag)?)))));
        fields.extend(self.text(STUDY_DATE).map(|text| ("study-date", date_time::date(&text))));
        fields.extend(self.acquired().map(|value| ("acquisition-date-time", value)));
        if let Some(frames) = self.text(NUMBER_OF_FRAMES) {
            let frames = frames.parse().map_err(|_| NUMBER_OF_FRAMES.malformed("is not a whole number"))?;
            fields.insert("number-of-frames", Value::Integer(frames));
        }
        fields.extend(self.unsigned(ROWS)?.map(|value| ("rows", value)));
        fields.extend(self.unsigned(COLUMNS)?.map(|value| ("columns", value)));
        Ok(fields)
    }

    fn acquired(&self) -> Option<Value> {
        let offset = self.text(UTC_OFFSET);
        let written = self.text(ACQUISITION_DATE_TIME).or_else(|| {
            let date = self.text(ACQUISITION_DATE)?;
            Some(date + &self.text(ACQUISITION_TIME).unwrap_or_default())
        })?;
        Some(date_time::date_time(&written, offset.as_deref()))
    }

    fn patient(&self) -> ImagedPatient {
        ImagedPatient {
            name: self.text(PATIENT_NAME),
            id: self.text(PATIENT_ID),
            birth_date: self.text(PATIENT_BIRTH_DATE).map(|text| date_time::date(&text)),
        }
    }
}
