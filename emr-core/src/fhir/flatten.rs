//! From FHIR JSON to fields.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

use super::fields::{Fields, Member, by_decimal_text};
use super::fold::fold;
use super::json::{Scanner, Start};
use super::media_type::media_type;
use super::{FhirError, MAX_BYTES, MAX_DEPTH, MAX_MEMBERS};
use crate::key::Key;
use crate::record::Record;
use crate::value::{DateTime, Value};

/// A resource as fields, without the texts at places for files.
pub(super) struct Flat<'a> {
    resource_type: String,
    /// Those at places have no value.
    fields: Fields,
    /// The places for files, in the order of the document.
    pub(super) places: Vec<Place<'a>>,
}

/// Where FHIR puts the content of a file: a string without escapes that is the member `data` of an object, beside a
/// string `contentType` or in a Binary.
pub(super) struct Place<'a> {
    /// The number of the field.
    field: usize,
    /// Where the text starts in the document, after the quotation mark.
    pub(super) at: usize,
    /// The text, which is base64 in valid documents.
    pub(super) text: &'a str,
    /// The media type that the object states.
    pub(super) media_type: String,
}

impl Flat<'_> {
    /// The type that the resource states.
    pub(super) fn resource_type(&self) -> &str {
        &self.resource_type
    }

    /// The key of a place.
    pub(super) fn key(&self, place: &Place<'_>) -> Result<Key, FhirError> {
        Ok(Key::new(format!("{}.{}", self.resource_type, self.fields.path(place.field)))?)
    }

    /// Makes a text field of the text at a place.
    pub(super) fn keep(&mut self, place: Place<'_>) {
        self.fields.set(place.field, scalar(Cow::Borrowed(place.text)));
    }

    /// The fields. Keys start with the resource's type. Places that are still there give no field.
    pub(super) fn into_fields(self) -> Result<BTreeMap<Key, Value>, FhirError> {
        Ok(self.fields.under(&self.resource_type)?)
    }
}

/// The fields of a document whose embedded files stay texts.
///
/// # Errors
/// The same as [`flatten`].
pub(super) fn fields(document: &[u8]) -> Result<BTreeMap<Key, Value>, FhirError> {
    let mut flat = flatten(document)?;
    for place in std::mem::take(&mut flat.places) {
        flat.keep(place);
    }
    flat.into_fields()
}

/// Reads a resource. Checks the JSON, not FHIR's definitions.
pub(super) fn flatten(document: &[u8]) -> Result<Flat<'_>, FhirError> {
    if document.len() > MAX_BYTES {
        return Err(FhirError::TooLarge(document.len()));
    }
    let mut flattener = Flattener {
        scanner: Scanner::new(document)?,
        path: String::new(),
        fields: Fields::default(),
        places: Vec::new(),
        members: Vec::new(),
        ends: Vec::new(),
        budget: Record::MAX_BYTES,
        containers: Record::MAX_FIELDS,
    };
    let Start::Object = flattener.scanner.value()? else {
        return Err(FhirError::NotFhir);
    };
    flattener.object(1)?;
    flattener.scanner.end()?;

    let Flattener { fields, mut places, .. } = flattener;
    let stated = (0..fields.len()).find(|field| fields.path(*field) == "resourceType");
    let resource_type = match stated.and_then(|field| fields.value(field)) {
        Some(Value::Text(name)) => name.clone(),
        _ => return Err(FhirError::NotFhir),
    };
    if !fhirkit::r4::RESOURCE_TYPES.contains(&resource_type.as_str()) {
        return Err(FhirError::UnknownResource(resource_type.chars().take(80).collect()));
    }
    // A place becomes known where its object ends, and an outer object ends after an inner one.
    places.sort_unstable_by_key(|place| place.at);
    Ok(Flat { resource_type, fields, places })
}

/// The value of a string.
fn scalar(text: Cow<'_, str>) -> Value {
    match DateTime::read(&text) {
        Some(date_time) => Value::DateTime(date_time),
        None => Value::Text(text.into_owned()),
    }
}

struct Flattener<'a> {
    scanner: Scanner<'a>,
    /// The path of the scanner's position.
    path: String,
    fields: Fields,
    places: Vec<Place<'a>>,
    /// The members so far of every open object: those of the innermost one last, in the order of their names.
    members: Vec<Member<'a>>,
    /// The number of fields at the end of each item so far of every open array, those of the innermost one last.
    ends: Vec<usize>,
    /// How many more bytes of paths and values are allowed.
    budget: usize,
    /// How many more objects and arrays are allowed. The limit is that of fields.
    containers: usize,
}

