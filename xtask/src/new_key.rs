//! `cargo xtask new-key`: regenerates everything that depends on the verifying key, after a change of the circuit.

use std::path::Path;

use crate::checks::{self, CheckError};
use crate::contracts::{self, ContractsError};

/// A step failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NewKeyError {
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Contracts(#[from] ContractsError),
}

/// Writes the digests of the layouts, the keys for the verifier contract, snark-verifier's contract and a proof for tests, the
/// artefacts and the gas figures, each after the one that it needs. Then runs the tests that compare them. The tests
/// that write the first four fail while the old artefact of snark-verifier's contract is there. This is expected: the
/// comparison at the end decides.
pub(crate) fn run(root: &Path) -> Result<(), NewKeyError> {
    let proofs = ["--test", "circuit_proof"];
    match checks::some_tests(root, &proofs, &[("EMR_REGENERATE", "1")]) {
        Ok(()) => eprintln!("xtask: the keys are unchanged"),
        Err(CheckError::Failed { .. }) => eprintln!("xtask: digests and keys are written; the artefacts are next"),
        Err(error) => return Err(error.into()),
    }
    contracts::run(root, false)?;
    checks::some_tests(root, &["--test", "contracts", "gas"], &[("EMR_UPDATE_GAS", "1")])?;
    Ok(checks::some_tests(root, &proofs, &[])?)
}
