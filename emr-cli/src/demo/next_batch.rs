//! Seals a batch and waits until it is settled, with a progress bar.

use std::time::{Duration, Instant};

use emr_client::client::Client;
use emr_node::{Activity, RunningNode};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::outcome::Batch;
use crate::failure::{Exit, Failure};

/// How often the node is asked whether the batch is settled.
const POLL: Duration = Duration::from_millis(200);
/// The time limit for a batch, including making the keys. It is many times the time on two cores.
const LIMIT: Duration = Duration::from_secs(1200);
/// The duration that the bar assumes before the first proof, in milliseconds.
const FIRST_ESTIMATE: u64 = 40_000;

/// Seals what is pending and waits until it is settled.
pub(super) async fn next_batch(hospital: &Client, node: &RunningNode) -> Result<Batch, Failure> {
    let started = Instant::now();
    let mut number = None;
    let bar = ProgressBar::with_draw_target(Some(FIRST_ESTIMATE), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("   {msg} {wide_bar} {elapsed} of about {duration}") {
        bar.set_style(style);
    }
    let activity = node.activity();
    while started.elapsed() < LIMIT {
        let now = activity.borrow().clone();
        bar.set_message(now.to_string());
        if let Activity::Proving { since, estimate, .. } = now {
            let elapsed = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            bar.set_length(estimate.unwrap_or(FIRST_ESTIMATE).max(elapsed));
            bar.set_position(elapsed);
        }
        match number {
            None => match hospital.node().seal().await {
                Ok(view) => number = Some(view.number),
                // The node first finishes a batch of an interrupted run.
                Err(error) if error.is_temporary() || error.is_stale() => {}
                Err(error) => return Err(error.into()),
            },
            Some(number) => {
                if let Some(batch) = Batch::of(&hospital.node().batch(number).await?) {
                    bar.finish_and_clear();
                    return Ok(batch);
                }
            }
        }
        tokio::time::sleep(POLL).await;
    }
    let message = format!("the batch was not settled within {} s: {}", LIMIT.as_secs(), *activity.borrow());
    Err(Failure::new(Exit::Unavailable, message))
}
