//! Journals of uploads of attachments: what may have left this machine under a kept key.
//!
//! An attachment is sealed while it is sent, and its blocks are kept nowhere here. To go on after a crash, its file is sealed again with the same
//! key. That is safe only for the same content. So the hash of each sealed chunk is durable in the journal before the chunk is sent, and each chunk
//! that is sealed again is compared with it. If one differs, the file changed: the journal is removed, and a new key is taken.
//!
//! A journal has up to three files, named after the digest of the request: `ID.json` ([`Header`]), `ID.chunks` (the SHA-256 of each chunk, 32 bytes
//! each, durable), and `ID.stored` (the number of each chunk that the node has, 4 bytes big-endian each; if some are lost, these chunks are sent
//! again). A journal stays as long as an operation of the outbox names it, and otherwise for a day after its last change.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use emr_core::{Cid, Codec, cid::cid_of};
use emr_durable::Disk;
use serde::{Deserialize, Serialize};

use crate::profile::durable::{self, FileError};

/// The largest header that is read, in bytes. A path has at most 4096.
const MAX_HEADER_BYTES: u64 = 64 * 1024;
/// The largest list of hashes that is read, in bytes. A manifest has at most 16,384 links.
const MAX_CHUNKS_BYTES: u64 = 16_384 * HASH_BYTES as u64;
/// The same for the numbers of stored chunks. A number may occur more than once.
const MAX_STORED_BYTES: u64 = 16 << 20;
const HASH_BYTES: usize = 32;
/// How long a journal stays that no operation names. After that time, the node has removed the blocks.
const STAYS: Duration = Duration::from_secs(24 * 3600);

/// SHA-256 of a sealed chunk.
pub(crate) type ChunkHash = [u8; HASH_BYTES];

/// What is known of a file when its upload begins. JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    /// The file.
    pub(crate) path: PathBuf,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// When it was changed last, in nanoseconds since 1970, if the file system tells. A folder that was restored from a backup does not know what was
    /// sent after it. This notices a changed file there.
    pub(crate) modified: Option<u64>,
    /// The attachment's key, wrapped to its writer, in base64.
    pub(crate) key: String,
}

/// All journals of a data folder.
#[derive(Debug)]
pub(crate) struct Journals {
    disk: Disk,
    folder: PathBuf,
    /// Held while an attachment is sealed, so that two requests do not write one journal.
    pub(crate) turn: tokio::sync::Mutex<()>,
}

impl Journals {
    pub(crate) fn new(disk: Disk, folder: PathBuf) -> Self {
        Self { disk, folder, turn: tokio::sync::Mutex::new(()) }
    }

    /// Reads the journal of a request, if there is one. What it names is durable then: a process that was killed may have written it without a sync, and
    /// its chunks are sent now.
    pub(crate) fn find(&self, id: &str) -> Result<Option<Journal>, FileError> {
        let place = Place { folder: self.folder.clone(), id: id.to_owned() };
        let Some(header) = durable::read_json(&place.header(), MAX_HEADER_BYTES)? else { return Ok(None) };
        let chunks = durable::read(&place.chunks(), MAX_CHUNKS_BYTES)?.unwrap_or_default();
        // A part of a hash at the end was not durable, so its chunk was not sent.
        let (chunks, _) = chunks.as_chunks::<HASH_BYTES>();
        if !chunks.is_empty() {
            let (path, length) = (place.chunks(), chunks.as_flattened().len() as u64);
            self.disk.append(&path, length, b"").map_err(|error| FileError::io(&path, error))?;
        }
        self.disk.sync_folder(&self.folder).map_err(|error| FileError::io(&self.folder, error))?;
        let stored = durable::read(&place.stored(), MAX_STORED_BYTES)?.unwrap_or_default();
        let (stored, _) = stored.as_chunks::<4>();
        let hashes = Hashes { disk: self.disk.clone(), place, known: chunks.to_vec() };
        // A chunk is sent when its hash is known. Another number is damage.
        let numbers = stored.iter().map(|number| u32::from_be_bytes(*number));
        let stored = numbers.filter(|number| hashes.get(*number).is_some()).collect();
        Ok(Some(Journal { header, hashes, stored }))
    }

