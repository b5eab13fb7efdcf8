//! Settling overdue entries as a stranger: with nothing but L1's data and the public proving keys.
//!
//! D1 and D2 of the settled batches are enough to build the trees again. Urgent entries need no more than the trees. A
//! stranger can settle no operations, because D2 holds only their hashes.

use alloy::providers::DynProvider;
use emr_api::settlement;
use emr_chain::{Head, L1Receipt, QueueName, QueueProgress, Rollup, RollupError, SettlementLayer};
use emr_core::UnixTime;
use emr_rollup::{
    batch::{Batch, BatchData, D1Entry, D2Entry, Open, Proven, Sealed},
    l1_operation::L1Operation,
    operation::Domain,
    state::{StateTrees, ledger::Ledger},
    version::CircuitSizes,
};

use crate::{error::ClientError, l1_client::L1Client};

/// Why overdue entries cannot be settled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettleQueueError {
    /// A size of the contract is not one of this program's.
    #[error("the contract proves in sizes that this program does not know: use the program that belongs to it")]
    Sizes,
    /// The data on L1 do not lead to the state root.
    #[error("the Ethereum node's data of batch {0} do not lead to the state root on L1: use another Ethereum node")]
    Data(u64),
    /// An entry of a queue is malformed.
    #[error("entry {index} of the {queue} queue is malformed: use another Ethereum node")]
    Entry {
        /// The queue.
        queue: QueueName,
        /// The position.
        index: u64,
    },
    /// Guardians halted settlement.
    #[error("guardians halted settlement until {0}: nobody can settle before")]
    Halted(UnixTime),
    /// A batch could not be made.
    #[error("a batch of the overdue entries cannot be made: {0}")]
    Batch(String),
}

/// A batch of overdue entries and of younger ones behind them, ready to be proved.
#[derive(Debug)]
pub struct OverdueBatch {
    /// The batch.
    pub sealed: Batch<Sealed>,
    /// How many of its entries are of the urgent queue.
    urgent: u16,
    sizes: CircuitSizes,
}

impl OverdueBatch {
    /// How many entries it takes.
    pub fn entries(&self) -> u64 {
        self.sealed.public().n1
    }
}

impl L1Client {
    /// The batch of the entries that are overdue now, or `None` if strangers can settle nothing.
    ///
    /// # Errors
    /// [`SettleQueueError`] if L1's data are not those of the contract. [`ClientError`] if L1 cannot be asked.
    pub async fn overdue_batch(&self) -> Result<Option<OverdueBatch>, ClientError> {
        match self.overdue(&self.rollup).await {
            // The block of the deployment is what the hospital's node said, and that hospital may not want this.
            Err(
                ClientError::SettleQueue(SettleQueueError::Data(_))
                | ClientError::Rollup(RollupError::QueueEntryMissing { .. }),
            ) if self.rollup.deployed_at() > 0 => self.overdue(&self.rollup.clone().with_events_from(0)).await,
            other => other,
        }
    }

