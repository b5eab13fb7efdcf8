//! Blocks as files in a folder, the default store.
//!
//! ```text
//! version          "emr-blockstore 1\n"
//! lock             every process that has the store open holds a shared lock on it
//! incoming/        unfinished files; emptied by a process that opens the store and is alone
//! blocks/00 .. ff  one file per block, named by its CID, in the folder of its digest's last byte
//! pins/            one empty file per pinned root, named by its CID
//! ```
//!
//! A file gets its name only when it is complete: it is written and fsynced in `incoming`, then renamed, then the
//! folder is fsynced. [`Disk`] does this. `tests/blockstore/power_cut.rs` shows that each sync is needed.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use cid::Cid;
use emr_core::cid::{Codec, MAX_BLOCK_BYTES, codec_of, verify_block};
use emr_durable::Disk;
use futures::FutureExt;

use super::kept::Kept;
use crate::dag::{DagLimits, links, walk};
use crate::{Blockstore, FreeSpace, StoreError, StoreFuture};

const VERSION: &str = "emr-blockstore 1\n";
/// A block is one file, and its pin is another.
const FILES_OF_A_BLOCK: u64 = 2;

/// A block store in a folder. Clones share it. Other processes can have it open at the same time.
#[derive(Clone, Debug)]
pub struct DiskStore {
    files: Arc<Files>,
}

impl DiskStore {
    /// Opens the store in `folder`, or creates it there. Removes unfinished files of a crash.
    ///
    /// # Errors
    /// Returns [`StoreError::NotAStore`] if the folder holds something else, [`StoreError::DiskFull`] if there is no
    /// space, and [`StoreError::Io`] for other errors of the file system.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_on(Disk::default(), folder)
    }

    /// The same as [`Self::open`], on a disk that a test can observe.
    ///
    /// # Errors
    /// The same as [`Self::open`].
    pub fn open_on(disk: Disk, folder: impl AsRef<Path>) -> Result<Self, StoreError> {
        Ok(Self { files: Arc::new(Files::open(disk, folder.as_ref())?) })
    }

    /// Runs file work on Tokio's blocking threads. If the future is dropped, work that has begun still finishes.
    fn run<'a, T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'a, T> {
        let files = Arc::clone(&self.files);
        async move {
            let folder = files.incoming.clone();
            match tokio::task::spawn_blocking(move || work(&files)).await {
                Ok(done) => done,
                Err(stopped) => Err(StoreError::io(&folder, io::Error::other(stopped))),
            }
        }
        .boxed()
    }
}

impl Blockstore for DiskStore {
    fn put<'a>(&'a self, codec: Codec, bytes: &'a [u8]) -> StoreFuture<'a, Cid> {
        match super::address(codec, bytes) {
            Ok(cid) => {
                let bytes = bytes.to_vec();
                self.run(move |files| files.put(cid, &bytes))
            }
            Err(refused) => futures::future::err(refused).boxed(),
        }
    }

    fn get<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, Vec<u8>> {
        let cid = *cid;
        self.run(move |files| files.get(&cid))
    }

    fn has<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, bool> {
        let cid = *cid;
        self.run(move |files| {
            codec_of(&cid)?;
            let path = files.block(&cid);
            path.try_exists().map_err(|error| StoreError::io(&path, error))
        })
    }

    fn pin<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, ()> {
        async move {
            walk(self, cid, &DagLimits::default()).await?;
            let cid = *cid;
            self.run(move |files| files.pin(&cid)).await
        }
        .boxed()
    }

    fn unpin<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, ()> {
        let cid = *cid;
        self.run(move |files| files.unpin(&cid))
    }

    fn delete<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, ()> {
        let cid = *cid;
        self.run(move |files| files.delete(&cid))
    }

    fn pins(&self) -> StoreFuture<'_, BTreeSet<Cid>> {
        self.run(|files| files.pinned())
    }

    fn free_space(&self) -> StoreFuture<'_, FreeSpace> {
        self.run(|files| {
            let free =
                emr_durable::FreeSpace::of(&files.blocks).map_err(|error| StoreError::io(&files.blocks, error))?;
            Ok(FreeSpace { bytes: free.bytes, blocks: free.files / FILES_OF_A_BLOCK })
        })
    }
}

/// The folder, and the operations on its files.
#[derive(Debug)]
struct Files {
    disk: Disk,
    incoming: PathBuf,
    blocks: PathBuf,
    pins: PathBuf,
    /// The blocks under pinned roots. A delete fills this cache. It stays right, because a DAG never changes.
    kept: Mutex<Kept>,
    /// Keeps the shared lock.
    _lock: File,
}

