//! Decides when to seal a batch.

use std::time::{Duration, Instant};

use emr_core::UnixTime;

use crate::engine::Engine;

/// When the node seals a batch. It never does while another batch is being proved or settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealPolicy {
    /// Only when the hospital asks.
    Manual,
    /// When an operation or a queue entry has waited this long, or when a batch would be full.
    After(Duration),
}

impl SealPolicy {
    /// Whether to seal a batch now.
    pub(crate) fn is_due(self, engine: &Engine) -> bool {
        let Self::After(patience) = self else { return false };
        let (waiting, oldest) = engine.waiting();
        let state = engine.state();
        if state.outstanding.is_some() {
            return false;
        }
        let entries = state.queues.len();
        let sizes = &engine.sizes;
        let oldest_entry = state.queues.oldest();
        waiting >= sizes.max_l2_beside(0) || entries >= sizes.max_l1_beside(1) || {
            let now = engine.clock.now();
            is_older(oldest, now, patience) || oldest_entry.is_some_and(|seen| seen_before(seen, patience))
        }
    }
}

fn is_older(oldest: Option<UnixTime>, now: UnixTime, patience: Duration) -> bool {
    oldest.is_some_and(|oldest| now.get().saturating_sub(oldest.get()) >= patience.as_secs())
}

fn seen_before(seen: Instant, patience: Duration) -> bool {
    seen.elapsed() >= patience
}
