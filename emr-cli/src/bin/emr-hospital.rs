//! `emr-hospital`: see `emr-hospital --help`.

use emr_cli::{hospital::commands, start};

/// A prover frees gigabytes on other threads than it took them on. glibc keeps that for each thread, so the process grew with every change of
/// the batches' size; this allocator gives it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    let arguments = start::parse::<commands::Arguments>();
    start::run(arguments.json(), commands::run(arguments))
}
