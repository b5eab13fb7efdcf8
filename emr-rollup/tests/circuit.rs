//! The constraint system on honest batches, and that nothing in them is free.
#![cfg(feature = "prover")]
#![expect(clippy::unwrap_used, reason = "tests")]

mod scenario;

use emr_rollup::{
    circuit::{BatchCircuit, Diagnosis},
    data::CircuitVersion,
};
use halo2_proofs::dev::MockProver;
use scenario::*;

#[test]
fn an_honest_batch_satisfies_every_constraint() {
    let (witness, public) = honest(SMALL);
    let circuit = BatchCircuit::new(&witness, &public);
    println!("{}", circuit.costs());
    let failures = Diagnosis::new(&circuit, &public).failures();
    assert!(failures.is_empty(), "{} failures, the first: {}", failures.len(), failures[0]);
    assert!(circuit.fits());
    let prover = MockProver::run(SMALL.k, &circuit, vec![public.elements().to_vec()]).unwrap();
    assert_eq!(prover.verify(), Ok(()));
}

#[test]
fn the_layout_does_not_depend_on_the_witness() {
    for version in [SMALL, CircuitVersion::V1] {
        let (witness, public) = honest(version);
        let circuit = BatchCircuit::new(&witness, &public);
        assert_eq!(circuit.layout_digest(), BatchCircuit::blank(version).layout_digest());
        println!("{} rows", circuit.rows());
        assert!(circuit.fits());
    }
}
