//! Settles batches and reads settled ones: the interface between a node and L1.

use std::{future::Future, ops::Range};

use alloy::{
    primitives::{B256, Bytes, U256, aliases::U40, keccak256},
    providers::Provider,
    rpc::types::{Filter, Log, TransactionTrait},
    sol_types::{SolCall, SolEvent, SolValue},
};
use emr_core::{StateRoot, UnixTime};
use serde::{Deserialize, Serialize};

use crate::{
    bindings::{EmrRollup, ISettlement},
    queue::{PerQueue, QueueEntry, QueueName, QueueProgress},
    revert::RollupError,
    rollup::Rollup,
    transaction::L1Receipt,
};

/// A field element: 32 bytes, big-endian, canonical.
pub type Word = [u8; 32];

/// Four field elements: an entry of D1 or D2 (`docs/encoding.md`, "Batch data").
pub type Words = [Word; 4];

/// The contract's progress, read at one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The block at which it was read.
    pub block_number: u64,
    /// The current state root.
    pub state_root: StateRoot,
    /// Number of the last settled batch, 0 before the first.
    pub batch_count: u64,
    /// Time of the last settled batch, 0 before the first.
    pub last_time: UnixTime,
    /// How far the queues are. Anyone may settle overdue urgent entries.
    pub queues: PerQueue<QueueProgress>,
    /// From when anyone may also settle overdue ordinary entries: a day after the sequencer's last batch.
    pub strangers_from: UnixTime,
}

/// The content of a batch: everything that is needed to compute the state after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchContent {
    /// The position of its size in [`Parameters::sizes`](crate::Parameters::sizes).
    pub size: u8,
    /// State root before.
    pub pre: StateRoot,
    /// State root after.
    pub post: StateRoot,
    /// The time of all its operations.
    pub time: UnixTime,
    /// Its commitment `C`.
    pub commitment: Word,
    /// The queue entries it takes: first those of the urgent queue.
    pub d1: Vec<Words>,
    /// How many of them are of the urgent queue.
    pub urgent: u16,
    /// The entries that its L2 operations wrote.
    pub d2: Vec<Words>,
    /// The proof, which the verifier reads after the public inputs.
    pub proof: Vec<u8>,
}

/// A batch that is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettledBatch {
    /// Its number; the first is 1.
    pub number: u64,
    /// The transaction that settled it.
    pub tx_hash: B256,
    /// The block that holds the transaction.
    pub block_number: u64,
    /// Its content.
    pub content: BatchContent,
}

/// The part of L1 that a node needs to settle batches, and to follow batches that others settle.
pub trait SettlementLayer: Send + Sync {
    /// The contract's progress.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    fn head(&self) -> impl Future<Output = Result<Head, RollupError>> + Send;

    /// All entries of a queue at these positions, in order. They must have been queued in `from_block` or later. A follower
    /// passes the block of the last entry that it knows, so that only newer blocks are read. With 0, all blocks since
    /// the deployment are read.
    ///
    /// # Errors
    /// Returns [`RollupError::QueueEntryMissing`] if no event since `from_block` names a position.
    fn queue_entries(
        &self,
        queue: QueueName,
        range: Range<u64>,
        from_block: u64,
    ) -> impl Future<Output = Result<Vec<QueueEntry>, RollupError>> + Send;

    /// Settles a proven batch and waits until its transaction is mined.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    fn settle(&self, batch: &BatchContent) -> impl Future<Output = Result<L1Receipt, RollupError>> + Send;

    /// The batches that were settled in `from_block` or later, in order. They are decoded from the calldata of their
    /// transactions, and compared with the contract's events.
    ///
    /// # Errors
    /// Returns [`RollupError::BatchData`] if a transaction is missing or differs from its event.
    fn batches(&self, from_block: u64) -> impl Future<Output = Result<Vec<SettledBatch>, RollupError>> + Send;

    /// The batch with this number, or `None` if it is not settled. The newest blocks are searched first. Checked like [`Self::batches`].
    ///
    /// # Errors
    /// Returns [`RollupError::BatchData`] if its transaction is missing or differs from its event.
    fn batch(&self, number: u64) -> impl Future<Output = Result<Option<SettledBatch>, RollupError>> + Send;
}

