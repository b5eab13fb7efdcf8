//! The outbox: operations that were signed and are not settled yet. An operation is kept here, with its blocks, before
//! it is sent. So it can be handed in again after a crash, or if the node loses it. It is removed when it is settled. A
//! record that was refused, returned or lapsed ("undelivered") stays, with the reason, until its writer hands it in
//! again or discards it, because it may exist nowhere else.
//!
//! Each operation has a folder with `entry.json`, one file for each block, `receipt.json` once the node has
//! acknowledged it, and `refused.json` once it is undelivered. The folder is made under a temporary name and renamed
//! when everything in it is durable. When an operation is removed, its receipt stays, with the operation, in the folder
//! `receipts` beside the outbox: it proves what the hospital promised. The program does not read it again.

use std::{
    collections::BTreeSet,
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
/// A record of 64 MiB whose document has 4096 attachments in it has about 9,000 blocks.
const MAX_ENTRY_BYTES: u64 = 4 << 20;
const TEMPORARY: &str = ".new-";
/// The name of the folder for receipts.
const RECEIPTS: &str = "receipts";

/// A receipt with its operation.
#[derive(Debug, Serialize)]
struct Kept<'a> {
    receipt: &'a Receipt,
    signed: &'a SignedOperation,
}

/// What is kept of an operation. JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// The operation's name.
    pub operation: OperationId,
    /// The owners of its accounts when it was signed.
    pub parties: Parties,
    /// What is sent to the node.
    pub submission: Submission,
    /// The digest of the request, in hex. If the same request is made again after a crash, this operation is used, not
    /// a new one.
    pub intent: Option<String>,
    /// The CIDs of its blocks, in order.
    pub blocks: Vec<String>,
    /// The journals of the record's files. The blocks of a file are not kept here: if the node does not have them any more, the file is sealed and
    /// sent again, with the key in its journal.
    pub journals: Vec<String>,
    /// A record's content key, wrapped to its writer, in base64. An undelivered record has to be sealed again, and its
    /// writer may have no epoch keys to open it.
    pub key: Option<String>,
    /// The undelivered operation that this one replaces.
    pub replaces: Option<OperationId>,
}

/// The owners of an operation's accounts when it was signed. The account index alone is not enough: when L1
/// reorganises, it can get another owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parties {
    /// The owner of the signer's account.
    pub signer: Address,
    /// The owner of the patient's account.
    pub patient: Address,
}

/// A new entry of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// The operation's name.
    pub operation: OperationId,
    /// The owners of its accounts.
    pub parties: Parties,
    /// What is sent to the node.
    pub submission: Submission,
    /// As in [`Draft`].
    pub intent: Option<String>,
    /// The blocks.
    pub blocks: Vec<(Cid, Vec<u8>)>,
    /// As in [`Draft`].
    pub journals: Vec<String>,
    /// As in [`Draft`].
    pub key: Option<String>,
    /// As in [`Draft`].
    pub replaces: Option<OperationId>,
}

impl NewEntry {
    /// An operation without blocks.
    pub const fn plain(operation: OperationId, parties: Parties, submission: Submission) -> Self {
        Self {
            operation,
            parties,
            submission,
            intent: None,
            blocks: Vec::new(),
            journals: Vec::new(),
            key: None,
            replaces: None,
        }
    }
}

/// Why an operation is undelivered. JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// When this was noted.
    pub time: UnixTime,
    /// The reason, as it is shown to the writer.
    pub reason: String,
}

/// An operation in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    folder: PathBuf,
    draft: Draft,
    receipt: Option<Receipt>,
    refusal: Option<Refusal>,
}

impl Entry {
    /// The operation with all that is kept of it.
    pub const fn draft(&self) -> &Draft {
        &self.draft
    }

    /// The node's receipt, once it has acknowledged the operation.
    pub const fn receipt(&self) -> Option<&Receipt> {
        self.receipt.as_ref()
    }

    /// The operation's kind.
    pub const fn kind(&self) -> Kind {
        self.draft.submission.signed.operation.action.kind()
    }

