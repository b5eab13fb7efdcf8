//! Patterns that choose fields of a record by their keys, and the context that a chosen field needs.

use std::collections::BTreeSet;

use crate::key::Key;
use crate::record::Record;
use crate::value::Value;

/// The most characters of a pattern with wildcards: with the end, one bit of a `u128` each.
const MAX_WILD: usize = u128::BITS as usize - 1;
/// How many keys an error names.
const NEAREST: usize = 3;
/// What comes before the number and after the number of an entry of a Bundle.
const ENTRY: &str = "Bundle.entry.";
const RESOURCE: &str = "resource.";
/// The elements of a resource that say what its other elements mean: see [`with_context`].
const CONTEXT: [&str; 6] = ["resourceType", "status", "code", "effective*", "issued", "date"];

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

/// A pattern that matches no field of a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record has no field like '{pattern}'{}", said(.nearest))]
pub struct NothingMatches {
    /// The pattern.
    pub pattern: String,
    /// The keys that are most like it, at most three.
    pub nearest: Vec<Key>,
}

fn said(nearest: &[Key]) -> String {
    let keys: Vec<_> = nearest.iter().map(Key::as_str).collect();
    if keys.is_empty() { ": it has no fields".to_owned() } else { format!("; the nearest are: {}", keys.join(", ")) }
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

/// A pattern as a nondeterministic automaton, all states in one word (Baeza-Yates and Gonnet, "A new approach to text
/// searching", 1992). State i means that the first i characters of the pattern are matched. So no pattern needs
/// backtracking.
#[derive(Clone, PartialEq, Eq)]
struct Automaton {
    /// For each character, the states in which the pattern goes on with it.
    literals: [u128; 128],
    /// The states in which it goes on with `*`.
    within: u128,
    /// The states in which it goes on with `**`.
    across: u128,
    accept: u128,
}

impl Automaton {
    /// `None` if the pattern has too many characters. Several stars in a row are one `**`.
    fn of(text: &str) -> Option<Self> {
        let mut automaton = Self { literals: [0; 128], within: 0, across: 0, accept: 1 };
        let mut rest = text.as_bytes();
        while let Some((byte, after)) = rest.split_first() {
            let stars = rest.iter().take_while(|byte| **byte == b'*').count();
            let states = match stars {
                0 => automaton.literals.get_mut(usize::from(*byte))?,
                1 => &mut automaton.within,
                _ => &mut automaton.across,
            };
            *states |= automaton.accept;
            automaton.accept = automaton.accept.checked_mul(2)?;
            rest = if stars == 0 { after } else { &rest[stars..] };
        }
        Some(automaton)
    }

    fn accepts(&self, bytes: impl Iterator<Item = u8>) -> bool {
        let stars = self.within | self.across;
        // A star also stands for nothing. No star follows another one, so one step is enough.
        let closed = |states: u128| states | (states & stars) << 1;
        let mut states = closed(1);
        for byte in bytes {
            let goes_on = self.literals.get(usize::from(byte)).map_or(0, |literals| states & literals);
            let stays = states & if byte == b'.' { self.across } else { stars };
            states = closed(goes_on << 1 | stays);
            if states == 0 {
                return false;
            }
        }
        states & self.accept != 0
    }
}

/// The names of a record's fields.
struct Names<'a> {
    record: &'a Record,
    /// The last entry that was asked for, and the type of its resource. Keys of an entry follow each other.
    last: Option<(&'a str, Option<&'a str>)>,
}

impl<'a> Names<'a> {
    const fn of(record: &'a Record) -> Self {
        Self { record, last: None }
    }

    /// The entry's number, the type of its resource and the path in the resource, if a key is that of a field of an entry's resource.
    fn in_bundle(&mut self, key: &'a Key) -> Option<(&'a str, &'a str, &'a str)> {
        let (number, path) = key.as_str().strip_prefix(ENTRY)?.split_once('.')?;
        let path = path.strip_prefix(RESOURCE)?;
        if self.last.is_none_or(|(last, _)| last != number) {
            let key = Key::new(format!("{ENTRY}{number}.{RESOURCE}resourceType")).ok();
            let value = key.and_then(|key| self.record.get(&key));
            let type_name = if let Some(Value::Text(name)) = value { Some(name.as_str()) } else { None };
            self.last = Some((number, type_name));
        }
        let type_name = self.last.and_then(|(_, type_name)| type_name)?;
        Some((number, type_name, path))
    }

    /// The way to the innermost resource that is a record or an entry's, with a dot at the end, and the path in it.
    fn in_resource(&mut self, key: &'a Key) -> (&'a str, &'a str) {
        let whole = key.as_str();
        let path = match self.in_bundle(key) {
            Some((_, _, path)) => path,
            None => whole.split_once('.').map_or("", |(_, path)| path),
        };
        (&whole[..whole.len() - path.len()], path)
    }
}

