//! Structured plaintext with its length hidden: length in 4 bytes, big-endian, DAG-CBOR, zeros.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{DecryptionFailed, padme};

/// Encodes a value in at least `least` bytes, a Padmé length otherwise.
pub(crate) fn encode(value: &impl Serialize, least: usize) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(vec![0; 4]);
    serde_ipld_dagcbor::to_writer(&mut *bytes, value).expect("plain data has a DAG-CBOR form");
    let length = u32::try_from(bytes.len() - 4).expect("everything sealed whole is far below 4 GiB");
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    padme::pad(&mut bytes, least);
    bytes
}

/// Reads what [`encode`] wrote, out of a plaintext that was authenticated.
pub(crate) fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, DecryptionFailed> {
    let (length, rest) = bytes.split_first_chunk().ok_or(DecryptionFailed)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| DecryptionFailed)?;
    let encoded = rest.get(..length).ok_or(DecryptionFailed)?;
    serde_ipld_dagcbor::from_slice(encoded).map_err(|_| DecryptionFailed)
}
