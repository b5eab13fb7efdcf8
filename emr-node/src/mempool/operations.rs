//! Acknowledged operations, in the order of their acknowledgement.

use std::collections::{BTreeMap, BTreeSet};

use emr_api::{
    OperationStatus, StoredAt,
    form::{As, CidText},
};
use emr_core::{Cid, UnixTime};
use emr_rollup::{
    operation::{Blocks, OperationId, SignedOperation},
    state::leaf::RecordLeaf,
};
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::{Mempool, MempoolError, Principal, Referenced, blocks, damaged, decode, encode, revisions};

/// Sequence to operation.
const OPERATIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("operations");
/// The sequences of the operations that no batch settled. The settled ones are in the records of their batches. So a start from a snapshot finds
/// what is open, returned or replaced without reading every operation.
const UNSETTLED: TableDefinition<'_, u64, ()> = TableDefinition::new("unsettled");
/// Operation id to sequence.
const IDS: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("operation-ids");
/// Commitment to what it commits to.
const POINTERS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("pointers");

/// An operation's place in the order of acknowledgement.
pub type Sequence = u64;

/// Orders the Revokes with a reserved place. The lower turn goes first; within one turn, the earlier acknowledgement
/// goes first. Normally, a turn is the number of settled batches, plus one for each of the patient's own waiting
/// operations that go before the Revoke. So the many operations of one patient do not delay the first Revoke of another
/// patient. A Revoke that is acknowledged after a batch was settled goes after the first Revokes from before that.
pub type Turn = u64;

/// What a patient's Revoke with a reserved place is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    /// Its turn.
    pub turn: Turn,
    /// When it is settled at the latest, unless it expires earlier. Later Revokes go first only as far as this allows.
    /// The expiry does not count here: otherwise a Revoke that expires soon would keep others from going first.
    pub latest: UnixTime,
}

/// An operation that this node promised to settle or to return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// The operation.
    pub signed: SignedOperation,
    /// The account that signed it.
    pub signer: Principal,
    /// The account whose state it changes.
    pub patient: Principal,
    /// When it was acknowledged.
    pub acknowledged: UnixTime,
    /// The latest time at which it is settled or returned.
    pub settle_by: UnixTime,
    /// Set if it has the place that is reserved for a patient's Revoke of a grant. All other operations have an
    /// ordinary place.
    pub reserved: Option<Reserved>,
    /// How many Revokes were replaced, one after the other, up to this one.
    pub replaced: u8,
    /// Its status.
    pub status: OperationStatus,
}

impl Acknowledged {
    /// Whether it is neither settled nor returned nor replaced yet.
    pub fn is_open(&self) -> bool {
        matches!(self.status, OperationStatus::Pending | OperationStatus::Sealed { .. })
    }

    /// An operation that waits in an ordinary place, acknowledged and due at this time. For tests that need no real accounts.
    #[cfg(test)]
    pub(crate) fn sample(signed: SignedOperation, time: UnixTime) -> Self {
        let principal = |account| Principal { account, identity: [0; 32] };
        Self {
            signed,
            signer: principal(signed.operation.signer),
            patient: principal(signed.operation.patient),
            acknowledged: time,
            settle_by: time,
            reserved: None,
            replaced: 0,
            status: OperationStatus::Pending,
        }
    }
}

/// What a commitment in the state commits to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pointer {
    /// `stored` of a record leaf.
    Record(StoredAt),
    /// The salt of a delegate's SetGrant that hands on keys.
    HandedOn(StoredAt),
    /// `key_directory` of a medical leaf: the CID.
    Directory(#[serde(with = "As::<CidText>")] Cid),
}

pub(super) fn create(transaction: &WriteTransaction) -> Result<(), MempoolError> {
    transaction.open_table(OPERATIONS)?;
    transaction.open_table(UNSETTLED)?;
    transaction.open_table(IDS)?;
    transaction.open_table(POINTERS)?;
    Ok(())
}

impl Mempool {
    /// Stores an operation, durably, with what its commitment commits to, and with the blocks that it refers to. The
    /// same transaction ends the operations that it replaces.
    ///
    /// # Errors
    /// [`MempoolError`]; the operation must then not be acknowledged.
    pub fn acknowledge(
        &self,
        id: OperationId,
        operation: &Acknowledged,
        pointer: Option<&([u8; 32], Pointer)>,
        blocks: &Referenced,
        replaces: &[Sequence],
    ) -> Result<Sequence, MempoolError> {
        let transaction = self.write()?;
        let sequence = {
            let mut operations = transaction.open_table(OPERATIONS)?;
            let sequence = operations.last()?.map_or(0, |(last, _)| last.value() + 1);
            operations.insert(sequence, encode(operation)?.as_slice())?;
            note_unsettled(&transaction, [sequence], &operation.status)?;
            revisions::note(&transaction, sequence, operation)?;
            if transaction.open_table(IDS)?.insert(id.as_bytes(), sequence)?.is_some() {
                return Err(damaged("an operation is acknowledged twice"));
            }
            if let Some((commitment, pointer)) = pointer {
                transaction.open_table(POINTERS)?.insert(commitment, encode(pointer)?.as_slice())?;
            }
            blocks::refer(&transaction, sequence, &operation.signer, blocks)?;
            sequence
        };
        set_status(&transaction, replaces.iter().copied(), &OperationStatus::Replaced { by: id })?;
        transaction.commit()?;
        Ok(sequence)
    }

