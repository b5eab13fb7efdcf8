//! Records leave the system as JWE files and come back: who can open them, and what is refused.

use std::{fs, process::Command};

use emr_core::fhir::resources;
use emr_crypto::{GeneralJweError, RsaBits, RsaPublic, RsaSecret, open_general, seal_general};
use serde_json::Value;

use crate::world::*;

const OBSERVATION: &str = "{\n  \"resourceType\": \"Observation\",\n  \"status\": \"final\",\n  \"code\": { \"text\": \"Potassium\" },\n  \
    \"subject\": { \"reference\": \"Patient/p-1\" }\n}\n";
const PATIENT: &str = "{\"resourceType\":\"Patient\",\"id\":\"p-1\"}";

/// Writes a PEM public key.
fn keep_key(world: &World, file: &str, key: &RsaPublic) -> TestResult {
    let spki = data_encoding::BASE64.encode(&key.to_der());
    // RFC 7468: lines of 64 characters, as OpenSSL writes them.
    let lines: Vec<&str> = spki.as_bytes().chunks(64).map(std::str::from_utf8).collect::<Result<_, _>>()?;
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"));
    Ok(fs::write(world.at(file), pem)?)
}

/// The error of a command that wrote nothing. Notices may come before it, such as of operations that wait for a batch.
fn refusal(said: Said, exit: i32) -> TestResult<String> {
    let last = said.stderr.trim_end().lines().last().unwrap_or_default().to_owned();
    if said.exit == Some(exit) && said.stdout.is_empty() && last.starts_with("error: ") {
        return Ok(last);
    }
    Err(format!("not exit code {exit} with an error: {said:?}").into())
}

/// The RSA key that a card shows.
fn key_of(world: &World, card: &str) -> TestResult<RsaPublic> {
    let card: Value = serde_json::from_slice(&fs::read(world.at(card))?)?;
    Ok(RsaPublic::from_der(&data_encoding::BASE64.decode(card["rsa"].as_str().ok_or("a key")?.as_bytes())?)?)
}

/// A hospital, a doctor and a patient with one settled record, 3/0, whose document is [`OBSERVATION`].
fn begin(world: &World) -> TestResult<Running> {
    let running = world.dev("hospital", "2")?;
    world.keep_card("emr-hospital", "hospital", "hospital.json")?;
    world.enrol_doctor("doctor", true)?;
    world.patient(&["init", "--rsa-bits", "2048"])?.done()?;
    let invitation = world.hospital(&["invite"])?.done()?;
    world.joining("emr-patient", "patient", &["register", "--wait", "--invite", invitation.trim()])?.done()?;
    world.keep_card("emr-patient", "patient", "patient.json")?;
    let classes = ["--class", "laboratory,summary", "--rights", "read,write", "--until", "2100-01-31"];
    world.patient(&[&["grant", "doctor.json"][..], &classes].concat())?.done()?;
    fs::write(world.at("observation.json"), OBSERVATION)?;
    world.patient(&["put", "observation.json", "--class", "laboratory", "--wait"])?.done()?;
    Ok(running)
}

