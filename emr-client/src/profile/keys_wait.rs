//! Whether the patient's key directory may have to be published again, kept durably.

use std::{io, path::PathBuf};

use emr_core::UnixTime;
use emr_durable::Disk;

use crate::profile::durable::{self, FileError};

/// The largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64;

/// The file `keys-wait`: a JSON number, the time until which it stays, in Unix seconds. It exists if rights ended, or may end, while no new
/// directory could be published.
#[derive(Debug)]
pub(super) struct KeysWait {
    disk: Disk,
    path: PathBuf,
}

impl KeysWait {
    pub(super) const fn new(disk: Disk, path: PathBuf) -> Self {
        Self { disk, path }
    }

    /// Whether the file exists.
    pub(super) fn is_noted(&self) -> bool {
        self.path.exists()
    }

    /// Notes it durably, at least until a time.
    pub(super) fn note(&self, until: UnixTime) -> Result<(), FileError> {
        let until = self.until().map_or(until, |noted| noted.max(until));
        durable::replace_json(&self.disk, &self.path, &until)
    }

    /// Removes the file if its time has passed. It is not important that this survives a crash.
    pub(super) fn forget(&self, now: UnixTime) -> Result<(), FileError> {
        if self.until().is_some_and(|until| now < until) {
            return Ok(());
        }
        match self.disk.remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::io(&self.path, error)),
            _ => Ok(()),
        }
    }

    /// A file that cannot be read has no time: what it says counts once.
    fn until(&self) -> Option<UnixTime> {
        durable::read_json(&self.path, MAX_FILE_BYTES).ok().flatten()
    }
}