impl<P: Provider> SettlementLayer for Rollup<P> {
    async fn head(&self) -> Result<Head, RollupError> {
        let block_number = self.provider().get_block_number().await?;
        let at = block_number.into();
        let contract = self.contract();
        let time = |time: U40| UnixTime::new(time.to()).map_err(|e| RollupError::Malformed(e.to_string()));
        let overdue = contract.overdueEntries().block(at).call().await?;
        let queue = async |queue: QueueName, overdue: U256| {
            let head = contract.queueHead(queue.code()).block(at).call().await?;
            let length = contract.queueLength(queue.code()).block(at).call().await?;
            let oldest = if head < length {
                let entry = contract.queueEntry(queue.code(), head).block(at).call().await?;
                Some(time(entry.enqueuedAt.saturating_to())?)
            } else {
                None
            };
            let (head, length) = (head.to(), length.to());
            Ok::<_, RollupError>(QueueProgress { head, length, overdue: overdue.saturating_to(), oldest })
        };
        Ok(Head {
            block_number,
            state_root: state_root(contract.stateRoot().block(at).call().await?)?,
            batch_count: contract.batchCount().block(at).call().await?,
            last_time: time(contract.lastBatchTime().block(at).call().await?)?,
            queues: PerQueue {
                urgent: queue(QueueName::Urgent, overdue.urgent).await?,
                ordinary: queue(QueueName::Ordinary, overdue.ordinary).await?,
            },
            strangers_from: time(contract.strangersFrom().block(at).call().await?)?,
        })
    }

    async fn queue_entries(
        &self,
        queue: QueueName,
        range: Range<u64>,
        from_block: u64,
    ) -> Result<Vec<QueueEntry>, RollupError> {
        self.entries_of(queue, range, from_block).await
    }

    async fn settle(&self, batch: &BatchContent) -> Result<L1Receipt, RollupError> {
        let call = batch.to_call();
        let mined = self.send(self.contract().settle(call.batch, call.d1, call.d2, call.proof)).await?;
        Ok(L1Receipt::of(&mined))
    }

    async fn batches(&self, from_block: u64) -> Result<Vec<SettledBatch>, RollupError> {
        let filter = self.events(EmrRollup::BatchSettled::SIGNATURE_HASH);
        let mut batches = Vec::new();
        for log in self.logs(filter, from_block.max(self.deployed_at())).await? {
            batches.push(self.settled_batch(&log).await?);
        }
        Ok(batches)
    }

    async fn batch(&self, number: u64) -> Result<Option<SettledBatch>, RollupError> {
        let filter = self.events(EmrRollup::BatchSettled::SIGNATURE_HASH).topic1(B256::from(U256::from(number)));
        let mut end = self.provider().get_block_number().await?;
        while end >= self.deployed_at() {
            let first = end.saturating_sub(LOG_WINDOW - 1).max(self.deployed_at());
            for log in self.logs_between(filter.clone(), first, end).await? {
                let batch = self.settled_batch(&log).await?;
                if batch.number == number {
                    return Ok(Some(batch));
                }
            }
            let Some(before) = first.checked_sub(1) else { break };
            end = before;
        }
        Ok(None)
    }
}

impl BatchContent {
    /// How many entries of each queue it takes.
    pub fn entries(&self) -> PerQueue<usize> {
        let urgent = usize::from(self.urgent);
        PerQueue { urgent, ordinary: self.d1.len().saturating_sub(urgent) }
    }

    fn to_call(&self) -> EmrRollup::settleCall {
        let flat = |entries: &[Words]| entries.iter().flatten().map(|word| U256::from_be_bytes(*word)).collect();
        EmrRollup::settleCall {
            batch: ISettlement::Batch {
                size: self.size,
                urgent: self.urgent,
                pre: word(&self.pre),
                post: word(&self.post),
                time: U40::from(self.time.get()),
                commitment: U256::from_be_bytes(self.commitment),
            },
            d1: flat(&self.d1),
            d2: flat(&self.d2),
            proof: Bytes::copy_from_slice(&self.proof),
        }
    }

