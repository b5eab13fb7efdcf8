//! Follows L1: its clock, settled batches, the queue, the hospital's registration, and reorganisations.

use std::{
    ops::Range,
    sync::{Arc, atomic::Ordering},
};

use alloy::{
    eips::BlockNumberOrTag,
    primitives::{Address, B256},
    providers::{DynProvider, Provider},
};
use emr_chain::{
    DeploymentRecord, Halt, Head, PerQueue, QueueName, Rollup, RollupError, SettlementLayer, header::Finality,
};
use emr_core::{StateRoot, UnixTime};
use emr_rollup::{batch::D1Entry, l1_operation::L1Operation};
use tokio::{sync::Mutex, task::JoinHandle};

use crate::{
    derivation::{BatchOnL1, DerivationError, SettledLedger, derive},
    engine::Engine,
    l1::{
        clock::{Clock, L1Ahead},
        read::{Reader, Start},
    },
    mempool::MempoolError,
    node::NodeConfig,
    snapshot::Snapshot,
    state::queues::L1Queues,
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
    Derive(#[from] DerivationError),
    /// The contract never makes such a queue entry.
    #[error("entry {index} of the {queue} queue on L1 is malformed: use another Ethereum node")]
    QueueEntry {
        /// The queue.
        queue: QueueName,
        /// The position.
        index: u64,
    },
    /// The state root on L1 is not the one that its batches lead to.
    #[error("the state root on L1 is not the one that its {0} batches lead to: use another Ethereum node")]
    StateRoot(u64),
    /// The Ethereum node's logs do not hold all batches that the contract counts.
    #[error(
        "the Ethereum node shows {shown} of {settled} batches, or others than its contract settled: wait until it has caught up, or use \
         another one; nothing was changed"
    )]
    Incomplete {
        /// The number of batches in the logs.
        shown: u64,
        /// The number of batches that the contract counts.
        settled: u64,
    },
    /// The Ethereum node does not show a block that must exist.
    #[error("the Ethereum node has no block {0}: wait until it has caught up, or use another one")]
    Block(u64),
    /// L1's time is not plausible.
    #[error(transparent)]
    Time(#[from] L1Ahead),
    /// Another account settles batches now.
    #[error(
        "{0} is the sequencer now, and no longer this hospital: operations go to the node of the new one, which adopts a copy of this hospital's folder"
    )]
    Replaced(Address),
    /// Guardians halted settlement.
    #[error("guardians halted settlement until {0}: operations are settled after that")]
    SettlementHalted(UnixTime),
    /// The rollup takes batches of other sizes, or with other verifiers, than when the node started.
    #[error(
        "the rollup's sizes or verifiers changed: start the node again, with a version of the program that knows them"
    )]
    SizesChanged,
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
    pub(crate) number: u64,
    pub(crate) hash: B256,
}

/// How often in a row the last block must be absent on L1 before that counts as a reorganisation. One address can stand for several Ethereum
/// nodes, and one of them may only be a block behind.
const DOUBTS: u32 = 4;

/// What a follower knows about L1's chain.
#[derive(Clone, Copy, Debug)]
struct Followed {
    position: Position,
    /// The number of batches and the state root there.
    settled: (u64, StateRoot),
    /// How often in a row the block at that position was absent.
    doubts: u32,
    /// What the offices say there; `None` if that was not read yet.
    offices: Option<OfficesSeen>,
}

/// What a node must know of the offices.
#[derive(Clone, Copy, Debug)]
struct OfficesSeen {
    sequencer: Address,
    sizes_revision: u64,
    halt: Option<Halt>,
}

impl Followed {
    const fn at(position: Position, head: &Head) -> Self {
        Self { position, settled: (head.batch_count, head.state_root), doubts: 0, offices: None }
    }
}

/// Whether L1 still has the last block that was processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chain {
    Same,
    /// L1 has another block at that position.
    Other,
    /// L1 has no block at that position.
    Shorter,
}

