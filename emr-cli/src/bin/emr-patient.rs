//! `emr-patient`: see `emr-patient --help`.

fn main() -> std::process::ExitCode {
    emr_cli::patient::main()
}
