//! The newest final state that a participant has seen on L1. It is kept so that nobody can later show an older one.
//! What counts as final is [`Finality`](crate::verify::settled_state::Finality).

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use emr_core::StateRoot;
use emr_durable::Disk;
use serde::{Deserialize, Serialize};

use crate::profile::durable::{self, FileError};

/// The largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 4096;

/// A state that L1 held. JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    batches: u64,
    root: StateRoot,
}

/// Why a state is not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeenError {
    /// The state is older than one that was seen before, or is another one after the same batch.
    #[error(
        "the Ethereum node shows the state after batch {now}, but this profile has seen a later or another state, after batch {before}: the \
         node is behind, or it lies, or its chain was reset; use another Ethereum node, or for a chain that was reset another --data-dir"
    )]
    RolledBack {
        /// The last batch that was seen before.
        before: u64,
        /// The last batch that the Ethereum node shows now.
        now: u64,
    },
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The file with the newest state.
#[derive(Debug)]
pub struct SeenState {
    disk: Disk,
    path: PathBuf,
    newest: Mutex<Option<Seen>>,
}

impl SeenState {
    pub(crate) fn open(disk: &Disk, path: &Path) -> Result<Self, FileError> {
        Ok(Self {
            disk: disk.clone(),
            path: path.to_owned(),
            newest: Mutex::new(durable::read_json(path, MAX_FILE_BYTES)?),
        })
    }

    /// Notes a final state durably. It refuses a state that is older than the newest one: an Ethereum node that is
    /// behind, or lies, must not make revoked grants valid again.
    ///
    /// # Errors
    /// [`SeenError`] if the state is older or another one after the same batch, or the file cannot be written.
    pub fn note(&self, batches: u64, root: StateRoot) -> Result<(), SeenError> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        follows(newest.as_ref(), batches, root)?;
        if newest.as_ref().is_some_and(|seen| seen.batches == batches) {
            return Ok(());
        }
        let now = Seen { batches, root };
        durable::replace_json(&self.disk, &self.path, &now)?;
        *newest = Some(now);
        Ok(())
    }

    /// Checks a state that is not final yet, without noting it.
    ///
    /// # Errors
    /// [`SeenError::RolledBack`] if the state is older than the newest one that was noted, or another one after the same batch.
    pub fn check(&self, batches: u64, root: StateRoot) -> Result<(), SeenError> {
        follows(self.newest.lock().unwrap_or_else(PoisonError::into_inner).as_ref(), batches, root)
    }
}

fn follows(seen: Option<&Seen>, batches: u64, root: StateRoot) -> Result<(), SeenError> {
    match seen {
        Some(seen) if batches < seen.batches || batches == seen.batches && root != seen.root => {
            Err(SeenError::RolledBack { before: seen.batches, now: batches })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settled_state_does_not_go_back() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("seen.json");
        let (one, other) = (StateRoot::from_bytes([1; 32])?, StateRoot::from_bytes([2; 32])?);
        let seen = SeenState::open(&Disk::default(), &path)?;
        seen.note(0, one)?;
        seen.note(3, other)?;
        seen.note(3, other)?;
        let seen = SeenState::open(&Disk::default(), &path)?;
        for (batches, root) in [(2, one), (0, one), (3, one)] {
            for refused in [seen.note(batches, root), seen.check(batches, root)] {
                assert!(matches!(refused, Err(SeenError::RolledBack { before: 3, .. })), "{refused:?}");
            }
        }
        // A state that is checked only may be replaced by another one.
        seen.check(5, one)?;
        seen.check(5, other)?;
        seen.note(4, one)?;
        Ok(())
    }
}
