//! What a resource's references say about it: a visit because of a depression is about the depression.
//!
//! A sensitive class spreads along references until nothing changes:
//!
//! - from what is referred to, to what refers to it (Condition to Encounter, Procedure, MedicationRequest, CarePlan, Claim);
//! - from a visit, a place or a caregiver only to what was decided there (medication, procedures, plans, documents,
//!   bills), and not to measurements, images, vaccinations, allergies and diagnoses;
//! - from a report, panel, plan or bill also to its parts (`result`, `hasMember`, `specimen`, ...);
//! - never to or from a person who is the subject.

use std::collections::BTreeMap;

use crate::class::Class;

use super::evidence::Reference;
use super::resource_type::{accompanies, is_place};
use super::{Evidence, Item, level, of_level};

/// Elements that refer to a part of the resource.
const PARTS: [&str; 10] = [
    "result",
    "hasMember",
    "derivedFrom",
    "specimen",
    "medicationReference",
    "prescription",
    "goal",
    "imagingStudy",
    "attachment",
    "outcomeReference",
];

/// An edge to a node, and the reference that makes it.
struct Edge<'i, 'a> {
    to: usize,
    via: Option<&'i Reference<'a>>,
}

/// The nodes are the resources, then for each address that occurs two more: what its resources are, and what those that
/// count them as a part say. So the number of edges is that of the references, even if many resources share one address.
struct Graph<'i, 'a> {
    edges: Vec<Vec<Edge<'i, 'a>>>,
    /// How sensitive each node is.
    levels: Vec<u8>,
    /// The resource that made a node so, and the reference through which.
    from: Vec<Option<(usize, Option<&'i Reference<'a>>)>>,
}

/// For each resource that becomes more sensitive by its links: its class, and why.
pub(super) fn spread(items: &[Item<'_>]) -> BTreeMap<usize, (Class, Evidence)> {
    let addresses = Addresses::of(items);
    let count = items.len();
    let (are, parts) = (|address: usize| count + address, |address: usize| count + addresses.members.len() + address);
    let nodes = count + 2 * addresses.members.len();
    let mut graph = Graph {
        edges: std::iter::repeat_with(Vec::new).take(nodes).collect(),
        levels: vec![0; nodes],
        from: vec![None; nodes],
    };
    for (address, members) in addresses.members.iter().enumerate() {
        for &member in members {
            let item = &items[member];
            if !matches!(item.resource_type, "Patient" | "Person" | "Group") {
                graph.edges[member].push(Edge { to: are(address), via: None });
            }
            if !is_place(item.resource_type) {
                graph.edges[parts(address)].push(Edge { to: member, via: None });
            }
        }
    }
    for (index, item) in items.iter().enumerate() {
        for reference in &item.found.references {
            let Some(address) = addresses.find(reference.target) else { continue };
            let place = addresses.members[address].iter().all(|member| is_place(items[*member].resource_type));
            if !place || follows_place(item) {
                graph.edges[are(address)].push(Edge { to: index, via: Some(reference) });
            }
            let in_plan = item.resource_type == "CarePlan" && reference.element == "reference";
            if in_plan || PARTS.contains(&reference.element.as_str()) {
                graph.edges[index].push(Edge { to: parts(address), via: Some(reference) });
            }
        }
    }
    graph.run(items)
}

/// Whether the class of a visit, place or caregiver counts for a resource that refers to it.
fn follows_place(item: &Item<'_>) -> bool {
    let measured = matches!(
        item.ordinary.class,
        Class::Laboratory | Class::VitalSigns | Class::Imaging | Class::Immunization | Class::Allergy
    );
    !measured
        && !accompanies(item.resource_type)
        && !matches!(item.resource_type, "Condition" | "Observation" | "Coverage")
}

impl<'i, 'a> Graph<'i, 'a> {
    fn run(mut self, items: &[Item<'_>]) -> BTreeMap<usize, (Class, Evidence)> {
        let mut waiting = Vec::new();
        for (index, item) in items.iter().enumerate() {
            self.levels[index] = level(item.class);
            if self.levels[index] > 0 {
                waiting.push(index);
            }
        }
        let mut risen = BTreeMap::new();
        // Each node rises at most once for each sensitive class.
        while let Some(node) = waiting.pop() {
            let reached = self.levels[node];
            for edge in &self.edges[node] {
                let pinned = items.get(edge.to).is_some_and(|item| item.pinned);
                if pinned || self.levels[edge.to] >= reached {
                    continue;
                }
                self.levels[edge.to] = reached;
                let known = if node < items.len() { None } else { self.from[node] };
                let source = known.map_or(node, |(source, _)| source);
                let via = edge.via.or_else(|| known.and_then(|(_, via)| via));
                self.from[edge.to] = Some((source, via));
                waiting.push(edge.to);
                if let (Some(_), Some(class)) = (items.get(edge.to), of_level(reached)) {
                    risen.insert(edge.to, (class, why(&items[source], via, edge.via.is_some())));
                }
            }
        }
        risen
    }
}

/// The evidence of a link: the resource refers to `source`, or `source` refers to it.
fn why(source: &Item<'_>, via: Option<&Reference<'_>>, forward: bool) -> Evidence {
    let path = via.map_or(source.path.as_str(), |reference| reference.path.as_str());
    match forward {
        true => Evidence::new(path, &format!("refers to {}", source.path)),
        false => Evidence::new(path, &format!("{} counts it as a part", source.path)),
    }
}

/// The addresses of a Bundle's resources: full URLs, and types with ids.
struct Addresses {
    numbers: BTreeMap<String, usize>,
    members: Vec<Vec<usize>>,
}

impl Addresses {
    fn of(items: &[Item<'_>]) -> Self {
        let mut addresses = Self { numbers: BTreeMap::new(), members: Vec::new() };
        for (index, item) in items.iter().enumerate() {
            let by_id = item.id.map(|id| format!("{}/{id}", item.resource_type));
            // `http://host/fhir/Condition/7` is also `Condition/7`, and `urn:uuid:..` also names a resource with that id.
            let full = item.full_url.map(str::to_owned);
            let relative = item.full_url.and_then(relative);
            let urn = item.id.filter(|_| item.full_url.is_none()).map(|id| format!("urn:uuid:{id}"));
            for address in [by_id, full, relative, urn].into_iter().flatten() {
                addresses.add(address, index);
            }
        }
        addresses
    }

    fn add(&mut self, address: String, index: usize) {
        let next = self.members.len();
        let number = *self.numbers.entry(address).or_insert(next);
        if number == next {
            self.members.push(Vec::new());
        }
        if self.members[number].last() != Some(&index) {
            self.members[number].push(index);
        }
    }

    /// The address that a reference means, without its version.
    fn find(&self, target: &str) -> Option<usize> {
        let target = target.split_once("/_history/").map_or(target, |(target, _)| target);
        let exact = self.numbers.get(target).copied();
        exact.or_else(|| self.numbers.get(&relative(target)?).copied())
    }
}

/// Type and id, the last two segments of a URL.
fn relative(url: &str) -> Option<String> {
    let mut segments = url.rsplit('/');
    let (id, resource_type) = (segments.next()?, segments.next()?);
    let is_type = resource_type.starts_with(|c: char| c.is_ascii_uppercase());
    (is_type && !id.is_empty()).then(|| format!("{resource_type}/{id}"))
}
