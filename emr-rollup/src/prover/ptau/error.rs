//! Why a powers-of-tau file was refused.

use super::Hash512;

/// What is wrong with one point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointFault {
    /// A coordinate is not below the field's modulus.
    Coordinate,
    /// The point is not on the curve.
    Curve,
    /// It is the point at infinity, so the secret would be 0.
    Infinity,
    /// It is on the curve, but not in the group of the curve that has prime order.
    Subgroup,
}

impl std::fmt::Display for PointFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Coordinate => "has a coordinate that is not below the modulus",
            Self::Curve => "is not on the curve",
            Self::Infinity => "is the point at infinity",
            Self::Subgroup => "is on the curve but not in the right subgroup",
        })
    }
}

/// Why a powers-of-tau file was refused. Every message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PtauError {
    /// The file cannot be read.
    #[error("cannot read it: {0}")]
    Read(#[from] std::io::Error),
    /// The file is of another kind.
    #[error("it is not a powers-of-tau file: it does not begin with \"ptau\"")]
    Kind,
    /// The format has another version.
    #[error("it has format {0}; this program reads format 1")]
    Format(u32),
    /// The file ends too early.
    #[error("it ends in the middle of {0}: download it again")]
    Short(&'static str),
    /// A section is longer than the rest of the file.
    #[error("section {section} says that it has {length} bytes, and {left} follow: download the file again")]
    Beyond {
        /// The section's number.
        section: u32,
        /// The length that its header says, in bytes.
        length: u64,
        /// The number of bytes that follow.
        left: u64,
    },
    /// There are more bytes than the sections have.
    #[error("{0} bytes follow the last section: it is damaged, or not made by snarkjs")]
    Trailing(u64),
    /// A section is unknown, comes twice, or is not in its place.
    #[error("section {0} is unknown, comes twice, or is not in its place")]
    Section(u32),
    /// There are too many sections.
    #[error("it says that it has {0} sections; the format knows 11")]
    Sections(u32),
    /// A section is absent.
    #[error("section {section} ({name}) is absent")]
    Absent {
        /// The section's number.
        section: u32,
        /// Its content.
        name: &'static str,
    },
    /// A section has another length than the header's power demands.
    #[error("section {section} ({name}) has {found} bytes; a file of 2^{power} has {expected}")]
    Length {
        /// The section's number.
        section: u32,
        /// Its content.
        name: &'static str,
        /// The length that the power demands, in bytes.
        expected: u64,
        /// The length found, in bytes.
        found: u64,
        /// The power in the header.
        power: u32,
    },
    /// The header has a wrong length.
    #[error("section 1 (header) has {0} bytes, not 44: the file is damaged, or for another curve")]
    Header(u64),
    /// The file is for another curve.
    #[error("it is for another curve: this program needs BN254 (snarkjs calls it bn128)")]
    OtherCurve,
    /// The header names a power that is impossible.
    #[error(
        "its header says 2^{power} of a ceremony of 2^{ceremony}: the format allows 2 to 2^28, and a part cannot be more than the whole"
    )]
    Power {
        /// The file's power.
        power: u32,
        /// The ceremony's power.
        ceremony: u32,
    },
    /// The circuit needs more powers.
    #[error("it has 2^{power} powers and the circuit needs 2^{k}: take a file of power {k} or more")]
    TooSmall {
        /// The file's power.
        power: u32,
        /// The binary logarithm of the number of powers that are needed.
        k: u32,
    },
    /// A point is not valid.
    #[error("point {index} of section {section} ({name}) {fault}: the file is damaged or forged")]
    Point {
        /// The section's number.
        section: u32,
        /// Its content.
        name: &'static str,
        /// The position in the section, from 0.
        index: u64,
        /// What is wrong.
        fault: PointFault,
    },
    /// The first power is not the generator.
    #[error("the first point of section {section} ({name}) is not the generator: the file is damaged or forged")]
    Generator {
        /// The section's number.
        section: u32,
        /// Its content.
        name: &'static str,
    },
    /// The points are not the powers of one secret.
    #[error("the points of section {section} ({name}) are not the powers of one secret: the file is damaged or forged")]
    Powers {
        /// The section's number.
        section: u32,
        /// Its content.
        name: &'static str,
    },
    /// Nobody contributed.
    #[error("it has no contribution, so its secret is public: take the file after the ceremony")]
    NoContribution,
    /// The contributions are malformed.
    #[error("section 7 (contributions) is malformed: {0}")]
    Contributions(&'static str),
    /// The points are not those of the last contribution.
    #[error("the points are not those of the last contribution: the file is damaged or forged")]
    OtherContribution,
    /// Another hash was expected.
    #[error("its BLAKE2b hash is {found}, not the expected {expected}: download it again from its publisher")]
    OtherFile {
        /// The hash that was asked for.
        expected: Box<Hash512>,
        /// The hash of the file.
        found: Box<Hash512>,
    },
    /// The file was changed meanwhile.
    #[error("it was changed while it was read: try again")]
    Changed,
}
