//! Provers on other machines: their names, and the digests of their credentials.

use std::collections::BTreeMap;

use emr_core::UnixTime;
use redb::{ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::{Mempool, MempoolError, decode, encode};

/// Name to [`KnownProver`].
const PROVERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("provers");
/// How many provers there may be. Every request of a prover compares its credential with all of them.
pub const MAX_PROVERS: u64 = 64;

/// A prover's credential, as far as the node knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownProver {
    /// The credential's digest.
    pub digest: [u8; 32],
    /// When it was added.
    pub added: UnixTime,
}

/// Whether a new prover was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProverAdded {
    /// The prover is known from now on.
    Yes,
    /// Another prover has this name.
    NameTaken,
    /// There are [`MAX_PROVERS`] already.
    Full,
}

pub(super) fn create(transaction: &WriteTransaction) -> Result<(), MempoolError> {
    transaction.open_table(PROVERS)?;
    Ok(())
}

impl Mempool {
    /// Adds a prover, durably.
    ///
    /// # Errors
    /// [`MempoolError`]; after that the prover may be known or not.
    pub fn add_prover(&self, name: &str, prover: &KnownProver) -> Result<ProverAdded, MempoolError> {
        let transaction = self.write()?;
        {
            let mut provers = transaction.open_table(PROVERS)?;
            if provers.get(name)?.is_some() {
                return Ok(ProverAdded::NameTaken);
            }
            if provers.len()? >= MAX_PROVERS {
                return Ok(ProverAdded::Full);
            }
            provers.insert(name, encode(prover)?.as_slice())?;
        }
        transaction.commit()?;
        Ok(ProverAdded::Yes)
    }

    /// Removes a prover, durably. Returns whether the name was known.
    ///
    /// # Errors
    /// [`MempoolError`]; after that the prover may be known or not.
    pub fn remove_prover(&self, name: &str) -> Result<bool, MempoolError> {
        let transaction = self.write()?;
        let was_known = transaction.open_table(PROVERS)?.remove(name)?.is_some();
        transaction.commit()?;
        Ok(was_known)
    }

    /// All provers, by name.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn provers(&self) -> Result<BTreeMap<String, KnownProver>, MempoolError> {
        let provers = self.read()?.open_table(PROVERS)?;
        provers
            .iter()?
            .map(|entry| {
                let (name, prover) = entry?;
                Ok((name.value().to_owned(), decode(prover.value())?))
            })
            .collect()
    }
}
