//! The output of commands: data on stdout for people or as JSON, messages and progress on stderr.

use std::{io::Write, time::Duration};

use alloy::primitives::{B256, U256, utils::format_ether};
use emr_chain::L1Receipt;
use emr_client::Client;
use emr_core::UnixTime;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::failure::{Exit, Failure};

/// An answer that can be printed for people or as JSON.
pub trait Answer: Serialize {
    /// Writes the answer for people.
    ///
    /// # Errors
    /// Returns the writer's error.
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()>;
}

/// Something that was done on L1.
#[derive(Debug, Serialize)]
pub(crate) struct Done {
    done: String,
    tx_hash: B256,
    gas_used: u64,
}

impl Done {
    pub(crate) fn new(done: impl Into<String>, receipt: &L1Receipt) -> Self {
        Self { done: done.into(), tx_hash: receipt.tx_hash, gas_used: receipt.gas_used }
    }
}

impl Answer for Done {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "{} ({} gas, {})", self.done, self.gas_used, self.tx_hash)
    }
}

/// A time as RFC 3339.
pub fn written(time: UnixTime) -> String {
    i64::try_from(time.get())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| time.to_string())
}

/// Writes a sum in ether, without trailing zeros.
pub fn ether(wei: U256) -> String {
    let text = format_ether(wei);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Warns on stderr if a revocation went on although the newest block is too old or from the future.
pub fn warn_of_age(client: &Client) {
    if let Some(error) = client.overlooked() {
        eprintln!("warning: {error}. Revoking does not wait for that: look at the grants again when it is corrected");
    }
}

/// Prints an answer on stdout.
///
/// # Errors
/// Fails if stdout is closed or full.
pub fn print(answer: &impl Answer, json: bool) -> Result<(), Failure> {
    to_stdout(|out| {
        if json {
            serde_json::to_writer_pretty(&mut *out, answer).map_err(std::io::Error::from).and_then(|()| writeln!(out))
        } else {
            answer.write(out)
        }
    })
}

/// Prints a text and a line break on stdout.
///
/// # Errors
/// The same as [`print()`].
pub fn text(text: &str) -> Result<(), Failure> {
    to_stdout(|out| writeln!(out, "{text}"))
}

/// Writes to stdout.
///
/// # Errors
/// The same as [`print()`].
pub fn to_stdout(write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    write(&mut out)
        .and_then(|()| out.flush())
        .map_err(|error| Failure::new(Exit::Storage, format!("cannot write to stdout: {error}")))
}

/// A line on stderr that shows progress of long work. Prints nothing if stderr is not a terminal.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Starts the line.
    pub fn start(what: impl Into<String>) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        // The template is a constant. An error would only change the spinner's look.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed:.dim}") {
            bar.set_style(style);
        }
        bar.set_message(what.into());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }

    /// Changes the text.
    pub fn say(&self, what: impl Into<String>) {
        self.0.set_message(what.into());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_printed_without_zeros() {
        let ten = U256::from(10_000_000_000_000_000_000_u64);
        for (wei, text) in [
            (U256::ZERO, "0"),
            (U256::from(1), "0.000000000000000001"),
            (U256::from(1_000_000_000_000_000_u64), "0.001"),
            (ten, "10"),
        ] {
            assert_eq!(ether(wei), text);
        }
    }
}
