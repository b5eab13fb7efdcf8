//! Runs tests of faults that show only under load, for longer than `cargo xtask test`.

use std::{num::NonZeroU32, path::Path};

use clap::ValueEnum;

use crate::checks::{self, CheckError};

/// The kind of load. The tests repeat their rounds for as many minutes as the variable `EMR_SOAK_MINUTES` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Soak {
    /// Floods of connections, slow bodies, submissions and registrations, while a patient revokes grants
    Http,
    /// Ten thousand accounts that fill all places for operations, while a patient revokes a grant; runs once, without a time limit
    Mempool,
    /// Random histories of uploads, records, deletions, reorganisations and crashes, while the block store is swept
    Storage,
    /// Changed proofs, which the native verifier, the verifier contract and snark-verifier's contract must all refuse
    Verifier,
}

impl Soak {
    /// The package, the test target, and the names of the tests.
    const fn tests(self) -> (&'static str, &'static [&'static str], &'static str) {
        match self {
            Self::Http => ("emr-node", &["--test", "node"], "flood::"),
            Self::Mempool => ("emr-node", &["--lib", "--all-features"], "sequencer::hostile::"),
            Self::Storage => ("emr-node", &["--lib", "--all-features"], "storage::"),
            Self::Verifier => ("emr-rollup", &["--test", "circuit_proof", "--all-features"], "changed_proofs"),
        }
    }
}

/// Runs the tests.
///
/// # Errors
/// Returns [`CheckError`] if a test fails.
pub(crate) fn run(root: &Path, soak: Soak, minutes: NonZeroU32) -> Result<(), CheckError> {
    let (package, target, tests) = soak.tests();
    let mut command = checks::cargo(root, "test");
    command.args(["--release", "--package", package]).args(target).args(["--", "--nocapture", tests]);
    checks::run(command.env("EMR_SOAK_MINUTES", minutes.to_string()).env("EMR_SOAK_ACCOUNTS", "10000"))
}
