//! `emr-patient`: see `emr-patient --help`.

use emr_cli::{patient, start};

fn main() -> std::process::ExitCode {
    let arguments = start::parse::<patient::Arguments>();
    start::run(arguments.json(), patient::run(arguments))
}
