//! The node's time: this machine's clock, or L1's if that is ahead.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use emr_chain::{Head, PerQueue, QueueProgress};
use emr_core::UnixTime;

/// How far L1 may be ahead of this machine, in seconds. Blocks are at most some seconds ahead of the true time. The
/// rest allows for a slow clock of this machine.
const MAX_AHEAD: u64 = 900;
/// How many seconds the time of a batch may be after L1's newest block. The batch is settled in a later block.
const BATCH_AHEAD: u64 = 60;

/// L1 and this machine disagree on the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "L1 is {seconds} s ahead of this machine's clock: set the clock if it is late, use another Ethereum node if it is not"
)]
pub struct L1Ahead {
    /// The difference.
    pub seconds: u64,
}

/// The node's clock, in Unix seconds. It is never behind the newest block of L1, so everything that has expired on L1
/// has expired here. A machine with a slow clock then serves nothing on an expired grant, and seals no batch that L1
/// would refuse as too old.
///
/// An Ethereum node that lies about the time must not make operations expire. So the clock does not follow it beyond
/// [`MAX_AHEAD`].
#[derive(Debug)]
pub(crate) struct Clock {
    /// How many seconds L1 is ahead of this machine.
    ahead: AtomicU64,
    /// Time of L1's newest block.
    newest: AtomicU64,
    /// Number and time of L1's newest block, and when L1 last answered.
    seen: Mutex<SeenL1>,
    /// Whether the chain is in this process.
    embedded: bool,
}

/// The last answer of L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeenL1 {
    /// The newest block.
    pub(crate) block: u64,
    /// The time of that block, Unix seconds.
    pub(crate) block_time: u64,
    /// When L1 answered, by the node's clock.
    pub(crate) reached: UnixTime,
    /// The queues at that block.
    pub(crate) queues: PerQueue<QueueProgress>,
    /// From when strangers may settle registrations.
    pub(crate) strangers_from: UnixTime,
}

impl Clock {
    /// A clock for this machine and an L1. An embedded chain is trusted like this machine.
    pub(crate) fn new(embedded: bool) -> Self {
        let nothing = SeenL1 {
            block: 0,
            block_time: 0,
            reached: UnixTime::ZERO,
            queues: PerQueue::default(),
            strangers_from: UnixTime::ZERO,
        };
        Self { ahead: AtomicU64::new(0), newest: AtomicU64::new(0), seen: Mutex::new(nothing), embedded }
    }

    /// The time.
    pub(crate) fn now(&self) -> UnixTime {
        UnixTime::now().saturating_add(self.ahead.load(Ordering::Relaxed))
    }

    /// Whether L1's newest block is so old that the chain probably makes blocks only on demand.
    pub(crate) fn is_quiet(&self, block_time: u64) -> bool {
        !self.embedded && block_time.saturating_add(BATCH_AHEAD) < UnixTime::now().get()
    }

    /// Records the newest block's time.
    ///
    /// # Errors
    /// Returns [`L1Ahead`] if L1 is too far ahead. The clock is then unchanged.
    pub(crate) fn observe(&self, block_time: u64) -> Result<(), L1Ahead> {
        let ahead = block_time.saturating_sub(UnixTime::now().get());
        if ahead > MAX_AHEAD && !self.embedded {
            return Err(L1Ahead { seconds: ahead });
        }
        self.ahead.fetch_max(ahead, Ordering::Relaxed);
        self.newest.store(block_time, Ordering::Relaxed);
        Ok(())
    }

    /// Notes that L1 answered, and its newest block.
    pub(crate) fn reached(&self, head: &Head, block_time: u64) {
        let Head { block_number: block, queues, strangers_from, .. } = *head;
        let seen = SeenL1 { block, block_time, reached: self.now(), queues, strangers_from };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    /// What the node last saw of L1.
    pub(crate) fn seen(&self) -> SeenL1 {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The latest time that a batch may have: now, but at most [`BATCH_AHEAD`] after L1's newest block, and on an embedded
    /// chain at most the time of its next block. Without this bound, if this machine's clock were far ahead, waiting
    /// operations would expire in a batch that L1 never accepts.
    pub(crate) fn batch_time(&self) -> UnixTime {
        let (now, newest) = (self.now(), self.newest.load(Ordering::Relaxed));
        if self.embedded {
            // Many blocks in one second take the chain ahead of this machine, but it does not stay there: its next block has
            // this machine's time, if that is later than the newest block.
            return UnixTime::new(newest).map_or(now, |newest| newest.max(UnixTime::now()));
        }
        UnixTime::new(newest.saturating_add(BATCH_AHEAD)).map_or(now, |newest| newest.min(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_a_chain_that_is_ahead_and_never_goes_back() {
        let clock = Clock::new(true);
        let here = UnixTime::now().get();
        assert_eq!(clock.observe(here - 100), Ok(()));
        assert!(clock.now().get() - here < 5);
        assert_eq!(clock.observe(here + 5000), Ok(()));
        assert!(clock.now().get() >= here + 5000);
        assert_eq!(clock.batch_time().get(), here + 5000);
        assert_eq!(clock.observe(here), Ok(()));
        assert!(clock.now().get() >= here + 5000);
        // The next block has this machine's time. A batch must not be later than that.
        assert!(clock.batch_time().get() - here < 5);
    }

    #[test]
    fn a_foreign_chain_far_ahead_is_not_believed() {
        let clock = Clock::new(false);
        let here = UnixTime::now().get();
        assert_eq!(clock.observe(here + 600), Ok(()));
        assert!(clock.now().get() >= here + 600);
        for lie in [here + 2000, here + 10 * 365 * 86_400, u64::MAX] {
            assert!(clock.observe(lie).is_err_and(|error| error.seconds > 900));
            assert!(clock.now().get() < here + 700 && clock.batch_time().get() < here + 700);
        }
    }

    /// The machine's clock has jumped ahead.
    #[test]
    fn a_batch_is_dated_by_the_chain() {
        let clock = Clock::new(false);
        let jumped = UnixTime::now().get();
        assert_eq!(clock.observe(jumped - 1_000_000), Ok(()));
        assert_eq!(clock.batch_time().get(), jumped - 1_000_000 + BATCH_AHEAD);
        assert!(clock.is_quiet(jumped - 1_000_000) && !clock.is_quiet(jumped));
    }
}