    /// Decodes a batch from the calldata of its transaction. Everything in the event must agree with it.
    fn from_calldata(input: &[u8], event: &EmrRollup::BatchSettled) -> Result<Self, RollupError> {
        let bad = |why| RollupError::BatchData { number: event.number, why };
        let call =
            EmrRollup::settleCall::abi_decode(input).map_err(|_| bad("its transaction is not a call of settle"))?;
        let entries = |words: &[U256]| {
            let (entries, rest) = words.as_chunks::<4>();
            let entries = entries.iter().map(|entry| entry.map(|word| word.to_be_bytes())).collect::<Vec<Words>>();
            if rest.is_empty() { Ok(entries) } else { Err(bad("it holds an incomplete entry")) }
        };
        let (d1, d2) = (entries(&call.d1)?, entries(&call.d2)?);
        let data_hash = keccak256(call.d2.abi_encode_packed());
        let sent = (&call.batch, U256::from(d1.len()), U256::from(d2.len()), data_hash);
        if (&event.batch, event.n1, event.n, event.dataHash) != sent {
            return Err(bad("its transaction differs from its event"));
        }
        let ISettlement::Batch { size, urgent, pre, post, time, commitment } = call.batch;
        if usize::from(urgent) > d1.len() {
            return Err(bad("it calls more entries urgent than it holds"));
        }
        Ok(Self {
            size,
            pre: state_root(pre).map_err(|_| bad("the root before it is not a field element"))?,
            post: state_root(post).map_err(|_| bad("the root after it is not a field element"))?,
            time: UnixTime::new(time.to()).map_err(|_| bad("its time is out of range"))?,
            commitment: commitment.to_be_bytes(),
            d1,
            urgent,
            d2,
            proof: call.proof.into(),
        })
    }
}

/// Encodes a state root as the contract stores it.
fn word(root: &StateRoot) -> U256 {
    U256::from_be_bytes(*root.as_bytes())
}

/// Decodes a state root from the contract's word.
pub(crate) fn state_root(word: U256) -> Result<StateRoot, RollupError> {
    StateRoot::from_bytes(word.to_be_bytes()).map_err(|error| RollupError::Malformed(error.to_string()))
}

pub(crate) fn decode<E: SolEvent>(log: &Log) -> Result<E, RollupError> {
    E::decode_log(&log.inner).map(|log| log.data).map_err(|error| RollupError::Malformed(error.to_string()))
}

/// The transaction and the block of a mined log.
pub(crate) fn position(log: &Log) -> Result<(B256, u64), RollupError> {
    log.transaction_hash
        .zip(log.block_number)
        .ok_or_else(|| RollupError::Malformed("a log in a block names no transaction".to_owned()))
}

/// The number of blocks in the first `eth_getLogs` requests. Many public nodes refuse more, and some refuse even this
/// many.
pub(crate) const LOG_WINDOW: u64 = 10_000;

/// After how many answers in a row a larger request is tried again: a node can refuse one for the size of its answer alone.
const ANSWERS_IN_A_ROW: u32 = 8;

impl<P: Provider> Rollup<P> {
    /// Decodes the batch of an event from the calldata of its transaction.
    async fn settled_batch(&self, log: &Log) -> Result<SettledBatch, RollupError> {
        let event = decode::<EmrRollup::BatchSettled>(log)?;
        let (tx_hash, block_number) = position(log)?;
        let transaction = self.provider().get_transaction_by_hash(tx_hash).await?;
        let input = transaction.as_ref().map(|transaction| transaction.input());
        let input = input.ok_or(RollupError::BatchData { number: event.number, why: "its transaction is missing" })?;
        let content = BatchContent::from_calldata(input, &event)?;
        Ok(SettledBatch { number: event.number, tx_hash, block_number, content })
    }

    pub(crate) fn events(&self, signature: B256) -> Filter {
        Filter::new().address(self.instance().contract).event_signature(signature)
    }

    /// The logs that match a filter, from a block to the newest one, in order. If a node refuses a request for its
    /// range or for the size of the answer, the request is repeated in halves, down to single blocks.
    pub(crate) async fn logs(&self, filter: Filter, from_block: u64) -> Result<Vec<Log>, RollupError> {
        let last = self.provider().get_block_number().await?;
        self.logs_between(filter, from_block, last).await
    }

