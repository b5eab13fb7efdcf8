//! Whether a contract is one of this program's contracts, with nothing but the empty state in the beginning.

use alloy::primitives::{Address, U256};
use emr_chain::{DeploymentRecord, RollupInstance};
use emr_rollup::{
    state::StateTrees,
    version::{CircuitSizes, CircuitVersion},
};

/// The most that a registration may cost: 1 ether, in wei. `emr-hospital deploy` has the same limit.
const MAX_FEE: U256 = U256::from_limbs([1_000_000_000_000_000_000, 0, 0, 0]);

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
    /// The contract has sizes that this program has no keys for. A batch of them could not be proved by anybody with this program, so
    /// nobody could settle the queues.
    #[error("contract {0} takes batches of sizes that this program does not know: use another node")]
    Sizes(Address),
    /// A registration costs more than anybody would ask.
    #[error("a registration at contract {0} costs more than 1 ether: use another node")]
    Fee(Address),
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
/// [`DeploymentError`] if it is another contract, or has another beginning, another circuit version, unknown sizes, or a fee that nobody would
/// ask.
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
    let known = CircuitSizes::v1_all();
    let sizes = record.sizes.iter().map(|size| known.with_slots(size.max_l1, size.max_l2).copied());
    let sizes = sizes.collect::<Option<_>>().and_then(|sizes| CircuitSizes::new(sizes).ok());
    if sizes.is_none_or(|sizes| sizes.max_l2_beside(1) == 0) {
        return Err(DeploymentError::Sizes(contract));
    }
    if record.registration_fee > MAX_FEE {
        return Err(DeploymentError::Fee(contract));
    }
    Ok(())
}
