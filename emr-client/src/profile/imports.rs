//! Which records of imports are settled, so that a repeated import writes none of them twice. Kept durably, one small file for each record.
//!
//! Until an operation is settled, the outbox knows the request that it was made for. When the operation leaves the outbox, this folder takes the
//! knowledge over: the file is durable before the outbox forgets.

use std::path::{Path, PathBuf};

use emr_core::{AccountIndex, Class, RecordSlot, Version};
use emr_durable::Disk;
use emr_rollup::operation::OperationId;
use serde::{Deserialize, Serialize};

use crate::profile::durable::{self, FileError};

/// What the intents of imported records start with. Other intents are not kept here.
pub(crate) const IMPORT: &str = "import-";
/// The largest file that is read, in bytes. A file takes about 200.
const MAX_FILE_BYTES: u64 = 4096;

/// A settled record of an import. JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Imported {
    /// The patient.
    pub patient: AccountIndex,
    /// The record's slot.
    pub slot: RecordSlot,
    /// The version.
    pub version: Version,
    /// The class.
    pub class: Class,
    /// The operation that wrote it.
    pub operation: OperationId,
}

/// The folder.
#[derive(Debug)]
pub(super) struct Imports {
    disk: Disk,
    folder: PathBuf,
}

impl Imports {
    pub(super) const fn new(disk: Disk, folder: PathBuf) -> Self {
        Self { disk, folder }
    }

    /// The file of an intent: its digest is the name. `None` if the intent is not one of an import.
    fn path(&self, intent: &str) -> Option<PathBuf> {
        let digest = intent.strip_prefix(IMPORT)?;
        let is_digest = !digest.is_empty() && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then(|| self.folder.join(format!("{digest}.json")))
    }

    /// The settled record of an intent, if there is one.
    pub(super) fn find(&self, intent: &str) -> Result<Option<Imported>, FileError> {
        self.path(intent).map_or(Ok(None), |path| durable::read_json(&path, MAX_FILE_BYTES))
    }

    /// Keeps a settled record, if its intent is one of an import.
    pub(super) fn note(&self, intent: &str, imported: &Imported) -> Result<(), FileError> {
        let Some(path) = self.path(intent) else { return Ok(()) };
        self.disk.add_folder(&self.folder).map_err(|error| FileError::io(&self.folder, error))?;
        durable::replace_json(&self.disk, &path, imported)
    }
}

/// The folder's name in a profile.
pub(super) fn folder(profile: &Path) -> PathBuf {
    profile.join("imports")
}
