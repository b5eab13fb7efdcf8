//! From FHIR JSON to fields.

use std::collections::{BTreeMap, BTreeSet};

use super::json::{Scanner, Start};
use super::{FhirError, MAX_BYTES, MAX_DEPTH, MAX_MEMBERS};
use crate::key::Key;
use crate::record::Record;
use crate::value::{Code, Decimal, Quantity, Value};

/// Reads a resource into fields whose keys start with the resource's type. Checks the JSON, not FHIR's definitions.
pub(super) fn flatten(document: &[u8]) -> Result<BTreeMap<Key, Value>, FhirError> {
    if document.len() > MAX_BYTES {
        return Err(FhirError::TooLarge(document.len()));
    }
    let mut flattener = Flattener {
        scanner: Scanner::new(document)?,
        path: String::new(),
        fields: Vec::new(),
        budget: Record::MAX_BYTES,
        containers: Record::MAX_FIELDS,
    };
    let Start::Object = flattener.scanner.value()? else {
        return Err(FhirError::NotFhir);
    };
    flattener.object(1)?;
    flattener.scanner.end()?;

    let resource_type = flattener.fields.iter().find_map(|(path, value)| match value {
        Value::Text(name) if path == "resourceType" => Some(name.clone()),
        _ => None,
    });
    let resource_type = resource_type.ok_or(FhirError::NotFhir)?;
    if !fhirkit::r4::RESOURCE_TYPES.contains(&resource_type.as_str()) {
        return Err(FhirError::UnknownResource(resource_type.chars().take(80).collect()));
    }
    let key = |path: String| Key::new(format!("{resource_type}.{path}"));
    flattener.fields.into_iter().map(|(path, value)| Ok((key(path)?, value))).collect()
}

struct Flattener<'a> {
    scanner: Scanner<'a>,
    /// The path of the scanner's position.
    path: String,
    fields: Vec<(String, Value)>,
    /// How many more bytes of paths and values are allowed.
    budget: usize,
    /// How many more objects and arrays are allowed. The limit is that of fields.
    containers: usize,
}

impl Flattener<'_> {
    fn value(&mut self, depth: usize) -> Result<(), FhirError> {
        let value = match self.scanner.value()? {
            Start::Object => return self.object(depth + 1),
            Start::Array => return self.array(depth + 1),
            Start::String(text) => match text.parse() {
                Ok(date_time) => Value::DateTime(date_time),
                Err(_) => Value::Text(text.into_owned()),
            },
            Start::Number(number) => self.number(number)?,
            Start::Bool(value) => Value::Bool(value),
            Start::Null => Value::Null,
        };
        self.push(value)
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

    fn push(&mut self, value: Value) -> Result<(), FhirError> {
        let size = self.path.len() + if let Value::Text(text) = &value { text.len() } else { 0 };
        self.budget = self.budget.checked_sub(size).ok_or(FhirError::TooManyFields)?;
        if self.fields.len() == Record::MAX_FIELDS {
            return Err(FhirError::TooManyFields);
        }
        self.fields.push((self.path.clone(), value));
        Ok(())
    }

    /// Runs `inner` with the path extended by one segment.
    fn under(
        &mut self,
        segment: &str,
        inner: impl FnOnce(&mut Self) -> Result<(), FhirError>,
    ) -> Result<(), FhirError> {
        let len = self.path.len();
        if len > 0 {
            self.path.push('.');
        }
        self.path.push_str(segment);
        if self.path.len() > Key::MAX_BYTES {
            return Err(crate::key::KeyError::TooLong(self.path.len()).into());
        }
        inner(self)?;
        self.path.truncate(len);
        Ok(())
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
            self.under(&name, |here| here.value(depth))?;
            names.insert(name);
            if !self.scanner.next_is(",") {
                break;
            }
        }
        self.scanner.require("}", "a comma or a closing brace")?;
        if depth > 1 {
            self.fold(first, names.len());
        }
        Ok(())
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
