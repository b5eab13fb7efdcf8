//! Blocks that acknowledged operations hold, and the accounts that they are charged to.

use std::collections::BTreeMap;

use emr_core::UnixTime;
use emr_ipfs::Cid;
use redb::{ReadableTable, WriteTransaction};

use super::{
    BlockReference, CHARGES, Charge, DOOMED, HELD, HOLDINGS, LAST, Mempool, MempoolError, NOBODY, Principal,
    PrincipalRow, REFERENCES, Referenced, UPLOADS, USED, Usage, damaged, is_held, is_noted, staged, twice, twins,
};
use crate::mempool::{Sequence, operations};

/// What a block counts as, in bytes, for each further operation on the same account that holds it. The node's file has a row for each of these
/// operations, also if the block is an attachment that a new version keeps. A test compares this with the size of the rows.
const ROW: u64 = 256;

/// What an operation holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The operation.
    pub sequence: Sequence,
    /// The record or directory that its blocks are part of.
    pub part_of: BlockReference,
    /// Since when nothing needs it, as far as the sweep has noticed.
    pub unneeded_since: Option<UnixTime>,
}

/// How much of a holding was released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// It holds no block any more.
    Wholly,
    /// It may still hold blocks: call again.
    Partly,
}

/// Makes an operation hold blocks, and takes them out of the signer's staging area. Records are charged to their author.
/// Key directories are charged to nobody.
pub(in crate::mempool) fn refer(
    transaction: &WriteTransaction,
    sequence: Sequence,
    signer: &Principal,
    referenced: &Referenced,
) -> Result<(), MempoolError> {
    let Some(part_of) = referenced.part_of else { return Ok(()) };
    let (patient, class, slot) = part_of.row();
    let payer = match (part_of, referenced.charge.author()) {
        (BlockReference::Record { .. } | BlockReference::DelegatedKeys { .. }, Some(author)) => author.row(),
        (BlockReference::Record { .. } | BlockReference::DelegatedKeys { .. }, None) => {
            return Err(damaged("a record or keys without an author"));
        }
        (BlockReference::Directory { .. }, _) => NOBODY,
    };
    transaction.open_table(HOLDINGS)?.insert(sequence, (patient, class, slot, payer, 0))?;
    let mut references = transaction.open_table(REFERENCES)?;
    let mut charges = transaction.open_table(CHARGES)?;
    let mut held = transaction.open_table(HELD)?;
    let mut used = Usage::default();
    for block in &referenced.cids {
        let key = block.to_bytes();
        let key = key.as_slice();
        let noted = staged::take(transaction, key, signer.row())?;
        if held.insert((sequence, key), ())?.is_some() {
            continue;
        }
        let holders = references.get((key, patient, class, slot))?.map_or(0, |row| row.value());
        references.insert((key, patient, class, slot), holders.saturating_add(1))?;
        let charged = charges.get((key, patient, payer))?.map(|row| row.value());
        let (size, count) = match charged {
            Some(charged) => {
                used = used.plus(row_of(payer), 0);
                charged
            }
            None => {
                let of_others = charged_to_anybody(&charges, key, patient)?;
                let size = noted.or(of_others).ok_or_else(|| damaged(format_args!("nobody uploaded block {block}")))?;
                used = used.plus(size, 1);
                (size, 0)
            }
        };
        charges.insert((key, patient, payer), (size, count.saturating_add(1)))?;
        let mut doomed = transaction.open_table(DOOMED)?;
        for twin in twins(block) {
            doomed.remove(twin.as_slice())?;
        }
    }
    let mut table = transaction.open_table(USED)?;
    let before = table.get((patient, payer))?.map(|row| Usage::from(row.value())).unwrap_or_default();
    table.insert((patient, payer), before.plus(used.bytes, used.blocks).row())?;
    match referenced.charge {
        Charge::Rekeyed { revision, .. } => twice::add(transaction, (patient, slot, revision, sequence), payer, used),
        Charge::Nobody | Charge::Author(_) => Ok(()),
    }
}

/// What a further operation that holds a block costs the account that is charged. For key directories it costs nothing: no limit stops a Revoke that
/// leaves the directory as it is.
fn row_of(payer: PrincipalRow) -> u64 {
    if payer == NOBODY { 0 } else { ROW }
}

