//! `settle-queue`: settles overdue entries of the queues on L1, as anyone may.

use std::{io::Write, time::Instant};

use alloy::primitives::B256;
use emr_chain::VerifierCode;
use emr_client::{ClientError, L1Client};
use emr_core::Role;
use emr_rollup::{
    batch::Prover as _,
    prover::{ProverError, Provers, Setup},
    setup::SetupChoice,
    version::CircuitSizes,
};
use serde::Serialize;

use super::{Memory, setup, site::key_cache};
use crate::{
    failure::{Exit, Failure, OrExit},
    on_l1,
    options::Options,
    report::{Answer, Progress, print},
};

/// The command line.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Arguments {
    /// The memory for proving.
    #[command(flatten)]
    memory: Memory,
}

#[derive(Debug, Serialize)]
struct Settled {
    entries: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_hash: Option<B256>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prove_seconds: Option<f64>,
}

impl Answer for Settled {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        match (self.tx_hash, self.prove_seconds) {
            (Some(tx_hash), Some(seconds)) => {
                writeln!(out, "entries settled: {}, proved in {seconds:.1} s ({tx_hash})", self.entries)
            }
            _ => writeln!(out, "nothing is overdue that anyone may settle"),
        }
    }
}

/// The setup of the rollup's keys, which must be on this machine if it is a ceremony's. The Ethereum node shows the keys. If it lies, the contract
/// refuses the proof.
async fn setup_of(client: &L1Client) -> Result<SetupChoice, Failure> {
    let carried = VerifierCode::development();
    let (keys, sizes) = (client.rollup().verifying_keys().await, client.rollup().sizes().await);
    let (keys, sizes) = (keys.map_err(ClientError::from)?, sizes.map_err(ClientError::from)?);
    if keys.iter().any(|code| !code.is_empty() && carried.iter().any(|carried| carried.key.ends_with(code))) {
        return Ok(SetupChoice::InsecureDevelopment);
    }
    let id = keys.first().and_then(|code| Setup::of_key(code));
    let id = id
        .ok_or_else(|| Failure::new(Exit::Unverified, "the rollup's keys are not of a kind that this program knows"))?;
    let (known, folder) = (CircuitSizes::v1_all(), key_cache()?);
    for k in setup::powers(sizes.iter().filter_map(|size| known.with_slots(size.max_l1, size.max_l2))) {
        let keys = folder.clone();
        let found = tokio::task::spawn_blocking(move || Setup::imported(&keys, k, id).is_some());
        if !found.await.or_exit(Exit::Internal)? {
            return Err(ProverError::NoSetup { id, k, folder }).or_exit(Exit::Storage);
        }
    }
    Ok(SetupChoice::Imported(id))
}

/// Settles the entries that are overdue now. Needs ether, and nothing of the hospital: the state comes from L1's data.
///
/// # Errors
/// Fails if the Ethereum node does not answer or shows other data than the contract's, or if somebody else was faster.
pub async fn run(options: &Options, role: Role, arguments: Arguments) -> Result<(), Failure> {
    let client = on_l1::open(options, role).await?;
    client.require_ether().await?;
    let setup = setup_of(&client).await?;
    let progress = Progress::start("deriving the state from L1");
    let Some(batch) = client.overdue_batch().await? else {
        drop(progress);
        return print(&Settled { entries: 0, tx_hash: None, prove_seconds: None }, options.json);
    };
    let entries = batch.entries();
    progress.say(format!("reading the proving key for {entries} entries"));
    let mut provers = Provers::new(key_cache()?, setup, arguments.memory.bytes());
    let (size, witness, public) =
        (batch.sealed.witness().version, batch.sealed.witness().clone(), *batch.sealed.public());
    let proving = tokio::task::spawn_blocking(move || {
        let prover = provers.of(size, |stage| progress.say(format!("{stage}, {}", size.slots())));
        let prover = prover.or_exit(Exit::Storage)?;
        let started = Instant::now();
        progress.say("proving");
        let proof = prover.prove(&witness, &public).or_exit(Exit::Unverified)?;
        Ok::<_, Failure>((proof, started.elapsed().as_secs_f64()))
    });
    let (proof, seconds) = proving.await.or_exit(Exit::Internal)??;
    let progress = Progress::start("waiting for the transaction");
    let receipt = client.settle_overdue(batch, proof).await?;
    drop(progress);
    print(&Settled { entries, tx_hash: Some(receipt.tx_hash), prove_seconds: Some(seconds) }, options.json)
}