fn is_match(pattern: &KeyPattern, key: &Key, in_bundle: Option<(&str, &str, &str)>) -> bool {
    pattern.matches(&[key.as_str()])
        || in_bundle.is_some_and(|(number, type_name, path)| {
            pattern.matches(&[type_name, ".", path]) || pattern.matches(&[type_name, ".", number, ".", path])
        })
}

/// The keys of a record that match at least one of the patterns.
///
/// # Errors
/// Returns [`NothingMatches`] for the first pattern that matches no key.
pub fn select(record: &Record, patterns: &[KeyPattern]) -> Result<BTreeSet<Key>, NothingMatches> {
    let mut names = Names::of(record);
    let mut selected = BTreeSet::new();
    let mut used = vec![false; patterns.len()];
    for key in record.fields().keys() {
        let in_bundle = names.in_bundle(key);
        for (pattern, used) in patterns.iter().zip(&mut used) {
            if is_match(pattern, key, in_bundle) {
                *used = true;
                selected.insert(key.clone());
            }
        }
    }
    match patterns.iter().zip(used).find(|(_, used)| !used) {
        None => Ok(selected),
        Some((pattern, _)) => {
            Err(NothingMatches { pattern: pattern.to_string(), nearest: nearest(record, pattern.as_str()) })
        }
    }
}

/// The keys that have the most of a pattern's words in them, in any case of letters.
fn nearest(record: &Record, pattern: &str) -> Vec<Key> {
    let words: BTreeSet<String> =
        pattern.split(['.', '*']).filter(|word| !word.is_empty()).map(str::to_ascii_lowercase).collect();
    let mut names = Names::of(record);
    let mut scored: Vec<(usize, &Key)> = record
        .fields()
        .keys()
        .map(|key| {
            let type_name = names.in_bundle(key).map_or("", |(_, type_name, _)| type_name);
            let name = format!("{type_name}.{key}").to_ascii_lowercase();
            (words.iter().filter(|word| name.contains(word.as_str())).count(), key)
        })
        .collect();
    // A stable sort: keys with the same number of words stay in their order.
    scored.sort_by_key(|(words, _)| std::cmp::Reverse(*words));
    scored.into_iter().take(NEAREST).map(|(_, key)| key.clone()).collect()
}

