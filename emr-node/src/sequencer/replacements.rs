//! Permits for tries: a Revoke that would replace another one is executed as a try first. Each try executes up to 64
//! operations again.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::request_error::RequestError;

/// How many Revokes wait for a try or are tried. Each of them holds one of the request permits for Revokes, so the limit
/// is low.
const IN_LINE: usize = 8;
/// When to try again if the line is full.
const LATER: Duration = Duration::from_secs(2);

/// Only one try runs at a time, and only a few wait in line. If the line is full, nothing is lost: the patient already
/// has a waiting Revoke of that grant. Any account can sign hundreds of tries that fail. They take nothing from Revokes
/// that have a reserved place.
#[derive(Debug)]
pub(crate) struct Replacements {
    in_line: Semaphore,
    one_try: Semaphore,
}

/// The permit for a try, until it is dropped.
#[derive(Debug)]
pub(crate) struct Replacement<'a> {
    _one_try: SemaphorePermit<'a>,
    _in_line: SemaphorePermit<'a>,
}

impl Replacements {
    pub(crate) fn new() -> Self {
        Self { in_line: Semaphore::new(IN_LINE), one_try: Semaphore::new(1) }
    }

    /// Waits until no other try runs.
    ///
    /// # Errors
    /// `unavailable` if the line is full or the node is stopping.
    pub(crate) async fn permit(&self) -> Result<Replacement<'_>, RequestError> {
        let full = |_| RequestError::busy("many Revokes would take the place of others: try again", LATER);
        let in_line = self.in_line.try_acquire().map_err(full)?;
        let one_try = self.one_try.acquire().await.map_err(|_| RequestError::unavailable("the node is stopping"))?;
        Ok(Replacement { _one_try: one_try, _in_line: in_line })
    }
}
