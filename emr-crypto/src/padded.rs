//! Structured plaintext that hides its length: the length in 4 bytes big-endian, then DAG-CBOR, then zeros.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{DecryptionFailed, padme};

/// Counts the bytes that are written, and does not keep them.
struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Encodes a value and pads it to a Padmé length, at least `least` bytes. The buffer has its final size from the start,
/// because a growing buffer leaves copies of secrets in freed memory. A value with secrets must encode as lists,
/// because the encoder sorts the fields of maps in buffers that nobody erases.
pub(crate) fn encode(value: &impl Serialize, least: usize) -> Zeroizing<Vec<u8>> {
    let mut counter = Counter(4);
    serde_ipld_dagcbor::to_writer(&mut counter, value).expect("plain data has a DAG-CBOR form");
    let length = u32::try_from(counter.0 - 4).expect("everything sealed whole is far below 4 GiB");
    let size = padme::padded(counter.0, least);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size));
    bytes.extend(length.to_be_bytes());
    serde_ipld_dagcbor::to_writer(&mut *bytes, value).expect("plain data has a DAG-CBOR form");
    bytes.resize(size, 0);
    bytes
}

/// Decodes what [`encode`] wrote. The bytes must come from an authenticated plaintext.
pub(crate) fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, DecryptionFailed> {
    let (length, rest) = bytes.split_first_chunk().ok_or(DecryptionFailed)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| DecryptionFailed)?;
    let encoded = rest.get(..length).ok_or(DecryptionFailed)?;
    serde_ipld_dagcbor::from_slice(encoded).map_err(|_| DecryptionFailed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_never_grows() {
        for count in [0, 1, 60, 1000, 50_000] {
            let value = vec![7_u8; count];
            let bytes = encode(&value, 192);
            let size = padme::padded(bytes[..].len(), 192);
            assert_eq!((bytes.len(), bytes.capacity()), (size, size));
            assert_eq!(decode(&bytes), Ok(value));
        }
    }
}
