//! Binary and Provenance: resources that say whose they are only through other resources.
//!
//! A folder of one patient may hold them alone. If it also holds what is not this patient's, or cannot be read, a Binary is taken if it names the
//! patient or a resource that was taken refers to it, and a Provenance if everything that it is about was taken.

use std::collections::{BTreeSet, HashSet};

use sha2::{Digest, Sha256};

use super::line_resource::{LineResource, NotTaken, PatientId, short, target, text_of, type_and_id};

/// The types, in the order in which they are to be checked: a Provenance can be about a Binary.
pub const COMPANIONS: [&str; 2] = ["Binary", "Provenance"];

/// The first bytes of SHA-256 of `Type/id`.
type Name = [u8; 16];

fn name(resource_type: &str, id: &str) -> Name {
    let digest = Sha256::new().chain_update(resource_type).chain_update("/").chain_update(id).finalize();
    let mut name = [0; 16];
    name.copy_from_slice(&digest[..16]);
    name
}

/// What was taken of a folder, and which Binaries that refers to. It holds 16 bytes for each.
pub struct Taken {
    patient: PatientId,
    resources: HashSet<Name>,
    binaries: HashSet<Name>,
    has_others: bool,
}

impl std::fmt::Debug for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Taken({} resources, {} Binaries)", self.resources.len(), self.binaries.len())
    }
}

impl Taken {
    /// Nothing was taken but the patient.
    pub fn of(patient: &PatientId) -> Self {
        let resources = HashSet::from([name("Patient", patient.as_str())]);
        Self { patient: patient.clone(), resources, binaries: HashSet::new(), has_others: false }
    }

    /// Notes a resource that was taken.
    pub fn add(&mut self, resource: &LineResource<'_>) {
        self.resources.extend(resource.id().map(|id| name(resource.resource_type(), id)));
        for (key, value) in resource.fields() {
            let refers = key.segments().last().is_some_and(|last| last == "reference" || last == "url");
            if refers && let Some((resource_type @ "Binary", id)) = text_of(value).and_then(type_and_id) {
                self.binaries.insert(name(resource_type, id));
            }
        }
    }

    /// Notes that the folder holds something that is not this patient's, or that nobody could read.
    pub const fn has_others(&mut self) {
        self.has_others = true;
    }

    /// Checks a resource that [`LineResource::check_patient`] has let pass, after all resources of other types were added. Only those of
    /// [`COMPANIONS`] can fail.
    ///
    /// # Errors
    /// [`NotTaken::Unlinked`] for a Binary, [`NotTaken::OtherTarget`] for a Provenance.
    pub fn check(&self, resource: &LineResource<'_>) -> Result<(), NotTaken> {
        match resource.resource_type() {
            "Binary" if self.has_others => self.check_binary(resource),
            "Provenance" if self.has_others => self.check_provenance(resource),
            _ => Ok(()),
        }
    }

    fn check_binary(&self, resource: &LineResource<'_>) -> Result<(), NotTaken> {
        let is_linked = resource.id().is_some_and(|id| self.binaries.contains(&name("Binary", id)));
        let context = resource.fields().iter().find(|(key, _)| key.as_str() == "Binary.securityContext.reference");
        let is_ours = context.and_then(|(_, value)| text_of(value)).is_some_and(|reference| self.knows(reference));
        if is_linked || is_ours {
            return Ok(());
        }
        let name = resource.id().map_or_else(|| "Binary without an id".to_owned(), |id| format!("Binary/{id}"));
        Err(NotTaken::Unlinked(short(&name)))
    }

    fn check_provenance(&self, resource: &LineResource<'_>) -> Result<(), NotTaken> {
        // Both by the target's index.
        let (mut targets, mut known) = (BTreeSet::new(), BTreeSet::new());
        for (key, value) in resource.fields() {
            let segments: Vec<&str> = key.segments().collect();
            let ["Provenance", "target", index, rest @ ..] = &segments[..] else { continue };
            targets.insert((*index).to_owned());
            if *rest != ["reference"] {
                continue;
            }
            let reference = text_of(value).unwrap_or_default();
            if !self.knows(reference) {
                let element = format!("Provenance.target.{index}");
                return Err(NotTaken::OtherTarget { element, reference: short(reference) });
            }
            known.insert((*index).to_owned());
        }
        match targets.difference(&known).next() {
            Some(index) => {
                let reference = "given without a reference".to_owned();
                Err(NotTaken::OtherTarget { element: format!("Provenance.target.{index}"), reference })
            }
            None if targets.is_empty() => Err(NotTaken::Nobody("Provenance".to_owned())),
            None => Ok(()),
        }
    }

    /// Whether a reference names a resource that was taken, or the patient.
    fn knows(&self, reference: &str) -> bool {
        target(reference, false) == Some(self.patient.as_str())
            || type_and_id(reference)
                .is_some_and(|(resource_type, id)| self.resources.contains(&name(resource_type, id)))
    }
}

impl NotTaken {
    /// Whether the resource is another patient's, or could be.
    pub const fn may_be_anothers(&self) -> bool {
        !matches!(self, Self::Outcome | Self::Repeated(_) | Self::TooLarge)
    }
}
