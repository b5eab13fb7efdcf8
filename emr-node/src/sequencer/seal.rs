//! Seals waiting operations into a batch.

use emr_api::OperationStatus;
use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use emr_chain::{PerQueue, QueueName};
use emr_core::{AccountIndex, UnixTime};
use emr_rollup::{
    batch::{Batch, PushError, Sealed},
    operation::{MAX_VALIDITY, SignedOperation},
    state::ledger::Ledger,
    version::CircuitSizes,
};

use super::{lost_directories::LostDirectories, order::BatchOrder};
use crate::{
    engine::Engine,
    mempool::{BatchRecord, BatchStage, MempoolError, Sequence},
    state::NodeState,
};

/// How old a batch's time may be when L1 settles it. Seconds.
const MAX_BATCH_AGE: u64 = 3600;
/// How much of this age is reserved for proving and settling. Seconds.
const PROVING_MARGIN: u64 = 1800;
/// How far a batch's time may lie before the moment of its sealing. Seconds.
pub(crate) const BEFORE_NOW: u64 = MAX_BATCH_AGE - PROVING_MARGIN;

/// Why a batch could not be sealed, or not be made again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    #[error("batch {0} is being proved and settled: wait for it")]
    Busy(u64),
    #[error(transparent)]
    Mempool(#[from] MempoolError),
    #[error("batch {0} cannot be made again from this node's data")]
    NotReproducible(u64),
}

/// What the next batch would hold.
struct Plan {
    batch: Batch<emr_rollup::batch::Open>,
    taken: Vec<Sequence>,
    returned: Vec<(Sequence, String)>,
    /// How many entries of the urgent queue it takes.
    urgent: u16,
}

impl Engine {
    /// Seals a batch. `None` if there is nothing to put into it. Must run as the only writer.
    pub(crate) fn seal(&self) -> Result<Option<BatchRecord>, SealError> {
        let plan = {
            let state = self.state();
            if let Some(outstanding) = &state.outstanding {
                return Err(SealError::Busy(outstanding.number));
            }
            let last = self.mempool.batch(state.batches)?.map_or(0, |last| last.public.n1 as usize);
            let due = self.due_urgent.load(Ordering::Relaxed) as usize;
            let now = self.clock.batch_time();
            let plan_with = |entries| plan(&state, now, entries);
            let (limit, alone) = limits(&state, due, last);
            let first = plan_with(entries(&state, limit));
            // No operation can go into it yet, so it needs no room for them.
            if first.taken.is_empty() && alone > limit { plan_with(entries(&state, alone)) } else { first }
        };
        let Plan { batch, taken, returned, urgent } = plan;
        let sealed = (!batch.is_empty()).then(|| batch.seal().0);
        let record = sealed.map(|sealed| BatchRecord {
            number: sealed.number(),
            time: sealed.time(),
            public: *sealed.public(),
            operations: taken,
            urgent,
            stage: BatchStage::Sealed,
        });
        if record.is_none() && returned.is_empty() {
            return Ok(None);
        }
        self.mempool.seal(record.as_ref(), &returned)?;
        let mut next = self.state().clone();
        if let Some(record) = &record {
            for sequence in &record.operations {
                next.open.set_status(*sequence, OperationStatus::Sealed { batch: record.number });
            }
        }
        let mut concerned = BTreeSet::new();
        for (sequence, reason) in &returned {
            tracing::info!(sequence, reason, "an operation is returned");
            if let Some(open) = next.open.remove(*sequence) {
                let patient = open.signed.operation.patient;
                Arc::make_mut(&mut next.history).forget(patient, *sequence);
                concerned.insert(patient);
            }
        }
        next.outstanding = record.clone();
        next.rebuild_accounts(&concerned);
        self.replace(next);
        Ok(record)
    }

    /// Makes exactly the same outstanding batch again.
    pub(crate) fn reseal(&self, record: &BatchRecord) -> Result<Batch<Sealed>, SealError> {
        let state = self.state();
        let failed = || SealError::NotReproducible(record.number);
        let batch = Batch::open(Ledger::clone(&state.settled), record.number, record.time);
        let mut batch = batch.in_sizes(CircuitSizes::clone(&state.sizes));
        for queued in state.queues.first(record.entries()) {
            batch.push_l1(&queued.operation).map_err(|_| failed())?;
        }
        for sequence in &record.operations {
            let open = state.open.get(*sequence).ok_or_else(failed)?;
            batch.push(&open.signed).map_err(|_| failed())?;
        }
        let sealed = batch.seal().0;
        if *sealed.public() == record.public { Ok(sealed) } else { Err(failed()) }
    }

    /// Gives up the outstanding batch. Its operations wait again. Use this only for a batch that can never be settled. Does nothing if the batch
    /// is not outstanding any more. Must run as the only writer.
    pub(crate) fn unseal(&self, number: u64) -> Result<(), MempoolError> {
        if !self.is_outstanding(number) {
            return Ok(());
        }
        self.mempool.unseal(number)?;
        let mut state = self.state_mut();
        for sequence in state.outstanding.take().iter().flat_map(|record| &record.operations) {
            state.open.set_status(*sequence, OperationStatus::Pending);
        }
        Ok(())
    }

