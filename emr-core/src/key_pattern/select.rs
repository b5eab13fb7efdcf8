//! Which fields of a record patterns choose.

use std::collections::BTreeSet;

use super::KeyPattern;
use crate::key::Key;
use crate::record::Record;
use crate::value::Value;

/// How many keys an error names.
const NEAREST: usize = 3;
/// What comes before the number and after the number of an entry of a Bundle.
const ENTRY: &str = "Bundle.entry.";
const RESOURCE: &str = "resource.";

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

/// The names of a record's fields.
pub(super) struct Names<'a> {
    record: &'a Record,
    /// The last entry that was asked for, and the type of its resource. Keys of an entry follow each other.
    last: Option<(&'a str, Option<&'a str>)>,
}

impl<'a> Names<'a> {
    pub(super) const fn of(record: &'a Record) -> Self {
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
    pub(super) fn in_resource(&mut self, key: &'a Key) -> (&'a str, &'a str) {
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

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

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
}