impl Files {
    fn open(disk: Disk, folder: &Path) -> Result<Self, StoreError> {
        let fail = |path: &Path| {
            let path = path.to_path_buf();
            move |error| StoreError::io(&path, error)
        };
        disk.create_folder_all(folder).map_err(fail(folder))?;
        let version = folder.join("version");
        let is_new = match read_at_most(&version, VERSION.len()) {
            Ok(found) if found == VERSION.as_bytes() => false,
            Ok(_) => {
                let found = format!("{} says otherwise", version.display());
                return Err(StoreError::NotAStore { path: folder.into(), found });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(StoreError::io(&version, error)),
        };
        // If its creation was interrupted, a store has some of these and no version file yet.
        let own = ["lock", "incoming", "blocks", "pins"];
        if is_new {
            for entry in fs::read_dir(folder).map_err(fail(folder))? {
                let name = entry.map_err(fail(folder))?.file_name();
                if !own.iter().any(|own| name == *own) {
                    return Err(StoreError::NotAStore {
                        path: folder.into(),
                        found: format!("it holds {}", name.to_string_lossy()),
                    });
                }
            }
        }
        let lock_path = folder.join("lock");
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path).map_err(fail(&lock_path))?;
        let files = Self {
            disk,
            incoming: folder.join("incoming"),
            blocks: folder.join("blocks"),
            pins: folder.join("pins"),
            kept: Mutex::default(),
            _lock: lock,
        };
        let shards = (0..=u8::MAX).map(|byte| files.blocks.join(hex_byte(byte)));
        for path in [files.incoming.clone(), files.blocks.clone(), files.pins.clone()].into_iter().chain(shards) {
            files.disk.create_folder(&path).map_err(fail(&path))?;
        }
        // Syncs an existing store too: the process that made it may have been killed before it synced.
        files.sync_folder(&files.blocks)?;
        // No other process has the store open, so the files in `incoming` are left from a crash.
        match files._lock.try_lock() {
            Ok(()) => files.sweep()?,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(StoreError::io(&lock_path, error)),
        }
        files._lock.lock_shared().map_err(fail(&lock_path))?;
        // Either call makes the names in the store's folder durable.
        if is_new {
            files.place(VERSION.as_bytes(), &version)?
        } else {
            files.sync_folder(folder)?
        }
        Ok(files)
    }

    fn sweep(&self) -> Result<(), StoreError> {
        let fail = |error| StoreError::io(&self.incoming, error);
        for entry in fs::read_dir(&self.incoming).map_err(fail)? {
            self.disk.remove_file(&entry.map_err(fail)?.path()).map_err(fail)?;
        }
        Ok(())
    }

    fn block(&self, cid: &Cid) -> PathBuf {
        let shard = cid.hash().digest().last().copied().unwrap_or_default();
        self.blocks.join(hex_byte(shard)).join(cid.to_string())
    }

    fn put(&self, cid: Cid, bytes: &[u8]) -> Result<Cid, StoreError> {
        let path = self.block(&cid);
        match self.get(&cid) {
            // The process that wrote it may have died before it synced the folder.
            Ok(_) => self.sync_folder(parent(&path))?,
            Err(absent) if absent.is_not_found() || absent.is_corrupt() => self.place(bytes, &path)?,
            Err(error) => return Err(error),
        }
        Ok(cid)
    }

    fn get(&self, cid: &Cid) -> Result<Vec<u8>, StoreError> {
        codec_of(cid)?;
        let path = self.block(cid);
        match read_at_most(&path, MAX_BLOCK_BYTES) {
            Ok(bytes) => {
                verify_block(cid, &bytes)?;
                Ok(bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::NotFound(*cid)),
            Err(error) => Err(StoreError::io(&path, error)),
        }
    }

    fn pin(&self, cid: &Cid) -> Result<(), StoreError> {
        let path = self.pins.join(cid.to_string());
        self.disk.mark(&path).map_err(|error| StoreError::io(&path, error))
    }

    fn unpin(&self, cid: &Cid) -> Result<(), StoreError> {
        codec_of(cid)?;
        let path = self.pins.join(cid.to_string());
        match self.disk.remove_file(&path) {
            Ok(()) => self.sync_folder(&self.pins),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::NotPinned(*cid)),
            Err(error) => Err(StoreError::io(&path, error)),
        }
    }

    fn delete(&self, cid: &Cid) -> Result<(), StoreError> {
        codec_of(cid)?;
        if self.is_kept(cid)? {
            return Err(StoreError::Pinned(*cid));
        }
        let path = self.block(cid);
        match self.disk.remove_file(&path) {
            Ok(()) => {}
            // The process that removed it may have died before it synced the folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::io(&path, error)),
        }
        self.sync_folder(parent(&path))
    }

    /// Whether a block is a pinned root or lies under one. Each block is read once per process.
    fn is_kept(&self, cid: &Cid) -> Result<bool, StoreError> {
        let pinned = self.pinned()?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.follow(pinned, |cid| self.links_of(cid))?;
        Ok(kept.contains(cid))
    }

    /// The links of a block. None if it is missing or damaged.
    fn links_of(&self, cid: &Cid) -> Result<Vec<Cid>, StoreError> {
        if codec_of(cid).is_ok_and(|codec| codec == Codec::DagCbor) {
            return match self.get(cid) {
                Err(damaged) if damaged.is_not_found() || damaged.is_corrupt() => Ok(Vec::new()),
                got => links(cid, &got?),
            };
        }
        Ok(Vec::new())
    }

    fn pinned(&self) -> Result<BTreeSet<Cid>, StoreError> {
        let fail = |error| StoreError::io(&self.pins, error);
        let mut pinned = BTreeSet::new();
        for entry in fs::read_dir(&self.pins).map_err(fail)? {
            let name = entry.map_err(fail)?.file_name();
            let cid = name.to_str().and_then(|name| name.parse::<Cid>().ok());
            pinned.insert(cid.ok_or_else(|| StoreError::NotAStore {
                path: self.pins.clone(),
                found: format!("{} is not a pin", name.to_string_lossy()),
            })?);
        }
        Ok(pinned)
    }

    /// Writes a file with these bytes durably, completely or not at all.
    fn place(&self, bytes: &[u8], path: &Path) -> Result<(), StoreError> {
        self.disk.place(path, bytes, &self.incoming).map_err(|error| StoreError::io(path, error))
    }

    /// Makes the names in a folder durable.
    fn sync_folder(&self, path: &Path) -> Result<(), StoreError> {
        self.disk.sync_folder(path).map_err(|error| StoreError::io(path, error))
    }
}

fn hex_byte(byte: u8) -> String {
    format!("{byte:02x}")
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Reads a file, but at most `limit` bytes and one more, so that the caller notices a longer file.
fn read_at_most(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