/// Reads L1 for a node.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) rollup: Rollup<DynProvider>,
    /// What the rollup was made from.
    pub(crate) deployment: DeploymentRecord,
    hospital: Address,
    /// How often the sizes had changed when the node started.
    sizes_revision: u64,
    finality: Finality,
    /// The last block that was processed. The task that follows L1 holds this lock.
    followed: Mutex<Followed>,
}

/// The hash and time of a block.
pub(crate) async fn block(provider: &DynProvider, number: u64) -> Result<Option<(B256, u64)>, RollupError> {
    let block = provider.get_block_by_number(BlockNumberOrTag::Number(number)).await?;
    Ok(block.map(|block| (block.header.hash, block.header.timestamp)))
}

/// Reads L1's head. Fails if its time is not plausible, because then nothing else can be trusted.
pub(super) async fn look(rollup: &Rollup<DynProvider>, clock: &Clock) -> Result<(Position, Head), FollowError> {
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
    clock.reached(&head, block_time);
    Ok((Position { number: head.block_number, hash }, head))
}

/// The newest block that L1 cannot take back any more.
pub(super) async fn final_block(
    rollup: &Rollup<DynProvider>,
    finality: Finality,
    head: &Head,
) -> Result<u64, RollupError> {
    Ok(match finality {
        Finality::Latest => u64::MAX,
        Finality::Depth(blocks) => head.block_number.saturating_sub(blocks),
        Finality::Finalized => {
            let block = rollup.provider().get_block_by_number(BlockNumberOrTag::Finalized).await?;
            // None as long as nothing is final.
            block.map_or(0, |block| block.header.number.min(head.block_number))
        }
    })
}

pub(super) async fn gas_used(rollup: &Rollup<DynProvider>, tx_hash: B256) -> Result<Option<u64>, RollupError> {
    let receipt = rollup.provider().get_transaction_receipt(tx_hash).await?;
    Ok(receipt.map(|receipt| receipt.gas_used))
}

/// All entries that wait in the queues.
pub(super) async fn queues(rollup: &Rollup<DynProvider>, head: &Head) -> Result<L1Queues, FollowError> {
    let urgent = entries(rollup, QueueName::Urgent, head.queues.urgent.waiting(), 0).await?;
    let ordinary = entries(rollup, QueueName::Ordinary, head.queues.ordinary.waiting(), 0).await?;
    let heads = PerQueue { urgent: head.queues.urgent.head, ordinary: head.queues.ordinary.head };
    Ok(L1Queues::new(heads, PerQueue { urgent, ordinary }))
}

async fn entries(
    rollup: &Rollup<DynProvider>,
    queue: QueueName,
    range: Range<u64>,
    from_block: u64,
) -> Result<Vec<L1Operation>, FollowError> {
    let entries = rollup.queue_entries(queue, range, from_block).await?;
    entries
        .iter()
        .map(|entry| {
            let malformed = || FollowError::QueueEntry { queue, index: entry.index };
            let queued = D1Entry::from_bytes(&entry.words).map_err(|_| malformed())?;
            L1Operation::from_entry(&queued).map_err(|_| malformed())
        })
        .collect()
}

impl Follower {
    pub(crate) fn new(
        rollup: Rollup<DynProvider>,
        config: &NodeConfig,
        sizes_revision: u64,
        position: Position,
        head: &Head,
    ) -> Self {
        let followed = Mutex::new(Followed::at(position, head));
        let (deployment, hospital) = (config.deployment.clone(), config.hospital.address());
        Self { rollup, deployment, hospital, sizes_revision, finality: config.finality, followed }
    }

    async fn chain(&self, position: Position, head: &Head) -> Result<Chain, FollowError> {
        if head.block_number < position.number {
            return Ok(Chain::Shorter);
        }
        let there = block(self.rollup.provider(), position.number).await?;
        Ok(match there {
            Some((hash, _)) if hash == position.hash => Chain::Same,
            Some(_) => Chain::Other,
            None => Chain::Shorter,
        })
    }

