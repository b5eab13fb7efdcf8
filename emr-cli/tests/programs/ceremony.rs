//! A rollup with the setup of a ceremony, on a chain that is not a development chain.

use std::{fs, path::Path};

use emr_rollup::{prover::Setup, setup::SetupId, version::CircuitVersion};
use emr_testkit::part::Anvil;
use serde_json::Value;

use crate::world::*;

/// The chain. It is nobody's.
const CHAIN: &str = "424242";
/// A file of a real ceremony with 2^8 powers, which are too few.
const HERMEZ: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../emr-rollup/tests/ptau/hermez_08.ptau");
/// A name of no setup.
const UNKNOWN: &str = "0x5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e";

/// Takes a setup into the folder of the keys. If `EMR_PTAU` names a powers-of-tau file of 2^17 or more, imports it with
/// the command, which takes minutes. Otherwise keeps one whose secret is known: this test is about what follows.
fn setup(world: &World, keys: &Path) -> TestResult<String> {
    let refused = world.hospital(&["setup", "--ptau", HERMEZ])?.failed(3)?;
    assert!(refused.contains("it has 2^8 powers and the circuit needs 2^17"), "{refused}");
    assert!(!keys.exists());
    let id = match std::env::var("EMR_PTAU") {
        Ok(file) => {
            let imported: Value =
                serde_json::from_str(&world.hospital(&["--json", "setup", "--ptau", &file])?.done()?)?;
            imported["setup"].as_str().ok_or("a setup")?.parse::<SetupId>()?
        }
        Err(_) => {
            Setup::keep_with_known_secret(keys, CircuitVersion::V1_SMALL.k)?;
            Setup::keep_with_known_secret(keys, CircuitVersion::V1.k)?
        }
    };
    Ok(id.to_string())
}

/// No deployment without the right setup and the right chain.
fn refusals_before(world: &World, rpc: &str, own: &str) -> TestResult {
    for named in [&[][..], &["--chain-id", CHAIN]] {
        let refused = world.hospital(&[&["deploy", "--rpc", rpc], named].concat())?.failed(4)?;
        assert!(refused.contains("chain 424242 is not a development chain"), "{refused}");
    }
    // On a real chain nobody is registrar without being named.
    let unknown = ["deploy", "--rpc", rpc, "--chain-id", CHAIN, "--setup", UNKNOWN];
    let nobody = world.hospital(&unknown)?.failed(2)?;
    assert!(nobody.contains("name who admits doctors and hospitals: --registrar ADDRESS"), "{nobody}");
    // And nobody does without guardians and forfeit by saying nothing.
    let named = [&unknown[..], &["--registrar", own]].concat();
    let unguarded = world.hospital(&named)?.failed(2)?;
    assert!(unguarded.contains("--guardian ADDRESS") && unguarded.contains("--no-guardian"), "{unguarded}");
    let free = world.hospital(&[&named[..], &["--guardian", own]].concat())?.failed(2)?;
    assert!(free.contains("--forfeit ETHER"), "{free}");
    let on_purpose = ["--no-guardian", "--forfeit", "0"];
    let absent = world.hospital(&[&named[..], &on_purpose].concat())?.failed(7)?;
    assert!(absent.contains(UNKNOWN) && absent.contains("run `emr-hospital setup --ptau FILE`"), "{absent}");
    Ok(())
}

/// Files of the hospital that do not fit the rollup on the chain.
fn refusals_of_serve(world: &mut World, serve: &[&str], id: &str) -> TestResult {
    let path = world.at("hospital/deployment.json");
    let good = fs::read_to_string(&path)?;
    assert!(good.contains(id), "{good}");
    let cases = [
        ("insecure-development", 4, "chain 424242 is not a development chain"),
        (UNKNOWN, 2, &*format!("has a key of setup {id}, and deployment.json names setup {UNKNOWN}")),
    ];
    for (setup, exit, expected) in cases {
        fs::write(&path, good.replace(id, setup))?;
        let refused = world.hospital(serve)?.failed(exit)?;
        assert!(refused.contains(expected), "{refused}");
    }
    fs::write(&path, good)?;
    let other = [serve, &["--chain-id", "1"]].concat();
    assert!(world.hospital(&other)?.failed(4)?.contains("this is chain 424242, not chain 1"));
    // Another machine, where the setup was not imported.
    let cache = world.cache.replace(world.at("empty"));
    let refused = world.hospital(serve)?.failed(7)?;
    assert!(refused.contains(&format!("there is no setup {id} of 2^14")), "{refused}");
    world.cache = cache;
    Ok(())
}

