//! A document as a tree of elements, each with its text as written.

use std::borrow::Cow;

use super::FhirError;
use super::flatten::flatten;
use super::json::{Scanner, Start};

/// An element of a document.
pub(super) struct Element<'a> {
    /// Its JSON as written, without the white space around it.
    pub(super) raw: &'a str,
    /// What it holds.
    pub(super) content: Content<'a>,
}

/// What an element holds.
pub(super) enum Content<'a> {
    /// The members, in the order of the document.
    Object(Vec<(Cow<'a, str>, Element<'a>)>),
    /// The items.
    Array(Vec<Element<'a>>),
    /// A string, unescaped.
    Text(Cow<'a, str>),
    /// A number, a truth value or null.
    Other,
}

impl<'a> Element<'a> {
    /// Reads a resource. Checks all that [`import`](super::import) checks of a document, so depth and size are bounded.
    pub(super) fn read(document: &'a [u8]) -> Result<Self, FhirError> {
        flatten(document)?;
        let mut scanner = Scanner::new(document)?;
        Self::next(&mut scanner)
    }

    fn next(scanner: &mut Scanner<'a>) -> Result<Self, FhirError> {
        let start = scanner.start();
        let content = match scanner.value()? {
            Start::Object => {
                let mut members = Vec::new();
                loop {
                    let name = scanner.name()?;
                    scanner.require(":", "a colon")?;
                    members.push((name, Self::next(scanner)?));
                    if !scanner.next_is(",") {
                        break;
                    }
                }
                scanner.require("}", "a comma or a closing brace")?;
                Content::Object(members)
            }
            Start::Array => {
                let mut items = Vec::new();
                loop {
                    items.push(Self::next(scanner)?);
                    if !scanner.next_is(",") {
                        break;
                    }
                }
                scanner.require("]", "a comma or a closing bracket")?;
                Content::Array(items)
            }
            Start::String(text) => Content::Text(text),
            Start::Number(_) | Start::Bool(_) | Start::Null => Content::Other,
        };
        Ok(Self { raw: scanner.since(start), content })
    }

    /// The member with this name, if this is an object that has it.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        self.members().iter().find(|(member, _)| member == name).map(|(_, value)| value)
    }

    /// The text, if this is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text of the member with this name.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        self.get(name)?.text()
    }

    /// The members of an object; none for other elements.
    pub(super) fn members(&self) -> &[(Cow<'a, str>, Self)] {
        match &self.content {
            Content::Object(members) => members,
            _ => &[],
        }
    }

    /// The items of an array, or the element itself if it is no array: FHIR has elements that may occur once in one
    /// resource and many times in another.
    pub(super) fn items(&self) -> &[Self] {
        match &self.content {
            Content::Array(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    /// The codings of a CodeableConcept, or of a list of them, as system and code. A missing system is empty.
    pub(super) fn codings(&self) -> impl Iterator<Item = (&str, &str)> {
        let codings = self.items().iter().filter_map(|concept| concept.get("coding")).flat_map(Self::items);
        codings.filter_map(|coding| Some((coding.text_of("system").unwrap_or_default(), coding.text_of("code")?)))
    }
}
