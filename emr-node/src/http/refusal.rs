//! Why a request is refused.

use std::time::Duration;

use emr_api::Problem;
use emr_ipfs::StoreError;
use emr_rollup::statement::{Clause, Violation};

use crate::mempool::MempoolError;

/// The kinds of refusal; their names are part of the interface (`emr_api::Problem`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusalKind {
    /// No valid login.
    Unauthorized,
    /// Logged in, but not allowed.
    Forbidden,
    /// It was allowed once, and is no longer.
    Revoked,
    /// Allowed, but nothing says that access was requested.
    NoSession,
    /// There is no such thing, or whoever asks may not know of it.
    NotFound,
    /// Against the rules.
    Refused,
    /// Made for a state that is not the current one.
    Stale,
    /// Larger than what is taken.
    TooLarge,
    /// More than this client, or this account, may ask for at a time.
    TooMany,
    /// Not now; the same request may succeed later.
    Unavailable,
    /// Not a request of this interface.
    Malformed,
}

impl RefusalKind {
    /// The name on the wire.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Revoked => "revoked",
            Self::NoSession => "no-session",
            Self::NotFound => "not-found",
            Self::Refused => "refused",
            Self::Stale => "stale",
            Self::TooLarge => "too-large",
            Self::TooMany => "too-many",
            Self::Unavailable => "unavailable",
            Self::Malformed => "malformed",
        }
    }

    /// The HTTP status.
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Unauthorized => 401,
            Self::Forbidden | Self::Revoked | Self::NoSession => 403,
            Self::NotFound => 404,
            Self::Stale => 409,
            Self::TooLarge => 413,
            Self::Refused => 422,
            Self::TooMany => 429,
            Self::Unavailable => 503,
        }
    }
}

/// A refusal: what kind, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    /// The kind.
    pub(crate) kind: RefusalKind,
    /// For people.
    pub(crate) message: String,
    /// After how long the same request may succeed, where that is known.
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    pub(crate) fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Malformed, message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Forbidden, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::NotFound, message)
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Refused, message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Unavailable, message)
    }

    /// `too-many`: this client, or this account, asks for more than its share.
    pub(crate) fn too_many(message: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(RefusalKind::TooMany, message) }
    }

    /// `unavailable`, with a time after which it may go.
    pub(crate) fn busy(message: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::unavailable(message) }
    }

    /// `Retry-After`: whole seconds, rounded up.
    pub(crate) fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after.map(|after| after.as_millis().div_ceil(1000) as u64)
    }

    /// The body of the answer.
    pub(crate) fn problem(&self) -> Problem {
        Problem { code: self.kind.code().to_owned(), message: self.message.clone() }
    }
}

/// What breaks C4 or C8 was made for another state or time; sign anew. Everything else is against the rules.
impl From<Violation> for Refusal {
    fn from(violation: Violation) -> Self {
        match violation.clause {
            Clause::MessageCurrent | Clause::TargetExpected => {
                Self::new(RefusalKind::Stale, format!("{violation}: read the current state and sign again"))
            }
            _ => Self::refused(violation.to_string()),
        }
    }
}

impl From<MempoolError> for Refusal {
    fn from(error: MempoolError) -> Self {
        tracing::error!(%error, "the mempool failed");
        Self::unavailable(
            "this node cannot use its disk; nothing was accepted: try again when its operator has made space",
        )
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::NotFound(cid) => Self::refused(format!("block {cid} is not on this node: upload it first")),
            StoreError::TooLarge { .. } => Self::new(RefusalKind::TooLarge, error.to_string()),
            StoreError::NotDagCbor { .. } | StoreError::DagLimit { .. } => Self::refused(error.to_string()),
            StoreError::Mismatch(_) if !error.is_corrupt() => Self::refused(error.to_string()),
            StoreError::Mismatch(_) => {
                tracing::error!(%error, "the block store is damaged");
                Self::unavailable("a block on this node is damaged: upload it again")
            }
            _ => {
                tracing::error!(%error, "the block store failed");
                Self::unavailable("this node cannot use its block store at present; try again later")
            }
        }
    }
}
