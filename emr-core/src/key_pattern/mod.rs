//! Patterns that choose fields of a record by their keys, and the context that a chosen field needs.

mod automaton;
mod context;
mod select;

use crate::key::Key;

use automaton::Automaton;
pub use context::with_context;
pub use select::{NothingMatches, select};

/// The most characters of a pattern with wildcards: with the end, one bit of a `u128` each.
const MAX_WILD: usize = u128::BITS as usize - 1;

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// The text is empty, has two dots in a row, or has a dot at an end.
    #[error("the pattern '{0}' has an empty segment: write it like a key, with * in it, as in Observation.value*")]
    EmptySegment(String),
    /// The text has a character that neither keys nor patterns have.
    #[error("'{character}' cannot be in a pattern: use A-Z a-z 0-9 _ - . and *")]
    Character {
        /// The first such character.
        character: char,
    },
    /// The text is too long.
    #[error("a pattern of {len} characters is too long, the limit is {limit}: use several patterns")]
    TooLong {
        /// Its length.
        len: usize,
        /// The limit: that of keys, or 127 with wildcards.
        limit: usize,
    },
}

/// A pattern of keys. `*` stands for any run of characters without a dot, `**` for any run of characters. Both also stand
/// for nothing. All other characters stand for themselves.
///
/// In a Bundle, a field of an entry's resource has two more names, which a pattern can also match: without the way to the
/// resource, and with the entry's number after the type. So `Bundle.entry.3.resource.valueQuantity` is also
/// `Observation.valueQuantity` and `Observation.3.valueQuantity`, if the resource is an Observation.
///
/// A match takes time in proportion to the key's length, whatever the pattern.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPattern {
    text: Box<str>,
    wild: Option<Box<Automaton>>,
}

impl KeyPattern {
    /// The pattern's text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the pattern matches a name, which comes in parts.
    fn matches(&self, name: &[&str]) -> bool {
        let mut bytes = name.iter().flat_map(|part| part.bytes());
        match &self.wild {
            Some(automaton) => automaton.accepts(bytes),
            None => bytes.by_ref().eq(self.text.bytes()),
        }
    }
}

impl std::str::FromStr for KeyPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let too_long = |limit| Err(PatternError::TooLong { len: text.len(), limit });
        if text.len() > Key::MAX_BYTES {
            return too_long(Key::MAX_BYTES);
        }
        if let Some(character) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !"_-.*".contains(*c)) {
            return Err(PatternError::Character { character });
        }
        if text.split('.').any(str::is_empty) {
            return Err(PatternError::EmptySegment(text.to_owned()));
        }
        let wild = text.contains('*').then(|| Automaton::of(text));
        match wild {
            Some(None) => too_long(MAX_WILD),
            wild => Ok(Self { text: text.into(), wild: wild.flatten().map(Box::new) }),
        }
    }
}

impl std::fmt::Display for KeyPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::fmt::Debug for KeyPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyPattern({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::Record;
    use crate::value::Value;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    pub(super) fn record(fields: &[(&str, &str)]) -> Result<Record, Box<dyn std::error::Error>> {
        let mut record = Record::new();
        for (key, value) in fields {
            record.insert(key.parse()?, Value::Text((*value).to_owned()))?;
        }
        Ok(record)
    }

    #[test]
    fn what_is_not_a_pattern_is_refused() {
        for (text, part) in [
            ("", "empty segment"),
            ("a..b", "empty segment"),
            ("a.", "empty segment"),
            ("a?", "'?'"),
            ("[ab]", "'['"),
            ("a/b", "'/'"),
            ("$original", "'$'"),
        ] {
            assert!(text.parse::<KeyPattern>().is_err_and(|error| error.to_string().contains(part)), "{text}");
        }
        let long = |len: usize, end: &str| format!("{}{end}", "a".repeat(len - end.len())).parse::<KeyPattern>();
        assert!(long(Key::MAX_BYTES, "").is_ok());
        assert!(long(Key::MAX_BYTES + 1, "").is_err());
        assert!(long(MAX_WILD, "*").is_ok_and(|pattern| pattern.matches(&["a".repeat(200).as_str()])));
        assert_eq!(long(MAX_WILD + 1, "*"), Err(PatternError::TooLong { len: 128, limit: 127 }));
    }

    /// A matcher that backtracks would need 2^60 steps here.
    #[test]
    fn hostile_keys_take_no_longer_than_others() -> TestResult {
        let pattern: KeyPattern = format!("{}b", "a*".repeat(60)).parse()?;
        let key = "a".repeat(Key::MAX_BYTES);
        let began = std::time::Instant::now();
        for _ in 0..1000 {
            assert!(!pattern.matches(&[&key]));
        }
        assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
        Ok(())
    }

    /// The definition, word for word.
    fn defined(pattern: &[u8], name: &[u8]) -> bool {
        match pattern {
            [] => name.is_empty(),
            [b'*', b'*', rest @ ..] => (0..=name.len()).any(|skip| defined(rest, &name[skip..])),
            [b'*', rest @ ..] => {
                let run = name.iter().take_while(|byte| **byte != b'.').count();
                (0..=run).any(|skip| defined(rest, &name[skip..]))
            }
            [literal, rest @ ..] => name.first() == Some(literal) && defined(rest, &name[1..]),
        }
    }

    proptest! {
        #[test]
        fn matches_as_it_is_defined(pattern in "[ab.*]{1,10}", name in "[ab]{1,3}(\\.[ab]{1,3}){0,3}") {
            if let Ok(parsed) = pattern.parse::<KeyPattern>() {
                prop_assert_eq!(parsed.matches(&[&name]), defined(pattern.as_bytes(), name.as_bytes()));
                let (one, other) = name.split_at(name.len() / 2);
                prop_assert_eq!(parsed.matches(&[one, other]), parsed.matches(&[&name]));
            }
        }
    }
}
