//! Derives the node's state from what L1 settled, and from the node's own tables.
//!
//! - [`execute`]: a settled batch, executed on the state before it;
//! - [`decision`]: what the batches on L1 mean for the tables, without reading or writing anything;
//! - [`derive`]: reads, executes, decides, and writes once. It begins with the state before the first batch, or with a snapshot.

mod decision;
mod execute;

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use emr_api::OperationStatus;
use emr_chain::{PerQueue, QueueName, SettledBatch};
use emr_core::{AccountIndex, UnixTime};
use emr_rollup::{
    l1_operation::L1Operation, operation::Domain, primitive::field::Fr, state::ledger::Ledger, version::CircuitSizes,
};

use crate::{
    engine::Engine,
    mempool::{Acknowledged, BatchRecord, DerivedChanges, Mempool, MempoolError},
    state::{
        NodeState, finality::FinalStates, history::History, open::OpenOperations, queues::L1Queues, rekeyed::Rekeyed,
    },
};
use decision::{Decision, Shown, Tables, decide, following, hospital, record_of};
use execute::{Candidates, Executed, execute};

/// Why a batch that L1 settled cannot be applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DerivationError {
    /// The batch continues another state than this node's. L1 was reorganised, or shows another history.
    #[error(
        "batch {0} on L1 does not continue this node's state: L1 was reorganised; the node derives its state again"
    )]
    Fork(u64),
    /// The contract accepted the batch. So this L1 node shows other data than the contract saw.
    #[error("the data of batch {0} on L1 do not lead to its state root: use another Ethereum node")]
    Inconsistent(u64),
    /// The batch was sealed by another node.
    #[error(
        "batch {0} holds operations that this node does not know: start it with the mempool that sealed the batch, \
         or as the node of another hospital"
    )]
    UnknownOperations(u64),
    /// The account that L1 names as the hospital's does not have the role of a hospital.
    #[error(
        "L1 says that account {0} is this hospital's, but that account is not a hospital: use another Ethereum node, or the hospital's \
         key"
    )]
    NotHospital(AccountIndex),
    /// Another account was settled as the hospital's before.
    #[error(
        "this hospital is account {settled}, but L1 now names another account: use another Ethereum node, or the key that this \
         folder was made with"
    )]
    OtherHospital {
        /// The account that was settled.
        settled: AccountIndex,
    },
    /// The node's file does not hold the batch of the snapshot that the derivation began with, or another one.
    #[error("batch {0} of the snapshot is not that of this node's file")]
    OtherFile(u64),
    /// The disk refused.
    #[error(transparent)]
    Mempool(#[from] MempoolError),
}

impl DerivationError {
    /// Whether a derivation that began with a snapshot may succeed with an older one, or from the first batch.
    pub const fn may_be_the_snapshot(&self) -> bool {
        matches!(self, Self::OtherFile(_) | Self::UnknownOperations(_))
    }
}

/// A settled batch, and the gas of its transaction if the node asked for it.
#[derive(Clone, Debug)]
pub(crate) struct BatchOnL1 {
    pub(crate) batch: SettledBatch,
    pub(crate) gas_used: Option<u64>,
}

/// What L1 has about a rollup.
#[derive(Clone, Debug)]
pub(crate) struct L1Data {
    /// All batches, or those after the state from which the derivation starts.
    pub(crate) batches: Vec<BatchOnL1>,
    pub(crate) queues: L1Queues,
    pub(crate) hospital: Option<AccountIndex>,
    /// A block at which the state from which the derivation starts was settled already.
    pub(crate) from_block: u64,
    /// Blocks up to this one are final.
    pub(crate) final_block: u64,
}

/// The state that the first `batches` batches lead to.
#[derive(Clone, Debug)]
pub(crate) struct SettledLedger {
    pub(crate) batches: u64,
    /// Time of the last of them.
    pub(crate) last_time: UnixTime,
    /// Its commitment; 0 before the first.
    pub(crate) commitment: Fr,
    pub(crate) ledger: Ledger,
    /// What the settled operations alone mean for access.
    pub(crate) history: History,
    /// What settled Rekeys replaced.
    pub(crate) rekeyed: Rekeyed,
    /// The sizes that L1 takes.
    pub(crate) sizes: Arc<CircuitSizes>,
    /// Whether it took others before.
    pub(crate) resized: bool,
}

