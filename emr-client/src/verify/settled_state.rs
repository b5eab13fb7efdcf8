//! The rollup's state on L1, proved against a block header.

use alloy::{
    primitives::{Address, U256},
    rpc::types::EIP1186AccountProofResponse,
};
use emr_chain::{
    RollupInstance, STATE_ROOT_SLOT, Size, SizesDigest,
    header::{HeaderError, HeaderSource, age::HeaderAgeError},
    nodes::EthereumNodes,
    proof::{ProofError, VerifiedHeader, verify_storage},
};
use emr_core::{StateRoot, UnixTime};
use emr_rollup::version::CircuitVersion;

use crate::profile::seen::SeenError;

pub use emr_chain::header::Finality;

/// The storage slot after the state root's. It holds, from the least significant bit, the time of the last batch (40
/// bits), the number of settled batches (64) and more. `RollupState.sol` defines this layout.
const PROGRESS_SLOT: U256 = U256::from_limbs([1, 0, 0, 0]);

/// The storage slot that holds, from the least significant bit, how often the sizes, and so the verifiers, changed since the deployment (64 bits),
/// the circuit version (64) and the number of sizes (8).
const SIZES_SLOT: U256 = U256::from_limbs([3, 0, 0, 0]);

/// Why the settled state is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettledStateError {
    /// The Ethereum node did not answer, or its proof does not hold.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// Several Ethereum nodes do not agree on a block.
    #[error(transparent)]
    Header(HeaderError),
    /// The newest block is too old, or from the future.
    #[error(transparent)]
    Age(#[from] HeaderAgeError),
    /// The state is older than one that was seen before.
    #[error(transparent)]
    Seen(#[from] SeenError),
    /// Registrars changed with which verifiers proofs are checked.
    #[error(
        "the verifiers of {contract} changed since the deployment: proofs are checked with other keys than those that you rely on. Ask your hospital or \
         your registrar, in another way than through the node, which sizes are right. If it is {sizes}, name it with --sizes or EMR_SIZES; `revoke \
         --force` works without it"
    )]
    SizesChanged {
        /// The contract.
        contract: Address,
        /// The sizes as they are now.
        sizes: SizesDigest,
    },
    /// The contract has another circuit version now.
    #[error(
        "contract {contract} has circuit version {version} now: use the version of this program that your hospital uses"
    )]
    CircuitVersion {
        /// The contract.
        contract: Address,
        /// Its circuit version.
        version: u64,
    },
    /// The contract's storage holds no state root.
    #[error("the contract at {0} holds no state root: check that the address is a rollup's")]
    NotARollup(Address),
}

impl From<HeaderError> for SettledStateError {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::Proof(error) => Self::Proof(error),
            error => Self::Header(error),
        }
    }
}

/// The rollup's state in the contract's storage at one block. Every verification ends with a comparison with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettledState {
    root: StateRoot,
    batches: u64,
    time: UnixTime,
    sizes: SizesOnL1,
    block_number: u64,
    block_time: u64,
}

/// What the contract says of its sizes in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SizesOnL1 {
    revision: u64,
    circuit_version: u64,
    count: u8,
}

impl SizesOnL1 {
    /// The slots of the sizes that a reader has to look at: none before the first change, because those of the deployment are part of the
    /// contract's address.
    fn slots(&self) -> Vec<U256> {
        if self.revision == 0 { Vec::new() } else { (0..self.count).map(Size::slot).collect() }
    }

    /// Checks the sizes and verifiers in a block. `proof` must prove [`Self::slots`].
    fn check(
        &self,
        (contract, header): (Address, &VerifiedHeader),
        proof: &EIP1186AccountProofResponse,
        relied_on: Option<SizesDigest>,
    ) -> Result<(), SettledStateError> {
        let version = self.circuit_version;
        if self.revision == 0 {
            return Ok(());
        }
        if version != u64::from(CircuitVersion::V1.number) {
            return Err(SettledStateError::CircuitVersion { contract, version });
        }
        let slots = self.slots();
        let words = slots.iter().map(|slot| verify_storage(header.state_root(), contract, *slot, proof));
        let sizes = SizesDigest::of_words(version, words.collect::<Result<Vec<_>, _>>()?);
        if relied_on == Some(sizes) { Ok(()) } else { Err(SettledStateError::SizesChanged { contract, sizes }) }
    }
}

