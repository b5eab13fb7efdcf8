//! Follows L1: its clock, settled batches, the queue, the hospital's registration, and reorganisations.

use std::sync::Arc;

use alloy::{
    eips::BlockNumberOrTag,
    primitives::{Address, B256},
    providers::{DynProvider, Provider},
};
use emr_chain::{Head, Rollup, RollupError, Settlement};
use emr_rollup::{batch::D1Entry, l1_operation::L1Operation};
use tokio::sync::Mutex;

use crate::{
    l1::clock::{Clock, L1Ahead},
    mempool::MempoolError,
    sequencer::{DeriveError, L1View, OnL1, Sequencer, derive},
};

/// L1 could not be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The contract or the Ethereum node failed.
    #[error(transparent)]
    Rollup(#[from] RollupError),
    /// The batches that L1 settled cannot be applied.
    #[error(transparent)]
    Derive(#[from] DeriveError),
    /// The contract never makes such a queue entry.
    #[error("entry {0} of the L1 queue is malformed: use another Ethereum node")]
    QueueEntry(u64),
    /// The state root on L1 is not the one that its batches lead to.
    #[error("the state root on L1 is not the one that its {0} batches lead to: use another Ethereum node")]
    StateRoot(u64),
    /// The node does not have a block that must exist.
    #[error("the Ethereum node has no block {0}: wait until it has caught up, or use another one")]
    Block(u64),
    /// L1's time is not plausible.
    #[error(transparent)]
    Time(#[from] L1Ahead),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

impl From<MempoolError> for FollowError {
    fn from(error: MempoolError) -> Self {
        Self::Derive(error.into())
    }
}

/// The last block of L1 that a follower has processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    number: u64,
    hash: B256,
}

/// Reads L1 for a sequencer.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) rollup: Rollup<DynProvider>,
    hospital: Address,
    /// The last block that was processed. A task holds this lock while it follows.
    position: Mutex<Position>,
}

/// The hash and time of a block.
pub(crate) async fn block(provider: &DynProvider, number: u64) -> Result<Option<(B256, u64)>, RollupError> {
    let block = provider.get_block_by_number(BlockNumberOrTag::Number(number)).await?;
    Ok(block.map(|block| (block.header.hash, block.header.timestamp)))
}

/// Reads L1's head. Fails if its time is not plausible, because then nothing else can be trusted.
async fn look(rollup: &Rollup<DynProvider>, clock: &Clock) -> Result<(Position, Head), FollowError> {
    let provider = rollup.provider();
    let head = rollup.head().await?;
    let (hash, mut time) = block(provider, head.block_number).await?.ok_or(FollowError::Block(head.block_number))?;
    let block_time = time;
    if clock.is_quiet(time) {
        // If a chain makes blocks on demand, its time is that of the next block, if the node shows it.
        let next = provider.get_block_by_number(BlockNumberOrTag::Pending).await.ok().flatten();
        time = next.map_or(time, |next| next.header.timestamp.max(time));
    }
    clock.observe(time)?;
    clock.reached(head.block_number, block_time);
    Ok((Position { number: head.block_number, hash }, head))
}

/// Reads all of a rollup's data on L1, at the head.
pub(crate) async fn read_all(
    rollup: &Rollup<DynProvider>,
    clock: &Clock,
    hospital: Address,
    known_gas: impl Fn(u64) -> bool,
) -> Result<(Position, Head, L1View), FollowError> {
    let (position, head) = look(rollup, clock).await?;
    let mut batches = Vec::new();
    for batch in rollup.batches(rollup.deployed_at()).await? {
        // The chain may have new batches since the head was read.
        if batch.number <= head.batch_count {
            let gas_used = if known_gas(batch.number) { None } else { gas_used(rollup, batch.tx_hash).await? };
            batches.push(OnL1 { batch, gas_used });
        }
    }
    let view = L1View {
        batches,
        queue_head: head.queue_head,
        queue: queue(rollup, &head).await?,
        hospital: rollup.account_of(hospital).await?,
    };
    Ok((position, head, view))
}

async fn gas_used(rollup: &Rollup<DynProvider>, tx_hash: B256) -> Result<Option<u64>, RollupError> {
    let receipt = rollup.provider().get_transaction_receipt(tx_hash).await?;
    Ok(receipt.map(|receipt| receipt.gas_used))
}

async fn queue(rollup: &Rollup<DynProvider>, head: &Head) -> Result<Vec<L1Operation>, FollowError> {
    let entries = rollup.queue_entries(head.queue_head..head.queue_length, 0).await?;
    entries
        .iter()
        .map(|entry| {
            let malformed = || FollowError::QueueEntry(entry.index);
            let queued = D1Entry::from_bytes(&entry.words).map_err(|_| malformed())?;
            L1Operation::from_entry(&queued).map_err(|_| malformed())
        })
        .collect()
}

impl Follower {
    pub(crate) fn new(rollup: Rollup<DynProvider>, hospital: Address, position: Position) -> Self {
        Self { rollup, hospital, position: Mutex::new(position) }
    }

    /// Brings the sequencer up to L1's head.
    pub(crate) async fn sync(&self, sequencer: &Arc<Sequencer>) -> Result<(), FollowError> {
        let mut position = self.position.lock().await;
        let provider = self.rollup.provider();
        let (next, head) = look(&self.rollup, &sequencer.clock).await?;
        if sequencer.mempool.has_failed() || sequencer.has_panicked() {
            // After a failure of the disk: once there is space again.
            *position = self.derive_anew(sequencer).await?;
            tracing::warn!("the state is derived from the file and L1 again");
            return Ok(());
        }
        if next == *position {
            return Ok(());
        }
        let same_chain = head.block_number >= position.number
            && block(provider, position.number).await?.is_some_and(|(hash, _)| hash == position.hash);
        let (batches, known_head, known_length) = {
            let state = sequencer.state();
            (state.batches, state.queue_head, state.queue_head + state.queue.len() as u64)
        };
        if !same_chain || head.batch_count < batches {
            tracing::warn!(block = head.block_number, "L1 was reorganised; deriving the state anew");
            *position = self.derive_anew(sequencer).await?;
            return Ok(());
        }
        if head.batch_count > batches {
            // Batches before the last known block cannot be new.
            let mut new = Vec::new();
            for batch in self.rollup.batches(position.number).await? {
                if batch.number > batches && batch.number <= head.batch_count {
                    let gas_used = gas_used(&self.rollup, batch.tx_hash).await?;
                    new.push(OnL1 { batch, gas_used });
                }
            }
            let taken = sequencer.write(move |sequencer| sequencer.take_over(&new)).await;
            match taken.map_err(|_| FollowError::Stopping)? {
                // Also when a batch was given up in flight but was settled in spite of that, and its operations are no longer open.
                Err(DeriveError::Fork(_) | DeriveError::UnknownOperations(_)) => {
                    *position = self.derive_anew(sequencer).await?;
                    return Ok(());
                }
                taken => taken?,
            }
        }
        if sequencer.state().settled.trees().root() != head.state_root {
            return Err(FollowError::StateRoot(head.batch_count));
        }
        if head.queue_length != known_length || head.queue_head != known_head || sequencer.state().hospital.is_none() {
            let entries = queue(&self.rollup, &head).await?;
            let hospital = self.rollup.account_of(self.hospital).await?;
            let written =
                sequencer.write(move |sequencer| sequencer.take_queue(head.queue_head, entries, hospital)).await;
            written.map_err(|_| FollowError::Stopping)??;
        }
        *position = next;
        sequencer.wake.notify_one();
        Ok(())
    }

    async fn derive_anew(&self, sequencer: &Arc<Sequencer>) -> Result<Position, FollowError> {
        let (position, head, view) = read_all(&self.rollup, &sequencer.clock, self.hospital, |_| false).await?;
        let derived = sequencer.write_anew(move |sequencer| {
            if sequencer.mempool.has_failed() {
                sequencer.mempool.reopen()?;
            }
            let state = derive(&sequencer.mempool, sequencer.domain, sequencer.version, view)?;
            sequencer.replace(state);
            Ok::<_, DeriveError>(())
        });
        derived.await.map_err(|_| FollowError::Stopping)??;
        if sequencer.state().settled.trees().root() != head.state_root {
            return Err(FollowError::StateRoot(head.batch_count));
        }
        sequencer.wake.notify_one();
        Ok(position)
    }
}
