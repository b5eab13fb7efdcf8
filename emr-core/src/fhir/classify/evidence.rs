//! What one resource says by itself: sensitive codings and words, security labels, and what it refers to.

use std::collections::BTreeMap;

use crate::class::Class;
use crate::fhir::element::{Content, Element};

use super::{Evidence, icd, label, loinc, medication, procedure_code, snomed, word};

/// How many pieces of evidence are kept for a class of one resource.
const KEPT: usize = 3;
/// Members that are not analysed: narratives, notes, binary data, and what only identifies or addresses.
const NOT_ANALYSED: [&str; 13] = [
    "div",
    "note",
    "data",
    "system",
    "id",
    "reference",
    "url",
    "fullUrl",
    "versionId",
    "lastUpdated",
    "identifier",
    "telecom",
    "address",
];

/// A reference to another resource.
pub(super) struct Reference<'a> {
    /// Where it is.
    pub(super) path: String,
    /// The name of the element that holds it.
    pub(super) element: String,
    /// What it refers to, as written.
    pub(super) target: &'a str,
}

/// Evidence by class.
pub(super) type ByClass = BTreeMap<Class, Vec<Evidence>>;

/// What a resource says by itself.
#[derive(Default)]
pub(super) struct Found<'a> {
    /// Codings and words of sensitive classes.
    pub(super) sensitive: ByClass,
    /// Security labels that name a sensitive class.
    pub(super) labels: ByClass,
    /// A label that says that few people may know the resource, but not why.
    pub(super) restricted: Option<Evidence>,
    /// References, and addresses that may be some.
    pub(super) references: Vec<Reference<'a>>,
}

impl<'a> Found<'a> {
    /// Looks at a resource, or at an element of one. Leaves out its member `without`.
    pub(super) fn within(path: &str, resource: &'a Element<'a>, without: &str) -> Self {
        let mut walk = Walk { found: Self::default(), path: path.to_owned(), is_label: false };
        for (name, value) in resource.members() {
            if name != without {
                walk.member(name, value);
            }
        }
        // A resource that is no object is no FHIR, but import takes it.
        if resource.members().is_empty() {
            walk.element(resource);
        }
        walk.found
    }
}

/// Keeps the first few pieces of evidence for a class.
pub(super) fn note(evidence: &mut ByClass, class: Class, path: &str, what: &str) {
    let known = evidence.entry(class).or_default();
    if known.len() < KEPT {
        known.push(Evidence::new(path, what));
    }
}

struct Walk<'a> {
    found: Found<'a>,
    path: String,
    /// Whether the walk is within security labels.
    is_label: bool,
}

impl<'a> Walk<'a> {
    fn member(&mut self, name: &str, value: &'a Element<'a>) {
        let len = self.path.len();
        self.path.push('.');
        self.path.push_str(name);
        match value.text() {
            Some(text) if matches!(name, "reference" | "url") => self.refers_to(len, text),
            Some(text) if name == "linkId" || name == "questionnaire" => self.questionnaire(text),
            _ => {}
        }
        // A person's name is an object, an organisation's a text.
        let is_person = name == "name" && value.items().iter().any(|item| !item.members().is_empty());
        if !NOT_ANALYSED.contains(&name) && !is_person {
            let was_label = self.is_label;
            self.is_label |= name == "security" || name == "securityLabel";
            if name == "confidentiality" {
                self.restricted_by(value);
            }
            self.element(value);
            self.is_label = was_label;
        }
        self.path.truncate(len);
    }

    fn element(&mut self, value: &'a Element<'a>) {
        match &value.content {
            Content::Text(text) => {
                for (class, found) in word::sensitive(text) {
                    note(&mut self.found.sensitive, class, &self.path, &format!("the word '{found}'"));
                }
            }
            Content::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let len = self.path.len();
                    self.path.push_str(&format!("[{index}]"));
                    self.element(item);
                    self.path.truncate(len);
                }
            }
            Content::Object(members) => {
                self.coding(value);
                for (name, member) in members {
                    self.member(name, member);
                }
            }
            Content::Other => {}
        }
    }

    /// Looks up an object's system and code. An object without a code is no coding.
    fn coding(&mut self, value: &Element<'_>) {
        let Some(code) = value.text_of("code") else { return };
        let system = value.text_of("system").unwrap_or_default();
        let what = || if system.is_empty() { code.to_owned() } else { format!("{system} {code}") };
        if self.is_label || label::is_act_code(system) {
            if let Some(class) = label::sensitivity(code) {
                let evidence = if self.is_label { &mut self.found.labels } else { &mut self.found.sensitive };
                note(evidence, class, &self.path, &what());
            } else if self.is_label {
                self.restricted_by(value);
            }
        }
        if let Some(class) = sensitive(system, code) {
            note(&mut self.found.sensitive, class, &self.path, &what());
        }
    }

    /// Reads a code of HL7 v3 Confidentiality.
    fn restricted_by(&mut self, value: &Element<'_>) {
        let code = value.text().or_else(|| value.text_of("code"));
        if code.is_some_and(label::is_restricted) && self.found.restricted.is_none() {
            self.found.restricted = Some(Evidence::new(&self.path, "the label 'restricted', without a reason"));
        }
    }

    /// The items of questionnaires are often named by their LOINC code (`/44249-1/44250-9`).
    fn questionnaire(&mut self, text: &str) {
        for code in text.split(['/', '|']) {
            if let Some(class) = loinc::sensitive(code) {
                note(&mut self.found.sensitive, class, &self.path, &format!("LOINC {code}"));
            }
        }
    }

    /// Keeps a reference. `parent` is the length of the path of the element that holds it.
    fn refers_to(&mut self, parent: usize, target: &'a str) {
        let path = self.path.get(..parent).unwrap_or_default();
        let element = path.rsplit('.').next().unwrap_or_default();
        let element = element.split('[').next().unwrap_or_default().to_owned();
        self.found.references.push(Reference { path: path.to_owned(), element, target });
    }
}

/// The sensitive class of a coding.
fn sensitive(system: &str, code: &str) -> Option<Class> {
    if loinc::SYSTEMS.contains(&system) {
        return loinc::sensitive(code);
    }
    if snomed::SYSTEMS.contains(&system) {
        return snomed::sensitive(code);
    }
    medication::sensitive(system, code)
        .or_else(|| procedure_code::sensitive(system, code))
        .or_else(|| icd::sensitive(system, code))
}
