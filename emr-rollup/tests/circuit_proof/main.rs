//! Real proofs. MockProver checks neither degrees nor verifiers.
#![cfg(feature = "prover")]
#![expect(clippy::unwrap_used, reason = "tests")]

mod changed;
mod changes;
mod contract;
mod fixture;
mod sizes;

use std::{path::PathBuf, sync::OnceLock, time::Instant};

use changes::Proven;
use contract::{Contract, creation_code};

use emr_rollup::testing::scenario::*;
use emr_rollup::{
    batch::{Prover as _, PublicInputs},
    circuit::BatchCircuit,
    primitive::field::Fr,
    prover::{Halo2Axiom, Prover, ProverError, Verifier, VerifyError, calldata, default_cache},
    setup::SetupChoice,
    version::CircuitVersion,
};
use revm::{
    database::CacheDB,
    primitives::{U256, hex},
};

/// If this variable is set, the tests write the generated files instead of comparing them.
const REGENERATE: &str = "EMR_REGENERATE";

/// The bytes of a key's creation code before the code that it creates.
pub(crate) const KEY_PREFIX: usize = 10;

fn prover(version: CircuitVersion) -> Prover {
    let cache = default_cache().unwrap();
    Prover::load_or_generate(&cache, version, SetupChoice::InsecureDevelopment, |stage| eprintln!("{stage}")).unwrap()
}

fn inputs_with(public: &PublicInputs, i: usize) -> PublicInputs {
    let mut other = *public;
    let one = Fr::from(1);
    match i {
        0 => other.domain = emr_rollup::operation::Domain::new(1, [7; 20]),
        1 => other.pre = another_root(other.pre),
        2 => other.post = another_root(other.post),
        3 => other.time += 1,
        4 => other.n1 += 1,
        5 => other.n += 1,
        6 => other.commitment += one,
        7 => other.z += one,
        8 => other.y1 += one,
        _ => other.y2 += one,
    }
    other
}

/// The prover of a small circuit, and two proofs of one batch. Tests share them.
fn small() -> &'static (Prover, [Proven; 2]) {
    static SHARED: OnceLock<(Prover, [Proven; 2])> = OnceLock::new();
    SHARED.get_or_init(|| {
        let prover = prover(SMALL);
        let proofs = [(); 2].map(|()| proven(&prover, SMALL));
        (prover, proofs)
    })
}

#[test]
fn proofs_hold_for_their_public_inputs_only() {
    let (prover, [Proven { public, proof }, _]) = small();
    let (public, verifier) = (*public, prover.verifier());
    assert_eq!(verifier.verify(&public, proof), Ok(()));
    for i in 0..PublicInputs::COUNT {
        assert_eq!(verifier.verify(&inputs_with(&public, i), proof), Err(VerifyError::Invalid), "input {i}");
    }
    for word in 0..proof.len() / 32 {
        let mut other = proof.clone();
        other[32 * word + 31] ^= 1;
        assert_eq!(verifier.verify(&public, &other), Err(VerifyError::Invalid), "word {word}");
    }
    let short = &proof[..proof.len() - 32];
    assert!(matches!(verifier.verify(&public, short), Err(VerifyError::Length { .. })));
    let longer = [&proof[..], &[0; 32]].concat();
    assert!(matches!(verifier.verify(&public, &longer), Err(VerifyError::Length { .. })));
}

/// The oracle: halo2-axiom's own prover makes proofs with the same key.
#[test]
fn both_provers_prove_with_one_key() {
    let (prover, _) = small();
    let (witness, public) = honest(SMALL);
    let circuit = BatchCircuit::new(&witness, &public);
    let halo2_axiom = Halo2Axiom::load(&default_cache().unwrap(), SMALL).unwrap();
    let (ours, theirs) = (prover.prove_circuit(&circuit, &public), halo2_axiom.prove_circuit(&circuit, &public));
    let verifier = prover.verifier();
    for proof in [ours.unwrap(), theirs.unwrap()] {
        assert_eq!(verifier.verify(&public, &proof), Ok(()));
    }
}

/// A prover that does not check its witness gets bytes that nobody accepts.
#[test]
fn a_false_witness_gives_no_proof() {
    let (prover, _) = small();
    let (witness, public) = honest(SMALL);
    let verifier = prover.verifier();
    let one = Fr::from(1);
    // Violates a gate (the new leaf's class), a copy (the path's sibling), a public input.
    let mut class = witness.clone();
    class.operations[2].new_record.class += one;
    let mut salt = witness.clone();
    salt.operations[0].message.salt += one;
    let mut other = public;
    other.post = another_root(other.post);
    for (witness, public) in [(&class, &public), (&salt, &public), (&witness, &other)] {
        assert!(matches!(prover.prove(witness, public), Err(ProverError::Violation(_))));
        let circuit = BatchCircuit::new(witness, public);
        let bytes = prover.prove_circuit(&circuit, public).unwrap();
        assert_eq!(verifier.verify(public, &bytes), Err(VerifyError::Invalid));
    }
}

