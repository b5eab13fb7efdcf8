//! Groth16 over R1CS (`ark-groth16`): the proof system that other rollups use, with as many hashes and signatures as a
//! batch of this project needs, and nothing else. Bits of paths, range checks and rules are left out, so this circuit
//! proves less than a batch.
//!
//! `benches --bin prove --peer PROGRAM` runs it. It makes a key and the matrices once, and prints `ready`. Then it makes a proof for each line
//! of its input, and prints a line with the time: the witness and the proof count, the key and the verification do not.

mod circuit;
mod poseidon;
#[path = "../../src/prove/usage.rs"]
mod usage;

use std::{error::Error, io};

use ark_bn254::{Bn254, Fr};
use ark_ff::UniformRand;
use ark_groth16::{Groth16, ProvingKey, prepare_verifying_key};
use ark_relations::gr1cs::{
    ConstraintSynthesizer, ConstraintSystem, Matrix, OptimizationGoal, R1CS_PREDICATE_LABEL, SynthesisError,
    SynthesisMode,
};
use ark_std::rand::{Rng, SeedableRng, rngs::StdRng};
use circuit::Batch;
use clap::Parser;
use poseidon::Poseidon;
use serde::Serialize;
use usage::{Time, peak_gibibytes};

/// Prove a batch with Groth16 for each line of the input
#[derive(Debug, Parser)]
struct Arguments {
    /// Operations in the batch
    #[arg(long, default_value_t = 8)]
    operations: usize,
    /// Poseidon permutations of an operation, those of its signature included
    #[arg(long, default_value_t = 86)]
    permutations: usize,
}

/// One proof.
#[derive(Debug, Serialize)]
struct Turn {
    operations: usize,
    seconds: f64,
    cpu_seconds: f64,
    peak_gibibytes: f64,
    constraints: usize,
    permutations_per_operation: usize,
}

/// What is prepared once for a circuit.
struct Circuit {
    key: ProvingKey<Bn254>,
    matrices: Vec<Matrix<Fr>>,
    inputs: usize,
    constraints: usize,
}

impl Circuit {
    fn new(batch: &Batch, rng: &mut impl Rng) -> Result<Self, SynthesisError> {
        let key = Groth16::<Bn254>::generate_random_parameters_with_reduction(batch, rng)?;
        let system = ConstraintSystem::new_ref();
        system.set_optimization_goal(OptimizationGoal::Constraints);
        system.set_mode(SynthesisMode::Setup);
        batch.generate_constraints(system.clone())?;
        system.finalize();
        let matrices = system.to_matrices()?.remove(R1CS_PREDICATE_LABEL).ok_or(SynthesisError::MissingCS)?;
        Ok(Self { key, matrices, inputs: system.num_instance_variables(), constraints: system.num_constraints() })
    }

    fn prove(&self, batch: &Batch, rng: &mut impl Rng) -> Result<ark_groth16::Proof<Bn254>, SynthesisError> {
        let system = ConstraintSystem::new_ref();
        system.set_mode(SynthesisMode::Prove { construct_matrices: false, generate_lc_assignments: false });
        batch.generate_constraints(system.clone())?;
        let assignment = [system.instance_assignment()?, system.witness_assignment()?].concat();
        Groth16::<Bn254>::create_proof_with_reduction_and_matrices(
            &self.key,
            Fr::rand(rng),
            Fr::rand(rng),
            &self.matrices,
            self.inputs,
            self.constraints,
            &assignment,
        )
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { operations, permutations } = Arguments::parse();
    let mut rng = StdRng::seed_from_u64(1);
    let batch = Batch::random(Poseidon::circomlib()?, operations, permutations, &mut rng);
    let (circuit, setup) = Time::of(|| Circuit::new(&batch, &mut rng));
    let circuit = circuit?;
    eprintln!("groth16: {} constraints, key made in {:.0} s", circuit.constraints, setup.seconds);
    let verifying_key = prepare_verifying_key(&circuit.key.vk);
    println!("ready");
    for line in io::stdin().lines() {
        line?;
        let (proof, time) = Time::of(|| circuit.prove(&batch, &mut rng));
        if !Groth16::<Bn254>::verify_proof(&verifying_key, &proof?, &[batch.end])? {
            return Err("the proof does not verify".into());
        }
        let turn = Turn {
            operations,
            seconds: time.seconds,
            cpu_seconds: time.cpu_seconds,
            peak_gibibytes: peak_gibibytes().unwrap_or(f64::NAN),
            constraints: circuit.constraints,
            permutations_per_operation: permutations,
        };
        println!("{}", serde_json::to_string(&turn)?);
    }
    Ok(())
}
