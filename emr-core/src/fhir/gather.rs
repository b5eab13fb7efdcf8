//! Gathers single resources into Bundles, so that one record holds many of them.
//!
//! Each record is an operation that a batch on L1 settles, so a record for each line would cost thousands of operations.

use std::collections::{BTreeMap, HashSet};

use sha2::{Digest, Sha256};

use super::line_resource::{LineResource, NotTaken};
use super::rebuild::write_text;
use crate::class::Class;
use crate::record::Record;

/// At most how many bytes a gathered Bundle takes as a record, fields and document together: 48 MiB. An envelope takes 64 MiB, and reading a
/// document with codes and quantities needs up to four times the bytes of its paths, of which there may be 192 MiB.
pub const MAX_GATHERED_BYTES: usize = 48 << 20;
/// At most how many bytes all Bundles that are being gathered take together.
const MAX_OPEN_BYTES: usize = 2 * MAX_GATHERED_BYTES;
/// Fields of a Bundle and of an entry besides the resource's: `resourceType` and `type`; `fullUrl`.
const BUNDLE_FIELDS: usize = 2;
const ENTRY_FIELDS: usize = 1;
/// Room for what an entry adds to the record besides the resource: its key, punctuation, and twice the `fullUrl`.
const ENTRY_BYTES: usize = 512;

const HEAD: &str = "{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"entry\":[\n";
const TAIL: &str = "\n]}\n";

/// A Bundle that is complete.
#[derive(Clone, PartialEq, Eq)]
pub struct Gathered {
    /// The class of its resources.
    pub class: Class,
    /// The type of its resources.
    pub resource_type: String,
    /// How many resources it holds.
    pub resources: usize,
    /// The Bundle, type `collection`. Each `entry.resource` is the JSON that was read, byte for byte, and the entries are in the order in which
    /// they were added. `fullUrl` is `Type/id`, so that relative references between resources of this patient have a target.
    pub bundle: Vec<u8>,
}

impl std::fmt::Debug for Gathered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { class, resource_type, resources, bundle } = self;
        write!(f, "Gathered({class}, {resource_type}, {resources} resources, {} bytes)", bundle.len())
    }
}

/// A Bundle that takes more resources.
#[derive(Default)]
struct Open {
    json: String,
    resources: usize,
    fields: usize,
    containers: usize,
    bytes: usize,
}

impl Open {
    /// Whether a resource has room besides what is there.
    fn takes(&self, resource: &LineResource<'_>) -> bool {
        self.bytes + size(resource) <= MAX_GATHERED_BYTES
            && self.fields + resource.fields().len() + ENTRY_FIELDS + BUNDLE_FIELDS <= Record::MAX_FIELDS
            && self.containers + resource.containers() + 3 <= Record::MAX_FIELDS
    }

    fn add(&mut self, resource: &LineResource<'_>) {
        self.json.push_str(if self.json.is_empty() { HEAD } else { ",\n" });
        self.json.push('{');
        if let Some(reference) = resource.reference() {
            self.json.push_str("\"fullUrl\":");
            write_text(&reference, &mut self.json);
            self.json.push(',');
        }
        self.json.push_str("\"resource\":");
        self.json.push_str(resource.json());
        self.json.push('}');
        self.resources += 1;
        self.fields += resource.fields().len() + ENTRY_FIELDS;
        self.containers += resource.containers() + 1;
        self.bytes += size(resource);
    }

    fn close(self, (class, resource_type): (Class, String)) -> Gathered {
        let bundle = (self.json + TAIL).into_bytes();
        Gathered { class, resource_type, resources: self.resources, bundle }
    }
}

/// At most how many bytes a resource adds to the record of a Bundle.
fn size(resource: &LineResource<'_>) -> usize {
    resource.encoded() + resource.json().len() + ENTRY_BYTES
}

/// Gathers resources by class and type. The same resources in the same order give the same Bundles.
///
/// It holds at most 96 MiB of Bundles, and 16 bytes for each resource with an id.
#[derive(Default)]
pub struct Gatherer {
    open: BTreeMap<(Class, String), Open>,
    seen: HashSet<[u8; 16]>,
}

impl std::fmt::Debug for Gatherer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gatherer({} Bundles, {} ids)", self.open.len(), self.seen.len())
    }
}

impl Gatherer {
    /// Nothing is gathered.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a resource to the Bundle of its class and type. Returns the Bundles that are complete because of it. The caller has checked whose the
    /// resource is.
    ///
    /// # Errors
    /// [`NotTaken::TooLarge`] if no record could hold it, [`NotTaken::Repeated`] if a resource of this type with this id was added before.
    pub fn add(&mut self, resource: &LineResource<'_>, class: Class) -> Result<Vec<Gathered>, NotTaken> {
        if !Open::default().takes(resource) {
            return Err(NotTaken::TooLarge);
        }
        if let Some(reference) = resource.reference() {
            let mut name = [0; 16];
            name.copy_from_slice(&Sha256::digest(reference.as_bytes())[..16]);
            if !self.seen.insert(name) {
                return Err(NotTaken::Repeated(reference));
            }
        }
        let mut complete = Vec::new();
        let key = (class, resource.resource_type().to_owned());
        if self.open.get(&key).is_some_and(|open| !open.takes(resource)) {
            complete.extend(self.open.remove(&key).map(|open| open.close(key.clone())));
        }
        self.open.entry(key).or_default().add(resource);
        while self.open.values().map(|open| open.bytes).sum::<usize>() > MAX_OPEN_BYTES {
            let largest = self.open.iter().max_by_key(|(_, open)| open.bytes).map(|(key, _)| key.clone());
            let Some(key) = largest else { break };
            complete.extend(self.open.remove(&key).map(|open| open.close(key)));
        }
        Ok(complete)
    }

    /// The Bundles that take more resources, by class and type.
    pub fn finish(self) -> impl Iterator<Item = Gathered> {
        self.open.into_iter().map(|(key, open)| open.close(key))
    }
}