    /// Begins a journal. Nothing may be left of an earlier one with this id.
    pub(crate) fn begin(&self, id: &str, header: &Header) -> Result<(), FileError> {
        let failed = |error| FileError::io(&self.folder, error);
        self.disk.add_folder(&self.folder).map_err(failed)?;
        self.remove(id)?;
        durable::replace_json(&self.disk, &Place { folder: self.folder.clone(), id: id.to_owned() }.header(), header)
    }

    /// Removes a journal, the header with the key first and durably: its key must not come back without the hashes.
    pub(crate) fn remove(&self, id: &str) -> Result<(), FileError> {
        let place = Place { folder: self.folder.clone(), id: id.to_owned() };
        let remove = |path: PathBuf| match self.disk.remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|error| FileError::io(&path, error)),
        };
        remove(place.header())?;
        self.disk.sync_folder(&self.folder).map_err(|error| FileError::io(&self.folder, error))?;
        remove(place.chunks())?;
        remove(place.stored())
    }

    /// Forgets which chunks the node has: it was told that they are not needed.
    pub(crate) fn forget_stored(&self, id: &str) -> Result<(), FileError> {
        let path = Place { folder: self.folder.clone(), id: id.to_owned() }.stored();
        match self.disk.remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|error| FileError::io(&path, error)),
        }
    }

    /// The names of all journals.
    pub(crate) fn ids(&self) -> Result<BTreeSet<String>, FileError> {
        let failed = |error| FileError::io(&self.folder, error);
        let names = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            other => other.map_err(failed)?,
        };
        names.map(|name| name.map(|name| id_of(&name.file_name())).map_err(failed)).collect()
    }

    /// Removes the journals that no operation names and that were not used for a day, and what a crash left of others.
    pub(crate) fn sweep(&self, named: &BTreeSet<String>, now: SystemTime) -> Result<(), FileError> {
        let failed = |error| FileError::io(&self.folder, error);
        let names = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(failed)?,
        };
        let (mut ids, mut recent) = (BTreeSet::new(), BTreeSet::new());
        for name in names {
            let name = name.map_err(failed)?;
            let id = id_of(&name.file_name());
            let changed = name.metadata().and_then(|data| data.modified()).map_err(failed)?;
            // A time in the future is a wrong clock's.
            if now.duration_since(changed).is_ok_and(|age| age < STAYS) {
                recent.insert(id.clone());
            }
            ids.insert(id);
        }
        self.disk.remove_unfinished_files(&self.folder).map_err(failed)?;
        ids.iter().filter(|id| !named.contains(*id) && !recent.contains(*id)).try_for_each(|id| self.remove(id))
    }
}

/// The journal to which a file belongs.
fn id_of(name: &OsStr) -> String {
    name.to_string_lossy().split('.').next().unwrap_or_default().to_owned()
}

/// The files of a journal.
#[derive(Clone, Debug)]
struct Place {
    folder: PathBuf,
    id: String,
}

impl Place {
    fn file(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", self.id))
    }

    fn header(&self) -> PathBuf {
        self.file("json")
    }

    fn chunks(&self) -> PathBuf {
        self.file("chunks")
    }

    fn stored(&self) -> PathBuf {
        self.file("stored")
    }
}

/// The journal of one attachment.
#[derive(Debug)]
pub(crate) struct Journal {
    /// What is known of the file.
    pub(crate) header: Header,
    /// The chunks that may have left this machine.
    pub(crate) hashes: Hashes,
    /// The numbers of the chunks that the node has acknowledged.
    pub(crate) stored: BTreeSet<u32>,
}

impl Journal {
    /// The list to which acknowledged chunks are added. A torn end is cut off: it would shift all numbers after it.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be opened or cut.
    pub(crate) fn acknowledging(&self) -> Result<Stored, FileError> {
        let path = self.hashes.place.stored();
        let open = || -> io::Result<File> {
            let file = File::options().create(true).append(true).open(&path)?;
            let length = file.metadata()?.len();
            let whole = length - length % 4;
            if whole < length {
                file.set_len(whole)?;
            }
            Ok(file)
        };
        let file = open().map_err(|error| FileError::io(&path, error))?;
        Ok(Stored { path, file })
    }
}

/// The hashes of the chunks that may have left this machine, in order.
#[derive(Debug)]
pub(crate) struct Hashes {
    disk: Disk,
    place: Place,
    known: Vec<ChunkHash>,
}

impl Hashes {
    /// The hash of a chunk that was sealed before.
    pub(crate) fn get(&self, number: u32) -> Option<&ChunkHash> {
        self.known.get(usize::try_from(number).ok()?)
    }