impl<'a> Flattener<'a> {
    fn value(&mut self, depth: usize) -> Result<(), FhirError> {
        let start = self.scanner.value()?;
        self.rest(start, depth)
    }

    /// Reads the rest of a value.
    fn rest(&mut self, start: Start<'a>, depth: usize) -> Result<(), FhirError> {
        let value = match start {
            Start::Object => return self.object(depth + 1),
            Start::Array => return self.array(depth + 1),
            Start::String(text) => scalar(text),
            Start::Number(number) => self.number(number)?,
            Start::Bool(value) => Value::Bool(value),
            Start::Null => Value::Null,
        };
        let size = if let Value::Text(text) = &value { text.len() } else { 0 };
        self.count(size)?;
        self.fields.push(&self.path, Some(value));
        Ok(())
    }

    /// Reads the member `data`. Returns the text and its position if it is a string without escapes: then its object
    /// decides what becomes of it, and the field has no value until then.
    fn data(&mut self, depth: usize) -> Result<Option<(usize, &'a str)>, FhirError> {
        match self.scanner.value()? {
            Start::String(Cow::Borrowed(text)) => {
                self.count(text.len())?;
                self.fields.push(&self.path, None);
                Ok(Some((self.scanner.before_quotation_mark() - text.len(), text)))
            }
            start => self.rest(start, depth).map(|()| None),
        }
    }

    /// A whole number that fits 64 bits and is in its shortest form becomes an integer. Any other number becomes a
    /// decimal.
    fn number(&self, number: &str) -> Result<Value, FhirError> {
        match number.parse::<i64>() {
            // Of JSON's integers, only this one has a shorter form.
            Ok(integer) if number != "-0" => Ok(Value::Integer(integer)),
            _ => number
                .parse()
                .map(Value::Decimal)
                .map_err(|_| FhirError::NumberTooLong { path: self.path.clone(), len: number.len() }),
        }
    }

    /// Counts a field at the current path.
    fn count(&mut self, value: usize) -> Result<(), FhirError> {
        let size = self.path.len() + value;
        self.budget = self.budget.checked_sub(size).ok_or(FhirError::TooManyFields)?;
        if self.fields.len() >= Record::MAX_FIELDS {
            return Err(FhirError::TooManyFields);
        }
        Ok(())
    }

    /// Runs `inner` with the path extended by one segment, which `append` writes.
    fn under<T>(
        &mut self,
        append: impl FnOnce(&mut String),
        inner: impl FnOnce(&mut Self) -> Result<T, FhirError>,
    ) -> Result<T, FhirError> {
        let len = self.path.len();
        if len > 0 {
            self.path.push('.');
        }
        append(&mut self.path);
        if self.path.len() > Key::MAX_BYTES {
            return Err(crate::key::KeyError::TooLong(self.path.len()).into());
        }
        let result = inner(self)?;
        self.path.truncate(len);
        Ok(result)
    }

    /// Checks depth and number of containers where an object or array opens.
    fn open(&mut self, depth: usize) -> Result<(), FhirError> {
        if depth > MAX_DEPTH {
            let (line, column) = self.scanner.position();
            return Err(FhirError::TooDeep { line, column });
        }
        self.containers = self.containers.checked_sub(1).ok_or(FhirError::TooManyFields)?;
        Ok(())
    }

    /// The error for the element at the current path.
    fn invalid(&self, message: &'static str) -> FhirError {
        FhirError::Invalid { path: self.path.clone(), message }
    }

