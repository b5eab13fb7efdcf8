//! The sections of a file: what there is, where, and how long it must be. Nothing is believed: every length is compared
//! with the file's own length and with the header's power before anything of that length is read.

use std::io::{Read, Seek, SeekFrom};

use halo2curves::{
    bn256::{Fq, G1Affine, G2Affine},
    ff::PrimeField,
};

use super::{error::PtauError, points::Point};

/// Magic, format and number of sections.
pub(super) const PROLOGUE: usize = 12;
/// Number and length of a section.
pub(super) const SECTION_HEADER: usize = 12;
/// The length of section 1: the length of the modulus, the modulus, the power, the ceremony's power.
const HEADER: usize = 4 + 32 + 4 + 4;
/// The format's limit: 2^28 is the largest power of two that divides the group's order less one.
const MAX_POWER: u32 = 28;
/// The longest section 7 that is read: about 2,700 contributions. The largest ceremony so far had fewer than 100.
const MAX_CONTRIBUTIONS: u64 = 4 << 20;

pub(super) const TAU_G1: u32 = 2;
pub(super) const TAU_G2: u32 = 3;
const ALPHA_G1: u32 = 4;
const BETA_G1: u32 = 5;
const BETA_G2: u32 = 6;
pub(super) const CONTRIBUTIONS: u32 = 7;
const SECTIONS: [(u32, &str); 11] = [
    (1, "header"),
    (TAU_G1, "tau G1"),
    (TAU_G2, "tau G2"),
    (ALPHA_G1, "alpha tau G1"),
    (BETA_G1, "beta tau G1"),
    (BETA_G2, "beta G2"),
    (CONTRIBUTIONS, "contributions"),
    (12, "Lagrange tau G1"),
    (13, "Lagrange tau G2"),
    (14, "Lagrange alpha tau G1"),
    (15, "Lagrange beta tau G1"),
];

/// The content of a section.
pub(super) fn name(section: u32) -> &'static str {
    SECTIONS.iter().find(|(id, _)| *id == section).map_or("unknown", |(_, name)| name)
}

/// The bytes of a coordinate of the points in a section that contributors change. `None` for other sections.
pub(super) fn coordinate(section: u32) -> Option<usize> {
    match section {
        TAU_G1 | ALPHA_G1 | BETA_G1 => Some(G1Affine::SIZE / 2),
        TAU_G2 | BETA_G2 => Some(G2Affine::SIZE / 2),
        _ => None,
    }
}

/// The bytes of a section in a file of `2^power`. `None` for the contributions, whose length differs.
fn length(section: u32, power: u32) -> Option<u64> {
    let (g1, g2, n) = (64, 128, 1_u64 << power);
    match section {
        1 => Some(HEADER as u64),
        TAU_G1 => Some((2 * n - 1) * g1),
        TAU_G2 => Some(n * g2),
        ALPHA_G1 | BETA_G1 => Some(n * g1),
        BETA_G2 => Some(g2),
        // The bases of every size up to the whole, one after the other.
        12 => Some((4 * n - 1) * g1),
        13 => Some((2 * n - 1) * g2),
        14 | 15 => Some((2 * n - 1) * g1),
        _ => None,
    }
}

/// A section's place in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    pub(super) id: u32,
    /// Where its content begins.
    pub(super) at: u64,
    /// Bytes of its content.
    pub(super) length: u64,
}

impl Section {
    /// The bytes before its content.
    pub(super) fn header(&self) -> [u8; SECTION_HEADER] {
        let mut bytes = [0; SECTION_HEADER];
        bytes[..4].copy_from_slice(&self.id.to_le_bytes());
        bytes[4..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }
}

/// The structure of a file.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) power: u32,
    pub(super) ceremony_power: u32,
    pub(super) prologue: [u8; PROLOGUE],
    pub(super) header: Vec<u8>,
    pub(super) sections: Vec<Section>,
    /// The file's length in bytes.
    pub(super) total: u64,
}

