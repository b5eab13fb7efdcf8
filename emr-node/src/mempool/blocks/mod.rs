//! Who uploaded a block, what it belongs to, and when it may be removed.
//!
//! ```text
//! uploaded --(an operation refers to it)--> held --(the last operation that holds it is released)--> doomed --> removed
//!     \------------------(24 hours)-----------------------------------------------------------------^
//! ```
//!
//! No note and no operation names a doomed block. If an upload or an operation names it again, it is no longer doomed.
//! Every change here is durable when the call returns. A block is written only after its note. So each block in the
//! store is in one of these tables, also after a crash.

mod doomed;
mod held;
mod staged;
mod twice;

use emr_core::{Class, Codec, RecordSlot, Revision};
use emr_ipfs::Cid;
use redb::{ReadableTable, TableDefinition, WriteTransaction};

use super::{
    Mempool, MempoolError, damaged,
    principal::{LAST, NOBODY, Principal, PrincipalRow},
};

pub(super) use held::refer;
pub use held::{Holding, Released};
pub use staged::{Noted, Staging, Upload};

/// CID and uploader to size in bytes, the time of the upload and the purse that it counts in.
const UPLOADS: TableDefinition<'_, (&[u8], PrincipalRow), (u64, u64, u8)> = TableDefinition::new("uploads");
/// Time, CID and uploader of each upload, so that the oldest comes first.
const LAPSING: TableDefinition<'_, (u64, &[u8], PrincipalRow), ()> = TableDefinition::new("lapsing");
/// Uploader and purse to the bytes and the number of the blocks that nothing refers to.
const STAGED: TableDefinition<'_, (PrincipalRow, u8), (u64, u64)> = TableDefinition::new("staged");
/// Purse to the sum over all uploaders.
const STAGED_BY_ALL: TableDefinition<'_, u8, (u64, u64)> = TableDefinition::new("staged-by-all");
/// CID, patient, class code (directories: [`DIRECTORY`]) and slot to the number of operations that hold the block.
const REFERENCES: TableDefinition<'_, (&[u8], PrincipalRow, u8, u16), u32> = TableDefinition::new("references");
/// Operation to patient, class code (directories: [`DIRECTORY`]), slot, the account that is charged, and since when
/// nothing needs it (0: needed).
const HOLDINGS: TableDefinition<'_, u64, (PrincipalRow, u8, u16, PrincipalRow, u64)> = TableDefinition::new("holdings");
/// Operation, and CID of each block that it holds.
const HELD: TableDefinition<'_, (u64, &[u8]), ()> = TableDefinition::new("held");
/// CID, patient and the account that is charged, to the size in bytes and the number of operations that hold the block
/// on that account.
const CHARGES: TableDefinition<'_, (&[u8], PrincipalRow, PrincipalRow), (u64, u32)> = TableDefinition::new("charges");
/// Patient and the account that is charged, to the bytes and the number of blocks.
const USED: TableDefinition<'_, (PrincipalRow, PrincipalRow), (u64, u64)> = TableDefinition::new("used");
/// Patient, slot, revision and operation of each Rekey whose predecessor is still held, to the account that is charged, and to the bytes and the
/// number of the blocks that the Rekey added to its charge. The record is stored twice for so long.
const TWICE: TableDefinition<'_, TwiceRow, (PrincipalRow, u64, u64)> = TableDefinition::new("stored-twice");
/// Blocks to be removed from the store.
const DOOMED: TableDefinition<'_, &[u8], ()> = TableDefinition::new("doomed");

/// Patient, slot, revision and operation.
type TwiceRow = (PrincipalRow, u16, u64, u64);

/// Used in place of a class, for key directories.
const DIRECTORY: u8 = u8::MAX;

/// A record or directory that a block is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlockReference {
    /// A version of a record.
    Record {
        /// The patient.
        patient: Principal,
        /// The record's slot.
        slot: RecordSlot,
        /// Its class when this version was written.
        class: Class,
    },
    /// A patient's key directory.
    Directory {
        /// The patient.
        patient: Principal,
    },
}

impl BlockReference {
    /// The patient whose record or directory it is.
    pub const fn patient(&self) -> Principal {
        match self {
            Self::Record { patient, .. } | Self::Directory { patient } => *patient,
        }
    }

    /// Patient, class code and slot, as the tables store them.
    fn row(&self) -> (PrincipalRow, u8, u16) {
        match *self {
            Self::Record { patient, slot, class } => (patient.row(), class.code(), slot.get() as u16),
            Self::Directory { patient } => (patient.row(), DIRECTORY, 0),
        }
    }

    fn from_row(patient: PrincipalRow, class: u8, slot: u16) -> Result<Self, MempoolError> {
        let patient = Principal::from_row(patient)?;
        if class == DIRECTORY {
            return Ok(Self::Directory { patient });
        }
        let class = Class::from_code(class).ok_or_else(|| damaged("a block of no class"))?;
        Ok(Self::Record { patient, class, slot: RecordSlot::new(slot.into()).map_err(damaged)? })
    }
}

/// Who is charged for the blocks of an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Charge {
    /// Nobody: the blocks of a key directory.
    #[default]
    Nobody,
    /// The author of the record.
    Author(Principal),
    /// The author of the record that a Rekey stores again. So a Rekey neither needs room in the patient's share nor frees the author's.
    Rekeyed {
        /// The author.
        author: Principal,
        /// The record's revision after the Rekey.
        revision: Revision,
    },
}

