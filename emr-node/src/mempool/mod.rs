//! What must survive a crash: acknowledged operations, the batches made of them, and where records and directories are.
//!
//! Everything is in one redb file. Every change is fsynced before the call returns. A process may be killed at any
//! instruction. When it opens the file again, the file has every call that returned. It may also have the call that was
//! running.

mod batches;
mod blocks;
mod invitations;
mod operations;
mod principal;
mod provers;
mod revisions;

use std::{
    fmt, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

use emr_durable::{Disk, FreeSpace};
use redb::{
    Database, ReadTransaction, ReadableDatabase, TableDefinition, TableError, TransactionError, WriteTransaction,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::watch;

pub use batches::{BatchRecord, BatchStage, DerivedChanges, KeptProof, OnChain};
pub use blocks::{BlockReference, Charge, Holding, Noted, Referenced, Released, Staging, Upload, Usage};
pub use invitations::{InvitationUse, Invited, Inviter};
pub use operations::{Acknowledged, Pointer, Reserved, Sequence, Turn};
pub use principal::Principal;
pub use provers::{KnownProver, MAX_PROVERS, ProverAdded};

/// File name inside the node's folder.
const FILE: &str = "mempool.redb";
/// Version of the tables.
const FORMAT: u32 = 13;
/// How much free space the disk must have before the file is opened again after a failure. Bytes.
const SPACE: usize = 4 << 20;
/// Page cache, bytes.
const CACHE: usize = 16 << 20;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const ANCHOR: &str = "anchor";
const HOSPITAL: &str = "hospital";

/// The node's file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MempoolError {
    /// Another process has it open.
    #[error("another process has this node's data open: stop it, or choose another folder")]
    Busy,
    /// The disk failed. Nothing that was acknowledged is lost.
    #[error("the mempool cannot be read or written ({0}): check space and permissions; the node goes on when it can")]
    Disk(String),
    /// The contents of the file are not consistent.
    #[error(
        "the mempool file is damaged ({0}): restore a copy that has the last settled batch; operations that are not settled yet are in \
         it alone"
    )]
    Damaged(String),
    /// Another version of this program wrote the file.
    #[error("the mempool file has format {found}, this program reads {FORMAT}: use the version that wrote it")]
    Format {
        /// The format in the file.
        found: u32,
    },
    /// The file belongs to another chain or contract.
    #[error("this folder belongs to {stored}, not to {found}: point to that chain, or choose another folder")]
    OtherChain {
        /// What the folder was made for.
        stored: Box<Anchor>,
        /// What was found.
        found: Box<Anchor>,
    },
}

impl<E: Into<redb::Error>> From<E> for MempoolError {
    fn from(error: E) -> Self {
        use redb::Error;
        let error = error.into();
        let text = error.to_string();
        match error {
            Error::DatabaseAlreadyOpen => Self::Busy,
            Error::Corrupted(_)
            | Error::RepairAborted
            | Error::UpgradeRequired(_)
            | Error::TableTypeMismatch { .. }
            | Error::TableIsMultimap(_)
            | Error::TableIsNotMultimap(_)
            | Error::TypeDefinitionChanged { .. }
            | Error::TableDoesNotExist(_) => Self::Damaged(text),
            // How redb reports a file that is not a redb file, or is too short.
            Error::Io(io) if matches!(io.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => {
                Self::Damaged(text)
            }
            _ => Self::Disk(text),
        }
    }
}

fn damaged(what: impl fmt::Display) -> MempoolError {
    MempoolError::Damaged(what.to_string())
}

/// Which rollup a node's folder belongs to. It includes the block of the deployment: the same address on a chain that
/// was restarted from its beginning is another rollup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// Chain id.
    pub chain_id: u64,
    /// The contract's address.
    pub contract: String,
    /// The block at which its events begin.
    pub deployed_at: u64,
    /// That block's hash.
    pub block_hash: String,
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "contract {} on chain {} (block {} is {})",
            self.contract, self.chain_id, self.deployed_at, self.block_hash
        )
    }
}

/// The node's durable tables. Calls block until the disk answers.
pub struct Mempool {
    disk: Disk,
    /// `None` if the disk failed and the file could not be opened again.
    database: RwLock<Option<Database>>,
    path: PathBuf,
    /// Dropped after `database`. Subscribers then learn that the file is closed.
    open: watch::Sender<()>,
}

impl fmt::Debug for Mempool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mempool").finish_non_exhaustive()
    }
}

impl Mempool {
    /// Opens the file in `folder`, or creates it there for the rollup that `anchor` names.
    ///
    /// # Errors
    /// [`MempoolError`]; [`MempoolError::OtherChain`] if the file was made for another rollup.
    pub fn open(folder: &Path, anchor: &Anchor) -> Result<Self, MempoolError> {
        Self::open_on(Disk::default(), folder, anchor)
    }

