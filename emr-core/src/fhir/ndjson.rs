//! NDJSON as FHIR Bulk Data Access writes it: one resource a line. Reads a line at a time, with limits.
//!
//! Source: FHIR Bulk Data Access IG 2.0, "File Requests"; <https://github.com/ndjson/ndjson-spec>.

use std::io::{self, BufRead, Read};

use super::MAX_BYTES;

/// The longest line, without its end: 64 MiB.
pub const MAX_LINE_BYTES: usize = MAX_BYTES;
/// How many bytes of a line that is too long are skipped at most: 1 GiB. A longer line ends the file.
pub const MAX_SKIPPED_BYTES: u64 = 1 << 30;

/// Why a line could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// The line has more than [`MAX_LINE_BYTES`] bytes.
    #[error("the line has more than {MAX_LINE_BYTES} bytes: a line is one resource; export it again")]
    TooLong,
    /// The line goes on for more than [`MAX_SKIPPED_BYTES`] bytes after that, so the rest of the file is not read.
    #[error(
        "the line does not end within {MAX_SKIPPED_BYTES} bytes, so the rest of this file is not read: export it again"
    )]
    Endless,
    /// The file cannot be read any further.
    #[error("the rest of this file cannot be read: {0}")]
    Read(#[from] io::Error),
}

/// A line that is not empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number in the file, counted from 1. Empty lines count.
    pub number: u64,
    /// Its bytes, without line end, byte order mark, and white space around them.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Line({}, {} bytes)", self.number, self.bytes.len())
    }
}

/// A line that could not be read, with its number.
#[derive(Debug, thiserror::Error)]
#[error("line {number}: {error}")]
pub struct BadLine {
    /// The number, counted from 1.
    pub number: u64,
    /// Why.
    #[source]
    pub error: LineError,
}

/// The lines of a file, one in memory at a time. A bad line does not end the iteration, except if nothing more can be read.
///
/// A line ends with LF or CR LF; the last one may have no end. A byte order mark before the first line is dropped. Lines of white space are left out.
#[derive(Debug)]
pub struct Lines<R> {
    from: R,
    number: u64,
    ended: bool,
}

impl<R: BufRead> Lines<R> {
    /// The lines of a file.
    pub const fn new(from: R) -> Self {
        Self { from, number: 0, ended: false }
    }

    /// The next line with its end, or `None` at the end of the file.
    fn next_with_end(&mut self) -> Result<Option<Vec<u8>>, LineError> {
        // Two more bytes for the line's end.
        let limit = MAX_LINE_BYTES as u64 + 2;
        let mut bytes = Vec::new();
        let read = self.from.by_ref().take(limit).read_until(b'\n', &mut bytes)?;
        let whole = bytes.ends_with(b"\n") || (read as u64) < limit;
        if !whole {
            drop(bytes);
            let skipped = self.from.by_ref().take(MAX_SKIPPED_BYTES).skip_until(b'\n')?;
            return Err(if skipped as u64 == MAX_SKIPPED_BYTES { LineError::Endless } else { LineError::TooLong });
        }
        Ok(if bytes.is_empty() { None } else { Some(bytes) })
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Line, BadLine>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            self.number += 1;
            let number = self.number;
            let bytes = match self.next_with_end() {
                Ok(Some(bytes)) => bytes,
                Ok(None) => break,
                Err(error) => {
                    self.ended = !matches!(error, LineError::TooLong);
                    return Some(Err(BadLine { number, error }));
                }
            };
            let text = if number == 1 { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes) } else { &bytes };
            let text = trimmed(text);
            if text.len() > MAX_LINE_BYTES {
                return Some(Err(BadLine { number, error: LineError::TooLong }));
            }
            if !text.is_empty() {
                return Some(Ok(Line { number, bytes: text.to_vec() }));
            }
        }
        self.ended = true;
        None
    }
}

/// Without the white space of JSON around it.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = bytes.iter().position(is_text).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(is_text).map_or(start, |last| last + 1);
    &bytes[start..end]
}