    /// Brings the node's state up to L1's head, and writes a snapshot in the background if one is due.
    pub(crate) async fn sync(&self, engine: &Arc<Engine>) -> Result<(), FollowError> {
        let mut followed = self.followed.lock().await;
        self.catch_up(engine, &mut followed).await?;
        let OfficesSeen { sequencer, sizes_revision, halt } = match followed.offices {
            Some(known) => known,
            None => *followed.offices.insert(OfficesSeen {
                sequencer: self.rollup.sequencer().await?,
                sizes_revision: self.rollup.sizes_revision().await?,
                halt: self.rollup.last_halt().await?,
            }),
        };
        // Nobody waits for it. It holds copies, which share everything with the state.
        drop(snapshot(engine, &followed, false));
        match () {
            () if sequencer != self.hospital => Err(FollowError::Replaced(sequencer)),
            () if sizes_revision != self.sizes_revision => Err(FollowError::SizesChanged),
            () => match halt.filter(|halt| halt.is_on(engine.clock.now())) {
                Some(halt) => Err(FollowError::SettlementHalted(halt.until)),
                None => Ok(()),
            },
        }
    }

    /// Writes a snapshot at an orderly stop, if there is a batch that no snapshot has. Nothing else may change the state any more.
    pub(crate) async fn snapshot_at_stop(&self, engine: &Engine) {
        let writing = snapshot(engine, &*self.followed.lock().await, true);
        if let Some(writing) = writing {
            // A panic is in the log.
            let _ = writing.await;
        }
    }

    async fn catch_up(&self, engine: &Arc<Engine>, followed: &mut Followed) -> Result<(), FollowError> {
        let (next, head) = look(&self.rollup, &engine.clock).await?;
        let waits = !head.queues.urgent.waiting().is_empty();
        let due = if waits { self.rollup.due_entries(engine.clock.batch_time()).await?.urgent } else { 0 };
        engine.due_urgent.store(due, Ordering::Relaxed);
        let final_block = final_block(&self.rollup, self.finality, &head).await?;
        engine.final_block.store(final_block, Ordering::Relaxed);
        if engine.state().finality.is_behind(final_block) {
            let finalized = engine.write(|engine| engine.finalize()).await;
            finalized.map_err(|_| FollowError::Stopping)?;
        }
        if engine.mempool.has_failed() || engine.has_panicked() {
            // After a disk error this opens the file again once there is space. After a panic it replaces the state in memory.
            *followed = self.rederive(engine).await?;
            tracing::warn!("the state is derived from the file and L1 again");
            return Ok(());
        }
        if next == followed.position {
            followed.doubts = 0;
            return Ok(());
        }
        let chain = self.chain(followed.position, &head).await?;
        if chain == Chain::Shorter && followed.doubts < DOUBTS {
            followed.doubts += 1;
            return Ok(());
        }
        let reorganised = chain != Chain::Same;
        let batches = engine.state().batches;
        let same_state = head.batch_count == batches && head.state_root == engine.state().settled.trees().root();
        if reorganised || head.batch_count < batches {
            tracing::warn!(block = head.block_number, "L1 was reorganised");
            if !same_state {
                *followed = self.rederive(engine).await?;
                return Ok(());
            }
        }
        if head.batch_count > batches {
            // Batches before the last known block cannot be new.
            let mut new = Vec::new();
            for batch in self.rollup.batches(followed.position.number).await? {
                if batch.number > batches && batch.number <= head.batch_count {
                    let gas_used = gas_used(&self.rollup, batch.tx_hash).await?;
                    new.push(BatchOnL1 { batch, gas_used });
                }
            }
            // The node that sent the logs may be behind the one that sent the head.
            let shown = batches + new.len() as u64;
            if shown != head.batch_count {
                return Err(FollowError::Incomplete { shown, settled: head.batch_count });
            }
            let taken = engine.write(move |engine| engine.apply_settled(&new)).await;
            match taken.map_err(|_| FollowError::Stopping)? {
                // Also when a batch was given up in flight but was settled in spite of that, and its operations are no longer open.
                Err(DerivationError::Fork(_) | DerivationError::UnknownOperations(_)) => {
                    *followed = self.rederive(engine).await?;
                    return Ok(());
                }
                taken => taken?,
            }
        }
        if engine.state().settled.trees().root() != head.state_root {
            return Err(FollowError::StateRoot(head.batch_count));
        }
        if !self.follow_queues(engine, &head, reorganised, followed.position.number).await? {
            // Accounts that wait for their settlement may have other owners now.
            *followed = self.rederive(engine).await?;
            return Ok(());
        }
        *followed = Followed::at(next, &head);
        engine.wake.notify_one();
        Ok(())
    }

