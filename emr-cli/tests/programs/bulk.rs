//! A hospital's folder of FHIR Bulk Data goes in and comes out, with kills in between, and the patient's Consent and audit chain are FHIR.

use std::{collections::BTreeMap, fs, path::Path, process::Stdio, time::Duration};

use emr_core::fhir::{resources, validate};
use serde_json::{Value, json};

use crate::world::*;

/// The sorted lines of each file `*.ndjson` of a folder.
fn lines(folder: &Path) -> TestResult<BTreeMap<String, Vec<String>>> {
    let mut files = BTreeMap::new();
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "ndjson") {
            let mut lines: Vec<String> = fs::read_to_string(&path)?.lines().map(str::to_owned).collect();
            lines.sort();
            files.insert(path.file_name().unwrap_or_default().to_string_lossy().into_owned(), lines);
        }
    }
    Ok(files)
}

/// Writes the resources of the example as Bulk Data. Returns the number of lines.
fn bulk(folder: &Path) -> TestResult<usize> {
    fs::create_dir(folder)?;
    let bundle = fs::read(BUNDLE)?;
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    let found = resources(&bundle)?;
    for resource in &found {
        let file = files.entry(resource.resource_type).or_default();
        file.push_str(&resource.line());
        file.push('\n');
    }
    for (name, text) in &files {
        fs::write(folder.join(format!("{name}.ndjson")), text)?;
    }
    Ok(found.len())
}

/// A Consent of the patient, account 3, for the doctor, account 2.
fn consent(world: &World) -> TestResult<Value> {
    let card = |file: &str| -> TestResult<Value> { Ok(serde_json::from_slice(&fs::read(world.at(file))?)?) };
    let contract = world.contract()?.to_lowercase();
    let name = |card: &Value, index: u64| -> TestResult<String> {
        let owner = card["ethereum"].as_str().ok_or("an address")?.to_lowercase();
        Ok(format!("eip155:31337:{contract}/{index}/{owner}"))
    };
    let party = |value: String| json!({ "identifier": { "system": "urn:emr:account", "value": value } });
    let coding = |system: &str, code: &str| json!({ "coding": [{ "system": system, "code": code }] });
    Ok(json!({
        "resourceType": "Consent",
        "status": "active",
        "scope": coding("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy"),
        "category": [coding("http://loinc.org", "59284-0")],
        "patient": party(name(&card("patient.json")?, 3)?),
        "policyRule": coding("http://terminology.hl7.org/CodeSystem/v3-ActCode", "OPTIN"),
        "provision": {
            "type": "permit",
            "period": { "end": "2100-01-31" },
            "actor": [{
                "role": coding("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP"),
                "reference": party(name(&card("doctor.json")?, 2)?)
            }],
            "action": [
                coding("http://terminology.hl7.org/CodeSystem/consentaction", "access"),
                coding("http://terminology.hl7.org/CodeSystem/consentaction", "correct")
            ],
            "class": [{ "system": "urn:emr:class", "code": "summary" }]
        }
    }))
}