/// The keys, and with each of them the fields of the same resource that say what it means: its `resourceType`, `status`, `code`,
/// `effective..`, `issued` and `date`. A value without them can mean anything: an Observation's `status` can be
/// `entered-in-error`. The resource is an entry's resource in a Bundle, and otherwise the whole record.
pub fn with_context(record: &Record, keys: &BTreeSet<Key>) -> BTreeSet<Key> {
    let mut names = Names::of(record);
    let known = keys.iter().filter_map(|key| record.fields().get_key_value(key));
    let resources: BTreeSet<&str> = known.map(|(key, _)| names.in_resource(key).0).collect();
    let is_context = |path: &str| {
        let element = path.split('.').next().unwrap_or_default();
        CONTEXT.iter().any(|name| match name.strip_suffix('*') {
            Some(start) => element.starts_with(start),
            None => element == *name,
        })
    };
    let mut all = keys.clone();
    for key in record.fields().keys() {
        let (resource, path) = names.in_resource(key);
        if resources.contains(resource) && is_context(path) {
            all.insert(key.clone());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn record(fields: &[(&str, &str)]) -> Result<Record, Box<dyn std::error::Error>> {
        let mut record = Record::new();
        for (key, value) in fields {
            record.insert(key.parse()?, Value::Text((*value).to_owned()))?;
        }
        Ok(record)
    }

    fn bundle() -> Result<Record, Box<dyn std::error::Error>> {
        record(&[
            ("Bundle.entry.0.resource.resourceType", "Patient"),
            ("Bundle.entry.0.resource.name.0.family", "Smith"),
            ("Bundle.entry.1.resource.resourceType", "Observation"),
            ("Bundle.entry.1.resource.status", "final"),
            ("Bundle.entry.1.resource.code.coding.0", "potassium"),
            ("Bundle.entry.1.resource.valueQuantity", "4.1 mmol/l"),
            ("Bundle.entry.1.resource.subject.reference", "Patient/1"),
            ("Bundle.entry.10.resource.resourceType", "Observation"),
            ("Bundle.entry.10.resource.component.0.valueQuantity", "120"),
            ("Bundle.entry.10.resource.effectiveDateTime", "2026-01-01"),
            ("Bundle.resourceType", "Bundle"),
        ])
    }

    fn chosen(record: &Record, patterns: &[&str]) -> Result<Vec<String>, Box<dyn std::error::Error>> {
        let patterns: Vec<KeyPattern> = patterns.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        Ok(select(record, &patterns)?.iter().map(Key::to_string).collect())
    }

    #[test]
    fn one_star_stays_in_its_segment_and_two_do_not() -> TestResult {
        let record = record(&[("a.b.c", ""), ("a.bb.c", ""), ("a.b.b.c", ""), ("a.bc", "")])?;
        for (pattern, keys) in [
            ("a.b.c", &["a.b.c"][..]),
            ("a.*.c", &["a.b.c", "a.bb.c"]),
            ("a.b*", &["a.bc"]),
            ("a.b*.c", &["a.b.c", "a.bb.c"]),
            ("a.**.c", &["a.b.b.c", "a.b.c", "a.bb.c"]),
            ("a.b**", &["a.b.b.c", "a.b.c", "a.bb.c", "a.bc"]),
            ("**", &["a.b.b.c", "a.b.c", "a.bb.c", "a.bc"]),
            ("***c", &["a.b.b.c", "a.b.c", "a.bb.c", "a.bc"]),
            ("*.*", &["a.bc"]),
            ("*a*.b*c*", &["a.bc"]),
        ] {
            assert_eq!(chosen(&record, &[pattern])?, keys, "{pattern}");
        }
        Ok(())
    }

    #[test]
    fn the_resource_type_of_an_entry_is_a_name_of_its_fields() -> TestResult {
        let record = bundle()?;
        let value = "Bundle.entry.1.resource.valueQuantity";
        let component = "Bundle.entry.10.resource.component.0.valueQuantity";
        for (pattern, keys) in [
            ("Observation.value*", &[value][..]),
            ("Observation.*.value*", &[value]),
            ("Observation.1.value*", &[value]),
            ("Observation.**.value*", &[value, component]),
            (
                "Observation.**",
                &[
                    "Bundle.entry.1.resource.code.coding.0",
                    "Bundle.entry.1.resource.resourceType",
                    "Bundle.entry.1.resource.status",
                    "Bundle.entry.1.resource.subject.reference",
                    value,
                    component,
                    "Bundle.entry.10.resource.effectiveDateTime",
                    "Bundle.entry.10.resource.resourceType",
                ],
            ),
            ("Bundle.entry.*.resource.value*", &[value]),
            ("Patient.**.family", &["Bundle.entry.0.resource.name.0.family"]),
            (value, &[value]),
        ] {
            assert_eq!(chosen(&record, &[pattern])?, keys, "{pattern}");
        }
        assert_eq!(chosen(&record, &["Observation.value*", "Observation.**.value*"])?, [value, component]);
        Ok(())
    }

    /// A field that only claims a type in another place gives no names.
    #[test]
    fn only_the_resource_of_the_entry_gives_its_type() -> TestResult {
        let record = record(&[
            ("Bundle.entry.0.resource.contained.0.resourceType", "Observation"),
            ("Bundle.entry.0.resource.valueQuantity", "1"),
            ("Observation.entry.0.resource.valueQuantity", "2"),
        ])?;
        assert!(chosen(&record, &["Observation.value*"]).is_err());
        Ok(())
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_named_with_the_nearest_keys() -> TestResult {
        let record = bundle()?;
        let refused = |patterns: &[&str]| chosen(&record, patterns).err().map(|error| error.to_string());
        let said = refused(&["Patient.**.family", "Observation.valuequantity"]).ok_or("chosen")?;
        assert!(
            said.starts_with("the record has no field like 'Observation.valuequantity'; the nearest are: "),
            "{said}"
        );
        assert!(said.contains("Bundle.entry.1.resource.valueQuantity"), "{said}");
        let empty = select(&Record::new(), &["a*".parse()?]).err().ok_or("chosen")?;
        assert_eq!(empty.to_string(), "the record has no field like 'a*': it has no fields");
        Ok(())
    }

    #[test]
    fn context_is_that_of_the_same_resource_alone() -> TestResult {
        let record = bundle()?;
        let with = |key: &str| -> Result<Vec<String>, Box<dyn std::error::Error>> {
            let all = with_context(&record, &BTreeSet::from([key.parse()?]));
            Ok(all.iter().map(Key::to_string).collect())
        };
        assert_eq!(
            with("Bundle.entry.1.resource.valueQuantity")?,
            [
                "Bundle.entry.1.resource.code.coding.0",
                "Bundle.entry.1.resource.resourceType",
                "Bundle.entry.1.resource.status",
                "Bundle.entry.1.resource.valueQuantity",
            ]
        );
        assert_eq!(with("Bundle.entry.10.resource.component.0.valueQuantity")?.len(), 3);
        let single = self::record(&[
            ("Observation.code.text", ""),
            ("Observation.codes", ""),
            ("Observation.effectivePeriod.start", ""),
            ("Observation.resourceType", ""),
            ("Observation.valueInteger", ""),
        ])?;
        let all = with_context(&single, &BTreeSet::from(["Observation.valueInteger".parse()?]));
        assert_eq!(all.len(), 4, "{all:?}");
        assert!(!all.contains(&"Observation.codes".parse()?));
        Ok(())
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
