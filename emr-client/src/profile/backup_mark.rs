//! Whether the identity of a profile has a backup.

use std::io;

use emr_core::UnixTime;
use serde::{Deserialize, Serialize};

use super::{MAX_FILE_BYTES, Profile, durable};
use crate::profile::FileError;

/// The last backup that was made of the present keys, or from which they were restored. It says nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupMark {
    /// When.
    pub time: UnixTime,
    /// The backup's id, 16 hexadecimal digits.
    pub backup: String,
    /// What opens it: "24 words", or shares like "3-of-5".
    pub opened_by: String,
}

impl Profile {
    /// The last backup of the present keys. `None` if there is none, or if keys changed after it.
    pub fn backup_mark(&self) -> Option<BackupMark> {
        durable::read_json(&self.folder.join("backup.json"), MAX_FILE_BYTES).ok().flatten()
    }

    /// Notes durably that a backup was made.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be written.
    pub fn note_backup(&self, mark: &BackupMark) -> Result<(), FileError> {
        durable::replace_json(&self.disk, &self.folder.join("backup.json"), mark)
    }

    /// Forgets what was derived from keys that change now: the last backup does not have the new ones, and the kept card shows the old ones.
    pub(super) fn forget_derived(&self) -> io::Result<()> {
        let mut forgot = false;
        for name in ["backup.json", "card.json"] {
            match self.disk.remove_file(&self.folder.join(name)) {
                Ok(()) => forgot = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        if forgot { self.disk.sync_folder(&self.folder) } else { Ok(()) }
    }
}