/// The same for every kind of operation: what is written is not what was signed, or queued.
#[test]
fn a_false_witness_of_any_kind_gives_no_proof() {
    let version =
        CircuitVersion { account_depth: 4, grant_depth: 2, record_depth: 4, max_l1: 1, max_l2: 1, k: 12, ..SMALL };
    let prover = prover(version);
    let verifier = prover.verifier();
    let one = Fr::from(1);
    for (i, (honest, public)) in one_by_one(version).into_iter().enumerate() {
        let proof = prover.prove(&honest, &public).unwrap();
        assert_eq!(verifier.verify(&public, &proof), Ok(()), "batch {i}");
        let mut witness = honest.clone();
        match witness.operations.first_mut() {
            Some(operation) if operation.new_record.is_empty() => operation.new_grant.salt += one,
            Some(operation) => operation.new_record.stored += one,
            None => witness.entries[0].entry.opaque += one,
        }
        assert!(matches!(prover.prove(&witness, &public), Err(ProverError::Violation(_))), "batch {i}");
        let bytes = prover.prove_circuit(&BatchCircuit::new(&witness, &public), &public).unwrap();
        assert_eq!(verifier.verify(&public, &bytes), Err(VerifyError::Invalid), "batch {i}");
    }
}

fn compare_or_write(path: &str, content: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os(REGENERATE).is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == content, "{} is out of date: run the test with {REGENERATE}=1 and commit", path.display());
}

fn peak_memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default().to_owned();
    line.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// A proof of a batch with every kind of operation at full depth. All tests share it, because it takes long.
fn full_depth() -> &'static (Verifier, Proven) {
    static PROVEN: OnceLock<(Verifier, Proven)> = OnceLock::new();
    PROVEN.get_or_init(|| {
        let prover = prover(CircuitVersion::V1);
        let start = Instant::now();
        let proven = proven(&prover, CircuitVersion::V1);
        let seconds = start.elapsed().as_secs_f64();
        eprintln!("proved in {seconds:.1} s, {} bytes, peak {} MiB", proven.proof.len(), peak_memory_mib());
        (prover.verifier(), proven)
    })
}

fn proven(prover: &Prover, version: CircuitVersion) -> Proven {
    let (witness, public) = honest(version);
    Proven { public, proof: prover.prove(&witness, &public).unwrap() }
}

/// A batch with every kind of operation at full depth is proved, and is verified natively and by the contract.
#[test]
fn a_full_depth_batch_is_proved_and_verified_on_an_evm() {
    let (verifier, Proven { public, proof }) = full_depth();
    sizes::STANDARD.compare_key(verifier);
    compare_or_write("../contracts/test/generated/SnarkVerifier.sol", &verifier.solidity());
    assert_eq!(verifier.verify(public, proof), Ok(()));

    let contract = Contract::with_key(&sizes::STANDARD.key_code());
    let oracle = Contract::oracle();
    let honest = calldata(public, proof);
    let [gas, oracles_gas] = [&contract, &oracle].map(|contract| contract.call(&honest).unwrap());
    eprintln!(
        "verifier {} bytes, {gas} gas; snark-verifier's {} bytes, {oracles_gas} gas",
        contract.code.len(),
        oracle.code.len()
    );
    assert!(contract.code.len() < 10_000);
    assert!(gas < oracles_gas);
    for i in 0..PublicInputs::COUNT {
        assert_eq!(contract.call(&calldata(&inputs_with(public, i), proof)), None, "input {i}");
    }
    for word in PublicInputs::COUNT..honest.len() / 32 {
        let mut other = honest.clone();
        other[32 * word + 31] ^= 1;
        assert_eq!(contract.call(&other), None, "word {word}");
    }
    assert_eq!(contract.call(&[]), None);
    for (case, other) in other_encodings(&honest) {
        assert_eq!(contract.call(&other), None, "{case}");
    }
}

