//! From a grant to a Consent.

use fhirkit::Json;

use super::codes::{CATEGORIES, POLICY_RULES, ROLES, SCOPE, WRITTEN_ACTIONS};
use crate::class::ClassMask;
use crate::fhir::coding::{
    ACCOUNT, Account, CLASS, GRANT, coding, concept, entry, identifier, list, object, reference, text, written,
};
use crate::quantity::{GrantSlot, UnixTime, Version};
use crate::standing::{Rights, Role};

/// A grant with the names of its parties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantConsent {
    /// The patient who granted.
    pub patient: Account,
    /// The reader.
    pub reader: Account,
    /// The reader's role: a doctor is a Practitioner, a hospital an Organization.
    pub reader_role: Role,
    /// The grant's slot.
    pub slot: GrantSlot,
    /// The grant's version.
    pub version: Version,
    /// READ, WRITE or both.
    pub rights: Rights,
    /// The classes.
    pub classes: ClassMask,
    /// The last second.
    pub until: UnixTime,
    /// The time of the state in which the grant holds.
    pub as_of: UnixTime,
}

/// Why a grant has no Consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotExpressible {
    /// The grant was opened by break-glass, or lets a delegate grant.
    #[error("a Consent says only who may read and write, not {0}")]
    Rights(Rights),
    /// The grant covers nothing.
    #[error("the grant has no classes")]
    NoClass,
    /// The reader is a patient.
    #[error("the reader is a patient")]
    Reader,
    /// The grant ends after the year 9999.
    #[error("the grant ends after the year 9999, which FHIR cannot write")]
    Until,
}

/// A Bundle of the grants that a Consent can express, and the others with the reason. The Bundle is of type `collection`, as JSON with line breaks.
pub fn bundle(grants: &[GrantConsent]) -> (String, Vec<(GrantSlot, NotExpressible)>) {
    let (mut entries, mut others) = (Vec::new(), Vec::new());
    for grant in grants {
        match grant.resource() {
            Ok(resource) => entries.push(entry("Consent", &grant.id(), resource)),
            Err(reason) => others.push((grant.slot, reason)),
        }
    }
    let mut bundle = vec![("resourceType".to_owned(), text("Bundle")), ("type".to_owned(), text("collection"))];
    // FHIR has no empty arrays.
    if !entries.is_empty() {
        bundle.push(("entry".to_owned(), Json::Array(entries)));
    }
    (Json::Object(bundle).to_pretty(), others)
}

impl GrantConsent {
    /// The Consent, as JSON with line breaks.
    ///
    /// # Errors
    /// [`NotExpressible`] if a Consent cannot say what the grant says.
    pub fn to_json(&self) -> Result<String, NotExpressible> {
        Ok(self.resource()?.to_pretty())
    }

    fn id(&self) -> String {
        format!("grant-{}-{}", self.slot, self.version)
    }

    fn resource(&self) -> Result<Json, NotExpressible> {
        let Self { patient, reader, slot, version, rights, classes, .. } = *self;
        if rights == Rights::NONE || !(Rights::READ | Rights::WRITE).contains(rights) {
            return Err(NotExpressible::Rights(rights));
        }
        if classes == ClassMask::default() {
            return Err(NotExpressible::NoClass);
        }
        let reader_type = match self.reader_role {
            Role::Doctor => "Practitioner",
            Role::Hospital => "Organization",
            Role::Patient => return Err(NotExpressible::Reader),
        };
        let (until, as_of) =
            (written(self.until).ok_or(NotExpressible::Until)?, written(self.as_of).ok_or(NotExpressible::Until)?);
        let owner = || reference("Patient", identifier(ACCOUNT, patient.to_string()));
        let actions = WRITTEN_ACTIONS.iter().filter(|(right, _)| rights.contains(*right));
        let actor = object([
            ("role", one(ROLES[0])),
            ("reference", reference(reader_type, identifier(ACCOUNT, reader.to_string()))),
        ]);
        let provision = object([
            ("type", text("permit")),
            ("period", object([("end", text(until))])),
            ("actor", list([actor])),
            ("action", list(actions.map(|(_, code)| one(*code)))),
            ("class", list(classes.classes().map(|class| coding(CLASS, class.name())))),
        ]);
        let grant = format!("{}/{}/{slot}/{version}", patient.deployment, patient.index);
        Ok(object([
            ("resourceType", text("Consent")),
            ("id", text(self.id())),
            ("identifier", list([identifier(GRANT, grant)])),
            ("status", text("active")),
            ("scope", one(SCOPE)),
            ("category", list([one(CATEGORIES[0])])),
            ("patient", owner()),
            ("dateTime", text(as_of)),
            ("performer", list([owner()])),
            ("policyRule", one(POLICY_RULES[0])),
            ("provision", provision),
        ]))
    }
}

fn one((system, code): (&str, &str)) -> Json {
    concept(system, code)
}
