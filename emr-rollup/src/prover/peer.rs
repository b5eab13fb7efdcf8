//! halo2-axiom's own prover, with the same key. Tests and benches compare [`Prover`](super::Prover) with it.

use std::path::Path;

use halo2_proofs::{
    plonk::{ProvingKey, create_proof_from_advice},
    poly::kzg::{commitment::KZGCommitmentScheme, multiopen::ProverSHPLONK},
    transcript::TranscriptWriterBuffer,
};
use halo2curves::bn256::{Bn256, G1Affine};
use rand_core_06::OsRng;
use snark_verifier::system::halo2::transcript::evm::EvmTranscript;

use super::{ProverError, Setup, keys};
use crate::{batch::PublicInputs, circuit::BatchCircuit, version::CircuitVersion};

/// halo2-axiom's `create_proof_from_advice` with the key of one version.
#[derive(Debug)]
pub struct Halo2Axiom {
    setup: Setup,
    key: ProvingKey<G1Affine>,
}

impl Halo2Axiom {
    /// Reads the keys from a folder, where [`Prover::load_or_generate`](super::Prover::load_or_generate) wrote them. `None` if they are not there.
    pub fn load(cache: &Path, version: CircuitVersion) -> Option<Self> {
        let circuit = BatchCircuit::blank(version);
        let setup = Setup::insecure_development_cached(cache, version.k).ok()?;
        let key = keys::load(cache, &circuit, &setup)?;
        Some(Self { setup, key })
    }

    /// Makes a proof for any table, like [`Prover::prove_circuit`](super::Prover::prove_circuit).
    ///
    /// # Errors
    /// [`ProverError::ProofSystem`] if halo2-axiom fails.
    pub fn prove_circuit(&self, circuit: &BatchCircuit, public: &PublicInputs) -> Result<Vec<u8>, ProverError> {
        let mut transcript: EvmTranscript<G1Affine, _, _, _> =
            TranscriptWriterBuffer::<_, G1Affine, _>::init(Vec::new());
        create_proof_from_advice::<KZGCommitmentScheme<Bn256>, ProverSHPLONK<'_, Bn256>, _, _, _>(
            &self.setup.params,
            &self.key,
            &[&public.elements()],
            circuit.advice(),
            OsRng,
            &mut transcript,
        )
        .map_err(|error| ProverError::ProofSystem(error.to_string()))?;
        Ok(transcript.finalize())
    }
}
