//! `emr-hospital`: see `emr-hospital --help`.

use emr_cli::{hospital::commands, start};

fn main() -> std::process::ExitCode {
    start::run(commands::run(start::parse::<commands::Arguments>()))
}
