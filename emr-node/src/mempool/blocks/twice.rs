//! Records that are stored twice: a Rekey stored them again, and the ciphertext that it replaces is still held.
//!
//! The second copy does not count in the author's share, or a rekey would keep its authors from writing for a day. It counts again when the first
//! copy is released.

use std::collections::BTreeMap;

use emr_core::Revision;
use redb::WriteTransaction;

use super::{Mempool, MempoolError, Principal, PrincipalRow, TWICE, Usage};
use crate::mempool::Sequence;

/// Patient, slot and revision that a Rekey wrote, and the Rekey.
pub(super) type Key = (PrincipalRow, u16, Revision, Sequence);

/// Adds what a Rekey charged to the record's author.
pub(super) fn add(
    transaction: &WriteTransaction,
    (patient, slot, revision, sequence): Key,
    author: PrincipalRow,
    added: Usage,
) -> Result<(), MempoolError> {
    // It may hold the same blocks as before.
    if added == Usage::default() {
        return Ok(());
    }
    let key = (patient, slot, revision.get(), sequence);
    transaction.open_table(TWICE)?.insert(key, (author, added.bytes, added.blocks))?;
    Ok(())
}

/// Call this when the operation that wrote a revision is released. If it is a Rekey, its own copy is gone. If it is settled, the Rekey that
/// wrote the next revision no longer stores anything twice.
pub(super) fn remove(
    transaction: &WriteTransaction,
    (patient, slot, revision, sequence): Key,
    is_settled: bool,
) -> Result<(), MempoolError> {
    let mut table = transaction.open_table(TWICE)?;
    table.remove((patient, slot, revision.get(), sequence))?;
    if is_settled {
        let next = revision.get().saturating_add(1);
        table.retain_in((patient, slot, next, 0)..=(patient, slot, next, Sequence::MAX), |_, _| false)?;
    }
    Ok(())
}

impl Mempool {
    /// How much of a patient's space each author uses for second copies.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn stored_twice(&self, patient: &Principal) -> Result<BTreeMap<Principal, Usage>, MempoolError> {
        let patient = patient.row();
        let table = self.read()?.open_table(TWICE)?;
        let mut authors = BTreeMap::<_, Usage>::new();
        for row in table.range((patient, 0, 0, 0)..=(patient, u16::MAX, u64::MAX, Sequence::MAX))? {
            let (author, bytes, blocks) = row?.1.value();
            let of_author = authors.entry(Principal::from_row(author)?).or_default();
            *of_author = of_author.and((bytes, blocks).into());
        }
        Ok(authors)
    }
}
