//! One Bundle for each class of a Bundle.

use std::collections::BTreeMap;

use hkdf::Hkdf;
use sha2::{Digest, Sha256};

use super::FhirError;
use super::classify::{Classified, of, resources};
use super::element::Element;
use crate::class::Class;

/// The resources of a document that are of one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The class.
    pub class: Class,
    /// How many resources it has.
    pub resources: usize,
    /// The document: a Bundle of type `collection`, or the whole document if that is no Bundle.
    pub document: Vec<u8>,
}

/// Splits a Bundle into one Bundle for each class, in the order of the classes' codes. A document that is no Bundle is one part, unchanged.
///
/// Each resource and its `fullUrl` are copied byte for byte. What else an entry or the Bundle holds (`request`,
/// `response`, `search`, `link`, `signature`, `identifier`, `timestamp`, `total`, `language`, `meta`, extensions) belongs to the whole and is left
/// out. References stay as they are.
///
/// The parts carry one tag in common, `urn:uuid:` and a number made from `secret` and the document. No part says how
/// many parts there are, or which classes the others have. The same secret and document give the same parts, so that an
/// interrupted upload can be repeated.
///
/// # Errors
/// Returns [`FhirError::NoResource`] if an entry has no resource, [`FhirError::ChangesMeaning`] if the Bundle has `implicitRules`, or the Bundle or
/// an entry a `modifierExtension`: without these a reader would take the resources for something else. Otherwise the errors of [`import`](super::import).
pub fn split(document: &[u8], secret: &[u8; 32]) -> Result<Vec<Part>, FhirError> {
    let root = Element::read(document)?;
    let classes = of(&root).resources;
    if root.text_of("resourceType") != Some("Bundle") {
        let part = |class| Part { class, resources: 1, document: document.to_vec() };
        return Ok(classes.into_iter().map(|resource| part(resource.class)).collect());
    }
    let entries = root.get("entry").map(Element::items).unwrap_or_default();
    if let Some(index) = entries.iter().position(|entry| entry.get("resource").is_none()) {
        return Err(FhirError::NoResource { path: format!("Bundle.entry[{index}]") });
    }
    let of_bundle = ["implicitRules", "modifierExtension"].into_iter().map(|name| (None, &root, name));
    let of_entries = entries.iter().enumerate().map(|(index, entry)| (Some(index), entry, "modifierExtension"));
    if let Some((index, _, name)) = of_bundle.chain(of_entries).find(|(_, element, name)| element.get(name).is_some()) {
        let entry = index.map(|index| format!(".entry[{index}]")).unwrap_or_default();
        return Err(FhirError::ChangesMeaning { path: format!("Bundle{entry}.{name}") });
    }
    let mut parts: BTreeMap<Class, Vec<String>> = BTreeMap::new();
    for ((_, entry, resource), Classified { class, .. }) in resources(&root).zip(classes) {
        let full_url = entry.get("fullUrl").map(|url| format!("\"fullUrl\":{},", url.raw)).unwrap_or_default();
        parts.entry(class).or_default().push(format!("{{{full_url}\"resource\":{}}}", resource.raw));
    }
    let set = set_of(document, secret);
    let part = |(class, entries): (Class, Vec<String>)| {
        let resources = entries.len();
        let tag = format!("{{\"system\":\"urn:ietf:rfc:3986\",\"code\":\"urn:uuid:{set}\"}}");
        let head = format!("{{\"resourceType\":\"Bundle\",\"meta\":{{\"tag\":[{tag}]}},\"type\":\"collection\"");
        let document = format!("{head},\"entry\":[{}]}}", entries.join(",\n"));
        Part { class, resources, document: document.into_bytes() }
    };
    Ok(parts.into_iter().map(part).collect())
}

/// The number of a set of parts, as a UUID of version 8 (RFC 9562): 16 bytes of HKDF-SHA256 with the secret as key and the
/// document's SHA-256 as info. Without the secret, nobody can test a guess of the document.
fn set_of(document: &[u8], secret: &[u8; 32]) -> String {
    let info = [b"emr/split/v1".as_slice(), Sha256::digest(document).as_slice()].concat();
    let mut id = [0; 16];
    Hkdf::<Sha256>::new(None, secret).expand(&info, &mut id).expect("16 bytes are less than 255 hashes");
    id[6] = id[6] & 0x0f | 0x80;
    id[8] = id[8] & 0x3f | 0x80;
    let hex = hex::encode(id);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
