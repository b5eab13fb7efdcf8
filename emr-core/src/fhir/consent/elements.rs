//! The elements of a Consent that were not understood yet.

use std::collections::BTreeMap;

use super::codes::{HARMLESS, REFUSED};
use super::error::Refusal;
use crate::fhir::line_resource::text_of;
use crate::key::Key;
use crate::value::{Code, Value};

/// The fields of a Consent by path. What is understood is taken out, and what is left at the end is refused.
pub(super) struct Elements {
    left: BTreeMap<String, Value>,
    refused: BTreeMap<String, String>,
}

impl Elements {
    pub(super) fn of(fields: BTreeMap<Key, Value>) -> Self {
        let left = fields.into_iter().map(|(key, value)| (key.to_string(), value)).collect();
        Self { left, refused: BTreeMap::new() }
    }

    /// Refuses an element. The first reason counts.
    pub(super) fn refuse(&mut self, path: &str, reason: impl Into<String>) {
        self.refused.entry(written(path)).or_insert_with(|| reason.into());
    }

    /// Whether an element, or something in it, was refused.
    pub(super) fn is_refused(&self, path: &str) -> bool {
        let path = written(path);
        self.refused.keys().any(|refused| refused.starts_with(&path))
    }

    /// Takes the text of an element.
    pub(super) fn text(&mut self, path: &str) -> Option<String> {
        text_of(self.left.get(path)?)?;
        let value = self.left.remove(path)?;
        text_of(&value).map(str::to_owned)
    }

    /// Takes an element that does not matter, with all that is in it.
    pub(super) fn ignore(&mut self, path: &str) {
        self.left.retain(|key, _| !is_under(key, path));
    }

    /// Whether there is something of an element.
    pub(super) fn has(&self, path: &str) -> bool {
        self.left.keys().any(|key| is_under(key, path))
    }

    /// The paths of an array's items.
    pub(super) fn items(&self, path: &str) -> Vec<String> {
        let mut items = Vec::new();
        for key in self.left.keys().filter(|key| is_under(key, path)) {
            let Some(index) = key[path.len()..].trim_start_matches('.').split('.').next() else { continue };
            let item = format!("{path}.{index}");
            if index.bytes().all(|byte| byte.is_ascii_digit()) && !index.is_empty() && !items.contains(&item) {
                items.push(item);
            }
        }
        items
    }

    /// Takes a Coding: system and code. The display is for people.
    pub(super) fn coding(&mut self, path: &str) -> Option<(String, String)> {
        if let Some(Value::Code(_)) = self.left.get(path)
            && let Some(Value::Code(Code { system, code, .. })) = self.left.remove(path)
        {
            return Some((system, code));
        }
        let (system, code) = (self.text(&format!("{path}.system"))?, self.text(&format!("{path}.code"))?);
        self.text(&format!("{path}.display"));
        Some((system, code))
    }

    /// Takes the codings of a CodeableConcept, with their paths. Its text is for people, but cannot stand alone: the caller refuses a concept without
    /// codings.
    pub(super) fn concept(&mut self, path: &str) -> Vec<(String, Option<(String, String)>)> {
        let items = self.items(&format!("{path}.coding"));
        match items.is_empty() {
            true => self.ignore(path),
            false => drop(self.text(&format!("{path}.text"))),
        }
        items.into_iter().map(|item| (item.clone(), self.coding(&item))).collect()
    }

    /// Everything that is refused, with what nobody took.
    pub(super) fn refusals(mut self) -> Vec<Refusal> {
        for (path, _) in HARMLESS {
            self.ignore(path);
        }
        for key in std::mem::take(&mut self.left).into_keys() {
            let known = REFUSED.iter().filter(|(path, _)| is_under(&key, path)).max_by_key(|(path, _)| path.len());
            match known {
                // What was refused more exactly needs no second reason.
                Some((path, _)) if self.refused.keys().any(|refused| refused.starts_with(path)) => {}
                Some((path, reason)) => self.refuse(path, *reason),
                None => self.refuse(element(&key), "this program does not understand it, and does not leave it out"),
            }
        }
        self.refused.into_iter().map(|(path, reason)| Refusal { path, reason }).collect()
    }
}

/// The element of a key. What is said about a primitive value, as in `_status`, is one element.
fn element(key: &str) -> &str {
    let Some(about) = key.find("._") else { return key };
    let end = key[about + 1..].find('.').map_or(key.len(), |length| about + 1 + length);
    &key[..end]
}

/// Whether a key is an element, or inside it.
fn is_under(key: &str, path: &str) -> bool {
    key.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// A path as FHIR writes it: `Consent.provision.purpose[0]`.
fn written(path: &str) -> String {
    let mut text = String::new();
    for segment in path.split('.') {
        match segment.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.push_str(&format!("[{segment}]")),
            false if text.is_empty() => text.push_str(segment),
            false => text.push_str(&format!(".{segment}")),
        }
    }
    text
}