#[test]
fn records_leave_as_jwe_and_come_back() -> TestResult {
    let world = World::new()?;
    let running = begin(&world)?;
    let outsider = RsaSecret::generate(RsaBits::MIN);
    keep_key(&world, "lab.pem", &outsider.public())?;

    // To a doctor and to somebody who has only a key. Not to the patient.
    let export = ["export", "--jwe", "3/0", "--to", "doctor.json", "--to", "lab.pem", "-o", "record.jwe"];
    let said = world.patient(&export)?;
    let fingerprint = hex::encode(outsider.public().fingerprint());
    assert!(said.stderr.contains(&fingerprint) && said.stderr.contains("nobody checked whose key"), "{said:?}");
    assert!(said.stderr.contains("RSA alone") && said.stderr.contains("quantum computer"), "{said:?}");
    assert!(said.stderr.contains("grants, revocations and the audit chain do not reach it"), "{said:?}");
    assert!(said.stdout.contains("can be opened by account 2, RSA-2048"), "{said:?}");
    assert!(said.stdout.contains(&format!("the key in lab.pem, RSA-2048, SHA-256 {fingerprint}")), "{said:?}");
    said.done()?;
    let jwe = fs::read(world.at("record.jwe"))?;
    let opened = open_general(&outsider, &jwe)?;
    assert_eq!(
        (opened.plaintext.as_slice(), opened.content_type.as_deref()),
        (OBSERVATION.as_bytes(), Some("application/fhir+json"))
    );
    assert_eq!(serde_json::from_slice::<Value>(&jwe)?["recipients"].as_array().map(Vec::len), Some(2));

    // The doctor imports it, once.
    let import = ["import", "--jwe", "record.jwe", "--patient", "patient.json", "--class", "laboratory"];
    let said = world.doctor(&[&import[..], &["--wait"]].concat())?;
    assert!(said.stderr.contains("nobody signed record.jwe"), "{said:?}");
    assert!(said.stdout.starts_with("record 3/1 (laboratory): Observation, resources: 1, written"), "{said:?}");
    said.done()?;
    let again: Value = serde_json::from_str(&world.doctor(&[&["--json"][..], &import].concat())?.done()?)?;
    assert_eq!((&again["record"], &again["state"]), (&"3/1".into(), &"settled".into()), "{again}");
    world.doctor(&["get", "3/1", "-o", "copy.json"])?.done()?;
    assert_eq!(fs::read_to_string(world.at("copy.json"))?, OBSERVATION, "byte for byte");

    doctors_export(&world, &outsider)?;
    refused_recipients(&world)?;
    refused_files(&world)?;
    lines_of_others(&world)?;
    running.kill()
}

/// A doctor exports, and without `--to` for the own key. OpenSSL reads the public key that it needs.
fn doctors_export(world: &World, outsider: &RsaSecret) -> TestResult {
    world.doctor(&["export", "3/1", "--jwe", "--to", "lab.pem", "-o", "doctors.jwe"])?.done()?;
    assert_eq!(
        open_general(outsider, &fs::read(world.at("doctors.jwe"))?)?.plaintext.as_slice(),
        OBSERVATION.as_bytes()
    );
    let own: Value =
        serde_json::from_str(&world.doctor(&["--json", "export", "--jwe", "3/0", "-o", "own.jwe"])?.done()?)?;
    let fingerprint = hex::encode(key_of(world, "doctor.json")?.fingerprint());
    assert_eq!(
        (&own["recipients"][0]["fingerprint"], &own["records"]),
        (&fingerprint.into(), &serde_json::json!(["3/0"]))
    );
    assert_eq!(open_general(outsider, &fs::read(world.at("own.jwe"))?), Err(GeneralJweError::Decryption));
    // All records of the patient, as lines. Two that are equal are both there.
    let said = world.patient(&["export", "--jwe", "--to", "lab.pem", "-o", "all.jwe"])?.done()?;
    assert!(said.contains("application/fhir+ndjson, records: 3/0, 3/1"), "{said}");
    let opened = open_general(outsider, &fs::read(world.at("all.jwe"))?)?;
    let lines: Vec<&str> = std::str::from_utf8(&opened.plaintext)?.lines().collect();
    assert_eq!(lines.len(), 2);
    let [observation] = &resources(lines[0].as_bytes())?[..] else { return Err("one resource a line".into()) };
    assert_eq!(observation.resource_type, "Observation");
    let spki = Command::new("openssl")
        .args(["rsa", "-pubin", "-in", "lab.pem", "-outform", "DER"])
        .current_dir(world.folder.path())
        .output()?;
    assert_eq!(spki.stdout, outsider.public().to_der(), "{spki:?}");
    Ok(())
}

