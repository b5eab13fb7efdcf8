//! Canonical DAG-CBOR: one byte form for each value.

use std::io::{self, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_ipld_dagcbor::error::{DecodeError, EncodeError};

use crate::excerpt::excerpt;

/// The bytes are not the canonical encoding of the expected type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// There are more bytes than the type allows. Nothing was parsed.
    #[error("{what} has {len} bytes, the limit is {limit}")]
    TooLarge {
        /// What was being read or written.
        what: &'static str,
        /// Its size.
        len: usize,
        /// The largest allowed size.
        limit: usize,
    },
    /// The bytes are not DAG-CBOR, or another type.
    #[error("these bytes are not {what} ({detail}): fetch them again from their author or another node")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// The bytes are of this type, but not in its canonical form.
    #[error("{what} is not canonically encoded: its author has to encode it again")]
    NotCanonical {
        /// What was being read.
        what: &'static str,
    },
}

/// The canonical bytes.
///
/// # Panics
/// If the value is not plain data: maps must have text as keys.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(value).expect("maps with text keys in memory always encode")
}

/// Writes the canonical bytes.
///
/// # Errors
/// Only those of `out`.
pub(crate) fn write<T: Serialize + ?Sized>(value: &T, out: &mut impl Write) -> io::Result<()> {
    serde_ipld_dagcbor::to_writer(out, &value).map_err(|error| match error {
        EncodeError::Write(error) => error,
        other => io::Error::other(other.to_string()),
    })
}

/// Decodes canonical bytes, at most `limit` of them. `what` names the type in errors.
///
/// # Errors
/// Returns [`CodecError`] if there are too many bytes, or if they are not the canonical form of this type.
pub fn decode<T: Serialize + DeserializeOwned>(
    what: &'static str,
    limit: usize,
    bytes: &[u8],
) -> Result<T, CodecError> {
    decode_written(what, limit, bytes, |value: &T, out| write(value, out))
}

/// The same for a type that writes its canonical bytes itself.
pub(crate) fn decode_written<T: DeserializeOwned>(
    what: &'static str,
    limit: usize,
    bytes: &[u8],
    write: impl FnOnce(&T, &mut Expected<'_>) -> io::Result<()>,
) -> Result<T, CodecError> {
    if bytes.len() > limit {
        return Err(CodecError::TooLarge { what, len: bytes.len(), limit });
    }
    let value = serde_ipld_dagcbor::from_slice(bytes).map_err(|error| {
        let detail = match error {
            DecodeError::Msg(text) => text,
            other => other.to_string(),
        };
        CodecError::Malformed { what, detail: excerpt(&detail, 150) }
    })?;
    // The decoder is strict already. Encoding again proves, without relying on it, that this value has no other byte
    // form.
    let mut rest = Expected(bytes);
    if write(&value, &mut rest).is_err() || !rest.0.is_empty() {
        return Err(CodecError::NotCanonical { what });
    }
    Ok(value)
}

/// Takes exactly these bytes, and fails at the first other one. So a large value is compared without a second copy of its bytes.
pub(crate) struct Expected<'a>(&'a [u8]);

impl Write for Expected<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// CBOR's head of a map with this many entries, at most 23 (RFC 8949, section 3).
pub(crate) const fn map(entries: u8) -> [u8; 1] {
    [0xa0 | entries]
}
