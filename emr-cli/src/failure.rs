//! How a command fails: one line that says what to do next, and a documented exit code.

use emr_chain::RollupError;
use emr_client::{
    ClientError, ErrorKind, FileError,
    node::NodeError,
    profile::ProfileError,
    verify::{card::CardError, settled_state::SettledStateError},
};
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

impl Exit {
    /// The code of a failure that has no finer one: the name of its exit code.
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

/// What `--json` prints of it.
#[derive(Serialize)]
struct Written<'a> {
    error: &'static str,
    exit: u8,
    temporary: bool,
    message: &'a str,
}

impl Failure {
    /// A failure with a line that says what to do next.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, code: exit.name(), message: message.into() }
    }

    /// The same failure, explained in other words.
    #[must_use]
    pub fn saying(self, message: impl Into<String>) -> Self {
        Self { message: message.into(), ..self }
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// The stable name of what went wrong: `docs/errors.md` lists them.
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// One line: for people, or a JSON object.
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

/// The exit code follows from what a caller can do about the error.
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
