//! The audit chain as AuditEvents.
//!
//! The rules are those of IHE BALP 1.1.4, copied by hand from its profiles (github.com/IHE/ITI.BasicAudit, tag 1.1.4, `input/fsh/Patient*.fsh`).

use emr_core::fhir::audit_event::{AuditedObject, AuditedOperation, Interaction, ProvedChain, bundle};
use emr_core::fhir::{Account, Deployment, import, validate};
use emr_core::{AccountIndex, Class, GrantSlot, OutOfRange, Purpose, Reason, RecordSlot, StateRoot, UnixTime};
use serde_json::Value;

type Anything = Box<dyn std::error::Error>;

const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";

/// What a profile fixes.
struct Profile {
    interaction: Interaction,
    subtypes: &'static [&'static str],
    action: &'static str,
    client: (&'static str, &'static str),
    server: (&'static str, &'static str),
    users: &'static [&'static str],
}

const PROFILES: [Profile; 4] = [
    Profile {
        interaction: Interaction::Create,
        subtypes: &["create"],
        action: "C",
        client: (DCM, "110153"),
        server: (DCM, "110152"),
        users: &["AUT", "INF", "CST"],
    },
    Profile {
        interaction: Interaction::Read,
        subtypes: &["read", "vread"],
        action: "R",
        client: (DCM, "110152"),
        server: (DCM, "110153"),
        users: &["IRCP"],
    },
    Profile {
        interaction: Interaction::Update,
        subtypes: &["update", "patch"],
        action: "U",
        client: (DCM, "110153"),
        server: (DCM, "110152"),
        users: &["AUT", "INF", "CST"],
    },
    Profile {
        interaction: Interaction::Delete,
        subtypes: &["delete"],
        action: "D",
        client: (DCM, "110150"),
        server: ("http://terminology.hl7.org/CodeSystem/provenance-participant-type", "custodian"),
        users: &["AUT", "INF", "CST"],
    },
];

fn operation(
    number: u64,
    interaction: Interaction,
    object: AuditedObject,
) -> Result<AuditedOperation<'static>, OutOfRange> {
    Ok(AuditedOperation {
        number,
        entry: [1; 32],
        head: [2; 32],
        kind: "put-record",
        interaction,
        emergency: false,
        signer: AccountIndex::new(2)?,
        object,
        purpose: None,
        time: UnixTime::new(1_700_000_000)?,
    })
}

fn chain() -> Result<ProvedChain, Anything> {
    let deployment = Deployment { chain_id: 31337, contract: [7; 20] };
    Ok(ProvedChain {
        patient: Account { deployment, index: AccountIndex::new(3)?, owner: [9; 20] },
        batches: 12,
        state_root: StateRoot::from_bytes([0; 32])?,
        time: UnixTime::new(1_700_000_100)?,
        block: 40,
        head: [3; 32],
    })
}

