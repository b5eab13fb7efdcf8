//! The checks, each a command that anyone can run by hand.

use std::env;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Instant;

use xtask::parts::Parts;

/// One profile, so that every crate is built once; the lock file as it is; every crate with everything in it.
const WHOLE: [&str; 4] = ["--release", "--workspace", "--locked", "--all-features"];

/// A check failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    #[error("`{command}` could not be started: {source}")]
    Start { command: String, source: io::Error },
    #[error("`{command}` failed ({status}): what it wrote above says why")]
    Failed { command: String, status: ExitStatus },
}

/// Format, lints and documentation, cheapest first.
pub(crate) fn lint(root: &Path) -> Result<(), CheckError> {
    run(cargo(root, "fmt").args(["--all", "--check"]))?;
    run(cargo(root, "clippy").args(WHOLE).args(["--all-targets", "--", "-D", "warnings"]))?;
    run(cargo(root, "doc").args(WHOLE).arg("--no-deps").env("RUSTDOCFLAGS", "-Dwarnings"))
}

/// All tests; one that needs a real part and does not find it fails.
pub(crate) fn test(root: &Path, parts: &Parts) -> Result<(), CheckError> {
    let real = [("EMR_KUBO", parts.kubo()), ("EMR_ANVIL", parts.anvil())];
    run(cargo(root, "test").args(WHOLE).envs(real).env("EMR_REQUIRE_REAL", "1"))
}

/// The tests that need Rust alone.
pub(crate) fn test_embedded(root: &Path) -> Result<(), CheckError> {
    run(cargo(root, "test").args(WHOLE).env("EMR_REQUIRE_REAL", "0"))
}

/// Some tests, named as `cargo test` takes them, with variables for the tests. Over the whole workspace, so that no dependency is built
/// again with fewer features.
pub(crate) fn some_tests(root: &Path, which: &[&str], variables: &[(&str, &str)]) -> Result<(), CheckError> {
    run(cargo(root, "test").args(WHOLE).args(which).envs(variables.iter().copied()))
}

/// The README's first command.
pub(crate) fn demo(root: &Path) -> Result<(), CheckError> {
    run(cargo(root, "run").args(["--release", "--locked", "--bin", "emr-hospital", "--", "demo"]))
}

/// Nothing that was run changed a committed file.
pub(crate) fn unchanged(root: &Path) -> Result<(), CheckError> {
    run(Command::new("git").current_dir(root).args(["diff", "--exit-code"]))
}

/// A cargo command in the workspace.
pub(crate) fn cargo(root: &Path, task: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).arg(task);
    command
}

/// Runs a command, and says which and how long it took.
pub(crate) fn run(command: &mut Command) -> Result<(), CheckError> {
    let name = |command: &Command| {
        let words = command.get_args().map(|word| word.to_string_lossy());
        words.fold(command.get_program().to_string_lossy().into_owned(), |line, word| line + " " + &word)
    };
    eprintln!("xtask: {}", name(command));
    let begin = Instant::now();
    let status = command.status().map_err(|source| CheckError::Start { command: name(command), source })?;
    eprintln!("xtask: {:.0} s", begin.elapsed().as_secs_f64());
    if status.success() { Ok(()) } else { Err(CheckError::Failed { command: name(command), status }) }
}
