//! What is handed on to be sent, when a file is sealed again with a kept key.

use std::{collections::BTreeMap, fs, time::SystemTime};

use emr_durable::Disk;

use super::*;
use crate::profile::journal::Journals;

/// The bytes of chunks by number; `None` for those that the node has.
type Taken = BTreeMap<u32, Option<Vec<u8>>>;
type TestResult<T = ()> = Result<T, Box<dyn std::error::Error>>;

const ID: &str = "a1";
const CHUNKS: usize = 40;

/// A file, the journals of a profile, and a key.
struct Desk {
    folder: tempfile::TempDir,
    journals: Journals,
    key: ContentKey,
}

type Sealed = Result<(AttachmentKey, Vec<u8>), SealFailure>;

impl Desk {
    fn new() -> TestResult<Self> {
        let folder = tempfile::tempdir()?;
        let journals = Journals::new(Disk::default(), folder.path().join("uploads"));
        let desk = Self { folder, journals, key: ContentKey::generate() };
        desk.write(&desk.content())?;
        desk.journals.begin(ID, &header(&desk.path())?)?;
        Ok(desk)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("scan.dcm")
    }

    fn content(&self) -> Vec<u8> {
        (0..CHUNKS * CHUNK_BYTES - 7).map(|byte| (byte % 251) as u8).collect()
    }

    /// Writes the file so that its time of change is always the same: the worst case.
    fn write(&self, bytes: &[u8]) -> TestResult {
        fs::write(self.path(), bytes)?;
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        Ok(File::options().write(true).open(self.path())?.set_modified(time)?)
    }

    /// Seals the file and takes at most this many chunks. Returns their bytes by number.
    fn seal(&self, most: usize) -> TestResult<(Sealed, Taken)> {
        let journal = self.journals.find(ID)?.ok_or("begun")?;
        let Journal { hashes, stored, .. } = journal;
        let (header, key) = (header(&self.path())?, self.key.clone());
        let (sender, mut chunks) = mpsc::channel(1);
        let sealing = std::thread::spawn(move || seal_file(&header, key, hashes, &stored, &sender));
        let mut taken = BTreeMap::new();
        while taken.len() < most
            && let Some(Chunk { number, bytes }) = chunks.blocking_recv()
        {
            taken.insert(number, bytes);
        }
        drop(chunks);
        Ok((sealing.join().map_err(|_| "it panicked")?, taken))
    }

    fn acknowledge(&self, numbers: impl IntoIterator<Item = u32>) -> TestResult {
        let mut stored = self.journals.find(ID)?.ok_or("begun")?.acknowledging()?;
        Ok(numbers.into_iter().try_for_each(|number| stored.note(number))?)
    }

    fn known(&self) -> TestResult<usize> {
        Ok(self.journals.find(ID)?.ok_or("begun")?.hashes.len())
    }
}

#[test]
fn an_interrupted_upload_goes_on_and_gives_the_same_blocks() -> TestResult {
    let desk = Desk::new()?;
    let (stopped, first) = desk.seal(10)?;
    assert!(matches!(stopped, Err(SealFailure::Stopped)) && first.len() == 10);
    // Every chunk that was handed on is in the journal.
    assert!((10..=10 + 2 * NOTED_TOGETHER).contains(&desk.known()?), "{}", desk.known()?);
    desk.acknowledge([0, 1, 2, 3, 5])?;
    let (Ok((attachment, manifest)), second) = desk.seal(usize::MAX)? else { return Err("sealed".into()) };
    let sent: Vec<u32> = second.iter().filter(|(_, bytes)| bytes.is_some()).map(|(number, _)| *number).collect();
    assert_eq!(sent, [vec![4], (6..sent.last().ok_or("chunks")? + 1).collect()].concat());
    for (number, bytes) in &first {
        assert!(second[number].is_none() || second[number] == *bytes, "chunk {number} is another one");
    }
    // All of it opens to the file.
    let blocks: BTreeMap<_, _> = first
        .into_values()
        .chain(second.into_values())
        .flatten()
        .chain([manifest.clone()])
        .flat_map(|bytes| [Codec::Raw, Codec::DagCbor].map(|codec| (cid_of(codec, &bytes), bytes.clone())))
        .collect();
    let fetch = |cid: &Cid| blocks.get(cid).cloned().ok_or(io::Error::other("not sent"));
    let mut opened = Vec::new();
    attachment.open(fetch, &mut opened)?;
    assert!(opened == desk.content());
    // And a third time, with nothing left to send.
    desk.acknowledge(0..u32::try_from(desk.known()?)?)?;
    let (Ok(again), third) = desk.seal(usize::MAX)? else { return Err("sealed".into()) };
    assert_eq!(again, (attachment, manifest));
    assert!(third.values().all(Option::is_none));
    Ok(())
}

