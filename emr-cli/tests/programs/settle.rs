//! The hospital's program is killed at random moments, and L1 takes back blocks, while batches settle: nothing that was acknowledged is missing,
//! and nothing is settled twice. `cargo xtask soak settle` runs it for longer.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    num::ParseIntError,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use alloy::providers::ProviderBuilder;
use emr_chain::{Rollup, SettledBatch, SettlementLayer};
use emr_rollup::{batch::D2Entry, state::leaf::Target};
use emr_testkit::part::{Anvil, Kubo};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::world::*;

/// How many batches a short run settles after the registrations.
const SETTLEMENTS: u64 = 3;
/// The depths of reorganisations.
const DEPTHS: [u64; 3] = [1, 3, 10];
/// More blocks than the deepest reorganisation takes back.
const OUT_OF_REACH: u64 = 12;
/// The patient's client remembers no state that a reorganisation can take back, as on a chain with consensus.
const REMEMBERED: [&str; 2] = ["--finality", "64"];
/// The most records that are handed in before a batch: so many fit the smallest size, which takes seconds to prove.
const AT_ONCE: u64 = 3;
/// When more records are handed in although no batch settled the last ones.
const IMPATIENT: Duration = Duration::from_secs(60);

/// A document that says which one it is.
fn document(number: u64) -> String {
    json!({ "resourceType": "Observation", "id": format!("soak-{number}"), "status": "final", "code": { "text": "pulse" } }).to_string()
}

fn setting(name: &str, default: u64) -> Result<u64, ParseIntError> {
    env::var(name).map_or(Ok(default), |value| value.parse())
}

/// A time from 0 to `most` seconds.
fn pause(random: &mut impl Rng, most: u64) -> Duration {
    Duration::from_millis(random.random_range(0..=1000 * most))
}

/// A hospital on anvil, which makes a block each second, and a patient.
struct Ward {
    world: World,
    contract: String,
    serve: Vec<String>,
}

impl Ward {
    /// Starts the hospital's program.
    fn node(&self) -> TestResult<Running> {
        let serve: Vec<&str> = self.serve.iter().map(String::as_str).collect();
        self.world.serving("hospital", &serve)
    }

    /// L1 takes back its newest blocks, and has as many empty ones instead.
    fn reorganise(&self, depth: u64) -> TestResult {
        self.world.ask_chain("anvil_reorg", (depth, Vec::<Value>::new()))?;
        // The new blocks are a second apart. anvil's clock follows them, so that the next block is not too early for a batch.
        self.world.ask_chain("evm_increaseTime", [depth])?;
        Ok(())
    }

    fn patient(&self, arguments: &[&str]) -> TestResult<Said> {
        self.world.patient(&[&REMEMBERED, arguments].concat())
    }

    /// The answer to a command of the patient's. `None` if the node was away.
    fn ask(&self, arguments: &[&str]) -> TestResult<Option<Value>> {
        let said = self.patient(&[&["--json"], arguments].concat())?;
        if said.exit == Some(0) {
            return Ok(Some(serde_json::from_str(&said.stdout)?));
        }
        let error = said.stderr.lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok());
        let away = error.is_some_and(|error| error["temporary"] == true);
        if away { Ok(None) } else { Err(format!("{said:?}").into()) }
    }

    /// The batches on L1.
    fn batches(&self) -> TestResult<Vec<SettledBatch>> {
        let provider = ProviderBuilder::new().connect_http(format!("http://127.0.0.1:{}", self.world.rpc).parse()?);
        let contract = self.contract.parse()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(async { Rollup::attach(provider, contract, 0).await?.batches(0).await })?)
    }

    /// Kills the program and takes blocks back, in any order, until `done`.
    fn disturb(&self, mut node: Running, random: &mut StdRng, done: &AtomicBool) -> TestResult<(Running, u64, u64)> {
        let (mut kills, mut reorganisations) = (0, 0);
        loop {
            let (sent, wait) = (Instant::now(), pause(random, 15));
            while sent.elapsed() < wait && !done.load(Ordering::SeqCst) {
                thread::sleep(POLL);
            }
            if done.load(Ordering::SeqCst) {
                return Ok((node, kills, reorganisations));
            }
            let depth = DEPTHS[random.random_range(0..DEPTHS.len())];
            let (reorganise, while_it_is_away) = (random.random_bool(0.4), random.random_bool(0.5));
            if reorganise && !while_it_is_away {
                self.reorganise(depth)?;
                thread::sleep(pause(random, 2));
            }
            node.kill()?;
            kills += 1;
            if reorganise && while_it_is_away {
                self.reorganise(depth)?;
            }
            reorganisations += u64::from(reorganise);
            node = self.node()?;
        }
    }

    /// Hands in records until so many batches are on L1. Returns the numbers of the acknowledged documents by the names of their records.
    fn write(&self, settlements: u64, random: &mut StdRng) -> TestResult<BTreeMap<String, u64>> {
        let (mut documents, mut acknowledged) = (0, BTreeMap::new());
        let (mut most, mut grown) = (0, Instant::now());
        loop {
            let before = self.batches()?.len();
            if before as u64 >= settlements {
                return Ok(acknowledged);
            }
            if before > most {
                (most, grown) = (before, Instant::now());
            } else if grown.elapsed() > BATCH {
                return Err(format!("no batch after {most}").into());
            }
            for _ in 0..random.random_range(1..=AT_ONCE) {
                fs::write(self.world.at("document.json"), document(documents))?;
                if let Some(said) = self.ask(&["put", "document.json", "--class", "summary"])? {
                    let name = said["record"].as_str().ok_or("a record")?.to_owned();
                    assert_eq!(acknowledged.insert(name, documents), None, "two records have one name");
                }
                documents += 1;
            }
            let started = Instant::now();
            while self.batches()?.len() <= before && started.elapsed() < IMPATIENT {
                thread::sleep(5 * POLL);
            }
        }
    }

    /// Waits until nothing of the patient's is on its way.
    fn until_all_is_settled(&self) -> TestResult {
        let started = Instant::now();
        loop {
            // Each command hands in what an earlier one could not.
            let handed_in = self.ask(&["records"])?.is_some();
            let outbox = self.ask(&["outbox", "list"])?.ok_or("the outbox")?;
            if handed_in && outbox["operations"].as_array().is_some_and(Vec::is_empty) {
                return Ok(());
            }
            if started.elapsed() > BATCH {
                return Err(format!("not settled: {outbox}").into());
            }
            thread::sleep(5 * POLL);
        }
    }

    /// Checks the batches on L1 and all records. Returns how many records there are.
    fn check(&self, acknowledged: &BTreeMap<String, u64>) -> TestResult<usize> {
        let batches = self.batches()?;
        let mut root = batches.first().ok_or("a batch")?.content.pre;
        let (mut entries, mut written) = (BTreeSet::new(), 0);
        for (batch, number) in batches.iter().zip(1..) {
            assert_eq!((batch.number, batch.content.pre), (number, root));
            root = batch.content.post;
            for words in &batch.content.d2 {
                assert!(entries.insert(words), "an operation is settled twice");
                let (_, target) = D2Entry::from_bytes(words)?.target().ok_or("no leaf of a patient")?;
                written += usize::from(matches!(target, Target::Record(_)));
            }
        }

        let listed = self.ask(&["records"])?.ok_or("the records")?;
        let records = listed["records"].as_array().ok_or("records")?;
        assert_eq!(records.len(), written, "each record is written once: {listed}");
        let mut documents = BTreeSet::new();
        for record in records {
            assert_eq!(record["settled"], true, "{record}");
            let name = record["record"].as_str().ok_or("a name")?;
            let read: Value = serde_json::from_str(&self.patient(&["get", name])?.done()?)?;
            if let Some(number) = acknowledged.get(name) {
                assert_eq!(read, serde_json::from_str::<Value>(&document(*number))?, "{name}");
            }
            assert!(documents.insert(read["id"].to_string()), "{read} is there twice");
        }
        let names: BTreeSet<_> = records.iter().filter_map(|record| record["record"].as_str()).collect();
        let lost: Vec<_> = acknowledged.keys().filter(|name| !names.contains(name.as_str())).collect();
        assert!(lost.is_empty(), "{lost:?} were acknowledged");
        let verified = self.ask(&["verify"])?.ok_or("the check")?;
        assert_eq!(verified["light_verified"], true, "{verified}");
        Ok(records.len())
    }
}

