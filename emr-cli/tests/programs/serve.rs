//! A hospital on a separate Ethereum node, with its prover in another process.

use std::{os::unix::fs::PermissionsExt, time::Duration};

use emr_testkit::part::{Anvil, Kubo};
use serde_json::Value;

use crate::world::*;

#[test]
fn a_hospital_on_a_real_chain_leaves_proving_to_another_machine() -> TestResult {
    let Some(anvil) = Anvil::start_or_skip(&["--chain-id", "31337"])? else { return Ok(()) };
    let Some(kubo) = Kubo::start_or_skip()? else { return Ok(()) };
    let mut world = World::new()?;
    world.rpc = port(anvil.url())?;
    let (rpc, listen) = (anvil.url().to_owned(), format!("127.0.0.1:{}", world.node));
    let serve = ["serve", "--rpc", &rpc, "--ipfs", kubo.url(), "--listen", &listen, "--no-prove", "--seal-after", "1"];

    world.hospital(&["deploy", "--rpc", &rpc])?.failed(8)?;
    world.hospital(&["init", "--rsa-bits", "2048"])?.done()?;
    let early = world.hospital(&serve)?.failed(2)?;
    assert!(early.contains("run `emr-hospital deploy` first"), "{early}");
    let deployed = world.hospital(&["deploy", "--rpc", &rpc, "--registration-fee", "0.001"])?.done()?;
    assert!(deployed.starts_with("contract 0x") && deployed.contains(" gas"), "{deployed}");
    world.hospital(&["deploy", "--rpc", &rpc])?.failed(4)?;

    // The hospital registers and admits itself, because the deployer is the registrar.
    let node = world.serving("hospital", &serve)?;
    let address = format!("http://{listen}");
    // Another machine has only the credential, and no data folder.
    world.hospital(&["prover", "add", "rack-7", "--output", "rack-7"])?.done()?;
    world.hospital(&["prover", "add", "rack-8", "--output", "rack-7"])?.failed(7)?;
    let printed = world.hospital(&["prover", "add", "stolen"])?.done()?;
    std::fs::write(world.at("stolen"), &printed)?;
    let loose =
        world.run_in(None, "emr-hospital", "prover", &["prove", "--node", &address, "--credential", "stolen"])?;
    assert!(loose.failed(8)?.contains("chmod 600"));
    std::fs::set_permissions(world.at("stolen"), std::fs::Permissions::from_mode(0o600))?;
    world.hospital(&["prover", "remove", "stolen"])?.done()?;
    let stolen =
        world.run_in(None, "emr-hospital", "prover", &["prove", "--node", &address, "--credential", "stolen"])?;
    assert!(stolen.failed(4)?.contains("not known here any more"));
    let listed = world.hospital(&["prover", "list"])?.done()?;
    assert!(listed.ends_with("  rack-7\n") && listed.lines().count() == 1, "{listed}");
    let prove = ["prove", "--node", &address, "--credential", "rack-7", "--memory", "0"];
    let prover = world.serving("prover", &prove)?;
    world.patient(&["init", "--rsa-bits", "2048"])?.done()?;
    let invitation = world.hospital(&["invite"])?.done()?;
    let registered =
        world.joining("emr-patient", "patient", &["register", "--wait", "--invite", invitation.trim()])?.done()?;
    assert_eq!(registered, "patient 2: in the settled state\n");
    world.keep_card("emr-patient", "patient", "patient.json")?;

    // The hospital paid the fee twice: for itself, and for the patient whom it invited.
    let chest = "0x00000000000000000000000000000000000c4e57";
    let fees = world.hospital(&["--json", "collect-fees", "--to", chest])?.done()?;
    let fees: Value = serde_json::from_str(&fees)?;
    assert_eq!((&fees["wei"], &fees["to"]), (&"2000000000000000".into(), &chest.into()), "{fees}");
    let none = world.hospital(&["collect-fees"])?.done()?;
    assert!(none.starts_with("0 ether are at 0x"), "{none}");

    // The node stops and starts again. The prover waits for it.
    node.kill()?;
    world.until_it_says("prover-prove.log", "trying again until the node is back")?;
    let node = world.serving("hospital", &serve)?;
    let put = world.patient(&["put", BUNDLE, "--class", "summary", "--wait"])?.done()?;
    assert!(put.contains("record 2/0 version 1 (summary)") && put.contains("settled in batch "), "{put}");
    let verified: Value = serde_json::from_str(&world.patient(&["--json", "verify"])?.done()?)?;
    assert_eq!(verified["light_verified"], true, "{verified}");
    let said = std::fs::read_to_string(world.at("prover-prove.log"))?;
    assert!(said.contains("bytes of proof in") && !said.contains("was not taken"), "{said}");
    // It made several proofs, and kept nothing between them: kept polynomials would take another 480 MiB. What it needs
    // while it proves grows with the threads.
    let threads = std::thread::available_parallelism()?.get() as u64;
    let peak = prover.peak_mebibytes()?;
    assert!(peak < 900 + 16 * threads, "{peak} MiB");
    // Another process of the same hospital can run at the same time.
    assert!(world.hospital(&["status"])?.done()?.contains("batches settled"));
    assert!(!world.at("prover").exists());

    // Ctrl-C during a proof.
    world.patient(&["put", BUNDLE, "--class", "summary"])?.done()?;
    world.wait_until("sealed", |status| {
        status["activity"].as_str().is_some_and(|said| said.starts_with("waiting for a proof"))
    })?;
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(prover.end("INT", Duration::from_secs(10))?, Some(0));
    let said = std::fs::read_to_string(world.at("prover-prove.log"))?;
    assert!(said.contains("stopped; a batch that was being proved waits"), "{said}");
    assert_eq!(node.end("TERM", Duration::from_secs(30))?, Some(0));
    Ok(())
}
