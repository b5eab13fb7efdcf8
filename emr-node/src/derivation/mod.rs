//! Derives the node's state from what L1 settled, and from the node's own tables.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use emr_api::OperationStatus;
use emr_chain::SettledBatch;
use emr_core::{AccountIndex, Role, UnixTime};
use emr_rollup::{
    batch::{BatchData, D1Entry, D2Entry, PublicInputs},
    l1_operation::L1Operation,
    operation::{Domain, Operation},
    primitive::field::{self, NotCanonical},
    state::{StateTrees, leaf::AuditEntry, ledger::Ledger},
    version::CircuitVersion,
};

use crate::{
    engine::Engine,
    mempool::{Acknowledged, BatchRecord, BatchStage, Mempool, MempoolError, OnChain, Sequence, Settled},
    state::{NodeState, Queued, history::History, open::OpenOperations},
};

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
        "L1 says that account {0} is this hospital's, but it is no hospital's: use another Ethereum node, or the hospital's \
         key"
    )]
    NotHospital(AccountIndex),
    /// Another account was settled as the hospital's before.
    #[error(
        "this hospital is account {settled}, and L1 says otherwise now: use another Ethereum node, or the key that this \
         folder was made with"
    )]
    OtherHospital {
        /// The account that was settled.
        settled: AccountIndex,
    },
    /// The disk refused.
    #[error(transparent)]
    Mempool(#[from] MempoolError),
}

/// A settled batch, and the gas of its transaction if the node asked for it.
#[derive(Clone, Debug)]
pub(crate) struct BatchOnL1 {
    pub(crate) batch: SettledBatch,
    pub(crate) gas_used: Option<u64>,
}

/// Everything that L1 has about a rollup.
#[derive(Clone, Debug)]
pub(crate) struct L1Data {
    pub(crate) batches: Vec<BatchOnL1>,
    pub(crate) queue_head: u64,
    pub(crate) queue: Vec<L1Operation>,
    pub(crate) hospital: Option<AccountIndex>,
}

/// Whether an operation can have written an entry of D2. Does not check the signature: that takes a hundred times longer.
fn may_have_written(operation: &Operation, entry: &D2Entry, time: UnixTime) -> bool {
    let action = &operation.action;
    let line = || AuditEntry {
        kind: action.kind(),
        signer: operation.signer,
        target: action.target(),
        purpose: action.purpose(),
        time,
        new_leaf: entry.leaf,
        salt: operation.salt,
    };
    entry.target() == Some((operation.patient, action.target())) && line().hash() == entry.audit_entry
}

/// Operations among which those of a settled batch are found.
trait Operations {
    fn operation(&self, sequence: Sequence) -> Option<&Acknowledged>;
    fn all(&self) -> impl Iterator<Item = (Sequence, &Acknowledged)>;
}

impl Operations for BTreeMap<Sequence, Acknowledged> {
    fn operation(&self, sequence: Sequence) -> Option<&Acknowledged> {
        self.get(&sequence)
    }

    fn all(&self) -> impl Iterator<Item = (Sequence, &Acknowledged)> {
        self.iter().map(|(sequence, operation)| (*sequence, operation))
    }
}

impl Operations for OpenOperations {
    fn operation(&self, sequence: Sequence) -> Option<&Acknowledged> {
        self.get(sequence)
    }

    fn all(&self) -> impl Iterator<Item = (Sequence, &Acknowledged)> {
        self.iter()
    }
}