    /// Reads an object whose `{` has been read.
    fn object(&mut self, depth: usize) -> Result<(), FhirError> {
        self.open(depth)?;
        if self.scanner.next_is("}") {
            return Err(self.invalid("is an empty object: leave the element out"));
        }
        let (first, first_member) = (self.fields.len(), self.members.len());
        let mut data = None;
        loop {
            let name = self.scanner.name()?;
            let is_element = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if !is_element {
                return Err(self.invalid("has a member whose name no FHIR element has: remove it"));
            }
            self.scanner.require(":", "a colon")?;
            let members = &self.members[first_member..];
            if members.len() == MAX_MEMBERS {
                return Err(FhirError::TooManyMembers { path: self.path.clone() });
            }
            let append = |path: &mut String| path.push_str(&name);
            let Err(position) = members.binary_search_by(|member| member.name.cmp(&name)) else {
                return self.under(append, |here| Err(FhirError::Duplicate { path: here.path.clone() }));
            };
            let start = self.fields.len();
            match &*name {
                "data" => data = self.under(append, |here| here.data(depth))?.map(|(at, text)| (start, at, text)),
                _ => self.under(append, |here| here.value(depth))?,
            }
            let fields = start..self.fields.len();
            self.members.insert(first_member + position, Member { name, fields });
            if !self.scanner.next_is(",") {
                break;
            }
        }
        self.scanner.require("}", "a comma or a closing brace")?;
        let members = self.members.drain(first_member..);
        let members = members.as_slice();
        if let Some((field, at, text)) = data {
            match stated_media_type(&self.fields, &self.path, members) {
                Some(media_type) => self.places.push(Place { field, at, text, media_type }),
                None => self.fields.set(field, scalar(Cow::Borrowed(text))),
            }
        }
        if depth > 1 && fold(&mut self.fields, &self.path, first, members) {
            return Ok(());
        }
        if !members.is_sorted_by_key(|member| member.fields.start) {
            self.fields.arrange(first, members.iter().map(|member| member.fields.clone()));
        }
        Ok(())
    }

    /// Reads an array whose `[` has been read.
    fn array(&mut self, depth: usize) -> Result<(), FhirError> {
        self.open(depth)?;
        if self.scanner.next_is("]") {
            return Err(self.invalid("is an empty array: leave the element out"));
        }
        let (first, first_end) = (self.fields.len(), self.ends.len());
        for index in 0_usize.. {
            if self.scanner.next_is("[") {
                return Err(self.invalid("is an array of arrays: FHIR has none"));
            }
            let append = |path: &mut String| write!(path, "{index}").expect("a text takes every number");
            self.under(append, |here| here.value(depth))?;
            self.ends.push(self.fields.len());
            if !self.scanner.next_is(",") {
                break;
            }
        }
        self.scanner.require("]", "a comma or a closing bracket")?;
        let ends = self.ends.drain(first_end..);
        let ends = ends.as_slice();
        // Up to ten items are in the order of their texts.
        if ends.len() > 10 {
            let item = |index: usize| index.checked_sub(1).map_or(first, |before| ends[before])..ends[index];
            self.fields.arrange(first, by_decimal_text(ends.len()).map(item));
        }
        Ok(())
    }
}

/// The media type for the member `data` of the object at `path`: that of its string `contentType`, or the general one
/// in a Binary without. `None` if the object is neither.
fn stated_media_type(fields: &Fields, path: &str, members: &[Member<'_>]) -> Option<String> {
    let string = |name: &str| {
        let member = members.iter().find(|member| member.name == name)?;
        match fields.value(member.fields.start)? {
            Value::Text(text) if fields.is_scalar(path, member) => Some(text.as_str()),
            Value::DateTime(text) if fields.is_scalar(path, member) => Some(text.as_str()),
            _ => None,
        }
    };
    let content_type = string("contentType");
    let in_binary = string("resourceType") == Some("Binary");
    (content_type.is_some() || in_binary).then(|| media_type(content_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_in_the_order_of_their_keys() -> Result<(), FhirError> {
        // A code that is folded, names that start with others, members in another order, and two digits.
        let code = r#"{"system": "s", "display": "d", "code": "c"}"#;
        let file =
            r#"{"url": "u", "data": "AA==", "a": [true, {"contentType": "t", "data": "AA=="}], "contentType": "t"}"#;
        let items: String =
            (0..102).map(|item| format!(r#"{{"n": {item}, "file": {file}, "code": {code}}}, "#)).collect();
        let document = format!(
            r#"{{"z": 1, "value": {code}, "valueA": 1, "value_": {file}, "valu": [{items} null],
                "text": {{"c": {{"b": 1, "a": 2}}, "a1": 1, "a": {{"x": 1}}}}, "resourceType": "Basic", "data": "x"}}"#
        );
        let mut flat = flatten(document.as_bytes())?;
        let places = std::mem::take(&mut flat.places);
        assert_eq!(places.len(), 2 * 103);
        assert!(places.is_sorted_by(|a, b| a.at < b.at));
        for place in places.into_iter().step_by(3) {
            flat.keep(place);
        }
        let fields = flat.fields.in_order("Basic")?;
        // Four in each object of `file` besides places, the rest of the items, the rest of the document, the kept places.
        assert_eq!(fields.len(), 103 * 4 + 102 * 2 + 1 + 9 + 69);
        assert!(fields.is_sorted_by(|(a, _), (b, _)| a < b));
        Ok(())
    }
}
