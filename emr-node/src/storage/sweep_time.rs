//! The time that the sweep uses. If the clock jumps, no block is removed too early, and none stays for ever.

use std::time::Instant;

use emr_core::UnixTime;

/// Times further ahead than this were set by a wrong clock. Seconds.
pub(super) const AHEAD: u64 = 3600;

/// Follows the node's clock. If the clock jumps ahead, this time runs at most twice as fast as a stopwatch until it has
/// caught up. So nothing is removed before half of its time has passed, unless the node was restarted with a wrong clock.
#[derive(Debug)]
pub(crate) struct SweepTime {
    time: UnixTime,
    seen: Instant,
}

impl SweepTime {
    pub(crate) const fn new(clock: UnixTime, seen: Instant) -> Self {
        Self { time: clock, seen }
    }

    /// The time now, if the clock shows `clock`. It follows a clock that is set back at once.
    pub(crate) fn at(&mut self, clock: UnixTime, now: Instant) -> UnixTime {
        let fastest = now.saturating_duration_since(self.seen).saturating_mul(2);
        self.time = clock.min(self.time.saturating_add(fastest.as_secs()));
        self.seen = now;
        self.time
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_jumps_ahead_is_followed_slowly() -> Result<(), Box<dyn std::error::Error>> {
        const DAY: u64 = 24 * 3600;
        let at = |seconds: u64| UnixTime::new(1_800_000_000 + seconds);
        let began = Instant::now();
        let after = |seconds: u64| began + Duration::from_secs(seconds);
        let mut time = SweepTime::new(at(0)?, began);
        // The clock is right.
        for minute in 1..=60 {
            assert_eq!(time.at(at(minute * 60)?, after(minute * 60)), at(minute * 60)?);
        }
        // More than a year ahead: an upload of this moment, which may go after a day, stays for half a day.
        let upload = time.at(at(3600)?, after(3600));
        for minute in 61..60 + 12 * 60 {
            let now = time.at(at(minute * 60 + 400 * DAY)?, after(minute * 60));
            assert!(now < upload.saturating_add(DAY), "after {minute} minutes: {now}");
        }
        let now = time.at(at(13 * 3600 + 400 * DAY)?, after(13 * 3600));
        assert!(now >= upload.saturating_add(DAY), "it does not stand still: {now}");
        // The clock is set back, and forward again.
        assert_eq!(time.at(at(14 * 3600)?, after(14 * 3600)), at(14 * 3600)?);
        assert_eq!(time.at(at(14 * 3600 + 60)?, after(14 * 3600 + 60)), at(14 * 3600 + 60)?);
        Ok(())
    }
}