/// Executes a settled batch. Its operations are found by what they wrote. If `recorded` is that batch, they are the operations that it names;
/// otherwise they are searched in `known`. `executed` is called after each operation, with the ledger at that point.
fn execute(
    ledger: &Ledger,
    settled: &SettledBatch,
    recorded: Option<&BatchRecord>,
    known: &impl Operations,
    mut executed: impl FnMut(Sequence, &Ledger),
) -> Result<(Ledger, Vec<Sequence>, PublicInputs), DerivationError> {
    let (number, content) = (settled.number, &settled.content);
    let commitment = field::from_bytes(&content.commitment).map_err(|_| DerivationError::Inconsistent(number))?;
    let (pre, post) = (content.pre, content.post);
    if ledger.trees().root() != pre {
        return Err(DerivationError::Fork(number));
    }
    let read = || {
        let d1 = content.d1.iter().map(D1Entry::from_bytes).collect::<Result<_, _>>()?;
        let d2 = content.d2.iter().map(D2Entry::from_bytes).collect::<Result<_, _>>()?;
        Ok::<_, NotCanonical>(BatchData { d1, d2 })
    };
    let data = read().map_err(|_| DerivationError::Inconsistent(number))?;
    let unknown = || match derive_trees(ledger.trees().clone(), &data) {
        Some(trees) if trees.root() == post => DerivationError::UnknownOperations(number),
        _ => DerivationError::Inconsistent(number),
    };

    let mut next = ledger.clone();
    for entry in &data.d1 {
        let operation = L1Operation::from_entry(entry).map_err(|_| DerivationError::Inconsistent(number))?;
        next.consume(&operation).map_err(|_| DerivationError::Inconsistent(number))?;
    }
    let recorded = recorded.filter(|record| record.public.commitment == commitment && record.time == content.time);
    let mut taken = Vec::new();
    for (position, entry) in data.d2.iter().enumerate() {
        let wrote = |sequence: Sequence, operation: &Acknowledged| {
            if taken.contains(&sequence) || !may_have_written(&operation.signed.operation, entry, content.time) {
                return None;
            }
            let checked = next.check(&operation.signed, content.time).ok()?;
            (checked.d2() == entry).then_some((sequence, checked))
        };
        let found = match recorded.and_then(|record| record.operations.get(position)) {
            Some(sequence) => known.operation(*sequence).and_then(|operation| wrote(*sequence, operation)),
            None => known.all().find_map(|(sequence, operation)| wrote(sequence, operation)),
        };
        let (sequence, checked) = found.ok_or_else(unknown)?;
        next.apply(checked).map_err(|_| unknown())?;
        executed(sequence, &next);
        taken.push(sequence);
    }
    if next.trees().root() != post {
        return Err(unknown());
    }
    let version = ledger.trees().version();
    let public = PublicInputs::derive(version, ledger.domain(), number, (pre, post), content.time.get(), &data);
    Ok((next, taken, public))
}

/// The state after a batch, derived from its data alone.
fn derive_trees(mut trees: StateTrees, data: &BatchData) -> Option<StateTrees> {
    trees.apply(data).ok().map(|()| trees)
}

/// The record of a batch that is on L1.
fn record_of(
    on_l1: &BatchOnL1,
    operations: Vec<Sequence>,
    public: PublicInputs,
    known: Option<&BatchRecord>,
) -> BatchRecord {
    let before = known.and_then(|known| known.stage.on_chain());
    BatchRecord {
        number: on_l1.batch.number,
        time: on_l1.batch.content.time,
        public,
        operations,
        stage: BatchStage::Settled(OnChain {
            tx_hash: on_l1.batch.tx_hash,
            gas_used: on_l1.gas_used.or(before.and_then(|known| known.gas_used)),
            proof_bytes: on_l1.batch.content.proof.len() as u64,
            prove_seconds: known.filter(|known| known.public == public).and_then(|known| known.stage.prove_seconds()),
        }),
    }
}

/// The hospital's account, which has rights that no other account has. The account that L1 names counts only if the state confirms that it is a
/// hospital's. Once its registration is settled, the hospital is fixed for ever by its keys, not by its number: a reorganisation of L1 may
/// change the number. `None` while the registration waits for the registrar.
fn hospital(
    mempool: &Mempool,
    state: &NodeState,
    told: Option<AccountIndex>,
) -> Result<Option<AccountIndex>, DerivationError> {
    let known = told.and_then(|account| Some((state.principal(account)?, state.soft.identity(account)?.role)));
    let pinned = mempool.hospital()?;
    if let Some(pinned) = pinned
        && known.is_none_or(|(told, _)| told.identity != pinned.identity)
    {
        return Err(DerivationError::OtherHospital { settled: pinned.account });
    }
    let Some((hospital, role)) = known else { return Ok(None) };
    if role != Role::Hospital {
        return Err(DerivationError::NotHospital(hospital.account));
    }
    if pinned != Some(hospital) && state.settled.identity(hospital.account).is_some() {
        mempool.pin_hospital(&hospital)?;
    }
    Ok(Some(hospital.account))
}