impl Charge {
    /// The account that is charged.
    pub const fn author(&self) -> Option<Principal> {
        match *self {
            Self::Nobody => None,
            Self::Author(author) | Self::Rekeyed { author, .. } => Some(author),
        }
    }
}

/// The blocks that an operation refers to.
#[derive(Clone, Debug, Default)]
pub struct Referenced {
    /// The record or directory that they become part of.
    pub part_of: Option<BlockReference>,
    /// Who is charged for them.
    pub charge: Charge,
    /// The blocks.
    pub cids: Vec<Cid>,
}

/// An amount of storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes.
    pub bytes: u64,
    /// Blocks.
    pub blocks: u64,
}

impl Usage {
    /// Whether both counts stay within a limit.
    pub const fn is_within(&self, limit: &Self) -> bool {
        self.bytes <= limit.bytes && self.blocks <= limit.blocks
    }

    /// Both amounts together.
    pub const fn and(self, other: Self) -> Self {
        self.plus(other.bytes, other.blocks)
    }

    /// This amount without another one. Not less than nothing.
    pub const fn without(self, other: Self) -> Self {
        self.minus(other.bytes, other.blocks)
    }

    const fn plus(self, bytes: u64, blocks: u64) -> Self {
        Self { bytes: self.bytes.saturating_add(bytes), blocks: self.blocks.saturating_add(blocks) }
    }

    const fn minus(self, bytes: u64, blocks: u64) -> Self {
        Self { bytes: self.bytes.saturating_sub(bytes), blocks: self.blocks.saturating_sub(blocks) }
    }

    /// One of `parts` equal parts.
    const fn over(self, parts: u64) -> Self {
        Self { bytes: self.bytes / parts, blocks: self.blocks / parts }
    }

    const fn times(self, times: u64) -> Self {
        Self { bytes: self.bytes.saturating_mul(times), blocks: self.blocks.saturating_mul(times) }
    }

    const fn row(self) -> (u64, u64) {
        (self.bytes, self.blocks)
    }
}

impl From<(u64, u64)> for Usage {
    fn from((bytes, blocks): (u64, u64)) -> Self {
        Self { bytes, blocks }
    }
}

pub(super) fn create(transaction: &WriteTransaction) -> Result<(), MempoolError> {
    transaction.open_table(UPLOADS)?;
    transaction.open_table(LAPSING)?;
    transaction.open_table(STAGED)?;
    transaction.open_table(STAGED_BY_ALL)?;
    transaction.open_table(REFERENCES)?;
    transaction.open_table(HOLDINGS)?;
    transaction.open_table(HELD)?;
    transaction.open_table(CHARGES)?;
    transaction.open_table(USED)?;
    transaction.open_table(TWICE)?;
    transaction.open_table(DOOMED)?;
    Ok(())
}

fn cid(bytes: &[u8]) -> Result<Cid, MempoolError> {
    Cid::try_from(bytes).map_err(damaged)
}

/// The two addresses of the same bytes, one for each codec. A store may keep blocks by their digest. Then removing one
/// removes both.
fn twins(cid: &Cid) -> [Vec<u8>; 2] {
    [Codec::Raw, Codec::DagCbor].map(|codec| Cid::new_v1(codec.code(), *cid.hash()).to_bytes())
}

/// Whether an operation holds the block.
fn is_held(
    references: &impl ReadableTable<(&'static [u8], PrincipalRow, u8, u16), u32>,
    cid: &[u8],
) -> Result<bool, MempoolError> {
    let mut range = references.range((cid, NOBODY, 0, 0)..=(cid, LAST, u8::MAX, u16::MAX))?;
    Ok(range.next().transpose()?.is_some())
}

/// Whether the block has a note: an account uploaded it, and none of that account's operations has referred to it
/// since.
fn is_noted(
    uploads: &impl ReadableTable<(&'static [u8], PrincipalRow), (u64, u64, u8)>,
    cid: &[u8],
) -> Result<bool, MempoolError> {
    let mut range = uploads.range((cid, NOBODY)..=(cid, LAST))?;
    Ok(range.next().transpose()?.is_some())
}

impl Mempool {
    /// Whether an account has a note for a block: it uploaded the block, and none of its operations has referred to it
    /// since.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn uploaded(&self, cid: &Cid, uploader: &Principal) -> Result<bool, MempoolError> {
        let table = self.read()?.open_table(UPLOADS)?;
        Ok(table.get((cid.to_bytes().as_slice(), uploader.row()))?.is_some())
    }

    /// The records and directories that a block is part of.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn references(&self, cid: &Cid) -> Result<Vec<BlockReference>, MempoolError> {
        let key = cid.to_bytes();
        let table = self.read()?.open_table(REFERENCES)?;
        let range = (key.as_slice(), NOBODY, 0, 0)..=(key.as_slice(), LAST, u8::MAX, u16::MAX);
        table
            .range(range)?
            .map(|row| {
                let (_, patient, class, slot) = row?.0.value();
                BlockReference::from_row(patient, class, slot)
            })
            .collect()
    }
}
