//! Simulates power cuts after every step of a store.
//!
//! A test gives a store the [`Disk`] of a [`Journal`], runs a history, and calls [`Journal::check`]. The journal
//! replays the steps. So the history runs only once for any number of crashes, and the test can leave a sync out
//! without changing the store.

mod model;
mod promises;
mod random;

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fmt, fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tempfile::TempDir;

use crate::{Disk, Step, Watch};
use model::{Change, Model};
pub use promises::Promises;

/// While a store makes many folders one after another, crashes are tried only about once per this many folders.
const FOLDERS: usize = 32;

/// Which of the unsynced steps survive a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    /// None of them.
    Nothing,
    /// All of them, as after `kill -9`.
    Everything,
    /// Some of them, and some only in part. The number is a seed.
    Some(u64),
}

/// Leaves no sync out.
pub const fn no_sync(_: &Sync) -> bool {
    false
}

/// Nothing, everything, and four random choices in between.
pub const ALL: [Survivors; 6] = [
    Survivors::Nothing,
    Survivors::Everything,
    Survivors::Some(1),
    Survivors::Some(2),
    Survivors::Some(3),
    Survivors::Some(4),
];

/// A sync that a store does. It is named by the operation, the file or folder, and its number within the operation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sync {
    operation: &'static str,
    folder: bool,
    place: String,
    time: usize,
}

impl Sync {
    /// The name of the operation.
    pub const fn operation(&self) -> &'static str {
        self.operation
    }

    /// The file or folder: a path in the journal's folder, with `*` for names that differ from run to run.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Whether it syncs a folder's names, not a file's bytes.
    pub const fn is_of_folder(&self) -> bool {
        self.folder
    }
}

impl fmt::Display for Sync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.folder { "folder" } else { "file" };
        write!(f, "{}: {kind} {}", self.operation, self.place)?;
        if self.time > 1 { write!(f, " #{}", self.time) } else { Ok(()) }
    }
}

/// A crash after which a check failed.
#[derive(Debug, thiserror::Error)]
#[error("crash after step {steps} (in {operation:?}), survivors {survivors:?}: {reason}")]
pub struct Harm {
    steps: usize,
    operation: &'static str,
    survivors: Survivors,
    reason: String,
}

#[derive(Clone, Debug)]
struct Entry {
    operation: &'static str,
    change: Change,
    sync: Option<Sync>,
}

/// A path with `*` for names that differ from run to run: names with a digit, of two letters, or with a leading dot.
fn place(path: &OsString) -> String {
    let name = |part: std::path::Component<'_>| {
        let part = part.as_os_str().to_string_lossy().into_owned();
        let changes = part.starts_with('.') || part.len() == 2 || part.contains(|letter: char| letter.is_ascii_digit());
        if changes { "*".to_owned() } else { part }
    };
    let parts: Vec<_> = Path::new(path).components().map(name).collect();
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

#[derive(Debug)]
struct Steps {
    entries: Vec<Entry>,
    operation: &'static str,
    /// The first step of the operation.
    begun: usize,
    /// Do not try crashes before this step.
    first: usize,
}

impl Steps {
    fn push(&mut self, change: Change) {
        let synced = match &change {
            Change::FileSynced(path) => Some((false, place(path))),
            Change::FolderSynced(path) => Some((true, place(path))),
            _ => None,
        };
        let operation = self.operation;
        let sync = synced.map(|(folder, place)| {
            let same = |sync: &&Sync| sync.folder == folder && sync.place == place;
            let before = self.entries[self.begun..].iter().filter_map(|entry| entry.sync.as_ref()).filter(same).count();
            Sync { operation, folder, place, time: before + 1 }
        });
        self.entries.push(Entry { operation, change, sync });
    }
}

/// Records every step that is done in a folder.
#[derive(Debug)]
pub struct Journal {
    root: PathBuf,
    steps: Mutex<Steps>,
    /// Deletes the folder when the journal is dropped.
    _folder: TempDir,
}

impl Journal {
    /// Starts a journal of a new temporary folder.
    ///
    /// # Errors
    /// Returns I/O errors of making the folder.
    pub fn new() -> io::Result<Arc<Self>> {
        Self::with(Vec::new(), scratch()?)
    }

    fn with(entries: Vec<Entry>, folder: TempDir) -> io::Result<Arc<Self>> {
        let root = folder.path().to_owned();
        let steps = Steps { begun: entries.len(), entries, operation: "start", first: 0 };
        Ok(Arc::new(Self { root, steps: Mutex::new(steps), _folder: folder }))
    }

    /// Simulates `kill -9` after `steps` steps. Returns the journal for the next process, with the files as they were
    /// then. A later power cut can still destroy what the killed process did not sync.
    ///
    /// # Errors
    /// Returns I/O errors of making the files.
    pub fn killed_after(&self, steps: usize) -> io::Result<Arc<Self>> {
        let entries = self.lock().entries[..steps].to_vec();
        let folder = scratch()?;
        replay(&entries).crash(Survivors::Everything, folder.path())?;
        Self::with(entries, folder)
    }

