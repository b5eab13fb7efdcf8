//! Loads keys, makes proofs and verifies them. Runs the heavy work on separate threads, and reports progress.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use emr_rollup::{
    batch::{Prover as _, PublicInputs},
    prover::{Prover, ProverError, Provers, Stage, Verifier, VerifyError},
    setup::SetupChoice,
    statement::BatchWitness,
    version::CircuitVersion,
};
use tokio::sync::watch;

/// Whether this node proves, and the folder of the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProverConfig {
    /// Folder for setup and keys. They are made when they are first needed, which takes minutes.
    pub cache: PathBuf,
    /// The setup of the keys: the one that the contract's verifiers were made from.
    pub setup: SetupChoice,
    /// Whether this node proves its batches. If not, it waits for a prover to fetch them. It verifies every proof in
    /// both cases.
    pub local: bool,
    /// Bytes that the prover may keep between proofs: see [`Prover::with_memory`].
    pub memory: u64,
}

/// What the node is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Activity {
    /// Nothing.
    #[default]
    Idle,
    /// Reading or making the keys.
    Keys {
        /// The stage of this work.
        stage: String,
    },
    /// Proving a batch.
    Proving {
        /// The batch's number.
        batch: u64,
        /// When it began.
        since: Instant,
        /// How long the last proof took, in milliseconds.
        estimate: Option<u64>,
    },
    /// Waiting for a prover to bring the proof of a batch.
    Waiting {
        /// The batch's number.
        batch: u64,
    },
    /// Settling a batch.
    Settling {
        /// The batch's number.
        batch: u64,
    },
    /// Settling failed. The node tries again.
    Stuck {
        /// The batch's number.
        batch: u64,
        /// The reason.
        reason: String,
    },
}

impl std::fmt::Display for Activity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Idle => f.write_str("idle"),
            Self::Keys { stage } => f.write_str(stage),
            Self::Proving { batch, .. } => write!(f, "proving {batch}"),
            Self::Waiting { batch } => write!(f, "waiting for a proof of {batch}"),
            Self::Settling { batch } => write!(f, "settling {batch}"),
            Self::Stuck { batch, reason } => write!(f, "stuck at {batch}: {reason}"),
        }
    }
}

/// A proof could not be made or checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProvingError {
    /// The prover failed.
    #[error(transparent)]
    Prover(#[from] ProverError),
    /// The proof is not valid.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The thread ended early.
    #[error("the proving thread ended early; start the node again")]
    Thread,
}

/// A verified proof. If this node made it, with the time that it took.
#[derive(Clone, Debug)]
pub(crate) struct VerifiedProof {
    pub(crate) bytes: Vec<u8>,
    pub(crate) seconds: Option<f64>,
}

/// Proves and verifies. Loads the keys of a size when they are first needed.
#[derive(Debug)]
pub(crate) struct Proving {
    config: ProverConfig,
    /// Empty on a node that does not prove.
    provers: Arc<Mutex<Provers>>,
    verifiers: tokio::sync::Mutex<Vec<(CircuitVersion, Arc<Verifier>)>>,
    /// The milliseconds of the last proof in each size.
    last: Mutex<Vec<(CircuitVersion, u64)>>,
    pub(crate) activity: watch::Sender<Activity>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proving {
    pub(crate) fn new(config: ProverConfig) -> Self {
        let (activity, _) = watch::channel(Activity::Idle);
        let provers = Provers::new(config.cache.clone(), config.setup, config.memory);
        let (provers, verifiers) = (Arc::new(Mutex::new(provers)), tokio::sync::Mutex::default());
        Self { config, provers, verifiers, last: Mutex::default(), activity }
    }

    /// Whether this node proves.
    pub(crate) fn is_local(&self) -> bool {
        self.config.local
    }

    /// The setup of the keys.
    pub(crate) fn setup(&self) -> SetupChoice {
        self.config.setup
    }

    /// The prover of a size. A node that does not prove keeps none, because they are large.
    async fn prover(&self, size: CircuitVersion) -> Result<Arc<Prover>, ProvingError> {
        let ProverConfig { cache, setup, local, .. } = self.config.clone();
        let (activity, provers) = (self.activity.clone(), Arc::clone(&self.provers));
        let loaded = tokio::task::spawn_blocking(move || {
            let said = |stage: Stage| {
                drop(activity.send_replace(Activity::Keys { stage: format!("{stage}, {}", size.slots()) }))
            };
            if local {
                return lock(&provers).of(size, said);
            }
            Prover::load_or_generate(&cache, size, setup, said).map(Arc::new)
        });
        Ok(loaded.await.map_err(|_| ProvingError::Thread)??)
    }

    async fn verifier(&self, size: CircuitVersion) -> Result<Arc<Verifier>, ProvingError> {
        // Held while the key is loaded, so that many proofs at once do not load it many times.
        let mut verifiers = self.verifiers.lock().await;
        if let Some((_, verifier)) = verifiers.iter().find(|(of, _)| *of == size) {
            return Ok(Arc::clone(verifier));
        }
        let verifier = Arc::new(self.prover(size).await?.verifier());
        verifiers.push((size, Arc::clone(&verifier)));
        Ok(verifier)
    }

    /// Verifies a proof of a size.
    pub(crate) async fn verify(
        &self,
        size: CircuitVersion,
        public: PublicInputs,
        bytes: Vec<u8>,
    ) -> Result<VerifiedProof, ProvingError> {
        let verifier = self.verifier(size).await?;
        let verified = tokio::task::spawn_blocking(move || {
            verifier.verify(&public, &bytes)?;
            Ok::<_, VerifyError>(VerifiedProof { bytes, seconds: None })
        });
        Ok(verified.await.map_err(|_| ProvingError::Thread)??)
    }

    /// Proves a batch on a separate thread, and verifies the proof. The thread does not prevent the process from
    /// ending.
    pub(crate) async fn prove(
        &self,
        batch: u64,
        witness: BatchWitness,
        public: PublicInputs,
    ) -> Result<VerifiedProof, ProvingError> {
        let size = witness.version;
        let prover = self.prover(size).await?;
        let since = Instant::now();
        let estimate = self.last_in(size, None);
        self.activity.send_replace(Activity::Proving { batch, since, estimate });
        let (done, proved) = tokio::sync::oneshot::channel();
        let thread = std::thread::Builder::new().name("prover".to_owned());
        let spawned = thread.spawn(move || {
            let proof = prover.prove(&witness, &public);
            // Nobody waits any more if the node was stopped, or if another prover was faster.
            let _ = done.send(proof.map(|bytes| (bytes, since.elapsed())));
        });
        spawned.map_err(|_| ProvingError::Thread)?;
        let (bytes, took) = proved.await.map_err(|_| ProvingError::Thread)??;
        self.last_in(size, Some(took.as_millis() as u64));
        // Verifies every proof before it is sent, no matter who made it.
        let verified = self.verify(size, public, bytes).await?;
        Ok(VerifiedProof { seconds: Some(took.as_secs_f64()), ..verified })
    }

    /// How long the last proof in a size took, in milliseconds. `new` replaces it.
    fn last_in(&self, size: CircuitVersion, new: Option<u64>) -> Option<u64> {
        let mut last = lock(&self.last);
        let known = last.iter().find(|(of, _)| *of == size).map(|(_, took)| *took);
        if let Some(new) = new {
            last.retain(|(of, _)| *of != size);
            last.push((size, new));
        }
        known
    }
}