#[test]
fn kills_and_reorganisations_lose_nothing_and_settle_nothing_twice() -> TestResult {
    let Some(anvil) = Anvil::start_or_skip(&["--chain-id", "31337", "--block-time", "1"])? else { return Ok(()) };
    let Some(kubo) = Kubo::start_or_skip()? else { return Ok(()) };
    let (settlements, seed) = (setting("EMR_SOAK_SETTLEMENTS", SETTLEMENTS)?, setting("EMR_SOAK_SEED", 1)?);
    let mut world = World::new()?;
    world.rpc = port(anvil.url())?;
    let (rpc, listen) = (anvil.url().to_owned(), format!("127.0.0.1:{}", world.node));
    world.hospital(&["init", "--rsa-bits", "2048"])?.done()?;
    world.hospital(&["deploy", "--rpc", &rpc])?.done()?;
    let contract = world.contract()?;
    let serve = ["serve", "--rpc", &rpc, "--ipfs", kubo.url(), "--listen", &listen, "--no-prove", "--seal-after", "1"];
    let ward = Ward { world, contract, serve: serve.map(str::to_owned).to_vec() };
    let node = ward.node()?;
    ward.world.hospital(&["prover", "add", "other", "--output", "other"])?.done()?;
    let at = format!("http://{listen}");
    let _prover = ward.world.serving("prover", &["prove", "--node", &at, "--credential", "other"])?;
    ward.patient(&["init", "--rsa-bits", "2048"])?.done()?;
    let invitation = ward.world.hospital(&["invite"])?.done()?;
    ward.world.joining("emr-patient", "patient", &["register", "--wait", "--invite", invitation.trim()])?.done()?;
    ward.world.ask_chain("anvil_mine", [OUT_OF_REACH])?;

    let settlements = settlements + ward.batches()?.len() as u64;
    let done = AtomicBool::new(false);
    let (mut faults, mut writes) = (StdRng::seed_from_u64(seed), StdRng::seed_from_u64(!seed));
    let (acknowledged, disturbed) = thread::scope(|scope| {
        let disturbing = scope.spawn(|| ward.disturb(node, &mut faults, &done).map_err(|error| error.to_string()));
        let acknowledged = ward.write(settlements, &mut writes);
        done.store(true, Ordering::SeqCst);
        (acknowledged, disturbing.join())
    });
    let (acknowledged, (node, kills, reorganisations)) = (acknowledged?, disturbed.map_err(|_| "a panic")??);
    ward.until_all_is_settled()?;
    let records = ward.check(&acknowledged)?;
    let batches = ward.batches()?.len();
    println!(
        "{batches} batches, {records} records, {} of them acknowledged at first, {kills} kills, {reorganisations} reorganisations, seed {seed}",
        acknowledged.len()
    );
    assert_eq!(node.end("TERM", Duration::from_secs(30))?, Some(0));
    Ok(())
}
