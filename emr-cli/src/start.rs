//! The code around the commands that all three programs share.

use std::process::ExitCode;

use clap::{
    Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};

use emr_rollup::processor::check_processor;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};

use crate::failure::{Exit, Failure, OrExit};

/// Checks the processor, then parses the command line. `--help` and `--version` print and end the process with 0. A wrong command line is
/// explained on one line of stderr, and ends the process with [`Exit::Usage`].
///
/// A processor that cannot run this build is explained on one line, because the first operation on a field element would
/// end the process without a word.
pub fn parse<A: Parser>() -> A {
    if let Err(unsupported) = check_processor() {
        eprintln!("{unsupported}");
        std::process::exit(Exit::Internal as i32);
    }
    A::try_parse().unwrap_or_else(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            error.exit()
        }
        _ => {
            eprintln!("{}", one_paragraph(&without_secrets(&error)));
            std::process::exit(Exit::Usage as i32)
        }
    })
}

/// clap's message, without a value that can hold a password: a URL with a user name.
fn without_secrets(error: &clap::Error) -> String {
    let text = error.to_string();
    match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) if value.contains('@') => text.replace(value.as_str(), "(not shown)"),
        _ => text,
    }
}

/// The first paragraph and the tips of clap's message, on one line.
fn one_paragraph(text: &str) -> String {
    let said = text.split("\n\n").enumerate().filter(|(at, part)| *at == 0 || part.trim_start().starts_with("tip:"));
    let lines = said.map(|(_, part)| part.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.chain(["try --help".to_owned()]).collect::<Vec<_>>().join("; ")
}

/// Runs a command on an async runtime. Prints a failure on stderr, on one line or as a JSON object, and returns its
/// exit code.
pub fn run<F: Future<Output = Result<(), Failure>>>(json: bool, command: F) -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(log_filter(std::env::var("EMR_LOG").ok()))
        .init();
    let done =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().or_exit(Exit::Internal).and_then(|runtime| {
            let done = runtime.block_on(async {
                survive_full_disk()?;
                command.await
            });
            // A proof or a derivation that nobody waits for any more must not keep the process alive. The data on disk
            // survive this, as they survive kill -9.
            runtime.shutdown_background();
            done
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}", failure.line(json));
            ExitCode::from(failure.exit() as u8)
        }
    }
}

/// By default warnings and errors are shown, because without them an outage would be invisible. `EMR_LOG` changes this.
fn log_filter(directives: Option<String>) -> EnvFilter {
    let builder = EnvFilter::builder().with_default_directive(LevelFilter::WARN.into());
    builder.parse_lossy(directives.unwrap_or_default())
}

/// Handles SIGXFSZ. A write beyond RLIMIT_FSIZE raises this signal, which would end the process. With a handler, the
/// write fails instead, with an error that says that the disk is full.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_shown_unless_the_environment_says_otherwise() {
        assert_eq!(log_filter(None).max_level_hint(), Some(LevelFilter::WARN));
        assert_eq!(log_filter(Some("error".to_owned())).max_level_hint(), Some(LevelFilter::ERROR));
        assert_eq!(log_filter(Some("emr_node=debug".to_owned())).max_level_hint(), Some(LevelFilter::DEBUG));
    }

    #[test]
    fn a_wrong_command_line_is_explained_on_one_line() {
        let text =
            "error: the following were not provided:\n  --a <A>\n  --b\n\n  tip: use 'c'\n\nUsage: x\n\nFor more\n";
        assert_eq!(
            one_paragraph(text),
            "error: the following were not provided: --a <A> --b; tip: use 'c'; try --help"
        );
    }
}
