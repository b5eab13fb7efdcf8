//! Takes a document apart into its resources, as they are written.

use std::borrow::Cow;

use super::json::{Scanner, Start};
use super::{FhirError, MAX_BYTES, MAX_DEPTH};

/// A resource of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenResource<'a> {
    /// Its type, one of R4's.
    pub resource_type: &'static str,
    /// Its JSON as it is written in the document.
    pub json: &'a str,
}

impl<'a> WrittenResource<'a> {
    fn new(resource_type: Option<&str>, json: &'a str) -> Result<Self, FhirError> {
        let name = resource_type.ok_or(FhirError::NotFhir)?;
        let known = fhirkit::r4::RESOURCE_TYPES.iter().copied().find(|known| *known == name);
        let resource_type = known.ok_or_else(|| FhirError::UnknownResource(name.chars().take(80).collect()))?;
        Ok(Self { resource_type, json })
    }

    /// The JSON on one line. Without line breaks it is the JSON as written. A line break is never inside a string of JSON, so only white space
    /// between tokens is dropped: each line break, and the indentation after it.
    pub fn line(&self) -> Cow<'a, str> {
        if !self.json.contains(['\n', '\r']) {
            return Cow::Borrowed(self.json);
        }
        let mut lines = self.json.split(['\n', '\r']);
        let mut line = lines.next().unwrap_or_default().to_owned();
        lines.for_each(|next| line.push_str(next.trim_start_matches([' ', '\t'])));
        Cow::Owned(line)
    }
}

/// The resources of a document: those of a Bundle's entries, in order, or the one resource. A Bundle in a Bundle is one resource. Entries without
/// a resource give nothing.
///
/// # Errors
/// [`FhirError`] if the bytes are not JSON, nest too deep, or hold a resource of no type of R4.
pub fn resources(document: &[u8]) -> Result<Vec<WrittenResource<'_>>, FhirError> {
    if document.len() > MAX_BYTES {
        return Err(FhirError::TooLarge(document.len()));
    }
    let mut walker = Walker { scanner: Scanner::new(document)? };
    let start = walker.scanner.start();
    let Start::Object = walker.scanner.value()? else { return Err(FhirError::NotFhir) };
    let (mut resource_type, mut entries) = (None, Vec::new());
    walker.members(1, |here, name| {
        match name {
            "entry" => here.entries(&mut entries)?,
            "resourceType" => resource_type = here.text(2)?,
            _ => drop(here.text(2)?),
        }
        Ok(())
    })?;
    let json = walker.scanner.since(start);
    walker.scanner.end()?;
    if resource_type.as_deref() == Some("Bundle") {
        return entries.into_iter().map(|(name, json)| WrittenResource::new(name.as_deref(), json)).collect();
    }
    Ok(vec![WrittenResource::new(resource_type.as_deref(), json)?])
}

/// What was read of a value: the text, if it is a string.
type Text<'a> = Option<Cow<'a, str>>;

struct Walker<'a> {
    scanner: Scanner<'a>,
}

impl<'a> Walker<'a> {
    /// Reads the members of an object whose `{` has been read, and its end. `member` reads each value.
    fn members(
        &mut self,
        depth: usize,
        mut member: impl FnMut(&mut Self, &str) -> Result<(), FhirError>,
    ) -> Result<(), FhirError> {
        self.check(depth)?;
        if self.scanner.next_is("}") {
            return Ok(());
        }
        loop {
            let name = self.scanner.name()?;
            self.scanner.require(":", "a colon")?;
            member(self, &name)?;
            if !self.scanner.next_is(",") {
                return self.scanner.require("}", "a comma or a closing brace");
            }
        }
    }

    /// Reads the items of an array whose `[` has been read, and its end. `item` reads each value.
    fn items(
        &mut self,
        depth: usize,
        mut item: impl FnMut(&mut Self) -> Result<(), FhirError>,
    ) -> Result<(), FhirError> {
        self.check(depth)?;
        if self.scanner.next_is("]") {
            return Ok(());
        }
        loop {
            item(self)?;
            if !self.scanner.next_is(",") {
                return self.scanner.require("]", "a comma or a closing bracket");
            }
        }
    }

    fn check(&self, depth: usize) -> Result<(), FhirError> {
        if depth <= MAX_DEPTH {
            return Ok(());
        }
        let (line, column) = self.scanner.position();
        Err(FhirError::TooDeep { line, column })
    }

    /// Reads what follows the start of a value.
    fn rest(&mut self, depth: usize, start: &Start<'a>) -> Result<(), FhirError> {
        match start {
            Start::Object => self.members(depth, |here, _| here.text(depth + 1).map(drop)),
            Start::Array => self.items(depth, |here| here.text(depth + 1).map(drop)),
            Start::String(_) | Start::Number(_) | Start::Bool(_) | Start::Null => Ok(()),
        }
    }

    /// Reads any value. Returns it if it is a string.
    fn text(&mut self, depth: usize) -> Result<Text<'a>, FhirError> {
        let start = self.scanner.value()?;
        self.rest(depth, &start)?;
        Ok(if let Start::String(text) = start { Some(text) } else { None })
    }

    /// Reads the value of `entry`, and keeps each entry's resource with its type. Other resources than a Bundle have other values there.
    fn entries(&mut self, entries: &mut Vec<(Text<'a>, &'a str)>) -> Result<(), FhirError> {
        let start = self.scanner.value()?;
        let Start::Array = start else { return self.rest(2, &start) };
        self.items(2, |here| {
            let start = here.scanner.value()?;
            let Start::Object = start else { return here.rest(3, &start) };
            here.members(
                3,
                |here, name| if name == "resource" { here.resource(entries) } else { here.text(4).map(drop) },
            )
        })
    }

    /// Reads the value of `resource` in an entry.
    fn resource(&mut self, entries: &mut Vec<(Text<'a>, &'a str)>) -> Result<(), FhirError> {
        let from = self.scanner.start();
        let start = self.scanner.value()?;
        let Start::Object = start else { return self.rest(4, &start) };
        let mut resource_type = None;
        self.members(4, |here, name| {
            let text = here.text(5)?;
            if name == "resourceType" {
                resource_type = text;
            }
            Ok(())
        })?;
        entries.push((resource_type, self.scanner.since(from)));
        Ok(())
    }
}
