//! What was signed and is not settled yet. An operation goes in here, with its blocks, before it leaves the machine, so
//! that it is handed in again after a crash, or should the node lose it; it goes out when it is settled. A record that came to
//! nothing stays, with the reason, until its writer hands it in again or discards it: it may be nowhere else.
//!
//! One folder for each: `entry.json`, one file for each block, `receipt.json` once the node has acknowledged, and `refused.json`
//! once it came to nothing. A folder is
//! made under a temporary name and renamed when everything in it is durable. Of what goes out the receipt stays, in the folder
//! `receipts` beside this one, with the operation: it proves what the hospital promised. Nothing reads it again.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use alloy::primitives::Address;
use emr_api::{Receipt, Submission};
use emr_core::{
    Cid, UnixTime,
    cid::{MAX_BLOCK_BYTES, verify_block},
};
use emr_durable::Disk;
use emr_rollup::operation::{Kind, OperationId, SignedOperation};
use serde::{Deserialize, Serialize};

use crate::profile::durable::{self, FileError};

/// The largest entry that is read, in bytes.
const MAX_ENTRY_BYTES: u64 = 64 * 1024;
const TEMPORARY: &str = ".new-";
/// The folder of what the hospital promised.
const RECEIPTS: &str = "receipts";

/// A promise, with what was promised.
#[derive(Debug, Serialize)]
struct Kept<'a> {
    receipt: &'a Receipt,
    signed: &'a SignedOperation,
}

/// What is kept of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// The operation.
    pub operation: OperationId,
    /// Who owned its accounts.
    pub parties: Parties,
    /// What is handed in.
    pub submission: Submission,
    /// What was asked for, as a digest in hex: the same request again, after a crash, is this operation and not another one.
    pub intent: Option<String>,
    /// The blocks that go with it, in order.
    pub blocks: Vec<String>,
    /// A record's content key, wrapped to its writer, in base64: writers have no epoch keys, and a record that came to nothing has to be
    /// sealed again.
    pub key: Option<String>,
    /// The operation that came to nothing and that this one stands for.
    pub replaces: Option<OperationId>,
}

/// Who owned the accounts of an operation when it was signed. An account index is no name: when L1 reorganises, it can get another owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parties {
    /// The owner of the signer's account.
    pub signer: Address,
    /// The owner of the patient's account.
    pub patient: Address,
}

/// What is added to the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// The operation.
    pub operation: OperationId,
    /// Who owns its accounts.
    pub parties: Parties,
    /// What is handed in.
    pub submission: Submission,
    /// As in [`Draft`].
    pub intent: Option<String>,
    /// The blocks that go with it.
    pub blocks: Vec<(Cid, Vec<u8>)>,
    /// As in [`Draft`].
    pub key: Option<String>,
    /// As in [`Draft`].
    pub replaces: Option<OperationId>,
}

impl NewEntry {
    /// An operation without blocks.
    pub const fn plain(operation: OperationId, parties: Parties, submission: Submission) -> Self {
        Self { operation, parties, submission, intent: None, blocks: Vec::new(), key: None, replaces: None }
    }
}

/// Why an operation came to nothing. JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// When that was noted.
    pub time: UnixTime,
    /// What the node said.
    pub reason: String,
}

/// An operation that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    folder: PathBuf,
    draft: Draft,
    receipt: Option<Receipt>,
    refusal: Option<Refusal>,
}

impl Entry {
    /// What was signed.
    pub const fn draft(&self) -> &Draft {
        &self.draft
    }

    /// The node's promise, once it has given one.
    pub const fn receipt(&self) -> Option<&Receipt> {
        self.receipt.as_ref()
    }

    /// What kind of operation it is.
    pub const fn kind(&self) -> Kind {
        self.draft.submission.signed.operation.action.kind()
    }

    /// Why it came to nothing, if it did.
    pub const fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    /// Whether it can no longer take effect.
    pub fn has_lapsed(&self, now: UnixTime) -> bool {
        self.draft.submission.signed.operation.valid_until < now
    }

