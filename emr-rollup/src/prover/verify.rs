//! Native verification.

use halo2_proofs::{
    plonk::{VerifyingKey, verify_proof},
    poly::{
        VerificationStrategy,
        commitment::ParamsProver,
        kzg::{commitment::ParamsKZG, multiopen::VerifierSHPLONK, strategy::AccumulatorStrategy},
    },
    transcript::TranscriptReadBuffer,
};
use halo2curves::bn256::{Bn256, G1Affine};
use snark_verifier::system::halo2::transcript::evm::EvmTranscript;

use super::{
    evm::image,
    keys::KeyDigest,
    setup::{Provenance, Setup},
    solidity,
};
use crate::batch::PublicInputs;

/// Why a proof was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The proof has the wrong length.
    #[error("a proof has {expected} bytes, this has {found}")]
    Length {
        /// The length of every proof in bytes.
        expected: usize,
        /// The length of this proof in bytes.
        found: usize,
    },
    /// The proof is not valid for these public inputs.
    #[error("the proof is not valid for these public inputs")]
    Invalid,
}

/// Verifies proofs of one version.
#[derive(Clone, Debug)]
pub struct Verifier {
    params: ParamsKZG<Bn256>,
    key: VerifyingKey<G1Affine>,
    provenance: Provenance,
    proof_size: usize,
}

impl Verifier {
    pub(super) fn new(setup: &Setup, key: VerifyingKey<G1Affine>) -> Self {
        let params = setup.params.verifier_params().clone();
        let proof_size = solidity::proof_size(&params, &key);
        Self { params, key, provenance: setup.provenance().clone(), proof_size }
    }

    /// The digest of the verifying key.
    pub fn key_digest(&self) -> KeyDigest {
        KeyDigest::of(&self.params, &self.key)
    }

    /// Verifies a proof.
    ///
    /// # Errors
    /// [`VerifyError`] if the proof is not valid.
    pub fn verify(&self, public: &PublicInputs, proof: &[u8]) -> Result<(), VerifyError> {
        if proof.len() != self.proof_size {
            return Err(VerifyError::Length { expected: self.proof_size, found: proof.len() });
        }
        let mut transcript = TranscriptReadBuffer::<_, G1Affine, _>::init(proof);
        let strategy = verify_proof::<_, VerifierSHPLONK<'_, Bn256>, _, EvmTranscript<_, _, _, _>, _>(
            &self.params,
            &self.key,
            AccumulatorStrategy::new(&self.params),
            &[&[&public.elements()]],
            &mut transcript,
        )
        .map_err(|_| VerifyError::Invalid)?;
        if VerificationStrategy::<_, VerifierSHPLONK<'_, Bn256>>::finalize(strategy) {
            Ok(())
        } else {
            Err(VerifyError::Invalid)
        }
    }

    /// The creation code of the contract that holds the verifying key for `contracts/src/Verifier.sol`.
    pub fn key_contract(&self) -> Vec<u8> {
        image::key_contract(&self.params, &self.key)
    }

    /// The Solidity source of snark-verifier's contract for this key. Tests compare the verifier contract with it.
    pub fn solidity(&self) -> String {
        solidity::generate(&self.params, &self.key, &self.provenance)
    }
}