/// The state root in the contract's storage at one block, and what the contract says of its verifiers there: the least that a proof of a
/// leaf needs. A [`SettledState`] says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProvedRoot {
    root: StateRoot,
    sizes: SizesOnL1,
}

impl ProvedRoot {
    /// The slots that prove it, without those of changed sizes.
    pub(crate) const SLOTS: [U256; 2] = [STATE_ROOT_SLOT, SIZES_SLOT];

    /// Checks an `eth_getProof` answer for [`Self::SLOTS`] against a header. Pure.
    pub(crate) fn verify(
        instance: &RollupInstance,
        header: &VerifiedHeader,
        proof: &EIP1186AccountProofResponse,
    ) -> Result<Self, SettledStateError> {
        let slot = |slot| verify_storage(header.state_root(), instance.contract, slot, proof);
        let word = slot(STATE_ROOT_SLOT)?;
        // Even the genesis root is not 0, so this storage is not a rollup's.
        let root = StateRoot::from_bytes(word.to_be_bytes()).ok().filter(|_| !word.is_zero());
        let root = root.ok_or(SettledStateError::NotARollup(instance.contract))?;
        let [revision, circuit_version, rest, _] = slot(SIZES_SLOT)?.into_limbs();
        let sizes = SizesOnL1 { revision, circuit_version, count: rest.to_le_bytes()[0] };
        Ok(Self { root, sizes })
    }

    /// The slots of the sizes, if they changed since the deployment.
    pub(crate) fn size_slots(&self) -> Vec<U256> {
        self.sizes.slots()
    }

    /// Checks that these are the deployment's verifiers, or those that the caller relies on. `proof` must also prove [`Self::size_slots`].
    pub(crate) fn check_sizes(
        &self,
        block: (Address, &VerifiedHeader),
        proof: &EIP1186AccountProofResponse,
        relied_on: Option<SizesDigest>,
    ) -> Result<(), SettledStateError> {
        self.sizes.check(block, proof, relied_on)
    }

    /// The state root.
    pub(crate) const fn root(&self) -> StateRoot {
        self.root
    }
}

impl SettledState {
    /// Asks the Ethereum nodes for the contract's storage in this block, and proves it against the block's header.
    ///
    /// This does not say that the block is the chain's newest: a [`HeaderSource`] does.
    ///
    /// # Errors
    /// [`SettledStateError`] if no node proves it, or the contract is not a rollup's.
    pub async fn read(
        nodes: &EthereumNodes,
        instance: &RollupInstance,
        header: &VerifiedHeader,
    ) -> Result<Self, SettledStateError> {
        let proof = nodes.proof(instance.contract, &[STATE_ROOT_SLOT, PROGRESS_SLOT, SIZES_SLOT], header).await?;
        Self::verify(instance, header, &proof)
    }

    /// The newest state that is final, with its block. `newest` is the newest state with its block, and `deployed_at` the block of the
    /// rollup's deployment. Returns `None` if no block with the rollup is final yet.
    ///
    /// # Errors
    /// [`SettledStateError`] if the source names no final block, and the same as [`Self::read`].
    pub async fn read_final(
        headers: &dyn HeaderSource,
        nodes: &EthereumNodes,
        instance: &RollupInstance,
        finality: Finality,
        newest: (&Self, &VerifiedHeader),
        deployed_at: u64,
    ) -> Result<Option<(Self, VerifiedHeader)>, SettledStateError> {
        let (newest, newest_header) = newest;
        let header = match finality {
            Finality::Latest => return Ok(Some((*newest, *newest_header))),
            Finality::Depth(blocks) => match newest.block_number.checked_sub(blocks) {
                Some(number) if number >= deployed_at => Some(headers.at(number).await?),
                _ => None,
            },
            Finality::Finalized => headers.finalized().await?,
        };
        match header.filter(|header| header.number() >= deployed_at) {
            Some(header) => Ok(Some((Self::read(nodes, instance, &header).await?, header))),
            None => Ok(None),
        }
    }

