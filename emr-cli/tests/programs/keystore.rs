//! A hospital whose Ethereum key comes from a keystore that geth wrote.

use std::fs;

use emr_testkit::part::Geth;
use serde_json::Value;

use crate::world::*;

#[test]
fn a_hospital_deploys_with_the_key_of_geths_keystore() -> TestResult {
    let Some(geth) = Geth::start_or_skip(&["--dev.gaslimit", "30000000"])? else { return Ok(()) };
    let mut world = World::new()?;
    world.rpc = port(geth.url())?;
    // geth --dev makes an account with ether, and keeps its key in an encrypted file with an empty passphrase.
    let files = fs::read_dir(geth.folder())?.collect::<Result<Vec<_>, _>>()?;
    let [keystore] = &files.iter().map(fs::DirEntry::path).filter(|path| path.is_file()).collect::<Vec<_>>()[..] else {
        return Err(format!("not one keystore: {files:?}").into());
    };
    let written: Value = serde_json::from_slice(&fs::read(keystore)?)?;
    let account = format!("0x{}", written["address"].as_str().ok_or("an address")?);
    fs::copy(keystore, world.at("key.json"))?;
    fs::write(world.at("empty"), "")?;

    let init = ["init", "--rsa-bits", "2048", "--keystore", "key.json"];
    let unasked = world.hospital(&init)?.failed(8)?;
    assert!(unasked.contains("--keystore-passphrase-file"), "{unasked}");
    let with = |file| [&init[..], &["--keystore-passphrase-file", file]].concat();
    let wrong = world.hospital(&with("passphrase"))?.failed(8)?;
    assert!(wrong.contains("key.json: wrong passphrase of the keystore"), "{wrong}");
    assert!(!world.at("hospital").join("identity").exists());
    let made: Value = serde_json::from_str(&world.hospital(&[&["--json"], &with("empty")[..]].concat())?.done()?)?;
    assert!(made["ethereum"].as_str().is_some_and(|made| made.eq_ignore_ascii_case(&account)), "{made} {account}");

    world.hospital(&["deploy", "--rpc", geth.url()])?.done()?;
    let sent = world.ask_chain("eth_getTransactionCount", [account.as_str(), "latest"])?;
    assert!(sent.as_str().is_some_and(|count| count != "0x0"), "{sent}");
    Ok(())
}
