//! The chain on disk: one redb file, one durable redb transaction per block.
//!
//! A block, the state after it and its indices become visible together or not at all, and only after an fsync. So if a
//! process is killed at any instruction, it reopens at the last acknowledged block, or at a complete block whose
//! acknowledgement was lost.

use std::{fmt, path::Path};

use alloy::{
    consensus::{Header, ReceiptEnvelope, Sealable, Sealed, TxEnvelope},
    eips::eip2718::{Decodable2718, Encodable2718},
    primitives::{Address, B256, Bytes, U256},
    rlp::{self, Decodable},
};
use emr_durable::Disk;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError,
    backends::InMemoryBackend,
};

use crate::world_state::{AccountHead, Changes, WorldState};

/// File name of the chain inside its folder.
const FILE: &str = "chain.redb";
/// Version of the tables below.
const FORMAT: u64 = 2;
/// The size of the page cache in bytes. (The state itself is held in memory.)
const CACHE: usize = 16 << 20;
/// The number of newest blocks whose state can be read and proved.
pub(crate) const KEPT_STATES: u64 = 128;

type Row32 = &'static [u8; 32];
type Row20 = &'static [u8; 20];
/// Header (RLP), transaction and receipt (EIP-2718; both empty if the block has no transaction).
type BlockRow = (&'static [u8], &'static [u8], &'static [u8]);
/// Nonce, balance (big-endian), code hash. `None` stands for an account that does not exist.
type AccountRow = (u64, Row32, Row32);

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const BLOCKS: TableDefinition<'_, u64, BlockRow> = TableDefinition::new("blocks");
const NUMBER_OF_BLOCK: TableDefinition<'_, Row32, u64> = TableDefinition::new("number_of_block");
const NUMBER_OF_TRANSACTION: TableDefinition<'_, Row32, u64> = TableDefinition::new("number_of_transaction");
const ACCOUNTS: TableDefinition<'_, Row20, AccountRow> = TableDefinition::new("accounts");
const SLOTS: TableDefinition<'_, (Row20, Row32), Row32> = TableDefinition::new("slots");
const CODE: TableDefinition<'_, Row32, &[u8]> = TableDefinition::new("code");
/// Per block: the accounts and slots that it changed, with their values from before.
const UNDO_ACCOUNTS: TableDefinition<'_, (u64, Row20), Option<AccountRow>> = TableDefinition::new("undo_accounts");
const UNDO_SLOTS: TableDefinition<'_, (u64, Row20, Row32), Row32> = TableDefinition::new("undo_slots");

/// Why the chain could not be read from or written to its file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the file open.
    #[error("another process has this chain open: stop it, or talk to it over its JSON-RPC address")]
    Busy,
    /// The file cannot be read or written. No acknowledged block is lost, but the process must reopen the file.
    #[error("the chain file cannot be read or written ({0}): check space and permissions, then start again")]
    Disk(String),
    /// The file's contents are inconsistent.
    #[error("the chain file is damaged ({0}): restore it from a copy, or start with an empty folder")]
    Damaged(String),
    /// The file was written by a different version.
    #[error("the chain file has format {found}, this program reads {FORMAT}: use the version that wrote it")]
    Format {
        /// The format number in the file.
        found: u64,
    },
}

impl<E: Into<redb::Error> + fmt::Display> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Disk(error.to_string())
    }
}

fn damaged(what: impl fmt::Display) -> StoreError {
    StoreError::Damaged(what.to_string())
}

/// A block as it is stored: a header and at most one transaction with its receipt.
#[derive(Clone, Debug)]
pub(crate) struct StoredBlock {
    pub(crate) header: Sealed<Header>,
    pub(crate) transaction: Option<(TxEnvelope, ReceiptEnvelope)>,
}

/// The contents of an existing file.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) chain_id: u64,
    pub(crate) clock_offset: u64,
    /// Header and state of the newest blocks, newest last.
    pub(crate) recent: Vec<(Sealed<Header>, WorldState)>,
}