/// The size of a block that is already part of a record or directory of the patient.
fn charged_to_anybody(
    charges: &impl ReadableTable<(&'static [u8], PrincipalRow, PrincipalRow), (u64, u32)>,
    key: &[u8],
    patient: PrincipalRow,
) -> Result<Option<u64>, MempoolError> {
    let mut range = charges.range((key, patient, NOBODY)..=(key, patient, LAST))?;
    Ok(range.next().transpose()?.map(|(_, row)| row.value().0))
}

/// Lets an operation let go of one block.
fn let_go(
    transaction: &WriteTransaction,
    key: &[u8],
    (patient, class, slot): (PrincipalRow, u8, u16),
    payer: PrincipalRow,
) -> Result<(), MempoolError> {
    let mut references = transaction.open_table(REFERENCES)?;
    let holders = references.get((key, patient, class, slot))?.map_or(0, |row| row.value());
    if holders > 1 {
        references.insert((key, patient, class, slot), holders - 1)?;
    } else {
        references.remove((key, patient, class, slot))?;
    }
    let mut charges = transaction.open_table(CHARGES)?;
    let charged = charges.get((key, patient, payer))?.map(|row| row.value());
    let free = match charged {
        Some((size, count)) if count > 1 => {
            charges.insert((key, patient, payer), (size, count - 1))?;
            Usage { bytes: row_of(payer), blocks: 0 }
        }
        Some((size, _)) => {
            charges.remove((key, patient, payer))?;
            Usage { bytes: size, blocks: 1 }
        }
        None => return Err(damaged("a block is held on nobody's account")),
    };
    let mut used = transaction.open_table(USED)?;
    let rest = used.get((patient, payer))?.map(|row| Usage::from(row.value())).unwrap_or_default().without(free);
    if rest == Usage::default() {
        used.remove((patient, payer))?;
    } else {
        used.insert((patient, payer), rest.row())?;
    }
    if !is_held(&references, key)? && !is_noted(&transaction.open_table(UPLOADS)?, key)? {
        transaction.open_table(DOOMED)?.insert(key, ())?;
    }
    Ok(())
}

impl Mempool {
    /// Up to `limit` holdings, beginning with the operation `from`.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn holdings(&self, from: Sequence, limit: usize) -> Result<Vec<Holding>, MempoolError> {
        let transaction = self.read()?;
        let table = transaction.open_table(HOLDINGS)?;
        table
            .range(from..)?
            .take(limit)
            .map(|row| {
                let (sequence, row) = row?;
                let (sequence, (patient, class, slot, _, since)) = (sequence.value(), row.value());
                Ok(Holding {
                    sequence,
                    part_of: BlockReference::from_row(patient, class, slot)?,
                    unneeded_since: (since > 0).then(|| UnixTime::new(since)).transpose().map_err(damaged)?,
                })
            })
            .collect()
    }

    /// Stores since when nothing needs what these operations hold. `None`: it is needed.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn mark_unneeded(&self, marks: &[(Sequence, Option<UnixTime>)]) -> Result<(), MempoolError> {
        if marks.is_empty() {
            return Ok(());
        }
        let transaction = self.write()?;
        {
            let mut table = transaction.open_table(HOLDINGS)?;
            for (sequence, since) in marks {
                let row = table.get(*sequence)?.map(|row| row.value());
                if let Some((patient, class, slot, payer, _)) = row {
                    let since = since.map_or(0, UnixTime::get);
                    table.insert(*sequence, (patient, class, slot, payer, since))?;
                }
            }
        }
        Ok(transaction.commit()?)
    }

    /// Lets an operation let go of up to `limit` blocks. Blocks that nothing names after that are doomed.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn release(&self, sequence: Sequence, limit: usize) -> Result<Released, MempoolError> {
        let transaction = self.write()?;
        let row = transaction.open_table(HOLDINGS)?.get(sequence)?.map(|row| row.value());
        let Some((patient, class, slot, payer, _)) = row else {
            transaction.abort()?;
            return Ok(Released::Wholly);
        };
        let keys: Vec<Vec<u8>> = {
            let mut held = transaction.open_table(HELD)?;
            let range = (sequence, [].as_slice())..(sequence + 1, [].as_slice());
            let taken = held.extract_from_if(range, |_, ()| true)?.take(limit);
            taken.map(|row| row.map(|(key, _)| key.value().1.to_vec())).collect::<Result<_, _>>()?
        };
        for key in &keys {
            let_go(&transaction, key, (patient, class, slot), payer)?;
        }
        let released = if keys.len() < limit { Released::Wholly } else { Released::Partly };
        if released == Released::Wholly {
            transaction.open_table(HOLDINGS)?.remove(sequence)?;
            if let Some((leaf, is_settled)) = operations::stored_leaf(&transaction, sequence)? {
                twice::remove(&transaction, (patient, slot, leaf.revision, sequence), is_settled)?;
            }
        }
        transaction.commit()?;
        Ok(released)
    }

    /// How much of a patient's space each writer uses, and how much the patient's key directories use.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn used(&self, patient: &Principal) -> Result<(BTreeMap<Principal, Usage>, Usage), MempoolError> {
        let patient = patient.row();
        let table = self.read()?.open_table(USED)?;
        let (mut writers, mut directories) = (BTreeMap::new(), Usage::default());
        for row in table.range((patient, NOBODY)..=(patient, LAST))? {
            let (key, usage) = row?;
            match key.value().1 {
                NOBODY => directories = usage.value().into(),
                writer => drop(writers.insert(Principal::from_row(writer)?, usage.value().into())),
            }
        }
        Ok((writers, directories))
    }

    /// How much more an author would use if an operation on a record of theirs held these blocks, which `signer` uploaded.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn growth(
        &self,
        patient: &Principal,
        author: &Principal,
        signer: &Principal,
        cids: &[Cid],
    ) -> Result<Usage, MempoolError> {
        let (patient, author, signer) = (patient.row(), author.row(), signer.row());
        let transaction = self.read()?;
        let (charges, uploads) = (transaction.open_table(CHARGES)?, transaction.open_table(UPLOADS)?);
        let mut growth = Usage::default();
        for block in cids {
            let key = block.to_bytes();
            let key = key.as_slice();
            if charges.get((key, patient, author))?.is_some() {
                growth = growth.plus(ROW, 0);
            } else {
                let noted = uploads.get((key, signer))?.map(|row| row.value().0);
                let size = match noted {
                    Some(size) => size,
                    None => charged_to_anybody(&charges, key, patient)?.unwrap_or_default(),
                };
                growth = growth.plus(size, 1);
            }
        }
        Ok(growth)
    }
}

