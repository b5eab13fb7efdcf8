//! Failures of commands. Each has one line that says what to do next, and a documented exit code.

use emr_chain::RollupError;
use emr_client::{
    ClientError, ErrorKind, FileError,
    node::NodeError,
    profile::ProfileError,
    verify::{card::CardError, settled_state::SettledStateError},
};
use emr_core::is_harmless;
use serde::Serialize;

/// Exit codes, the same for all three command lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Exit {
    /// An internal error that the caller did not cause.
    Internal = 1,
    /// The command line is wrong. The argument parser uses this code too.
    Usage = 2,
    /// A given file or value is not valid.
    Input = 3,
    /// The rules forbid it: no grant, revoked, not the owner.
    Refused = 4,
    /// A node or the chain cannot be reached, something is in use, or not settled yet. Trying again later may help.
    Unavailable = 5,
    /// Something does not verify: bytes, a signature, a proof, a state root.
    Unverified = 6,
    /// A file cannot be read or written.
    Storage = 7,
    /// The identity file or its passphrase is wrong.
    Identity = 8,
    /// A disclosure holds, but its block was not compared with the chain, or is not final yet. What it shows was printed.
    Unconfirmed = 9,
}

/// The meanings of [`Exit`], for `--help`.
pub const EXIT_CODES: &str = "Exit codes:
  0  done
  1  internal error
  2  wrong command line
  3  a given file or value is not valid
  4  refused by the rules (no grant, revoked, not yours)
  5  not reachable, in use, or not settled yet; try again later
  6  something does not verify
  7  a file cannot be written, or the disk is full
  8  identity file or passphrase
  9  a disclosure holds, but its block is not confirmed by the chain";

impl Exit {
    /// The code of a failure without a more specific one: the name of its exit code.
    const fn name(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Usage => "usage",
            Self::Input => "input",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Unverified => "unverified",
            Self::Storage => "storage",
            Self::Identity => "identity",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Usage => Self::Usage,
            ErrorKind::Input => Self::Input,
            ErrorKind::Refused => Self::Refused,
            ErrorKind::Unavailable => Self::Unavailable,
            ErrorKind::Unverified => Self::Unverified,
            ErrorKind::Storage => Self::Storage,
            ErrorKind::Keys => Self::Identity,
            _ => Self::Internal,
        }
    }
}

/// A command failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    exit: Exit,
    code: &'static str,
    message: String,
}

/// The JSON form of a failure, for `--json`.
#[derive(Serialize)]
struct Written<'a> {
    error: &'static str,
    exit: u8,
    temporary: bool,
    message: &'a str,
}

impl Failure {
    /// Makes a failure. The message must say what to do next.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, code: exit.name(), message: message.into() }
    }

    /// The same failure with another message.
    #[must_use]
    pub fn saying(self, message: impl Into<String>) -> Self {
        Self { message: message.into(), ..self }
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// The stable name of the error. `docs/errors.md` lists the names.
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// The failure on one line: for people, or as a JSON object.
    pub fn line(&self, json: bool) -> String {
        let written = Written {
            error: self.code,
            exit: self.exit as u8,
            temporary: self.exit == Exit::Unavailable,
            message: &self.message,
        };
        match serde_json::to_string(&written) {
            Ok(line) if json => line,
            _ => format!("error: {}", self.message),
        }
    }
}

/// The kind of the error decides the exit code.
impl From<&ClientError> for Failure {
    fn from(error: &ClientError) -> Self {
        Self { exit: error.kind().into(), code: error.code(), message: one_line(error) }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::from(&error)
    }
}

macro_rules! via_client {
    ($($error:ty),+) => { $(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                ClientError::from(error).into()
            }
        }
    )+ };
}

via_client!(NodeError, ProfileError, FileError, CardError, RollupError, SettledStateError);

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
    line.chars().map(|c| if is_harmless(c) { c } else { ' ' }).collect()
}

/// Turns an error of a library into a failure with an exit code.
pub trait OrExit<T> {
    /// Turns an error into a failure with this exit code.
    ///
    /// # Errors
    /// Returns the error as one line.
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: std::error::Error + 'static> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(exit, one_line(&error)))
    }
}