/// The patient grants with a Consent. What a grant cannot say, and another reader's card, are refused.
fn grant_by_consent(world: &World) -> TestResult {
    let good = consent(world)?;
    fs::write(world.at("consent.json"), good.to_string())?;
    let mut limited = good;
    limited["provision"]["purpose"] =
        json!([{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT" }]);
    fs::write(world.at("limited.json"), limited.to_string())?;
    let refused = world.patient(&["grant", "doctor.json", "--consent", "limited.json"])?.failed(3)?;
    assert!(refused.contains("Consent.provision.purpose"), "{refused}");
    let other = world.patient(&["grant", "hospital.json", "--consent", "consent.json"])?.failed(3)?;
    assert!(other.contains("give the card of the reader whom the Consent names"), "{other}");
    let granted = world.patient(&["grant", "doctor.json", "--consent", "consent.json"])?.done()?;
    assert!(granted.contains("account 2 may read and write summary until 2100-01-31T23:59:59Z"), "{granted}");
    Ok(())
}

/// The records of an import's answer: name and state.
fn states(answer: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let records = answer["records"].as_array().map_or(&[][..], Vec::as_slice);
    records.iter().map(|record| (text(&record["record"]), text(&record["state"]))).collect()
}

#[test]
fn bulk_data_goes_in_and_comes_out() -> TestResult {
    let world = World::new()?;
    let running = world.dev("hospital", "2")?;
    world.keep_card("emr-hospital", "hospital", "hospital.json")?;
    world.enrol_doctor("doctor", true)?;
    world.patient(&["init", "--rsa-bits", "2048"])?.done()?;
    let invitation = world.hospital(&["invite"])?.done()?;
    world.joining("emr-patient", "patient", &["register", "--wait", "--invite", invitation.trim()])?.done()?;
    world.keep_card("emr-patient", "patient", "patient.json")?;
    grant_by_consent(&world)?;

    let count = bulk(&world.at("bulk"))?;
    let import = ["--json", "import", "--ndjson", "bulk", "--patient", "patient.json", "--class", "summary"];
    // Killed at several points. What was written is not written again.
    for round in 1..=6 {
        let mut command = world.prepare(None, "emr-doctor", "doctor", &import)?;
        let child = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        std::thread::sleep(Duration::from_millis(400 * round));
        child.kill()?;
    }
    let first: Value = serde_json::from_str(&world.doctor(&[&import[..], &["--wait"]].concat())?.done()?)?;
    assert_eq!((&first["taken"], &first["refused_lines"]), (&count.into(), &0.into()), "{first}");
    let again: Value = serde_json::from_str(&world.doctor(&import)?.done()?)?;
    let names = |answer: &Value| states(answer).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(&again), names(&first), "{again}");
    assert!(states(&again).iter().all(|(_, state)| state == "settled"), "{again}");
    let list: Value = serde_json::from_str(&world.patient(&["--json", "records"])?.done()?)?;
    assert_eq!(list["records"].as_array().map(Vec::len), Some(names(&first).len()), "{list}");

    let exported: Value = serde_json::from_str(&world.patient(&["--json", "export", "--ndjson", "out"])?.done()?)?;
    assert_eq!(exported["refused"], json!([]), "{exported}");
    assert_eq!(lines(&world.at("out"))?, lines(&world.at("bulk"))?);
    let manifest: Value = serde_json::from_slice(&fs::read(world.at("out/export.json"))?)?;
    let counted: u64 =
        manifest["output"].as_array().ok_or("output")?.iter().filter_map(|file| file["count"].as_u64()).sum();
    assert_eq!((counted, &manifest["requiresAccessToken"]), (count as u64, &false.into()), "{manifest}");
    assert!(manifest["transactionTime"].as_str().is_some_and(|time| time.ends_with('Z')), "{manifest}");
    let refused = world.patient(&["export", "--ndjson", "out"])?.failed(3)?;
    assert!(refused.contains("--overwrite"), "{refused}");
    world.patient(&["export", "--ndjson", "out", "--overwrite"])?.done()?;
    assert_eq!(lines(&world.at("out"))?, lines(&world.at("bulk"))?);

    // Refused lines are named, and the others are written.
    fs::create_dir(world.at("mixed"))?;
    let id = first["fhir_patient"].as_str().ok_or("an id")?;
    let other = json!({ "resourceType": "Observation", "subject": { "reference": "Patient/other" } });
    let own =
        json!({ "resourceType": "Observation", "id": "mine", "subject": { "reference": format!("Patient/{id}") } });
    fs::write(world.at("mixed/Observation.ndjson"), format!("{other}\n{{\n{own}"))?;
    let unnamed =
        world.doctor(&["import", "--ndjson", "mixed", "--patient", "patient.json", "--class", "summary"])?.failed(3)?;
    assert!(unnamed.contains("--fhir-patient"), "{unnamed}");
    let named = ["--fhir-patient", id];
    let mixed =
        [&["import", "--ndjson", "mixed", "--patient", "patient.json", "--class", "summary"][..], &named].concat();
    let said = world.doctor(&mixed)?;
    assert_eq!(said.exit, Some(3), "{said:?}");
    assert!(said.stdout.contains("refused Observation.ndjson:1: Observation.subject is Patient/other"), "{said:?}");
    assert!(said.stdout.contains("refused Observation.ndjson:2: not JSON at line 2"), "{said:?}");
    assert!(said.stdout.contains("lines taken: 1, in records: 1; refused: 2"), "{said:?}");

    fhir_of_the_patient(&world)?;
    each_line_in_its_class(&world, id)?;
    running.kill()
}

/// `--class auto` puts each line into its class: a mental illness does not come to readers of laboratory values.
fn each_line_in_its_class(world: &World, id: &str) -> TestResult {
    fs::create_dir(world.at("auto"))?;
    let subject = json!({ "reference": format!("Patient/{id}") });
    let coded = |system: &str, code: &str| json!({ "coding": [{ "system": system, "code": code }] });
    let depression = json!({ "resourceType": "Condition", "id": "c1", "subject": subject,
        "code": coded("http://hl7.org/fhir/sid/icd-10", "F32.1") });
    let broken_arm = json!({ "resourceType": "Condition", "id": "c2", "subject": subject,
        "code": coded("http://hl7.org/fhir/sid/icd-10", "S52.5") });
    let potassium = json!({ "resourceType": "Observation", "id": "o1", "status": "final", "subject": subject,
        "category": [coded("http://terminology.hl7.org/CodeSystem/observation-category", "laboratory")],
        "code": coded("http://loinc.org", "2823-3") });
    fs::write(world.at("auto/Condition.ndjson"), format!("{depression}\n{broken_arm}\n"))?;
    fs::write(world.at("auto/Observation.ndjson"), format!("{potassium}\n"))?;
    let import =
        ["--json", "import", "--ndjson", "auto", "--patient", "patient.json", "--class", "auto", "--fhir-patient", id];
    // The doctor may write summaries only: nothing of another class is written for them.
    let refused = world.doctor(&import)?;
    assert_eq!((refused.exit, refused.stdout.as_str()), (Some(4), ""), "{refused:?}");
    assert!(refused.stderr.contains("mental-health: Condition in Condition.ndjson:1, because of"), "{refused:?}");
    assert!(refused.stderr.contains("no grant allows you to write laboratory records"), "{refused:?}");
    let none: Value = serde_json::from_str(&world.patient(&["--json", "records"])?.done()?)?;
    let classes = |list: &Value| list["records"].to_string().matches("mental-health").count();
    assert_eq!(classes(&none), 0, "{none}");
    let terms = ["--class", "condition,laboratory,mental-health", "--rights", "read,write", "--until", "2100-01-31"];
    world.patient(&[&["grant", "doctor.json"][..], &terms].concat())?.done()?;
    let imported: Value = serde_json::from_str(&world.doctor(&import)?.done()?)?;
    assert_eq!((&imported["taken"], &imported["refused_lines"]), (&3.into(), &0.into()), "{imported}");
    let mut found = BTreeMap::new();
    for record in imported["records"].as_array().ok_or("records")? {
        let document = world.patient(&["get", record["record"].as_str().ok_or("a record")?])?.done()?;
        let class = record["class"].as_str().ok_or("a class")?.to_owned();
        for resource in resources(document.as_bytes())? {
            let resource: Value = serde_json::from_str(resource.json)?;
            found.insert(resource["id"].as_str().ok_or("an id")?.to_owned(), class.clone());
        }
    }
    let class = |id: &str| found.get(id).map(String::as_str);
    assert_eq!(
        (class("c1"), class("c2"), class("o1"), found.len()),
        (Some("mental-health"), Some("condition"), Some("laboratory"), 3)
    );
    // The same folder again writes nothing.
    let again: Value = serde_json::from_str(&world.doctor(&import)?.done()?)?;
    let names = |answer: &Value| states(answer).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(&again), names(&imported));
    Ok(())
}

/// The patient's grants and audit chain in FHIR are R4, and the printed Consent can be granted again.
fn fhir_of_the_patient(world: &World) -> TestResult {
    let grants = world.patient(&["grants", "--fhir"])?.done()?;
    assert_eq!(validate(grants.as_bytes())?.total, 0, "{grants}");
    let [consent] = &resources(grants.as_bytes())?[..] else { return Err(format!("one Consent: {grants}").into()) };
    fs::write(world.at("again.json"), consent.json)?;
    let again = world.patient(&["grant", "doctor.json", "--consent", "again.json"])?.done()?;
    assert!(again.contains("slot 64: account 2 may read and write summary until 2100-01-31T23:59:59Z"), "{again}");
    let audit = world.patient(&["audit", "--fhir"])?.done()?;
    assert_eq!(validate(audit.as_bytes())?.total, 0, "{audit}");
    let plain: Value = serde_json::from_str(&world.patient(&["--json", "audit"])?.done()?)?;
    let events = resources(audit.as_bytes())?;
    assert!(events.iter().all(|event| event.resource_type == "AuditEvent"));
    assert!(plain["entries"].as_array().is_some_and(|entries| entries.len() >= events.len() && !events.is_empty()));
    Ok(())
}
