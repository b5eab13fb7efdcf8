//! A hospital that becomes the sequencer goes on with the operation log of the one before.

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use emr_durable::Disk;

use crate::{
    mempool::{Mempool, MempoolError},
    node::TRANSACTION,
};

/// Why a folder was not adopted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// The folder to adopt is no node's.
    #[error("{0} is not the folder of a node: name the data folder of the hospital that was the sequencer")]
    NotANode(PathBuf),
    /// The node whose folder it is runs.
    #[error("the node of {0} runs: stop it first, or what it acknowledges meanwhile is missing in the copy")]
    Running(PathBuf),
    /// There is a node in the target folder already.
    #[error(
        "{0} exists already: adopt into the folder of a hospital that was never a sequencer. If an earlier `adopt` was interrupted, remove it"
    )]
    Exists(PathBuf),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The operation log cannot be opened.
    #[error(transparent)]
    Mempool(#[from] MempoolError),
}

/// The folder of a node that does not run, and that cannot start as long as this exists.
#[derive(Debug)]
pub struct StoppedNode {
    folder: PathBuf,
    /// A running node holds the other lock of its operation log.
    _lock: File,
}

impl StoppedNode {
    /// Holds the folder of a node.
    ///
    /// # Errors
    /// [`AdoptError::NotANode`], [`AdoptError::Running`], and [`AdoptError::Io`] if the operation log cannot be opened.
    pub fn hold(folder: &Path) -> Result<Self, AdoptError> {
        let log = folder.join(Mempool::FILE);
        if !log.is_file() {
            return Err(AdoptError::NotANode(folder.to_owned()));
        }
        let file = File::open(&log).map_err(failed(&log))?;
        match file.try_lock_shared() {
            Ok(()) => Ok(Self { folder: folder.to_owned(), _lock: file }),
            Err(TryLockError::WouldBlock) => Err(AdoptError::Running(folder.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(&log)(error)),
        }
    }
}

/// Copies the folder of the node of another hospital to the folder of this hospital's node. The operation log then belongs to no
/// hospital until the node starts with this hospital's key. What the other account was sending on L1 is not copied. Nothing of the other folder changes.
///
/// # Errors
/// [`AdoptError`]. What was copied until then is removed.
pub fn adopt(from: &StoppedNode, to: &Path) -> Result<(), AdoptError> {
    if to.exists() {
        return Err(AdoptError::Exists(to.to_owned()));
    }
    let disk = Disk::default();
    // A kill leaves a folder under another name, which the next call replaces.
    let new = to.with_extension("adopting");
    if let Err(error) = prepare(&disk, &from.folder, &new) {
        let _ = disk.remove_folder_all(&new);
        return Err(error);
    }
    let above = to.parent().unwrap_or(to);
    disk.rename(&new, to).and_then(|()| disk.sync_folder(above)).map_err(failed(to))
}

fn prepare(disk: &Disk, from: &Path, new: &Path) -> Result<(), AdoptError> {
    if new.exists() {
        disk.remove_folder_all(new).map_err(failed(new))?;
    }
    disk.copy_folder(from, new, &|name| name != TRANSACTION).map_err(failed(new))?;
    Ok(Mempool::forget_hospital(disk.clone(), new)?)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> AdoptError {
    let path = path.to_owned();
    move |source| AdoptError::Io { path, source }
}
