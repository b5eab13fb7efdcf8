//! The name of an operation.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// The text is not an operation's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an operation's id is 64 hex digits")]
pub struct NotOperationId;

/// The name of an operation in receipts, routes and tables: the element that is signed, as 32 big-endian bytes.
///
/// Two operations with the same id are the same operation under the same domain. As text and in JSON an id is 64 hex
/// digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId([u8; 32]);

impl OperationId {
    /// The id with these bytes. It does not show that such an operation exists.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, big-endian.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OperationId({self})")
    }
}

impl FromStr for OperationId {
    type Err = NotOperationId;

    /// Reads 64 hex digits, with or without `0x`.
    fn from_str(text: &str) -> Result<Self, NotOperationId> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes).map_err(|_| NotOperationId)?;
        Ok(Self(bytes))
    }
}

impl Serialize for OperationId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OperationId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_32_bytes_in_hex() -> Result<(), Box<dyn std::error::Error>> {
        let id = OperationId::from_bytes([0xab; 32]);
        let digits = "ab".repeat(32);
        assert_eq!(serde_json::to_string(&id)?, format!("\"{digits}\""));
        assert_eq!((digits.parse(), format!("0x{digits}").parse()), (Ok(id), Ok(id)));
        for text in ["", "0x", &digits[1..], &format!("{digits}0"), &format!("0x0x{digits}"), &"zz".repeat(32)] {
            assert_eq!(text.parse::<OperationId>(), Err(NotOperationId), "{text}");
            assert!(serde_json::from_str::<OperationId>(&format!("\"{text}\"")).is_err(), "{text}");
        }
        Ok(())
    }
}
