//! The node's time: this machine's clock, or L1's where that is ahead.

use std::sync::atomic::{AtomicU64, Ordering};

use emr_core::UnixTime;

/// Unix seconds. Never behind the newest block of L1: what has expired there has expired here, so a machine whose clock is
/// late serves nothing on a grant that is over, and seals no batch that L1 would refuse as too old.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// How far L1 is ahead of this machine, seconds.
    ahead: AtomicU64,
}

impl Clock {
    /// The time.
    pub(crate) fn now(&self) -> UnixTime {
        UnixTime::now().saturating_add(self.ahead.load(Ordering::Relaxed))
    }

    /// Takes note of a block's time.
    pub(crate) fn observe(&self, block_time: u64) {
        let ahead = block_time.saturating_sub(UnixTime::now().get());
        self.ahead.fetch_max(ahead, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_a_chain_that_is_ahead_and_never_goes_back() {
        let clock = Clock::default();
        let here = UnixTime::now().get();
        clock.observe(here - 100);
        assert!(clock.now().get() - here < 5);
        clock.observe(here + 5000);
        assert!(clock.now().get() >= here + 5000);
        clock.observe(here);
        assert!(clock.now().get() >= here + 5000);
    }
}