/// The resources of the Bundle of a chain, and the Bundle.
fn events(operations: &[AuditedOperation<'_>]) -> Result<(Vec<Value>, Value), Anything> {
    let json = bundle(&chain()?, operations);
    let problems = validate(json.as_bytes())?;
    assert_eq!(problems.total, 0, "{problems:?}");
    // A record can hold it: FHIR's shape, no empty arrays.
    import(json.as_bytes())?;
    let bundle: Value = serde_json::from_str(&json)?;
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    Ok((entries.into_iter().map(|entry| entry["resource"].clone()).collect(), bundle))
}

fn coded(coding: &Value) -> (&str, &str) {
    (coding["system"].as_str().unwrap_or_default(), coding["code"].as_str().unwrap_or_default())
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Checks an event against a profile.
fn conforms(event: &Value, profile: &Profile) -> Result<(), String> {
    let holds = |what: &str, holds: bool| if holds { Ok(()) } else { Err(format!("{what}: {event}")) };
    let one = |list: &Value, fits: &dyn Fn(&Value) -> bool| items(list).iter().filter(|item| fits(item)).count() == 1;
    holds("type", coded(&event["type"]) == ("http://terminology.hl7.org/CodeSystem/audit-event-type", "rest"))?;
    let interaction = "http://hl7.org/fhir/restful-interaction";
    let subtype = |coding: &Value| coded(coding).0 == interaction && profile.subtypes.contains(&coded(coding).1);
    holds("subtype 1..1", one(&event["subtype"], &subtype))?;
    holds("action", event["action"] == profile.action)?;
    holds("recorded 1..1", event["recorded"].is_string())?;
    holds("outcome", event["outcome"] == "0")?;
    holds("no modifierExtension", event.get("modifierExtension").is_none())?;
    for (name, role) in [("client", profile.client), ("server", profile.server)] {
        let is_it = |agent: &Value| coded(&agent["type"]["coding"][0]) == role;
        holds(name, one(&event["agent"], &is_it))?;
        let agent = items(&event["agent"]).iter().find(|agent| is_it(agent)).ok_or("an agent")?;
        holds("who 1..1", agent["who"].is_object())?;
        holds("network 1..1", agent["network"].is_object())?;
        for absent in ["media", "role", "altId", "name", "location", "policy", "purposeOfUse"] {
            holds(absent, agent.get(absent).is_none())?;
        }
    }
    let is_user = |agent: &Value| {
        let (system, code) = coded(&agent["type"]["coding"][0]);
        system == PARTICIPATION && profile.users.contains(&code)
    };
    holds("user 0..1", one(&event["agent"], &is_user))?;
    let user = items(&event["agent"]).iter().find(|agent| is_user(agent)).ok_or("a user")?;
    holds("user.requestor", user["requestor"] == true && user["who"].is_object())?;
    holds("no network of a user", user.get("network").is_none() && user.get("media").is_none())?;
    holds("source", event["source"]["observer"].is_object())?;
    let entity = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
    let is_patient = |item: &Value| coded(&item["type"]) == (entity, "1");
    let is_data = |item: &Value| coded(&item["type"]) == (entity, "2");
    holds("patient 1..1", one(&event["entity"], &is_patient))?;
    holds("data 1..1", one(&event["entity"], &is_data))?;
    let role = "http://terminology.hl7.org/CodeSystem/object-role";
    let patient = items(&event["entity"]).iter().find(|item| is_patient(item)).ok_or("a patient")?;
    holds("patient.what", patient["what"]["type"] == "Patient" && coded(&patient["role"]) == (role, "1"))?;
    let data = items(&event["entity"]).iter().find(|item| is_data(item)).ok_or("data")?;
    let data_role = coded(&data["role"]);
    holds("data.role", data_role.0 == role && ["3", "4", "20"].contains(&data_role.1))?;
    holds("data.what", data["what"].is_object())
}

#[test]
fn each_interaction_conforms_to_its_profile() -> Result<(), Anything> {
    let objects = [
        AuditedObject::Record(RecordSlot::new(5)?),
        AuditedObject::Grant(GrantSlot::new(64)?),
        AuditedObject::AllGrants,
    ];
    for profile in &PROFILES {
        for object in objects {
            for reason in Reason::ALL {
                let purpose = Some(Purpose { reason: *reason, class: Class::Laboratory });
                let operation = AuditedOperation { purpose, ..operation(1, profile.interaction, object)? };
                let (found, _) = events(&[operation])?;
                conforms(&found[0], profile)?;
                // The rules can fail: no other profile accepts it.
                for other in PROFILES.iter().filter(|other| other.action != profile.action) {
                    assert!(conforms(&found[0], other).is_err());
                }
            }
        }
    }
    Ok(())
}

#[test]
fn events_say_who_why_and_where_in_the_chain() -> Result<(), Anything> {
    let grant = AuditedObject::Grant(GrantSlot::new(64)?);
    let purpose = Some(Purpose { reason: Reason::Emergency, class: Class::Imaging });
    let read = AuditedOperation { purpose, kind: "request-access", ..operation(1, Interaction::Read, grant)? };
    let emergency =
        AuditedOperation { emergency: true, kind: "break-glass", ..operation(2, Interaction::Create, grant)? };
    let own = operation(3, Interaction::Create, AuditedObject::Record(RecordSlot::new(5)?))?;
    let own = AuditedOperation { signer: AccountIndex::new(3)?, ..own };
    let (found, bundle) = events(&[read, emergency, own])?;

    let contract = "eip155:31337:0x0707070707070707070707070707070707070707";
    let (read, emergency, own) = (&found[0], &found[1], &found[2]);
    let reason = &read["purposeOfEvent"][0]["coding"][0];
    assert_eq!(coded(reason), ("http://terminology.hl7.org/CodeSystem/v3-ActReason", "ETREAT"));
    assert_eq!(read["recorded"], "2023-11-14T22:13:20Z");
    assert_eq!(read["agent"][2]["who"]["identifier"]["value"], format!("{contract}/2"));
    assert_eq!(read["source"]["observer"]["identifier"]["value"], contract);
    // What was opened is a class, and the grant is named beside it. Which records were read is not claimed.
    assert_eq!(read["entity"][1]["what"]["identifier"]["value"], "imaging");
    assert_eq!(read["entity"][2]["what"]["identifier"]["value"], format!("{contract}/3/64"));
    let trace = items(&read["entity"]).last().ok_or("an entity")?;
    assert_eq!(trace["what"]["identifier"]["value"], format!("{contract}/3/1"));
    assert_eq!(trace["detail"][0]["valueString"], format!("0x{}", "01".repeat(32)));
    assert_eq!(trace["detail"][1]["valueString"], format!("0x{}", "02".repeat(32)));
    assert_eq!(emergency["subtype"][2]["code"], "110127");
    assert!(emergency.get("purposeOfEvent").is_none());
    let owner = format!("{contract}/3/0x{}", "09".repeat(20));
    assert_eq!(own["agent"][2]["who"]["identifier"]["value"], owner);
    assert_eq!(own["entity"][1]["what"]["identifier"]["value"], format!("{contract}/3/5"));

    assert_eq!(bundle["identifier"]["value"], format!("{contract}/3/0x{}", "03".repeat(32)));
    let tags: Vec<_> = items(&bundle["meta"]["tag"]).iter().map(coded).collect();
    let root = format!("0x{}", "00".repeat(32));
    let expected = [
        ("urn:emr:settled-batches", "12"),
        ("urn:emr:state-root", root.as_str()),
        ("urn:emr:l1-block", "40"),
        ("urn:emr:audit-entries", "3"),
    ];
    assert_eq!(tags, expected);
    // An empty chain is a Bundle without entries.
    assert!(events(&[])?.1.get("entry").is_none());
    Ok(())
}