/// The open file.
pub(crate) struct Store {
    database: Database,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    /// Opens or creates the file in `folder`.
    pub(crate) fn open(disk: &Disk, folder: &Path) -> Result<Self, StoreError> {
        disk.create_folder_all(folder).map_err(|error| StoreError::Disk(format!("{}: {error}", folder.display())))?;
        let database = emr_durable::open_database(disk, &folder.join(FILE), CACHE).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::Busy,
            other => StoreError::Disk(format!("{}: {other}", folder.join(FILE).display())),
        })?;
        Ok(Self { database })
    }

    /// Makes a store in memory.
    pub(crate) fn in_memory() -> Result<Self, StoreError> {
        let database = Builder::new().set_cache_size(CACHE).create_with_backend(InMemoryBackend::new())?;
        Ok(Self { database })
    }

    /// Reads everything that is needed to continue the chain. Returns `None` if the file is new.
    pub(crate) fn load(&self) -> Result<Option<Loaded>, StoreError> {
        let read = self.database.begin_read()?;
        let meta = match read.open_table(META) {
            Ok(meta) => meta,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let field = |name: &str| -> Result<u64, StoreError> {
            meta.get(name)?.map(|value| value.value()).ok_or_else(|| damaged(format!("no {name}")))
        };
        let found = field("format")?;
        if found != FORMAT {
            return Err(StoreError::Format { found });
        }

        let mut changes = Changes::default();
        for row in read.open_table(ACCOUNTS)?.iter()? {
            let (address, account) = row?;
            changes.accounts.insert(Address::from(address.value()), Some(account_head(account.value())));
        }
        for row in read.open_table(SLOTS)?.iter()? {
            let (key, value) = row?;
            let (address, slot) = key.value();
            changes.slots.insert((Address::from(address), word(slot)), word(value.value()));
        }
        let code = |hash: &B256| self.code(hash);
        let mut state = WorldState::default();
        state.apply(&changes, code)?;

        let blocks = read.open_table(BLOCKS)?;
        let mut undo_accounts: Vec<_> = Vec::new();
        for row in read.open_table(UNDO_ACCOUNTS)?.iter()? {
            let (key, value) = row?;
            let (number, address) = key.value();
            undo_accounts.push((number, Address::from(address), value.value().map(account_head)));
        }
        let mut undo_slots: Vec<_> = Vec::new();
        for row in read.open_table(UNDO_SLOTS)?.iter()? {
            let (key, value) = row?;
            let (number, address, slot) = key.value();
            undo_slots.push((number, (Address::from(address), word(slot)), word(value.value())));
        }

        let head = field("head")?;
        let mut recent = Vec::new();
        for number in (field("oldest_state")?..=head).rev() {
            let row = blocks.get(number)?.ok_or_else(|| damaged(format!("block {number} is missing")))?;
            let header = decode_header(row.value().0)?;
            if header.number != number || header.state_root != state.root() {
                return Err(damaged(format!("the state does not have the root in the header of block {number}")));
            }
            recent.push((header, state.clone()));
            let undo = Changes {
                accounts: rows_of(&undo_accounts, number),
                slots: rows_of(&undo_slots, number),
                ..Changes::default()
            };
            state.apply(&undo, code)?;
        }
        recent.reverse();
        Ok(Some(Loaded { chain_id: field("chain_id")?, clock_offset: field("clock_offset")?, recent }))
    }

    /// Writes the first block of a new chain.
    pub(crate) fn create(&self, chain_id: u64, block: &StoredBlock, changes: &Changes) -> Result<(), StoreError> {
        let write = self.database.begin_write()?;
        {
            let mut meta = write.open_table(META)?;
            meta.insert("format", FORMAT)?;
            meta.insert("chain_id", chain_id)?;
            meta.insert("clock_offset", 0)?;
        }
        append(&write, block, changes, &Changes::default())?;
        Ok(write.commit()?)
    }

    /// Appends a block durably. When this returns, the block survives a crash.
    pub(crate) fn append(&self, block: &StoredBlock, changes: &Changes, undo: &Changes) -> Result<(), StoreError> {
        let write = self.database.begin_write()?;
        append(&write, block, changes, undo)?;
        Ok(write.commit()?)
    }

    /// Takes the newest blocks back, durably, until `to` is the newest. The state after it must be readable.
    pub(crate) fn take_back(&self, to: u64) -> Result<(), StoreError> {
        let write = self.database.begin_write()?;
        {
            let mut meta = write.open_table(META)?;
            let head = meta.get("head")?.ok_or_else(|| damaged("no head"))?.value();
            meta.insert("head", to)?;
            let mut blocks = write.open_table(BLOCKS)?;
            let mut numbers = write.open_table(NUMBER_OF_BLOCK)?;
            let mut by_transaction = write.open_table(NUMBER_OF_TRANSACTION)?;
            for number in to + 1..=head {
                let row = blocks.remove(number)?.ok_or_else(|| damaged(format!("block {number} is missing")))?;
                let (header, transaction, _) = row.value();
                numbers.remove(&decode_header(header)?.hash().0)?;
                if !transaction.is_empty() {
                    let transaction = TxEnvelope::decode_2718_exact(transaction).map_err(damaged)?;
                    by_transaction.remove(&transaction.tx_hash().0)?;
                }
            }
            // The rows are in the order of their blocks. What the oldest block that is taken back replaced is what the state was before it.
            let mut before = Changes::default();
            let mut accounts = write.open_table(UNDO_ACCOUNTS)?;
            for row in accounts.extract_from_if((to + 1, &[0; 20]).., |_, _| true)? {
                let (key, value) = row?;
                before.accounts.entry(Address::from(key.value().1)).or_insert(value.value().map(account_head));
            }
            let mut slots = write.open_table(UNDO_SLOTS)?;
            for row in slots.extract_from_if((to + 1, &[0; 20], &[0; 32]).., |_, _| true)? {
                let (key, value) = row?;
                let (_, address, slot) = key.value();
                before.slots.entry((Address::from(address), word(slot))).or_insert(word(value.value()));
            }
            set_state(&mut write.open_table(ACCOUNTS)?, &mut write.open_table(SLOTS)?, &before)?;
        }
        Ok(write.commit()?)
    }

    /// Stores how many seconds the chain's clock is ahead of the machine's.
    pub(crate) fn set_clock_offset(&self, seconds: u64) -> Result<(), StoreError> {
        let write = self.database.begin_write()?;
        write.open_table(META)?.insert("clock_offset", seconds)?;
        Ok(write.commit()?)
    }

    /// The block with this number.
    pub(crate) fn block(&self, number: u64) -> Result<Option<StoredBlock>, StoreError> {
        let table = self.database.begin_read()?.open_table(BLOCKS)?;
        let Some(row) = table.get(number)? else { return Ok(None) };
        let (header, transaction, receipt) = row.value();
        let transaction = if transaction.is_empty() {
            None
        } else {
            let transaction = TxEnvelope::decode_2718_exact(transaction).map_err(damaged)?;
            Some((transaction, ReceiptEnvelope::decode_2718_exact(receipt).map_err(damaged)?))
        };
        Ok(Some(StoredBlock { header: decode_header(header)?, transaction }))
    }

    /// The header with this number.
    pub(crate) fn header(&self, number: u64) -> Result<Option<Sealed<Header>>, StoreError> {
        let table = self.database.begin_read()?.open_table(BLOCKS)?;
        table.get(number)?.map(|row| decode_header(row.value().0)).transpose()
    }

    /// The number of the block with this hash.
    pub(crate) fn number_of_block(&self, hash: &B256) -> Result<Option<u64>, StoreError> {
        let table = self.database.begin_read()?.open_table(NUMBER_OF_BLOCK)?;
        Ok(table.get(&hash.0)?.map(|row| row.value()))
    }

    /// The number of the block that holds the transaction with this hash.
    pub(crate) fn number_of_transaction(&self, hash: &B256) -> Result<Option<u64>, StoreError> {
        let table = self.database.begin_read()?.open_table(NUMBER_OF_TRANSACTION)?;
        Ok(table.get(&hash.0)?.map(|row| row.value()))
    }

    /// The code with this hash.
    pub(crate) fn code(&self, hash: &B256) -> Result<Bytes, StoreError> {
        let table = self.database.begin_read()?.open_table(CODE)?;
        let row = table.get(&hash.0)?.ok_or_else(|| damaged(format!("code {hash} is missing")))?;
        Ok(Bytes::copy_from_slice(row.value()))
    }
}