    /// The CIDs of the chunks.
    pub(crate) fn cids(&self) -> impl Iterator<Item = Cid> {
        let head = cid_of(Codec::Raw, b"").to_bytes();
        let head = head[..head.len() - HASH_BYTES].to_vec();
        self.known.iter().filter_map(move |hash| Cid::try_from([&head[..], hash].concat()).ok())
    }

    /// How many chunks were sealed before.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Adds the hashes of the next chunks. They are durable when this returns, and only then may the chunks be sent.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be written. The chunks must not be sent then.
    pub(crate) fn append(&mut self, hashes: &[ChunkHash]) -> Result<(), FileError> {
        if hashes.is_empty() {
            return Ok(());
        }
        let path = self.place.chunks();
        let length = (self.known.len() * HASH_BYTES) as u64;
        self.disk.append(&path, length, hashes.as_flattened()).map_err(|error| FileError::io(&path, error))?;
        self.known.extend_from_slice(hashes);
        Ok(())
    }
}

/// The numbers of the chunks that the node has. Not synced: a chunk whose number is lost is sent again.
#[derive(Debug)]
pub(crate) struct Stored {
    path: PathBuf,
    file: File,
}

impl Stored {
    /// Notes that the node has a chunk.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be written.
    pub(crate) fn note(&mut self, number: u32) -> Result<(), FileError> {
        self.file.write_all(&number.to_be_bytes()).map_err(|error| FileError::io(&self.path, error))
    }
}

/// When a file was changed last, for [`Header::modified`].
pub(crate) fn modified(data: &fs::Metadata) -> Option<u64> {
    let since = data.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok()
}

