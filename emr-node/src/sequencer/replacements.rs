//! Turns at trying a Revoke that would take the place of another. Each try executes up to 64 operations again.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::http::refusal::Refusal;

/// How many wait or are tried. Each holds one of the places for Revokes meanwhile, so these are few of them.
const IN_LINE: usize = 8;
/// When to come back if so many do.
const LATER: Duration = Duration::from_secs(2);

/// One try at a time, and few in line. A patient who tries it already has a Revoke of that grant that waits, so nothing is lost if the line is
/// full; and tries that fail, which anybody can sign by the hundred, take nothing from Revokes that have a place of their own.
#[derive(Debug)]
pub(crate) struct Replacements {
    in_line: Semaphore,
    turn: Semaphore,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct Replacement<'a> {
    _turn: SemaphorePermit<'a>,
    _in_line: SemaphorePermit<'a>,
}

impl Replacements {
    pub(crate) fn new() -> Self {
        Self { in_line: Semaphore::new(IN_LINE), turn: Semaphore::new(1) }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// `unavailable` if the line is full or the node is stopping.
    pub(crate) async fn turn(&self) -> Result<Replacement<'_>, Refusal> {
        let full = |_| Refusal::busy("many Revokes would take the place of others: try again", LATER);
        let in_line = self.in_line.try_acquire().map_err(full)?;
        let turn = self.turn.acquire().await.map_err(|_| Refusal::unavailable("the node is stopping"))?;
        Ok(Replacement { _turn: turn, _in_line: in_line })
    }
}
