//! Canonical DAG-CBOR: one byte form for each value.

use serde::Serialize;
use serde::de::DeserializeOwned;

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

/// Decodes canonical bytes, at most `limit` of them. `what` names the type in errors.
///
/// # Errors
/// Returns [`CodecError`] if there are too many bytes, or if they are not the canonical form of this type.
pub fn decode<T: Serialize + DeserializeOwned>(
    what: &'static str,
    limit: usize,
    bytes: &[u8],
) -> Result<T, CodecError> {
    if bytes.len() > limit {
        return Err(CodecError::TooLarge { what, len: bytes.len(), limit });
    }
    let value = serde_ipld_dagcbor::from_slice(bytes)
        .map_err(|error| CodecError::Malformed { what, detail: error.to_string().chars().take(200).collect() })?;
    // The decoder is strict already. Encoding again proves, without relying on it, that this value has no other byte
    // form.
    if encode(&value) != bytes {
        return Err(CodecError::NotCanonical { what });
    }
    Ok(value)
}
