//! Patterns of keys: a key in which `*` stands for one segment.

use serde::{Deserialize, Serialize};

use crate::key::{Key, KeyError};

/// A key in which `*` stands for exactly one segment, as in `Bundle.entry.*.resource`.
///
/// A pattern has as many segments as the paths that it matches. So one pass over the segments decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    text: String,
    segments: Vec<Option<Box<str>>>,
}

/// How a pattern fits a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit<'a> {
    /// The path is what the pattern names.
    Exact,
    /// The path is below what the pattern names, which is this.
    Below(&'a str),
    No,
}

impl Pattern {
    /// Whether the pattern fits this path, or something above it.
    pub(super) fn fit<'a>(&self, path: &'a str) -> Fit<'a> {
        let mut end = 0;
        let mut rest = Some(path);
        for wanted in &self.segments {
            let Some(here) = rest else { return Fit::No };
            let (segment, after) = match here.split_once('.') {
                Some((segment, after)) => (segment, Some(after)),
                None => (here, None),
            };
            if wanted.as_deref().is_some_and(|wanted| wanted != segment) {
                return Fit::No;
            }
            end += segment.len() + 1;
            rest = after;
        }
        match rest {
            None => Fit::Exact,
            // `end` counts a dot after each segment.
            Some(_) => Fit::Below(path.get(..end - 1).unwrap_or(path)),
        }
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.text)
    }
}

impl std::str::FromStr for Pattern {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        // Everything else must be as in a key.
        let key: Vec<_> = text.split('.').map(|segment| if segment == "*" { "0" } else { segment }).collect();
        Key::new(key.join("."))?;
        let segment = |segment: &str| (segment != "*").then(|| segment.into());
        Ok(Self { text: text.to_owned(), segments: text.split('.').map(segment).collect() })
    }
}

impl TryFrom<String> for Pattern {
    type Error = KeyError;
    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_segment() -> Result<(), KeyError> {
        for (pattern, path, fit) in [
            ("a", "a", Fit::Exact),
            ("a", "b", Fit::No),
            ("a", "ab", Fit::No),
            ("a", "a.b", Fit::Below("a")),
            ("a.b", "a", Fit::No),
            ("a.*.c", "a.0.c", Fit::Exact),
            ("a.*.c", "a.0.c.d.e", Fit::Below("a.0.c")),
            ("a.*.c", "a.0.1.c", Fit::No),
            ("a.*", "a.10", Fit::Exact),
            ("a.*", "a", Fit::No),
            ("*", "anything", Fit::Exact),
            ("*.*", "x.y.z", Fit::Below("x.y")),
        ] {
            assert_eq!(pattern.parse::<Pattern>()?.fit(path), fit, "{pattern} {path}");
        }
        Ok(())
    }

    #[test]
    fn a_pattern_is_a_key_apart_from_its_stars() {
        for text in ["", "a..b", "a.**", "a*", ".*", "*.", "a b", "a.$"] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
        assert!(vec!["*"; Key::MAX_SEGMENTS + 1].join(".").parse::<Pattern>().is_err());
    }
}