    /// Why the operation is undelivered, if it is.
    pub const fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    /// Whether its time is over, so that it can no longer take effect.
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

/// The operations that wait and those that are undelivered, in the order in which they were signed.
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
    /// Opens a folder and removes what a crash left half-written.
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
        if !folders.is_empty() {
            // A process that was killed may have renamed a folder without a sync. After a power cut an entry that it added, and that is used from
            // now on, could be gone. An entry that it removed could come back, without the files that are removed now.
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

    /// The undelivered operations, oldest first.
    pub fn refused(&self) -> Vec<Entry> {
        self.content().refused.clone()
    }

    /// The journals that operations name, waiting or undelivered.
    pub(crate) fn journals(&self) -> BTreeSet<String> {
        let content = self.content();
        content.entries.iter().chain(&content.refused).flat_map(|entry| entry.draft.journals.iter().cloned()).collect()
    }

    /// The entry for a request that was made before, unless it has lapsed.
    pub fn find(&self, intent: &str, now: UnixTime) -> Option<Entry> {
        let is_it = |entry: &&Entry| entry.draft.intent.as_deref() == Some(intent) && !entry.has_lapsed(now);
        self.content().entries.iter().find(is_it).cloned()
    }

    /// Keeps an operation and its blocks, then removes the one that it replaces. All is durable when this returns.
    ///
    /// # Errors
    /// [`FileError`] if a file cannot be read or written.
    pub fn add(&self, new: NewEntry) -> Result<Entry, FileError> {
        let mut content = self.content();
        let failed = |error| FileError::io(&self.folder, error);
        let NewEntry { operation, parties, submission, intent, blocks, journals, key, replaces } = new;
        let draft = Draft {
            operation,
            parties,
            submission,
            intent,
            blocks: blocks.iter().map(|(cid, _)| cid.to_string()).collect(),
            journals,
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
        // The folder has its final name now, so dropping `temporary` must not remove it.
        let _ = temporary.keep();
        self.disk.sync_folder(&self.folder).map_err(failed)?;
        content.next += 1;
        let entry = Entry { folder, draft, receipt: None, refusal: None };
        content.entries.push(entry.clone());
        self.remove_replaced(&mut content)?;
        Ok(entry)
    }

    /// Removes undelivered operations that have a durable replacement. A crash can leave such an operation behind.
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

    /// Marks an operation as undelivered, and keeps it with its blocks.
    ///
    /// # Errors
    /// [`FileError`] if a file cannot be read or written.
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

    /// Keeps the node's receipt.
    ///
    /// # Errors
    /// [`FileError`] if a file cannot be read or written.
    pub fn acknowledge(&self, operation: OperationId, receipt: &Receipt) -> Result<(), FileError> {
        let mut content = self.content();
        let Some(entry) = content.entries.iter_mut().find(|entry| entry.draft.operation == operation) else {
            return Ok(());
        };
        durable::replace_json(&self.disk, &entry.folder.join("receipt.json"), receipt)?;
        entry.receipt = Some(receipt.clone());
        Ok(())
    }

    /// Removes an undelivered operation and its blocks. Returns whether there was one.
    ///
    /// # Errors
    /// [`FileError`] if a file cannot be read or written.
    pub fn discard(&self, operation: OperationId) -> Result<bool, FileError> {
        let mut content = self.content();
        let kept = content.refused.iter().any(|entry| entry.draft.operation == operation);
        if kept {
            self.remove_from(&mut content, operation)?;
        }
        Ok(kept)
    }

    /// Removes an operation and keeps only its receipt: the operation is settled, or is not needed any more.
    ///
    /// # Errors
    /// [`FileError`] if a file cannot be read or written.
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
        // The folder is first renamed, durably. After a crash the next start removes what is left of it. Without the
        // sync, a power cut could bring back the old name when files in the folder are gone already, and the entry
        // would be damaged.
        let doomed = self.folder.join(format!("{TEMPORARY}{name}"));
        self.disk.rename(folder, &doomed).map_err(|error| FileError::io(folder, error))?;
        content.entries.retain(|entry| !is_it(entry));
        content.refused.retain(|entry| !is_it(entry));
        self.disk.sync_folder(&self.folder).map_err(|error| FileError::io(&self.folder, error))?;
        self.disk.remove_folder_all(&doomed).map_err(|error| FileError::io(&doomed, error))
    }
}
