//! Whether a contract is one of this program's contracts, with nothing but the empty state in the beginning.

use alloy::primitives::Address;
use emr_chain::{DeploymentRecord, RollupInstance};
use emr_rollup::{state::StateTrees, version::CircuitVersion};

/// Why a contract is not relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeploymentError {
    /// The address commits to something else than the record.
    #[error(
        "contract {0} was not made from this program's contracts in the way that the node says: use another node, or the version of this \
         program that your hospital uses"
    )]
    OtherContract(Address),
    /// The contract did not begin with the empty state. Somebody could have accounts and grants that no batch wrote.
    #[error("contract {0} did not begin with the empty state, so grants in it may be made up: use another node")]
    Genesis(Address),
    /// The contract is for another circuit version.
    #[error(
        "contract {contract} is for circuit version {version}: use the version of this program that your hospital uses"
    )]
    CircuitVersion {
        /// The contract.
        contract: Address,
        /// Its circuit version.
        version: u64,
    },
}

/// Checks that the contract at the instance's address is this program's rollup, and that it began with the empty state. The record
/// may come from a node that is not trusted: the address commits to it ([`DeploymentRecord`]). Pure.
///
/// Which keys the proofs are checked with is part of the record too. This function does not say whether they are good:
/// whoever named the address did. See [`DeploymentRecord::has_development_keys`].
///
/// # Errors
/// [`DeploymentError`] if it is another contract, another beginning, or another circuit version.
pub fn verify(record: &DeploymentRecord, instance: &RollupInstance) -> Result<(), DeploymentError> {
    let (contract, version) = (instance.contract, CircuitVersion::V1);
    if record.contract() != Some(contract) {
        return Err(DeploymentError::OtherContract(contract));
    }
    if record.genesis != StateTrees::genesis(version).root() {
        return Err(DeploymentError::Genesis(contract));
    }
    if record.circuit_version != u64::from(version.number) {
        return Err(DeploymentError::CircuitVersion { contract, version: record.circuit_version });
    }
    Ok(())
}
