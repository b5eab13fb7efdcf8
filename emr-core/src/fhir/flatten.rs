//! From FHIR JSON to fields.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::json::{Scanner, Start};
use super::media_type::media_type;
use super::{FhirError, MAX_BYTES, MAX_DEPTH, MAX_MEMBERS};
use crate::key::Key;
use crate::record::Record;
use crate::value::{Code, DateTime, Decimal, Quantity, Value};

/// A resource as fields, without the texts at places for files.
pub(super) struct Flat<'a> {
    resource_type: String,
    fields: Vec<(String, Value)>,
    /// The places for files, in the order of the document.
    pub(super) places: Vec<Place<'a>>,
}

/// Where FHIR puts the content of a file: a string without escapes that is the member `data` of an object, beside a
/// string `contentType` or in a Binary.
pub(super) struct Place<'a> {
    path: String,
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
        Ok(Key::new(format!("{}.{}", self.resource_type, place.path))?)
    }

    /// Makes a text field of the text at a place.
    pub(super) fn keep(&mut self, place: Place<'_>) {
        self.fields.push((place.path, scalar(Cow::Borrowed(place.text))));
    }

    /// The fields. Keys start with the resource's type. Places that are still there give no field.
    pub(super) fn into_fields(self) -> Result<BTreeMap<Key, Value>, FhirError> {
        let key = |path: String| Key::new(format!("{}.{path}", self.resource_type));
        self.fields.into_iter().map(|(path, value)| Ok((key(path)?, value))).collect()
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
        fields: Vec::new(),
        places: Vec::new(),
        budget: Record::MAX_BYTES,
        containers: Record::MAX_FIELDS,
    };
    let Start::Object = flattener.scanner.value()? else {
        return Err(FhirError::NotFhir);
    };
    flattener.object(1)?;
    flattener.scanner.end()?;

    let Flattener { fields, mut places, .. } = flattener;
    let resource_type = fields.iter().find_map(|(path, value)| match value {
        Value::Text(name) if path == "resourceType" => Some(name.clone()),
        _ => None,
    });
    let resource_type = resource_type.ok_or(FhirError::NotFhir)?;
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
    fields: Vec<(String, Value)>,
    places: Vec<Place<'a>>,
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
        self.fields.push((self.path.clone(), value));
        Ok(())
    }

    /// Reads the member `data`. Returns the text and its position if it is a string without escapes: then its object
    /// decides what becomes of it.
    fn data(&mut self, depth: usize) -> Result<Option<(usize, &'a str)>, FhirError> {
        match self.scanner.value()? {
            Start::String(Cow::Borrowed(text)) => {
                self.count(text.len())?;
                Ok(Some((self.scanner.before_quotation_mark() - text.len(), text)))
            }
            start => self.rest(start, depth).map(|()| None),
        }
    }

    /// A whole number that fits 64 bits and is in its shortest form becomes an integer. Any other number becomes a
    /// decimal.
    fn number(&self, number: &str) -> Result<Value, FhirError> {
        match number.parse::<i64>() {
            Ok(integer) if integer.to_string() == number => Ok(Value::Integer(integer)),
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
        if self.fields.len() + self.places.len() >= Record::MAX_FIELDS {
            return Err(FhirError::TooManyFields);
        }
        Ok(())
    }

    /// Runs `inner` with the path extended by one segment.
    fn under<T>(
        &mut self,
        segment: &str,
        inner: impl FnOnce(&mut Self) -> Result<T, FhirError>,
    ) -> Result<T, FhirError> {
        let len = self.path.len();
        self.extend(segment);
        if self.path.len() > Key::MAX_BYTES {
            return Err(crate::key::KeyError::TooLong(self.path.len()).into());
        }
        let result = inner(self)?;
        self.path.truncate(len);
        Ok(result)
    }

    fn extend(&mut self, segment: &str) {
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(segment);
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
        let first = self.fields.len();
        let mut names = BTreeSet::new();
        let (mut data, mut content_type, mut resource_type) = (None, None, None);
        loop {
            let name = self.scanner.name()?;
            let is_element = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if !is_element {
                return Err(self.invalid("has a member whose name no FHIR element has: remove it"));
            }
            self.scanner.require(":", "a colon")?;
            if names.len() == MAX_MEMBERS {
                return Err(FhirError::TooManyMembers { path: self.path.clone() });
            }
            if names.contains(&name) {
                return self.under(&name, |here| Err(FhirError::Duplicate { path: here.path.clone() }));
            }
            let at = self.fields.len();
            match &*name {
                "data" => data = self.under(&name, |here| here.data(depth))?,
                _ => self.under(&name, |here| here.value(depth))?,
            }
            match &*name {
                "contentType" => content_type = Some(at),
                "resourceType" => resource_type = Some(at),
                _ => {}
            }
            names.insert(name);
            if !self.scanner.next_is(",") {
                break;
            }
        }
        self.scanner.require("}", "a comma or a closing brace")?;
        if let Some((at, text)) = data {
            let content_type = content_type.and_then(|field| self.string(field, "contentType"));
            let in_binary = resource_type.and_then(|field| self.string(field, "resourceType")) == Some("Binary");
            let media_type = (content_type.is_some() || in_binary).then(|| media_type(content_type));
            self.end_data(at, text, media_type);
        }
        if depth > 1 {
            self.fold(first, names.len());
        }
        Ok(())
    }

    /// The text of the member `name` of the current object, if it is a string. `field` is where its first field would
    /// be.
    fn string(&self, field: usize, name: &str) -> Option<&str> {
        let (path, value) = self.fields.get(field)?;
        let is_member = path[self.path.len()..].trim_start_matches('.') == name;
        match value {
            Value::Text(text) if is_member => Some(text),
            Value::DateTime(text) if is_member => Some(text.as_str()),
            _ => None,
        }
    }

    /// Decides at the end of an object what its member `data` is: a place for a file if there is a media type.
    fn end_data(&mut self, at: usize, text: &'a str, media_type: Option<String>) {
        let len = self.path.len();
        self.extend("data");
        let path = self.path.clone();
        self.path.truncate(len);
        match media_type {
            Some(media_type) => self.places.push(Place { path, at, text, media_type }),
            None => self.fields.push((path, scalar(Cow::Borrowed(text)))),
        }
    }

    /// Reads an array whose `[` has been read.
    fn array(&mut self, depth: usize) -> Result<(), FhirError> {
        self.open(depth)?;
        if self.scanner.next_is("]") {
            return Err(self.invalid("is an empty array: leave the element out"));
        }
        for index in 0_usize.. {
            if self.scanner.next_is("[") {
                return Err(self.invalid("is an array of arrays: FHIR has none"));
            }
            self.under(&index.to_string(), |here| here.value(depth))?;
            if !self.scanner.next_is(",") {
                break;
            }
        }
        self.scanner.require("]", "a comma or a closing bracket")
    }

    /// Folds an object into one code or quantity if its members say nothing else. The members are the fields from
    /// `first` on.
    fn fold(&mut self, first: usize, members: usize) {
        let fields = &self.fields[first..];
        if fields.len() != members || members > 4 {
            return;
        }
        let mut parts = BTreeMap::new();
        for (path, value) in fields {
            // A member with a scalar value has one segment; the content of an object or array has more.
            match path[self.path.len()..].trim_start_matches('.') {
                name if name.contains('.') => return,
                name => parts.insert(name, value),
            };
        }
        if let Some(value) = code(&parts).or_else(|| quantity(&parts)) {
            self.fields.truncate(first);
            self.fields.push((self.path.clone(), value));
        }
    }
}