impl Layout {
    /// Reads the structure, and checks every length.
    pub(super) fn scan(file: &mut (impl Read + Seek)) -> Result<Self, PtauError> {
        let total = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        let mut prologue = [0; PROLOGUE];
        let begins = PROLOGUE.min(usize::try_from(total).unwrap_or(PROLOGUE));
        read(file, &mut prologue[..begins], "its beginning")?;
        if prologue[..4] != *b"ptau" {
            return Err(PtauError::Kind);
        }
        if begins < PROLOGUE {
            return Err(PtauError::Short("its beginning"));
        }
        let format = le(&prologue[4..8]);
        if format != 1 {
            return Err(PtauError::Format(format));
        }
        let sections = table(file, le(&prologue[8..12]), total)?;
        let header = match sections.first() {
            Some(section) if section.id == 1 && section.length != HEADER as u64 => {
                return Err(PtauError::Header(section.length));
            }
            Some(section) if section.id == 1 => content(file, section)?,
            _ => return Err(PtauError::Absent { section: 1, name: name(1) }),
        };
        let (power, ceremony_power) = powers(&header)?;
        for (id, name) in SECTIONS {
            let Some(section) = sections.iter().find(|section| section.id == id) else {
                // The last four are there only after snarkjs's `prepare phase2`.
                if id <= CONTRIBUTIONS {
                    return Err(PtauError::Absent { section: id, name });
                }
                continue;
            };
            let expected = length(id, power).unwrap_or(section.length);
            if section.length != expected {
                return Err(PtauError::Length { section: id, name, expected, found: section.length, power });
            }
        }
        Ok(Self { power, ceremony_power, prologue, header, sections, total })
    }

    /// Reads section 7.
    pub(super) fn contributions(&self, file: &mut (impl Read + Seek)) -> Result<Vec<u8>, PtauError> {
        let absent = PtauError::Absent { section: CONTRIBUTIONS, name: name(CONTRIBUTIONS) };
        let section = self.sections.iter().find(|section| section.id == CONTRIBUTIONS).ok_or(absent)?;
        if section.length > MAX_CONTRIBUTIONS {
            return Err(PtauError::Contributions("it is longer than 4 MiB"));
        }
        content(file, section)
    }
}

/// Reads the headers of all sections. They must be in ascending order, and fill the file to its end.
fn table(file: &mut (impl Read + Seek), count: u32, total: u64) -> Result<Vec<Section>, PtauError> {
    if count as usize > SECTIONS.len() {
        return Err(PtauError::Sections(count));
    }
    let mut sections: Vec<Section> = Vec::new();
    let mut at = PROLOGUE as u64;
    for _ in 0..count {
        if total - at < SECTION_HEADER as u64 {
            return Err(PtauError::Short("its sections"));
        }
        let mut header = [0; SECTION_HEADER];
        file.seek(SeekFrom::Start(at))?;
        read(file, &mut header, "its sections")?;
        at += SECTION_HEADER as u64;
        let id = le(&header[..4]);
        let length = u64::from(le(&header[4..8])) | u64::from(le(&header[8..])) << 32;
        let known = SECTIONS.iter().any(|(known, _)| *known == id);
        if !known || sections.last().is_some_and(|before| before.id >= id) {
            return Err(PtauError::Section(id));
        }
        if length > total - at {
            return Err(PtauError::Beyond { section: id, length, left: total - at });
        }
        sections.push(Section { id, at, length });
        at += length;
    }
    match total - at {
        0 => Ok(sections),
        extra => Err(PtauError::Trailing(extra)),
    }
}

/// The power and the ceremony's power of a header.
fn powers(header: &[u8]) -> Result<(u32, u32), PtauError> {
    let mut modulus: Vec<u8> = hex::decode(Fq::MODULUS.trim_start_matches("0x")).unwrap_or_default();
    modulus.reverse();
    if le(&header[..4]) != 32 || header[4..36] != modulus {
        return Err(PtauError::OtherCurve);
    }
    let (power, ceremony) = (le(&header[36..40]), le(&header[40..44]));
    if power == 0 || power > ceremony || ceremony > MAX_POWER {
        return Err(PtauError::Power { power, ceremony });
    }
    Ok((power, ceremony))
}

/// Reads a whole section, whose length was checked.
fn content(file: &mut (impl Read + Seek), section: &Section) -> Result<Vec<u8>, PtauError> {
    let mut bytes = vec![0; usize::try_from(section.length).map_err(|_| PtauError::Short(name(section.id)))?];
    file.seek(SeekFrom::Start(section.at))?;
    read(file, &mut bytes, name(section.id))?;
    Ok(bytes)
}

/// Fills the buffer.
pub(super) fn read(file: &mut impl Read, bytes: &mut [u8], what: &'static str) -> Result<(), PtauError> {
    file.read_exact(bytes).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => PtauError::Short(what),
        _ => error.into(),
    })
}

/// Up to four bytes as a number.
pub(super) fn le(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, byte| (word << 8) | u32::from(*byte))
}
