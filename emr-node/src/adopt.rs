//! A hospital that becomes the sequencer goes on with the operation log of the one before.

use std::{
    fs, io,
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
    /// There is a node in the target folder already.
    #[error("{0} exists already: adopt into the folder of a hospital that was never a sequencer")]
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

/// Copies the folder of the node of another hospital, which must not run, to the folder of this hospital's node. The operation log then belongs to no
/// hospital until the node starts with this hospital's key. What the other account was sending on L1 is not copied. Nothing of the other folder changes.
///
/// # Errors
/// [`AdoptError`]. What was copied until then is removed.
pub fn adopt(from: &Path, to: &Path) -> Result<(), AdoptError> {
    if !from.join(Mempool::FILE).is_file() {
        return Err(AdoptError::NotANode(from.to_owned()));
    }
    if to.exists() {
        return Err(AdoptError::Exists(to.to_owned()));
    }
    // A kill leaves a folder under another name, which the next call replaces.
    let new = to.with_extension("adopting");
    let prepared = copy(from, &new).and_then(|()| Ok(Mempool::forget_hospital(Disk::default(), &new)?));
    if let Err(error) = prepared {
        let _ = fs::remove_dir_all(&new);
        return Err(error);
    }
    Disk::default().rename(&new, to).map_err(|source| AdoptError::Io { path: to.to_owned(), source })
}

fn copy(from: &Path, to: &Path) -> Result<(), AdoptError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| AdoptError::Io { path, source }
    };
    if to.exists() {
        fs::remove_dir_all(to).map_err(failed(to))?;
    }
    fs::create_dir_all(to).map_err(failed(to))?;
    for entry in fs::read_dir(from).map_err(failed(from))? {
        let entry = entry.map_err(failed(from))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(failed(&path))?;
        if kind.is_dir() {
            copy(&path, &target)?;
        } else if kind.is_file() && entry.file_name() != TRANSACTION {
            // The operation log is made durable when it is opened and changed. A snapshot that a power cut damages is not used.
            fs::copy(&path, &target).map_err(failed(&path))?;
        }
    }
    Ok(())
}
