//! `cargo xtask`: see the README of this package.

mod checks;
mod contracts;
mod forge;
mod fuzz;
mod new_key;
mod slither;
mod soak;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use checks::CheckError;
use clap::{Parser, Subcommand};
use contracts::ContractsError;
use new_key::NewKeyError;
use slither::SlitherError;
use xtask::parts::{PartError, Parts};

/// Development tasks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Fetch the pinned real parts (Kubo, anvil, geth, forge, solc, OpenZeppelin, kill-the-clipboard, pydicom) into the cache
    Parts,
    /// Run all tests, with the real parts
    Test {
        /// Skip the tests that need Kubo, anvil, geth or Node.js, with a line for each; the others need only Rust
        #[arg(long)]
        embedded: bool,
    },
    /// Compile contracts/src into contracts/artifacts
    Contracts {
        /// Write nothing; fail if the committed artefacts do not match the sources
        #[arg(long)]
        check: bool,
    },
    /// Run the contracts' tests in contracts/test/forge
    Forge {
        /// More arguments for `forge test`, such as `--match-test NAME` or `-vvvv`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run slither over contracts/src, and compare what it finds with the answers in contracts/slither.json
    Slither,
    /// Run the tests of one kind of load for longer
    Soak {
        /// The kind of load
        name: soak::Soak,
        #[command(flatten)]
        length: soak::Length,
    },
    /// After a change of the circuit: write the digests of the layouts, the verifying keys, the artefacts and the gas figures
    NewKey,
    /// Run everything that must pass before a change lands: format, lints, docs, artefacts, tests
    Ci,
}

/// Why a task failed.
#[derive(Debug, thiserror::Error)]
enum TaskError {
    #[error(transparent)]
    Part(#[from] PartError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Contracts(#[from] ContractsError),
    #[error(transparent)]
    NewKey(#[from] NewKeyError),
    #[error(transparent)]
    Slither(#[from] SlitherError),
}

fn main() -> ExitCode {
    match run(&Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: &Task) -> Result<(), TaskError> {
    let root = workspace();
    match task {
        Task::Parts => {
            let parts = Parts::open()?;
            parts.install()?;
            println!("EMR_KUBO={}", parts.kubo().display());
            println!("EMR_ANVIL={}", parts.anvil().display());
            println!("EMR_GETH={}", parts.geth().display());
            println!("EMR_FORGE={}", parts.forge().display());
            println!("EMR_SHL_VIEWER={}", parts.shl_viewer().display());
            println!("EMR_JOSE={}", parts.jose().display());
        }
        Task::Test { embedded: true } => checks::test_embedded(&root)?,
        Task::Test { embedded: false } => {
            let parts = Parts::open()?;
            parts.install()?;
            forge::run(&root, &parts, &[])?;
            checks::test(&root, &parts)?;
        }
        Task::Forge { arguments } => {
            let parts = Parts::open()?;
            parts.install_solc()?;
            parts.install_forge()?;
            forge::run(&root, &parts, arguments)?;
        }
        Task::Slither => slither::run(&root)?,
        Task::Soak { name, length } => soak::run(&root, *name, length)?,
        Task::NewKey => new_key::run(&root)?,
        Task::Contracts { check } => contracts::run(&root, *check)?,
        Task::Ci => {
            checks::lint(&root)?;
            let parts = Parts::open()?;
            parts.install()?;
            contracts::run(&root, true)?;
            forge::run(&root, &parts, &[])?;
            checks::test(&root, &parts)?;
            checks::demo(&root)?;
            checks::unchanged(&root)?;
        }
    }
    Ok(())
}

/// The root of the workspace. This package is a folder in it.
fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_path_buf()
}
