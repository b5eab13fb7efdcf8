//! The text forms of fields in JSON: hex, base64, CIDs, addresses.
//!
//! A field has the type of its value, and names its form: `#[serde(with = "As::<Hex<32>>")]`. A text that is longer than
//! the form allows is refused before anything is decoded. The error says what was expected and never repeats the text:
//! a sender of garbage must not choose what the other side prints. [`crate::json`] adds the name of the field.

use std::{
    fmt::{self, Formatter},
    marker::PhantomData,
};

use alloy::primitives::{Address, FixedBytes};
use data_encoding::BASE64;
use emr_core::{Cid, Origin, cid};
use emr_crypto::RsaPublic;
use serde::{
    Deserializer, Serializer,
    de::{Error, Visitor},
};

use crate::url_token::UrlToken;

/// A text form of a type.
pub trait Form {
    /// The type.
    type Value;

    /// The length of the longest text, in bytes.
    const LONGEST: usize;

    /// Writes what the text must be, for an error.
    ///
    /// # Errors
    /// Those of the formatter.
    fn expected(f: &mut Formatter<'_>) -> fmt::Result;

    /// The text of a value.
    fn write(value: &Self::Value) -> String;

    /// The value of a text that is not longer than [`Self::LONGEST`].
    fn read(text: &str) -> Option<Self::Value>;
}

/// Makes a form usable in `#[serde(with = "..")]`.
#[derive(Debug)]
pub struct As<F>(PhantomData<F>);

impl<F: Form> As<F> {
    /// Writes the text of a value.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &F::Value, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&F::write(value))
    }

    /// Reads a value.
    ///
    /// # Errors
    /// Those of the deserializer, and anything that is not the form's text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<F::Value, D::Error> {
        deserializer.deserialize_str(Text::<F>(PhantomData))
    }
}

/// Like [`As`], for a value that may be absent (`null`).
#[derive(Debug)]
pub struct Maybe<F>(PhantomData<F>);

impl<F: Form> Maybe<F> {
    /// Writes the text of a value, or `null`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Option<F::Value>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.serialize_some(&F::write(value)),
            None => serializer.serialize_none(),
        }
    }

    /// Reads a value, or `null`.
    ///
    /// # Errors
    /// Those of the deserializer, and anything that is neither `null` nor the form's text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<F::Value>, D::Error> {
        deserializer.deserialize_option(MaybeText::<F>(PhantomData))
    }
}

struct Text<F>(PhantomData<F>);

impl<F: Form> Visitor<'_> for Text<F> {
    type Value = F::Value;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        F::expected(f)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<F::Value, E> {
        let value = if text.len() <= F::LONGEST { F::read(text) } else { None };
        value.ok_or_else(|| E::custom(format_args!("it must be {}", Expected::<F>(PhantomData))))
    }
}

struct MaybeText<F>(PhantomData<F>);

impl<'de, F: Form> Visitor<'de> for MaybeText<F> {
    type Value = Option<F::Value>;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "null or {}", Expected::<F>(PhantomData))
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        As::<F>::deserialize(deserializer).map(Some)
    }
}

struct Expected<F>(PhantomData<F>);

impl<F: Form> fmt::Display for Expected<F> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        F::expected(f)
    }
}

/// `N` bytes as hex digits.
#[derive(Debug)]
pub enum Hex<const N: usize> {}

impl<const N: usize> Form for Hex<N> {
    type Value = [u8; N];

    const LONGEST: usize = 2 * N;

    fn expected(f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} hex digits", 2 * N)
    }

    fn write(value: &[u8; N]) -> String {
        hex::encode(value)
    }

    fn read(text: &str) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(bytes)
    }
}

/// `N` bytes as Ethereum writes them: `0x` and hex digits.
#[derive(Debug)]
pub enum Prefixed<const N: usize> {}

impl<const N: usize> Form for Prefixed<N> {
    type Value = FixedBytes<N>;

    const LONGEST: usize = 2 + 2 * N;

    fn expected(f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "0x and {} hex digits", 2 * N)
    }

    fn write(value: &FixedBytes<N>) -> String {
        format!("0x{}", hex::encode(value))
    }

    fn read(text: &str) -> Option<FixedBytes<N>> {
        Hex::read(text.strip_prefix("0x")?).map(FixedBytes)
    }
}

