//! Many blocks at once, in both directions: a bounded number of requests is in flight, so the memory is bounded too.

use std::collections::VecDeque;

use emr_core::{Cid, Codec};
use tokio::task::{JoinHandle, JoinSet};

use crate::node::{NodeClient, NodeError};

/// How many blocks are in flight. A node answers 64 requests of one account at a time, and allows 200 a second.
const IN_FLIGHT: usize = 8;

fn stopped(node: &NodeClient, reason: impl ToString) -> NodeError {
    NodeError::Unreachable { node: node.address().to_string(), reason: reason.to_string() }
}

/// Stores blocks, in any order. Dropping this ends the requests in flight.
#[derive(Debug)]
pub(crate) struct Storing<T> {
    node: NodeClient,
    requests: JoinSet<Result<T, NodeError>>,
}

impl<T: Send + 'static> Storing<T> {
    pub(crate) fn on(node: &NodeClient) -> Self {
        Self { node: node.clone(), requests: JoinSet::new() }
    }

    /// Begins to store a block, which is known to the caller as `name`. If enough blocks are in flight, first waits for one of them, and returns its
    /// name.
    pub(crate) async fn start(&mut self, name: T, codec: Codec, bytes: Vec<u8>) -> Result<Option<T>, NodeError> {
        let done = if self.requests.len() < IN_FLIGHT { None } else { self.done().await? };
        let node = self.node.clone();
        self.requests.spawn(async move { node.put_block(codec, &bytes).await.map(|_| name) });
        Ok(done)
    }

    /// Waits until the next block is stored, and returns its name. `None` if no block is in flight.
    pub(crate) async fn done(&mut self) -> Result<Option<T>, NodeError> {
        match self.requests.join_next().await {
            None => Ok(None),
            Some(Ok(done)) => done.map(Some),
            Some(Err(error)) => Err(stopped(&self.node, error)),
        }
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