    async fn overdue(&self, rollup: &Rollup<DynProvider>) -> Result<Option<OverdueBatch>, ClientError> {
        let sizes = self.sizes().await?;
        let mut head = rollup.head().await?;
        let now = rollup.block_time(head.block_number).await?;
        if let Some(halt) = rollup.last_halt().await?.filter(|halt| halt.is_on(now)) {
            return Err(SettleQueueError::Halted(halt.until).into());
        }
        if !self.has_overdue(&head).await? {
            return Ok(None);
        }
        // This can take hours, and the batch's time must not be more than an hour ago when it is settled. So the rest is read afterwards.
        let mut derived = Derived { trees: StateTrees::genesis(*sizes.any()), batches: 0, from_block: 0 };
        loop {
            derived.follow(rollup, &head).await?;
            head = rollup.head().await?;
            if head.batch_count == derived.batches {
                break;
            }
        }
        // L1's newest block says the time: this machine's clock may be ahead of it.
        let now = rollup.block_time(head.block_number).await?;
        let most = sizes.max_l1_beside(0) as u64;
        let open = now > head.strangers_from;
        let queues = &head.queues;
        if queues.urgent.overdue == 0 && (!open || queues.ordinary.overdue == 0) {
            return Ok(None);
        }
        let instance = self.rollup.instance();
        let domain = Domain::new(instance.chain_id, instance.contract.into_array());
        // Entries that become overdue while the batch is proved would make it void, so it takes younger ones along.
        let waiting = |queue: &QueueProgress, room: u64| queue.length.saturating_sub(queue.head).min(room);
        let urgent = waiting(&queues.urgent, most);
        let ordinary = if open { waiting(&queues.ordinary, most - urgent) } else { 0 };
        let ledger = Ledger::of_trees(domain, derived.trees);
        let time = now.max(head.last_time);
        let batch: Batch<Open> = Batch::open(ledger, head.batch_count + 1, time);
        let mut batch = batch.in_sizes(sizes.clone());
        for (queue, first, count) in [
            (QueueName::Urgent, head.queues.urgent.head, urgent),
            (QueueName::Ordinary, head.queues.ordinary.head, ordinary),
        ] {
            for entry in rollup.queue_entries(queue, first..first + count, 0).await? {
                let malformed = || SettleQueueError::Entry { queue, index: entry.index };
                let queued = D1Entry::from_bytes(&entry.words).map_err(|_| malformed())?;
                let operation = L1Operation::from_entry(&queued).map_err(|_| malformed())?;
                batch.push_l1(&operation).map_err(|error| SettleQueueError::Batch(error.to_string()))?;
            }
        }
        Ok(Some(OverdueBatch { sealed: batch.seal().0, urgent: urgent as u16, sizes }))
    }

    /// Settles a proved batch of overdue entries.
    ///
    /// # Errors
    /// [`ClientError`] if L1 cannot be asked or refuses: somebody else may have settled them.
    pub async fn settle_overdue(&self, batch: OverdueBatch, proof: Vec<u8>) -> Result<L1Receipt, ClientError> {
        let OverdueBatch { sealed, urgent, sizes } = batch;
        let size = sizes.position(&sealed.witness().version).ok_or(SettleQueueError::Sizes)?;
        let proven: Batch<Proven> = sealed.with_proof(proof);
        Ok(self.rollup.settle(&settlement::content(&proven, size, urgent)).await?)
    }

    /// The contract's sizes, which must be this program's.
    async fn sizes(&self) -> Result<CircuitSizes, ClientError> {
        let all = CircuitSizes::v1_all();
        let sizes = self.rollup.sizes().await?;
        let sizes = sizes.iter().map(|size| all.with_slots(size.max_l1, size.max_l2).copied()).collect::<Option<_>>();
        let sizes = sizes.and_then(|sizes| CircuitSizes::new(sizes).ok());
        Ok(sizes.ok_or(SettleQueueError::Sizes)?)
    }

    /// Whether strangers may settle something now.
    async fn has_overdue(&self, head: &Head) -> Result<bool, ClientError> {
        let open = self.rollup.block_time(head.block_number).await? > head.strangers_from;
        Ok(head.queues.urgent.overdue > 0 || open && head.queues.ordinary.overdue > 0)
    }
}

/// The state after some settled batches, from their data alone.
struct Derived {
    trees: StateTrees,
    batches: u64,
    /// The block of the last of them.
    from_block: u64,
}

impl Derived {
    /// Applies the batches that are settled since. Each must lead to the root that it names, and the last to L1's.
    async fn follow(&mut self, rollup: &Rollup<DynProvider>, head: &Head) -> Result<(), ClientError> {
        for batch in rollup.batches(self.from_block).await? {
            if batch.number <= self.batches {
                continue;
            }
            if batch.number > head.batch_count {
                break;
            }
            let bad = || SettleQueueError::Data(batch.number);
            let content = &batch.content;
            let d1 = content.d1.iter().map(D1Entry::from_bytes).collect::<Result<_, _>>().map_err(|_| bad())?;
            let d2 = content.d2.iter().map(D2Entry::from_bytes).collect::<Result<_, _>>().map_err(|_| bad())?;
            self.trees.apply(&BatchData { d1, d2 }, content.time).map_err(|_| bad())?;
            if batch.number != self.batches + 1 || self.trees.root() != content.post {
                return Err(bad().into());
            }
            (self.batches, self.from_block) = (batch.number, batch.block_number);
        }
        if (self.batches, self.trees.root()) != (head.batch_count, head.state_root) {
            return Err(SettleQueueError::Data(head.batch_count).into());
        }
        Ok(())
    }
}
