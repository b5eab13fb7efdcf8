//! `emr-hospital`: see `emr-hospital --help`.

use emr_cli::{hospital::commands, start};

fn main() -> std::process::ExitCode {
    let arguments = start::parse::<commands::Arguments>();
    start::run(arguments.json(), commands::run(arguments))
}