#[test]
fn a_ceremonys_setup_serves_the_chain_that_was_named() -> TestResult {
    let arguments = ["--chain-id", CHAIN, "--block-time", "1", "--slots-in-an-epoch", "1"];
    let Some(anvil) = Anvil::start_or_skip(&arguments)? else { return Ok(()) };
    let mut world = World::new()?;
    let keys = world.at("cache/keys");
    (world.rpc, world.cache) = (port(anvil.url())?, Some(world.at("cache")));
    let (rpc, listen) = (anvil.url(), format!("127.0.0.1:{}", world.node));
    let serve = ["serve", "--rpc", rpc, "--listen", &listen, "--seal-after", "15"];

    let made: Value = serde_json::from_str(&world.hospital(&["--json", "init", "--rsa-bits", "2048"])?.done()?)?;
    let own = made["ethereum"].as_str().ok_or("an address")?;
    refusals_before(&world, rpc, own)?;
    let id = setup(&world, &keys)?;
    let offices = ["--registrar", own, "--guardian", own, "--forfeit", "0.01"];
    let deploy = [&["deploy", "--rpc", rpc, "--setup", &id], &offices[..]].concat();
    let unnamed = world.hospital(&deploy)?.failed(2)?;
    assert!(unnamed.contains("--setup needs --chain-id"), "{unnamed}");
    let other = world.hospital(&[&deploy[..], &["--chain-id", "1"]].concat())?.failed(4)?;
    assert!(other.contains("this is chain 424242, not chain 1"), "{other}");
    let deployed = world.hospital(&[&deploy[..], &["--chain-id", CHAIN]].concat())?.done()?;
    assert!(deployed.contains("on chain 424242"), "{deployed}");
    refusals_of_serve(&mut world, &serve, &id)?;

    let node = world.serving("hospital", &serve)?;
    let said = fs::read_to_string(world.at("hospital-serve.log"))?;
    assert!(said.contains(&format!("setup     {id}, of a ceremony")), "{said}");
    world.patient(&["init", "--rsa-bits", "2048"])?.done()?;
    let invitation = world.hospital(&["invite"])?.done()?;
    let register = ["register", "--invite", invitation.trim()];
    let unnamed = world.joining("emr-patient", "patient", &["register", "--own-ether"])?.failed(4)?;
    assert!(unnamed.contains("name the chain with --chain-id 424242"), "{unnamed}");
    for other in [["--chain-id", "1"], ["--contract", "0x00000000000000000000000000000000000000bb"]] {
        let refused = world.joining("emr-patient", "patient", &[&other[..], &register].concat())?.failed(2)?;
        assert!(refused.contains("on chain 424242, which is not what you named"), "{refused}");
    }
    let elsewhere =
        ["--contract", "0x00000000000000000000000000000000000000bb", "--chain-id", CHAIN, "register", "--own-ether"];
    let refused = world.joining("emr-patient", "patient", &elsewhere)?.failed(6)?;
    assert!(refused.contains("which you or your invitation named"), "{refused}");
    // The invitation names chain and contract.
    world.joining("emr-patient", "patient", &register)?.done()?;

    // From here on the profile knows the chain.
    let put = world.patient(&["put", BUNDLE, "--class", "summary", "--wait"])?.done()?;
    assert!(put.contains("record 2/0 version 1 (summary)") && put.contains("settled in batch "), "{put}");
    let verified: Value = serde_json::from_str(&world.patient(&["--json", "verify"])?.done()?)?;
    assert_eq!(verified["light_verified"], true, "{verified}");
    assert_eq!(world.patient(&["get", "2/0"])?.done()?, fs::read_to_string(BUNDLE)?);
    let status = world.status()?;
    assert_eq!((&status["setup"], &status["chain_id"]), (&Value::from(id), &424_242.into()), "{status}");
    node.kill()
}
