//! Runs tests of faults that show only under load, for longer than `cargo xtask test`.

use std::{
    num::{NonZeroU32, NonZeroU64},
    path::Path,
    time::Duration,
};

use clap::{Args, ValueEnum};

use crate::checks::{self, CheckError};
use crate::fuzz;

/// The kind of load. The tests read how long to run from the variables `EMR_SOAK_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Soak {
    /// Floods of connections, slow bodies, submissions and registrations, while a patient revokes grants
    Http,
    /// Ten thousand accounts that fill all places for operations, while a patient revokes a grant; runs once, without a time limit
    Mempool,
    /// A file of one GiB beside a record: sent, killed, sent on and fetched with the programs, whose memory is bounded; runs once, without a time limit
    Attachment,
    /// Random histories of uploads, records, deletions, reorganisations and crashes, while the block store is swept
    Storage,
    /// How long a node's start takes with twenty thousand operations, with snapshots and without; runs once, without a time limit
    Snapshots,
    /// The hospital's program is killed and L1 takes back blocks while batches settle
    Settle,
    /// Every hint with other values; then many changed hints of honest batches: what the circuit accepts, the plain statement must accept too
    Hints,
    /// The fuzzers of all parsers, or of one; needs nightly Rust and cargo-fuzz
    Fuzz,
    /// Changed proofs, which the native verifier, the verifier contract and snark-verifier's contract must all refuse
    Verifier,
}

impl Soak {
    /// The package, the test target, and the names of the tests.
    const fn tests(self) -> (&'static str, &'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Fuzz => ("emr-fuzz", &[], &[]),
            Self::Http => ("emr-node", &["--test", "node"], &["flood::"]),
            Self::Mempool => ("emr-node", &["--lib", "--all-features"], &["sequencer::hostile::"]),
            Self::Attachment => ("emr-cli", &["--test", "programs"], &["attachments::"]),
            Self::Storage => ("emr-node", &["--lib", "--all-features"], &["storage::"]),
            Self::Snapshots => ("emr-node", &["--lib", "--all-features"], &["start_time::"]),
            Self::Settle => ("emr-cli", &["--test", "programs"], &["settle::"]),
            Self::Hints => ("emr-rollup", &["--lib", "--all-features"], &["every_hint_is_bound", "changed_hints"]),
            Self::Verifier => ("emr-rollup", &["--test", "circuit_proof", "--all-features"], &["changed_proofs"]),
        }
    }
}

/// How long to run, and from where.
#[derive(Debug, Args)]
pub(crate) struct Length {
    /// For fuzz: the only target to run
    #[arg(value_name = "TARGET")]
    target: Option<String>,
    /// How many minutes to run, approximately [default: 10; for settle and verifier, until all is done]
    #[arg(long, value_name = "N")]
    minutes: Option<NonZeroU32>,
    /// For verifier: how many changed proofs, together with those of earlier runs with the same seed
    #[arg(long, value_name = "N", default_value = "1000000")]
    changes: NonZeroU64,
    /// For settle: how many batches to settle
    #[arg(long, value_name = "N", default_value = "50")]
    settlements: NonZeroU64,
    /// For attachment: the file's size in MiB
    #[arg(long, value_name = "N", default_value = "1024")]
    mebibytes: NonZeroU64,
    /// For settle, hints and verifier: decides when the program is killed, or what is changed. For verifier, the seed of an earlier run continues it
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
}

/// Runs the tests.
///
/// # Errors
/// Returns [`CheckError`] if a test fails.
pub(crate) fn run(root: &Path, soak: Soak, length: &Length) -> Result<(), CheckError> {
    const MINUTES: NonZeroU32 = NonZeroU32::new(10).unwrap();
    let minutes = length.minutes.unwrap_or(MINUTES);
    if soak == Soak::Fuzz {
        return fuzz::run(root, length.target.as_deref(), Duration::from_secs(60 * u64::from(minutes.get())));
    }
    let (package, target, tests) = soak.tests();
    let mut command = checks::cargo(root, "test");
    command.args(["--release", "--package", package]).args(target).args(["--", "--nocapture"]).args(tests);
    command.env("EMR_SOAK_ACCOUNTS", "10000");
    let minutes = match soak {
        Soak::Verifier => {
            command.env("EMR_SOAK_CHANGES", length.changes.to_string()).env("EMR_SOAK_SEED", length.seed.to_string());
            length.minutes
        }
        Soak::Hints => {
            command.env("EMR_SOAK_SEED", length.seed.to_string());
            Some(minutes)
        }
        Soak::Settle => {
            command.env("EMR_SOAK_SETTLEMENTS", length.settlements.to_string());
            command.env("EMR_SOAK_SEED", length.seed.to_string());
            None
        }
        Soak::Snapshots => {
            command.env("EMR_SOAK_OPERATIONS", "20000");
            None
        }
        Soak::Attachment => {
            command.env("EMR_SOAK_MEBIBYTES", length.mebibytes.to_string());
            None
        }
        Soak::Http | Soak::Mempool | Soak::Storage | Soak::Fuzz => Some(minutes),
    };
    if let Some(minutes) = minutes {
        command.env("EMR_SOAK_MINUTES", minutes.to_string());
    }
    checks::run(&mut command)
}
