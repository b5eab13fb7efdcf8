//! Opaque values: hashes that the rollup state holds of data that the circuit never reads.

use cid::Cid;
use sha2::{Digest, Sha256};

/// The text or bytes are not an opaque value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an opaque value: it must be 0x and 64 hexadecimal digits, of which the first two are 0")]
pub struct NotOpaque;

/// SHA-256 without its last byte, read as a 248-bit big-endian integer. It is always below the field's modulus, so it
/// is one field element.
///
/// 31 bytes in DAG-CBOR; `0x` and 64 hex digits (the 32-byte element) in JSON and for people.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Opaque([u8; 31]);

impl Opaque {
    /// Zero: stands for no key directory (of a new patient) and no content (of an empty record leaf).
    pub const ZERO: Self = Self([0; 31]);

    /// Hashes bytes: `SHA-256(bytes) >> 8`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::truncate(Sha256::digest(bytes).into())
    }

    /// The `stored` field of a record leaf: `of(manifest CID bytes || salt)`. Because of the salt, an outsider cannot
    /// tell which manifest in the IPFS swarm the leaf stands for.
    pub fn stored(manifest: &Cid, salt: &[u8; 32]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(manifest.to_bytes());
        hasher.update(salt);
        Self::truncate(hasher.finalize().into())
    }

    /// The salt of a delegate's SetGrant that hands on keys: `of("emr/delegated-keys/v1" || CID bytes || salt)`. So the delegate's signature
    /// covers the keys. The label keeps it apart from every [`Self::stored`].
    pub fn handed_on(keys: &Cid, salt: &[u8; 32]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"emr/delegated-keys/v1");
        hasher.update(keys.to_bytes());
        hasher.update(salt);
        Self::truncate(hasher.finalize().into())
    }

    /// The `key_directory` field of a medical leaf: `of(CID bytes)`.
    pub fn directory(directory: &Cid) -> Self {
        Self::of(&directory.to_bytes())
    }

    /// Drops the last byte of a SHA-256 digest.
    pub(crate) fn truncate(digest: [u8; 32]) -> Self {
        let [head @ .., _] = digest;
        Self(head)
    }

    /// The 31 bytes, big-endian.
    pub const fn as_bytes(&self) -> &[u8; 31] {
        &self.0
    }

    /// The field element: 32 bytes, big-endian. The first byte is 0.
    pub fn to_be_bytes32(&self) -> [u8; 32] {
        let mut element = [0; 32];
        element[1..].copy_from_slice(&self.0);
        element
    }

    /// Reads a field element.
    ///
    /// # Errors
    /// Returns [`NotOpaque`] if it has more than 248 bits.
    pub fn from_be_bytes32(element: [u8; 32]) -> Result<Self, NotOpaque> {
        match element {
            [0, rest @ ..] => Ok(Self(rest)),
            _ => Err(NotOpaque),
        }
    }
}

impl std::fmt::Display for Opaque {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "0x00{}", hex::encode(self.0))
    }
}

impl std::fmt::Debug for Opaque {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opaque({self})")
    }
}

impl std::str::FromStr for Opaque {
    type Err = NotOpaque;
    fn from_str(text: &str) -> Result<Self, NotOpaque> {
        let mut bytes = [0; 31];
        let digits = text.strip_prefix("0x00").ok_or(NotOpaque)?;
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| NotOpaque)?;
        Ok(Self(bytes))
    }
}

impl serde::Serialize for Opaque {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serde_bytes::Bytes::new(&self.0).serialize(serializer)
        }
    }
}

impl<'de> serde::Deserialize<'de> for Opaque {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            Ok(Self(serde_bytes::ByteArray::deserialize(deserializer)?.into_array()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cid::{Codec, cid_of};

    /// The digest of "abc" is the example of FIPS 180-4.
    #[test]
    fn the_last_byte_is_dropped() -> Result<(), Box<dyn std::error::Error>> {
        let abc = Opaque::of(b"abc");
        let text = "0x00ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015";
        assert_eq!(abc.to_string(), text);
        assert_eq!(text.parse(), Ok(abc));
        assert_eq!(serde_json::to_string(&abc)?, format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<Opaque>(&format!("\"{text}\""))?, abc);
        let cbor = serde_ipld_dagcbor::to_vec(&abc)?;
        assert_eq!(cbor[..2], [0x58, 31]);
        assert_eq!(serde_ipld_dagcbor::from_slice::<Opaque>(&cbor)?, abc);
        assert_eq!(Opaque::from_be_bytes32(abc.to_be_bytes32()), Ok(abc));
        Ok(())
    }

    #[test]
    fn more_than_248_bits_are_refused() {
        let mut element = Opaque::of(b"abc").to_be_bytes32();
        element[0] = 1;
        assert_eq!(Opaque::from_be_bytes32(element), Err(NotOpaque));
        assert!("0x01ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015".parse::<Opaque>().is_err());
        assert!("00ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015".parse::<Opaque>().is_err());
        assert!("0x00".parse::<Opaque>().is_err());
        assert!(serde_ipld_dagcbor::from_slice::<Opaque>(&[0x41, 0]).is_err());
    }

    /// Computed with Python's hashlib over the CID bytes `01 71 12 20 ..` of the DAG-CBOR block `a0`.
    #[test]
    fn stored_and_directory_vectors() {
        let cid = cid_of(Codec::DagCbor, &[0xa0]);
        assert_eq!(
            Opaque::directory(&cid).to_string(),
            "0x00d6f5f296d07f35eb195ea2d6edde58af7a26979e6f90f538938d154703b7fa"
        );
        assert_eq!(
            Opaque::stored(&cid, &[7; 32]).to_string(),
            "0x008be577be1f6e799e8fd62aebb816c1351ccb7ad649259a3c2a2e9e99037f56"
        );
        assert_ne!(Opaque::stored(&cid, &[7; 32]), Opaque::stored(&cid, &[8; 32]));
    }
}