/// Derives a node's whole state from L1 and its own tables: at every start, and after a reorganisation of L1.
pub(crate) fn derive(
    mempool: &Mempool,
    domain: Domain,
    version: CircuitVersion,
    l1: L1Data,
) -> Result<NodeState, DerivationError> {
    let mut operations = mempool.operations()?;
    let mut history = History::default();
    let mut ledger = Ledger::genesis(domain, version);
    let (mut settled, mut news) = (BTreeSet::new(), Vec::new());
    let mut last_time = UnixTime::ZERO;
    let batches = l1.batches.len() as u64;
    for on_l1 in &l1.batches {
        let known = mempool.batch(on_l1.batch.number)?;
        let (next, taken, public) = execute(&ledger, &on_l1.batch, known.as_ref(), &operations, |sequence, ledger| {
            if let Some(operation) = operations.get(&sequence) {
                history.record(sequence, operation, ledger);
            }
        })?;
        ledger = next;
        last_time = on_l1.batch.content.time;
        settled.extend(taken.iter().copied());
        let record = record_of(on_l1, taken, public, known.as_ref());
        if known.as_ref().is_none_or(|known| *known != record) {
            let requeued = known.map(|known| known.operations).unwrap_or_default();
            news.push(Settled { record, requeued });
        }
    }
    for news in &mut news {
        news.requeued.retain(|sequence| !settled.contains(sequence));
    }
    if !news.is_empty() {
        mempool.settle(&news)?;
    }
    let root = ledger.trees().root();
    let outstanding = mempool.outstanding()?.filter(|record| record.number == batches + 1 && record.public.pre == root);
    // Some operations were settled or sealed in an earlier view of L1, but not in this one. They wait again.
    let sealed = outstanding.as_ref().map_or(&[][..], |record| &record.operations);
    let requeued: Vec<Sequence> = mempool
        .operations()?
        .iter()
        .filter(|(sequence, known)| match known.status {
            OperationStatus::Settled { .. } => !settled.contains(sequence),
            OperationStatus::Sealed { .. } => !sealed.contains(sequence),
            _ => false,
        })
        .map(|(sequence, _)| *sequence)
        .collect();
    mempool.rewind(batches + u64::from(outstanding.is_some()), &requeued)?;
    operations = mempool.operations()?;
    let seen = Instant::now();
    let ledger = Arc::new(ledger);
    let mut state = NodeState {
        soft: Arc::clone(&ledger),
        settled: ledger,
        batches,
        last_time,
        queue_head: l1.queue_head,
        queue: l1.queue.into_iter().map(|operation| Queued { operation, seen }).collect(),
        open: OpenOperations::new(&version),
        outstanding,
        history: Arc::default(),
        pointers: mempool.pointers()?.into_iter().collect(),
        hospital: None,
    };
    // Only the registrations: they say who owns the accounts.
    state.rebuild_soft();
    // An account may belong to somebody else now. Operations from before that have no effect for the new owner: they are not executed, and what
    // they took away is not taken away. They stay in the file, in case a reorganisation gives the account back.
    operations.retain(|_, operation| state.is_of_its_principals(operation));
    for operation in operations.values() {
        history.deny(operation);
    }
    for (sequence, operation) in operations {
        if operation.is_open() {
            state.open.insert(sequence, operation);
        }
    }
    state.history = Arc::new(history);
    state.rebuild_soft();
    state.hospital = hospital(mempool, &state, l1.hospital)?;
    Ok(state)
}

impl Engine {
    /// Takes over batches that follow the settled state. Must run as the only writer.
    pub(crate) fn apply_settled(&self, batches: &[BatchOnL1]) -> Result<(), DerivationError> {
        for on_l1 in batches {
            let (settled, number) = (&on_l1.batch, on_l1.batch.number);
            let mut next = self.state().clone();
            if number != next.batches + 1 {
                return Err(DerivationError::Fork(number));
            }
            let known = next.outstanding.take();
            let (ledger, taken, public) = execute(&next.settled, settled, known.as_ref(), &next.open, |_, _| {})?;
            let record = record_of(on_l1, taken.clone(), public, known.as_ref());
            let requeued = known.map(|known| known.operations).unwrap_or_default();
            self.mempool.settle(&[Settled { record, requeued: requeued.clone() }])?;
            next.settled = Arc::new(ledger);
            next.batches = number;
            next.last_time = settled.content.time;
            let taken: Vec<_> = taken.iter().filter_map(|sequence| next.open.remove(*sequence)).collect();
            for sequence in requeued {
                next.open.set_status(sequence, OperationStatus::Pending);
            }
            let entries = settled.content.d1.len();
            let known = entries.min(next.queue.len());
            let mut arrived = next.queue.drain(..known).map(|queued| match queued.operation {
                L1Operation::Register(registration) => registration.account,
            });
            let (settled, soft) = (next.settled.trees(), next.soft.trees());
            let as_queued = arrived.all(|account| settled.identity(account) == soft.identity(account));
            drop(arrived);
            next.queue_head += entries as u64;
            if known == entries && as_queued {
                next.rebuild_patients(&taken.iter().map(|open| open.signed.operation.patient).collect());
            } else {
                // The batch has other entries than this node saw in the queue.
                next.rebuild_soft();
            }
            self.replace(next);
        }
        Ok(())
    }

    /// Takes over new entries at the end of the L1 queue. Must run as the only writer.
    pub(crate) fn extend_queue(
        &self,
        entries: Vec<L1Operation>,
        told: Option<AccountIndex>,
    ) -> Result<(), DerivationError> {
        let mut next = self.state().clone();
        next.enqueue(entries);
        next.hospital = hospital(&self.mempool, &next, told)?;
        self.replace(next);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
