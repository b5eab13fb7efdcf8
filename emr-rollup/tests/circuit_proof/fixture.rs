//! A real proof for the tests in `contracts/test/forge`, which have no prover.

use std::path::PathBuf;

use emr_rollup::{
    batch::{Batch, Prover as _, Sealed},
    testing::scenario::{open, operations},
    version::CircuitVersion,
};
use revm::primitives::hex;
use serde_json::{Value, json};

use crate::{compare_or_write, prover};

const FIXTURE: &str = "../contracts/test/forge/proven.json";

/// The first batch of a rollup: four registrations, and operations in all slots but one.
fn batch() -> Batch<Sealed> {
    let size = CircuitVersion::V1_SMALL;
    let mut batch = open(size);
    for operation in operations(&size).iter().take(size.max_l2 - 1) {
        batch.push(operation).unwrap();
    }
    batch.seal().0
}

/// What a rollup needs to settle the batch. Chain and address are those of the scenario's domain.
fn fixture(batch: &Batch<Sealed>, proof: &[u8]) -> Value {
    let word = |bytes: &[u8]| format!("0x{}", hex::encode(bytes));
    let words = |entries: Vec<[[u8; 32]; 4]>| entries.as_flattened().iter().map(|it| word(it)).collect::<Vec<_>>();
    let public = batch.public();
    json!({
        "setup": "INSECURE DEVELOPMENT SETUP",
        "chainId": 31337,
        "rollup": word(&[0x11; 20]),
        "number": batch.number(),
        "pre": word(public.pre.as_bytes()),
        "post": word(public.post.as_bytes()),
        "time": public.time,
        "commitment": word(&emr_rollup::primitive::field::to_bytes(&public.commitment)),
        "d1": words(batch.data().d1.iter().map(|entry| entry.to_bytes()).collect()),
        "d2": words(batch.data().d2.iter().map(|entry| entry.to_bytes()).collect()),
        "proof": word(proof),
    })
}

/// Proofs are random, so the committed one stays as long as it holds.
#[test]
fn the_proof_for_forge_is_of_this_circuit() {
    let (batch, prover) = (batch(), prover(CircuitVersion::V1_SMALL));
    let verifier = prover.verifier();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(FIXTURE);
    let committed: Value =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap_or_default()).unwrap_or_default();
    let proof = hex::decode(committed["proof"].as_str().unwrap_or_default()).unwrap_or_default();
    let proof = match verifier.verify(batch.public(), &proof) {
        Ok(()) => proof,
        Err(_) => prover.prove(batch.witness(), batch.public()).unwrap(),
    };
    assert_eq!(verifier.verify(batch.public(), &proof), Ok(()));
    compare_or_write(FIXTURE, &(serde_json::to_string_pretty(&fixture(&batch, &proof)).unwrap() + "\n"));
}