    /// Every operation that was ever acknowledged, in order.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn operations(&self) -> Result<BTreeMap<Sequence, Acknowledged>, MempoolError> {
        let table = self.read()?.open_table(OPERATIONS)?;
        table
            .iter()?
            .map(|row| row.map_err(MempoolError::from).and_then(|(k, v)| Ok((k.value(), decode(v.value())?))))
            .collect()
    }

    /// The operations that no batch settled, and these, in order.
    ///
    /// # Errors
    /// [`MempoolError`]; also if one of them is missing.
    pub fn unsettled_and(
        &self,
        others: impl IntoIterator<Item = Sequence>,
    ) -> Result<BTreeMap<Sequence, Acknowledged>, MempoolError> {
        let transaction = self.read()?;
        let mut sequences: BTreeSet<_> = others.into_iter().collect();
        for row in transaction.open_table(UNSETTLED)?.iter()? {
            sequences.insert(row?.0.value());
        }
        let table = transaction.open_table(OPERATIONS)?;
        let operation = |sequence| {
            let row = table.get(sequence)?.ok_or_else(|| damaged(format_args!("operation {sequence} is missing")))?;
            Ok((sequence, decode(row.value())?))
        };
        sequences.into_iter().map(operation).collect()
    }

    /// An operation by its id.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn operation(&self, id: OperationId) -> Result<Option<Acknowledged>, MempoolError> {
        let transaction = self.read()?;
        let Some(sequence) = transaction.open_table(IDS)?.get(id.as_bytes())?.map(|row| row.value()) else {
            return Ok(None);
        };
        let row = transaction.open_table(OPERATIONS)?.get(sequence)?;
        row.map(|row| decode(row.value())).transpose()
    }

    /// An operation by its place in the order of acknowledgement.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn acknowledged(&self, sequence: Sequence) -> Result<Option<Acknowledged>, MempoolError> {
        let row = self.read()?.open_table(OPERATIONS)?.get(sequence)?;
        row.map(|row| decode(row.value())).transpose()
    }

    /// What every known commitment commits to.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn pointers(&self) -> Result<BTreeMap<[u8; 32], Pointer>, MempoolError> {
        let table = self.read()?.open_table(POINTERS)?;
        table
            .iter()?
            .map(|row| row.map_err(MempoolError::from).and_then(|(k, v)| Ok((*k.value(), decode(v.value())?))))
            .collect()
    }
}

/// The record leaf that an operation stored, and whether it is settled, inside a transaction. `None` if it stored no record.
pub(super) fn stored_leaf(
    transaction: &WriteTransaction,
    sequence: Sequence,
) -> Result<Option<(RecordLeaf, bool)>, MempoolError> {
    let table = transaction.open_table(OPERATIONS)?;
    let row = table.get(sequence)?.map(|row| decode::<Acknowledged>(row.value())).transpose()?;
    Ok(row.and_then(|row| match row.signed.operation.action.blocks() {
        Blocks::Record { leaf, .. } => Some((leaf, matches!(row.status, OperationStatus::Settled { .. }))),
        Blocks::None | Blocks::Directory { .. } => None,
    }))
}

/// Notes whether operations with this status are settled, inside a transaction.
fn note_unsettled(
    transaction: &WriteTransaction,
    sequences: impl IntoIterator<Item = Sequence>,
    status: &OperationStatus,
) -> Result<(), MempoolError> {
    let mut table = transaction.open_table(UNSETTLED)?;
    for sequence in sequences {
        match status {
            OperationStatus::Settled { .. } => drop(table.remove(sequence)?),
            OperationStatus::Pending
            | OperationStatus::Sealed { .. }
            | OperationStatus::Returned { .. }
            | OperationStatus::Replaced { .. } => drop(table.insert(sequence, ())?),
        }
    }
    Ok(())
}

/// Changes the status of operations, inside a transaction.
pub(super) fn set_status(
    transaction: &WriteTransaction,
    sequences: impl IntoIterator<Item = Sequence>,
    status: &OperationStatus,
) -> Result<(), MempoolError> {
    let sequences: Vec<_> = sequences.into_iter().collect();
    note_unsettled(transaction, sequences.iter().copied(), status)?;
    let mut table = transaction.open_table(OPERATIONS)?;
    for sequence in sequences {
        let row = table.get(sequence)?.map(|row| decode::<Acknowledged>(row.value())).transpose()?;
        let row = row.ok_or_else(|| damaged(format_args!("operation {sequence} is missing")))?;
        let row = Acknowledged { status: status.clone(), ..row };
        revisions::note(transaction, sequence, &row)?;
        table.insert(sequence, encode(&row)?.as_slice())?;
    }
    Ok(())
}
