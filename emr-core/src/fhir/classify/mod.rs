//! Proposes a class for each resource of a FHIR document, and says why.
//!
//! The four sensitive classes win over the others: substance-use, mental-health, reproductive-health, genetics, in this
//! order. If there is doubt, the more sensitive class wins. `docs/classes.md` has the rules, the tables, and what is not
//! analysed. The result is a proposal: the author is responsible for the class.

mod evidence;
mod icd;
mod label;
mod links;
mod loinc;
mod medication;
mod procedure_code;
mod resource_type;
mod section;
mod snomed;
mod stem;
mod word;

use std::collections::BTreeMap;

use super::element::Element;
use super::{FhirError, SHOWN};
use crate::class::Class;
use crate::excerpt::excerpt;

use evidence::{ByClass, Found, note};
use resource_type::{Ordinary, accompanies, ordinary};

/// The sensitive classes, the one that wins first.
const SENSITIVE: [Class; 4] = [Class::SubstanceUse, Class::MentalHealth, Class::ReproductiveHealth, Class::Genetics];

/// Why a resource is in its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The element: `Bundle.entry[3].resource.code.coding[0]`.
    pub path: String,
    /// What it says: a system and code, a word, a resource type, a link. At most 200 characters.
    pub what: String,
}

impl Evidence {
    fn new(path: &str, what: &str) -> Self {
        Self { path: excerpt(path, SHOWN), what: excerpt(what, SHOWN) }
    }
}

impl std::fmt::Display for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

/// A resource with the class that is proposed for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classified {
    /// Where it is: `Bundle.entry[3].resource`, or its type if the document is one resource.
    pub path: String,
    /// Its type.
    pub resource_type: String,
    /// Its class.
    pub class: Class,
    /// What decided. Never empty.
    pub because: Vec<Evidence>,
}

/// The classes of a document's resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classification {
    /// The resources, in the order of the document.
    pub resources: Vec<Classified>,
    /// Whether the document is an International Patient Summary: a Bundle with a Composition of LOINC type 60591-5.
    pub patient_summary: bool,
}

impl Classification {
    /// How many resources each class has.
    pub fn classes(&self) -> BTreeMap<Class, usize> {
        let mut classes = BTreeMap::new();
        for resource in &self.resources {
            *classes.entry(resource.class).or_insert(0) += 1;
        }
        classes
    }

    /// The class for the whole document as one record.
    ///
    /// Persons, places and organisations that only accompany other resources do not count. If the others are of one
    /// class, it is that one. If they are of several classes and none is sensitive, it is [`Class::Summary`]. Returns
    /// `None` if sensitive resources are mixed with others: then the document must be [`split`](super::split), or its
    /// author must state a class.
    pub fn proposal(&self) -> Option<Class> {
        let only_accompanies =
            |resource: &&Classified| accompanies(&resource.resource_type) && !resource.class.is_sensitive();
        let mut deciding: Vec<Class> = self
            .resources
            .iter()
            .filter(|resource| !only_accompanies(resource))
            .map(|resource| resource.class)
            .collect();
        if deciding.is_empty() {
            deciding = self.resources.iter().map(|resource| resource.class).collect();
        }
        deciding.sort();
        deciding.dedup();
        match deciding[..] {
            [] => Some(Class::Document),
            [class] => Some(class),
            _ if deciding.iter().any(|class| class.is_sensitive()) => None,
            _ => Some(Class::Summary),
        }
    }
}

/// A resource on its way to a class.
struct Item<'a> {
    path: String,
    resource_type: &'a str,
    id: Option<&'a str>,
    full_url: Option<&'a str>,
    found: Found<'a>,
    ordinary: Ordinary,
    class: Class,
    because: Vec<Evidence>,
    /// A security label decided, and links change nothing.
    pinned: bool,
}

/// How sensitive a class is: 0 for the classes that are not.
fn level(class: Class) -> u8 {
    SENSITIVE.iter().rev().zip(1..).find(|(sensitive, _)| **sensitive == class).map_or(0, |(_, level)| level)
}

/// The class of a level.
fn of_level(wanted: u8) -> Option<Class> {
    SENSITIVE.into_iter().find(|class| level(*class) == wanted)
}

/// Proposes a class for each resource of a document. Looks at codings, displays, security labels, sections and references.
/// Does not look at narratives, notes and attachments, and knows only the codes and words of its tables.
///
/// # Errors
/// Returns [`FhirError`] if [`import`](super::import) would refuse the document.
pub fn classify(document: &[u8]) -> Result<Classification, FhirError> {
    Ok(of(&Element::read(document)?))
}

