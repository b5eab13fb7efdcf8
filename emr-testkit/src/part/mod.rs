//! The real programs that tests use. They are started on 127.0.0.1, and ended when dropped.
//!
//! A test calls `start_or_skip`. If the program is not installed, this prints a line `skipped: ..` to stderr and
//! returns `None`. With `CI=true` or `EMR_REQUIRE_REAL=1` it is an error instead, so that no test is skipped unnoticed.
//! With `EMR_REQUIRE_REAL=0`, which `cargo xtask test --embedded` sets, tests are skipped even if the program is
//! installed.

mod anvil;
mod geth;
mod jose;
mod kubo;
mod process;
mod pydicom;
mod shl_viewer;

pub use anvil::Anvil;
pub use geth::Geth;
pub use jose::{JoseLibrary, JoseName};
pub use kubo::Kubo;
pub use pydicom::Pydicom;
pub use shl_viewer::ShlViewer;

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Why a part could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartError {
    /// There is no cache folder for parts.
    #[error(transparent)]
    Cache(#[from] xtask::parts::PartError),
    /// A part is not installed.
    #[error("{part} is not installed at {}: run `cargo xtask parts`, or `cargo xtask test`, which installs it", path.display())]
    NotInstalled {
        /// The part.
        part: &'static str,
        /// The path where it should be.
        path: PathBuf,
    },
    /// A part is installed but did not start.
    #[error("{part} did not start: {reason}")]
    Start {
        /// The part.
        part: &'static str,
        /// Its last output, or that it was not ready in time.
        reason: String,
    },
    /// A file of the part could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl PartError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }
}

/// How the environment wants tests with real parts to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Demand {
    /// Run if it is installed.
    IfThere,
    /// Fail if it is not installed.
    Required,
    /// Do not run.
    No,
}

impl Demand {
    fn read() -> Self {
        let is = |name, value| env::var_os(name).is_some_and(|found| found == value);
        Self::from(is("CI", "true"), is("EMR_REQUIRE_REAL", "1"), is("EMR_REQUIRE_REAL", "0"))
    }

    /// In CI, nothing is skipped, even if `EMR_REQUIRE_REAL=0` asks for it.
    fn from(ci: bool, required: bool, unwanted: bool) -> Self {
        match (ci || required, unwanted) {
            (true, _) => Self::Required,
            (false, true) => Self::No,
            (false, false) => Self::IfThere,
        }
    }
}

/// Whether a test with a real part runs.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// It runs, and starts this program.
    Program(PathBuf),
    /// It is skipped for this reason.
    Skip(&'static str),
}

impl Found {
    fn decide(part: &'static str, path: PathBuf, demand: Demand) -> Result<Self, PartError> {
        match (demand, path.is_file()) {
            (Demand::Required | Demand::IfThere, true) => Ok(Self::Program(path)),
            (Demand::Required, false) => Err(PartError::NotInstalled { part, path }),
            (Demand::IfThere, false) => Ok(Self::Skip("is not installed; `cargo xtask test` installs it")),
            (Demand::No, _) => Ok(Self::Skip("is not wanted (EMR_REQUIRE_REAL=0)")),
        }
    }
}

/// The program to start, or `None` if the test must be skipped.
fn find_or_skip(part: &'static str, path: PathBuf) -> Result<Option<PathBuf>, PartError> {
    match Found::decide(part, path, Demand::read())? {
        Found::Program(program) => Ok(Some(program)),
        Found::Skip(reason) => {
            // Does not use `eprintln`, because the test harness hides its output if a test passes.
            let line = format!("skipped: {part} {reason}\n");
            let _ = io::stderr().write_all(line.as_bytes());
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_part_fails_where_it_is_required() {
        let missing = || PathBuf::from("/nonexistent/ipfs");
        for (ci, required, unwanted) in [(true, false, false), (false, true, false), (true, false, true)] {
            let found = Found::decide("Kubo", missing(), Demand::from(ci, required, unwanted));
            assert!(matches!(found, Err(PartError::NotInstalled { part: "Kubo", .. })));
        }
        assert!(matches!(Found::decide("Kubo", missing(), Demand::from(false, false, false)), Ok(Found::Skip(_))));
    }

    #[test]
    fn an_installed_part_is_used_unless_it_is_unwanted() -> Result<(), Box<dyn std::error::Error>> {
        let program = env::current_exe()?;
        assert_eq!(Found::decide("Kubo", program.clone(), Demand::IfThere)?, Found::Program(program.clone()));
        assert!(matches!(Found::decide("Kubo", program, Demand::No)?, Found::Skip(_)));
        Ok(())
    }
}
