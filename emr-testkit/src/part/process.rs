//! A child process that prints a line when it is ready.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::PartError;

/// How long the child may take until it is ready, on a busy machine.
const READY: Duration = Duration::from_secs(60);
/// How many lines of output an error shows.
const SHOWN: usize = 20;

/// A running child. It is ended when this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
}

impl Running {
    /// Starts the child, and waits until `ready` returns a value for a line of its stdout or stderr.
    pub(super) fn start<T>(
        part: &'static str,
        command: &mut Command,
        ready: impl Fn(&str) -> Option<T>,
    ) -> Result<(Self, T), PartError> {
        let failed = |reason: String| PartError::Start { part, reason };
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|error| failed(format!("{command:?}: {error}")))?;
        let mut running = Self { child };
        let (lines, said) = mpsc::channel();
        if let (Some(stdout), Some(stderr)) = (running.child.stdout.take(), running.child.stderr.take()) {
            forward(stdout, lines.clone());
            forward(stderr, lines);
        }
        let deadline = Instant::now() + READY;
        let mut last = VecDeque::new();
        loop {
            let why = match said.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => match ready(&line) {
                    Some(found) => return Ok((running, found)),
                    None => {
                        last.push_back(line);
                        if last.len() > SHOWN {
                            last.pop_front();
                        }
                        continue;
                    }
                },
                Err(RecvTimeoutError::Timeout) => format!("it was not ready after {} s", READY.as_secs()),
                Err(RecvTimeoutError::Disconnected) => "it ended".to_owned(),
            };
            return Err(failed(format!("{why}; it said:\n{}", Vec::from(last).join("\n"))));
        }
    }

    /// Kills the child and waits for its end.
    pub(super) fn kill(&mut self) {
        // An error means that the child has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads to the end even if nobody needs the lines any more, so that the child never blocks on its output.
fn forward(stream: impl Read + Send + 'static, lines: mpsc::Sender<String>) {
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while matches!(stream.read_until(b'\n', &mut line), Ok(1..)) {
            let _ = lines.send(String::from_utf8_lossy(&line).trim_end().to_owned());
            line.clear();
        }
    });
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn it_waits_for_the_line_and_ends_the_child() -> Result<(), PartError> {
        let script = "echo starting; echo port 77 >&2; exec sleep 600";
        let (mut running, port) =
            Running::start("sleep", &mut shell(script), |line| line.strip_prefix("port ").map(str::to_owned))?;
        assert_eq!(port, "77");
        running.kill();
        assert!(running.child.try_wait().is_ok_and(|status| status.is_some_and(|status| !status.success())));
        Ok(())
    }

    #[test]
    fn a_child_that_ends_early_is_quoted() {
        let ended = Running::start("sh", &mut shell("echo no space >&2; exit 3"), |_| None::<()>);
        let error = ended.expect_err("it never got ready").to_string();
        assert!(error.contains("it ended") && error.contains("no space"), "{error}");
    }
}
