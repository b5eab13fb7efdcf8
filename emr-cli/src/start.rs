//! What every one of the three programs does around its commands.

use std::process::ExitCode;

use crate::failure::{Exit, Failure, OrExit};

/// Runs a command on an async runtime; prints a failure on stderr, on one line, and turns it into the exit code.
pub fn run<F: Future<Output = Result<(), Failure>>>(command: F) -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("EMR_LOG"))
        .init();
    let done =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().or_exit(Exit::Internal).and_then(|runtime| {
            runtime.block_on(async {
                survive_full_disk()?;
                command.await
            })
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit() as u8)
        }
    }
}

/// A write beyond RLIMIT_FSIZE raises SIGXFSZ, which ends the process; handled, the write fails with an error instead, and
/// the error says that the disk is full.
#[cfg(target_os = "linux")]
fn survive_full_disk() -> Result<(), Failure> {
    const SIGXFSZ: i32 = 25;
    let kind = tokio::signal::unix::SignalKind::from_raw(SIGXFSZ);
    // The handler stays installed when the stream is dropped.
    tokio::signal::unix::signal(kind).map(drop).or_exit(Exit::Internal)
}

#[cfg(not(target_os = "linux"))]
fn survive_full_disk() -> Result<(), Failure> {
    Ok(())
}
