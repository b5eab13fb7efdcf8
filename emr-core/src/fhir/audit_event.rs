//! The entries of a patient's audit chain as FHIR R4 AuditEvents, in the patterns of IHE BALP 1.1.4.
//!
//! Source: IHE ITI Basic Audit Log Patterns (BALP) 1.1.4, profiles `IHE.BasicAudit.PatientCreate`, `PatientRead`, `PatientUpdate` and
//! `PatientDelete`, <https://profiles.ihe.net/ITI/BALP/>. `docs/fhir.md` has the table of operations.

use fhirkit::Json;

use super::coding::{
    ACCOUNT, Account, CLASS, DEPLOYMENT, GRANT, PARTICIPATION, RESOURCE_TYPES, coding, concept, entry, identifier,
    list, object, reference, text, written,
};
use crate::quantity::{AccountIndex, GrantSlot, RecordSlot, UnixTime};
use crate::standing::{Purpose, Reason};
use crate::state_root::StateRoot;

const DICOM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const ENTITY_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const OBJECT_ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const INTERACTION: &str = "http://hl7.org/fhir/restful-interaction";
const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
/// Code system: the kinds of operations, by their names.
const OPERATION: &str = "urn:emr:operation";
/// Identifier system: a record, `DEPLOYMENT/PATIENT/SLOT`.
const RECORD: &str = "urn:emr:record";
/// Identifier system: an entry of an audit chain, `DEPLOYMENT/PATIENT/NUMBER`, counted from 1.
const AUDIT_ENTRY: &str = "urn:emr:audit-entry";
/// Identifier system: the head of an audit chain, `DEPLOYMENT/PATIENT/HEAD`.
const AUDIT_HEAD: &str = "urn:emr:audit-head";

/// What an entry did, in the words of REST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interaction {
    /// Something new was written.
    Create,
    /// Access was opened. Which records were read under it, nobody records.
    Read,
    /// A new version was written, or something ended.
    Update,
    /// A record was deleted.
    Delete,
}

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditedObject {
    /// A record.
    Record(RecordSlot),
    /// A grant.
    Grant(GrantSlot),
    /// Every grant of the patient.
    AllGrants,
}

/// An entry of an audit chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditedOperation<'a> {
    /// Its place in the chain, counted from 1.
    pub number: u64,
    /// The entry's hash, 32 bytes, big-endian.
    pub entry: [u8; 32],
    /// The head after this entry, 32 bytes, big-endian.
    pub head: [u8; 32],
    /// The name of the operation's kind.
    pub kind: &'a str,
    /// The same in the words of REST.
    pub interaction: Interaction,
    /// Whether it opened emergency access.
    pub emergency: bool,
    /// The account that signed it.
    pub signer: AccountIndex,
    /// What it is about.
    pub object: AuditedObject,
    /// The reason and the class, if it has them.
    pub purpose: Option<Purpose>,
    /// The time of its batch.
    pub time: UnixTime,
}

/// Up to where an audit chain is proved, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvedChain {
    /// The patient.
    pub patient: Account,
    /// The number of settled batches.
    pub batches: u64,
    /// The state root after them.
    pub state_root: StateRoot,
    /// The time of the last of them.
    pub time: UnixTime,
    /// The block of L1 against whose header the root is proved.
    pub block: u64,
    /// The chain's head, 32 bytes, big-endian.
    pub head: [u8; 32],
}