fn append(
    write: &redb::WriteTransaction,
    block: &StoredBlock,
    changes: &Changes,
    undo: &Changes,
) -> Result<(), StoreError> {
    let number = block.header.number;
    {
        let mut meta = write.open_table(META)?;
        meta.insert("head", number)?;
        // Blocks that were taken back do not bring older states back.
        let before = meta.get("oldest_state")?.map_or(0, |oldest| oldest.value());
        meta.insert("oldest_state", before.max((number + 1).saturating_sub(KEPT_STATES)))?;
    }
    write.open_table(NUMBER_OF_BLOCK)?.insert(&block.header.hash().0, number)?;
    let (mut transaction, mut receipt) = (Vec::new(), Vec::new());
    let mut by_transaction = write.open_table(NUMBER_OF_TRANSACTION)?;
    if let Some((signed, outcome)) = &block.transaction {
        signed.encode_2718(&mut transaction);
        outcome.encode_2718(&mut receipt);
        by_transaction.insert(&signed.tx_hash().0, number)?;
    }
    let header = rlp::encode(block.header.inner());
    write.open_table(BLOCKS)?.insert(number, (header.as_slice(), transaction.as_slice(), receipt.as_slice()))?;
    let mut codes = write.open_table(CODE)?;
    for (hash, code) in &changes.code {
        codes.insert(&hash.0, code.as_ref())?;
    }
    set_state(&mut write.open_table(ACCOUNTS)?, &mut write.open_table(SLOTS)?, changes)?;
    let mut undo_accounts = write.open_table(UNDO_ACCOUNTS)?;
    for (address, head) in &undo.accounts {
        let words = head.map(|head| (head.nonce, head.balance.to_be_bytes(), head.code_hash.0));
        let row = words.as_ref().map(|(nonce, balance, code_hash)| (*nonce, balance, code_hash));
        undo_accounts.insert((number, &address.into_array()), row)?;
    }
    let mut undo_slots = write.open_table(UNDO_SLOTS)?;
    for ((address, slot), value) in &undo.slots {
        undo_slots.insert((number, &address.into_array(), &slot.to_be_bytes()), &value.to_be_bytes())?;
    }
    // The oldest readable state is that of block `number - KEPT_STATES + 1`. This block's undo rows lead to an older
    // state.
    let oldest = (number + 2).saturating_sub(KEPT_STATES);
    undo_accounts.retain_in(..(oldest, &[0; 20]), |_, _| false)?;
    undo_slots.retain_in(..(oldest, &[0; 20], &[0; 32]), |_, _| false)?;
    Ok(())
}

