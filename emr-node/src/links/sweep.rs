//! Removes the files of links that expired, and later the links.

use std::{sync::Arc, time::Duration, time::Instant};

use emr_core::UnixTime;

use super::{
    Links,
    manage::{close, remove},
    store::{DUE, Digest, LINKS, LinkStore, LinksError, row},
};
use crate::{engine::Engine, storage::SweepTime};

/// How many links one write changes.
const AT_ONCE: usize = 64;
/// Pause between two rounds.
const IDLE: Duration = Duration::from_secs(60);

/// Sweeps until the node stops.
pub(crate) async fn run(links: Arc<Links>, engine: Arc<Engine>) {
    let mut time = SweepTime::new(engine.clock.now(), Instant::now());
    loop {
        let now = time.at(engine.clock.now(), Instant::now());
        links.forget_locations(now);
        loop {
            let swept = links.blocking(move |links| links.store.sweep(now)).await;
            match swept {
                Ok(AT_ONCE) => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "sweeping links failed; trying again");
                    break;
                }
            }
        }
        tokio::time::sleep(IDLE).await;
    }
}

impl LinkStore {
    /// Does what is due, for a limited number of links. Returns their number.
    pub(super) fn sweep(&self, now: UnixTime) -> Result<usize, LinksError> {
        if !self.exists() {
            return Ok(0);
        }
        let due = self.read(|transaction| {
            let due = transaction.open_table(DUE)?;
            let range = due.range(..=(now.get(), [u8::MAX; 32]))?.take(AT_ONCE);
            range.map(|entry| -> Result<Digest, LinksError> { Ok(entry?.0.value().1) }).collect::<Result<Vec<_>, _>>()
        })?;
        if due.is_empty() {
            return Ok(0);
        }
        self.write(|transaction| {
            for digest in &due {
                let found = row(&transaction.open_table(LINKS)?, digest)?;
                // Somebody else may have changed it since.
                match (found.due <= now.get(), found.stored) {
                    (false, _) => {}
                    (true, true) => close(transaction, digest, found, now)?,
                    (true, false) => remove(transaction, digest, &found)?,
                }
            }
            Ok(due.len())
        })
    }
}