    /// Stores how far the outstanding batch got. Does nothing if it is not outstanding any more. Must run as the only writer.
    pub(crate) fn advance(&self, record: BatchRecord) -> Result<(), MempoolError> {
        if self.is_outstanding(record.number) {
            self.mempool.advance(&record)?;
            self.state_mut().outstanding = Some(record);
        }
        Ok(())
    }

    fn is_outstanding(&self, number: u64) -> bool {
        self.state().outstanding.as_ref().is_some_and(|outstanding| outstanding.number == number)
    }
}

/// How many queue entries the next batch takes at most, and how many it could take without operations. If more wait than
/// fit beside operations, every second batch is for the queues alone: so neither a flood of entries nor one of operations
/// stops the other. `due` is how many urgent ones L1 demands; it refuses a batch with fewer. Due ordinary ones it demands
/// only as far as the batch has slots for them. `last` is how many entries the last batch took.
fn limits(state: &NodeState, due: usize, last: usize) -> (usize, usize) {
    let sizes = &state.sizes;
    let (alone, beside, waiting) = (sizes.max_l1_beside(0), sizes.max_l1_beside(1), state.queues.len());
    let demanded = due.min(state.queues.waiting(QueueName::Urgent)) > beside;
    let alone_next = demanded || state.open.len() == 0 || (waiting > beside && last <= beside);
    (waiting.min(if alone_next { alone } else { beside }), waiting.min(alone))
}

/// How many entries of each queue make up a number of entries: the urgent ones first.
fn entries(state: &NodeState, limit: usize) -> PerQueue<usize> {
    let urgent = state.queues.waiting(QueueName::Urgent).min(limit);
    PerQueue { urgent, ordinary: state.queues.waiting(QueueName::Ordinary).min(limit - urgent) }
}

/// Takes entries from the heads of the queues, and then open operations in their order ([`BatchOrder`]). An operation stays open if an
/// entry of its signer or patient is not in this batch, because it was checked on the state after that entry, or if its time has not come. Then all later operations on the same patient stay open too. Any
/// other operation that does not execute is returned. If it changed the key directory, the records after it are returned too
/// ([`LostDirectories`]).
fn plan(state: &NodeState, now: UnixTime, entries: PerQueue<usize>) -> Plan {
    let waiting = BatchOrder::of(&state.open);
    let time = batch_time(state, waiting.clone(), now);
    let batch = Batch::open(Ledger::clone(&state.settled), state.batches + 1, time);
    let mut batch = batch.in_sizes(CircuitSizes::clone(&state.sizes));
    let mut pushed = 0;
    for queued in state.queues.first(entries) {
        if batch.push_l1(&queued.operation).is_err() {
            break;
        }
        pushed += 1;
    }
    let urgent = pushed.min(entries.urgent);
    let behind = state.queues.after(PerQueue { urgent, ordinary: pushed - urgent });
    let behind: BTreeSet<AccountIndex> = behind.map(|queued| queued.operation.account()).collect();
    let mut deferred = BTreeSet::new();
    let (mut taken, mut returned) = (Vec::new(), Vec::new());
    let mut lost = LostDirectories::default();
    for (sequence, open) in waiting {
        let operation = &open.signed.operation;
        let early = operation.valid_until > time.saturating_add(MAX_VALIDITY);
        if deferred.contains(&operation.patient) || lost.has_keys_of(sequence, &open.signed) {
            continue;
        }
        if early || behind.contains(&operation.signer) || behind.contains(&operation.patient) {
            deferred.insert(operation.patient);
            continue;
        }
        match batch.push(&open.signed) {
            Ok(()) => taken.push(sequence),
            Err(PushError::Refused(violation)) => {
                lost.note(sequence, &open.signed);
                returned.push((sequence, violation.to_string()));
            }
            Err(_) => break,
        }
    }
    returned.extend(lost.records(&state.open));
    Plan { batch, taken, returned, urgent: urgent as u16 }
}

/// The batch's time. It is now, or earlier if a waiting operation has expired since its acknowledgement. It is never before the time of the
/// last batch, and never so early that L1 would refuse the proved batch.
fn batch_time(state: &NodeState, waiting: BatchOrder<'_>, now: UnixTime) -> UnixTime {
    let earliest = UnixTime::new(now.get().saturating_sub(BEFORE_NOW)).unwrap_or(UnixTime::ZERO);
    let earliest = earliest.max(state.last_time);
    let latest = waiting
        .take(state.sizes.max_l2_beside(0))
        .filter_map(|(_, open)| lapses(&state.soft, &open.signed))
        .filter(|lapse| *lapse >= earliest)
        .fold(now, UnixTime::min);
    latest.max(earliest)
}

/// The last batch time at which an operation still takes effect.
fn lapses(soft: &Ledger, signed: &SignedOperation) -> Option<UnixTime> {
    let operation = &signed.operation;
    let grant = signed.used_grant().and_then(|slot| soft.patient(operation.patient)?.grants.get(&slot));
    // If the grant has ended since, its expiry does not count.
    let not_after = grant.filter(|grant| grant.grantee.is_some()).map(|grant| grant.not_after);
    Some(not_after.map_or(operation.valid_until, |not_after| not_after.min(operation.valid_until)))
}
