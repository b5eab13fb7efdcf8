//! What the tests stand on: people with keys, a chain with the contracts, a node, and requests as participants make them.

mod caller;
mod cast;
mod liar;
mod scene;
mod signing;
mod testnet;
mod world;

use std::{error, time::Duration};

pub(crate) use caller::*;
pub(crate) use cast::*;
pub(crate) use liar::*;
pub(crate) use scene::*;
pub(crate) use signing::*;
pub(crate) use testnet::*;
pub(crate) use world::*;

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn error::Error + Send + Sync>>;

/// Waits until something holds, 20 s at most.
pub(crate) async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) -> Outcome {
    for _ in 0..400 {
        if holds().await {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err("it does not come to hold".into())
}
