//! The provers of several sizes.

use std::{path::PathBuf, sync::Arc};

use super::prove::{Prover, ProverError, Stage};
use crate::{setup::SetupChoice, version::CircuitVersion};

/// Provers that are loaded when they are first needed. Those of at most [`SMALL`](Self::SMALL) rows stay in memory. Of the
/// others, the one that was needed last stays: at k = 17 each takes up to a gibibyte.
#[derive(Debug)]
pub struct Provers {
    cache: PathBuf,
    setup: SetupChoice,
    memory: u64,
    kept: Vec<Arc<Prover>>,
}

impl Provers {
    /// The binary logarithm of the most rows of a prover that stays in memory.
    pub const SMALL: u32 = 15;

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
        if size.k > Self::SMALL {
            // Before the new one takes its memory.
            self.kept.retain(|prover| prover.version().k <= Self::SMALL);
        }
        let prover = Prover::load_or_generate(&self.cache, size, self.setup, on_progress)?;
        let prover = Arc::new(prover.with_memory(self.memory));
        self.kept.push(Arc::clone(&prover));
        Ok(prover)
    }
}