    /// Reads the blocks back, one by one.
    pub fn blocks(&self) -> impl Iterator<Item = Result<(Cid, Vec<u8>), FileError>> + '_ {
        self.draft.blocks.iter().map(|name| {
            let path = self.folder.join(name);
            let damaged = |reason: String| FileError::Damaged { path: path.clone(), reason };
            let cid = Cid::try_from(name.as_str()).map_err(|error| damaged(error.to_string()))?;
            let bytes = durable::read(&path, MAX_BLOCK_BYTES as u64)?.ok_or_else(|| damaged("missing".to_owned()))?;
            verify_block(&cid, &bytes).map_err(|error| damaged(error.to_string()))?;
            Ok((cid, bytes))
        })
    }
}

/// The operations that wait, and those that came to nothing, in the order in which they were signed.
#[derive(Debug)]
pub struct Outbox {
    disk: Disk,
    folder: PathBuf,
    content: Mutex<Content>,
}

#[derive(Debug)]
struct Content {
    entries: Vec<Entry>,
    refused: Vec<Entry>,
    next: u64,
}

impl Outbox {
    /// Opens a folder, and clears what a crash left half-written.
    pub(crate) fn open(disk: &Disk, folder: &Path) -> Result<Self, FileError> {
        let failed = |error| FileError::io(folder, error);
        let receipts = folder.with_file_name(RECEIPTS);
        disk.create_folder(&receipts).map_err(|error| FileError::io(&receipts, error))?;
        // Syncs the profile's folder too, for `receipts` and for an identity file that a killed process did not sync.
        disk.add_folder(folder).map_err(failed)?;
        let (mut entries, mut refused) = (Vec::new(), Vec::new());
        let mut next = 0;
        let mut folders: Vec<PathBuf> = fs::read_dir(folder)
            .and_then(|names| names.map(|name| name.map(|name| name.path())).collect())
            .map_err(failed)?;
        folders.sort();
        let unfinished =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(TEMPORARY));
        if folders.iter().any(unfinished) {
            // A removal that was killed may have renamed its folder without a sync. A power cut would bring the old name back, without the
            // files that are removed now.
            disk.sync_folder(folder).map_err(failed)?;
        }
        for path in folders {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with(TEMPORARY) {
                disk.remove_folder_all(&path).map_err(|error| FileError::io(&path, error))?;
                continue;
            }
            let damaged = |reason: &str| FileError::Damaged { path: path.clone(), reason: reason.to_owned() };
            let sequence: u64 = name.parse().map_err(|_| damaged("not a number"))?;
            next = next.max(sequence + 1);
            let draft = durable::read_json(&path.join("entry.json"), MAX_ENTRY_BYTES)?;
            let draft = draft.ok_or_else(|| damaged("entry.json is missing"))?;
            let receipt = durable::read_json(&path.join("receipt.json"), MAX_ENTRY_BYTES)?;
            let refusal: Option<Refusal> = durable::read_json(&path.join("refused.json"), MAX_ENTRY_BYTES)?;
            let list = if refusal.is_some() { &mut refused } else { &mut entries };
            list.push(Entry { folder: path, draft, receipt, refusal });
        }
        let content = Mutex::new(Content { entries, refused, next });
        let outbox = Self { disk: disk.clone(), folder: folder.to_owned(), content };
        outbox.remove_replaced(&mut outbox.content())?;
        Ok(outbox)
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The operations that wait now, oldest first.
    pub fn entries(&self) -> Vec<Entry> {
        self.content().entries.clone()
    }

    /// The operations that came to nothing and are kept, oldest first.
    pub fn refused(&self) -> Vec<Entry> {
        self.content().refused.clone()
    }

    /// The entry for a request that was made before, unless it can no longer take effect.
    pub fn find(&self, intent: &str, now: UnixTime) -> Option<Entry> {
        let is_it = |entry: &&Entry| entry.draft.intent.as_deref() == Some(intent) && !entry.has_lapsed(now);
        self.content().entries.iter().find(is_it).cloned()
    }

