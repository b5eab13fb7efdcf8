//! How much memory a process takes that proves in several sizes. This file has one test, so that nothing else is measured.
#![cfg(all(feature = "prover", target_os = "linux"))]
#![expect(clippy::unwrap_used, reason = "tests")]

use emr_core::{AccountIndex, Role, UnixTime};
use emr_rollup::{
    batch::{Batch, Prover as _},
    l1_operation::Register,
    operation::Domain,
    primitive::{eddsa::SigningKey, field::Fr},
    prover::{Provers, default_cache},
    setup::SetupChoice,
    state::ledger::Ledger,
    version::CircuitVersion,
};

/// The allocator of `emr-hospital`. glibc's keeps what each thread freed. With it, this test fails on a busy machine: 1,383 MiB, instead of 877.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The greatest resident memory of this process so far, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// Proves one registration. One new thread reads the key, and another makes the proof, as in the programs.
fn prove(provers: &mut Provers, size: CircuitVersion) {
    let registered = Register {
        account: AccountIndex::new(1).unwrap(),
        role: Role::Patient,
        org: None,
        key: SigningKey::from_seed(&[7; 32]).public(),
        encryption: Fr::from(1),
    };
    let ledger = Ledger::genesis(Domain::new(31337, [9; 20]), size);
    let mut batch = Batch::open(ledger, 1, UnixTime::new(1_800_000_000).unwrap()).in_sizes(size.into());
    batch.push_l1(&registered.into()).unwrap();
    let sealed = batch.seal().0;
    std::thread::scope(|scope| {
        let prover = scope.spawn(|| provers.of(size, |_| {}).unwrap()).join().unwrap();
        scope.spawn(move || prover.prove(sealed.witness(), sealed.public()).unwrap()).join().unwrap();
    });
}

/// A prover that alternates between two large sizes takes little more than one that keeps to one of them. The allocator gives memory back
/// after a moment, so some of the one size is still there when the other comes; two provers at once would take twice as much.
#[test]
fn sizes_take_turns_in_the_memory_of_one() {
    let mut provers = Provers::new(default_cache().unwrap(), SetupChoice::InsecureDevelopment, 0);
    // A key that is missing is made first, which takes more. The kernel forgets that peak.
    for size in [CircuitVersion::V1_QUEUE, CircuitVersion::V1] {
        provers.of(size, |_| {}).unwrap();
    }
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    prove(&mut provers, CircuitVersion::V1);
    let one = peak();
    for size in [CircuitVersion::V1_QUEUE, CircuitVersion::V1] {
        prove(&mut provers, size);
        eprintln!("{} MiB with {}", peak(), size.slots());
    }
    assert!(peak() < one + one / 4, "{one} MiB with one size, {} MiB with two", peak());
}