/// The whole chain as a Bundle of type `collection`, JSON with line breaks, oldest entry first.
///
/// The Bundle's `identifier` is the head of the chain. `meta.tag` says up to which batch, state root and block the chain is proved, and how many
/// entries it has: none is missing.
pub fn bundle(chain: &ProvedChain, operations: &[AuditedOperation<'_>]) -> String {
    let (deployment, patient) = (chain.patient.deployment, chain.patient.index);
    let tag = |name: &str, value: String| coding(&format!("urn:emr:{name}"), &value);
    let tags = [
        tag("settled-batches", chain.batches.to_string()),
        tag("state-root", chain.state_root.to_string()),
        tag("l1-block", chain.block.to_string()),
        tag("audit-entries", operations.len().to_string()),
    ];
    let head = format!("{deployment}/{patient}/{}", hexadecimal(&chain.head));
    let mut bundle = vec![
        ("resourceType".to_owned(), text("Bundle")),
        ("meta".to_owned(), object([("tag", list(tags))])),
        ("identifier".to_owned(), identifier(AUDIT_HEAD, head)),
        ("type".to_owned(), text("collection")),
    ];
    bundle.extend(written(chain.time).map(|time| ("timestamp".to_owned(), text(time))));
    if !operations.is_empty() {
        let events = operations.iter().map(|operation| {
            entry("AuditEvent", &format!("entry-{}", operation.number), event(&chain.patient, operation))
        });
        bundle.push(("entry".to_owned(), list(events)));
    }
    Json::Object(bundle).to_pretty()
}

/// What BALP's profile of an interaction fixes: the codes of `subtype` and `action`, and the types of the agents client, server and user.
struct Pattern {
    subtype: &'static str,
    action: &'static str,
    client: (&'static str, &'static str),
    server: (&'static str, &'static str),
    user: (&'static str, &'static str),
}

impl Interaction {
    const fn pattern(self) -> Pattern {
        const SOURCE: (&str, &str) = (DICOM, "110153");
        const DESTINATION: (&str, &str) = (DICOM, "110152");
        const AUTHOR: (&str, &str) = (PARTICIPATION, "AUT");
        let (subtype, action) = match self {
            Self::Create => ("create", "C"),
            Self::Read => ("read", "R"),
            Self::Update => ("update", "U"),
            Self::Delete => ("delete", "D"),
        };
        let (client, server, user) = match self {
            Self::Create | Self::Update => (SOURCE, DESTINATION, AUTHOR),
            Self::Read => (DESTINATION, SOURCE, (PARTICIPATION, "IRCP")),
            Self::Delete => (
                (DICOM, "110150"),
                ("http://terminology.hl7.org/CodeSystem/provenance-participant-type", "custodian"),
                AUTHOR,
            ),
        };
        Pattern { subtype, action, client, server, user }
    }
}

/// Where the same code means the reason in v3 ActReason.
const fn reason(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::None => return None,
        Reason::Treatment => "TREAT",
        Reason::Emergency => "ETREAT",
        Reason::Payment => "HPAYMT",
        Reason::Operations => "HOPERAT",
        Reason::Research => "HRESCH",
        Reason::PatientRequest => "PATRQT",
        Reason::PublicHealth => "PUBHLTH",
    })
}

fn event(patient: &Account, operation: &AuditedOperation<'_>) -> Json {
    let pattern = operation.interaction.pattern();
    let mut subtypes = vec![coding(INTERACTION, pattern.subtype), coding(OPERATION, operation.kind)];
    if operation.emergency {
        // "Emergency Override Started"
        subtypes.push(coding(DICOM, "110127"));
    }
    let mut event = vec![
        ("resourceType".to_owned(), text("AuditEvent")),
        ("id".to_owned(), text(format!("entry-{}", operation.number))),
        ("type".to_owned(), coding("http://terminology.hl7.org/CodeSystem/audit-event-type", "rest")),
        ("subtype".to_owned(), Json::Array(subtypes)),
        ("action".to_owned(), text(pattern.action)),
        // The times of batches have 40 bits, and L1's clock is far from the year 9999.
        ("recorded".to_owned(), text(written(operation.time).unwrap_or_else(|| "9999-12-31T23:59:59Z".to_owned()))),
        ("outcome".to_owned(), text("0")),
    ];
    let purpose = operation.purpose.and_then(|purpose| reason(purpose.reason));
    event.extend(purpose.map(|code| ("purposeOfEvent".to_owned(), list([concept(ACT_REASON, code)]))));
    event.push(("agent".to_owned(), agents(patient, operation, &pattern)));
    let source = object([
        ("observer", reference("Device", deployment(patient))),
        ("type", list([coding("http://terminology.hl7.org/CodeSystem/security-source-type", "4")])),
    ]);
    event.push(("source".to_owned(), source));
    event.push(("entity".to_owned(), entities(patient, operation)));
    Json::Object(event)
}

