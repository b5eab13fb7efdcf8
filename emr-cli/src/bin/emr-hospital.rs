//! `emr-hospital`: see `emr-hospital --help`.

/// A prover reads keys and makes proofs on different threads. glibc keeps what a thread freed, and the next thread cannot use it: on a busy
/// machine, a prover took half as much again. This allocator gives it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    emr_cli::hospital::commands::main()
}
