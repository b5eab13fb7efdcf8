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
    environment(&mut forge, root, parts, "default", &target.join("forge"));
    checks::run(forge.args(["test", "--offline"]).args(arguments))
}

/// Lets forge work in `contracts` with a profile of `foundry.toml` and the pinned parts. It writes only under `output`.
pub(crate) fn environment(command: &mut Command, root: &Path, parts: &Parts, profile: &str, output: &Path) {
    let modules = parts.solc_modules();
    command
        .current_dir(root.join("contracts"))
        .env("FOUNDRY_PROFILE", profile)
        .env("FOUNDRY_SOLC", root.join("xtask/parts/forge/solc.js"))
        .env("EMR_SOLC", modules.join("solc"))
        .env("FOUNDRY_REMAPPINGS", format!("@openzeppelin/={}/", modules.join("@openzeppelin").display()))
        .env("FOUNDRY_OUT", output.join("out"))
        .env("FOUNDRY_CACHE_PATH", output.join("cache"))
        .env("FOUNDRY_TEST_FAILURES_FILE", output.join("failures"))
        .env("FOUNDRY_FUZZ_FAILURE_PERSIST_DIR", output.join("cache/fuzz"))
        .env("FOUNDRY_INVARIANT_FAILURE_PERSIST_DIR", output.join("cache/invariant"));
}
