//! The rollup's state in one hash.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// The BN254 scalar modulus, big-endian: roots are field elements, so they are below it.
const MODULUS: [u8; 32] = [
    0x30, 0x64, 0x4e, 0x72, 0xe1, 0x31, 0xa0, 0x29, 0xb8, 0x50, 0x45, 0xb6, 0x81, 0x81, 0x58, 0x5d, 0x28, 0x33, 0xe8,
    0x48, 0x79, 0xb9, 0x70, 0x91, 0x43, 0xe1, 0xf5, 0x93, 0xf0, 0x00, 0x00, 0x01,
];

/// Bytes or text that are not a state root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a state root: it must be 0x and 64 hexadecimal digits of a number below the BN254 scalar modulus")]
pub struct NotStateRoot;

/// The hash of the identity root and the medical root: what the contract stores after each batch.
///
/// A field element as 32 big-endian bytes below the BN254 modulus; `0x` and 64 hex digits as text and in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StateRoot([u8; 32]);

impl StateRoot {
    /// Reads 32 big-endian bytes.
    ///
    /// # Errors
    /// [`NotStateRoot`] if the number is not below the modulus.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, NotStateRoot> {
        if bytes < MODULUS { Ok(Self(bytes)) } else { Err(NotStateRoot) }
    }

    /// The 32 bytes, big-endian.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for StateRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl fmt::Debug for StateRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateRoot({self})")
    }
}

impl FromStr for StateRoot {
    type Err = NotStateRoot;

    fn from_str(text: &str) -> Result<Self, NotStateRoot> {
        let mut bytes = [0; 32];
        let digits = text.strip_prefix("0x").ok_or(NotStateRoot)?;
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| NotStateRoot)?;
        Self::from_bytes(bytes)
    }
}

impl Serialize for StateRoot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StateRoot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modulus_and_above_are_no_root() -> Result<(), Box<dyn std::error::Error>> {
        let mut below = MODULUS;
        below[31] = 0;
        let root = StateRoot::from_bytes(below)?;
        assert_eq!(root.to_string().parse(), Ok(root));
        assert_eq!(serde_json::from_str::<StateRoot>(&serde_json::to_string(&root)?)?, root);
        for bytes in [MODULUS, [0xff; 32]] {
            assert_eq!(StateRoot::from_bytes(bytes), Err(NotStateRoot));
            let text = format!("0x{}", hex::encode(bytes));
            assert_eq!(text.parse::<StateRoot>(), Err(NotStateRoot));
            assert!(serde_json::from_str::<StateRoot>(&format!("\"{text}\"")).is_err());
        }
        Ok(())
    }

    #[test]
    fn text_of_another_length_is_no_root() {
        let digits = "0".repeat(64);
        for text in ["", "0x", &digits, &format!("0x{digits}0"), &format!("0x{}zz", &digits[..62])] {
            assert_eq!(text.parse::<StateRoot>(), Err(NotStateRoot), "{text}");
        }
    }
}
