//! `emr-patient`: see `emr-patient --help`.

use clap::Parser;
use emr_cli::{patient, start};

fn main() -> std::process::ExitCode {
    start::run(patient::run(patient::Arguments::parse()))
}
