//! A patient gets a new rollup key. Then the hospital is gone: the patient revokes on L1, and a doctor settles it, both without the hospital.

use emr_testkit::part::{Anvil, Kubo};
use serde_json::Value;

use crate::{owner::guardians_give_the_account_to_a_new_identity, world::*};

const ETHER: &str = "0xde0b6b3a7640000";

#[test]
fn a_revocation_takes_effect_without_the_hospital() -> TestResult {
    let Some(anvil) = Anvil::start_or_skip(&["--chain-id", "31337"])? else { return Ok(()) };
    let Some(kubo) = Kubo::start_or_skip()? else { return Ok(()) };
    let mut world = World::new()?;
    world.rpc = port(anvil.url())?;
    let (rpc, listen) = (anvil.url().to_owned(), format!("127.0.0.1:{}", world.node));
    let serve = ["serve", "--rpc", &rpc, "--ipfs", kubo.url(), "--listen", &listen, "--seal-after", "1"];
    world.hospital(&["init", "--rsa-bits", "2048"])?.done()?;
    world.hospital(&["deploy", "--rpc", &rpc, "--forfeit", "0.01"])?.done()?;
    let node = world.serving("hospital", &serve)?;
    world.keep_card("emr-hospital", "hospital", "hospital.json")?;
    world.hospital(&["office", "bond", "deposit", "0.015"])?.done()?;
    world.enrol_doctor("doctor", true)?;
    world.patient(&["init", "--rsa-bits", "2048"])?.done()?;
    let invitation = world.hospital(&["invite"])?.done()?;
    world.joining("emr-patient", "patient", &["register", "--wait", "--invite", invitation.trim()])?.done()?;
    world.keep_card("emr-patient", "patient", "patient.json")?;
    let until = ["--until", "2100-01-31"];
    let grant = ["grant", "doctor.json", "--class", "summary", "--rights", "read", "--wait"];
    world.patient(&[&grant[..], &until].concat())?.done()?;
    let whoami: Value = serde_json::from_str(&world.doctor(&["--json", "whoami"])?.done()?)?;
    let doctor = whoami["ethereum"].as_str().ok_or_else(|| format!("no address: {whoami}"))?.to_owned();

    // The patient's rollup key was stolen. They have no ether, so the doctor sends their new one.
    let broke = world.patient(&["rotate"])?.failed(4)?;
    assert!(broke.contains("has no ether") && broke.contains("emr-doctor relay FILE"), "{broke}");
    let written = world.patient(&["rotate", "--output", "rotation.json"])?.done()?;
    assert!(written.starts_with("the rollup key is still the old one: until "), "{written}");
    // As after a kill: the key of the first run is signed again, and no other one.
    world.patient(&["rotate", "--output", "again.json"])?.done()?;
    let signed = |file: &str| -> TestResult<Value> { Ok(serde_json::from_slice(&std::fs::read(world.at(file))?)?) };
    assert_eq!(signed("again.json")?["registration"], signed("rotation.json")?["registration"]);
    assert!(signed("again.json")?["registration"].is_object());
    std::fs::copy(world.at("patient/identity"), world.at("begun"))?;
    assert!(world.doctor(&["relay", "rotation.json"])?.failed(4)?.contains("has no ether"));
    world.ask_chain("anvil_setBalance", (doctor, ETHER))?;
    let relayed: Value = serde_json::from_str(&world.doctor(&["--json", "relay", "rotation.json"])?.done()?)?;
    assert_eq!((&relayed["index"], &relayed["change"]), (&0.into(), &"rotation".into()));
    let old = std::fs::read_to_string(world.at("patient.json"))?;
    let mut rotated = false;
    for _ in 0..240 {
        if world.patient(&["whoami"])?.done()? != old {
            rotated = true;
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    assert!(rotated, "the new key is not in the patient's card");
    assert!(world.patient(&["grants"])?.done()?.contains("summary"));
    // As if the program was killed before it wrote the identity again: the key is in force, and nothing is sent.
    std::fs::copy(world.at("begun"), world.at("patient/identity"))?;
    let in_force = world.patient(&["rotate"])?.done()?;
    assert_eq!(in_force, "it is in force; `rotate` again for another one\n");
    assert_ne!(std::fs::read(world.at("begun"))?, std::fs::read(world.at("patient/identity"))?);
    assert!(world.patient(&["grants"])?.done()?.contains("summary"));
    node.kill()?;

    let refused = world.patient(&["revoke", "doctor.json"])?.failed(5)?;
    assert!(refused.contains("`emr-patient revoke --force` revokes on L1"), "{refused}");
    let broke = world.patient(&["revoke", "--force"])?.failed(4)?;
    assert!(broke.contains("has no ether") && broke.contains("emr-doctor relay FILE"), "{broke}");
    let patient = broke.split_whitespace().find(|word| word.starts_with("0x")).ok_or("an address")?.to_owned();
    let written = world.patient(&["revoke", "--force", "--output", "revocation.json"])?.done()?;
    assert!(written.starts_with("nothing is revoked yet: until "), "{written}");
    world.patient(&["revoke", "--force", "--output", "revocation.json"])?.failed(7)?;
    world.doctor(&["relay", "doctor.json"])?.failed(3)?;
    let relayed: Value = serde_json::from_str(&world.doctor(&["--json", "relay", "revocation.json"])?.done()?)?;
    assert_eq!((&relayed["index"], &relayed["max_fee_wei"]), (&1.into(), &"0".into()));
    world.doctor(&["relay", "revocation.json"])?.failed(4)?;

    // A patient who restored the identity alone, and a friend who never had to do with this hospital, name the rollup.
    std::fs::create_dir(world.at("restored"))?;
    std::fs::copy(world.at("patient/identity"), world.at("restored/identity"))?;
    let contract = world.contract()?;
    let named = ["--rpc", &rpc, "--chain-id", "31337", "--contract", &contract];
    let again = ["revoke", "--force", "--slot", "70", "--output", "one.json"];
    let alone = world.run_in(None, "emr-patient", "restored", &again)?.failed(2)?;
    assert!(alone.contains("--contract, --chain-id and --rpc"), "{alone}");
    world.run_in(None, "emr-patient", "restored", &[&named[..], &again].concat())?.done()?;
    let friend = |arguments: &[&str]| world.run_in(None, "emr-doctor", "friend", &[&named[..], arguments].concat());
    friend(&["init", "--rsa-bits", "2048"])?.done()?;
    let poor = friend(&["relay", "one.json"])?.failed(4)?;
    let address = poor.split_whitespace().find(|word| word.starts_with("0x")).ok_or("an address")?;
    world.ask_chain("anvil_setBalance", (address, ETHER))?;
    let elsewhere =
        [&named[..4], &["--contract", "0x00000000000000000000000000000000000000bb", "relay", "one.json"]].concat();
    world.run_in(None, "emr-doctor", "friend", &elsewhere)?.failed(2)?;
    let relayed: Value = serde_json::from_str(&friend(&["--json", "relay", "one.json"])?.done()?)?;
    assert_eq!(relayed["index"], 2);

    let early = world.doctor(&["settle-queue"])?.done()?;
    assert_eq!(early, "nothing is overdue that anyone may settle\n");
    world.ask_chain("evm_increaseTime", [6 * 3600 + 60])?;
    world.ask_chain("evm_mine", ())?;
    let settled = friend(&["settle-queue"])?.done()?;
    assert!(settled.starts_with("entries settled: 2, proved in "), "{settled}");
    assert_eq!(world.doctor(&["settle-queue"])?.done()?, early);

    // Both revocations were overdue: the patient gets the forfeit for each, as far as the bond goes. The rotation was settled in time.
    world.ask_chain("anvil_setBalance", (patient, ETHER))?;
    let paid = |index: &str| -> TestResult<Value> {
        Ok(serde_json::from_str(&world.patient(&["--json", "claim", index])?.done()?)?)
    };
    assert_eq!((&paid("1")?["wei"], &paid("2")?["wei"]), (&"10000000000000000".into(), &"5000000000000000".into()));
    assert!(world.patient(&["claim", "1"])?.failed(4)?.contains("was paid already"));
    assert!(world.patient(&["claim", "0"])?.failed(4)?.contains("was not settled late"));
    assert!(world.patient(&["withdraw-credit"])?.failed(4)?.contains("has no credit"));

    guardians_give_the_account_to_a_new_identity(&world, &named)
}
