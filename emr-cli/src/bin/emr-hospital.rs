//! `emr-hospital`: see `emr-hospital --help`.

use clap::Parser;
use emr_cli::{hospital::commands, start};

fn main() -> std::process::ExitCode {
    start::run(commands::run(commands::Arguments::parse()))
}
