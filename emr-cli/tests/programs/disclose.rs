//! A patient shows fields of a record, and somebody without an identity checks them: with the programs and a real proof.

use std::fs;

use serde_json::Value;

use crate::{classed::a_mixed_document, world::*};

#[test]
fn fields_are_shown_to_somebody_without_an_account() -> TestResult {
    let world = World::new()?;
    let running = world.dev("hospital", "1")?;
    world.keep_card("emr-hospital", "hospital", "hospital.json")?;
    world.enrol_doctor("doctor", true)?;
    world.patient(&["init", "--rsa-bits", "2048"])?.done()?;
    let invitation = world.hospital(&["invite"])?.done()?;
    world.joining("emr-patient", "patient", &["register", "--invite", invitation.trim()])?.done()?;
    world.keep_card("emr-patient", "patient", "patient.json")?;
    let terms =
        ["--class", "summary,laboratory,mental-health", "--rights", "read,write", "--until", "2100-01-31", "--wait"];
    world.patient(&[&["grant", "doctor.json"][..], &terms].concat())?.done()?;
    let upload = ["upload", BUNDLE, "--patient", "patient.json", "--class", "laboratory", "--wait"];
    let uploaded = world.doctor(&upload)?.done()?;
    assert!(uploaded.starts_with("record 3/0 version 1 (laboratory)"), "{uploaded}");

    let value = "Bundle.entry.0.resource.resourceType";
    let unlike =
        world.patient(&["disclose", "3/0", "--keys", "Bundle.entry.0.resource.resourcetype", "--list"])?.failed(3)?;
    assert!(unlike.contains("the nearest are: ") && unlike.contains(value), "{unlike}");
    world.patient(&["disclose", "4/0", "--keys", "**", "--list"])?.failed(4)?;
    let listed = world.patient(&["--json", "disclose", "3/0", "--keys", "*.resourceType", "--list"])?.done()?;
    let listed: Value = serde_json::from_str(&listed)?;
    assert!(listed["fields"].as_array().is_some_and(|fields| fields.len() > 1), "{listed}");
    assert_eq!(listed.get("file"), None);
    let disclosed = world.patient(&["disclose", "3/0", "--keys", value, "-o", "shown"])?.done()?;
    assert!(disclosed.starts_with("disclosed in shown (") && disclosed.contains(value), "{disclosed}");

    // Somebody who has nothing but the file.
    let check = |arguments: &[&str]| world.run_in(None, "emr-doctor", "nobody", &[&["check"][..], arguments].concat());
    let alone = check(&["shown"])?;
    assert_eq!(alone.exit, Some(9), "{alone:?}");
    for part in [
        value,
        "account 2: doctor, of hospital account 1",
        "record 3/0, version 1",
        "DEVELOPMENT CHAIN",
        "NOT CONFIRMED",
    ] {
        assert!(alone.stdout.contains(part), "{part}: {alone:?}");
    }
    assert!(alone.stderr.starts_with("error: the file holds, but its block was not compared"), "{alone:?}");
    assert!(!world.at("nobody").exists(), "a check writes nothing");
    let rpc = format!("http://127.0.0.1:{}", world.rpc);
    let contract = world.contract()?;
    let confirmed =
        check(&["shown", "--rpc", &rpc, "--card", "doctor.json", "--contract", &contract, "--json"])?.done()?;
    let confirmed: Value = serde_json::from_str(&confirmed)?;
    assert_eq!((&confirmed["confirmed"], &confirmed["card"]), (&"without-finality".into(), &"author".into()));
    assert_eq!(confirmed["fields"].as_object().map(|fields| fields.len()), Some(1), "{confirmed}");

    // Another person's card, another contract, other bytes, another file.
    let other = check(&["shown", "--card", "hospital.json"])?.failed(6)?;
    assert!(other.contains("neither the author nor the patient"), "{other}");
    let elsewhere = "0x0000000000000000000000000000000000000001";
    check(&["shown", "--contract", elsewhere])?.failed(6)?;
    let mut bytes = fs::read(world.at("shown"))?;
    let last = bytes.len() - 40;
    bytes[last] ^= 1;
    fs::write(world.at("altered"), &bytes)?;
    let altered = check(&["altered"])?;
    assert!(matches!(altered.exit, Some(3 | 6)) && altered.stdout.is_empty(), "{altered:?}");
    check(&["doctor.json"])?.failed(3)?;
    check(&["missing"])?.failed(3)?;
    a_mixed_document(&world)?;
    running.kill()
}
