//! The start of a file: preamble and meta information (PS3.10, section 7.1), which name the encoding of the rest.

use std::io::Read;

use super::DicomError;
use super::element::{Elements, Syntax, Tag};

/// The length of the preamble before `DICM`.
const PREAMBLE: usize = 128;
/// The group of the meta information.
const META: [u8; 2] = [2, 0];
const TRANSFER_SYNTAX: Tag = Tag(0x0002, 0x0010);

/// Reads up to the first element of the data set, and returns how its elements are encoded.
pub(super) fn start<R: Read>(elements: &mut Elements<R>) -> Result<Syntax, DicomError> {
    if elements.peek(PREAMBLE + 4)?.get(PREAMBLE..) == Some(b"DICM") {
        elements.skip(PREAMBLE as u32 + 4)?;
    }
    let mut transfer_syntax = None;
    while elements.peek(2)? == META {
        let Some(element) = elements.next(Syntax::EXPLICIT)? else { break };
        if element.tag == TRANSFER_SYNTAX {
            transfer_syntax = Some(elements.value(&element)?);
        } else {
            elements.skip_value(Syntax::EXPLICIT, &element)?;
        }
    }
    match transfer_syntax {
        Some(uid) => of(&uid),
        None => guess(elements),
    }
}

/// The encoding that a transfer syntax names (PS3.5, annex A). All others use explicit little endian, whatever their
/// pixels are.
fn of(uid: &[u8]) -> Result<Syntax, DicomError> {
    let end = uid.iter().rposition(|byte| !matches!(byte, b'\0' | b' ')).map_or(0, |last| last + 1);
    match &uid[..end] {
        b"1.2.840.10008.1.2" => Ok(Syntax::IMPLICIT),
        b"1.2.840.10008.1.2.2" => Ok(Syntax::BIG_ENDIAN),
        // Deflated Explicit VR Little Endian, JPIP Referenced Deflate, JPIP HTJ2K Referenced Deflate
        b"1.2.840.10008.1.2.1.99" | b"1.2.840.10008.1.2.4.95" | b"1.2.840.10008.1.2.4.205" => Err(DicomError::Deflated),
        _ => Ok(Syntax::EXPLICIT),
    }
}

/// The encoding of a data set that nothing describes: its first element is in group 0008, and states its type or not.
fn guess<R: Read>(elements: &mut Elements<R>) -> Result<Syntax, DicomError> {
    match elements.peek(6)? {
        [8, 0, _, _, vr @ ..] if vr.len() == 2 && vr.iter().all(u8::is_ascii_uppercase) => Ok(Syntax::EXPLICIT),
        [8, 0, ..] => Ok(Syntax::IMPLICIT),
        [0, 8, _, _, vr @ ..] if vr.len() == 2 && vr.iter().all(u8::is_ascii_uppercase) => Ok(Syntax::BIG_ENDIAN),
        _ => Err(DicomError::NotDicom),
    }
}