/// Lines go the way of Bulk Data, whatever `cty` says: other patients stay out.
fn lines_of_others(world: &World) -> TestResult {
    let other = "{\"resourceType\":\"Observation\",\"subject\":{\"reference\":\"Patient/other\"}}";
    let own = "{\"resourceType\":\"Observation\",\"id\":\"x\",\"subject\":{\"reference\":\"Patient/p-1\"}}";
    let doctor = key_of(world, "doctor.json")?;
    for (content_type, file) in [("application/fhir+ndjson", "lines.jwe"), ("application/fhir+json", "relabelled.jwe")]
    {
        let content = format!("{PATIENT}\n{own}\n{other}\n");
        fs::write(world.at(file), seal_general(std::slice::from_ref(&doctor), content_type, content.as_bytes())?)?;
        let said = world.doctor(&["import", "--jwe", file, "--patient", "patient.json", "--class", "summary"])?;
        assert_eq!(said.exit, Some(3), "{said:?}");
        assert!(said.stdout.contains(&format!("refused {file}:3: Observation.subject is Patient/other")), "{said:?}");
        assert!(said.stdout.contains("Patient/p-1: lines taken: 2, in records: 2; refused: 1"), "{said:?}");
    }
    Ok(())
}

/// A recipient is a card that the state confirms, or a public key. Nothing is written otherwise.
fn refused_recipients(world: &World) -> TestResult {
    let to = |file: &str| world.patient(&["export", "--jwe", "3/0", "--to", file, "-o", "none.jwe"]);
    let patients = refusal(to("patient.json")?, 3)?;
    assert!(patients.contains("a patient's card shows no RSA key"), "{patients}");
    // A card with another key, as somebody who wants to read would make it.
    let mut card: Value = serde_json::from_slice(&fs::read(world.at("doctor.json"))?)?;
    let thief = RsaSecret::generate(RsaBits::MIN);
    card["rsa"] = data_encoding::BASE64.encode(&thief.public().to_der()).into();
    fs::write(world.at("forged.json"), card.to_string())?;
    let forged = to("forged.json")?;
    assert!(forged.exit != Some(0) && forged.stderr.contains("its encryption key differs"), "{forged:?}");
    let generated = Command::new("openssl")
        .args(["genrsa", "-out", "private.pem", "2048"])
        .current_dir(world.folder.path())
        .output()?;
    assert!(generated.status.success(), "{generated:?}");
    let private = refusal(to("private.pem")?, 3)?;
    assert!(private.contains("not a public RSA key") && private.contains("-pubout"), "{private}");
    refusal(to("observation.json")?, 3)?;
    refusal(to("missing.pem")?, 3)?;
    let strangers = refusal(world.patient(&["export", "--jwe", "2/0", "--to", "lab.pem", "-o", "none.jwe"])?, 4)?;
    assert!(strangers.contains("not yours"), "{strangers}");
    assert!(!world.at("none.jwe").exists());
    Ok(())
}

/// What is not for the doctor, was altered, or is not FHIR, is not imported.
fn refused_files(world: &World) -> TestResult {
    let import =
        |file: &str| world.doctor(&["import", "--jwe", file, "--patient", "patient.json", "--class", "summary"]);
    let doctor = key_of(world, "doctor.json")?;
    let seal = |file: &str, content_type: &str, content: &str| -> TestResult {
        Ok(fs::write(world.at(file), seal_general(std::slice::from_ref(&doctor), content_type, content.as_bytes())?)?)
    };
    let others = refusal(import("doctors.jwe")?, 3)?;
    assert!(others.contains("doctors.jwe: the JWE cannot be opened with this key"), "{others}");
    let mut jwe: Value = serde_json::from_slice(&fs::read(world.at("record.jwe"))?)?;
    let ciphertext = jwe["ciphertext"].as_str().ok_or("a ciphertext")?;
    jwe["ciphertext"] =
        if ciphertext.starts_with('A') { ciphertext.replacen('A', "B", 1) } else { format!("A{}", &ciphertext[1..]) }
            .into();
    fs::write(world.at("altered.jwe"), jwe.to_string())?;
    assert!(refusal(import("altered.jwe")?, 3)?.contains("cannot be opened with this key"));
    seal("dicom.jwe", "application/dicom", "DICM")?;
    let dicom = refusal(import("dicom.jwe")?, 3)?;
    assert!(dicom.contains("it holds application/dicom, not FHIR"), "{dicom}");
    seal("text.jwe", "application/fhir+json", "no FHIR")?;
    let text = import("text.jwe")?;
    assert!(text.exit == Some(3) && text.stderr.contains("text.jwe holds no FHIR"), "{text:?}");
    let compact = refusal(import("observation.json")?, 3)?;
    assert!(compact.contains("the JWE has no recipients"), "{compact}");
    Ok(())
}