/// A code, if the members are the texts `system` and `code` and at most `display` besides.
fn code(parts: &BTreeMap<&str, &Value>) -> Option<Value> {
    let mut texts = Texts::of(parts)?;
    let (system, code, display) = (texts.take("system")?, texts.take("code")?, texts.take("display"));
    texts.none_left().then_some(Value::Code(Code { system, code, display }))
}

/// A quantity, if the members are a number `value` and texts among `unit`, `system` and `code`, at least `unit` or
/// `code`.
fn quantity(parts: &BTreeMap<&str, &Value>) -> Option<Value> {
    let value: Decimal = match parts.get("value")? {
        Value::Integer(value) => value.to_string().parse().ok()?,
        Value::Decimal(value) => value.clone(),
        _ => return None,
    };
    let mut others = parts.clone();
    others.remove("value");
    let mut texts = Texts::of(&others)?;
    let (unit, system, code) = (texts.take("unit"), texts.take("system"), texts.take("code"));
    let complete = texts.none_left() && (unit.is_some() || code.is_some());
    complete.then_some(Value::Quantity(Quantity { value, unit, system, code }))
}

/// The members of an object whose members are all text.
struct Texts<'a>(BTreeMap<&'a str, &'a String>);

impl<'a> Texts<'a> {
    fn of(parts: &BTreeMap<&'a str, &'a Value>) -> Option<Self> {
        let text = |(name, value): (&&'a str, &&'a Value)| match value {
            Value::Text(text) => Some((*name, text)),
            _ => None,
        };
        parts.iter().map(text).collect::<Option<_>>().map(Self)
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).cloned()
    }

    fn none_left(&self) -> bool {
        self.0.is_empty()
    }
}
