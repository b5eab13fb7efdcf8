//! Bounds the memory of answers that clients have not read yet.
//!
//! The bytes of an answer stay in memory until the connection has sent them. Until then the answer keeps its request's
//! permit, so a client that reads slowly uses up its own permits. Large answers also share a limited number of bytes. If
//! these are used up, the node closes the connection of another answer and takes its bytes: first an answer that its
//! client reads too slowly, then the oldest answer of the account or address that holds the most.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes, to_bytes},
    response::{IntoResponse, Response},
};

use super::{Asker, SOON, Taken};
use crate::{http::connections::Peer, request_error::RequestError};

/// The bytes of all large answers together.
const LIMIT: usize = 256 << 20;
/// Answers up to this size are not counted. Each connection holds one answer, so these are bounded by the number of
/// connections.
const SMALL: usize = 64 << 10;
/// The time after which another answer may take an answer's bytes, and one second more for each [`SLOWEST`] bytes.
const GRACE: Duration = Duration::from_secs(10);
/// Bytes per second.
const SLOWEST: usize = 256 << 10;

/// The large answers in memory.
#[derive(Clone, Debug)]
pub(super) struct Answers(Arc<Mutex<Unread>>);

/// The bytes of an answer, and what they hold. All of it is given back when the last of the bytes is sent, or the
/// connection ends.
struct Held {
    bytes: Box<[u8]>,
    _permits: Taken,
    _share: Option<Share>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Answers {
    pub(super) fn new() -> Self {
        Self::of(LIMIT)
    }

    fn of(limit: usize) -> Self {
        Self(Arc::new(Mutex::new(Unread { limit, ..Unread::default() })))
    }

    /// Ties the permits of a request to its answer. Refuses instead if no bytes are free for a large answer.
    pub(super) async fn hold(
        &self,
        response: Response,
        asker: Asker,
        permits: Taken,
        connection: Option<Peer>,
    ) -> Response {
        let (parts, body) = response.into_parts();
        // The handlers make whole bodies, so this neither waits nor copies.
        let Ok(bytes) = to_bytes(body, usize::MAX).await else {
            return RequestError::unavailable("the node failed: try again later").into_response();
        };
        let share = match bytes.len() {
            ..=SMALL => None,
            size => match self.share(asker, size, connection) {
                Some(share) => Some(share),
                None => {
                    drop(bytes);
                    return RequestError::busy("many answers are not read yet: try again in a moment", SOON)
                        .into_response();
                }
            },
        };
        let held = Held { bytes: Vec::from(bytes).into_boxed_slice(), _permits: permits, _share: share };
        Response::from_parts(parts, Body::from(Bytes::from_owner(held)))
    }

    fn share(&self, asker: Asker, size: usize, connection: Option<Peer>) -> Option<Share> {
        let mut unread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = unread.take(asker, size, connection, Instant::now())?;
        Some(Share { number, answers: self.clone() })
    }
}

/// The bytes that a large answer takes up. Dropping this gives them back.
#[derive(Debug)]
struct Share {
    number: u64,
    answers: Answers,
}

impl Drop for Share {
    fn drop(&mut self) {
        // Another answer may have taken them already.
        let _ = self.answers.0.lock().unwrap_or_else(PoisonError::into_inner).give_back(self.number);
    }
}

#[derive(Debug)]
struct Answer {
    asker: Asker,
    size: usize,
    /// When it becomes overdue.
    due: Instant,
    connection: Option<Peer>,
}

#[derive(Debug, Default)]
struct Unread {
    limit: usize,
    bytes: usize,
    next: u64,
    answers: BTreeMap<u64, Answer>,
    of_asker: BTreeMap<Asker, usize>,
}

impl Unread {
    /// Takes bytes for an answer and returns its number; `None` if there are not enough.
    fn take(&mut self, asker: Asker, size: usize, connection: Option<Peer>, now: Instant) -> Option<u64> {
        while self.bytes.saturating_add(size) > self.limit {
            let victim = self.victim(&asker, size, now)?;
            if let Some(connection) = self.give_back(victim)?.connection {
                connection.hang_up();
            }
        }
        let number = self.next;
        self.next += 1;
        self.bytes += size;
        *self.of_asker.entry(asker.clone()).or_default() += size;
        let due = now + GRACE + Duration::from_secs((size / SLOWEST) as u64);
        self.answers.insert(number, Answer { asker, size, due, connection });
        Some(number)
    }

    /// The answer whose bytes an answer of `asker` takes: the one that is overdue longest, else the oldest of the asker
    /// that holds most, if that is more than `asker` would hold. A connection with a Revoke is never closed.
    fn victim(&self, asker: &Asker, size: usize, now: Instant) -> Option<u64> {
        let closable =
            || self.answers.iter().filter(|(_, answer)| !answer.connection.as_ref().is_some_and(Peer::is_protected));
        let overdue = closable().filter(|(_, answer)| answer.due <= now).min_by_key(|(_, answer)| answer.due);
        if let Some((number, _)) = overdue {
            return Some(*number);
        }
        let own = self.of_asker.get(asker).map_or(size, |held| held + size);
        let (most, _) = self.of_asker.iter().filter(|(_, held)| **held > own).max_by_key(|(_, held)| **held)?;
        closable().find(|(_, answer)| answer.asker == *most).map(|(number, _)| *number)
    }

    fn give_back(&mut self, number: u64) -> Option<Answer> {
        let answer = self.answers.remove(&number)?;
        self.bytes -= answer.size;
        if let Some(held) = self.of_asker.get_mut(&answer.asker) {
            *held -= answer.size;
            if *held == 0 {
                self.of_asker.remove(&answer.asker);
            }
        }
        Some(answer)
    }
}

#[cfg(test)]
mod tests;
