//! Makes the proof of a sealed batch.

use std::path::Path;

use halo2_proofs::{
    plonk::{ProvingKey, create_proof_from_advice},
    poly::kzg::{commitment::KZGCommitmentScheme, multiopen::ProverSHPLONK},
    transcript::TranscriptWriterBuffer,
};
use halo2curves::bn256::{Bn256, G1Affine};
use rand_core_06::OsRng;
use snark_verifier::system::halo2::transcript::evm::EvmTranscript;

use super::{
    keys::{self, KeyDigest},
    setup::Setup,
    verify::{Verifier, VerifyError},
};
use crate::{
    batch::PublicInputs,
    circuit::BatchCircuit,
    processor::{UnsupportedProcessor, check_processor},
    statement::{BatchWitness, Violation, check_batch},
    version::CircuitVersion,
};

/// A step of the preparation that takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading or generating the setup.
    Setup,
    /// Reading the proving key.
    LoadKey,
    /// Generating the proving key: once per version and cache folder.
    GenerateKey,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Setup => "preparing the development setup",
            Self::LoadKey => "reading the proving key",
            Self::GenerateKey => "generating the proving key (once)",
        })
    }
}

/// Why no proof was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProverError {
    /// The processor cannot run this build.
    #[error(transparent)]
    Processor(#[from] UnsupportedProcessor),
    /// The cache folder cannot be used.
    #[error("cannot use the key cache {folder}: {source}")]
    Cache {
        /// The folder.
        folder: std::path::PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The version's slots do not fit its rows.
    #[error("the circuit needs {rows} rows and 2^{k} are given: choose fewer slots or a greater k")]
    DoesNotFit {
        /// The number of rows needed.
        rows: usize,
        /// The binary logarithm of the number of rows given.
        k: u32,
    },
    /// The witness is for another version than the key.
    #[error("the witness is for circuit version {witness:?} and the key for {key:?}")]
    OtherVersion {
        /// The witness's version.
        witness: Box<CircuitVersion>,
        /// The key's version.
        key: Box<CircuitVersion>,
    },
    /// The statement to be proved is false.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// halo2 failed.
    #[error("the proof system failed: {0}")]
    ProofSystem(String),
    /// The new proof does not verify: the key does not belong to the circuit.
    #[error("the proof does not verify under its own key; delete the key cache and try again")]
    SelfCheck(#[source] VerifyError),
}

/// Makes proofs for one version.
#[derive(Debug)]
pub struct Prover {
    version: CircuitVersion,
    setup: Setup,
    key: ProvingKey<G1Affine>,
}

impl Prover {
    /// Reads the development setup and the keys from a folder, or generates them there.
    ///
    /// # Errors
    /// [`ProverError::Processor`] if the processor cannot run this build. [`ProverError::Cache`] if the folder cannot be used.
    /// [`ProverError::DoesNotFit`] if the version needs more rows. [`ProverError::ProofSystem`] if halo2 fails.
    pub fn load_or_generate(
        cache: &Path,
        version: CircuitVersion,
        mut on_progress: impl FnMut(Stage),
    ) -> Result<Self, ProverError> {
        check_processor()?;
        let unusable = |source| ProverError::Cache { folder: cache.to_owned(), source };
        let circuit = BatchCircuit::blank(version);
        if !circuit.fits() {
            return Err(ProverError::DoesNotFit { rows: circuit.rows(), k: version.k });
        }
        on_progress(Stage::Setup);
        let setup = Setup::insecure_development_cached(cache, version.k).map_err(unusable)?;
        on_progress(Stage::LoadKey);
        if let Some(key) = keys::load(cache, &circuit, &setup) {
            return Ok(Self { version, setup, key });
        }
        on_progress(Stage::GenerateKey);
        let key = keys::generate(&circuit, &setup).map_err(|error| ProverError::ProofSystem(error.to_string()))?;
        keys::store(cache, &circuit, &setup, &key).map_err(unusable)?;
        Ok(Self { version, setup, key })
    }

    /// The version.
    pub fn version(&self) -> &CircuitVersion {
        &self.version
    }

    /// The setup.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The digest of the verifying key.
    pub fn key_digest(&self) -> KeyDigest {
        KeyDigest::of(self.key.get_vk())
    }

    /// The verifier of its proofs.
    pub fn verifier(&self) -> Verifier {
        Verifier::new(&self.setup, self.key.get_vk().clone())
    }

    /// Makes a proof for any table, also for a false one. The proof of a false table does not verify.
    ///
    /// # Errors
    /// [`ProverError::OtherVersion`] if the circuit is of another version. [`ProverError::ProofSystem`] if halo2 fails.
    pub fn prove_circuit(&self, circuit: &BatchCircuit, public: &PublicInputs) -> Result<Vec<u8>, ProverError> {
        self.assert_version(circuit.version())?;
        let mut transcript = TranscriptWriterBuffer::<_, G1Affine, _>::init(Vec::new());
        create_proof_from_advice::<
            KZGCommitmentScheme<Bn256>,
            ProverSHPLONK<'_, Bn256>,
            _,
            _,
            EvmTranscript<_, _, _, _>,
        >(&self.setup.params, &self.key, &[&public.elements()], circuit.advice(), OsRng, &mut transcript)
        .map_err(|error| ProverError::ProofSystem(error.to_string()))?;
        Ok(transcript.finalize())
    }

    fn assert_version(&self, version: &CircuitVersion) -> Result<(), ProverError> {
        if *version == self.version {
            return Ok(());
        }
        Err(ProverError::OtherVersion { witness: Box::new(*version), key: Box::new(self.version) })
    }
}

impl crate::batch::Prover for Prover {
    type Error = ProverError;

    /// Checks the statement, proves it, and verifies the proof.
    ///
    /// # Errors
    /// [`ProverError`] if no proof can be made. [`ProverError::Violation`] comes before the long computation starts.
    fn prove(&self, witness: &BatchWitness, public: &PublicInputs) -> Result<Vec<u8>, ProverError> {
        self.assert_version(&witness.version)?;
        check_batch(witness, public)?;
        let proof = self.prove_circuit(&BatchCircuit::new(witness, public), public)?;
        self.verifier().verify(public, &proof).map_err(ProverError::SelfCheck)?;
        Ok(proof)
    }
}
