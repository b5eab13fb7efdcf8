//! The files of the snapshots, and when a new one is written.

use std::{
    fs::{self, File},
    io::{self, BufReader},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use emr_durable::{Disk, FreeSpace};
use emr_rollup::version::CircuitSizes;

use super::{Header, RollupId, Snapshot, Unusable, file, spacing};

/// The folder in the node's folder.
const FOLDER: &str = "snapshots";
/// What the names end with, after the number of batches.
const EXTENSION: &str = "snapshot";
/// After how many batches a snapshot is written at the latest: 32 full batches are executed again in about 15 s.
const BATCHES: u64 = 32;
/// How long after a batch a snapshot is written at the latest.
const AT_MOST: Duration = Duration::from_secs(3600);
/// How much space a snapshot leaves free for everything else, bytes.
const LEFT_FREE: u64 = 256 << 20;
/// How much is read at once.
const BUFFER: usize = 1 << 18;

/// The snapshots of one rollup. Nobody else may use the folder.
#[derive(Debug)]
pub(crate) struct Snapshots {
    disk: Disk,
    folder: PathBuf,
    rollup: RollupId,
    schedule: Mutex<Schedule>,
}

#[derive(Debug)]
struct Schedule {
    /// The batches of the last snapshot.
    batches: u64,
    since: Instant,
    is_writing: bool,
}

/// A file of the folder. Its name says how many batches it holds.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) batches: u64,
    pub(crate) header: Result<Header, Unusable>,
    path: PathBuf,
}

impl Snapshots {
    /// The snapshots in a node's folder. Removes what an earlier process left unfinished.
    pub(crate) fn open(disk: Disk, node: &Path, rollup: RollupId) -> Self {
        let folder = node.join(FOLDER);
        // They are removed next time if this fails.
        let _ = disk.remove_unfinished_files(&folder);
        let schedule = Schedule { batches: 0, since: Instant::now(), is_writing: false };
        Self { disk, folder, rollup, schedule: Mutex::new(schedule) }
    }

    /// Those of the rollup that the tests of this crate use.
    #[cfg(test)]
    pub(crate) fn in_test(node: &Path) -> Self {
        let contract = alloy::primitives::Address::repeat_byte(7);
        let rollup = RollupId { chain_id: 31337, contract, deployed_at: 0, block_hash: Default::default() };
        Self::open(Disk::default(), node, rollup)
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, batches: u64) -> PathBuf {
        self.folder.join(format!("{batches}.{EXTENSION}"))
    }

    /// The files, the most batches first. Reads only their beginnings.
    pub(crate) fn newest_first(&self) -> io::Result<Vec<Kept>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut kept = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            let Some(batches) = number.filter(|_| path.extension().is_some_and(|found| found == EXTENSION)) else {
                continue;
            };
            let opened = File::open(&path).map_err(Unusable::from);
            let header = opened.and_then(|file| Header::read(&mut BufReader::new(file)));
            let header = header.and_then(|header| match header {
                header if header.rollup != self.rollup => Err(Unusable::OtherRollup),
                header if header.batches != batches => Err(Unusable::Damaged("it has the name of another one")),
                header => Ok(header),
            });
            kept.push(Kept { batches, header, path });
        }
        kept.sort_by_key(|kept| std::cmp::Reverse(kept.batches));
        Ok(kept)
    }

    /// Reads a snapshot and checks it. Takes about as long as its leaves need to be hashed.
    pub(crate) fn load(&self, header: &Header, sizes: &Arc<CircuitSizes>) -> Result<Snapshot, Unusable> {
        let file = File::open(self.path(header.batches)).map_err(Unusable::from)?;
        file::read(self.rollup, sizes, BufReader::with_capacity(BUFFER, file))
    }

    /// The state was derived from the snapshot with so many batches; 0 if from the beginning. Removes those with more: they were not usable, or L1
    /// took their batches back.
    pub(crate) fn derived_from(&self, batches: u64) {
        {
            let mut schedule = self.schedule();
            (schedule.batches, schedule.since) = (batches, Instant::now());
        }
        let kept = self.newest_first().unwrap_or_default();
        for newer in kept.into_iter().filter(|kept| kept.batches > batches) {
            self.remove(&newer);
        }
    }

    fn remove(&self, kept: &Kept) {
        // A file that stays is looked at again. It need not be durable that it is gone.
        if let Err(error) = self.disk.remove_file(&kept.path) {
            tracing::debug!(%error, batches = kept.batches, "a snapshot could not be removed");
        }
    }

    /// Whether a snapshot of so many batches is to be written now. The caller then calls [`Self::write`], and nobody else does meanwhile. At an
    /// orderly stop, each new batch is worth one.
    pub(crate) fn is_due(&self, batches: u64, at_stop: bool) -> bool {
        let mut schedule = self.schedule();
        let news = batches.abs_diff(schedule.batches);
        let due = news > 0 && (at_stop || news >= BATCHES || schedule.since.elapsed() >= AT_MOST);
        let begins = due && !schedule.is_writing;
        schedule.is_writing |= begins;
        begins
    }

    /// Writes a snapshot, and removes those that are not kept any more. An error is logged: the next one is tried when it is due.
    pub(crate) fn write(&self, snapshot: &Snapshot) {
        let began = Instant::now();
        let batches = snapshot.settled.batches;
        match self.try_write(snapshot) {
            Ok(bytes) => {
                tracing::info!(batches, bytes, milliseconds = began.elapsed().as_millis(), "snapshot written");
            }
            Err(error) => tracing::warn!(batches, %error, "no snapshot was written; the next start takes longer"),
        }
        *self.schedule() = Schedule { batches, since: Instant::now(), is_writing: false };
    }

    fn try_write(&self, snapshot: &Snapshot) -> io::Result<u64> {
        self.disk.create_folder_all(&self.folder)?;
        let before = self.newest_first()?;
        let newest = before.first().map(|kept| fs::metadata(&kept.path).map(|metadata| metadata.len())).transpose()?;
        // The next one is hardly larger.
        if FreeSpace::of(&self.folder)?.bytes < 2 * newest.unwrap_or_default() + LEFT_FREE {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let batches = snapshot.settled.batches;
        let path = self.path(batches);
        self.disk.replace_in_parts(&path, |out| file::write(self.rollup, snapshot, out))?;
        // Those with more batches are of a chain that L1 took back.
        let (later, earlier): (Vec<_>, Vec<_>) =
            self.newest_first()?.into_iter().partition(|kept| kept.batches > batches || kept.header.is_err());
        let blocks: Vec<_> = earlier.iter().flat_map(|kept| &kept.header).map(|header| header.block.number).collect();
        let keep = spacing::kept(&blocks);
        let thinned = earlier.iter().enumerate().filter(|(place, _)| !keep.contains(place)).map(|(_, kept)| kept);
        later.iter().chain(thinned).for_each(|kept| self.remove(kept));
        fs::metadata(&path).map(|metadata| metadata.len())
    }
}
