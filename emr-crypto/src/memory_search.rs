//! Searches for secrets in the memory of a process. A child process, which is the test binary again, handles secrets, drops them and waits. The
//! test knows the secrets, and searches for them in all of the child's writable memory.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Environment variable that makes this process the child. Its value is the folder with the child's data.
const FOLDER: &str = "EMR_TEST_MEMORY_FOLDER";
/// Environment variable that tells the child to keep the secrets.
const KEEPS: &str = "EMR_TEST_MEMORY_KEEPS";
const READY: &str = "ready to be looked at";

/// The folder with the child's data, if this process is the child.
pub(crate) fn child_folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// In the child: handles secrets, drops or keeps what `handle` returned, and waits until the test has searched.
pub(crate) fn handle_and_wait<T>(folder: &Path, handle: impl Fn(&Path) -> Outcome<T>) -> Outcome {
    let handled = deeper(&|| handle(folder))?;
    let kept = std::env::var_os(KEEPS).is_some().then_some(handled);
    overwrite_stack();
    println!("{READY}");
    std::io::stdin().read_line(&mut String::new())?;
    drop(black_box(kept));
    Ok(())
}

/// Calls in a stack frame that is gone afterwards.
#[inline(never)]
fn deeper<T>(call: &dyn Fn() -> T) -> T {
    black_box(call)()
}

/// Overwrites the stack. A program cannot reliably erase registers and the stack, but other values soon overwrite them.
/// The test does it at once.
#[inline(never)]
fn overwrite_stack() {
    black_box(&mut [0_u8; 1 << 19]);
}

/// A child that has handled secrets and waits.
pub(crate) struct Watched(Child);

impl Watched {
    /// Starts the test with this name as a child.
    pub(crate) fn start(test: &str, folder: &Path, keeps: bool) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--exact", test, "--nocapture"]);
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
    pub(crate) fn remembers(&self, secrets: &[[u8; 32]]) -> Outcome<usize> {
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

impl Drop for Watched {
    fn drop(&mut self) {
        // The child may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