fn deployment(patient: &Account) -> Json {
    identifier(DEPLOYMENT, patient.deployment.to_string())
}

/// Client, server and user. The chain holds no network addresses: the server's is the contract, and the client's is absent.
fn agents(patient: &Account, operation: &AuditedOperation<'_>, pattern: &Pattern) -> Json {
    // The chain names an account by its index. The patient's own has an owner too.
    let signer = match operation.signer == patient.index {
        true => patient.to_string(),
        false => format!("{}/{}", patient.deployment, operation.signer),
    };
    let signer_type = if operation.signer == patient.index { "Patient" } else { "Practitioner" };
    let absent = object([
        ("url", text("http://hl7.org/fhir/StructureDefinition/data-absent-reason")),
        ("valueCode", text("unknown")),
    ]);
    let client = object([
        ("type", concept(pattern.client.0, pattern.client.1)),
        ("who", reference("Device", identifier(ACCOUNT, signer.clone()))),
        ("requestor", Json::Bool(false)),
        ("network", object([("extension", list([absent]))])),
    ]);
    let network = object([("address", text(patient.deployment.to_string())), ("type", text("5"))]);
    let server = object([
        ("type", concept(pattern.server.0, pattern.server.1)),
        ("who", reference("Device", deployment(patient))),
        ("requestor", Json::Bool(false)),
        ("network", network),
    ]);
    let user = object([
        ("type", concept(pattern.user.0, pattern.user.1)),
        ("who", reference(signer_type, identifier(ACCOUNT, signer))),
        ("requestor", Json::Bool(true)),
    ]);
    list([client, server, user])
}

/// The patient, what was written or opened, the grant that was used, and the entry of the chain.
fn entities(patient: &Account, operation: &AuditedOperation<'_>) -> Json {
    let person = object([
        ("what", reference("Patient", identifier(ACCOUNT, patient.to_string()))),
        ("type", coding(ENTITY_TYPE, "1")),
        ("role", coding(OBJECT_ROLE, "1")),
    ]);
    let of_patient = |slot: String| format!("{}/{}/{slot}", patient.deployment, patient.index);
    let grant = |slot: GrantSlot| reference("Consent", identifier(GRANT, of_patient(slot.to_string())));
    let what = match (operation.object, operation.interaction) {
        (AuditedObject::Record(slot), _) => reference("Bundle", identifier(RECORD, of_patient(slot.to_string()))),
        // What was opened is a class of records.
        (AuditedObject::Grant(slot), Interaction::Read) => match operation.purpose {
            Some(purpose) => object([("identifier", identifier(CLASS, purpose.class.name()))]),
            None => grant(slot),
        },
        (AuditedObject::Grant(slot), _) => grant(slot),
        (AuditedObject::AllGrants, _) => reference("Consent", identifier(GRANT, of_patient("all".to_owned()))),
    };
    let data = object([("what", what), ("type", coding(ENTITY_TYPE, "2")), ("role", coding(OBJECT_ROLE, "4"))]);
    let mut entities = vec![person, data];
    if let (AuditedObject::Grant(slot), Interaction::Read) = (operation.object, operation.interaction) {
        entities.push(object([("what", grant(slot)), ("type", coding(RESOURCE_TYPES, "Consent"))]));
    }
    let detail = |name: &str, value: String| object([("type", text(name)), ("valueString", text(value))]);
    let mut details = vec![
        detail("entry-hash", hexadecimal(&operation.entry)),
        detail("head-after-entry", hexadecimal(&operation.head)),
    ];
    details.extend(operation.purpose.map(|purpose| detail("class", purpose.class.to_string())));
    let number = of_patient(operation.number.to_string());
    entities.push(object([
        ("what", object([("identifier", identifier(AUDIT_ENTRY, number))])),
        ("type", coding(ENTITY_TYPE, "4")),
        ("detail", Json::Array(details)),
    ]));
    Json::Array(entities)
}

fn hexadecimal(bytes: &[u8; 32]) -> String {
    format!("0x{}", hex::encode(bytes))
}
