//! A deployment that is killed goes on.

use std::{fs, process::Stdio};

use emr_testkit::part::Anvil;
use serde_json::Value;

use crate::world::*;

/// `deployment.json`, once it is there.
fn file(world: &World) -> TestResult<Option<Value>> {
    match fs::read(world.at("hospital/deployment.json")) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(_) => Ok(None),
    }
}

#[test]
fn a_deployment_that_is_killed_goes_on() -> TestResult {
    // Each transaction takes a second.
    let Some(anvil) = Anvil::start_or_skip(&["--chain-id", "31337", "--block-time", "1"])? else { return Ok(()) };
    let mut world = World::new()?;
    world.rpc = port(anvil.url())?;
    let deploy = ["deploy", "--rpc", anvil.url()];
    world.hospital(&["init", "--rsa-bits", "2048"])?.done()?;

    let before = world.ask_chain("evm_snapshot", ())?;
    let mut command = world.prepare(None, "emr-hospital", "hospital", &deploy)?;
    let running = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    let mut begun = None;
    let sent = |world: &World, begun: &Value| -> TestResult<u64> {
        let count = world.ask_chain("eth_getTransactionCount", (&begun["record"]["sequencer"], "latest"))?;
        let digits = count.as_str().ok_or("a count")?.trim_start_matches("0x");
        Ok(u64::from_str_radix(digits, 16)?)
    };
    for _ in 0..600 {
        begun = file(&world)?;
        // Some of its seven contracts are on the chain.
        if begun.as_ref().map(|begun| sent(&world, begun)).transpose()?.is_some_and(|sent| sent >= 3) {
            break;
        }
        std::thread::sleep(POLL);
    }
    running.kill()?;
    let begun = begun.ok_or("deployment.json")?;
    assert_eq!(begun["deployed_at"], Value::Null, "killed before its end");

    let listen = format!("127.0.0.1:{}", world.node);
    let early = world.hospital(&["serve", "--rpc", anvil.url(), "--listen", &listen])?.failed(2)?;
    assert!(early.contains("was interrupted: run `emr-hospital deploy` again"), "{early}");
    let other = world.hospital(&[&deploy[..], &["--registration-fee", "0.001"]].concat())?.failed(2)?;
    assert!(other.contains("repeat `deploy --registration-fee 0 --registrar 0x"), "{other}");
    let deployed = world.hospital(&deploy)?.done()?;
    let contract = begun["contract"].as_str().ok_or("an address")?;
    let expected = format!("contract {contract} on chain 31337").to_lowercase();
    assert!(deployed.to_lowercase().starts_with(&expected), "{deployed}");
    let done = file(&world)?.ok_or("deployment.json")?;
    assert_eq!((&done["record"], &done["contract"]), (&begun["record"], &begun["contract"]));
    assert!(done["deployed_at"].as_u64().is_some_and(|block| block > 0), "{done}");
    // Seven contracts, each once: also the one whose transaction waited when the process died.
    assert_eq!(sent(&world, &done)?, 7);
    world.hospital(&deploy)?.failed(4)?;

    // L1 loses the rollup, as in a reorganisation. `deploy` puts it there again.
    assert_eq!(world.ask_chain("evm_revert", [before])?, Value::Bool(true));
    let again = world.hospital(&deploy)?.done()?;
    assert_eq!(again.lines().next(), deployed.lines().next());
    assert_eq!(file(&world)?.ok_or("deployment.json")?["record"], done["record"]);
    Ok(())
}
