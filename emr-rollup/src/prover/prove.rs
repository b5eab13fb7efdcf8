//! Makes the proof of a sealed batch.

use std::path::Path;

use halo2_proofs::{plonk::ProvingKey, transcript::TranscriptWriterBuffer};
use halo2curves::bn256::G1Affine;
use rand_chacha_03::{ChaCha20Rng, rand_core::SeedableRng};
use rand_core_06::OsRng;
use snark_verifier::system::halo2::transcript::evm::EvmTranscript;

use super::{
    keys::{self, KeyDigest},
    plonk::{Engine, KeyError},
    setup::Setup,
    verify::{Verifier, VerifyError},
};
use crate::{
    batch::PublicInputs,
    circuit::BatchCircuit,
    processor::{UnsupportedProcessor, check_processor},
    setup::{SetupChoice, SetupId},
    statement::{BatchWitness, Violation, check_batch},
    version::CircuitVersion,
};

/// A step of the preparation that takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading or generating the development setup.
    DevelopmentSetup,
    /// Reading an imported setup.
    ImportedSetup,
    /// Reading an imported setup, and checking every point.
    CheckSetup,
    /// Reading the proving key.
    LoadKey,
    /// Generating the proving key: once per version and cache folder.
    GenerateKey,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::DevelopmentSetup => "preparing the development setup",
            Self::ImportedSetup => "reading the ceremony's setup",
            Self::CheckSetup => "checking the ceremony's setup",
            Self::LoadKey => "reading the proving key",
            Self::GenerateKey => "generating the proving key",
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
    /// The setup is not in the folder.
    #[error(
        "there is no setup {id} of 2^{k} in {}: run `emr-hospital setup --ptau FILE{}` on this machine, with the file of the ceremony that \
         this rollup was deployed with", folder.display(), if *k > CircuitVersion::V1.k { " --large" } else { "" }
    )]
    NoSetup {
        /// The setup.
        id: SetupId,
        /// The binary logarithm of the number of powers that are needed.
        k: u32,
        /// The folder.
        folder: std::path::PathBuf,
    },
    /// The setup in the folder was changed after it was imported.
    #[error(
        "the points of setup {id} in {} do not follow from its tau: somebody changed the file; find out who can write there, then import the \
         ceremony's file again", folder.display()
    )]
    AlteredSetup {
        /// The setup.
        id: SetupId,
        /// The folder.
        folder: std::path::PathBuf,
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
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// halo2 failed.
    #[error("the proof system failed: {0}")]
    ProofSystem(String),
    /// The new proof does not verify: the key does not belong to the circuit.
    #[error("the proof does not verify under its own key; delete the key cache and try again")]
    SelfCheck(#[source] VerifyError),
}

/// The circuit without a witness, if it fits.
fn blank(version: CircuitVersion) -> Result<BatchCircuit, ProverError> {
    let circuit = BatchCircuit::blank(version);
    if circuit.fits() { Ok(circuit) } else { Err(ProverError::DoesNotFit { rows: circuit.rows(), k: version.k }) }
}

fn imported(cache: &Path, version: CircuitVersion, id: SetupId) -> Result<Setup, ProverError> {
    let absent = ProverError::NoSetup { id, k: version.k, folder: cache.to_owned() };
    Setup::imported(cache, version.k, id).ok_or(absent)
}

/// Makes proofs for one version.
#[derive(Debug)]
pub struct Prover {
    version: CircuitVersion,
    setup: Setup,
    engine: Engine,
}

impl Prover {
    /// The default of [`with_memory`](Self::with_memory), in bytes: 1 GiB. This is enough for k = 17; k = 19 can use 2 GiB.
    pub const MEMORY: u64 = 1 << 30;

    /// Reads the setup and the keys from a folder. Generates the keys there if they are absent, and the development
    /// setup.
    ///
    /// # Errors
    /// [`ProverError::Processor`] if the processor cannot run this build. [`ProverError::Cache`] if the folder cannot be used. [`ProverError::NoSetup`] if the chosen setup was not
    /// imported. [`ProverError::DoesNotFit`] if the version needs more rows. [`ProverError::ProofSystem`] if halo2
    /// fails.
    pub fn load_or_generate(
        cache: &Path,
        version: CircuitVersion,
        choice: SetupChoice,
        mut on_progress: impl FnMut(Stage),
    ) -> Result<Self, ProverError> {
        check_processor()?;
        let unusable = |source| ProverError::Cache { folder: cache.to_owned(), source };
        let circuit = blank(version)?;
        let setup = match choice {
            SetupChoice::InsecureDevelopment => {
                on_progress(Stage::DevelopmentSetup);
                Setup::insecure_development_cached(cache, version.k).map_err(unusable)?
            }
            SetupChoice::Imported(id) => {
                on_progress(Stage::ImportedSetup);
                imported(cache, version, id)?
            }
        };
        on_progress(Stage::LoadKey);
        if let Some(key) = keys::load(cache, &circuit, &setup) {
            return Self::new(version, setup, &key);
        }
        on_progress(Stage::GenerateKey);
        Self::generate(cache, version, setup)
    }

    /// Makes the keys of an imported setup again, for a deployment. It does not trust the folder: it checks every point of
    /// the setup, reads no key, and replaces the key in the folder. Anyone who could change these files could otherwise
    /// put a key on the chain that accepts false proofs.
    ///
    /// # Errors
    /// [`ProverError::AlteredSetup`] if the setup's points do not follow from its name, otherwise as for
    /// [`Self::load_or_generate`].
    pub fn generate_for_deployment(
        cache: &Path,
        version: CircuitVersion,
        id: SetupId,
        mut on_progress: impl FnMut(Stage),
    ) -> Result<Self, ProverError> {
        check_processor()?;
        blank(version)?;
        on_progress(Stage::CheckSetup);
        let setup = imported(cache, version, id)?;
        if !setup.is_intact() {
            return Err(ProverError::AlteredSetup { id, folder: cache.to_owned() });
        }
        on_progress(Stage::GenerateKey);
        Self::generate(cache, version, setup)
    }

    fn generate(cache: &Path, version: CircuitVersion, setup: Setup) -> Result<Self, ProverError> {
        let circuit = blank(version)?;
        let key = keys::generate(&circuit, &setup).map_err(|error| ProverError::ProofSystem(error.to_string()))?;
        let unusable = |source| ProverError::Cache { folder: cache.to_owned(), source };
        keys::store(cache, &circuit, &setup, &key).map_err(unusable)?;
        Self::new(version, setup, &key)
    }

    fn new(version: CircuitVersion, setup: Setup, key: &ProvingKey<G1Affine>) -> Result<Self, ProverError> {
        let engine = Engine::new(&setup.params, key, Self::MEMORY)?;
        Ok(Self { version, setup, engine })
    }

    /// Bounds the bytes that the prover keeps between proofs to make the next one faster: up to 0.5 GiB at k = 17, and twice as
    /// much for each higher k. With less memory, the first proof takes no longer, and later ones take as long as the first.
    ///
    /// It does not bound what a proof takes while it is made. Of this, only one part depends on the machine: each thread
    /// sorts points, which takes up to 13 MiB at k = 17, and twice as much for each higher k.
    #[must_use]
    pub fn with_memory(mut self, bytes: u64) -> Self {
        self.engine.keep(bytes);
        self
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
        KeyDigest::of(&self.setup.params, self.engine.verifying_key())
    }

    /// The verifier of its proofs.
    pub fn verifier(&self) -> Verifier {
        Verifier::new(&self.setup, self.engine.verifying_key().clone())
    }

    /// Makes a proof for any table, also for a false one. The proof of a false table does not verify.
    ///
    /// # Errors
    /// [`ProverError::OtherVersion`] if the circuit is of another version. [`ProverError::ProofSystem`] if halo2 fails.
    pub fn prove_circuit(&self, circuit: &BatchCircuit, public: &PublicInputs) -> Result<Vec<u8>, ProverError> {
        self.assert_version(circuit.version())?;
        let mut transcript: EvmTranscript<G1Affine, _, _, _> =
            TranscriptWriterBuffer::<_, G1Affine, _>::init(Vec::new());
        let failed = |error: &dyn std::fmt::Display| ProverError::ProofSystem(error.to_string());
        let rng = ChaCha20Rng::from_rng(OsRng).map_err(|error| failed(&error))?;
        self.engine
            .prove(&[&public.elements()], circuit.advice(), rng, &mut transcript)
            .map_err(|error| failed(&error))?;
        Ok(transcript.finalize())
    }

    /// Only the transforms and the sums of points of a proof. Benches compare a proof with this.
    #[cfg(feature = "testing")]
    pub fn bare(&self, circuit: &BatchCircuit) {
        self.engine.bare(circuit.advice(), ChaCha20Rng::from_entropy());
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
