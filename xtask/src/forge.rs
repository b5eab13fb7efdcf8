//! Runs the contracts' tests that are written in Solidity, with the pinned forge and the pinned compiler.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::parts::Parts;

use crate::checks::{self, CheckError};

/// Runs `forge test` with more arguments, such as `--match-test NAME`. The parts must be installed.
pub(crate) fn run(root: &Path, parts: &Parts, arguments: &[String]) -> Result<(), CheckError> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let mut forge = Command::new(parts.forge());
    forge.current_dir(root.join("contracts"));
    forge.args(["test", "--offline", "--use"]).arg(root.join("xtask/parts/forge/solc.js")).args(arguments);
    forge.env("FOUNDRY_PROFILE", "default").env("EMR_SOLC", parts.solc_modules().join("solc"));
    forge.env("FOUNDRY_OUT", target.join("forge/out")).env("FOUNDRY_CACHE_PATH", target.join("forge/cache"));
    checks::run(&mut forge)
}