    fn lock(&self) -> MutexGuard<'_, Steps> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder that the journal records.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The disk to give to the store under test.
    pub fn disk(self: &Arc<Self>) -> Disk {
        let watch: Arc<dyn Watch> = Arc::<Self>::clone(self);
        Disk::watched(watch)
    }

    /// Begins an operation: the following steps belong to it.
    pub fn begin(&self, operation: &'static str) {
        let mut steps = self.lock();
        steps.operation = operation;
        steps.begun = steps.entries.len();
    }

    /// Tries no crash before the current step. Use this if another test covers the steps until now.
    pub fn skip(&self) {
        let mut steps = self.lock();
        steps.first = steps.entries.len();
    }

    /// The number of steps so far. What is acknowledged now must survive a crash after this number of steps or more.
    pub fn steps(&self) -> usize {
        self.lock().entries.len()
    }

    /// All syncs so far, each once.
    pub fn syncs(&self) -> BTreeSet<Sync> {
        self.lock().entries.iter().filter_map(|entry| entry.sync.clone()).collect()
    }

    /// Simulates a crash after every step, in each of the ways. Calls `check` with the number of steps and a folder
    /// with the files that survived. Leaves out the syncs for which `without` is true; then it tries only crashes after
    /// the first of them.
    ///
    /// # Errors
    /// Returns [`Harm`] for the first crash after which `check` failed.
    pub fn check<E: fmt::Display>(
        &self,
        ways: &[Survivors],
        without: impl Fn(&Sync) -> bool,
        mut check: impl FnMut(usize, &Path) -> Result<(), E>,
    ) -> Result<(), Harm> {
        let (entries, begin) = {
            let steps = self.lock();
            (steps.entries.clone(), steps.first)
        };
        let is_left_out = |entry: &Entry| entry.sync.as_ref().is_some_and(&without);
        let first = entries.iter().position(is_left_out).map_or(begin, |place| begin.max(place + 1));
        let mut model = Model::new();
        let mut row = 0;
        for steps in 0..=entries.len() {
            let last = steps.checked_sub(1).map(|last| &entries[last]);
            if let Some(entry) = last.filter(|entry| !is_left_out(entry)) {
                model.apply(&entry.change);
            }
            row = if matches!(last, Some(Entry { change: Change::FolderCreated(_), .. })) { row + 1 } else { 0 };
            if steps < first || row % FOLDERS > 1 {
                continue;
            }
            for &survivors in ways {
                let harm = |reason: String| {
                    let operation = last.map_or("nothing", |entry| entry.operation);
                    Harm { steps, operation, survivors, reason }
                };
                let image = scratch().map_err(|error| harm(error.to_string()))?;
                model.crash(survivors, image.path()).map_err(|error| harm(error.to_string()))?;
                // Damaged files may make a store panic.
                let checked = catch_unwind(AssertUnwindSafe(|| check(steps, image.path())));
                checked.map_err(|_| harm("panic".to_owned()))?.map_err(|error| harm(error.to_string()))?;
            }
        }
        Ok(())
    }

    /// Leaves out each sync in turn. Returns the syncs that are not needed: without them, the check succeeds after
    /// every crash.
    pub fn unneeded_syncs<E: fmt::Display>(
        &self,
        ways: &[Survivors],
        mut check: impl FnMut(usize, &Path) -> Result<(), E>,
    ) -> Vec<String> {
        let syncs = self.syncs();
        syncs
            .iter()
            .filter(|sync| self.check(ways, |it| it == *sync, &mut check).is_ok())
            .map(Sync::to_string)
            .collect()
    }
}

impl Watch for Journal {
    fn done(&self, step: Step<'_>) {
        let inside = |path: &Path| path.strip_prefix(&self.root).ok().map(|path| path.as_os_str().to_owned());
        let number = |number: u64| usize::try_from(number).expect("a test's files are small");
        let change = match step {
            Step::FileCreated(path) => inside(path).map(Change::FileCreated),
            Step::Written { path, offset, bytes } => {
                inside(path).map(|path| Change::Written { path, offset: number(offset), bytes: bytes.to_vec() })
            }
            Step::Resized { path, length } => inside(path).map(|path| Change::Resized { path, length: number(length) }),
            Step::FileSynced(path) => inside(path).map(Change::FileSynced),
            Step::FolderCreated(path) => inside(path).map(Change::FolderCreated),
            Step::FolderSynced(path) => inside(path).map(Change::FolderSynced),
            Step::Renamed { from, to } => inside(from).zip(inside(to)).map(|(from, to)| Change::Renamed { from, to }),
            Step::Removed(path) => inside(path).map(Change::Removed),
        };
        // Folders above the root are durable, and are not part of the test.
        if let Some(change) = change {
            self.lock().push(change);
        }
    }
}

fn replay(entries: &[Entry]) -> Model {
    let mut model = Model::new();
    for entry in entries {
        model.apply(&entry.change);
    }
    model
}

/// Makes a temporary folder, in memory if possible: the tests make thousands of images.
fn scratch() -> io::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
    // The journal compares paths with those that stores report, so the path must be canonical.
    if fs::canonicalize(folder.path())? == folder.path() { Ok(folder) } else { tempfile::tempdir() }
}

#[cfg(test)]
mod tests;
