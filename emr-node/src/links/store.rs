//! The file of links: one redb file beside the mempool's. So writes of strangers who open links never wait in line with
//! Revokes, and a fault of this file stops nothing but links.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `format`; `bytes` | version of the tables; bytes of all stored files |
//! | `links` | digest of the link's id | the link ([`Row`]) |
//! | `links-of-owner` | principal, number | digest |
//! | `numbers` | principal | the number that was given last |
//! | `files` | digest, index | a JWE |
//! | `openings` | digest, sequence | an opening |
//! | `due` | time, digest | when the sweep has something to do |
//!
//! The file holds Keccak-256 of each id, so nobody who reads it can open a link, and a lookup takes no time that depends
//! on how much of a guess is right.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use emr_api::{LinkAccess, LinkState};
use emr_core::UnixTime;
use emr_durable::Disk;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::watch;

use crate::{
    mempool::{MempoolError, Principal},
    request_error::RequestError,
};

/// File name inside the node's folder.
const FILE: &str = "links.redb";
/// Version of the tables.
const FORMAT: u64 = 2;
/// Page cache, bytes.
const CACHE: usize = 8 << 20;

/// Keccak-256 of a link's id.
pub(super) type Digest = [u8; 32];
/// A principal as a key.
pub(super) type Owner = [u8; 36];

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
pub(super) const LINKS: TableDefinition<'_, Digest, &[u8]> = TableDefinition::new("links");
pub(super) const OF_OWNER: TableDefinition<'_, (Owner, u32), Digest> = TableDefinition::new("links-of-owner");
pub(super) const NUMBERS: TableDefinition<'_, Owner, u32> = TableDefinition::new("numbers");
pub(super) const FILES: TableDefinition<'_, (Digest, u32), &[u8]> = TableDefinition::new("files");
pub(super) const OPENINGS: TableDefinition<'_, (Digest, u64), &[u8]> = TableDefinition::new("openings");
pub(super) const DUE: TableDefinition<'_, (u64, Digest), ()> = TableDefinition::new("due");
const BYTES: &str = "bytes";

/// Why a call about links failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinksError {
    /// The file cannot be used now. The next call opens it again.
    #[error("the file of links cannot be read or written ({0}): check space and permissions")]
    Disk(String),
    /// The contents of the file are not consistent.
    #[error(
        "the file of links is damaged ({0}): stop the node and restore or remove {FILE}; patients then make new links"
    )]
    Damaged(String),
    /// There is no such link, or it is not open any more.
    #[error("there is no such link here, or it is not open any more")]
    NotOpen,
    /// The rules or limits forbid it.
    #[error(transparent)]
    Refused(RequestError),
}

impl<E: Into<redb::Error>> From<E> for LinksError {
    fn from(error: E) -> Self {
        match MempoolError::from(error) {
            MempoolError::Damaged(what) => Self::Damaged(what),
            MempoolError::Disk(what) => Self::Disk(what),
            other => Self::Disk(other.to_string()),
        }
    }
}

impl From<LinksError> for RequestError {
    fn from(error: LinksError) -> Self {
        match error {
            LinksError::Refused(refusal) => refusal,
            LinksError::NotOpen => Self::not_found(error.to_string()),
            LinksError::Disk(_) | LinksError::Damaged(_) => {
                tracing::error!(%error, "links cannot be used");
                Self::unavailable("this node cannot use its links now: try again later, or tell its operator")
            }
        }
    }
}

pub(super) fn damaged(what: impl fmt::Display) -> LinksError {
    LinksError::Damaged(what.to_string())
}

pub(super) fn encode(value: &impl Serialize) -> Result<Vec<u8>, LinksError> {
    serde_json::to_vec(value).map_err(damaged)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, LinksError> {
    serde_json::from_slice(bytes).map_err(damaged)
}

/// An encrypted file of a link, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRow {
    pub(crate) content_type: String,
    pub(crate) bytes: u64,
}

/// Who ended a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum EndedBy {
    Patient,
    Hospital,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(super) owner: Principal,
    pub(super) number: u32,
    pub(super) created: UnixTime,
    pub(super) expires: UnixTime,
    /// The node's address in the link.
    pub(super) origin: String,
    pub(super) access: LinkAccess,
    pub(super) files: Vec<FileRow>,
    /// Keccak-256 of the request that made it.
    #[serde(with = "hex::serde")]
    pub(super) request: [u8; 32],
    /// How many times it was opened.
    pub(super) opened: u64,
    /// Wrong passcodes, with the one that is being checked.
    pub(super) failed: u32,
    /// The sequence number of the next opening.
    pub(super) next_line: u64,
    /// Who ended it, if somebody did.
    pub(super) ended: Option<EndedBy>,
    /// Whether its files are here.
    pub(super) stored: bool,
    /// Its time in [`DUE`].
    pub(super) due: u64,
}

