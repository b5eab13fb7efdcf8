//! Why a request fails. Every part of the node that works for a request answers with it.

use std::time::Duration;

use emr_api::Problem;
use emr_ipfs::StoreError;
use emr_rollup::statement::{Clause, Violation};

use crate::mempool::MempoolError;

/// The kinds of failure. Their names are part of the interface (`emr_api::Problem`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestErrorKind {
    /// There is no valid login.
    Unauthorized,
    /// The account is logged in, but may not do this.
    Forbidden,
    /// This was allowed before, but access was revoked.
    Revoked,
    /// A grant allows this, but access was not requested yet.
    NoSession,
    /// There is no such thing, or the caller may not know of it.
    NotFound,
    /// The request breaks the rules.
    Refused,
    /// The record refers to a block that is not here, or that its signer did not upload. It may have been removed since: nothing referred to it
    /// for a day. The signer uploads it again.
    MissingBlock,
    /// The request was made for an older state.
    Stale,
    /// The request is too large, or it would exceed a quota: waiting does not help.
    TooLarge,
    /// There is no room for blocks that no operation refers to yet, from this account or from all together. There will be when others have
    /// submitted their records or given them up, or after a day.
    NoRoomNow,
    /// The patient's key directories take all of the room that they may take now. A Revoke without a new directory needs
    /// none.
    NoDirectoryRoom,
    /// The client or the account exceeds its limit.
    TooMany,
    /// The node cannot do it now. The same request may succeed later.
    Unavailable,
    /// The request is not valid for this interface.
    Malformed,
}

impl RequestErrorKind {
    /// The name in the JSON body.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Revoked => "revoked",
            Self::NoSession => "no-session",
            Self::NotFound => "not-found",
            Self::Refused => "refused",
            Self::MissingBlock => "missing-block",
            Self::Stale => "stale",
            Self::TooLarge => "too-large",
            Self::NoRoomNow => "no-room-now",
            Self::NoDirectoryRoom => "no-directory-room",
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
            Self::TooLarge | Self::NoDirectoryRoom => 413,
            Self::Refused | Self::MissingBlock => 422,
            Self::TooMany => 429,
            Self::NoRoomNow | Self::Unavailable => 503,
        }
    }
}

/// Why a request fails: the kind, and a message that says what to do next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct RequestError {
    /// The kind.
    pub(crate) kind: RequestErrorKind,
    /// For people.
    pub(crate) message: String,
    /// After how long the same request may succeed, if that is known.
    pub(crate) retry_after: Option<Duration>,
}

impl RequestError {
    pub(crate) fn new(kind: RequestErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(RequestErrorKind::Malformed, message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(RequestErrorKind::Forbidden, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(RequestErrorKind::NotFound, message)
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(RequestErrorKind::Refused, message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(RequestErrorKind::Unavailable, message)
    }

    /// Makes `too-many`: the client or the account exceeds its limit.
    pub(crate) fn too_many(message: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(RequestErrorKind::TooMany, message) }
    }

    /// Makes `unavailable`, with a time after which the request may succeed.
    pub(crate) fn busy(message: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::unavailable(message) }
    }

    /// Makes `no-room-now`.
    pub(crate) fn no_room_now(message: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(RequestErrorKind::NoRoomNow, message) }
    }

    /// The value of `Retry-After` in whole seconds, rounded up.
    pub(crate) fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after.map(|after| after.as_millis().div_ceil(1000) as u64)
    }

    /// The body of the answer.
    pub(crate) fn problem(&self) -> Problem {
        Problem { code: self.kind.code().to_owned(), message: self.message.clone() }
    }
}

/// An operation that breaks C4 or C8 was made for another state or time, and must be signed again. Any other violation
/// breaks the rules.
impl From<Violation> for RequestError {
    fn from(violation: Violation) -> Self {
        match violation.clause {
            Clause::MessageCurrent | Clause::TargetExpected => {
                Self::new(RequestErrorKind::Stale, format!("{violation}: read the current state and sign again"))
            }
            _ => Self::refused(violation.to_string()),
        }
    }
}

impl From<MempoolError> for RequestError {
    fn from(error: MempoolError) -> Self {
        tracing::error!(%error, "the mempool failed");
        Self::unavailable(
            "this node cannot use its disk; nothing was accepted: try again when its operator has made space",
        )
    }
}

impl From<StoreError> for RequestError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::NotFound(cid) => Self::refused(format!("block {cid} is not on this node: upload it first")),
            StoreError::TooLarge { .. } => Self::new(RequestErrorKind::TooLarge, error.to_string()),
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
