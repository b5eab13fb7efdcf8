//! Compares the gas of each call with the committed figures in `contracts/gas.json`. `EMR_UPDATE_GAS=1` updates them.

use std::{collections::BTreeMap, env, fs, path::Path};

use alloy::providers::Provider;
use emr_chain::{BatchContent, Deployment, QueueName, Registration, SettlementLayer, TRANSACTION_GAS_CAP};
use emr_core::{AccountIndex, Role};
use emr_testkit::{
    Outcome,
    chain::{Node, account},
};

use crate::world::{
    DOCTOR, HOSPITAL, PATIENT, REGISTRAR, SEQUENCER, World, deployment, operations, patient, sizes, submitted,
};

/// The most gas of a registration with an RSA key of 3072 bits and a second key, which is what new identities have.
const REGISTRATION_GAS: u64 = 240_000;

/// A settlement holds the time, and what is computed from it. A zero byte in them costs 12 less than another one.
const OF_THE_TIME: u64 = 64;

/// Addresses, keys and signatures are the same in every run, so all figures but those of settlements are exact. The figures of settlement do not
/// include the verifier; its stand-in adds a little calldata hashing.
#[tokio::test]
async fn gas_is_as_committed() -> Outcome {
    let world = World::new(Node::embedded()?).await?;
    let mut gas = BTreeMap::new();
    // The blocks between them have the other sizes' keys and the verifiers' stand-ins.
    for (name, block) in [("deploy, factory", 1), ("deploy, verifying key", 2), ("deploy", 8)] {
        let created = world.provider().get_block_by_number(block.into()).await?.ok_or("no block of the deployment")?;
        gas.insert(name.to_owned(), created.header.gas_used);
    }

    let registrar = world.as_account(REGISTRAR).await?;
    let hospital = world.as_account(HOSPITAL).await?;
    for (n, bits, role) in
        [(HOSPITAL, 2048, Role::Hospital), (DOCTOR, 3072, Role::Doctor), (SEQUENCER, 4096, Role::Doctor)]
    {
        let key = world.possession(bits, account(n)?.address(), role, 9);
        let registration = match role {
            Role::Hospital => Registration::hospital(submitted(9).bytes(), key),
            _ => Registration::doctor(submitted(9).bytes(), None, key),
        };
        let (_, receipt) = world.as_account(n).await?.register(&registration).await?;
        gas.insert(format!("register, RSA-{bits}"), receipt.gas_used);
    }
    assert!(gas["register, RSA-3072"] < REGISTRATION_GAS, "{gas:?}");
    gas.insert("admit".to_owned(), world.admit(AccountIndex::new(1)?).await?.gas_used);
    gas.insert("endorse".to_owned(), hospital.endorse(account(DOCTOR)?.address()).await?.gas_used);
    gas.insert("register a patient".to_owned(), registrar.register(&patient(1)).await?.1.gas_used);
    let (_, receipt) = world.rollup.register_for(&world.signed_patient(PATIENT, 2)?).await?;
    gas.insert("register a patient, relayed".to_owned(), receipt.gas_used);
    world.register_patients_from(PATIENT + 1, 5).await?;

    let words = async |range| {
        let entries = world.rollup.queue_entries(QueueName::Ordinary, range, 0).await?;
        Outcome::Ok(entries.iter().map(|entry| entry.words).collect::<Vec<_>>())
    };
    for (name, d1, d2) in [
        ("settle, first", Vec::new(), Vec::new()),
        ("settle, empty", Vec::new(), Vec::new()),
        ("settle, 8 queue entries", words(0..8).await?, Vec::new()),
        ("settle, 24 operations", Vec::new(), operations(24)),
    ] {
        let batch = world.batch(d1, d2).await?;
        world.expect(&batch).await?;
        gas.insert(name.to_owned(), world.rollup.settle(&batch).await?.gas_used);
    }

    // The fullest batches. With a verifier's gas on top, they must fit a transaction.
    let fullest = Deployment { sizes: sizes(&[(175, 0), (8, 370)]), ..deployment(0)? };
    let world = World::deployed(Node::embedded()?, &fullest).await?;
    let entries = world.register_patients(175).await?;
    for (name, size, d1, d2) in [
        ("settle, 175 queue entries", 0, entries, Vec::new()),
        ("settle, 370 operations", 1, Vec::new(), operations(370)),
    ] {
        let batch = BatchContent { size, ..world.batch(d1, d2).await? };
        world.expect(&batch).await?;
        let used = world.rollup.settle(&batch).await?.gas_used;
        assert!(used + 600_000 < TRANSACTION_GAS_CAP, "{name}: {used}");
        gas.insert(name.to_owned(), used);
    }

    let text = serde_json::to_string_pretty(&gas)? + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/gas.json");
    if env::var_os("EMR_UPDATE_GAS").is_some_and(|value| value == "1") {
        fs::write(&path, &text)?;
    }
    let committed: BTreeMap<String, u64> = serde_json::from_str(&fs::read_to_string(&path)?)?;
    let is_the_same = |(one, other): ((&String, &u64), (&String, &u64))| {
        let tolerance = if one.0.starts_with("settle") { OF_THE_TIME } else { 0 };
        one.0 == other.0 && one.1.abs_diff(*other.1) <= tolerance
    };
    assert!(
        gas.len() == committed.len() && gas.iter().zip(&committed).all(is_the_same),
        "the gas has changed; if that is right, run this test with EMR_UPDATE_GAS=1 and commit: {text}"
    );
    Ok(())
}