fn set_state(
    accounts: &mut Table<'_, Row20, AccountRow>,
    slots: &mut Table<'_, (Row20, Row32), Row32>,
    changes: &Changes,
) -> Result<(), StoreError> {
    for (address, head) in &changes.accounts {
        let address = address.into_array();
        match head {
            Some(head) => {
                accounts.insert(&address, (head.nonce, &head.balance.to_be_bytes(), &head.code_hash.0))?;
            }
            None => {
                accounts.remove(&address)?;
                slots.retain_in((&address, &[0; 32])..=(&address, &[0xff; 32]), |_, _| false)?;
            }
        }
    }
    for ((address, slot), value) in &changes.slots {
        let key = (&address.into_array(), &slot.to_be_bytes());
        if value.is_zero() {
            slots.remove(key)?;
        } else {
            slots.insert(key, &value.to_be_bytes())?;
        }
    }
    Ok(())
}

fn account_head((nonce, balance, code_hash): (u64, &[u8; 32], &[u8; 32])) -> AccountHead {
    AccountHead { nonce, balance: word(balance), code_hash: B256::from(code_hash) }
}

fn word(bytes: &[u8; 32]) -> U256 {
    U256::from_be_bytes(*bytes)
}

/// The entries of block `number` in rows sorted by number.
fn rows_of<K: Ord + Copy, V: Copy>(rows: &[(u64, K, V)], number: u64) -> std::collections::BTreeMap<K, V> {
    let start = rows.partition_point(|row| row.0 < number);
    let end = rows.partition_point(|row| row.0 <= number);
    rows[start..end].iter().map(|(_, key, value)| (*key, *value)).collect()
}

fn decode_header(mut bytes: &[u8]) -> Result<Sealed<Header>, StoreError> {
    Header::decode(&mut bytes).map(Sealable::seal_slow).map_err(damaged)
}
