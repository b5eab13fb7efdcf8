//! Consents as grants and grants as Consents.

use emr_core::fhir::consent::{ConsentError, ConsentTerms, Context, GrantConsent, NotExpressible, bundle, read};
use emr_core::fhir::line_resource::PatientId;
use emr_core::fhir::{Account, Deployment, resources, validate};
use emr_core::{AccountIndex, Class, ClassMask, GrantSlot, OutOfRange, Rights, Role, UnixTime, Version};
use proptest::prelude::*;
use serde_json::{Value, json};

type Anything = Box<dyn std::error::Error>;

const NOW: u64 = 1_700_000_000;

fn account(index: u64) -> Result<Account, OutOfRange> {
    let deployment = Deployment { chain_id: 31337, contract: [7; 20] };
    Ok(Account { deployment, index: AccountIndex::new(index)?, owner: [index as u8; 20] })
}

fn grant() -> Result<GrantConsent, OutOfRange> {
    Ok(GrantConsent {
        patient: account(3)?,
        reader: account(2)?,
        reader_role: Role::Doctor,
        slot: GrantSlot::new(64)?,
        version: Version::new(1)?,
        rights: Rights::READ | Rights::WRITE,
        classes: [Class::Laboratory, Class::Imaging].into_iter().collect(),
        until: UnixTime::new(1_801_439_999)?,
        as_of: UnixTime::new(NOW)?,
    })
}

fn written() -> Result<Value, Anything> {
    Ok(serde_json::from_str(&grant()?.to_json()?)?)
}

fn terms(consent: &Value) -> Result<ConsentTerms, Anything> {
    let fhir_patient: PatientId = "p-1".parse()?;
    let context = Context { patient: &account(3)?, fhir_patient: Some(&fhir_patient), now: UnixTime::new(NOW)? };
    Ok(read(consent.to_string().as_bytes(), &context)?)
}

/// The paths of what is refused.
fn refused(consent: &Value) -> Result<Vec<String>, Anything> {
    match terms(consent) {
        Ok(terms) => Err(format!("accepted: {terms:?}").into()),
        Err(error) => match error.downcast::<ConsentError>().map(|error| *error) {
            Ok(ConsentError::Refused(refusals)) => Ok(refusals.into_iter().map(|refusal| refusal.path).collect()),
            other => Err(format!("{other:?}").into()),
        },
    }
}

/// A Consent as a hospital writes it, with everything that is left out or understood.
fn of_a_hospital() -> Value {
    json!({
        "resourceType": "Consent",
        "id": "c1",
        "meta": { "versionId": "4", "lastUpdated": "2023-01-01T00:00:00Z", "profile": ["http://hospital.example/Consent"] },
        "language": "en",
        "text": { "status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">Dr. Lee may see it</div>" },
        "identifier": [{ "system": "urn:hospital", "value": "77" }],
        "status": "active",
        "scope": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy", "display": "Privacy Consent" }], "text": "Privacy" },
        "category": [{ "coding": [{ "system": "http://loinc.org", "code": "59284-0" }] }],
        "patient": { "reference": "Patient/p-1", "display": "Ana" },
        "dateTime": "2023-01-01",
        "performer": [{ "reference": "Patient/p-1" }],
        "policyRule": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN" }] },
        "provision": {
            "type": "permit",
            "period": { "start": "2023-01-01", "end": "2027-01-31" },
            "actor": [{
                "role": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "PRCP" }] },
                "reference": { "type": "Practitioner", "display": "Dr. Lee", "identifier": {
                    "system": "urn:emr:account",
                    "value": "eip155:31337:0x0707070707070707070707070707070707070707/2/0x0202020202020202020202020202020202020202"
                } }
            }],
            "action": [
                { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": "access" }] },
                { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": "use", "display": "Use" }], "text": "use" }
            ],
            "class": [
                { "system": "urn:emr:class", "code": "laboratory" },
                { "system": "http://hl7.org/fhir/resource-types", "code": "AllergyIntolerance" }
            ]
        }
    })
}

