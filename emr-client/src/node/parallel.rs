//! Many blocks at once, in both directions: a bounded number of requests is in flight, so the memory is bounded too.

use std::{collections::VecDeque, time::Duration};

use emr_core::{Cid, Codec};
use tokio::task::{JoinHandle, JoinSet};

use crate::node::{NodeClient, NodeError};

/// How many blocks are in flight. A node answers 64 requests of one account at a time, and allows 200 a second.
const IN_FLIGHT: usize = 8;

fn stopped(node: &NodeClient, reason: impl ToString) -> NodeError {
    NodeError::Unreachable { node: node.address().to_string(), reason: reason.to_string() }
}

/// How long a client waits for room, in all, before it gives an upload up.
const FOR_ROOM: Duration = Duration::from_secs(3600);
/// The pause if the node names none.
const PAUSE: Duration = Duration::from_secs(60);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// How an upload waits while the node has no room for it.
#[derive(Debug)]
pub(crate) struct Room {
    /// What is left of the time.
    left: Duration,
    pause: Option<Duration>,
    /// How long it waited for room that it did not find.
    waited: Duration,
}

impl Room {
    /// For a caller who can wait for an hour.
    pub(crate) const fn waiting() -> Self {
        Self { left: FOR_ROOM, pause: None, waited: Duration::ZERO }
    }

    /// For a caller for whom others wait.
    pub(crate) const fn at_once() -> Self {
        Self { left: Duration::ZERO, ..Self::waiting() }
    }

    /// How long it waited for room that it did not find.
    pub(crate) const fn waited(&self) -> Duration {
        self.waited
    }

    /// There was room: a later pause is short again.
    const fn found(&mut self) {
        self.pause = None;
        self.waited = Duration::ZERO;
    }

    /// The next pause: about what the node says, and then twice as long each time. `by_chance` is between 0 and 1, so that clients that were refused
    /// together do not come back together. `None` if the time is over.
    fn next(&mut self, asked: Option<Duration>, by_chance: f64) -> Option<Duration> {
        let pause = self.pause.unwrap_or_else(|| asked.unwrap_or(PAUSE)).min(LONGEST_PAUSE);
        self.pause = Some(pause * 2);
        let pause = pause.mul_f64(0.75 + by_chance / 2.0);
        self.left = self.left.checked_sub(pause)?;
        self.waited += pause;
        Some(pause)
    }
}

/// A block that the node has no room for now.
#[derive(Debug)]
struct Refused<T> {
    name: T,
    codec: Codec,
    bytes: Vec<u8>,
    error: NodeError,
}

/// Stores blocks, in any order, and waits if the node has no room for them. Dropping this ends the requests in flight.
pub(crate) struct Storing<'a, T> {
    node: NodeClient,
    requests: JoinSet<Result<T, Refused<T>>>,
    refused: Vec<Refused<T>>,
    room: &'a mut Room,
    /// Learns of each pause.
    pausing: &'a (dyn Fn(Duration) + Send + Sync),
}

