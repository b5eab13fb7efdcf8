//! The provers of several sizes.

use std::{path::PathBuf, sync::Arc};

use super::prove::{Prover, ProverError, Stage};
use crate::{setup::SetupChoice, version::CircuitVersion};

/// The binary logarithm of the most rows of a prover that stays in memory.
const SMALL_K: u32 = 15;

/// Provers that are loaded when they are first needed. Those of at most 2^15 rows stay in memory. Of the others, the one that
/// was needed last stays: each takes up to 1 GiB at k = 17, and up to 4 GiB at k = 19.
#[derive(Debug)]
pub struct Provers {
    cache: PathBuf,
    setup: SetupChoice,
    memory: u64,
    kept: Vec<Arc<Prover>>,
}

impl Provers {
    /// No prover yet. The arguments are those of [`Prover::load_or_generate`] and [`Prover::with_memory`].
    pub fn new(cache: PathBuf, setup: SetupChoice, memory: u64) -> Self {
        Self { cache, setup, memory, kept: Vec::new() }
    }

    /// The prover of a size. Reads its keys, or generates them, if it is not in memory.
    ///
    /// # Errors
    /// The same as for [`Prover::load_or_generate`].
    pub fn of(&mut self, size: CircuitVersion, on_progress: impl FnMut(Stage)) -> Result<Arc<Prover>, ProverError> {
        if let Some(prover) = self.kept.iter().find(|prover| *prover.version() == size) {
            return Ok(Arc::clone(prover));
        }
        if size.k > SMALL_K {
            // Before the new one takes its memory.
            self.kept.retain(|prover| prover.version().k <= SMALL_K);
        }
        let prover = Prover::load_or_generate(&self.cache, size, self.setup, on_progress)?;
        let prover = Arc::new(prover.with_memory(self.memory));
        self.kept.push(Arc::clone(&prover));
        Ok(prover)
    }
}
