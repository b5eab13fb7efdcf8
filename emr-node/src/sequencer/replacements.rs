//! Permits for tries: an operation that would end others that wait, a Revoke in the place of an older one or the patient's own before a
//! delegate's, is executed as a try first. Each try executes the operations on this patient again.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use emr_core::AccountIndex;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::request_error::RequestError;

/// How many Revokes wait for a try or are tried. Each of them holds one of the request permits for Revokes, so the limit
/// is low.
const IN_LINE: usize = 8;
/// When to try again if the line is full.
const LATER: Duration = Duration::from_secs(2);

/// How many of a signer's tries may fail, or run, within [`WINDOW`]. A client repeats a failing operation five times.
const TRIES: u32 = 8;
/// For how long a failed try counts.
const WINDOW: Duration = Duration::from_secs(60);
/// With this many signers, those whose tries count no more are forgotten.
const SIGNERS: usize = 1024;

/// Every try costs its signer one of a few in a minute, unless the operation is taken. So nobody makes the node work without end by operations
/// that fail, and nobody uses up what another signer may do: only the patient signs such an operation.
///
/// Of Revokes that take the place of others, only one try runs at a time, and only a few wait in line. If the line is full, nothing is lost: the
/// patient already has a waiting Revoke of that grant. Revokes that have a place do not stand in this line.
#[derive(Debug)]
pub(crate) struct Replacements {
    in_line: Semaphore,
    one_try: Semaphore,
    signers: Mutex<BTreeMap<AccountIndex, Tries>>,
}

/// The tries of one signer.
#[derive(Clone, Copy, Debug)]
struct Tries {
    since: Instant,
    count: u32,
}

/// The permit for a try, until it is dropped.
#[derive(Debug)]
pub(crate) struct Replacement<'a> {
    _one_try: SemaphorePermit<'a>,
    _in_line: SemaphorePermit<'a>,
}

/// What a try costs its signer. It is paid, unless [`Self::give_back`] is called.
#[derive(Debug)]
#[must_use = "a try that succeeds costs nothing"]
pub(crate) struct Cost<'a> {
    replacements: &'a Replacements,
    signer: AccountIndex,
    since: Instant,
}

impl Cost<'_> {
    /// The operation was taken.
    pub(crate) fn give_back(self) {
        let mut signers = self.replacements.signers();
        if let Some(tries) = signers.get_mut(&self.signer).filter(|tries| tries.since == self.since) {
            tries.count -= 1;
        }
    }
}

impl Replacements {
    pub(crate) fn new() -> Self {
        Self { in_line: Semaphore::new(IN_LINE), one_try: Semaphore::new(1), signers: Mutex::default() }
    }

    fn signers(&self) -> MutexGuard<'_, BTreeMap<AccountIndex, Tries>> {
        self.signers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a try of this signer, whose signature was checked.
    ///
    /// # Errors
    /// `unavailable` if too many of their tries failed, or run.
    pub(crate) fn charge(&self, signer: AccountIndex, now: Instant) -> Result<Cost<'_>, RequestError> {
        let mut signers = self.signers();
        let counts = |tries: &Tries| now.saturating_duration_since(tries.since) < WINDOW;
        if signers.len() >= SIGNERS {
            signers.retain(|_, tries| counts(tries));
        }
        let tries = signers.entry(signer).or_insert(Tries { since: now, count: 0 });
        if !counts(tries) {
            *tries = Tries { since: now, count: 0 };
        }
        if tries.count >= TRIES {
            let wait = WINDOW.saturating_sub(now.saturating_duration_since(tries.since));
            return Err(RequestError::busy(
                "operations of yours that would end waiting ones failed too often: read the state again, and try later",
                wait,
            ));
        }
        tries.count += 1;
        Ok(Cost { replacements: self, signer, since: tries.since })
    }

    /// Waits until no other try of a Revoke in the place of another one runs.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tries_that_fail_cost_something_and_only_for_a_while() -> Result<(), Box<dyn std::error::Error>> {
        let (replacements, begin) = (Replacements::new(), Instant::now());
        let (signer, other) = (AccountIndex::new(4)?, AccountIndex::new(5)?);
        let charge = |signer, seconds| replacements.charge(signer, begin + Duration::from_secs(seconds));
        for _ in 0..1000 {
            charge(signer, 0)?.give_back();
        }
        for _ in 0..TRIES {
            drop(charge(signer, 1)?);
        }
        let refused = charge(signer, 50).map(drop).map_err(|error| error.retry_after_seconds());
        assert_eq!(refused, Err(Some(10)));
        charge(other, 50)?.give_back();
        // A try that began before does not pay for one after.
        let old = charge(other, 50)?;
        for _ in 0..TRIES {
            drop(charge(other, 120)?);
        }
        old.give_back();
        assert!(charge(other, 121).is_err());
        assert!(charge(signer, 60).is_ok());
        // What counts no more is forgotten.
        for account in 100..100 + SIGNERS as u64 {
            drop(charge(AccountIndex::new(account)?, 130)?);
        }
        drop(charge(signer, 300)?);
        assert_eq!(replacements.signers().len(), 1);
        Ok(())
    }
}