    /// Checks an `eth_getProof` answer for the contract's slots 0, 1 and 3 against a header. Pure.
    ///
    /// # Errors
    /// [`SettledStateError`] if the node does not answer, its proof does not hold, or the contract is not a rollup's.
    pub fn verify(
        instance: &RollupInstance,
        header: &VerifiedHeader,
        proof: &EIP1186AccountProofResponse,
    ) -> Result<Self, SettledStateError> {
        let ProvedRoot { root, sizes } = ProvedRoot::verify(instance, header, proof)?;
        let (time, batches) = progress(verify_storage(header.state_root(), instance.contract, PROGRESS_SLOT, proof)?);
        let (block_number, block_time) = (header.number(), header.timestamp());
        Ok(Self { root, batches, time, sizes, block_number, block_time })
    }

    /// A state that the caller has established in another way, for example with a light client of the chain.
    pub const fn established(root: StateRoot, batches: u64, time: UnixTime) -> Self {
        Self {
            root,
            batches,
            time,
            sizes: SizesOnL1 { revision: 0, circuit_version: 0, count: 0 },
            block_number: 0,
            block_time: 0,
        }
    }

    /// Checks with which verifiers the contract checks proofs in this state's block. Those of the deployment are part of the contract's address,
    /// so nothing is asked before the first change. After it, the Ethereum nodes must prove that all sizes and verifiers are those that the caller
    /// relies on. `header` is this state's block.
    ///
    /// # Errors
    /// [`SettledStateError::SizesChanged`] if they are others, [`SettledStateError::CircuitVersion`] if this program does not know their statement,
    /// and [`SettledStateError`] if no node proves it.
    pub async fn check_sizes(
        &self,
        nodes: &EthereumNodes,
        (contract, header): (Address, &VerifiedHeader),
        relied_on: Option<SizesDigest>,
    ) -> Result<(), SettledStateError> {
        if self.sizes.revision == 0 {
            return Ok(());
        }
        let proof = nodes.proof(contract, &self.sizes.slots(), header).await?;
        self.sizes.check((contract, header), &proof, relied_on)
    }

    /// The state root.
    pub const fn root(&self) -> StateRoot {
        self.root
    }

    /// The number of settled batches.
    pub const fn batches(&self) -> u64 {
        self.batches
    }

    /// The time of the last batch.
    pub const fn time(&self) -> UnixTime {
        self.time
    }

    /// How often the sizes, and so the verifiers, changed since the deployment.
    pub const fn sizes_revision(&self) -> u64 {
        self.sizes.revision
    }

    /// The block's number.
    pub const fn block_number(&self) -> u64 {
        self.block_number
    }

    /// The block's time in Unix seconds, as its producer set it.
    pub const fn block_time(&self) -> u64 {
        self.block_time
    }
}

/// The time of the last batch and the number of batches, from [`PROGRESS_SLOT`].
fn progress(word: U256) -> (UnixTime, u64) {
    let [low, high, ..] = word.into_limbs();
    let time = UnixTime::new(low & UnixTime::MAX).expect("40 bits are a time");
    (time, low >> UnixTime::BITS | high << (64 - UnixTime::BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finality_is_written_as_it_is_parsed() {
        for finality in [Finality::Finalized, Finality::Latest, Finality::Depth(0), Finality::Depth(64)] {
            assert_eq!(finality.to_string().parse(), Ok(finality));
        }
        for wrong in ["", "-1", "safe", "64 blocks"] {
            assert!(wrong.parse::<Finality>().is_err_and(|error| error.contains("latest")), "{wrong}");
        }
        assert_eq!((Finality::of_chain(31337), Finality::of_chain(1)), (Finality::Latest, Finality::Finalized));
    }

    /// The word is packed like `RollupState.Progress`: from the least significant bit, time 40 bits, batches 64, queue
    /// head 64.
    #[test]
    fn progress_is_unpacked_as_solidity_packs_it() -> Result<(), Box<dyn std::error::Error>> {
        for (time, batches, queue) in
            [(0, 0, 0), (1_800_000_000, 3, 9), (UnixTime::MAX, 0, 0), (0, u64::MAX, 0), (5, 1 << 40, u64::MAX)]
        {
            let word = U256::from(time) | U256::from(batches) << 40 | U256::from(queue) << 104;
            assert_eq!(progress(word), (UnixTime::new(time)?, batches));
        }
        Ok(())
    }
}
