//! Acknowledged operations, in the order of their acknowledgement.

use emr_api::{OperationStatus, StoredAt};
use std::collections::BTreeMap;

use emr_core::UnixTime;
use emr_rollup::operation::{OperationId, SignedOperation};
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::{Mempool, MempoolError, Principal, Referenced, blocks, damaged, decode, encode};

/// Sequence to operation.
const OPERATIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("operations");
/// Operation id to sequence.
const IDS: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("operation-ids");
/// Commitment to what it is over.
const POINTERS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("pointers");

/// An operation's place in the order of acknowledgement.
pub type Sequence = u64;

/// When a Revoke goes, among all that wait: first the lower turn, in one turn the earlier acknowledgement. It is the number of settled
/// batches, and one more for each operation of the patient's own that waits and goes first. So a patient's many operations do not delay
/// another's first Revoke, and what is acknowledged after a batch was settled goes after what was before.
pub type Turn = u64;

/// An operation that this node promised to settle or to return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// The operation.
    pub signed: SignedOperation,
    /// Whose account signed it.
    pub signer: Principal,
    /// Whose account it is on.
    pub patient: Principal,
    /// When it was acknowledged.
    pub acknowledged: UnixTime,
    /// By when it is settled or returned.
    pub settle_by: UnixTime,
    /// Its turn, if it has the place that is kept for a patient's Revoke of a grant. `None` for everything else.
    pub turn: Option<Turn>,
    /// How many Revokes it took the place of, one after the other.
    pub replaced: u8,
    /// What became of it.
    pub status: OperationStatus,
}

impl Acknowledged {
    /// Whether it still waits to be settled or returned.
    pub fn is_open(&self) -> bool {
        matches!(self.status, OperationStatus::Pending | OperationStatus::Sealed { .. })
    }
}

/// What a commitment in the state is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pointer {
    /// `stored` of a record leaf.
    Record(StoredAt),
    /// `key_directory` of a medical leaf: the CID.
    Directory(String),
}

pub(super) fn create(transaction: &WriteTransaction) -> Result<(), MempoolError> {
    transaction.open_table(OPERATIONS)?;
    transaction.open_table(IDS)?;
    transaction.open_table(POINTERS)?;
    Ok(())
}

impl Mempool {
    /// Keeps an operation, durably, with what its commitment is over and the blocks that this refers to. The one that it replaces ends in the
    /// same transaction.
    ///
    /// # Errors
    /// [`MempoolError`]; then it is not kept, and must not be acknowledged.
    pub fn acknowledge(
        &self,
        id: OperationId,
        operation: &Acknowledged,
        pointer: Option<&([u8; 32], Pointer)>,
        blocks: &Referenced,
        replaces: Option<Sequence>,
    ) -> Result<Sequence, MempoolError> {
        let transaction = self.write()?;
        let sequence = {
            let mut operations = transaction.open_table(OPERATIONS)?;
            let sequence = operations.last()?.map_or(0, |(last, _)| last.value() + 1);
            operations.insert(sequence, encode(operation)?.as_slice())?;
            if transaction.open_table(IDS)?.insert(id.as_bytes(), sequence)?.is_some() {
                return Err(damaged("an operation is acknowledged twice"));
            }
            if let Some((commitment, pointer)) = pointer {
                transaction.open_table(POINTERS)?.insert(commitment, encode(pointer)?.as_slice())?;
            }
            blocks::refer(&transaction, sequence, &operation.signer, blocks)?;
            sequence
        };
        set_status(&transaction, replaces, &OperationStatus::Replaced { by: id })?;
        transaction.commit()?;
        Ok(sequence)
    }

    /// Every operation ever acknowledged, in order.
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

    /// What became of an operation.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn status(&self, sequence: Sequence) -> Result<Option<OperationStatus>, MempoolError> {
        let row = self.read()?.open_table(OPERATIONS)?.get(sequence)?;
        row.map(|row| decode::<Acknowledged>(row.value())).transpose().map(|known| known.map(|known| known.status))
    }

    /// What every known commitment is over.
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

/// Changes what became of operations, inside a transaction.
pub(super) fn set_status(
    transaction: &WriteTransaction,
    sequences: impl IntoIterator<Item = Sequence>,
    status: &OperationStatus,
) -> Result<(), MempoolError> {
    let mut table = transaction.open_table(OPERATIONS)?;
    for sequence in sequences {
        let row = table.get(sequence)?.map(|row| decode::<Acknowledged>(row.value())).transpose()?;
        let row = row.ok_or_else(|| damaged(format_args!("operation {sequence} is missing")))?;
        table.insert(sequence, encode(&Acknowledged { status: status.clone(), ..row })?.as_slice())?;
    }
    Ok(())
}
