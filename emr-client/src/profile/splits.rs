//! Documents that are being written in parts, kept durably, so that an interrupted upload goes on where it stopped.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use emr_core::{Class, RecordSlot, Version};
use emr_durable::Disk;
use emr_rollup::operation::OperationId;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::profile::durable::{self, FileError};

/// The largest file that is read, in bytes. A document has at most sixteen parts, which take about 5,000.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A part that a node has acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotedPart {
    /// Its class.
    pub class: Class,
    /// What was written: the digest of its record and files before they were sealed, 32 bytes in hexadecimal digits.
    pub content: String,
    /// The record's slot.
    pub slot: RecordSlot,
    /// The record's version.
    pub version: Version,
    /// The manifest's CID, as text.
    pub record_cid: String,
    /// The operation that wrote it.
    pub operation: OperationId,
}

/// The file `splits.json`: the parts by the digest of patient and document. The file `split-secret`: 32 random bytes.
#[derive(Debug)]
pub(super) struct Splits {
    disk: Disk,
    path: PathBuf,
    secret: PathBuf,
    noted: Mutex<BTreeMap<String, Vec<NotedPart>>>,
}

impl Splits {
    /// Reads the file, if there is one.
    pub(super) fn open(disk: &Disk, folder: &Path) -> Result<Self, FileError> {
        let path = folder.join("splits.json");
        let noted = Mutex::new(durable::read_json(&path, MAX_FILE_BYTES)?.unwrap_or_default());
        Ok(Self { disk: disk.clone(), path, secret: folder.join("split-secret"), noted })
    }

    /// The secret from which the common tags of parts are made. Makes one the first time.
    pub(super) fn secret(&self) -> Result<Zeroizing<[u8; 32]>, FileError> {
        // One at a time, so that two tasks of this process do not make two secrets.
        let _turn = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = durable::read(&self.secret, 32)?.map(Zeroizing::new) {
            let secret = <[u8; 32]>::try_from(bytes.as_slice()).map(Zeroizing::new);
            let reason = format!("{} bytes instead of 32", bytes.len());
            return secret.map_err(|_| FileError::Damaged { path: self.secret.clone(), reason });
        }
        let secret = Zeroizing::new(rand::random::<[u8; 32]>());
        self.disk.replace(&self.secret, secret.as_slice()).map_err(|error| FileError::io(&self.secret, error))?;
        Ok(secret)
    }

    /// The parts of a document that were acknowledged.
    pub(super) fn parts(&self, split: &str) -> Vec<NotedPart> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).get(split).cloned().unwrap_or_default()
    }

    /// Replaces the parts of a document, durably. Without parts, forgets it.
    pub(super) fn set(&self, split: &str, parts: Vec<NotedPart>) -> Result<(), FileError> {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = noted.clone();
        if parts.is_empty() {
            next.remove(split);
        } else {
            next.insert(split.to_owned(), parts);
        }
        durable::replace_json(&self.disk, &self.path, &next)?;
        *noted = next;
        Ok(())
    }
}
