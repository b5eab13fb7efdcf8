//! The DAG-CBOR form of a value.

use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Value;

const DECIMAL: &str = "decimal";
const DATE_TIME: &str = "date-time";
const CODE: &str = "code";
const QUANTITY: &str = "quantity";
const ATTACHMENT: &str = "attachment";

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fn typed<S: Serializer>(serializer: S, name: &str, value: &impl Serialize) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry(name, value)?;
            map.end()
        }
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Bytes(value) => serializer.serialize_bytes(value),
            Self::Decimal(value) => typed(serializer, DECIMAL, value),
            Self::DateTime(value) => typed(serializer, DATE_TIME, value),
            Self::Code(value) => typed(serializer, CODE, value),
            Self::Quantity(value) => typed(serializer, QUANTITY, value),
            Self::Attachment(value) => typed(serializer, ATTACHMENT, value),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("null, a boolean, an integer of 64 bits, text, bytes, or a map of one entry named after its type")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value).map(Value::Integer).map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_bytes<E: Error>(self, value: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(value.to_vec()))
    }

    fn visit_byte_buf<E: Error>(self, value: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(value))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let value = match map.next_key::<String>()?.as_deref() {
            Some(DECIMAL) => Value::Decimal(map.next_value()?),
            Some(DATE_TIME) => Value::DateTime(map.next_value()?),
            Some(CODE) => Value::Code(map.next_value()?),
            Some(QUANTITY) => Value::Quantity(map.next_value()?),
            Some(ATTACHMENT) => Value::Attachment(map.next_value()?),
            _ => return Err(A::Error::custom("a value's map is named after its type")),
        };
        match map.next_key::<String>()? {
            None => Ok(value),
            Some(_) => Err(A::Error::custom("a value's map has one entry")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Attachment, Code, Quantity};
    use super::*;
    use crate::cid::{Codec, cid_of};
    use crate::codec::{CodecError, decode, encode};

    /// Written by hand after RFC 8949 and the DAG-CBOR specification; `docs/record.md` shows them.
    #[test]
    fn vectors() -> Result<(), Box<dyn std::error::Error>> {
        let code = Code { system: "http://loinc.org".into(), code: "8302-2".into(), display: None };
        let quantity =
            Quantity { value: "172.50".parse()?, unit: Some("cm".into()), system: None, code: Some("cm".into()) };
        let link = cid_of(Codec::Raw, b"hello world");
        let attachment = Attachment { link, media_type: "text/plain".into(), size: 11 };
        let link = hex::encode(link.to_bytes());
        for (value, cbor) in [
            (Value::Null, "f6".into()),
            (Value::Bool(true), "f5".into()),
            (Value::Integer(-500), "3901f3".into()),
            (Value::Integer(i64::MIN), "3b7fffffffffffffff".into()),
            (Value::Decimal("1.50".parse()?), format!("a167{}64{}", hex::encode("decimal"), hex::encode("1.50"))),
            (Value::Text("a".into()), "6161".into()),
            (
                Value::DateTime("2024-02-29".parse()?),
                format!("a169{}6a{}", hex::encode("date-time"), hex::encode("2024-02-29")),
            ),
            (
                Value::Code(code),
                format!(
                    "a164{}a264{}66{}66{}70{}",
                    hex::encode("code"),
                    hex::encode("code"),
                    hex::encode("8302-2"),
                    hex::encode("system"),
                    hex::encode("http://loinc.org")
                ),
            ),
            (
                Value::Quantity(quantity),
                format!(
                    "a168{}a364{}62{}64{}62{}65{}66{}",
                    hex::encode("quantity"),
                    hex::encode("code"),
                    hex::encode("cm"),
                    hex::encode("unit"),
                    hex::encode("cm"),
                    hex::encode("value"),
                    hex::encode("172.50")
                ),
            ),
            (Value::Bytes(vec![1, 2]), "420102".into()),
            (
                Value::Attachment(attachment),
                format!(
                    "a16a{}a364{}d82a582500{link}64{}0b6a{}6a{}",
                    hex::encode("attachment"),
                    hex::encode("link"),
                    hex::encode("size"),
                    hex::encode("media-type"),
                    hex::encode("text/plain")
                ),
            ),
        ] {
            assert_eq!(hex::encode(encode(&value)), cbor, "{value}");
            assert_eq!(decode::<Value>("a value", 1000, &hex::decode(&cbor)?)?, value);
        }
        Ok(())
    }

    #[test]
    fn other_types_and_other_forms_are_refused() -> Result<(), Box<dyn std::error::Error>> {
        for (cbor, why) in [
            ("1801", "a number in more bytes than it needs"),
            ("1b8000000000000000", "2^63"),
            ("fb3ff8000000000000", "a float"),
            ("f7", "undefined"),
            ("80", "a list"),
            ("a0", "a map of nothing"),
            ("a161610b", "a map named after no type"),
            ("7f6161ff", "text of indefinite length"),
            ("d82a4500015512200000", "a link alone"),
            ("c11a00000000", "a tag"),
            ("61ff", "text that is not UTF-8"),
            ("6161f6", "more after the value"),
            ("a167646563696d616c6130f6", "more after the map"),
            ("a267646563696d616c613067646563696d616c6130", "two entries"),
            ("a167646563696d616c623031", "the decimal 01"),
            ("a1646 36f6465a26463 6f6465616166737973 74656df6", "a code whose system is null"),
            ("", "nothing"),
        ] {
            let cbor = hex::decode(cbor.replace(' ', ""))?;
            let refused = decode::<Value>("a value", 1000, &cbor);
            assert!(
                matches!(refused, Err(CodecError::Malformed { .. } | CodecError::NotCanonical { .. })),
                "{why}: {refused:?}"
            );
        }
        // An optional entry is left out, never null.
        let null_display = format!(
            "a164{}a364{}616166{}616267{}f6",
            hex::encode("code"),
            hex::encode("code"),
            hex::encode("system"),
            hex::encode("display")
        );
        let refused = decode::<Value>("a value", 1000, &hex::decode(null_display)?);
        assert_eq!(refused, Err(CodecError::NotCanonical { what: "a value" }));
        Ok(())
    }
}