/// The classification of a document that was read.
pub(super) fn of(root: &Element<'_>) -> Classification {
    let root_type = root.text_of("resourceType").unwrap_or_default();
    let is_bundle = root_type == "Bundle";
    let mut items: Vec<Item<'_>> = if is_bundle {
        resources(root)
            .map(|(index, entry, resource)| {
                Item::of(format!("Bundle.entry[{index}].resource"), entry.text_of("fullUrl"), resource)
            })
            .collect()
    } else {
        vec![Item::of(root_type.to_owned(), None, root)]
    };
    let compositions =
        resources(root).filter(|(_, _, resource)| resource.text_of("resourceType") == Some("Composition"));
    let compositions: Vec<(usize, &Element<'_>)> = compositions.map(|(index, _, resource)| (index, resource)).collect();
    let patient_summary = compositions.iter().any(|(_, composition)| {
        let types = composition.get("type").into_iter().flat_map(Element::codings);
        types.into_iter().any(|(system, code)| loinc::SYSTEMS.contains(&system) && code == section::PATIENT_SUMMARY)
    });
    sections(&mut items, &compositions);
    let of_bundle = if is_bundle { Found::within("Bundle", root, "entry") } else { Found::default() };
    for item in &mut items {
        item.decide(&of_bundle);
    }
    for (index, (class, evidence)) in links::spread(&items) {
        items[index].class = class;
        items[index].because = vec![evidence];
    }
    let resources = items.into_iter().map(|item| Classified {
        path: item.path,
        resource_type: excerpt(item.resource_type, SHOWN),
        class: item.class,
        because: item.because,
    });
    Classification { resources: resources.collect(), patient_summary }
}

/// The entries of a Bundle that hold a resource: index, entry, resource. None for other resources.
pub(super) fn resources<'e, 'a>(
    bundle: &'e Element<'a>,
) -> impl Iterator<Item = (usize, &'e Element<'a>, &'e Element<'a>)> {
    let entries = bundle.get("entry").map(Element::items).unwrap_or_default();
    entries.iter().enumerate().filter_map(|(index, entry)| Some((index, entry, entry.get("resource")?)))
}

impl<'a> Item<'a> {
    fn of(path: String, full_url: Option<&'a str>, resource: &'a Element<'a>) -> Self {
        let resource_type = resource.text_of("resourceType").unwrap_or_default();
        Self {
            found: Found::within(&path, resource, "resourceType"),
            ordinary: ordinary(resource_type, resource),
            id: resource.text_of("id"),
            path,
            resource_type,
            full_url,
            class: Class::Document,
            because: Vec::new(),
            pinned: false,
        }
    }

    /// Decides by what the resource itself and its Bundle say. What a Bundle says of itself holds for all in it.
    fn decide(&mut self, of_bundle: &Found<'_>) {
        let by_type = resource_type::by_type(self.resource_type);
        if by_type.is_sensitive() {
            note(&mut self.found.sensitive, by_type, &self.path, self.resource_type);
        }
        let most_sensitive = |evidence: &ByClass| {
            let class = SENSITIVE.into_iter().find(|class| evidence.contains_key(class))?;
            Some((class, evidence.get(&class)?.clone()))
        };
        let label = most_sensitive(&self.found.labels);
        let restricted = self.found.restricted.iter().chain(&of_bundle.restricted).next();
        self.pinned = label.is_some();
        // A Bundle's label is about all that is in it, so it can raise a resource's class, and not lower it.
        let any = || {
            let evidence = [&of_bundle.sensitive, &self.found.sensitive, &of_bundle.labels];
            evidence.into_iter().filter_map(most_sensitive).max_by_key(|(class, _)| level(*class))
        };
        let sensitive = label.or_else(any).or_else(|| Some((Class::MentalHealth, vec![restricted?.clone()])));
        (self.class, self.because) = sensitive.unwrap_or_else(|| {
            let Ordinary { class, element, what } = &self.ordinary;
            let path = if element.is_empty() { self.path.clone() } else { format!("{}.{element}", self.path) };
            (*class, vec![Evidence::new(&path, what)])
        });
    }
}

/// Applies the sections of Compositions to what they list.
fn sections(items: &mut [Item<'_>], compositions: &[(usize, &Element<'_>)]) {
    let mut listed: BTreeMap<String, (Class, String)> = BTreeMap::new();
    for (index, composition) in compositions {
        let path = format!("Bundle.entry[{index}].resource");
        collect_sections(&path, composition, &mut listed);
    }
    for item in items.iter_mut().filter(|item| !accompanies(item.resource_type)) {
        let by_id = item.id.map(|id| format!("{}/{id}", item.resource_type));
        let known = item.full_url.and_then(|url| listed.get(url)).or_else(|| listed.get(&by_id?));
        let Some((class, section)) = known else { continue };
        let what = format!("listed in a section for {class}");
        if class.is_sensitive() {
            note(&mut item.found.sensitive, *class, section, &what);
        } else if item.ordinary.element.is_empty()
            && matches!(item.resource_type, "Observation" | "DiagnosticReport" | "QuestionnaireResponse" | "Basic")
        {
            item.ordinary.class = *class;
            item.ordinary.what = what;
        }
    }
}

/// Collects what sections list, by reference. A sensitive section wins over others that list the same.
fn collect_sections(path: &str, parent: &Element<'_>, listed: &mut BTreeMap<String, (Class, String)>) {
    let children = parent.get("section").map(Element::items).unwrap_or_default();
    for (index, child) in children.iter().enumerate() {
        let path = format!("{path}.section[{index}]");
        let codes = child.get("code").into_iter().flat_map(Element::codings);
        let class = codes.into_iter().find_map(|(_, code)| section::class_of(code));
        for entry in child.get("entry").map(Element::items).unwrap_or_default() {
            let (Some(class), Some(reference)) = (class, entry.text_of("reference")) else { continue };
            let known = listed.get(reference).map_or(0, |(known, _)| level(*known));
            if !listed.contains_key(reference) || level(class) > known {
                listed.insert(reference.to_owned(), (class, path.clone()));
            }
        }
        collect_sections(&path, child, listed);
    }
}
