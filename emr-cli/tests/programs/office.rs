//! The offices of a rollup: a registrar and guardians with keys of their own, who have no node.

use std::fs;

use emr_testkit::part::Anvil;
use serde_json::Value;

use crate::world::*;

const ETHER: &str = "0xde0b6b3a7640000";
const DAY: u64 = 24 * 3600;

#[test]
fn registrars_and_guardians_do_their_work_without_a_node() -> TestResult {
    let Some(anvil) = Anvil::start_or_skip(&["--chain-id", "31337"])? else { return Ok(()) };
    let mut world = World::new()?;
    world.rpc = port(anvil.url())?;
    let (rpc, listen) = (anvil.url().to_owned(), format!("127.0.0.1:{}", world.node));
    let init = |name: &str| -> TestResult<String> {
        let made = world.run_in(None, "emr-hospital", name, &["--json", "init", "--rsa-bits", "2048"])?.done()?;
        let made: Value = serde_json::from_str(&made)?;
        let address = made["ethereum"].as_str().ok_or("an address")?.to_owned();
        world.ask_chain("anvil_setBalance", (&address, ETHER))?;
        Ok(address)
    };
    let (registrar, one, two) = (init("registrar")?, init("one")?, init("two")?);
    world.hospital(&["init", "--rsa-bits", "2048"])?.done()?;
    let deploy = ["deploy", "--rpc", &rpc, "--registrar", &registrar, "--guardian", &one, "--guardian", &two];
    let too_many = world.hospital(&[&deploy[..], &["--guardians-needed", "3"]].concat())?.failed(2)?;
    assert!(too_many.contains("3 guardians must agree, but there are 2"), "{too_many}");
    world.hospital(&[&deploy[..], &["--forfeit", "0.01"]].concat())?.done()?;
    let contract = world.contract()?;
    let named = ["--rpc", &rpc, "--chain-id", "31337", "--contract", &contract];
    let as_ =
        |name: &str, arguments: &[&str]| world.run_in(None, "emr-hospital", name, &[&named[..], arguments].concat());

    // The hospital is not its own registrar: it waits for the one who has no node.
    let node = world.serving("hospital", &["serve", "--rpc", &rpc, "--listen", &listen, "--seal-after", "1"])?;
    world.keep_card("emr-hospital", "hospital", "hospital.json")?;
    let refused = world.hospital(&["registrar", "admit", "hospital.json"])?.failed(4)?;
    assert!(refused.contains("is not a registrar"), "{refused}");
    let admitted = as_("registrar", &["registrar", "admit", "hospital.json"])?.done()?;
    assert!(admitted.contains("is admitted, with the keys of this card"), "{admitted}");
    world.wait_until("registered", |status| status["batches"] == 1)?;

    // Two guardians halt; the node says so, and goes on when they agree again.
    assert!(as_("one", &["office", "halt"])?.done()?.starts_with("agreed; more guardians must agree"));
    assert!(as_("two", &["office", "halt"])?.done()?.starts_with("settlement is halted until "));
    let shown = world.hospital(&["office", "show"])?.done()?;
    assert!(shown.contains("settlement  halted until ") && shown.contains("2 of 2 must agree"), "{shown}");
    assert!(as_("registrar", &["registrar", "suspend", "hospital.json"])?.done()?.contains("is suspended"));
    assert!(as_("registrar", &["registrar", "reinstate", "hospital.json"])?.failed(4)?.contains("still waits"));
    as_("one", &["office", "resume"])?.done()?;
    assert!(as_("two", &["office", "resume"])?.done()?.starts_with("settlement goes on"));
    world.wait_until("settled after the halt", |status| status["batches"] == 2)?;
    as_("registrar", &["registrar", "reinstate", "hospital.json"])?.done()?;
    world.wait_until("reinstated", |status| status["batches"] == 3)?;
    assert!(world.hospital(&["claim", "1"])?.failed(4)?.contains("was not settled late"));
    assert!(world.hospital(&["claim", "2"])?.failed(4)?.contains("is not settled yet"));

    // Bond, vote, and an offer, which the node notices.
    world.hospital(&["office", "bond", "deposit", "0.05"])?.done()?;
    assert!(world.hospital(&["office", "bond", "withdraw"])?.failed(4)?.contains("the bond stays"));
    assert!(
        world
            .hospital(&["office", "vote", "1"])?
            .failed(4)?
            .contains("a hospital votes when it was active for 30 days")
    );
    assert!(as_("one", &["office", "take"])?.failed(4)?.contains("is no hospital that is admitted"));
    world.hospital(&["office", "offer", &registrar])?.done()?;
    assert!(as_("registrar", &["office", "take"])?.done()?.contains("is the sequencer now"));
    let status = world.wait_until("replaced", |status| !status["health"]["halted"].is_null())?;
    assert!(
        status["health"]["halted"]
            .as_str()
            .is_some_and(|halted| halted.to_lowercase().contains(&registrar.to_lowercase())),
        "{status}"
    );
    node.kill()?;
    let replaced = world.hospital(&["serve", "--rpc", &rpc, "--listen", &listen])?.failed(8)?;
    assert!(replaced.contains("emr-hospital office take"), "{replaced}");

    // The registrar's identity becomes a hospital too, and goes on with the log of the first one: its own registration is the next batch.
    let early = as_("two", &["adopt", "registrar"])?.failed(3)?;
    assert!(early.contains("has no deployment.json"), "{early}");
    let adopted = as_("registrar", &["adopt", "hospital"])?.done()?;
    assert!(adopted.contains("goes on with the operation log of hospital"), "{adopted}");
    assert!(as_("registrar", &["adopt", "hospital"])?.failed(4)?.contains("this hospital has a rollup already"));
    let node = world.serving("registrar", &["serve", "--rpc", &rpc, "--listen", &listen, "--seal-after", "1"])?;
    world.wait_until("settled by the next sequencer", |status| status["batches"] == 4)?;

    // The first hospital's account moves to another identity, which gives it its own keys.
    as_("two", &["owner", "request", "1", "-o", "request.json"])?.done()?;
    let handed = world.hospital(&["owner", "hand-over", "request.json", "--person", &two])?.done()?;
    assert!(handed.contains("`rotate --present`"), "{handed}");
    assert!(world.hospital(&["rotate"])?.failed(2)?.contains("has no account yet"));
    let rotated = as_("two", &["rotate", "--present"])?.done()?;
    assert!(rotated.starts_with("the new rollup key is on L1"), "{rotated}");
    world.wait_until("settled with the new keys", |status| status["batches"] == 5)?;
    assert!(as_("two", &["close"])?.failed(2)?.contains("Add --yes to confirm"));
    node.kill()?;

    // A proposal: shown, too early, vetoed; another one is executed by anyone.
    let propose = |change: &[&str]| -> TestResult<Value> {
        let all = [&["--json", "office", "propose"][..], change].concat();
        Ok(serde_json::from_str(&as_("registrar", &all)?.done()?)?)
    };
    let vetoed = propose(&["registration-fee", "0.5"])?;
    let vetoed = vetoed["proposal"].as_str().ok_or("an identifier")?;
    as_("one", &["office", "veto", vetoed])?.done()?;
    assert!(as_("two", &["office", "veto", vetoed])?.done()?.starts_with("cancelled"));
    let proposed = propose(&["registration-fee", "0.001"])?;
    let id = proposed["proposal"].as_str().ok_or("an identifier")?;
    assert!(as_("one", &["office", "execute", id])?.failed(4)?.contains("not long enough yet"));
    let sizes = |slots: &[(u64, u64)]| -> TestResult<Said> {
        let size = |(max_l1, max_l2): &(u64, u64)| serde_json::json!({ "verifier": "0x00000000000000000000000000000000000000bb", "max_l1": max_l1, "max_l2": max_l2 });
        let text = Value::Array(slots.iter().map(size).collect()).to_string();
        fs::write(world.at("sizes.json"), text)?;
        as_("registrar", &["office", "propose", "sizes", "2", "sizes.json"])
    };
    let moved = sizes(&[(8, 90)])?.failed(3)?;
    assert!(moved.contains("keep the slots of the sizes that there are"), "{moved}");
    let nothing = sizes(&[(5, 9), (8, 90), (175, 0), (8, 370)])?.failed(3)?;
    assert!(nothing.contains("there is no contract at "), "{nothing}");
    world.ask_chain("evm_increaseTime", [14 * DAY])?;
    world.ask_chain("evm_mine", ())?;
    let executed = as_("one", &["office", "execute", id])?.done()?;
    assert!(executed.starts_with("executed: a registration costs 1000000000000000 wei"), "{executed}");
    let shown: Value = serde_json::from_str(&as_("one", &["--json", "office", "show"])?.done()?)?;
    assert_eq!(
        (&shown["proposals"][0]["state"], &shown["proposals"][1]["state"]),
        (&"cancelled".into(), &"done".into())
    );
    assert_eq!(shown["bond"], Value::String("0xb1a2bc2ec50000".to_owned()), "0.05 ether went with the office");
    Ok(())
}
