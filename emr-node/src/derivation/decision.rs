//! Decides what the batches on L1 mean for the node's tables: what is settled, what waits again, and what is left of a sealed batch.
//! Reads and writes nothing.

use std::collections::BTreeMap;

use emr_api::OperationStatus;
use emr_core::{AccountIndex, Role, StateRoot};
use emr_rollup::batch::PublicInputs;

use super::{BatchOnL1, DerivationError};
use crate::{
    mempool::{Acknowledged, BatchRecord, BatchStage, DerivedChanges, OnChain, Principal, Sequence},
    state::NodeState,
};

/// What the node's tables hold about operations and batches.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    /// Every operation that was ever acknowledged, except those that were settled before the state from which the derivation starts.
    pub(super) operations: BTreeMap<Sequence, Acknowledged>,
    /// The sealed and settled batches after the state from which the derivation starts.
    pub(super) batches: BTreeMap<u64, BatchRecord>,
}

/// The batches that L1 shows.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    /// The number of batches before `records`. What the tables hold about them is right.
    pub(super) before: u64,
    /// The records of the batches that were executed.
    pub(super) records: Vec<BatchRecord>,
    /// The state root after them.
    pub(super) root: StateRoot,
}

impl Shown {
    /// The number of settled batches.
    pub(super) fn batches(&self) -> u64 {
        self.before + self.records.len() as u64
    }
}

/// What a derivation leads to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decision {
    /// What changes in the tables.
    pub(super) changes: DerivedChanges,
    /// The sealed batch that can still be settled.
    pub(super) outstanding: Option<BatchRecord>,
}

/// Compares the tables with L1.
///
/// An operation that some batch of L1 holds is settled. An operation of the outstanding batch is sealed. An operation that was settled or
/// sealed in an earlier view of L1, but is not in this one, waits again. A sealed batch is outstanding only if it is the next one on L1's state.
pub(super) fn decide(tables: &Tables, shown: Shown) -> Decision {
    let batches = shown.batches();
    let last = tables.batches.values().next_back();
    let can_follow = |record: &&BatchRecord| {
        record.stage.on_chain().is_none() && record.number == batches + 1 && record.public.pre == shown.root
    };
    let outstanding = last.filter(can_follow).cloned();
    let mut found = BTreeMap::new();
    for record in &shown.records {
        let status = OperationStatus::Settled { batch: record.number };
        found.extend(record.operations.iter().map(|sequence| (*sequence, status.clone())));
    }
    if let Some(record) = &outstanding {
        let status = OperationStatus::Sealed { batch: record.number };
        found.extend(record.operations.iter().map(|sequence| (*sequence, status.clone())));
    }
    let status = |sequence: &Sequence, known: &OperationStatus| match (found.get(sequence), known) {
        (Some(status), _) => status.clone(),
        (None, OperationStatus::Settled { batch }) if *batch <= shown.before => known.clone(),
        (None, OperationStatus::Settled { .. } | OperationStatus::Sealed { .. }) => OperationStatus::Pending,
        (None, OperationStatus::Pending | OperationStatus::Returned { .. } | OperationStatus::Replaced { .. }) => {
            known.clone()
        }
    };
    let operations = tables.operations.iter().map(|(sequence, known)| (*sequence, &known.status));
    let statuses = operations.filter_map(|(sequence, known)| {
        let status = status(&sequence, known);
        (status != *known).then_some((sequence, status))
    });
    let statuses = statuses.collect();
    let keep = batches + u64::from(outstanding.is_some());
    let remove_after = last.filter(|record| record.number > keep).map(|_| keep);
    let records = shown.records.into_iter().filter(|record| tables.batches.get(&record.number) != Some(record));
    let changes = DerivedChanges { records: records.collect(), remove_after, statuses, hospital: None };
    Decision { changes, outstanding }
}

/// What changes when L1 settles the next batch. `sealed` is the batch that was sealed here with the same number. Its operations wait again if L1's
/// batch does not hold them.
pub(super) fn following(record: BatchRecord, sealed: Option<&BatchRecord>) -> DerivedChanges {
    let waiting = sealed.into_iter().flat_map(|sealed| &sealed.operations);
    let mut statuses: BTreeMap<_, _> = waiting.map(|sequence| (*sequence, OperationStatus::Pending)).collect();
    let settled = OperationStatus::Settled { batch: record.number };
    statuses.extend(record.operations.iter().map(|sequence| (*sequence, settled.clone())));
    DerivedChanges { records: vec![record], statuses, ..DerivedChanges::default() }
}

/// The record of a batch that is on L1. `known` is the record in the tables with the same number.
pub(super) fn record_of(
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
        urgent: on_l1.batch.content.urgent,
        stage: BatchStage::Settled(OnChain {
            tx_hash: on_l1.batch.tx_hash,
            gas_used: on_l1.gas_used.or(before.and_then(|known| known.gas_used)),
            proof_bytes: on_l1.batch.content.proof.len() as u64,
            prove_seconds: known.filter(|known| known.public == public).and_then(|known| known.stage.prove_seconds()),
        }),
    }
}

/// The hospital's account, and the principal to pin if it is settled now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HospitalFound {
    pub(super) account: Option<AccountIndex>,
    pub(super) pin: Option<Principal>,
}

/// The hospital's account, which has rights that no other account has. The account that L1 names counts only if the state confirms that it is a
/// hospital's. Once its registration is settled, the hospital is fixed for ever by its keys (`pinned`), not by its number: a reorganisation of
/// L1 may change the number. No account while the registration waits for the registrar.
pub(super) fn hospital(
    pinned: Option<Principal>,
    state: &NodeState,
    told: Option<AccountIndex>,
) -> Result<HospitalFound, DerivationError> {
    // The owner on L1 may be another one now. The account stays this hospital's, and the sequencer's office is an address of its own.
    let settled = || state.hospital.filter(|account| state.settled.identity(*account).is_some());
    let told = told.or(pinned.map(|pinned| pinned.account)).or_else(settled);
    let known = told.and_then(|account| Some((state.principal(account)?, state.soft.identity(account)?.role)));
    if let Some(pinned) = pinned
        && known.is_none_or(|(told, _)| told.identity != pinned.identity)
    {
        return Err(DerivationError::OtherHospital { settled: pinned.account });
    }
    let Some((hospital, role)) = known else { return Ok(HospitalFound { account: None, pin: None }) };
    if role != Role::Hospital {
        return Err(DerivationError::NotHospital(hospital.account));
    }
    let is_new = pinned != Some(hospital) && state.settled.identity(hospital.account).is_some();
    Ok(HospitalFound { account: Some(hospital.account), pin: is_new.then_some(hospital) })
}

#[cfg(test)]
mod tests;