/// An Ethereum address, written with its checksum (EIP-55) and read in any case.
#[derive(Debug)]
pub enum AddressText {}

impl Form for AddressText {
    type Value = Address;

    const LONGEST: usize = 42;

    fn expected(f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("an Ethereum address, 0x and 40 hex digits")
    }

    fn write(value: &Address) -> String {
        value.to_string()
    }

    fn read(text: &str) -> Option<Address> {
        Prefixed::read(text).map(Address)
    }
}

/// At most `MAX` bytes as hex digits.
#[derive(Debug)]
pub enum HexUpTo<const MAX: usize> {}

impl<const MAX: usize> Form for HexUpTo<MAX> {
    type Value = Vec<u8>;

    const LONGEST: usize = 2 * MAX;

    fn expected(f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "an even number of at most {} hex digits", 2 * MAX)
    }

    fn write(value: &Vec<u8>) -> String {
        hex::encode(value)
    }

    fn read(text: &str) -> Option<Vec<u8>> {
        hex::decode(text).ok()
    }
}

/// At most `MAX` bytes in base64 (RFC 4648, with padding).
#[derive(Debug)]
pub enum Base64UpTo<const MAX: usize> {}

impl<const MAX: usize> Form for Base64UpTo<MAX> {
    type Value = Vec<u8>;

    const LONGEST: usize = MAX.div_ceil(3) * 4;

    fn expected(f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "base64 of at most {MAX} bytes")
    }

    fn write(value: &Vec<u8>) -> String {
        BASE64.encode(value)
    }

    fn read(text: &str) -> Option<Vec<u8>> {
        BASE64.decode(text.as_bytes()).ok().filter(|bytes| bytes.len() <= MAX)
    }
}

/// An RSA public key: its SubjectPublicKeyInfo (DER) in base64.
#[derive(Debug)]
pub enum RsaKeyText {}

impl RsaKeyText {
    /// The DER of 4096 bits has 550 bytes.
    const MAX_DER: usize = 600;
}

impl Form for RsaKeyText {
    type Value = RsaPublic;

    const LONGEST: usize = Base64UpTo::<{ Self::MAX_DER }>::LONGEST;

    fn expected(f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("an RSA public key of 2048 to 4096 bits, SubjectPublicKeyInfo in base64")
    }

    fn write(value: &RsaPublic) -> String {
        BASE64.encode(&value.to_der())
    }

    fn read(text: &str) -> Option<RsaPublic> {
        RsaPublic::from_der(&Base64UpTo::<{ Self::MAX_DER }>::read(text)?).ok()
    }
}

/// The address of a block of this system: CIDv1, sha2-256, `raw` or `dag-cbor`, in base32. Each CID has one text.
#[derive(Debug)]
pub enum CidText {}

impl Form for CidText {
    type Value = Cid;

    /// Every CID of this kind has 36 bytes, which are 59 characters.
    const LONGEST: usize = 59;

    fn expected(f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a CIDv1 in base32 (59 characters) of a raw or dag-cbor block with sha2-256")
    }

    fn write(value: &Cid) -> String {
        value.to_string()
    }

    fn read(text: &str) -> Option<Cid> {
        let cid = Cid::try_from(text).ok()?;
        (cid::codec_of(&cid).is_ok() && cid.to_string() == text).then_some(cid)
    }
}

/// The address of an HTTP server: scheme, host and port, as [`Origin`] writes them.
#[derive(Debug)]
pub enum OriginText {}

impl Form for OriginText {
    type Value = Origin;

    /// `https://`, a host name of 253 characters, and a port.
    const LONGEST: usize = 267;

    fn expected(f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("the address of this node: scheme, host and port, like https://node.example")
    }

    fn write(value: &Origin) -> String {
        value.to_string()
    }

    fn read(text: &str) -> Option<Origin> {
        text.parse().ok().filter(|origin: &Origin| origin.to_string() == text)
    }
}

/// The random part of a link's address: 43 characters of base64url.
#[derive(Debug)]
pub enum UrlTokenText {}

impl Form for UrlTokenText {
    type Value = UrlToken;

    const LONGEST: usize = UrlToken::CHARACTERS;

    fn expected(f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("43 characters of base64url")
    }

    fn write(value: &UrlToken) -> String {
        value.to_string()
    }

    fn read(text: &str) -> Option<UrlToken> {
        text.parse().ok()
    }
}
