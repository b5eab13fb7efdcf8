//! Who uploaded a block, and what it belongs to.
//!
//! A block belongs to nobody but its uploaders until an acknowledged operation refers to it; from then on it is part of a
//! patient's record or her key directory, and uploading it gives no right to read it.

use emr_core::{AccountIndex, Class, RecordSlot};
use emr_ipfs::Cid;
use redb::{Durability, ReadableTable, TableDefinition, WriteTransaction};

use super::{Mempool, MempoolError, damaged};

/// CID and uploader to size in bytes.
const UPLOADS: TableDefinition<'_, (&[u8], u32), u64> = TableDefinition::new("uploads");
/// Uploader to the bytes of his blocks that nothing refers to.
const STAGED: TableDefinition<'_, u32, u64> = TableDefinition::new("staged");
/// CID, patient, class code (directories: [`DIRECTORY`]) and slot.
const REFERENCES: TableDefinition<'_, (&[u8], u32, u8, u16), ()> = TableDefinition::new("references");

/// Patient to the bytes of the blocks that are part of her records and directories, each counted once.
const REFERENCED: TableDefinition<'_, u32, u64> = TableDefinition::new("referenced");

/// Stands in for the class of a key directory.
const DIRECTORY: u8 = u8::MAX;

/// What a block is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlockReference {
    /// A version of a record.
    Record {
        /// The patient.
        patient: AccountIndex,
        /// The record's slot.
        slot: RecordSlot,
        /// Its class when this version was written.
        class: Class,
    },
    /// A patient's key directory.
    Directory {
        /// The patient.
        patient: AccountIndex,
    },
}

/// The blocks that an operation refers to.
#[derive(Clone, Debug, Default)]
pub struct Referenced {
    /// What they become part of.
    pub part_of: Option<BlockReference>,
    /// The blocks.
    pub cids: Vec<Cid>,
}

pub(super) fn create(transaction: &WriteTransaction) -> Result<(), MempoolError> {
    transaction.open_table(UPLOADS)?;
    transaction.open_table(STAGED)?;
    transaction.open_table(REFERENCES)?;
    transaction.open_table(REFERENCED)?;
    Ok(())
}

fn number(account: AccountIndex) -> u32 {
    account.get() as u32
}

/// Notes references, and takes the blocks out of their uploaders' staging area.
pub(super) fn refer(transaction: &WriteTransaction, referenced: &Referenced) -> Result<(), MempoolError> {
    let Some(part_of) = referenced.part_of else { return Ok(()) };
    let (patient, class, slot) = match part_of {
        BlockReference::Record { patient, slot, class } => (number(patient), class.code(), slot.get() as u16),
        BlockReference::Directory { patient } => (number(patient), DIRECTORY, 0),
    };
    let mut references = transaction.open_table(REFERENCES)?;
    let mut uploads = transaction.open_table(UPLOADS)?;
    let mut staged = transaction.open_table(STAGED)?;
    let mut totals = transaction.open_table(REFERENCED)?;
    let mut total = totals.get(patient)?.map_or(0, |bytes| bytes.value());
    for cid in &referenced.cids {
        let cid = cid.to_bytes();
        let counted = is_part_of(&references, &cid, patient)?;
        references.insert((cid.as_slice(), patient, class, slot), ())?;
        let taken: Vec<(u32, u64)> = uploads
            .extract_from_if((cid.as_slice(), 0)..=(cid.as_slice(), u32::MAX), |_, _| true)?
            .map(|row| row.map(|(key, size)| (key.value().1, size.value())))
            .collect::<Result<_, _>>()?;
        if !counted {
            total = total.saturating_add(taken.first().map_or(0, |(_, size)| *size));
        }
        for (uploader, size) in taken {
            let rest = staged.get(uploader)?.map_or(0, |bytes| bytes.value()).saturating_sub(size);
            staged.insert(uploader, rest)?;
        }
    }
    totals.insert(patient, total)?;
    Ok(())
}

/// Whether a block is part of anything of a patient's.
fn is_part_of(
    references: &impl ReadableTable<(&'static [u8], u32, u8, u16), ()>,
    cid: &[u8],
    patient: u32,
) -> Result<bool, MempoolError> {
    let mut range = references.range((cid, patient, 0, 0)..=(cid, patient, u8::MAX, u16::MAX))?;
    Ok(range.next().transpose()?.is_some())
}

impl Mempool {
    /// Notes an upload; returns `false`, and notes nothing, if the uploader's blocks that nothing refers to would exceed
    /// `quota` bytes. Becomes durable with the next acknowledgement, which is the first thing that relies on it.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn note_upload(&self, cid: &Cid, uploader: AccountIndex, size: u64, quota: u64) -> Result<bool, MempoolError> {
        let mut transaction = self.write()?;
        transaction.set_durability(Durability::None).map_err(damaged)?;
        let uploader = number(uploader);
        {
            let mut staged = transaction.open_table(STAGED)?;
            let mut uploads = transaction.open_table(UPLOADS)?;
            let key = cid.to_bytes();
            if uploads.get((key.as_slice(), uploader))?.is_some() {
                return Ok(true);
            }
            let total = staged.get(uploader)?.map_or(0, |bytes| bytes.value()).saturating_add(size);
            if total > quota {
                return Ok(false);
            }
            uploads.insert((key.as_slice(), uploader), size)?;
            staged.insert(uploader, total)?;
        }
        transaction.commit()?;
        Ok(true)
    }

    /// Whether an account uploaded a block that nothing refers to since.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn uploaded(&self, cid: &Cid, uploader: AccountIndex) -> Result<bool, MempoolError> {
        let table = self.read()?.open_table(UPLOADS)?;
        Ok(table.get((cid.to_bytes().as_slice(), number(uploader)))?.is_some())
    }

    /// How many bytes a patient's records and directories have if these blocks, of which `signer` uploaded those that are new,
    /// become part of them.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn referenced_with(
        &self,
        patient: AccountIndex,
        signer: AccountIndex,
        cids: &[Cid],
    ) -> Result<u64, MempoolError> {
        let (patient, signer) = (number(patient), number(signer));
        let transaction = self.read()?;
        let references = transaction.open_table(REFERENCES)?;
        let uploads = transaction.open_table(UPLOADS)?;
        let mut total = transaction.open_table(REFERENCED)?.get(patient)?.map_or(0, |bytes| bytes.value());
        for cid in cids {
            let cid = cid.to_bytes();
            if !is_part_of(&references, &cid, patient)? {
                let size = uploads.get((cid.as_slice(), signer))?.map_or(0, |size| size.value());
                total = total.saturating_add(size);
            }
        }
        Ok(total)
    }

    /// What a block is part of.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn references(&self, cid: &Cid) -> Result<Vec<BlockReference>, MempoolError> {
        let key = cid.to_bytes();
        let table = self.read()?.open_table(REFERENCES)?;
        let range = (key.as_slice(), 0, 0, 0)..=(key.as_slice(), u32::MAX, u8::MAX, u16::MAX);
        table
            .range(range)?
            .map(|row| {
                let (_, patient, class, slot) = row?.0.value();
                let patient = AccountIndex::new(patient.into()).map_err(damaged)?;
                if class == DIRECTORY {
                    return Ok(BlockReference::Directory { patient });
                }
                let class = Class::from_code(class).ok_or_else(|| damaged("a block of no class"))?;
                Ok(BlockReference::Record { patient, class, slot: RecordSlot::new(slot.into()).map_err(damaged)? })
            })
            .collect()
    }
}
