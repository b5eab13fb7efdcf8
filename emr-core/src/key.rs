//! The dotted paths that name the fields of a record.

use crate::excerpt::excerpt;

/// Why a text is not a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is empty, has two dots in a row, or has a dot at an end.
    #[error(
        "'{}' has an empty segment: write a key as segments with single dots between, as in Patient.name.0.family",
        excerpt(.0, 80)
    )]
    EmptySegment(String),
    /// The text has a character that keys cannot have.
    #[error("'{}' cannot be in a key: use A-Z a-z 0-9 _ - in segments, and dots between them", excerpt(&character.to_string(), 20))]
    Character {
        /// The first such character.
        character: char,
    },
    /// The text is longer than [`Key::MAX_BYTES`].
    #[error("a key of {0} bytes is too long, the limit is {max}", max = Key::MAX_BYTES)]
    TooLong(usize),
    /// The text has more segments than [`Key::MAX_SEGMENTS`].
    #[error("a key of {0} segments is too deep, the limit is {max}", max = Key::MAX_SEGMENTS)]
    TooManySegments(usize),
}

/// The name of a field: segments of `A-Z a-z 0-9 _ -` with single dots between, as in `Patient.name.0.family`.
///
/// Keys are ordered by their bytes. Encoded as DAG-CBOR text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Box<str>);

impl Key {
    /// The longest key in bytes.
    pub const MAX_BYTES: usize = 1024;
    /// The most segments.
    pub const MAX_SEGMENTS: usize = 128;
    /// The first segment of the keys of files beside the document: `attachments.0` is a file, `attachments.0.name` its name. No FHIR resource type
    /// has this name: they all start with an upper-case letter.
    pub const ATTACHMENTS: &str = "attachments";

    /// Checks a dotted path.
    ///
    /// # Errors
    /// Returns [`KeyError`] for an empty segment, for another character, and beyond the limits.
    pub fn new(path: impl Into<Box<str>>) -> Result<Self, KeyError> {
        let path = path.into();
        if path.len() > Self::MAX_BYTES {
            return Err(KeyError::TooLong(path.len()));
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if !path.bytes().all(allowed) {
            let character = path.chars().find(|c| !u8::try_from(*c).is_ok_and(allowed)).unwrap_or_default();
            return Err(KeyError::Character { character });
        }
        let is_dot = |byte: Option<&u8>| byte.is_none_or(|byte| *byte == b'.');
        let bytes = path.as_bytes();
        if is_dot(bytes.first()) || is_dot(bytes.last()) || bytes.windows(2).any(|pair| pair == b"..") {
            return Err(KeyError::EmptySegment(path.into()));
        }
        let segments = 1 + bytes.iter().filter(|byte| **byte == b'.').count();
        if segments > Self::MAX_SEGMENTS {
            return Err(KeyError::TooManySegments(segments));
        }
        Ok(Self(path))
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments from first to last. There is at least one.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// Whether the field is beside the document from which the record was imported, and says nothing about the document's content.
    pub fn is_beside_document(&self) -> bool {
        self.segments().next() == Some(Self::ATTACHMENTS)
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

impl std::str::FromStr for Key {
    type Err = KeyError;
    fn from_str(path: &str) -> Result<Self, KeyError> {
        Self::new(path)
    }
}

impl TryFrom<String> for Key {
    type Error = KeyError;
    fn try_from(path: String) -> Result<Self, KeyError> {
        Self::new(path)
    }
}

impl serde::Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_dotted_paths_within_bounds() -> Result<(), KeyError> {
        let key: Key = "Patient.name.0._given".parse()?;
        assert_eq!(key.segments().collect::<Vec<_>>(), ["Patient", "name", "0", "_given"]);
        assert_eq!(key.to_string(), "Patient.name.0._given");
        for (path, beside) in
            [("attachments.0", true), ("attachments", true), ("attachments-0", false), ("a.attachments", false)]
        {
            assert_eq!(Key::new(path)?.is_beside_document(), beside, "{path}");
        }
        for empty in ["", ".", "a.", ".a", "a..b"] {
            assert_eq!(Key::new(empty), Err(KeyError::EmptySegment(empty.into())), "{empty}");
        }
        for (text, character) in [("a b", ' '), ("a.\u{e9}", '\u{e9}'), ("$original", '$'), ("a\0", '\0'), ("a/b", '/')]
        {
            assert_eq!(Key::new(text), Err(KeyError::Character { character }));
        }
        assert!(Key::new("a".repeat(Key::MAX_BYTES)).is_ok());
        assert_eq!(Key::new("a".repeat(Key::MAX_BYTES + 1)), Err(KeyError::TooLong(1025)));
        assert!(Key::new(vec!["a"; Key::MAX_SEGMENTS].join(".")).is_ok());
        assert_eq!(Key::new(vec!["a"; 129].join(".")), Err(KeyError::TooManySegments(129)));
        Ok(())
    }
}