    /// Like [`Self::open`], on a disk that a test may watch.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_on(disk: Disk, folder: &Path, anchor: &Anchor) -> Result<Self, MempoolError> {
        let path = folder.join(FILE);
        disk.create_folder_all(folder).map_err(|error| MempoolError::Disk(format!("{}: {error}", path.display())))?;
        let database = open_file(&disk, &path)?;
        let stored = stored(&database)?;
        if let Some(stored) = &stored
            && stored != anchor
        {
            return Err(MempoolError::OtherChain { stored: stored.clone().into(), found: anchor.clone().into() });
        }
        let transaction = database.begin_write()?;
        {
            let mut meta = transaction.open_table(META)?;
            if stored.is_none() {
                meta.insert(ANCHOR, encode(&(FORMAT, anchor))?.as_slice())?;
            }
            operations::create(&transaction)?;
            revisions::create(&transaction)?;
            batches::create(&transaction)?;
            blocks::create(&transaction)?;
            provers::create(&transaction)?;
            invitations::create(&transaction)?;
        }
        transaction.commit()?;
        Ok(Self { disk, database: RwLock::new(Some(database)), path, open: watch::Sender::new(()) })
    }

    /// The name of the file in a node's folder.
    pub(crate) const FILE: &str = FILE;

    /// Makes the file in a folder belong to no hospital, until a node with a hospital's key opens it.
    pub(crate) fn forget_hospital(disk: Disk, folder: &Path) -> Result<(), MempoolError> {
        let database = open_file(&disk, &folder.join(FILE))?;
        if stored(&database)?.is_none() {
            return Err(damaged("it belongs to no rollup"));
        }
        let transaction = database.begin_write()?;
        transaction.open_table(META)?.remove(HOSPITAL)?;
        Ok(transaction.commit()?)
    }

    fn with<T>(&self, begin: impl FnOnce(&Database) -> Result<T, TransactionError>) -> Result<T, MempoolError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let closed = || MempoolError::Disk(format!("{} is closed after an error", self.path.display()));
        Ok(begin(database.as_ref().ok_or_else(closed)?)?)
    }

    fn read(&self) -> Result<ReadTransaction, MempoolError> {
        self.with(Database::begin_read)
    }

    fn write(&self) -> Result<WriteTransaction, MempoolError> {
        self.with(Database::begin_write)
    }

    /// How much free space the disk has that holds the file.
    ///
    /// # Errors
    /// [`MempoolError::Disk`] if the system does not say.
    pub fn free_space(&self) -> Result<FreeSpace, MempoolError> {
        let free = FreeSpace::of(self.path.parent().unwrap_or(&self.path));
        free.map_err(|error| MempoolError::Disk(format!("{}: {error}", self.path.display())))
    }

    /// Whether the disk failed. If so, nothing is written until [`Self::reopen`].
    pub fn has_failed(&self) -> bool {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        database.as_ref().is_none_or(|database| matches!(database.try_begin_write(), Err(TransactionError::Storage(_))))
    }

    /// Opens the file again after the disk failed, if there is enough space. Nobody knows whether the failed write is
    /// in the file. A caller that holds a state derived from the file must derive it again.
    ///
    /// # Errors
    /// [`MempoolError`]; the call may be repeated.
    pub fn reopen(&self) -> Result<(), MempoolError> {
        let probe = self.path.with_extension("space");
        let written = fs::write(&probe, vec![0; SPACE]);
        let _ = fs::remove_file(&probe);
        written.map_err(|error| MempoolError::Disk(format!("{}: {error}", probe.display())))?;
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        *database = None;
        *database = Some(open_file(&self.disk, &self.path)?);
        Ok(())
    }

    /// The hospital, once its registration is settled.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn hospital(&self) -> Result<Option<Principal>, MempoolError> {
        let meta = self.read()?.open_table(META)?;
        meta.get(HOSPITAL)?.map(|value| decode(value.value())).transpose()
    }

    /// Resolves when the file is closed and another process can open it.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut open = self.open.subscribe();
        // Nothing is ever sent. The wait ends when the sender is dropped.
        async move { while open.changed().await.is_ok() {} }
    }
}

/// Stores who the hospital is, inside a transaction.
fn pin_hospital(transaction: &WriteTransaction, hospital: &Principal) -> Result<(), MempoolError> {
    transaction.open_table(META)?.insert(HOSPITAL, encode(hospital)?.as_slice())?;
    Ok(())
}

/// Which rollup the file was made for, or `None` if the file is new. The format is checked before any other table is
/// opened: another format may have tables of other types. Nothing is written to the file of another version.
fn stored(database: &Database) -> Result<Option<Anchor>, MempoolError> {
    let meta = match database.begin_read()?.open_table(META) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        meta => meta?,
    };
    let Some(found) = meta.get(ANCHOR)? else { return Ok(None) };
    let (format, anchor): (u32, serde_json::Value) = decode(found.value())?;
    if format != FORMAT {
        return Err(MempoolError::Format { found: format });
    }
    serde_json::from_value(anchor).map(Some).map_err(damaged)
}

fn open_file(disk: &Disk, path: &Path) -> Result<Database, MempoolError> {
    let named = |why: String| format!("{}: {why}", path.display());
    emr_durable::open_database(disk, path, CACHE).map_err(|error| match error.into() {
        MempoolError::Disk(why) => MempoolError::Disk(named(why)),
        MempoolError::Damaged(why) => MempoolError::Damaged(named(why)),
        other => other,
    })
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, MempoolError> {
    serde_json::to_vec(value).map_err(damaged)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, MempoolError> {
    serde_json::from_slice(bytes).map_err(damaged)
}