    /// Keeps an operation and its blocks, then forgets the one that it replaces. Durable when this returns.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn add(&self, new: NewEntry) -> Result<Entry, FileError> {
        let mut content = self.content();
        let failed = |error| FileError::io(&self.folder, error);
        let NewEntry { operation, parties, submission, intent, blocks, key, replaces } = new;
        let draft = Draft {
            operation,
            parties,
            submission,
            intent,
            blocks: blocks.iter().map(|(cid, _)| cid.to_string()).collect(),
            key,
            replaces,
        };
        let temporary = self.disk.unfinished_folder(&self.folder).map_err(failed)?;
        self.disk.write_new(&temporary.path().join("entry.json"), &durable::json(&draft)).map_err(failed)?;
        for (name, (_, bytes)) in draft.blocks.iter().zip(&blocks) {
            self.disk.write_new(&temporary.path().join(name), bytes).map_err(failed)?;
        }
        self.disk.sync_folder(temporary.path()).map_err(failed)?;
        // Ten digits, so that names sort as numbers.
        let folder = self.folder.join(format!("{:010}", content.next));
        self.disk.rename(temporary.path(), &folder).map_err(failed)?;
        // It has another name now.
        let _ = temporary.keep();
        self.disk.sync_folder(&self.folder).map_err(failed)?;
        content.next += 1;
        let entry = Entry { folder, draft, receipt: None, refusal: None };
        content.entries.push(entry.clone());
        self.remove_replaced(&mut content)?;
        Ok(entry)
    }

    /// Forgets what came to nothing and has a successor: its successor is durable, and a crash came before it was forgotten.
    fn remove_replaced(&self, content: &mut Content) -> Result<(), FileError> {
        let all = content.entries.iter().chain(&content.refused);
        let replaced: Vec<OperationId> = all.filter_map(|entry| entry.draft.replaces).collect();
        for operation in replaced {
            if content.refused.iter().any(|entry| entry.draft.operation == operation) {
                self.remove_from(content, operation)?;
            }
        }
        Ok(())
    }

    /// Notes that an operation came to nothing, and keeps it with its blocks.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn refuse(&self, operation: OperationId, refusal: Refusal) -> Result<(), FileError> {
        let mut content = self.content();
        let Some(place) = content.entries.iter().position(|entry| entry.draft.operation == operation) else {
            return Ok(());
        };
        durable::replace_json(&self.disk, &content.entries[place].folder.join("refused.json"), &refusal)?;
        let entry = Entry { refusal: Some(refusal), ..content.entries.remove(place) };
        let after = content.refused.partition_point(|known| known.folder < entry.folder);
        content.refused.insert(after, entry);
        Ok(())
    }

    /// Keeps the node's promise.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn acknowledge(&self, operation: OperationId, receipt: &Receipt) -> Result<(), FileError> {
        let mut content = self.content();
        let Some(entry) = content.entries.iter_mut().find(|entry| entry.draft.operation == operation) else {
            return Ok(());
        };
        durable::replace_json(&self.disk, &entry.folder.join("receipt.json"), receipt)?;
        entry.receipt = Some(receipt.clone());
        Ok(())
    }

    /// Forgets an operation that came to nothing, and its blocks. Whether there was one.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn discard(&self, operation: OperationId) -> Result<bool, FileError> {
        let mut content = self.content();
        let kept = content.refused.iter().any(|entry| entry.draft.operation == operation);
        if kept {
            self.remove_from(&mut content, operation)?;
        }
        Ok(kept)
    }

    /// Forgets an operation but for its receipt: it is settled, or nothing of it is worth keeping.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn remove(&self, operation: OperationId) -> Result<(), FileError> {
        self.remove_from(&mut self.content(), operation)
    }

    fn remove_from(&self, content: &mut Content, operation: OperationId) -> Result<(), FileError> {
        let is_it = |entry: &Entry| entry.draft.operation == operation;
        let Some(entry) = content.entries.iter().chain(&content.refused).find(|entry| is_it(entry)) else {
            return Ok(());
        };
        let Entry { folder, draft, receipt, .. } = entry;
        if let Some(receipt) = receipt {
            let kept = self.folder.with_file_name(RECEIPTS);
            let signed = &draft.submission.signed;
            durable::replace_json(&self.disk, &kept.join(format!("{operation}.json")), &Kept { receipt, signed })?;
        }
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Renamed first, durably: what is half-removed after a crash is cleared at the next start. If the new name could be lost
        // when files in the folder are gone already, the entry would be damaged.
        let doomed = self.folder.join(format!("{TEMPORARY}{name}"));
        self.disk.rename(folder, &doomed).map_err(|error| FileError::io(folder, error))?;
        content.entries.retain(|entry| !is_it(entry));
        content.refused.retain(|entry| !is_it(entry));
        self.disk.sync_folder(&self.folder).map_err(|error| FileError::io(&self.folder, error))?;
        self.disk.remove_folder_all(&doomed).map_err(|error| FileError::io(&doomed, error))
    }
}
