//! Checks a document against the definitions of FHIR R4.

use fhirkit::r4::Resource;
use fhirkit::{Json, Severity};

use super::flatten::flatten;
use super::{FhirError, SHOWN};
use crate::excerpt::excerpt;

/// How many problems are kept in full. A document can have as many problems as values.
const KEPT: usize = 10_000;
/// Larger resources are not checked. fhirkit's types take up to 17 kB for an element of a few bytes, so this limit
/// bounds memory to some hundred MB for the worst document. A large real resource has a twentieth of this number of
/// values.
const MAX_VALUES: usize = 10_000;

/// A violation of R4's definitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The element: `Bundle.entry[3].resource.birthDate`.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// The violations found in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    /// The first ten thousand, in the order of the document.
    pub first: Vec<Problem>,
    /// How many violations there are in all.
    pub total: usize,
}

impl Problems {
    fn add(&mut self, path: &str, message: &str) {
        self.total += 1;
        if self.first.len() < KEPT {
            self.first.push(Problem { path: excerpt(path, SHOWN), message: excerpt(message, SHOWN) });
        }
    }

    /// Checks one resource. The paths of its problems start with `path`.
    fn check(&mut self, path: &str, resource: &Json) {
        if values(resource) > MAX_VALUES {
            self.add(path, "has too many values to be checked");
            return;
        }
        let (_, issues) = fhirkit::decode_json::<Resource>(resource);
        for issue in issues.iter().filter(|issue| issue.severity == Severity::Error) {
            // fhirkit's paths start with the type.
            let rest = issue.path.find(['.', '[']).map_or("", |at| &issue.path[at..]);
            self.add(&format!("{path}{rest}"), &issue.message);
        }
    }
}

/// Checks every element, cardinality and primitive of a document against R4's definitions. Checks each resource of a
/// Bundle separately. Does not check profiles, terminologies or references between resources.
///
/// [`import`](super::import) accepts documents with problems: real systems write such documents, and refusing a record
/// does not help the patient. Show the problems to the author.
///
/// # Errors
/// Returns [`FhirError`] if `import` would refuse the document.
pub fn validate(document: &[u8]) -> Result<Problems, FhirError> {
    // Bounds depth, size and number of values before fhirkit builds anything.
    flatten(document)?;
    let text = std::str::from_utf8(document).map_err(|_| FhirError::NotFhir)?;
    let mut root = Json::parse(text).map_err(|error| FhirError::NotJson {
        line: error.line,
        column: error.column,
        expected: "JSON",
    })?;
    let resource_type = root.get("resourceType").and_then(Json::as_str).unwrap_or_default().to_owned();
    let resources = if resource_type == "Bundle" { take_resources(&mut root) } else { Vec::new() };
    let mut problems = Problems::default();
    problems.check(&resource_type, &root);
    for (index, resource) in resources {
        problems.check(&format!("Bundle.entry[{index}].resource"), &resource);
    }
    Ok(problems)
}

/// Takes the resources out of a Bundle's entries. Then drops all but the first thousand entries: what is left in them
/// (links, requests, responses) repeats.
fn take_resources(bundle: &mut Json) -> Vec<(usize, Json)> {
    let mut resources = Vec::new();
    let Json::Object(members) = bundle else { return resources };
    for (name, entries) in members {
        let Json::Array(entries) = entries else { continue };
        if name != "entry" {
            continue;
        }
        for (index, entry) in entries.iter_mut().enumerate() {
            let Json::Object(members) = entry else { continue };
            if let Some(at) = members.iter().position(|(name, _)| name == "resource") {
                resources.push((index, members.remove(at).1));
            }
        }
        entries.truncate(1000);
    }
    resources
}

/// Counts the values that are not objects or arrays.
fn values(json: &Json) -> usize {
    match json {
        Json::Array(items) => items.iter().map(values).sum(),
        Json::Object(members) => members.iter().map(|(_, value)| values(value)).sum(),
        _ => 1,
    }
}
