//! The hash of an account's second encryption key.

use sha2::{Digest, Sha256};

/// The text is not a hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the hash of a key: it must be 0x and 64 hexadecimal digits")]
pub struct NotKemHash;

/// SHA-256 of an account's X-Wing public key (1216 bytes), or [`Self::NONE`] for an account with an RSA key alone. L1 holds it, and the
/// account's encryption commitment covers it. So a post-quantum key can be replaced no more easily than the RSA key beside it.
///
/// 32 bytes in DAG-CBOR; `0x` and 64 hex digits in JSON and for people.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KemHash([u8; 32]);

impl KemHash {
    /// 32 zero bytes: the account has no second key.
    pub const NONE: Self = Self([0; 32]);

    /// Hashes a public key.
    pub fn of(public_key: &[u8]) -> Self {
        Self(Sha256::digest(public_key).into())
    }

    /// The hash with these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether the account has no second key.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

impl std::fmt::Display for KemHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl std::fmt::Debug for KemHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KemHash({self})")
    }
}

impl std::str::FromStr for KemHash {
    type Err = NotKemHash;
    fn from_str(text: &str) -> Result<Self, NotKemHash> {
        let mut bytes = [0; 32];
        let digits = text.strip_prefix("0x").ok_or(NotKemHash)?;
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| NotKemHash)?;
        Ok(Self(bytes))
    }
}

impl serde::Serialize for KemHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serde_bytes::Bytes::new(&self.0).serialize(serializer)
        }
    }
}

impl<'de> serde::Deserialize<'de> for KemHash {
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

    /// The digest of "abc" is the example of FIPS 180-4.
    #[test]
    fn forms() -> Result<(), Box<dyn std::error::Error>> {
        let abc = KemHash::of(b"abc");
        let text = "0xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(abc.to_string(), text);
        assert_eq!(serde_json::from_str::<KemHash>(&serde_json::to_string(&abc)?)?, abc);
        let cbor = serde_ipld_dagcbor::to_vec(&abc)?;
        assert_eq!(cbor[..2], [0x58, 32]);
        assert_eq!(serde_ipld_dagcbor::from_slice::<KemHash>(&cbor)?, abc);
        assert!(!abc.is_none() && KemHash::NONE.is_none());
        for bad in
            ["", "0x", &text[2..], &text[..64], "0xzz7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"]
        {
            assert_eq!(bad.parse::<KemHash>(), Err(NotKemHash), "{bad}");
        }
        Ok(())
    }
}
