//! Proves one batch of real operations and prints time and memory. In the same run it makes the same proof with
//! halo2-axiom's prover, does only the transforms and the sums of points that a proof needs, and checks the same
//! statement in plain Rust. Other programs can make proofs in the same run, see `peer`.
//!
//! `cargo run --release --package benches --bin prove -- --mix hospital --size 17 --json`

mod peer;
mod usage;

use std::{error::Error, path::PathBuf};

use benches::mix::{self, Mix};
use clap::Parser;
use emr_core::UnixTime;
use emr_rollup::{
    batch::Prover as _,
    circuit::BatchCircuit,
    operation::Domain,
    prover::{Halo2Axiom, Prover, default_cache},
    setup::SetupChoice,
    statement::check_batch,
    version::{CircuitSizes, CircuitVersion},
};
use peer::{Peer, PeerFigures};
use serde::Serialize;
use usage::{Time, peak_gibibytes};

/// Prove one batch and print time and memory
#[derive(Debug, Parser)]
struct Arguments {
    /// What the operations are
    #[arg(long, value_enum, default_value = "grants")]
    mix: Mix,
    /// The binary logarithm of the number of rows: 14, 17 or 19
    #[arg(long, value_name = "K", default_value_t = CircuitVersion::V1.k)]
    size: u32,
    /// Operations in the batch [default: as many as the size holds]
    #[arg(long)]
    operations: Option<usize>,
    /// Do not measure halo2-axiom's prover, which needs much more memory
    #[arg(long)]
    alone: bool,
    /// How often each measurement is repeated, in turns
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// Memory that is kept between proofs, in MiB
    #[arg(long, value_name = "MIB", default_value_t = Prover::MEMORY >> 20)]
    memory: u64,
    /// A program that makes other proofs, in turns with these ones. Can be repeated
    #[arg(long = "peer", value_name = "PROGRAM")]
    peers: Vec<String>,
    /// Folder of the proving key
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Times are means over the rounds. `cpu` is the user CPU time of all threads, which other processes disturb less.
#[derive(Debug, Serialize)]
struct Figures {
    mix: Mix,
    operations: usize,
    k: u32,
    key_seconds: f64,
    /// The first proof also transforms the key's polynomials.
    first: Time,
    prove_seconds: f64,
    prove_cpu_seconds: f64,
    operations_per_second: f64,
    peak_gibibytes: f64,
    proof_bytes: usize,
    verify_milliseconds: f64,
    /// `null` with `--alone`.
    halo2_axiom: Option<Time>,
    /// CPU time of halo2-axiom's prover, divided by ours.
    times_as_fast_as_halo2_axiom: Option<f64>,
    /// Transforms and sums of points only.
    bare: Time,
    /// CPU time, divided by that of the bare work.
    ratio_to_bare: f64,
    peers: Vec<PeerFigures>,
    /// The time to check the statement in plain Rust.
    plain_milliseconds: f64,
    ratio_to_plain: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let sizes = CircuitSizes::v1_all();
    let known = sizes.iter().find(|size| size.k == arguments.size && size.max_l2 > 0);
    let version = *known.ok_or("the sizes are 14, 17 and 19")?;
    let operations = arguments.operations.unwrap_or(version.max_l2);
    if !(1..=version.max_l2).contains(&operations) || arguments.rounds == 0 {
        return Err(format!("a batch holds 1 to {} operations, and there is at least one round", version.max_l2).into());
    }
    let cache = arguments.cache.or_else(default_cache).ok_or("no home folder; name a folder with --cache")?;
    let (prover, key) = Time::of(|| {
        Prover::load_or_generate(&cache, version, SetupChoice::InsecureDevelopment, |stage| eprintln!("{stage}"))
    });
    let prover = prover?.with_memory(arguments.memory << 20);

    let sealed = mix::batch(arguments.mix, version, (Domain::new(31337, [0x11; 20]), UnixTime::now()), operations)?;
    let (witness, public) = (sealed.witness(), sealed.public());
    let (checked, plain) = Time::of(|| check_batch(witness, public));
    checked?;

    let (proof, first) = Time::of(|| prover.prove(witness, public));
    let mut proof = proof?;
    let circuit = BatchCircuit::new(witness, public);
    let (mut ours, mut halo2_axiom, mut bare) = (Time::default(), Time::default(), Time::default());
    let mut peers = arguments.peers.iter().map(|program| Peer::start(program)).collect::<Result<Vec<_>, _>>()?;
    let mut peak = None;
    let mut same_key = None;
    for _ in 0..arguments.rounds {
        let (made, time) = Time::of(|| prover.prove(witness, public));
        (proof, ours) = (made?, ours + time);
        if peak.is_none() {
            // Before the other prover needs memory.
            peak = peak_gibibytes();
            if !arguments.alone {
                same_key = Some(Halo2Axiom::load(&cache, version).ok_or("the key is not in the cache")?);
            }
        }
        if let Some(same_key) = &same_key {
            // The other prover also builds the table and verifies here, as `prove` does.
            let (made, time) = Time::of(|| {
                check_batch(witness, public)?;
                let proof = same_key.prove_circuit(&BatchCircuit::new(witness, public), public)?;
                prover.verifier().verify(public, &proof)?;
                Ok::<_, Box<dyn Error>>(())
            });
            made?;
            halo2_axiom = halo2_axiom + time;
        }
        bare = bare + Time::of(|| prover.bare(&circuit)).1;
        peers.iter_mut().try_for_each(Peer::prove)?;
    }
    let [ours, halo2_axiom, bare] = [ours, halo2_axiom, bare].map(|time| time / f64::from(arguments.rounds));
    let verifier = prover.verifier();
    let (verified, verify) = Time::of(|| verifier.verify(public, &proof));
    verified?;

    let figures = Figures {
        mix: arguments.mix,
        operations,
        k: version.k,
        key_seconds: key.seconds,
        first,
        prove_seconds: ours.seconds,
        prove_cpu_seconds: ours.cpu_seconds,
        operations_per_second: operations as f64 / ours.seconds,
        peak_gibibytes: peak.unwrap_or(f64::NAN),
        proof_bytes: proof.len(),
        verify_milliseconds: verify.seconds * 1e3,
        halo2_axiom: same_key.is_some().then_some(halo2_axiom),
        times_as_fast_as_halo2_axiom: same_key.is_some().then_some(halo2_axiom.cpu_seconds / ours.cpu_seconds),
        bare,
        ratio_to_bare: ours.cpu_seconds / bare.cpu_seconds,
        peers: peers.iter().map(|peer| peer.figures(ours / operations as f64)).collect(),
        plain_milliseconds: plain.seconds * 1e3,
        ratio_to_plain: ours.seconds / plain.seconds,
    };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        let &Figures { operations, prove_seconds, operations_per_second, peak_gibibytes, ratio_to_plain, .. } =
            &figures;
        println!(
            "{operations} operations in {prove_seconds:.1} s: {operations_per_second:.2}/s, {peak_gibibytes:.2} GiB"
        );
        println!("{:.2} times the bare transforms and sums of points", figures.ratio_to_bare);
        if let Some(times) = figures.times_as_fast_as_halo2_axiom {
            println!("{times:.2} times as fast as halo2-axiom's prover");
        }
        for PeerFigures { program, times_as_fast, .. } in &figures.peers {
            println!("{times_as_fast:.2} times as fast for each operation as `{program}`, by user CPU time");
        }
        println!("{ratio_to_plain:.0} times as long as checking the same statement in plain Rust");
    }
    Ok(())
}
