//! `emr-doctor`: see `emr-doctor --help`.

use clap::Parser;
use emr_cli::{doctor, start};

fn main() -> std::process::ExitCode {
    start::run(doctor::run(doctor::Arguments::parse()))
}
