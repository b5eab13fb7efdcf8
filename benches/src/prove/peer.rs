//! Other programs that make proofs, in turns with this one.
//!
//! A peer prints the line `ready` when it has its key. Then, for each line of its input, it makes a proof and prints a
//! JSON object on one line: the number of operations in the proof, and what the proof took. When its input ends, it ends.

use std::{
    error::Error,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde::{Deserialize, Serialize};

use crate::usage::Time;

/// A program that waits for its next turn.
pub(crate) struct Peer {
    program: String,
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    turns: Vec<Turn>,
}

/// A line that a peer prints.
#[derive(Debug, Deserialize)]
struct Turn {
    operations: usize,
    peak_gibibytes: f64,
    #[serde(flatten)]
    time: Time,
}

/// What a peer's proofs took, in the mean.
#[derive(Debug, Serialize)]
pub(crate) struct PeerFigures {
    pub(crate) program: String,
    operations: usize,
    prove: Time,
    per_operation: Time,
    peak_gibibytes: f64,
    /// The user CPU time of an operation, divided by that of an operation here.
    pub(crate) times_as_fast: f64,
}

impl Peer {
    /// Starts a program, and waits until it is ready. Words after the first are its arguments.
    ///
    /// # Errors
    /// If it cannot be started, or ends.
    pub(crate) fn start(program: &str) -> Result<Self, Box<dyn Error>> {
        let mut words = program.split_whitespace();
        let mut command = Command::new(words.next().ok_or("--peer needs the name of a program")?);
        let mut process = command
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start `{program}`: {error}"))?;
        let requests = process.stdin.take().ok_or("no standard input")?;
        let answers = BufReader::new(process.stdout.take().ok_or("no standard output")?);
        let mut peer = Self { program: program.to_owned(), process, requests, answers, turns: vec![] };
        if peer.answer()? != "ready" {
            return Err(format!("`{program}` is not a peer: it does not print `ready`").into());
        }
        Ok(peer)
    }

    fn answer(&mut self) -> Result<String, Box<dyn Error>> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(format!("`{}` ended too early", self.program).into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// Waits for one proof.
    ///
    /// # Errors
    /// If the program ends, or prints something else.
    pub(crate) fn prove(&mut self) -> Result<(), Box<dyn Error>> {
        writeln!(self.requests)?;
        let answer = self.answer()?;
        let turn =
            serde_json::from_str(&answer).map_err(|error| format!("`{}` printed {answer}: {error}", self.program))?;
        self.turns.push(turn);
        Ok(())
    }

    /// Compares its proofs with what an operation takes here.
    pub(crate) fn figures(&self, ours: Time) -> PeerFigures {
        let turns = self.turns.len() as f64;
        let prove = self.turns.iter().fold(Time::default(), |sum, turn| sum + turn.time) / turns;
        let operations = self.turns.first().map_or(0, |turn| turn.operations);
        let per_operation = prove / operations as f64;
        PeerFigures {
            program: self.program.clone(),
            operations,
            prove,
            per_operation,
            peak_gibibytes: self.turns.iter().map(|turn| turn.peak_gibibytes).fold(0.0, f64::max),
            times_as_fast: per_operation.cpu_seconds / ours.cpu_seconds,
        }
    }
}

impl Drop for Peer {
    /// Ends the program.
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
