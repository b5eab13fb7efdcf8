//! Which settled operations wrote a record, so that its earlier versions can be found without reading every operation.

use emr_api::OperationStatus;
use emr_core::{AccountIndex, RecordSlot, Revision};
use redb::{ReadableTable, TableDefinition, WriteTransaction};

use super::{Acknowledged, Mempool, MempoolError, Sequence, damaged};

/// Patient, slot and revision to the settled operation that wrote it.
const REVISIONS: TableDefinition<'_, (u64, u64, u64), Sequence> = TableDefinition::new("record-revisions");

pub(super) fn create(transaction: &WriteTransaction) -> Result<(), MempoolError> {
    transaction.open_table(REVISIONS)?;
    Ok(())
}

/// Notes or forgets the revision that an operation wrote, inside a transaction that sets the operation's status.
pub(super) fn note(
    transaction: &WriteTransaction,
    sequence: Sequence,
    operation: &Acknowledged,
) -> Result<(), MempoolError> {
    let signed = &operation.signed.operation;
    let Some((slot, leaf)) = signed.action.record() else { return Ok(()) };
    let key = (signed.patient.get(), slot.get(), leaf.revision.get());
    let mut table = transaction.open_table(REVISIONS)?;
    if matches!(operation.status, OperationStatus::Settled { .. }) {
        table.insert(key, sequence)?;
        return Ok(());
    }
    // L1 took a batch back. Another operation may have written the revision since.
    let is_noted = table.get(key)?.is_some_and(|noted| noted.value() == sequence);
    if is_noted {
        table.remove(key)?;
    }
    Ok(())
}

impl Mempool {
    /// The settled operations that wrote the revisions of a record before this one, the newest first, at most `limit`.
    ///
    /// # Errors
    /// [`MempoolError`]; also if an operation is missing.
    pub fn revisions(
        &self,
        patient: AccountIndex,
        slot: RecordSlot,
        before: Revision,
        limit: usize,
    ) -> Result<Vec<Acknowledged>, MempoolError> {
        let table = self.read()?.open_table(REVISIONS)?;
        let at = |revision: u64| (patient.get(), slot.get(), revision);
        let mut operations = Vec::new();
        for row in table.range(at(0)..at(before.get()))?.rev().take(limit) {
            let sequence = row?.1.value();
            let operation = self.acknowledged(sequence)?;
            operations.push(operation.ok_or_else(|| damaged(format_args!("operation {sequence} is missing")))?);
        }
        Ok(operations)
    }
}