#[cfg(test)]
mod tests {
    use emr_core::{AccountIndex, Class, Codec, RecordSlot, cid::cid_of};

    use super::*;
    use crate::mempool::{Anchor, Staging, Upload};

    const BLOCKS: u32 = 1000;
    const VERSIONS: u64 = 40;

    /// Versions that keep the same blocks, each in another record: this takes the most rows. What the file grows by is charged, and all of it is
    /// given back.
    #[test]
    fn a_kept_block_is_charged_with_more_than_its_rows_take() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let anchor = Anchor { chain_id: 1, contract: String::new(), deployed_at: 0, block_hash: String::new() };
        let mempool = Mempool::open(folder.path(), &anchor)?;
        let patient = Principal { account: AccountIndex::new(1)?, identity: [1; 32] };
        let author = Principal { account: AccountIndex::new(2)?, identity: [2; 32] };
        let cids: Vec<Cid> = (0..BLOCKS).map(|number| cid_of(Codec::Raw, &number.to_be_bytes())).collect();
        let much = Usage { bytes: u64::MAX, blocks: u64::MAX };
        let staging = Staging { each: much, all: much, directories: much, free: much };
        let upload = |cid: &Cid| Upload {
            cid: *cid,
            uploader: author,
            size: 10,
            at: UnixTime::ZERO,
            is_directory: false,
            staging,
        };
        mempool.note_uploads(&cids.iter().map(upload).collect::<Vec<_>>())?;
        let hold = |sequence: Sequence| -> Result<u64, Box<dyn std::error::Error>> {
            let part_of = BlockReference::Record { patient, slot: RecordSlot::new(sequence)?, class: Class::Imaging };
            let blocks = Referenced { part_of: Some(part_of), charge: Charge::Author(author), cids: cids.clone() };
            let growth = mempool.growth(&patient, &author, &author, &cids)?;
            let (before, _) = mempool.used(&patient)?;
            let transaction = mempool.write()?;
            refer(&transaction, sequence, &author, &blocks)?;
            transaction.commit()?;
            let (after, _) = mempool.used(&patient)?;
            let before = before.get(&author).copied().unwrap_or_default();
            assert_eq!(after[&author], before.and(growth), "what was checked is what is charged");
            let transaction = mempool.write()?;
            let stats = transaction.stats()?;
            let bytes = stats.allocated_pages() * stats.page_size() as u64;
            transaction.abort()?;
            Ok(bytes)
        };
        let first = hold(0)?;
        let mut last = first;
        for sequence in 1..=VERSIONS {
            last = hold(sequence)?;
        }
        let rows = VERSIONS * u64::from(BLOCKS);
        let (used, _) = mempool.used(&patient)?;
        assert_eq!(used[&author], Usage { bytes: u64::from(BLOCKS) * 10 + rows * ROW, blocks: u64::from(BLOCKS) });
        let each = (last - first) / rows;
        assert!((ROW / 4..=ROW).contains(&each), "a row takes {each} bytes");
        for sequence in 0..=VERSIONS {
            mempool.release(sequence, usize::MAX)?;
        }
        assert!(mempool.used(&patient)?.0.is_empty());
        Ok(())
    }
}
