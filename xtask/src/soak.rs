//! Tests of holes that show under load only, run for longer than `cargo xtask test` does.

use std::{num::NonZeroU32, path::Path};

use clap::ValueEnum;

use crate::checks::{self, CheckError};

/// What is put under load. A test that soaks repeats its rounds for as many minutes as the variable `EMR_SOAK_MINUTES` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Soak {
    /// Floods of connections, slow bodies, submissions and registrations, while a patient ends grants
    Http,
    /// Ten thousand accounts that fill the mempool, while a patient ends a grant; runs once, for as long as that takes
    Mempool,
}

impl Soak {
    /// Package, test target, and the tests in it.
    const fn tests(self) -> [&'static str; 4] {
        match self {
            Self::Http => ["emr-node", "--test", "node", "flood::"],
            Self::Mempool => ["emr-node", "--lib", "--all-features", "sequencer::hostile::"],
        }
    }
}

/// Runs the tests.
///
/// # Errors
/// [`CheckError`] if one fails.
pub(crate) fn run(root: &Path, soak: Soak, minutes: NonZeroU32) -> Result<(), CheckError> {
    let [package, kind, target, tests] = soak.tests();
    let mut command = checks::cargo(root, "test");
    command.args(["--release", "--package", package, kind, target, "--", "--nocapture", tests]);
    checks::run(command.env("EMR_SOAK_MINUTES", minutes.to_string()).env("EMR_SOAK_ACCOUNTS", "10000"))
}
