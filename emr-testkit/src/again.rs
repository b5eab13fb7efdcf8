//! Runs this test program again as a child process, to kill it while it writes or to give it a full disk.
//!
//! The child runs one test, which begins with [`job`]. The child leaves only its files and its lines on stdout. In an
//! ordinary run, [`job`] returns `None`, and that test returns at once.

use std::{
    env,
    ffi::OsStr,
    io::{self, BufRead, BufReader},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

/// Environment variable with the child's job.
const JOB: &str = "EMR_TEST_JOB";

/// The job of this process, such as the folder to write to, if [`Again`] started it. Otherwise `None`.
pub fn job() -> Option<String> {
    env::var(JOB).ok()
}

/// A child process that is not started yet.
#[derive(Debug)]
pub struct Again {
    test: String,
    job: std::ffi::OsString,
    shell: String,
}

impl Again {
    /// A child that runs the test `test` of this program, such as `crash::writer`, with a job.
    pub fn new(test: &str, job: impl AsRef<OsStr>) -> Self {
        Self { test: test.to_owned(), job: job.as_ref().to_owned(), shell: String::new() }
    }

    /// Makes writes beyond the limit of file sizes fail, as on a full disk. Without this, a signal ends the process.
    #[must_use]
    pub fn surviving_full_disks(mut self) -> Self {
        self.shell += "trap '' XFSZ; ";
        self
    }

    /// Limits the size of files, in KiB, to simulate a full disk.
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

    /// Runs the child to its end.
    ///
    /// # Errors
    /// Fails if the child cannot be started.
    pub fn output(&self) -> io::Result<Output> {
        self.command()?.output()
    }

    /// Starts the child.
    ///
    /// # Errors
    /// Fails if the child cannot be started.
    pub fn start(&self) -> io::Result<Doomed> {
        let mut child = self.command()?.stdout(Stdio::piped()).spawn()?;
        let output = BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?);
        Ok(Doomed { child, output })
    }
}

/// A running child. It is killed when this is dropped, if not before.
#[derive(Debug)]
pub struct Doomed {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Doomed {
    /// Waits for the next line with this word, and returns the text after the word.
    ///
    /// # Errors
    /// Fails if the child ends first.
    pub fn next(&mut self, word: &str) -> io::Result<String> {
        self.read(word)?.ok_or_else(|| io::Error::other(format!("the child ended before it said {word:?} again")))
    }

    /// Kills the child (SIGKILL). Returns the text after the word in all lines that it had written until then.
    ///
    /// # Errors
    /// Fails if the child cannot be killed.
    pub fn kill(mut self, word: &str) -> io::Result<Vec<String>> {
        self.child.kill()?;
        self.child.wait()?;
        let mut said = Vec::new();
        while let Some(rest) = self.read(word)? {
            said.push(rest);
        }
        Ok(said)
    }

    /// Reads the next line with this word. Returns `None` at the end of the output. Ignores a truncated line.
    fn read(&mut self, word: &str) -> io::Result<Option<String>> {
        loop {
            let mut line = String::new();
            self.output.read_line(&mut line)?;
            let Some(line) = line.strip_suffix('\n') else { return Ok(None) };
            // The test harness prints the test's name in front of the first line.
            if let Some((_, rest)) = line.split_once(&format!("{word} ")) {
                return Ok(Some(rest.to_owned()));
            }
        }
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        // The child may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::Outcome;

    /// The child's test: it counts, and with a job it also fills a file.
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
