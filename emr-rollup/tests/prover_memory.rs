//! What provers of several sizes take together. It has a process of its own, because the process is measured.
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

/// The one of `emr-hospital`. glibc's keeps what each thread freed: here up to 862 MiB, and 1131 MiB were seen in a busy program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The greatest resident memory of this process so far, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// Proves one registration. Loads and proves on threads of their own, as the programs do.
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
