//! The sizes of the circuit: their keys are the committed ones, and the verifier of a size refuses proofs of other sizes.

use std::time::Instant;

use emr_rollup::{
    batch::{Prover as _, PublicInputs},
    circuit::BatchCircuit,
    prover::{Prover, Verifier, calldata},
    statement::BatchWitness,
    testing::scenario::{honest_part, honest_queue, open, operations},
    version::CircuitVersion,
};
use revm::primitives::hex;

use crate::{
    KEY_PREFIX, compare_or_write,
    contract::{Contract, creation_code},
    full_depth, prover,
};

/// A size whose key of the development setup is committed.
pub(crate) struct Size {
    name: &'static str,
    version: CircuitVersion,
}

const SMALL: Size = Size { name: "Small", version: CircuitVersion::V1_SMALL };
pub(crate) const STANDARD: Size = Size { name: "Standard", version: CircuitVersion::V1 };
const QUEUE: Size = Size { name: "Queue", version: CircuitVersion::V1_QUEUE };

impl Size {
    fn artifact(&self) -> String {
        format!("../contracts/generated/VerifyingKey{}.json", self.name)
    }

    /// The creation code of the committed key's contract.
    pub(crate) fn key_code(&self) -> Vec<u8> {
        creation_code(&self.artifact())
    }

    /// The key's artefact is in the form of the compiled contracts' artefacts.
    pub(crate) fn compare_key(&self, verifier: &Verifier) {
        let creation = verifier.key_contract();
        let artifact = serde_json::json!({
            "contractName": format!("VerifyingKey{}", self.name),
            "keyDigest": verifier.key_digest().to_string(),
            "setup": "INSECURE DEVELOPMENT SETUP: for development chains only",
            "deployedSize": creation.len() - KEY_PREFIX,
            "abi": [],
            "bytecode": format!("0x{}", hex::encode(&creation)),
        });
        compare_or_write(&self.artifact(), &(serde_json::to_string_pretty(&artifact).unwrap() + "\n"));
    }

    /// Proves a batch. The committed key's contract and the native verifier accept the proof, and those of the others do
    /// not.
    fn prove_and_verify(&self, (witness, public): (BatchWitness, PublicInputs), others: &[&Self]) {
        let prover: Prover = prover(self.version);
        self.compare_key(&prover.verifier());
        let start = Instant::now();
        let proof = prover.prove(&witness, &public).unwrap();
        eprintln!("{}: proved in {:.1} s, {} bytes", self.name, start.elapsed().as_secs_f64(), proof.len());
        let contract = Contract::with_key(&self.key_code());
        eprintln!("{}: {} gas", self.name, contract.call(&calldata(&public, &proof)).unwrap());
        for other in others {
            let contract = Contract::with_key(&other.key_code());
            assert_eq!(contract.call(&calldata(&public, &proof)), None, "{} at {}", self.name, other.name);
        }
        let (standard, _) = full_depth();
        assert!(standard.verify(&public, &proof).is_err());
    }
}

/// Tells in seconds whether a key changed. The tests below take minutes. Keys depend only on these layouts.
#[test]
fn the_layout_is_the_one_of_the_key() {
    let large = Size { name: "Large", version: CircuitVersion::V1_LARGE };
    let digest = |size: &Size| hex::encode(BatchCircuit::blank(size.version).layout_digest());
    let lines = [SMALL, STANDARD, QUEUE, large].map(|size| format!("{:<8} 0x{}\n", size.name, digest(&size)));
    compare_or_write("tests/circuit_layout.digest", &lines.concat());
}

#[test]
fn a_small_batch_is_proved_in_the_small_size() {
    SMALL.prove_and_verify(honest_part(SMALL.version), &[&STANDARD, &QUEUE]);
}

#[test]
fn a_batch_of_the_queue_is_proved_in_the_size_for_the_queue() {
    QUEUE.prove_and_verify(honest_queue(QUEUE.version), &[&STANDARD, &SMALL]);
}

/// What a proof is verified against depends on the size: the same operations give another commitment, and another `z`.
#[test]
fn public_inputs_of_one_batch_differ_between_sizes() {
    let inputs = |size: &Size| {
        let mut batch = open(size.version);
        for operation in &operations(&size.version)[..SMALL.version.max_l2] {
            batch.push(operation).unwrap();
        }
        *batch.seal().0.public()
    };
    let [small, standard] = [SMALL, STANDARD].map(|size| inputs(&size));
    assert_eq!((small.pre, small.post, small.n1, small.n), (standard.pre, standard.post, standard.n1, standard.n));
    assert_ne!(small.commitment, standard.commitment);
    assert_ne!(small.z, standard.z);
}
