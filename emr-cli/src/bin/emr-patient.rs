//! `emr-patient`: see `emr-patient --help`.

use emr_cli::{patient, start};

fn main() -> std::process::ExitCode {
    start::run(patient::run(start::parse::<patient::Arguments>()))
}
