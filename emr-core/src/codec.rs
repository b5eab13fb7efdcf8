//! Canonical DAG-CBOR: one byte form for each value.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes that are not the canonical encoding of what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// More bytes than the type may have; nothing was read.
    #[error("{what} has {len} bytes, the limit is {limit}")]
    TooLarge {
        /// What was being read or written.
        what: &'static str,
        /// Its size.
        len: usize,
        /// The greatest size.
        limit: usize,
    },
    /// Not DAG-CBOR, or not this type.
    #[error("these bytes are not {what} ({detail}): fetch them again from their author or another node")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// This type, but in another byte form than the canonical one.
    #[error("{what} is not canonically encoded: whoever wrote it has to encode it again")]
    NotCanonical {
        /// What was being read.
        what: &'static str,
    },
}

/// The canonical bytes.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(value).expect("maps with text keys in memory always encode")
}

/// Reads canonical bytes, `limit` at most.
pub(crate) fn decode<T: Serialize + DeserializeOwned>(
    what: &'static str,
    limit: usize,
    bytes: &[u8],
) -> Result<T, CodecError> {
    if bytes.len() > limit {
        return Err(CodecError::TooLarge { what, len: bytes.len(), limit });
    }
    let value = serde_ipld_dagcbor::from_slice(bytes)
        .map_err(|error| CodecError::Malformed { what, detail: error.to_string().chars().take(200).collect() })?;
    // The reader above is strict; that the bytes are the only ones for this value does not rest on it.
    if encode(&value) != bytes {
        return Err(CodecError::NotCanonical { what });
    }
    Ok(value)
}