/// The absolute path of a file, so that it is found again from another folder.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, io::Error> {
    fs::canonicalize(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn header() -> Header {
        Header { path: "/scan.dcm".into(), size: 3, modified: Some(7), key: "a2V5".to_owned() }
    }

    #[test]
    fn a_journal_is_there_again_and_a_torn_end_counts_for_nothing() -> TestResult {
        let folder = tempfile::tempdir()?;
        let journals = Journals::new(Disk::default(), folder.path().join("uploads"));
        assert!(journals.find("a1")?.is_none());
        journals.begin("a1", &header())?;
        let mut journal = journals.find("a1")?.ok_or("begun")?;
        assert_eq!((journal.hashes.len(), &journal.header), (0, &header()));
        assert_eq!(journals.ids()?, BTreeSet::from(["a1".to_owned()]));
        journal.hashes.append(&[[1; 32], [2; 32]])?;
        let mut stored = journal.acknowledging()?;
        stored.note(1)?;
        stored.note(0)?;
        // A crash in the middle of the next write.
        let chunks = folder.path().join("uploads/a1.chunks");
        fs::write(&chunks, [&[1; 32][..], &[2; 32], &[3; 31]].concat())?;
        fs::write(folder.path().join("uploads/a1.stored"), [0, 0, 0, 1, 0, 1])?;
        let mut journal = journals.find("a1")?.ok_or("begun")?;
        assert_eq!(journal.hashes.known, [[1; 32], [2; 32]]);
        assert_eq!(journal.stored, BTreeSet::from([1]));
        // The next numbers are not shifted by it. The number of a chunk that was never sent is damage.
        let mut stored = journal.acknowledging()?;
        stored.note(0)?;
        assert_eq!(journals.find("a1")?.ok_or("begun")?.stored, BTreeSet::from([0, 1]));
        stored.note(256)?;
        assert_eq!(journals.find("a1")?.ok_or("begun")?.stored, BTreeSet::from([0, 1]));
        journal.hashes.append(&[[4; 32]])?;
        assert_eq!(fs::read(&chunks)?, [[1; 32], [2; 32], [4; 32]].concat());
        let cids: Vec<Cid> = journal.hashes.cids().collect();
        assert_eq!(cids.iter().map(|cid| cid.hash().digest()).collect::<Vec<_>>(), [[1; 32], [2; 32], [4; 32]]);
        assert!(cids.iter().all(|cid| emr_core::cid::codec_of(cid) == Ok(Codec::Raw)));
        // What the node has is forgotten, and what was sealed is not.
        journals.forget_stored("a1")?;
        journals.forget_stored("a1")?;
        let journal = journals.find("a1")?.ok_or("begun")?;
        assert_eq!((journal.hashes.len(), journal.stored.len()), (3, 0));
        // A new key knows nothing of what was sealed under the old one.
        journals.begin("a1", &header())?;
        let journal = journals.find("a1")?.ok_or("begun")?;
        assert!(journal.hashes.len() == 0 && journal.stored.is_empty());
        Ok(())
    }

    /// Writes down what was sent, and then the power is cut. Nothing that was sent under a key may be unknown while that key is still there.
    #[test]
    fn a_key_never_outlives_what_was_sent_under_it() -> TestResult {
        use emr_durable::crash::{ALL, Journal as Crash, no_sync};

        let crash = Crash::new()?;
        let journals = Journals::new(crash.disk(), crash.root().join("uploads"));
        let with_key = |key: &str| Header { key: key.to_owned(), ..header() };
        // The number of steps after which so many chunks of this key may have been sent.
        let mut sent: Vec<(usize, &str, u8)> = Vec::new();
        for (number, (key, begin, append)) in
            [("one", "begin", "append"), ("two", "begin again", "append again")].into_iter().enumerate()
        {
            crash.begin(begin);
            journals.begin("a1", &with_key(key))?;
            sent.push((crash.steps(), key, 0));
            let mut journal = journals.find("a1")?.ok_or("begun")?;
            for count in 1..=3 {
                crash.begin(append);
                journal.hashes.append(&[[10 * number as u8 + count; 32]])?;
                sent.push((crash.steps(), key, count));
            }
        }
        crash.begin("remove");
        journals.remove("a1")?;
        let removed = crash.steps();
        let check = |steps: usize, image: &Path| {
            let found =
                Journals::new(Disk::default(), image.join("uploads")).find("a1").map_err(|error| error.to_string())?;
            let last = sent.iter().rfind(|(returned, ..)| *returned <= steps);
            let Some(found) = found else {
                // The key is gone, so nothing more is sealed with it. But a journal that was begun is there until it is removed.
                let next = sent.iter().find(|(returned, ..)| *returned > steps);
                let is_between = next.is_none() || next.is_some_and(|(.., count)| *count == 0);
                return if last.is_none() || is_between {
                    Ok(())
                } else {
                    Err("the upload begins from nothing".to_owned())
                };
            };
            if steps >= removed {
                return Err("a removed key is back".to_owned());
            }
            let of_key = sent.iter().filter(|(returned, key, _)| *key == found.header.key && *returned <= steps);
            let count = of_key.map(|(.., count)| *count).max().unwrap_or_default();
            let tens = if found.header.key == "one" { 0 } else { 10 };
            let known = (1..=count).all(|chunk| found.hashes.get(u32::from(chunk) - 1) == Some(&[tens + chunk; 32]));
            if known { Ok(()) } else { Err(format!("{count} chunks were sent under key {}", found.header.key)) }
        };
        crash.check(&ALL, no_sync, check)?;
        let syncs: Vec<_> = crash.syncs().iter().map(ToString::to_string).collect();
        let unneeded = crash.unneeded_syncs(&ALL, check);
        for needed in ["append: file uploads/*", "append: folder uploads", "remove: folder uploads"] {
            assert!(syncs.iter().any(|sync| sync == needed), "{needed}: {syncs:?}");
            assert!(!unneeded.iter().any(|sync| sync == needed), "{needed} is not needed: {unneeded:?}");
        }
        Ok(())
    }

    #[test]
    fn a_sweep_leaves_what_is_named_or_recent() -> TestResult {
        let folder = tempfile::tempdir()?;
        let journals = Journals::new(Disk::default(), folder.path().join("uploads"));
        journals.sweep(&BTreeSet::new(), SystemTime::now())?;
        for id in ["a1", "b2"] {
            journals.begin(id, &header())?;
            journals.find(id)?.ok_or("begun")?.hashes.append(&[[1; 32]])?;
        }
        let (named, now) = (BTreeSet::from(["b2".to_owned()]), SystemTime::now());
        journals.sweep(&named, now)?;
        assert!(journals.find("a1")?.is_some());
        journals.sweep(&named, now + 2 * STAYS)?;
        assert!(journals.find("a1")?.is_none() && journals.find("b2")?.is_some());
        assert_eq!(fs::read_dir(folder.path().join("uploads"))?.count(), 2, "b2.json and b2.chunks");
        Ok(())
    }
}
