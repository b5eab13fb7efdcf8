//! Real proofs. MockProver checks neither degrees nor verifiers.
#![cfg(feature = "prover")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{path::PathBuf, time::Instant};

use emr_rollup::testing::scenario::*;
use emr_rollup::{
    batch::{Prover as _, PublicInputs},
    circuit::BatchCircuit,
    primitive::field::Fr,
    prover::{Prover, ProverError, VerifyError, calldata, default_cache},
    version::CircuitVersion,
};
use revm::{
    Context, ExecuteCommitEvm, MainBuilder, MainContext,
    context::TxEnv,
    context_interface::result::{ExecutionResult, Output},
    database::{CacheDB, EmptyDB},
    primitives::{Address, Bytes, TxKind, U256, hex},
};

/// If this variable is set, the tests write the generated files instead of comparing them.
const REGENERATE: &str = "EMR_REGENERATE";

fn prover(version: CircuitVersion) -> Prover {
    let cache = default_cache().unwrap();
    Prover::load_or_generate(&cache, version, |stage| eprintln!("{stage}")).unwrap()
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

#[test]
fn proofs_hold_for_their_public_inputs_only() {
    let prover = prover(SMALL);
    let (witness, public) = honest(SMALL);
    let proof = prover.prove(&witness, &public).unwrap();
    let verifier = prover.verifier();
    assert_eq!(verifier.verify(&public, &proof), Ok(()));
    for i in 0..PublicInputs::COUNT {
        assert_eq!(verifier.verify(&inputs_with(&public, i), &proof), Err(VerifyError::Invalid), "input {i}");
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

/// A prover that does not check its witness gets bytes that nobody accepts.
#[test]
fn a_false_witness_gives_no_proof() {
    let prover = prover(SMALL);
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

/// Tells in seconds whether the key changed. The test below takes minutes. Keys depend only on this layout.
#[test]
fn the_layout_is_the_one_of_the_key() {
    let layout = BatchCircuit::blank(CircuitVersion::V1).layout_digest();
    compare_or_write("tests/circuit_layout.digest", &format!("0x{}\n", hex::encode(layout)));
}

/// A batch with every kind of operation at full depth is proved, and is verified natively and by the contract.
#[test]
fn a_full_depth_batch_is_proved_and_verified_on_an_evm() {
    let version = CircuitVersion::V1;
    let prover = prover(version);
    compare_or_write("tests/circuit_key.digest", &format!("{}\n", prover.key_digest()));
    compare_or_write("../contracts/generated/Verifier.sol", &prover.verifier().solidity());

    let (witness, public) = honest(version);
    let start = Instant::now();
    let proof = prover.prove(&witness, &public).unwrap();
    eprintln!(
        "proved in {:.1} s, {} bytes, peak {} MiB",
        start.elapsed().as_secs_f64(),
        proof.len(),
        peak_memory_mib()
    );
    assert_eq!(prover.verifier().verify(&public, &proof), Ok(()));

    let contract = Contract::deploy("../contracts/artifacts/Verifier.json");
    eprintln!("verifier {} bytes", contract.size);
    assert!(contract.size < 24_576);
    let gas = contract.call(&calldata(&public, &proof)).unwrap();
    eprintln!("verified for {gas} gas");
    assert!(gas < 480_000);
    for i in 0..PublicInputs::COUNT {
        assert_eq!(contract.call(&calldata(&inputs_with(&public, i), &proof)), None, "input {i}");
    }
    let honest = calldata(&public, &proof);
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

/// Calldata that an inexact reader would read as the same proof.
fn other_encodings(honest: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut cases = Vec::new();
    for extra in [&[0][..], &[1], &[0; 31], &[0; 32], &[0xff; 64], &[0; 4096]] {
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

/// A deployed verifier.
struct Contract {
    state: CacheDB<EmptyDB>,
    address: Address,
    size: usize,
}

impl Contract {
    fn deploy(artifact: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(artifact);
        let artifact: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let code = hex::decode(artifact["bytecode"].as_str().unwrap()).unwrap();
        let mut state = CacheDB::<EmptyDB>::default();
        let result = transact(&mut state, TxKind::Create, code.into());
        let ExecutionResult::Success { output: Output::Create(code, Some(address)), .. } = result else {
            panic!("not deployed: {result:?}")
        };
        Self { state, address, size: code.len() }
    }

    /// The gas of an accepted call; `None` for a reverted one.
    fn call(&self, data: &[u8]) -> Option<u64> {
        let result = transact(&mut self.state.clone(), TxKind::Call(self.address), data.to_vec().into());
        result.is_success().then(|| result.tx_gas_used())
    }
}

fn transact(state: &mut CacheDB<EmptyDB>, kind: TxKind, data: Bytes) -> ExecutionResult {
    let mut evm =
        Context::mainnet().with_db(state).modify_cfg_chained(|cfg| cfg.disable_nonce_check = true).build_mainnet();
    let transaction = TxEnv::builder().kind(kind).data(data).gas_limit(16_777_216).build().unwrap();
    evm.transact_commit(transaction).unwrap()
}
