//! Reads and writes a profile's files through an [`emr_durable::Disk`].

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use emr_durable::Disk;
use serde::{Serialize, de::DeserializeOwned};

/// Why a file of a profile could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The disk, the quota or the file size limit is exhausted.
    #[error("no space left for {}: free some space or raise the limit, then try again; nothing was lost", .0.display())]
    DiskFull(PathBuf),
    /// The file system reported another error.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file does not have the form that this program writes.
    #[error("{} is damaged ({reason}): restore it from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl FileError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::DiskFull(path)
            }
            _ => Self::Io { path, source },
        }
    }
}

/// Replaces a file with the JSON of a value, durably.
pub(crate) fn replace_json<T: Serialize>(disk: &Disk, path: &Path, value: &T) -> Result<(), FileError> {
    disk.replace(path, &json(value)).map_err(|error| FileError::io(path, error))
}

/// A value as JSON on several lines.
pub(crate) fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("the profile's types have a JSON form")
}

/// Reads a file of at most `limit` bytes. Returns `None` if the file does not exist.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, FileError> {
    let failed = |error| FileError::io(path, error);
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed)?,
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(FileError::Damaged { path: path.to_owned(), reason: format!("longer than {limit} bytes") });
    }
    Ok(Some(bytes))
}

/// Reads a value from a JSON file. Returns `None` if the file does not exist.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, limit: u64) -> Result<Option<T>, FileError> {
    let Some(bytes) = read(path, limit)? else { return Ok(None) };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| FileError::Damaged { path: path.to_owned(), reason: error.to_string() })
}
