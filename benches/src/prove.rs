//! Proves one batch of real operations on distinct patients and prints time and memory. For comparison, the same run
//! checks the same statement in plain Rust. The ratio is the price of the proof.
//!
//! `cargo run --release --package benches --bin prove -- --json`

use std::{error::Error, path::PathBuf, time::Instant};

use clap::Parser;
use emr_core::{AccountEpoch, AccountIndex, ClassMask, GrantSlot, Rights, Role, UnixTime, Uses, Version};
use emr_rollup::{
    batch::{Batch, Prover as _},
    l1_operation::Register,
    operation::{Action, CLIENT_VALIDITY, Domain, Operation, SetGrant},
    primitive::{eddsa::SigningKey, field::Fr},
    prover::{Prover, default_cache},
    state::{leaf::GrantLeaf, ledger::Ledger},
    statement::check_batch,
    version::CircuitVersion,
};
use serde::Serialize;

/// Prove one batch and print time and memory
#[derive(Debug, Parser)]
struct Arguments {
    /// Operations in the batch, each on another patient
    #[arg(long, default_value_t = CircuitVersion::V1.max_l2)]
    operations: usize,
    /// Folder of the proving key
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Figures {
    operations: usize,
    k: u32,
    key_seconds: f64,
    prove_seconds: f64,
    operations_per_second: f64,
    peak_gibibytes: f64,
    proof_bytes: usize,
    verify_milliseconds: f64,
    /// The time to check the statement in plain Rust.
    plain_milliseconds: f64,
    ratio_to_plain: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let version = CircuitVersion::V1;
    if !(1..=version.max_l2).contains(&arguments.operations) {
        return Err(format!("a batch holds 1 to {} operations", version.max_l2).into());
    }
    let cache = arguments.cache.or_else(default_cache).ok_or("no home folder; name a folder with --cache")?;
    let started = Instant::now();
    let prover = Prover::load_or_generate(&cache, version, |stage| eprintln!("{stage}"))?;
    let key_seconds = started.elapsed().as_secs_f64();

    let sealed = batch(version, arguments.operations)?;
    let started = Instant::now();
    check_batch(sealed.witness(), sealed.public())?;
    let plain = started.elapsed().as_secs_f64();

    let started = Instant::now();
    let proof = prover.prove(sealed.witness(), sealed.public())?;
    let prove_seconds = started.elapsed().as_secs_f64();
    let verifier = prover.verifier();
    let started = Instant::now();
    verifier.verify(sealed.public(), &proof)?;
    let figures = Figures {
        operations: arguments.operations,
        k: version.k,
        key_seconds,
        prove_seconds,
        operations_per_second: arguments.operations as f64 / prove_seconds,
        peak_gibibytes: peak_gibibytes().unwrap_or(f64::NAN),
        proof_bytes: proof.len(),
        verify_milliseconds: started.elapsed().as_secs_f64() * 1e3,
        plain_milliseconds: plain * 1e3,
        ratio_to_plain: prove_seconds / plain,
    };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        let Figures { operations, prove_seconds, operations_per_second, peak_gibibytes, ratio_to_plain, .. } = figures;
        println!(
            "{operations} operations in {prove_seconds:.1} s: {operations_per_second:.2}/s, {peak_gibibytes:.2} GiB"
        );
        println!("{ratio_to_plain:.0} times as long as checking the same statement in plain Rust");
    }
    Ok(())
}

/// A batch in which every patient makes a grant.
fn batch(version: CircuitVersion, operations: usize) -> Result<Batch<emr_rollup::batch::Sealed>, Box<dyn Error>> {
    let domain = Domain::new(31337, [0x11; 20]);
    let mut ledger = Ledger::genesis(domain, version);
    let key = |index: u64| {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&index.to_be_bytes());
        SigningKey::from_seed(&seed)
    };
    let now = UnixTime::now();
    for index in 1..=operations as u64 {
        ledger.consume(
            &Register {
                account: AccountIndex::new(index)?,
                role: Role::Patient,
                org: None,
                key: key(index).public(),
                encryption: Fr::from(index),
            }
            .into(),
            now,
        )?;
    }
    let mut batch = Batch::open(ledger, 1, now);
    for index in 1..=operations as u64 {
        let account = AccountIndex::new(index)?;
        let operation = Operation {
            signer: account,
            signer_epoch: AccountEpoch::FIRST,
            patient: account,
            patient_epoch: AccountEpoch::FIRST,
            valid_until: now.saturating_add(CLIENT_VALIDITY),
            salt: Fr::from(index),
            action: Action::SetGrant(SetGrant {
                slot: GrantSlot::FIRST_ORDINARY,
                expected: Version::ZERO,
                leaf: GrantLeaf {
                    grantee: AccountIndex::new(1 + index % operations as u64).ok(),
                    rights: Rights::READ,
                    scope: ClassMask::ALL,
                    not_after: now.saturating_add(86_400),
                    uses: Uses::ZERO,
                    version: Version::new(1)?,
                    salt: Fr::from(index),
                },
                directory_before: Fr::from(0).into(),
                directory_after: Fr::from(index).into(),
            }),
        };
        batch.push(&operation.sign(domain, &key(index), None))?;
    }
    Ok(batch.seal().0)
}

/// Peak resident memory of this process, if `/proc` shows it.
fn peak_gibibytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes / 1_048_576.0)
}