impl<'a, T: Send + 'static> Storing<'a, T> {
    pub(crate) fn on(node: &NodeClient, room: &'a mut Room, pausing: &'a (dyn Fn(Duration) + Send + Sync)) -> Self {
        Self { node: node.clone(), requests: JoinSet::new(), refused: Vec::new(), room, pausing }
    }

    fn send(&mut self, name: T, codec: Codec, bytes: Vec<u8>) {
        let node = self.node.clone();
        self.requests.spawn(async move {
            match node.put_block(codec, &bytes).await {
                Ok(_) => Ok(name),
                Err(error) => Err(Refused { name, codec, bytes, error }),
            }
        });
    }

    /// Begins to store a block, which is known to the caller as `name`. If enough blocks are in flight, first waits for one of them, and returns its
    /// name.
    pub(crate) async fn start(&mut self, name: T, codec: Codec, bytes: Vec<u8>) -> Result<Option<T>, NodeError> {
        let in_flight = self.requests.len() + self.refused.len();
        let done = if in_flight < IN_FLIGHT { None } else { self.done().await? };
        self.send(name, codec, bytes);
        Ok(done)
    }

    /// Waits until the next block is stored, and returns its name. `None` if no block is in flight.
    pub(crate) async fn done(&mut self) -> Result<Option<T>, NodeError> {
        loop {
            match self.requests.join_next().await {
                Some(Ok(Ok(name))) => {
                    self.room.found();
                    return Ok(Some(name));
                }
                Some(Ok(Err(refused))) if refused.error.is_no_room_now() => self.refused.push(refused),
                Some(Ok(Err(refused))) => return Err(refused.error),
                Some(Err(error)) => return Err(stopped(&self.node, error)),
                None if self.refused.is_empty() => return Ok(None),
                None => self.again().await?,
            }
        }
    }

    /// Waits, and sends again what was refused.
    async fn again(&mut self) -> Result<(), NodeError> {
        let mut refused = std::mem::take(&mut self.refused);
        let asked = refused.iter().find_map(|refused| match &refused.error {
            NodeError::Refused { retry_after, .. } => *retry_after,
            _ => None,
        });
        let Some(pause) = self.room.next(asked, rand::random()) else {
            return match refused.pop() {
                Some(refused) => Err(refused.error),
                None => Ok(()),
            };
        };
        (self.pausing)(pause);
        tokio::time::sleep(pause).await;
        for Refused { name, codec, bytes, .. } in refused {
            self.send(name, codec, bytes);
        }
        Ok(())
    }
}

/// A request that ends when this is dropped.
#[derive(Debug)]
struct Request(JoinHandle<Result<Vec<u8>, NodeError>>);

impl Drop for Request {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Fetches blocks and returns them in order.
#[derive(Debug)]
pub(crate) struct Fetching {
    node: NodeClient,
    left: VecDeque<Cid>,
    requests: VecDeque<(Cid, Request)>,
}

impl Fetching {
    pub(crate) fn from(node: &NodeClient, cids: impl IntoIterator<Item = Cid>) -> Self {
        Self { node: node.clone(), left: cids.into_iter().collect(), requests: VecDeque::new() }
    }

    /// The next block, checked against its CID. `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<(Cid, Vec<u8>)>, NodeError> {
        while self.requests.len() < IN_FLIGHT
            && let Some(cid) = self.left.pop_front()
        {
            let node = self.node.clone();
            self.requests.push_back((cid, Request(tokio::spawn(async move { node.block(&cid).await }))));
        }
        let Some((cid, mut request)) = self.requests.pop_front() else { return Ok(None) };
        let bytes = (&mut request.0).await.map_err(|error| stopped(&self.node, error))??;
        Ok(Some((cid, bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_waits_longer_each_time_and_at_most_an_hour() {
        let minute = Duration::from_secs(60);
        let mut room = Room::waiting();
        let mut pauses = Vec::new();
        while let Some(pause) = room.next(Some(minute), 0.5) {
            pauses.push(pause.as_secs() / 60);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10, 10, 10]);
        assert_eq!(room.waited(), 55 * minute);
        // Those who were refused together come back at different times.
        let first = |by_chance| Room::waiting().next(Some(minute), by_chance);
        assert_eq!((first(0.0), first(1.0)), (Some(Duration::from_secs(45)), Some(Duration::from_secs(75))));
        // The node's pause is not taken as it is: it may be of any length.
        let mut room = Room::waiting();
        assert_eq!(room.next(Some(Duration::MAX), 0.5), Some(LONGEST_PAUSE));
        room.found();
        assert_eq!((room.waited(), room.next(None, 0.5)), (Duration::ZERO, Some(PAUSE)));
        assert_eq!(Room::at_once().next(Some(minute), 0.5), None);
    }
}