/// An operator puts another circuit's key on the chain without a compiler. The same verifier code takes its proofs.
#[test]
fn one_verifier_serves_every_key() {
    let (prover, [Proven { public, proof }, _]) = small();
    let contract = Contract::with_key(&prover.verifier().key_contract());
    assert!(contract.call(&calldata(public, proof)).is_some());
    let current = Contract::with_key(&sizes::STANDARD.key_code());
    assert_eq!(current.call(&calldata(public, proof)), None);
    assert!(current.code.len() == contract.code.len());
}

/// The verifier's constructor takes nothing but a contract with a key.
#[test]
fn the_verifier_needs_a_key() {
    let verifier = creation_code("../contracts/artifacts/Verifier.json");
    let key = sizes::STANDARD.key_code();
    let code = KEY_PREFIX;
    let changed = |place: usize, value: u8| {
        let mut other = key.clone();
        other[place] = value;
        other
    };
    // The code's first byte, and the format's number.
    for (case, creation) in [("first byte", changed(code, 1)), ("format", changed(code + 1 + 32, 0))] {
        let not_a_key = Contract::create(CacheDB::default(), &creation).unwrap();
        let creation = [&verifier[..], &[0; 12], &not_a_key.address[..]].concat();
        assert!(Contract::create(not_a_key.state(), &creation).is_none(), "{case}");
    }
    let nobody = [&verifier[..], &[0; 12], &[7; 20]].concat();
    assert!(Contract::create(CacheDB::default(), &nobody).is_none());
}

/// The verifier was deployed with a short key. Then the key destroyed itself, and the genuine key was created at its
/// address. Everything that can be read is genuine, so what counts must be genuine too: the verifier reads the whole key
/// that is there. If it remembered the size of the short one, zeros would prove everything.
#[test]
fn the_verifier_reads_the_key_that_is_there() {
    let (_, Proven { public, proof }) = full_depth();
    // The same creation code as a key's, for 0x201 bytes: a zero byte, the first word, the format's number, zeros.
    let creation = [&hex!("610201" "80600a5f395ff3")[..], &[0; 33], &hex!("e101"), &[0; 0x201 - 35]].concat();
    let short = Contract::create(CacheDB::default(), &creation).unwrap();
    let address = short.address;
    let mut contract = Contract::of_key(short);
    let genuine = sizes::STANDARD.key_code().split_off(KEY_PREFIX);
    contract.replace_code(address, genuine.into());
    let honest = calldata(public, proof);
    assert_eq!(contract.call(&vec![0; honest.len()]), None);
    assert!(contract.call(&honest).is_some());
}

/// snark-verifier's contract reduces public inputs. Ours refuses one that is not below the modulus, like every other
/// scalar.
#[test]
fn public_inputs_are_canonical() {
    let (_, Proven { public, proof }) = full_depth();
    let contract = Contract::with_key(&sizes::STANDARD.key_code());
    let oracle = Contract::oracle();
    let honest = calldata(public, proof);
    for input in 0..PublicInputs::COUNT {
        let mut other = honest.clone();
        let word = changes::sum(&honest[32 * input..32 * (input + 1)], &changes::modulus());
        other[32 * input..32 * (input + 1)].copy_from_slice(&word);
        assert_eq!((contract.call(&other), oracle.call(&other).is_some()), (None, true), "input {input}");
    }
}

/// Calldata that an inexact reader would read as the same proof.
fn other_encodings(honest: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut cases = Vec::new();
    // The last case: the pairing's point once more, at the end and beyond all memory that the verifier writes. A verifier
    // that looks for it there, and does not check the size, pairs another point than the one in its sum.
    let last_point = [&[0; 0x8000], &honest[honest.len() - 64..]].concat();
    for extra in [&[0][..], &[1], &[0; 31], &[0; 32], &[0xff; 64], &[0; 4096], &last_point] {
        cases.push((format!("{} bytes after the proof", extra.len()), [honest, extra].concat()));
    }
    for missing in [1, 31, 32, 64] {
        cases.push((format!("{missing} bytes missing"), honest[..honest.len() - missing].to_vec()));
    }
    // A scalar and the scalar plus the modulus are equal modulo the modulus. Twice the modulus fits in a word, so most
    // words have such a twin.
    let modulus =
        U256::from_be_slice(&hex::decode("30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001").unwrap());
    for word in PublicInputs::COUNT..honest.len() / 32 {
        let place = 32 * word..32 * (word + 1);
        let value = U256::from_be_slice(&honest[place.clone()]);
        let mut other = honest.to_vec();
        other[place].copy_from_slice(&(value + modulus).to_be_bytes::<32>());
        cases.push((format!("word {word} plus the modulus"), other));
    }
    cases
}
