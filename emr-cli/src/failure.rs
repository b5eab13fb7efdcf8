//! How a command fails: one line that says what to do next, and a documented exit code.

use serde::Serialize;

/// Exit codes, the same for all three command lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Exit {
    /// Something went wrong that is not the caller's doing.
    Internal = 1,
    /// The command line is wrong. (Also what the argument parser uses.)
    Usage = 2,
    /// A file or a value given is not what it should be.
    Input = 3,
    /// The rules forbid it: no grant, revoked, not the owner.
    Refused = 4,
    /// A node or the chain cannot be reached, something is in use, or not settled yet. Trying again later may help.
    Unavailable = 5,
    /// Something does not verify: bytes, a signature, a proof, a state root.
    Unverified = 6,
    /// The disk refused.
    Storage = 7,
    /// The identity file or its passphrase.
    Identity = 8,
}

/// What [`Exit`] means, for `--help`.
pub const EXIT_CODES: &str = "Exit codes:
  0  done
  1  internal error
  2  wrong command line
  3  a file or value given is not what it should be
  4  refused by the rules (no grant, revoked, not yours)
  5  not reachable, in use, or not settled yet; try again later
  6  something does not verify
  7  the disk refused
  8  identity file or passphrase";

/// A command failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    /// A failure with a line that says what to do next.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

/// Writes an error and its causes on one line.
pub fn one_line(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let text = next.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = next.source();
    }
    line.replace('\n', " ")
}

/// Turns an error of a library into a failure with an exit code.
pub trait OrExit<T> {
    /// Fails with this code if it is an error.
    ///
    /// # Errors
    /// The error, on one line.
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: std::error::Error + 'static> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(exit, one_line(&error)))
    }
}
