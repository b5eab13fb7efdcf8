//! The elements of a data set (PS3.5, section 7), read one after the other within limits.

use std::io::{self, Read};

use super::{DicomError, MAX_ELEMENTS, MAX_HEADER};

/// The longest value that is kept. The longest needed one is a name of three times 64 characters.
const MAX_VALUE: u32 = 1024;
/// The length of an element that ends with a delimiter.
const UNDEFINED: u32 = 0xffff_ffff;
/// The type of an unknown value. With an undefined length it is a sequence in the implicit encoding (PS3.5, 6.2.2).
const UN: [u8; 2] = *b"UN";
/// The types whose length has 32 bits in the explicit encodings (PS3.5, table 7.1-1).
const LONG: [&[u8; 2]; 13] =
    [b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"];

/// Group and number of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tag(pub(super) u16, pub(super) u16);

impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({:04X},{:04X})", self.0, self.1)
    }
}

/// The group of items and delimiters, which have no type in any encoding.
const DELIMITERS: u16 = 0xfffe;
const ITEM_END: Tag = Tag(DELIMITERS, 0xe00d);
const SEQUENCE_END: Tag = Tag(DELIMITERS, 0xe0dd);

/// How elements are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Syntax {
    /// Elements state the type of their value.
    pub(super) explicit: bool,
    pub(super) big_endian: bool,
}

impl Syntax {
    pub(super) const IMPLICIT: Self = Self { explicit: false, big_endian: false };
    pub(super) const EXPLICIT: Self = Self { explicit: true, big_endian: false };
    pub(super) const BIG_ENDIAN: Self = Self { explicit: true, big_endian: true };

    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    fn u32(self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }
}

/// An element without its value, which follows in the file.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) tag: Tag,
    /// The type that it states.
    vr: Option<[u8; 2]>,
    length: u32,
}

/// A file, read element by element.
pub(super) struct Elements<R> {
    reader: R,
    /// Bytes that were looked at, and not read yet.
    ahead: Vec<u8>,
    /// How many more bytes may be read.
    bytes_left: u64,
    /// How many more elements may be read.
    elements_left: u32,
}

impl<R: Read> Elements<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, ahead: Vec::new(), bytes_left: MAX_HEADER, elements_left: MAX_ELEMENTS }
    }

    /// The next bytes, fewer than `count` at the end of the file. They stay unread.
    pub(super) fn peek(&mut self, count: usize) -> Result<&[u8], DicomError> {
        let missing = count.saturating_sub(self.ahead.len()) as u64;
        self.reader.by_ref().take(missing).read_to_end(&mut self.ahead)?;
        Ok(&self.ahead[..count.min(self.ahead.len())])
    }

    fn spend(&mut self, bytes: u64) -> Result<(), DicomError> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(DicomError::TooLong)?;
        Ok(())
    }

    fn exact<const N: usize>(&mut self) -> Result<[u8; N], DicomError> {
        self.spend(N as u64)?;
        let bytes: [u8; N] = self.peek(N)?.try_into().map_err(|_| DicomError::Truncated)?;
        self.ahead.drain(..N);
        Ok(bytes)
    }

    /// Skips bytes, which must be there.
    pub(super) fn skip(&mut self, count: u32) -> Result<(), DicomError> {
        self.spend(count.into())?;
        let known = self.ahead.len().min(count as usize);
        self.ahead.drain(..known);
        let rest = u64::from(count) - known as u64;
        match io::copy(&mut self.reader.by_ref().take(rest), &mut io::sink())? {
            skipped if skipped == rest => Ok(()),
            _ => Err(DicomError::Truncated),
        }
    }

    /// Reads an element up to its value. Returns `None` at the end of the file.
    pub(super) fn next(&mut self, syntax: Syntax) -> Result<Option<Element>, DicomError> {
        if self.peek(1)?.is_empty() {
            return Ok(None);
        }
        self.elements_left = self.elements_left.checked_sub(1).ok_or(DicomError::TooManyElements)?;
        let [a, b, c, d] = self.exact()?;
        let tag = Tag(syntax.u16([a, b]), syntax.u16([c, d]));
        if !syntax.explicit || tag.0 == DELIMITERS {
            let length = syntax.u32(self.exact()?);
            return Ok(Some(Element { tag, vr: None, length }));
        }
        let vr: [u8; 2] = self.exact()?;
        if !vr.iter().all(u8::is_ascii_uppercase) {
            return Err(tag.malformed("states no type of its value"));
        }
        let length = if LONG.contains(&&vr) {
            self.exact::<2>()?;
            syntax.u32(self.exact()?)
        } else {
            syntax.u16(self.exact()?).into()
        };
        Ok(Some(Element { tag, vr: Some(vr), length }))
    }

    /// Reads the value of an element.
    pub(super) fn value(&mut self, element: &Element) -> Result<Vec<u8>, DicomError> {
        if element.length > MAX_VALUE {
            return Err(element.tag.malformed("is longer than any such value"));
        }
        self.spend(element.length.into())?;
        let count = element.length as usize;
        let value = self.peek(count)?.to_vec();
        if value.len() < count {
            return Err(DicomError::Truncated);
        }
        self.ahead.drain(..count);
        Ok(value)
    }

    /// Skips the value of an element. Sequences of undefined length end at their delimiter; nested ones are counted and
    /// take no memory.
    pub(super) fn skip_value(&mut self, syntax: Syntax, element: &Element) -> Result<(), DicomError> {
        if element.length != UNDEFINED {
            return self.skip(element.length);
        }
        let mut depth = 1_u32;
        // Where a sequence in the implicit encoding began.
        let mut implicit_from = (element.vr == Some(UN)).then_some(depth);
        while depth > 0 {
            let syntax = if implicit_from.is_some() { Syntax::IMPLICIT } else { syntax };
            let inner = self.next(syntax)?.ok_or(DicomError::Truncated)?;
            match (inner.tag, inner.length) {
                (ITEM_END | SEQUENCE_END, _) => {
                    depth -= 1;
                    implicit_from = implicit_from.filter(|from| depth >= *from);
                }
                (_, UNDEFINED) => {
                    // At most one an element, and elements are limited.
                    depth += 1;
                    if inner.vr == Some(UN) {
                        implicit_from = implicit_from.or(Some(depth));
                    }
                }
                (_, length) => self.skip(length)?,
            }
        }
        Ok(())
    }
}
