//! Lines, with limits.

use std::io::{BufReader, Read};

use emr_core::fhir::FhirError;
use emr_core::fhir::line_resource::NotTaken;
use emr_core::fhir::ndjson::{BadLine, Line, LineError, Lines, MAX_LINE_BYTES, MAX_SKIPPED_BYTES};

use super::{Anything, read, texts};

#[test]
fn line_ends_empty_lines_and_a_byte_order_mark() -> Result<(), Anything> {
    let file = b"\xef\xbb\xbf{\"a\":1}\r\n\n  \t\r\n {\"b\":2} \n\r\n{\"c\":3}";
    let expected =
        [(1, "{\"a\":1}"), (4, "{\"b\":2}"), (6, "{\"c\":3}")].map(|(number, text)| (number, text.to_owned()));
    assert_eq!(texts(file)?, expected);
    assert!(texts(b"")?.is_empty());
    assert!(texts(b"\n\r\n \n")?.is_empty());
    assert!(texts(b"\xef\xbb\xbf")?.is_empty());
    // A byte order mark in the middle is left, and then is no JSON.
    let middle = texts(b"1\n\xef\xbb\xbf{\"resourceType\":\"Basic\"}\n")?;
    assert_eq!(middle.len(), 2);
    assert!(matches!(read(&middle[1].1), Err(NotTaken::Fhir(FhirError::NotJson { .. }))));
    Ok(())
}

/// A file that never ends, and counts what was read of it.
struct Digits {
    left: u64,
    read: u64,
}

impl Read for Digits {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        buffer[..count].fill(b'7');
        self.left -= count as u64;
        self.read += count as u64;
        Ok(count)
    }
}

/// Digits without end stop at a limit, and a line that is only too long does not stop the next ones.
#[test]
fn long_lines_stop_at_a_limit() -> Result<(), Anything> {
    let mut endless = BufReader::with_capacity(1 << 20, Digits { left: u64::MAX, read: 0 });
    let mut bad = Lines::new(endless.by_ref());
    let first = bad.next();
    assert!(matches!(first, Some(Err(BadLine { number: 1, error: LineError::Endless }))), "{first:?}");
    assert!(bad.next().is_none());
    let read = endless.get_ref().read;
    assert!(read <= MAX_LINE_BYTES as u64 + MAX_SKIPPED_BYTES + (2 << 20), "{read}");

    let long = Digits { left: 2 * MAX_LINE_BYTES as u64, read: 0 };
    let file = long.chain(&b"\n{\"resourceType\":\"Basic\"}\n"[..]);
    let found: Vec<_> = Lines::new(BufReader::with_capacity(1 << 20, file)).collect();
    assert!(matches!(found[0], Err(BadLine { number: 1, error: LineError::TooLong })), "{found:?}");
    assert!(matches!(&found[1], Ok(Line { number: 2, .. })), "{found:?}");
    assert_eq!(found.len(), 2);

    // The longest line that is read, and one more byte, with both line ends.
    for (more, end, fits) in
        [(0, "\n", true), (0, "\r\n", true), (0, "", true), (1, "\n", false), (1, "\r\n", false), (1, "", false)]
    {
        let digits = Digits { left: MAX_LINE_BYTES as u64 + more, read: 0 };
        let file = BufReader::with_capacity(1 << 20, digits.chain(end.as_bytes()).chain(&b"1"[..]));
        let first = Lines::new(file).next().ok_or("a line")?;
        // Without an end, the digit after it belongs to the line.
        assert_eq!(first.is_ok(), fits && !end.is_empty(), "{more} {end:?}");
    }
    Ok(())
}

/// A file that breaks while it is read.
struct Broken(bool);

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.0 {
            return Err(std::io::Error::other("the disk is gone"));
        }
        self.0 = true;
        let line = b"{\"a\":1}\n{\"b\"";
        buffer[..line.len()].copy_from_slice(line);
        Ok(line.len())
    }
}

#[test]
fn a_file_that_cannot_be_read_on_ends_with_an_error() {
    let found: Vec<_> = Lines::new(BufReader::new(Broken(false))).collect();
    assert!(matches!(&found[..], [Ok(_), Err(BadLine { number: 2, error: LineError::Read(_) })]), "{found:?}");
}
