//! How long a flow asks again while two honest answers differ.
//!
//! The node and the Ethereum node are asked one after the other. Their answers differ if a batch is settled in between,
//! or if the node has not followed L1 yet (it looks every 4 seconds). That is not an error: both are asked again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long both are asked again.
const LIMIT: Duration = Duration::from_secs(20);
/// The first pause. Each next pause is twice as long.
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

    /// Pauses before the next attempt. If the time is over, returns `false` at once.
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
