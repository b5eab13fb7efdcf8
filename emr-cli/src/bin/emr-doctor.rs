//! `emr-doctor`: see `emr-doctor --help`.

fn main() -> std::process::ExitCode {
    emr_cli::doctor::main()
}