    /// Updates the copy of the queues. Returns `false` if entries that were in it are gone. Only new entries are read, unless L1 was
    /// reorganised.
    async fn follow_queues(
        &self,
        engine: &Arc<Engine>,
        head: &Head,
        reorganised: bool,
        from_block: u64,
    ) -> Result<bool, FollowError> {
        let (known, hospital) = {
            let state = engine.state();
            (state.queues.clone(), state.hospital)
        };
        let mut new = PerQueue::default();
        for queue in QueueName::ALL {
            let (first, there) = (known.head(queue), head.queues.of(queue));
            let length = first + known.waiting(queue) as u64;
            if there.head != first || there.length < length {
                return Ok(false);
            }
            *new.of_mut(queue) = if reorganised {
                let mut all = entries(&self.rollup, queue, there.waiting(), 0).await?;
                if !known.of(queue).map(|queued| &queued.operation).eq(all.iter().take(known.waiting(queue))) {
                    return Ok(false);
                }
                all.split_off(known.waiting(queue))
            } else {
                entries(&self.rollup, queue, length..there.length, from_block).await?
            };
        }
        if new != PerQueue::default() || hospital.is_none() || reorganised {
            let told = self.rollup.account_of(self.hospital).await?;
            let written = engine.write(move |engine| engine.extend_queues(new, told)).await;
            written.map_err(|_| FollowError::Stopping)??;
        }
        Ok(true)
    }

    /// Derives the state again, from the newest snapshot that can be used.
    async fn rederive(&self, engine: &Arc<Engine>) -> Result<Followed, FollowError> {
        let reader = Reader {
            rollup: &self.rollup,
            clock: &engine.clock,
            hospital: self.hospital,
            finality: self.finality,
            snapshots: &engine.snapshots,
            genesis: SettledLedger {
                resized: self.sizes_revision > 0,
                ..SettledLedger::genesis(engine.domain, Arc::clone(&engine.sizes))
            },
        };
        let mut below = None;
        loop {
            let Start { base, l1, position, head } = reader.read(below, |_| false).await?;
            let batches = base.batches;
            let derived = engine.recover(move |engine| {
                if engine.mempool.has_failed() {
                    engine.mempool.reopen()?;
                }
                engine.replace(derive(&engine.mempool, base, l1)?);
                Ok::<_, DerivationError>(())
            });
            match derived.await.map_err(|_| FollowError::Stopping)? {
                Err(error) if batches > 0 && error.may_be_the_snapshot() => {
                    tracing::warn!(batches, %error, "a snapshot is not used; an older one is tried");
                    below = Some(batches);
                    continue;
                }
                derived => derived?,
            }
            if engine.state().settled.trees().root() != head.state_root {
                return Err(FollowError::StateRoot(head.batch_count));
            }
            engine.snapshots.derived_from(batches);
            engine.wake.notify_one();
            return Ok(Followed::at(position, &head));
        }
    }
}

/// Begins to write a snapshot if one is due, and if the state is that of the last block that was processed. It is not while the state may differ from
/// the file, or if a task was stopped between two steps.
fn snapshot(engine: &Engine, followed: &Followed, at_stop: bool) -> Option<JoinHandle<()>> {
    if engine.has_panicked() || engine.mempool.has_failed() {
        return None;
    }
    let settled = {
        let state = engine.state();
        if (state.batches, state.settled.trees().root()) != followed.settled {
            return None;
        }
        if !engine.snapshots.is_due(state.batches, at_stop) {
            return None;
        }
        state.settled_ledger()
    };
    let (snapshots, snapshot) = (Arc::clone(&engine.snapshots), Snapshot { settled, block: followed.position });
    Some(tokio::task::spawn_blocking(move || snapshots.write(&snapshot)))
}
