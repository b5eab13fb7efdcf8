//! The checks. Each is a command that you can also run by hand.

use std::env;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Instant;

use xtask::parts::Parts;

/// Arguments for all checks: one profile, so that every crate is built once; the committed lock file; all crates and
/// features.
const WHOLE: [&str; 4] = ["--release", "--workspace", "--locked", "--all-features"];

/// A check failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    #[error("`{command}` could not be started: {source}")]
    Start { command: String, source: io::Error },
    #[error("`{command}` failed ({status}): see its output above")]
    Failed { command: String, status: ExitStatus },
}

/// Checks format, lints and documentation, the fastest first.
pub(crate) fn lint(root: &Path) -> Result<(), CheckError> {
    run(cargo(root, "fmt").args(["--all", "--check"]))?;
    run(cargo(root, "clippy").args(WHOLE).args(["--all-targets", "--", "-D", "warnings"]))?;
    run(cargo(root, "doc").args(WHOLE).arg("--no-deps").env("RUSTDOCFLAGS", "-Dwarnings"))
}

/// Runs all tests. A test fails if its real part is not installed.
pub(crate) fn test(root: &Path, parts: &Parts) -> Result<(), CheckError> {
    let real = [
        ("EMR_KUBO", parts.kubo()),
        ("EMR_ANVIL", parts.anvil()),
        ("EMR_GETH", parts.geth()),
        ("EMR_SHL_VIEWER", parts.shl_viewer()),
        ("EMR_JOSE", parts.jose()),
    ];
    run(cargo(root, "test").args(WHOLE).envs(real).env("EMR_REQUIRE_REAL", "1"))?;
    test_default_back_end(root)
}

/// Runs the tests that need only Rust.
pub(crate) fn test_embedded(root: &Path) -> Result<(), CheckError> {
    run(cargo(root, "test").args(WHOLE).env("EMR_REQUIRE_REAL", "0"))?;
    test_default_back_end(root)
}

/// Runs the tests of `emr-crypto` without features. With all features it uses AWS-LC, and the programs by default do not.
fn test_default_back_end(root: &Path) -> Result<(), CheckError> {
    run(cargo(root, "test").args(["--release", "--locked", "--package", "emr-crypto"]))
}

/// Runs some tests, named by arguments of `cargo test`, with environment variables. Selects the whole workspace, so
/// that no dependency is built again with fewer features.
pub(crate) fn some_tests(root: &Path, which: &[&str], variables: &[(&str, &str)]) -> Result<(), CheckError> {
    run(cargo(root, "test").args(WHOLE).args(which).envs(variables.iter().copied()))
}

/// Runs the README's first command.
pub(crate) fn demo(root: &Path) -> Result<(), CheckError> {
    run(cargo(root, "run").args(["--release", "--locked", "--bin", "emr-hospital", "--", "demo"]))
}

/// Checks that no command changed a committed file.
pub(crate) fn unchanged(root: &Path) -> Result<(), CheckError> {
    run(Command::new("git").current_dir(root).args(["diff", "--exit-code"]))
}

/// Prepares a cargo command in the workspace.
pub(crate) fn cargo(root: &Path, task: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).arg(task);
    command
}

/// Prints and runs a command, and prints how long it took.
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
