//! `settle-queue`: settles overdue entries of the queues on L1, as anyone may.

use std::{io::Write, time::Instant};

use alloy::primitives::B256;
use emr_core::Role;
use emr_rollup::{
    batch::Prover as _,
    prover::Provers,
    setup::{SetupChoice, SetupId},
};
use serde::Serialize;

use super::{Memory, site::key_cache};
use crate::{
    failure::{Exit, Failure, OrExit},
    force,
    options::Options,
    report::{Answer, Progress, print},
};

/// The command line.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Arguments {
    /// The setup that the rollup's keys come from, if it is the one of a ceremony; `emr-hospital setup` keeps it here
    #[arg(long, value_name = "SETUP")]
    setup: Option<SetupId>,
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

/// Settles the entries that are overdue now. Needs ether, and nothing of the hospital: the state comes from L1's data.
///
/// # Errors
/// Fails if the Ethereum node does not answer or shows other data than the contract's, or if somebody else was faster.
pub async fn run(options: &Options, role: Role, arguments: Arguments) -> Result<(), Failure> {
    let setup = arguments.setup.map_or(SetupChoice::InsecureDevelopment, SetupChoice::Imported);
    let client = force::open(options, role).await?;
    client.require_ether().await?;
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
