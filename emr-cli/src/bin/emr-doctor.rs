//! `emr-doctor`: see `emr-doctor --help`.

use emr_cli::{doctor, start};

fn main() -> std::process::ExitCode {
    let arguments = start::parse::<doctor::Arguments>();
    start::run(arguments.json(), doctor::run(arguments))
}