#[test]
fn a_consent_becomes_the_terms_of_a_grant() -> Result<(), Anything> {
    let consent = of_a_hospital();
    assert_eq!(validate(consent.to_string().as_bytes())?.total, 0);
    let understood = terms(&consent)?;
    assert_eq!((understood.reader, understood.rights), (account(2)?, Rights::READ));
    assert_eq!(understood.classes, [Class::Laboratory, Class::Allergy].into_iter().collect());
    assert_eq!(understood.until.get(), 1_801_439_999, "the last second of the day in UTC");
    assert_eq!(understood.wider, ["AllergyIntolerance is granted as the class allergy, with everything that is in it"]);
    let mut other = consent;
    other["provision"]["period"]["end"] = "2027-01-31T23:59:59+01:00".into();
    other["provision"]["action"] = json!([{ "coding": [
        { "system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": "correct" },
        { "system": "urn:emr:action", "code": "write" }
    ] }]);
    other["provision"]["code"] = json!([{ "coding": [{ "system": "urn:emr:class", "code": "imaging" }] }]);
    if let Some(provision) = other["provision"].as_object_mut() {
        provision.remove("class");
    }
    let understood = terms(&other)?;
    assert_eq!((understood.rights, understood.until.get()), (Rights::WRITE, 1_801_436_399));
    assert_eq!((understood.classes, understood.wider.len()), (Class::Imaging.into(), 0));
    Ok(())
}

