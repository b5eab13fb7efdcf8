//! `emr-doctor`: see `emr-doctor --help`.

use emr_cli::{doctor, start};

fn main() -> std::process::ExitCode {
    start::run(doctor::run(start::parse::<doctor::Arguments>()))
}