/// The file changed between two attempts, and its size and time say that it did not. Under the old key, no chunk is handed on that differs from the
/// one that was sent.
#[test]
fn no_two_contents_leave_under_one_key() -> TestResult {
    for (what, place) in
        [("the first chunk", 0), ("a chunk in the middle", 4 * CHUNK_BYTES), ("a sent one", 9 * CHUNK_BYTES)]
    {
        let desk = Desk::new()?;
        let (_, first) = desk.seal(10)?;
        let mut content = desk.content();
        content[place] ^= 1;
        desk.write(&content)?;
        let (changed, second) = desk.seal(usize::MAX)?;
        assert!(matches!(changed, Err(SealFailure::Changed)), "{what}");
        for (number, bytes) in second {
            assert_eq!(first.get(&number), Some(&bytes), "{what}: chunk {number}");
        }
    }
    Ok(())
}

/// The file is longer or shorter than before, by whole chunks too.
#[test]
fn a_file_of_another_length_is_another_file() -> TestResult {
    for length in [0, 1, 3 * CHUNK_BYTES, CHUNKS * CHUNK_BYTES - 8] {
        let desk = Desk::new()?;
        let (Ok(_), first) = desk.seal(usize::MAX)? else { return Err("sealed".into()) };
        desk.write(&desk.content()[..length])?;
        let (changed, second) = desk.seal(usize::MAX)?;
        assert!(matches!(changed, Err(SealFailure::Changed)), "{length}");
        assert!(second.iter().all(|(number, bytes)| first.get(number) == Some(bytes)), "{length}");
    }
    let desk = Desk::new()?;
    let (Ok(_), first) = desk.seal(usize::MAX)? else { return Err("sealed".into()) };
    desk.write(&[desk.content(), vec![0; 2 * CHUNK_BYTES]].concat())?;
    let (changed, second) = desk.seal(usize::MAX)?;
    assert!(matches!(changed, Err(SealFailure::Changed)));
    assert!(second.iter().all(|(number, bytes)| first.get(number) == Some(bytes)));
    Ok(())
}

#[test]
fn what_is_not_a_file_is_refused() -> TestResult {
    let folder = tempfile::tempdir()?;
    for path in [folder.path().to_owned(), folder.path().join("none"), "/dev/zero".into()] {
        let refused = header(&path).expect_err("no file");
        assert_eq!(refused.code(), "attachment-file", "{refused}");
    }
    Ok(())
}

/// A node takes 2 GiB of one account before a record refers to it. Padding and tags count.
#[test]
fn what_a_node_does_not_take_is_refused_before_it_is_sent() -> TestResult {
    const MIB: u64 = 1 << 20;
    check_room([])?;
    check_room([1952 * MIB])?;
    check_room([960 * MIB, 960 * MIB, 0])?;
    for too_large in [vec![1952 * MIB + 1], vec![3 << 30], vec![1024 * MIB, 1024 * MIB], vec![u64::MAX, u64::MAX]] {
        let refused = check_room(too_large.clone()).expect_err("too large");
        assert!(refused.to_string().contains("1968 MiB for one record"), "{too_large:?}: {refused}");
    }
    Ok(())
}