impl SettledLedger {
    /// The state before the first batch.
    pub(crate) fn genesis(domain: Domain, sizes: Arc<CircuitSizes>) -> Self {
        let ledger = Ledger::genesis(domain, *sizes.any());
        let (history, rekeyed) = (History::default(), Rekeyed::default());
        let (last_time, commitment) = (UnixTime::ZERO, Fr::from(0));
        Self { batches: 0, last_time, commitment, ledger, history, rekeyed, sizes, resized: false }
    }

    /// Executes the batches that follow. Returns their records, and which of the states are final.
    fn replay(&mut self, l1: &L1Data, tables: &Tables) -> Result<(Vec<BatchRecord>, FinalStates), DerivationError> {
        let mut candidates = Candidates::new(&tables.operations);
        let mut records = Vec::new();
        let mut finality = FinalStates::from(Arc::new(self.ledger.clone()), l1.from_block, l1.final_block);
        for on_l1 in &l1.batches {
            let settled = &on_l1.batch;
            let known = tables.batches.get(&settled.number);
            let (history, rekeyed) = (&mut self.history, &mut self.rekeyed);
            let record = |sequence, operation: &Acknowledged, ledger: &Ledger| {
                history.record(sequence, operation, ledger);
                rekeyed.settle(&operation.signed.operation);
            };
            let Executed { ledger, operations, public } =
                execute((&self.ledger, &self.sizes, self.resized), settled, known, &mut candidates, record)?;
            (self.ledger, self.batches, self.last_time) = (ledger, settled.number, settled.content.time);
            self.commitment = public.commitment;
            finality.settle(Arc::new(self.ledger.clone()), settled.block_number, l1.final_block);
            records.push(record_of(on_l1, operations, public, known));
        }
        Ok((records, finality))
    }
}

/// Derives a node's whole state from L1 and its own tables: at every start, and after a reorganisation of L1. The data on L1 are those after
/// `base`.
///
/// It reads the tables, executes the batches, decides, and then writes what changes in one transaction. If it fails, nothing is written. Of what
/// `base` settled, it reads nothing but the record of the last batch.
pub(crate) fn derive(mempool: &Mempool, base: SettledLedger, l1: L1Data) -> Result<NodeState, DerivationError> {
    let before = base.batches;
    let batches = mempool.batches_after(before)?;
    let operations = if before == 0 {
        mempool.operations()?
    } else {
        expect_batch_of(mempool, &base)?;
        mempool.unsettled_and(batches.values().flat_map(|record| record.operations.iter().copied()))?
    };
    let mut tables = Tables { operations, batches };
    let (pointers, pinned) = (mempool.pointers()?, mempool.hospital()?);

    let mut settled = base;
    let (records, finality) = settled.replay(&l1, &tables)?;
    let shown = Shown { before, records, root: settled.ledger.trees().root() };
    let Decision { mut changes, outstanding } = decide(&tables, shown);

    for (sequence, status) in &changes.statuses {
        if let Some(operation) = tables.operations.get_mut(sequence) {
            operation.status = status.clone();
        }
    }
    let SettledLedger { batches, last_time, commitment, ledger, history, rekeyed, sizes, resized } = settled;
    let ledger = Arc::new(ledger);
    let mut state = NodeState {
        soft: Arc::clone(&ledger),
        settled: ledger,
        finality,
        batches,
        last_time,
        last_commitment: commitment,
        settled_history: history.clone(),
        queues: l1.queues,
        open: OpenOperations::new(&sizes),
        sizes,
        resized,
        outstanding,
        history: Arc::default(),
        rekeyed,
        pointers: pointers.into_iter().collect(),
        hospital: None,
    };
    state.add_known(tables.operations, history);
    let hospital = hospital(pinned, &state, l1.hospital)?;
    (state.hospital, changes.hospital) = (hospital.account, hospital.pin);
    mempool.apply_derived(&changes)?;
    Ok(state)
}

