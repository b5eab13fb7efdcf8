//! From fields to FHIR JSON, for records that carry no original document.

use std::collections::BTreeMap;

use super::FhirError;
use super::export::File;
use crate::key::Key;
use crate::value::{Code, Quantity, Value};

/// JSON that is being written, and the files that belong into it.
#[derive(Default)]
struct Json<'a> {
    text: String,
    files: Vec<File<'a>>,
}

/// A node of the JSON tree: a scalar value, or the items or members by segment.
enum Node<'a> {
    Value(&'a Key, &'a Value),
    Inner(BTreeMap<Segment<'a>, Node<'a>>),
}

/// The order of segments: items by number, then `resourceType`, then the other members.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Segment<'a> {
    Item(usize),
    ResourceType,
    Member(&'a str),
}

impl<'a> Segment<'a> {
    fn of(segment: &'a str) -> Self {
        match segment.parse::<usize>() {
            Ok(index) if index.to_string() == segment => Self::Item(index),
            _ if segment == "resourceType" => Self::ResourceType,
            _ => Self::Member(segment),
        }
    }
}

/// Writes the resource that the fields describe. Attachments are empty strings in it, and are returned beside it.
pub(super) fn rebuild<'a>(
    fields: impl Iterator<Item = (&'a Key, &'a Value)>,
) -> Result<(Vec<u8>, Vec<File<'a>>), FhirError> {
    let mut root = Node::Inner(BTreeMap::new());
    let mut resource_type = None;
    for (key, value) in fields {
        let unmappable = || FhirError::NotMappable(key.clone());
        let mut segments = key.segments();
        // The first segment is the resource's type, the same in all keys. The type is also a field.
        let first = segments.next().ok_or_else(unmappable)?;
        if *resource_type.get_or_insert(first) != first || key.segments().nth(1).is_none() {
            return Err(unmappable());
        }
        let mut node = &mut root;
        for segment in segments.map(Segment::of) {
            let Node::Inner(children) = node else { return Err(unmappable()) };
            node = children.entry(segment).or_insert_with(|| Node::Inner(BTreeMap::new()));
        }
        match node {
            Node::Inner(children) if children.is_empty() => *node = Node::Value(key, value),
            _ => return Err(unmappable()),
        }
    }
    let mut json = Json::default();
    root.write(&mut json)?;
    Ok((json.text.into_bytes(), json.files))
}

impl<'a> Node<'a> {
    fn write(&self, json: &mut Json<'a>) -> Result<(), FhirError> {
        let children = match self {
            Self::Value(key, value) => return write_value(key, value, json),
            Self::Inner(children) => children,
        };
        let is_array = matches!(children.keys().next(), Some(Segment::Item(_)));
        json.text.push(if is_array { '[' } else { '{' });
        for (position, (segment, child)) in children.iter().enumerate() {
            if position > 0 {
                json.text.push(',');
            }
            let name = match segment {
                Segment::Item(index) if *index == position => None,
                Segment::ResourceType if !is_array => Some("resourceType"),
                Segment::Member(name) if !is_array => Some(*name),
                // There is a gap in an array, or items and members are mixed.
                _ => return Err(child.first_key().map_or(FhirError::Empty, |key| FhirError::NotMappable(key.clone()))),
            };
            if let Some(name) = name {
                write_text(name, &mut json.text);
                json.text.push(':');
            }
            child.write(json)?;
        }
        json.text.push(if is_array { ']' } else { '}' });
        Ok(())
    }

    fn first_key(&self) -> Option<&'a Key> {
        match self {
            Self::Value(key, _) => Some(key),
            Self::Inner(children) => children.values().find_map(Self::first_key),
        }
    }
}

fn write_value<'a>(key: &'a Key, value: &'a Value, Json { text: json, files }: &mut Json<'a>) -> Result<(), FhirError> {
    match value {
        Value::Null => json.push_str("null"),
        Value::Bool(value) => json.push_str(if *value { "true" } else { "false" }),
        Value::Integer(value) => json.push_str(&value.to_string()),
        Value::Decimal(value) => json.push_str(value.as_str()),
        Value::Text(value) => write_text(value, json),
        Value::DateTime(value) => write_text(value.as_str(), json),
        Value::Code(Code { system, code, display }) => {
            json.push('{');
            write_members([("system", Some(system)), ("code", Some(code)), ("display", display.as_ref())], json);
            json.push('}');
        }
        Value::Quantity(Quantity { value, unit, system, code }) => {
            json.push_str("{\"value\":");
            json.push_str(value.as_str());
            let texts = [("unit", unit), ("system", system), ("code", code)];
            if texts.iter().any(|(_, text)| text.is_some()) {
                json.push(',');
            }
            write_members(texts.map(|(name, text)| (name, text.as_ref())), json);
            json.push('}');
        }
        Value::Attachment(attachment) => {
            json.push('"');
            files.push(File { at: json.len(), key, attachment });
            json.push('"');
        }
        Value::Bytes(_) => return Err(FhirError::NotMappable(key.clone())),
    }
    Ok(())
}

fn write_members(members: [(&str, Option<&String>); 3], json: &mut String) {
    let present = members.into_iter().filter_map(|(name, text)| text.map(|text| (name, text)));
    for (position, (name, text)) in present.enumerate() {
        if position > 0 {
            json.push(',');
        }
        write_text(name, json);
        json.push(':');
        write_text(text, json);
    }
}

/// Writes a JSON string. Escapes only the characters that must be escaped.
pub(super) fn write_text(text: &str, json: &mut String) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            control @ '\0'..' ' => json.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => json.push(other),
        }
    }
    json.push('"');
}
