//! This test program once more, as a child process: to be killed while it writes, or to meet a full disk.
//!
//! The child runs one test, which begins with [`job`] and does its work in a process of which nothing is left but its files and
//! its lines on stdout. In the ordinary run [`job`] is `None`, and that test returns at once.

use std::{
    env,
    ffi::OsStr,
    io::{self, BufRead, BufReader},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

/// Tells the child its job.
const JOB: &str = "EMR_TEST_JOB";

/// What this process is to do if it is a child that [`Again`] started, such as the folder to write to.
pub fn job() -> Option<String> {
    env::var(JOB).ok()
}

/// A child that is not started yet.
#[derive(Debug)]
pub struct Again {
    test: String,
    job: std::ffi::OsString,
    shell: String,
}

impl Again {
    /// Test `test` of this program, such as `crash::writer`, with a job.
    pub fn new(test: &str, job: impl AsRef<OsStr>) -> Self {
        Self { test: test.to_owned(), job: job.as_ref().to_owned(), shell: String::new() }
    }

    /// A write beyond a limit on the size of files fails, as on a full disk. Otherwise its signal ends the process.
    #[must_use]
    pub fn surviving_full_disks(mut self) -> Self {
        self.shell += "trap '' XFSZ; ";
        self
    }

    /// No file grows past this, in KiB: that stands in for a full disk.
    #[must_use]
    pub fn with_files_up_to(self, kib: u64) -> Self {
        let mut limited = self.surviving_full_disks();
        // POSIX: blocks of 512 bytes.
        limited.shell += &format!("ulimit -f {}; ", kib * 2);
        limited
    }

    fn command(&self) -> io::Result<Command> {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{}exec \"$0\" \"$@\"", self.shell)).arg(env::current_exe()?);
        command.args(["--exact", &self.test, "--nocapture", "--test-threads=1"]).env(JOB, &self.job);
        Ok(command)
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn output(&self) -> io::Result<Output> {
        self.command()?.output()
    }

    /// Starts it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(&self) -> io::Result<Doomed> {
        let mut child = self.command()?.stdout(Stdio::piped()).spawn()?;
        let output = BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?);
        Ok(Doomed { child, output })
    }
}

/// A child that runs and is killed at the latest when this is dropped.
#[derive(Debug)]
pub struct Doomed {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Doomed {
    /// Waits for the next line with this word; gives what follows the word.
    ///
    /// # Errors
    /// If the child ends first.
    pub fn next(&mut self, word: &str) -> io::Result<String> {
        self.read(word)?.ok_or_else(|| io::Error::other(format!("the child ended before it said {word:?} again")))
    }

    /// SIGKILL; gives what followed the word in the lines that it had still written.
    ///
    /// # Errors
    /// If it has been waited for before.
    pub fn kill(mut self, word: &str) -> io::Result<Vec<String>> {
        self.child.kill()?;
        self.child.wait()?;
        let mut said = Vec::new();
        while let Some(rest) = self.read(word)? {
            said.push(rest);
        }
        Ok(said)
    }

    /// `None` at the end of the output. A line that was cut off does not count.
    fn read(&mut self, word: &str) -> io::Result<Option<String>> {
        loop {
            let mut line = String::new();
            self.output.read_line(&mut line)?;
            let Some(line) = line.strip_suffix('\n') else { return Ok(None) };
            // The test harness says the test's name in front of its first line.
            if let Some((_, rest)) = line.split_once(&format!("{word} ")) {
                return Ok(Some(rest.to_owned()));
            }
        }
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::Outcome;

    /// The child: counts, and for job `write` fills a file.
    #[test]
    fn counts_in_a_child() -> Outcome {
        let Some(job) = job() else { return Ok(()) };
        if let Some(path) = job.strip_prefix("write ") {
            println!("refused {}", std::fs::write(path, vec![0; 1 << 20]).is_err());
            return Ok(());
        }
        for number in 0_u64.. {
            println!("count {number}");
        }
        Ok(())
    }

    #[test]
    fn a_killed_child_leaves_whole_lines() -> Outcome {
        let mut child = Again::new("again::tests::counts_in_a_child", "count").start()?;
        assert_eq!((child.next("count")?, child.next("count")?), ("0".to_owned(), "1".to_owned()));
        for (said, number) in child.kill("count")?.iter().zip(2_u64..) {
            assert_eq!(said, &number.to_string());
        }
        Ok(())
    }

    #[test]
    fn a_file_limit_fails_the_write_and_nothing_else() -> Outcome {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("file");
        let job = format!("write {}", path.display());
        let child = Again::new("again::tests::counts_in_a_child", &job);
        for (child, refused) in [
            (child.with_files_up_to(64), "refused true"),
            (Again::new("again::tests::counts_in_a_child", &job), "refused false"),
        ] {
            let output = child.output()?;
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains(refused), "{said}");
        }
        assert_eq!(std::fs::metadata(path)?.len(), 1 << 20);
        Ok(())
    }
}
