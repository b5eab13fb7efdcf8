//! Elements of BN254's scalar field, their bytes and their packing (`docs/encoding.md`).

use emr_core::StateRoot;
pub use halo2curves::bn256::Fr;
use halo2curves::ff::{Field, PrimeField};

/// Bytes that are not the canonical form of a field element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a field element: 32 big-endian bytes below the BN254 scalar modulus are expected")]
pub struct NotCanonical;

/// The 32 big-endian bytes of an element.
pub fn to_bytes(element: &Fr) -> [u8; 32] {
    let mut bytes = element.to_repr();
    bytes.reverse();
    bytes
}

/// Reads 32 big-endian bytes.
///
/// # Errors
/// [`NotCanonical`] if the integer is not below the modulus.
pub fn from_bytes(bytes: &[u8; 32]) -> Result<Fr, NotCanonical> {
    let mut little = *bytes;
    little.reverse();
    Option::from(Fr::from_repr(little)).ok_or(NotCanonical)
}

/// The element of a state root.
pub fn of_root(root: &StateRoot) -> Fr {
    // A root's bytes are below the modulus, so nothing is reduced.
    reduce(root.as_bytes())
}

/// The state root of an element.
///
/// # Panics
/// Never: the bytes of an element are below the modulus.
pub fn to_root(element: &Fr) -> StateRoot {
    StateRoot::from_bytes(to_bytes(element)).expect("an element is below the modulus")
}

/// Reduces 32 big-endian bytes modulo p. For hash outputs only.
pub fn reduce(bytes: &[u8; 32]) -> Fr {
    bytes.chunks_exact(8).fold(Fr::ZERO, |sum, limb| {
        let limb = limb.iter().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
        sum * Fr::from_u128(1 << 64) + Fr::from(limb)
    })
}

/// The element of a 248-bit opaque value: its 31 bytes as a big-endian integer.
pub fn from_opaque(bytes: &[u8; 31]) -> Fr {
    let mut wide = [0; 32];
    wide[1..].copy_from_slice(bytes);
    reduce(&wide)
}

/// `pack(..)` of `docs/encoding.md`: the first field is the most significant.
///
/// # Panics
/// If a value does not fit its width or the widths sum to more than 248 bits.
pub fn pack(fields: &[(u64, u32)]) -> Fr {
    assert!(fields.iter().map(|(_, bits)| bits).sum::<u32>() <= 248, "a packing holds at most 248 bits");
    pack_elements(fields.iter().map(|&(value, bits)| {
        assert!(bits <= 64 && (bits == 64 || value >> bits == 0), "{value} does not fit {bits} bits");
        (Fr::from(value), bits)
    }))
}

/// The same sum over elements, whether or not they fit their widths.
pub fn pack_elements(fields: impl IntoIterator<Item = (Fr, u32)>) -> Fr {
    fields.into_iter().fold(Fr::ZERO, |packed, (field, bits)| packed * Fr::from_u128(1 << bits) + field)
}

/// The element as an integer below 2^64, if it is one.
pub fn to_u64(element: &Fr) -> Option<u64> {
    let bytes = element.to_repr();
    let (low, high) = bytes.split_at(8);
    high.iter().all(|byte| *byte == 0).then(|| low.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)))
}

/// Serde form of an element: `"0x"` and 64 hex digits, big-endian, canonical.
pub mod hex_element {
    use std::fmt;

    use serde::{
        Deserializer, Serializer,
        de::{Error, Visitor},
    };

    use super::Fr;

    const EXPECTED: &str = "0x and 64 hex digits of a number below the field's modulus";

    struct Text;

    impl Visitor<'_> for Text {
        type Value = Fr;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(EXPECTED)
        }

        /// Checks the length before it decodes. The error does not repeat the text.
        fn visit_str<E: Error>(self, text: &str) -> Result<Fr, E> {
            let mut bytes = [0; 32];
            let decoded = hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes);
            let element = decoded.ok().and_then(|()| super::from_bytes(&bytes).ok());
            element.ok_or_else(|| E::custom(format_args!("it must be {EXPECTED}")))
        }
    }

    /// Writes the element.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(element: &Fr, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("0x{}", hex::encode(super::to_bytes(element))))
    }

    /// Reads an element.
    ///
    /// # Errors
    /// Anything but 64 hex digits of a canonical element.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Fr, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_modulus_is_refused_and_one_less_is_not() {
        let minus_one = to_bytes(&-Fr::ONE);
        assert_eq!(from_bytes(&minus_one), Ok(-Fr::ONE));
        let mut modulus = minus_one;
        modulus[31] += 1;
        assert_eq!(from_bytes(&modulus), Err(NotCanonical));
        assert_eq!(reduce(&modulus), Fr::ZERO);
    }

    /// `StateRoot` knows the same modulus as the field.
    #[test]
    fn every_element_is_a_state_root_and_the_modulus_is_none() {
        for element in [Fr::ZERO, Fr::ONE, -Fr::ONE] {
            assert_eq!(of_root(&to_root(&element)), element);
        }
        let mut modulus = to_bytes(&-Fr::ONE);
        modulus[31] += 1;
        assert!(StateRoot::from_bytes(modulus).is_err());
    }

    #[test]
    fn packing_is_big_endian() {
        assert_eq!(pack(&[(1, 8), (2, 24), (0xffff_ffff, 32)]), Fr::from(0x0100_0002_ffff_ffff));
        assert!(std::panic::catch_unwind(|| pack(&[(256, 8)])).is_err());
    }

    proptest! {
        #[test]
        fn bytes_round_trip(words: [u64; 4]) {
            let element = Fr::from_raw(words);
            prop_assert_eq!(from_bytes(&to_bytes(&element)), Ok(element));
            prop_assert_eq!(reduce(&to_bytes(&element)), element);
        }

        #[test]
        fn small_integers_round_trip(value: u64) {
            prop_assert_eq!(to_u64(&Fr::from(value)), Some(value));
            prop_assert_eq!(to_u64(&-Fr::from(value.max(1))), None);
        }
    }
}