    pub(crate) async fn logs_between(
        &self,
        filter: Filter,
        from_block: u64,
        last: u64,
    ) -> Result<Vec<Log>, RollupError> {
        let mut logs = Vec::new();
        let mut first = from_block;
        let (mut window, mut answers) = (LOG_WINDOW, 0);
        while first <= last {
            let end = last.min(first.saturating_add(window - 1));
            match self.provider().get_logs(&filter.clone().from_block(first).to_block(end)).await {
                Ok(found) => {
                    logs.extend(found);
                    first = end + 1;
                    answers += 1;
                    if answers % ANSWERS_IN_A_ROW == 0 {
                        window = (2 * window).min(LOG_WINDOW);
                    }
                }
                Err(error) if end == first => return Err(error.into()),
                Err(_) => (window, answers) = ((end - first).div_ceil(2), 0),
            }
        }
        Ok(logs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn batch() -> Result<(BatchContent, EmrRollup::BatchSettled), Box<dyn std::error::Error>> {
        let content = BatchContent {
            size: 2,
            pre: StateRoot::from_bytes([1; 32])?,
            post: StateRoot::from_bytes([2; 32])?,
            time: UnixTime::new(3)?,
            commitment: [4; 32],
            d1: vec![[[5; 32]; 4]],
            urgent: 1,
            d2: vec![[[6; 32]; 4], [[7; 32]; 4]],
            proof: vec![8; 33],
        };
        let event = EmrRollup::BatchSettled {
            number: 9,
            batch: content.to_call().batch,
            n1: U256::ONE,
            n: U256::from(2),
            dataHash: keccak256(content.d2.as_flattened().as_flattened()),
        };
        Ok((content, event))
    }

    #[test]
    fn a_batch_is_read_back_from_its_calldata() -> TestResult {
        let (content, event) = batch()?;
        assert_eq!(BatchContent::from_calldata(&content.to_call().abi_encode(), &event)?, content);
        Ok(())
    }

    /// If a node returns another transaction or another event, this is noticed.
    #[test]
    fn calldata_must_agree_with_the_event() -> TestResult {
        let (content, event) = batch()?;
        let refused = |content: &BatchContent, event: &EmrRollup::BatchSettled| {
            let read = BatchContent::from_calldata(&content.to_call().abi_encode(), event);
            assert!(matches!(read, Err(RollupError::BatchData { .. })), "{read:?}");
        };
        let other = StateRoot::from_bytes([0; 32])?;
        refused(&BatchContent { size: 1, ..content.clone() }, &event);
        refused(&BatchContent { urgent: 0, ..content.clone() }, &event);
        refused(&BatchContent { pre: other, ..content.clone() }, &event);
        refused(&BatchContent { post: other, ..content.clone() }, &event);
        refused(&BatchContent { time: UnixTime::new(4)?, ..content.clone() }, &event);
        refused(&BatchContent { commitment: [0; 32], ..content.clone() }, &event);
        refused(&BatchContent { d1: Vec::new(), ..content.clone() }, &event);
        refused(&BatchContent { d2: vec![[[6; 32]; 4]; 2], ..content.clone() }, &event);
        refused(&content, &EmrRollup::BatchSettled { n: U256::ONE, ..event.clone() });
        refused(&content, &EmrRollup::BatchSettled { dataHash: B256::ZERO, ..event.clone() });

        // Transaction and event agree, but there are fewer entries than urgent ones.
        let more = BatchContent { urgent: 2, ..content.clone() };
        refused(&more, &EmrRollup::BatchSettled { batch: more.to_call().batch, ..event.clone() });

        // Transaction and event agree, but the value is not a state root.
        let mut beyond = content.to_call();
        beyond.batch.post = U256::MAX;
        let told = EmrRollup::BatchSettled { batch: beyond.batch.clone(), ..event.clone() };
        let read = BatchContent::from_calldata(&beyond.abi_encode(), &told);
        assert!(
            matches!(read, Err(RollupError::BatchData { why: "the root after it is not a field element", .. })),
            "{read:?}"
        );

        let mut incomplete = content.to_call();
        incomplete.d2.pop();
        for input in [incomplete.abi_encode(), Vec::new(), vec![0; 4], content.to_call().abi_encode()[..200].to_vec()] {
            let read = BatchContent::from_calldata(&input, &event);
            assert!(matches!(read, Err(RollupError::BatchData { .. })), "{read:?}");
        }
        Ok(())
    }
}
