//! Shared parts of the tests: people with keys, a chain with the contracts, a node, and requests like those of
//! participants.

mod caller;
mod liar;
mod scene;
mod signing;
mod testnet;

use std::time::Duration;

pub(crate) use emr_testkit::{Outcome, node::*, people::*};

pub(crate) use caller::*;
pub(crate) use liar::*;
pub(crate) use scene::*;
pub(crate) use signing::*;
pub(crate) use testnet::*;

/// Waits at most a minute until a condition holds: other tests prove at the same time.
pub(crate) async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) -> Outcome {
    for _ in 0..1200 {
        if holds().await {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err("the condition did not hold within a minute".into())
}
