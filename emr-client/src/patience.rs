//! How long a moment between two batches is waited out.
//!
//! The node and the Ethereum node are asked one after the other. A batch that settles in between, or a node that has not followed L1 yet (it
//! looks every 4 seconds), makes two honest answers differ. That is no error: both are asked again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long differing answers are asked for again.
const LIMIT: Duration = Duration::from_secs(20);
/// The first pause, doubled each time.
const FIRST: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(2);

/// The waiting of one flow.
#[derive(Debug)]
pub(crate) struct Patience {
    ends: Instant,
    pause: Duration,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self { ends: Instant::now() + LIMIT, pause: FIRST }
    }

    /// Pauses before the next attempt; `false`, at once, if the time is over.
    pub(crate) async fn again(&mut self) -> bool {
        let Some(pause) = self.next(Instant::now()) else { return false };
        sleep(pause).await;
        true
    }

    fn next(&mut self, now: Instant) -> Option<Duration> {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST);
        (now + pause <= self.ends).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_covers_a_node_that_follows_every_four_seconds() {
        let mut patience = Patience::new();
        let began = Instant::now();
        let (mut now, mut attempts) = (began, 0);
        while let Some(pause) = patience.next(now) {
            (now, attempts) = (now + pause, attempts + 1);
        }
        let took = now - began;
        assert!(took > Duration::from_secs(12) && took <= LIMIT, "{took:?}");
        assert!((8..20).contains(&attempts), "{attempts}");
    }
}