/// Each change makes the Consent say something that a grant cannot say. The element is named.
#[test]
fn what_a_grant_cannot_say_is_refused_by_name() -> Result<(), Anything> {
    let coding = |system: &str, code: &str| json!({ "coding": [{ "system": system, "code": code }] });
    let act = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
    let actor = of_a_hospital()["provision"]["actor"][0].clone();
    let extension = json!([{ "url": "urn:x", "valueString": "only on Mondays" }]);
    let cases = [
        ("/status", json!("draft"), "Consent.status"),
        ("/status", json!("inactive"), "Consent.status"),
        ("/scope", coding("http://terminology.hl7.org/CodeSystem/consentscope", "research"), "Consent.scope.coding[0]"),
        ("/scope", json!({ "text": "patient-privacy" }), "Consent.scope"),
        (
            "/category",
            json!([coding("http://terminology.hl7.org/CodeSystem/consentcategorycodes", "emrgonly")]),
            "Consent.category[0].coding[0]",
        ),
        ("/patient", json!({ "reference": "Patient/p-2" }), "Consent.patient"),
        ("/patient", json!({ "display": "Ana" }), "Consent.patient"),
        (
            "/patient",
            json!({ "reference": "Patient/p-1", "identifier": { "system": "urn:emr:account", "value": "7" } }),
            "Consent.patient",
        ),
        ("/performer", json!([{ "reference": "RelatedPerson/1" }]), "Consent.performer[0]"),
        ("/organization", json!([{ "reference": "Organization/1" }]), "Consent.organization"),
        ("/sourceReference", json!({ "reference": "DocumentReference/1" }), "Consent.sourceReference"),
        ("/policy", json!([{ "uri": "urn:x" }]), "Consent.policy"),
        ("/policyRule", coding(act, "OPTOUT"), "Consent.policyRule.coding[0]"),
        ("/verification", json!([{ "verified": true }]), "Consent.verification"),
        ("/extension", extension.clone(), "Consent.extension"),
        ("/modifierExtension", extension.clone(), "Consent.modifierExtension"),
        ("/implicitRules", json!("urn:x"), "Consent.implicitRules"),
        ("/contained", json!([{ "resourceType": "Basic", "code": { "text": "x" } }]), "Consent.contained"),
        ("/meta/security", json!([{ "system": "urn:x", "code": "R" }]), "Consent.meta"),
        ("/_status", json!({ "extension": extension.clone() }), "Consent._status"),
        ("/provision/type", json!("deny"), "Consent.provision.type"),
        ("/provision/period/start", json!("2023-11-15"), "Consent.provision.period.start"),
        ("/provision/period/start", json!("2023-11"), "Consent.provision.period.start"),
        ("/provision/period/end", json!("2023-11-13"), "Consent.provision.period.end"),
        ("/provision/period/end", json!("2027"), "Consent.provision.period.end"),
        ("/provision/period/_end", json!({ "extension": extension.clone() }), "Consent.provision.period._end"),
        ("/provision/actor", json!([actor, actor]), "Consent.provision.actor"),
        (
            "/provision/actor/0/role",
            coding("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "CST"),
            "Consent.provision.actor[0].role.coding[0]",
        ),
        (
            "/provision/actor/0/reference/reference",
            json!("Practitioner/9"),
            "Consent.provision.actor[0].reference.reference",
        ),
        (
            "/provision/actor/0/reference/identifier/value",
            json!("2"),
            "Consent.provision.actor[0].reference.identifier",
        ),
        (
            "/provision/actor/0/reference/identifier/system",
            json!("urn:npi"),
            "Consent.provision.actor[0].reference.identifier",
        ),
        (
            "/provision/action",
            json!([coding("http://terminology.hl7.org/CodeSystem/consentaction", "disclose")]),
            "Consent.provision.action[0]",
        ),
        (
            "/provision/action/0/coding/1",
            json!({ "system": "urn:emr:action", "code": "write" }),
            "Consent.provision.action[0]",
        ),
        ("/provision/securityLabel", json!([{ "system": "urn:x", "code": "R" }]), "Consent.provision.securityLabel"),
        (
            "/provision/purpose",
            json!([{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT" }]),
            "Consent.provision.purpose",
        ),
        (
            "/provision/class/1",
            json!({ "system": "http://hl7.org/fhir/resource-types", "code": "Observation" }),
            "Consent.provision.class[1]",
        ),
        (
            "/provision/class/1",
            json!({ "system": "urn:emr:class", "code": "everything" }),
            "Consent.provision.class[1]",
        ),
        (
            "/provision/class/1",
            json!({ "system": "urn:emr:class", "code": "imaging", "version": "2" }),
            "Consent.provision.class[1].version",
        ),
        ("/provision/code", json!([coding("http://loinc.org", "2345-7")]), "Consent.provision.code"),
        ("/provision/code", json!([{ "text": "glucose" }]), "Consent.provision.code"),
        ("/provision/dataPeriod", json!({ "start": "2023-01-01" }), "Consent.provision.dataPeriod"),
        (
            "/provision/data",
            json!([{ "meaning": "instance", "reference": { "reference": "Observation/1" } }]),
            "Consent.provision.data",
        ),
        (
            "/provision/provision",
            json!([{ "type": "deny", "class": [{ "system": "urn:emr:class", "code": "laboratory" }] }]),
            "Consent.provision.provision",
        ),
        ("/provision/extension", extension.clone(), "Consent.provision.extension"),
        ("/provision/modifierExtension", extension, "Consent.provision.modifierExtension"),
    ];
    for (at, value, path) in cases {
        let mut consent = of_a_hospital();
        set(&mut consent, at, value)?;
        let paths = refused(&consent).map_err(|error| format!("{at}: {error}"))?;
        assert_eq!(paths, [path], "{at}");
    }
    for (at, path) in [
        ("/patient", "Consent.patient"),
        ("/provision/type", "Consent.provision.type"),
        ("/provision/period/end", "Consent.provision.period.end"),
        ("/provision/actor", "Consent.provision.actor"),
        ("/provision/action", "Consent.provision.action"),
        ("/provision/class", "Consent.provision.class"),
    ] {
        let mut consent = of_a_hospital();
        let (parent, name) = at.rsplit_once('/').ok_or("a path")?;
        let parent = consent.pointer_mut(parent).and_then(Value::as_object_mut).ok_or("a parent")?;
        parent.remove(name);
        assert_eq!(refused(&consent)?, [path], "without {at}");
    }
    // Everything that is wrong is named, and the message is one short line.
    let mut consent = of_a_hospital();
    set(&mut consent, "/status", json!("draft"))?;
    set(&mut consent, "/provision/purpose", json!([{ "system": "urn:x", "code": "TREAT" }]))?;
    assert_eq!(refused(&consent)?, ["Consent.provision.purpose", "Consent.status"]);
    let message = terms(&consent).map_err(|error| error.to_string());
    assert!(message.is_err_and(|error| error.contains("Consent.provision.purpose: ") && !error.contains('\n')));
    Ok(())
}

/// Sets the value at a JSON pointer, and makes the last member if it is missing.
fn set(json: &mut Value, at: &str, value: Value) -> Result<(), Anything> {
    let (parent, name) = at.rsplit_once('/').ok_or("a path")?;
    match json.pointer_mut(parent).ok_or_else(|| format!("no {parent}"))? {
        Value::Object(members) => drop(members.insert(name.to_owned(), value)),
        Value::Array(items) => match items.get_mut(name.parse::<usize>()?) {
            Some(item) => *item = value,
            None => items.push(value),
        },
        _ => return Err(format!("{parent} has no members").into()),
    }
    Ok(())
}

#[test]
fn other_documents_are_no_consents() -> Result<(), Anything> {
    let error = |consent: &Value| terms(consent).map_err(|error| error.downcast::<ConsentError>());
    let patient = error(&json!({ "resourceType": "Patient", "active": true }));
    assert!(matches!(patient, Err(Ok(error)) if *error == ConsentError::OtherType("Patient".into())));
    let mut wrong = of_a_hospital();
    set(&mut wrong, "/colour", json!("red"))?;
    assert!(matches!(error(&wrong), Err(Ok(error)) if matches!(*error, ConsentError::NotR4(_))));
    let context = Context { patient: &account(3)?, fhir_patient: None, now: UnixTime::new(NOW)? };
    let twice =
        of_a_hospital().to_string().replacen("\"status\":\"active\"", "\"status\":\"active\",\"status\":\"active\"", 1);
    assert!(matches!(read(twice.as_bytes(), &context), Err(ConsentError::Fhir(_))));
    // Without --fhir-patient, a server's id says nothing.
    let unnamed = read(of_a_hospital().to_string().as_bytes(), &context);
    assert!(
        matches!(unnamed, Err(ConsentError::Refused(refusals)) if refusals.iter().any(|refusal| refusal.path == "Consent.patient"))
    );
    Ok(())
}

#[test]
fn grants_that_no_consent_can_express_are_named() -> Result<(), Anything> {
    let plain = grant()?;
    let grants = [
        plain,
        GrantConsent { slot: GrantSlot::new(0)?, rights: Rights::EMERGENCY, ..plain },
        GrantConsent { slot: GrantSlot::new(65)?, rights: Rights::READ | Rights::MANAGE, ..plain },
        GrantConsent { slot: GrantSlot::new(66)?, until: UnixTime::new(UnixTime::MAX)?, ..plain },
        GrantConsent { slot: GrantSlot::new(67)?, classes: ClassMask::default(), ..plain },
        GrantConsent { slot: GrantSlot::new(68)?, reader_role: Role::Patient, ..plain },
    ];
    let (json, others) = bundle(&grants);
    assert_eq!(resources(json.as_bytes())?.iter().map(|one| one.resource_type).collect::<Vec<_>>(), ["Consent"]);
    assert_eq!(validate(json.as_bytes())?.total, 0);
    let reasons: Vec<_> = others.into_iter().map(|(slot, reason)| (slot.get(), reason)).collect();
    assert_eq!(
        reasons,
        [
            (0, NotExpressible::Rights(Rights::EMERGENCY)),
            (65, NotExpressible::Rights(Rights::READ | Rights::MANAGE)),
            (66, NotExpressible::Until),
            (67, NotExpressible::NoClass),
            (68, NotExpressible::Reader),
        ]
    );
    let (empty, _) = bundle(&[]);
    assert_eq!(validate(empty.as_bytes())?.total, 0);
    Ok(())
}

/// The message for another patient's Consent: what one patient's grant says cannot be granted by another.
#[test]
fn a_consent_of_somebody_else_is_refused() -> Result<(), Anything> {
    let consent = written()?;
    for (index, chain_id) in [(4, 31337), (3, 1)] {
        let mut other = account(index)?;
        other.deployment.chain_id = chain_id;
        let context = Context { patient: &other, fhir_patient: None, now: UnixTime::new(NOW)? };
        let result = read(consent.to_string().as_bytes(), &context);
        assert!(matches!(result, Err(ConsentError::Refused(_))), "{result:?}");
    }
    Ok(())
}

proptest! {
    /// grant -> Consent -> the same terms.
    #[test]
    fn a_grant_comes_back(
        rights in 1_u8..4, classes in 1_u16.., until in NOW + 1..=253_402_300_799, slot in 64_u64..1024, version in 1_u64..=u64::from(u32::MAX),
        reader in 1_u64..=0xff_ffff, hospital in any::<bool>(), owner in any::<[u8; 20]>(), chain_id in any::<u64>(),
    ) {
        let mut plain = grant()?;
        plain.patient.deployment.chain_id = chain_id;
        let rights = Rights::from_bits(rights).ok_or_else(|| TestCaseError::fail("rights"))?;
        let reader = Account { index: AccountIndex::new(reader)?, owner, ..plain.patient };
        let grant = GrantConsent {
            reader,
            reader_role: if hospital { Role::Hospital } else { Role::Doctor },
            slot: GrantSlot::new(slot)?,
            version: Version::new(version)?,
            rights,
            classes: ClassMask::from_bits(classes),
            until: UnixTime::new(until)?,
            ..plain
        };
        let json = grant.to_json()?;
        prop_assert_eq!(validate(json.as_bytes())?.total, 0);
        let context = Context { patient: &grant.patient, fhir_patient: None, now: UnixTime::new(NOW)? };
        let back = read(json.as_bytes(), &context)?;
        let expected = ConsentTerms { reader, rights, classes: grant.classes, until: grant.until, wider: Vec::new() };
        prop_assert_eq!(back, expected);
    }
}