impl Row {
    /// How many wrong passcodes end a link.
    pub(crate) const ATTEMPTS: u32 = 5;

    /// The bytes of its files together.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// When its files are removed if nothing ends it before: in the second after the last one in which it is served.
    pub(super) const fn due_at_expiry(&self) -> u64 {
        self.expires.get() + 1
    }

    /// How many wrong passcodes are left; `None` without a passcode.
    pub(super) const fn remaining(&self) -> Option<u32> {
        match self.access {
            LinkAccess::Passcode { .. } => Some(Self::ATTEMPTS.saturating_sub(self.failed)),
            LinkAccess::Manifest | LinkAccess::DirectFile => None,
        }
    }

    /// Whether it can be opened at this time.
    pub(super) fn state(&self, now: UnixTime) -> LinkState {
        if let Some(by) = self.ended {
            match by {
                EndedBy::Patient => LinkState::Ended,
                EndedBy::Hospital => LinkState::EndedByHospital,
            }
        } else if self.failed >= Self::ATTEMPTS {
            LinkState::WrongPasscodes
        } else if now > self.expires || !self.stored {
            LinkState::Expired
        } else {
            LinkState::Open
        }
    }
}

/// The tables. Calls block until the disk answers.
pub(crate) struct LinkStore {
    disk: Disk,
    path: PathBuf,
    /// `None` before the first use, and after the disk failed.
    database: Mutex<Option<Arc<Database>>>,
    /// Dropped after `database`. Subscribers then learn that the file is closed.
    open: watch::Sender<()>,
}

impl fmt::Debug for LinkStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkStore").finish_non_exhaustive()
    }
}

impl LinkStore {
    /// The tables in a node's folder. The first call opens the file. If it cannot be opened, the node runs without links.
    pub(super) fn new(disk: Disk, folder: &Path) -> Self {
        Self { disk, path: folder.join(FILE), database: Mutex::default(), open: watch::Sender::new(()) }
    }

    /// Whether a link was ever made here.
    pub(super) fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Resolves when the file is closed and another process can open it.
    pub(super) fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut open = self.open.subscribe();
        // Nothing is ever sent. The wait ends when the sender is dropped.
        async move { while open.changed().await.is_ok() {} }
    }

    fn database(&self) -> Result<Arc<Database>, LinksError> {
        let mut known = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = &*known {
            return Ok(Arc::clone(database));
        }
        let database = emr_durable::open_database(&self.disk, &self.path, CACHE)?;
        let transaction = database.begin_write()?;
        {
            let mut meta = transaction.open_table(META)?;
            let format = meta.get("format")?.map(|format| format.value());
            match format {
                None => drop(meta.insert("format", FORMAT)?),
                Some(FORMAT) => {}
                Some(other) => return Err(damaged(format_args!("format {other}, this program reads {FORMAT}"))),
            }
            transaction.open_table(LINKS)?;
            transaction.open_table(OF_OWNER)?;
            transaction.open_table(NUMBERS)?;
            transaction.open_table(FILES)?;
            transaction.open_table(OPENINGS)?;
            transaction.open_table(DUE)?;
        }
        transaction.commit()?;
        Ok(Arc::clone(known.insert(Arc::new(database))))
    }

    /// After a failed write, redb refuses everything until the file is opened again.
    fn noticing<T>(&self, done: Result<T, LinksError>) -> Result<T, LinksError> {
        if matches!(done, Err(LinksError::Disk(_))) {
            *self.database.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        done
    }

    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, LinksError>,
    ) -> Result<T, LinksError> {
        self.noticing(self.database().and_then(|database| work(&database.begin_read()?)))
    }

    /// Changes the tables, durably. If the work fails, nothing is changed.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, LinksError>,
    ) -> Result<T, LinksError> {
        self.noticing(self.database().and_then(|database| {
            let transaction = database.begin_write()?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        }))
    }
}

/// The link with this digest.
pub(super) fn row(links: &impl ReadableTable<Digest, &'static [u8]>, digest: &Digest) -> Result<Row, LinksError> {
    decode(links.get(digest)?.ok_or(LinksError::NotOpen)?.value())
}

/// Writes a link.
pub(super) fn put(transaction: &WriteTransaction, digest: &Digest, row: &Row) -> Result<(), LinksError> {
    transaction.open_table(LINKS)?.insert(digest, encode(row)?.as_slice())?;
    Ok(())
}

/// The bytes of all stored files.
pub(super) fn stored_bytes(transaction: &WriteTransaction) -> Result<u64, LinksError> {
    Ok(transaction.open_table(META)?.get(BYTES)?.map_or(0, |bytes| bytes.value()))
}

/// Sets the bytes of all stored files.
pub(super) fn set_stored_bytes(transaction: &WriteTransaction, bytes: u64) -> Result<(), LinksError> {
    transaction.open_table(META)?.insert(BYTES, bytes)?;
    Ok(())
}
