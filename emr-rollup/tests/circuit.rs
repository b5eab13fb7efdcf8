//! The constraint system accepts honest batches, and no cell of them is free.
#![cfg(feature = "prover")]
#![expect(clippy::unwrap_used, reason = "tests")]

use emr_rollup::testing::scenario::*;
use emr_rollup::{
    batch::PublicInputs,
    circuit::{BatchCircuit, CellId, Diagnosis},
    primitive::field::Fr,
    statement::BatchWitness,
    version::CircuitVersion,
};
use halo2_proofs::dev::MockProver;

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
fn a_batch_with_every_l1_operation_satisfies_every_constraint() {
    let (witness, public) = honest_changes(SMALL);
    let circuit = BatchCircuit::new(&witness, &public);
    assert_eq!(Diagnosis::new(&circuit, &public).failures(), []);
    let prover = MockProver::run(SMALL.k, &circuit, vec![public.elements().to_vec()]).unwrap();
    assert_eq!(prover.verify(), Ok(()));
}

#[test]
fn the_layout_does_not_depend_on_the_witness() {
    for version in [SMALL, CircuitVersion::V1] {
        let [circuit, changes] =
            [honest(version), honest_changes(version)].map(|(witness, public)| BatchCircuit::new(&witness, &public));
        let blank = BatchCircuit::blank(version).layout_digest();
        assert_eq!([circuit.layout_digest(), changes.layout_digest()], [blank; 2]);
        println!("{} rows", circuit.rows());
        assert!(circuit.fits());
    }
}

/// A size for L1 operations alone, and one for few operations: what the other tests need has no place in them.
#[test]
fn the_layout_of_every_size_does_not_depend_on_the_witness() {
    let sizes = [
        (CircuitVersion::V1_SMALL, honest_part(CircuitVersion::V1_SMALL)),
        (CircuitVersion::V1_QUEUE, honest_queue(CircuitVersion::V1_QUEUE)),
        (CircuitVersion::V1_LARGE, honest(CircuitVersion::V1_LARGE)),
    ];
    for (version, (witness, public)) in sizes {
        assert!(witness.entries.len() + witness.operations.len() > 10);
        let circuit = BatchCircuit::new(&witness, &public);
        let blank = BatchCircuit::blank(version);
        println!("{} + {}: {} rows of 2^{}", version.max_l1, version.max_l2, blank.rows(), version.k);
        assert_eq!(circuit.layout_digest(), blank.layout_digest());
        assert!(circuit.fits());
    }
}

#[test]
fn a_batch_of_the_queue_alone_satisfies_every_constraint() {
    let version = CircuitVersion { max_l1: 12, max_l2: 0, ..SMALL };
    let (witness, public) = honest_queue(version);
    let circuit = BatchCircuit::new(&witness, &public);
    assert_eq!(Diagnosis::new(&circuit, &public).failures(), []);
    let prover = MockProver::run(version.k, &circuit, vec![public.elements().to_vec()]).unwrap();
    assert_eq!(prover.verify(), Ok(()));
    // Each public input is bound, also the domain, which nothing is signed for here, and the count of operations.
    for (i, element) in public.elements().into_iter().enumerate() {
        let mut elements = public.elements().to_vec();
        elements[i] = element + Fr::from(1);
        let prover = MockProver::run(version.k, &circuit, vec![elements]).unwrap();
        assert!(prover.verify().is_err(), "public input {i}");
    }
}

/// A version so small that a test can change every cell.
const TINY: CircuitVersion =
    CircuitVersion { number: 1, account_depth: 4, grant_depth: 2, record_depth: 2, max_l1: 4, max_l2: 13, k: 15 };

/// The only cells that may hold anything: the inverse of x in a test for 0, where x is 0.
fn is_inverse_of_zero(diagnosis: &Diagnosis<'_>, cell: CellId) -> bool {
    let l = diagnosis.value(CellId { column: 0, ..cell });
    diagnosis.is_inverse(cell) && l == Fr::from(0)
}

/// Changes single cells of an honest table: each must break a constraint.
#[test]
fn no_cell_is_free() {
    for (witness, public) in [honest(TINY), honest_changes(TINY)] {
        no_cell_is_free_in(&witness, &public);
    }
}

fn no_cell_is_free_in(witness: &BatchWitness, public: &PublicInputs) {
    let circuit = BatchCircuit::new(witness, public);
    let diagnosis = Diagnosis::new(&circuit, public);
    let mut tried = 0;
    for (i, cell) in diagnosis.cells().enumerate() {
        // Every third cell, with one of two false values.
        if i % 3 != 0 {
            continue;
        }
        let value = diagnosis.value(cell);
        let other = if i % 2 == 0 { value + Fr::from(1) } else { value * Fr::from(7) + Fr::from(i as u64 + 3) };
        let refused = !diagnosis.failures_if(cell, other).is_empty();
        assert!(refused || is_inverse_of_zero(&diagnosis, cell), "{cell:?} is free: {:?}", diagnosis.origin(cell));
        tried += 1;
    }
    eprintln!("{tried} cells tried");
}
