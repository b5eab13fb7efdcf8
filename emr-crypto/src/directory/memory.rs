//! Tests that no keys stay in a process's memory after it opened a directory. A child process opens a directory and
//! drops the keys. This process knows the keys, and searches for them in all of the child's writable memory.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use emr_core::{AccountIndex, ClassMask};

use super::*;
use crate::{PatientDirectory, RsaSecret};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Environment variable that makes this process the child. Its value is the folder with the directory.
const FOLDER: &str = "EMR_TEST_MEMORY_FOLDER";
/// Environment variable that tells the child to keep the keys.
const KEEPS: &str = "EMR_TEST_MEMORY_KEEPS";
const READY: &str = "ready to be looked at";
const DOCTOR: &str = include_str!("../../tests/fixtures/doctor-3072.pem");
const PATIENT: &str = include_str!("../../tests/fixtures/patient-3072.pem");

/// The child: opens the directory, drops the keys or keeps them, and waits.
fn open_and_wait(folder: &Path) -> Outcome {
    let opened = open(folder)?;
    let kept = std::env::var_os(KEEPS).is_some().then_some(opened);
    overwrite_stack();
    println!("{READY}");
    std::io::stdin().read_line(&mut String::new())?;
    drop(black_box(kept));
    Ok(())
}

#[inline(never)]
fn open(folder: &Path) -> Outcome<EpochKeyring> {
    let doctor = RsaSecret::from_pem(DOCTOR)?;
    Ok(KeyDirectory::from_bytes(&fs::read(folder.join("directory"))?)?.open_for(&doctor)?)
}

/// Overwrites the stack. A program cannot reliably erase registers and the stack, but other values soon overwrite them.
/// The test does it at once.
#[inline(never)]
fn overwrite_stack() {
    black_box(&mut [0_u8; 1 << 19]);
}

struct Opener(Child);

impl Opener {
    fn start(folder: &Path, keeps: bool) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--exact", "directory::memory::keys_do_not_stay_in_memory", "--nocapture"]);
        command.env(FOLDER, folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        if keeps {
            command.env(KEEPS, "1");
        }
        let mut child = Self(command.spawn()?);
        let mut lines = BufReader::new(child.0.stdout.take().ok_or("no stdout")?).lines();
        // The test harness prints something first, perhaps on the same line.
        let ready = lines.any(|line| line.is_ok_and(|line| line.contains(READY)));
        if ready { Ok(child) } else { Err("the child ended early".into()) }
    }

    /// How many of the secrets are somewhere in the child's memory. Searches for bytes 16 to 30 of each secret: the
    /// allocator overwrites the first 16 bytes of freed memory, and X25519 changes bits of the last byte.
    fn remembers(&self, secrets: &[[u8; 32]]) -> Outcome<usize> {
        let process = Path::new("/proc").join(self.0.id().to_string());
        let mut memory = File::open(process.join("mem"))?;
        let mut found = vec![false; secrets.len()];
        for line in fs::read_to_string(process.join("maps"))?.lines() {
            let mut words = line.split_whitespace();
            let (range, rights) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let Some((from, to)) = range.split_once('-').filter(|_| rights.starts_with("rw")) else { continue };
            let (from, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
            memory.seek(SeekFrom::Start(from))?;
            let mut bytes = Vec::new();
            // Some of the kernel's own mappings cannot be read.
            let _ = memory.by_ref().take(to - from).read_to_end(&mut bytes);
            for (secret, found) in secrets.iter().zip(&mut found) {
                let middle = &secret[16..31];
                *found |= bytes
                    .windows(8)
                    .enumerate()
                    .any(|(at, eight)| eight == &middle[..8] && bytes.get(at..at + middle.len()) == Some(middle));
            }
        }
        Ok(found.into_iter().filter(|found| *found).count())
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        // The child may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn keys_do_not_stay_in_memory() -> Outcome {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return open_and_wait(Path::new(&folder));
    }
    let (patient, doctor) = (RsaSecret::from_pem(PATIENT)?, RsaSecret::from_pem(DOCTOR)?);
    let mut directory = PatientDirectory::create(&patient);
    directory.grant(AccountIndex::new(7)?, doctor.public(), ClassMask::ALL, crate::Past::Included)?;
    let published = directory.published();
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("directory"), published.to_bytes())?;

    let aad = classes_digest(&published.current);
    let part: ReaderPart = published.node.readers[0].open(SectionKind::Reader, &doctor, &aad)?;
    let segment_keys: Vec<_> = part.iter().map(|(_, (_, key))| *key.as_bytes()).collect();
    let mut epoch_keys = Vec::new();
    for (code, link) in part {
        let class = Class::from_code(code).ok_or("a class")?;
        let keys = published.class_keys(class, link)?;
        epoch_keys.extend(keys.secrets.iter().map(|secret| *secret.secret().as_bytes()));
    }
    assert_eq!((segment_keys.len(), epoch_keys.len()), (16, 16));

    // The search does find keys that the child keeps.
    let keeps = Opener::start(folder.path(), true)?;
    assert_eq!(keeps.remembers(&epoch_keys)?, 16);
    assert_eq!(keeps.remembers(&segment_keys)?, 0, "segment keys are not needed any more");
    drop(keeps);
    let drops = Opener::start(folder.path(), false)?;
    assert_eq!((drops.remembers(&epoch_keys)?, drops.remembers(&segment_keys)?), (0, 0));
    Ok(())
}