/// Checks that the tables are of the same history of L1 as `base`. The batch's commitment covers its number, its data and the states before and after it,
/// and a state covers every operation.
fn expect_batch_of(mempool: &Mempool, base: &SettledLedger) -> Result<(), DerivationError> {
    let record = mempool.batch(base.batches)?.filter(|record| record.stage.on_chain().is_some());
    let root = base.ledger.trees().root();
    let is_same = |record: BatchRecord| (record.public.commitment, record.public.post) == (base.commitment, root);
    if record.is_some_and(is_same) { Ok(()) } else { Err(DerivationError::OtherFile(base.batches)) }
}

impl Engine {
    /// Applies batches that follow the settled state. Must run as the only writer.
    pub(crate) fn apply_settled(&self, batches: &[BatchOnL1]) -> Result<(), DerivationError> {
        for on_l1 in batches {
            let (settled, number) = (&on_l1.batch, on_l1.batch.number);
            let mut next = self.state().clone();
            if number != next.batches + 1 {
                return Err(DerivationError::Fork(number));
            }
            let known = next.outstanding.take();
            let mut candidates = Candidates::new(&next.open);
            let (history, rekeyed) = (&mut next.settled_history, &mut next.rekeyed);
            let settle = |sequence, operation: &Acknowledged, ledger: &Ledger| {
                history.record(sequence, operation, ledger);
                rekeyed.settle(&operation.signed.operation);
            };
            let executed =
                execute((&next.settled, &next.sizes, next.resized), settled, known.as_ref(), &mut candidates, settle)?;
            let Executed { ledger, operations: taken, public } = executed;
            let record = record_of(on_l1, taken.clone(), public, known.as_ref());
            self.mempool.apply_derived(&following(record, known.as_ref()))?;
            next.settled = Arc::new(ledger);
            let final_block = self.final_block.load(Ordering::Relaxed);
            next.finality.settle(Arc::clone(&next.settled), settled.block_number, final_block);
            next.batches = number;
            (next.last_time, next.last_commitment) = (settled.content.time, public.commitment);
            let taken: Vec<_> = taken.iter().filter_map(|sequence| next.open.remove(*sequence)).collect();
            for sequence in known.into_iter().flat_map(|record| record.operations) {
                next.open.set_status(sequence, OperationStatus::Pending);
            }
            let arrived = next.queues.take(settled.content.entries());
            let all_known = arrived.len() == settled.content.d1.len();
            let arrived: BTreeSet<_> = arrived.iter().map(|queued| queued.operation.account()).collect();
            let (settled, soft) = (next.settled.trees(), next.soft.trees());
            let as_queued = arrived.iter().all(|account| settled.identity(*account) == soft.identity(*account));
            if all_known && as_queued {
                // An entry can change a patient's subtree, as an operation does.
                let patients = arrived.into_iter().filter(|account| next.settled.patient(*account).is_some());
                let patients = patients.chain(taken.iter().map(|open| open.signed.operation.patient)).collect();
                next.rebuild_accounts(&patients);
            } else {
                // The batch has other entries than this node saw in the queues.
                next.rebuild_soft();
            }
            self.replace(next);
        }
        Ok(())
    }

    /// Takes note of the blocks that became final. Must run as the only writer.
    pub(crate) fn finalize(&self) {
        let mut next = self.state().clone();
        next.finality.advance(self.final_block.load(Ordering::Relaxed));
        self.replace(next);
    }

    /// Adds new entries at the ends of the queues. Must run as the only writer.
    pub(crate) fn extend_queues(
        &self,
        entries: PerQueue<Vec<L1Operation>>,
        told: Option<AccountIndex>,
    ) -> Result<(), DerivationError> {
        let mut next = self.state().clone();
        next.enqueue(QueueName::Urgent, entries.urgent);
        next.enqueue(QueueName::Ordinary, entries.ordinary);
        let hospital = hospital(self.mempool.hospital()?, &next, told)?;
        next.hospital = hospital.account;
        self.mempool.apply_derived(&DerivedChanges { hospital: hospital.pin, ..DerivedChanges::default() })?;
        self.replace(next);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
