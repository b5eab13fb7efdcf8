//! Why the header of a DICOM file was not read.

use std::io;

use super::element::Tag;
use super::{MAX_ELEMENTS, MAX_HEADER};

/// Why the header of a DICOM file was not read. The file can still be attached, without a description.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DicomError {
    /// The file does not start like a DICOM file.
    #[error("this is not a DICOM file: it starts neither with a preamble and 'DICM' nor with an element of DICOM")]
    NotDicom,
    /// The header has none of the elements that describe a file.
    #[error("this DICOM file says nothing about itself: is it a directory (DICOMDIR)? Choose one of its images")]
    Nothing,
    /// The file ends within its header.
    #[error("the DICOM file ends within its header: copy it again from its source")]
    Truncated,
    /// An element is not what it should be.
    #[error("the DICOM file is damaged: element {tag} {message}; export it again from its source")]
    Malformed {
        /// The element, as in `(0008,0060)`.
        tag: String,
        /// What is wrong with it.
        message: &'static str,
    },
    /// The header is longer than [`MAX_HEADER`], or an element says so.
    #[error(
        "the header of the DICOM file is longer than {MAX_HEADER} bytes, or says so: export it again from its source"
    )]
    TooLong,
    /// The header has more than [`MAX_ELEMENTS`] elements.
    #[error("the header of the DICOM file has more than {MAX_ELEMENTS} elements: export it again from its source")]
    TooManyElements,
    /// The header is compressed.
    #[error(
        "the header of the DICOM file is compressed (deflated), which is not read: export it in another transfer syntax"
    )]
    Deflated,
    /// The file could not be read.
    #[error("the DICOM file cannot be read: {0}")]
    Read(#[from] io::Error),
}

impl Tag {
    /// The error for this element.
    pub(super) fn malformed(self, message: &'static str) -> DicomError {
        DicomError::Malformed { tag: self.to_string(), message }
    }
}
