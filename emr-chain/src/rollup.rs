//! A deployed rollup: what it was deployed with, what its node says of it, and its fees. Its registry is in `registry.rs`.

use std::{sync::Arc, time::Duration};

use alloy::{
    primitives::{
        Address, Bytes, U256,
        aliases::{U40, U56},
        keccak256,
    },
    providers::Provider,
};
use emr_core::{StateRoot, UnixTime};
use serde::{Deserialize, Serialize};

use crate::{
    bindings::{EmrRollup, ISettlement, Verifier},
    deploy::created_at,
    queue::{PerQueue, QueueName},
    registration::RollupInstance,
    revert::RollupError,
    settlement_layer::{Words, state_root},
    sizes::Size,
    submitter::Submitter,
    transaction::{L1Receipt, MINED_WITHIN},
};

/// Storage slot of the state root, which `eth_getProof` proves (EIP-1186).
pub const STATE_ROOT_SLOT: U256 = U256::ZERO;

/// A client of one deployed rollup. The provider's default signer sends the transactions, or a [`Submitter`].
#[derive(Clone, Debug)]
pub struct Rollup<P> {
    contract: EmrRollup::EmrRollupInstance<P>,
    instance: RollupInstance,
    deployed_at: u64,
    mined_within: Duration,
    submitter: Option<Arc<Submitter>>,
}

/// The parameters of a rollup as they are now, and who settles and admits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// The sizes in which batches are proved.
    pub sizes: Vec<Size>,
    /// The circuit version that they belong to.
    pub circuit_version: u64,
    /// The account that settles batches.
    pub sequencer: Address,
    /// The accounts that admit doctors and hospitals.
    pub registrars: Vec<Address>,
    /// Cost of a registration in wei.
    pub registration_fee: U256,
}

impl<P: Provider> Rollup<P> {
    /// Uses the rollup at an address. `deployed_at` is the block of its deployment, from which events are read. An
    /// earlier block also works, but takes longer.
    ///
    /// # Errors
    /// Returns [`RollupError::NoContract`] if there is no code at the address.
    pub async fn attach(provider: P, address: Address, deployed_at: u64) -> Result<Self, RollupError> {
        let chain_id = provider.get_chain_id().await?;
        if provider.get_code_at(address).await?.is_empty() {
            return Err(RollupError::NoContract { address, chain_id });
        }
        let instance = RollupInstance { chain_id, contract: address };
        let (contract, mined_within) = (EmrRollup::new(address, provider), MINED_WITHIN);
        Ok(Self { contract, instance, deployed_at, mined_within, submitter: None })
    }

    /// Sends all transactions through a submitter, which knows the account's key.
    #[must_use]
    pub fn with_submitter(mut self, submitter: Arc<Submitter>) -> Self {
        self.submitter = Some(submitter);
        self
    }

    /// Sends the transactions, if there is one.
    pub(crate) const fn submitter(&self) -> Option<&Arc<Submitter>> {
        self.submitter.as_ref()
    }

    /// Sets how long to wait for a transaction to be mined. The default is three minutes.
    #[must_use]
    pub fn with_patience(mut self, mined_within: Duration) -> Self {
        self.mined_within = mined_within;
        self
    }

    /// Sets the block from which events are read.
    #[must_use]
    pub fn with_events_from(mut self, deployed_at: u64) -> Self {
        self.deployed_at = deployed_at;
        self
    }

    /// How long to wait for a transaction to be mined.
    pub(crate) const fn patience(&self) -> Duration {
        self.mined_within
    }

    /// The chain and contract that signatures are bound to.
    pub const fn instance(&self) -> &RollupInstance {
        &self.instance
    }

    /// The rollup's domain; see [`RollupInstance::domain`].
    pub fn domain(&self) -> [u8; 32] {
        self.instance.domain()
    }

    /// The block from which events are read.
    pub const fn deployed_at(&self) -> u64 {
        self.deployed_at
    }

    /// The provider.
    pub fn provider(&self) -> &P {
        self.contract.provider()
    }

    /// The generated bindings, for calls that this client does not wrap.
    pub const fn contract(&self) -> &EmrRollup::EmrRollupInstance<P> {
        &self.contract
    }

    /// The current state root.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn state_root(&self) -> Result<StateRoot, RollupError> {
        state_root(self.contract.stateRoot().call().await?)
    }

    /// The parameters as they are now, and who settles and admits.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn parameters(&self) -> Result<Parameters, RollupError> {
        Ok(Parameters {
            sizes: self.sizes().await?,
            circuit_version: self.contract.circuitVersion().call().await?.saturating_to(),
            sequencer: self.contract.sequencer().call().await?,
            registrars: self.governance().registrars().call().await?,
            registration_fee: self.contract.registrationFee().call().await?,
        })
    }

    /// How many entries of each queue are due for a batch of the sequencer with this time, up to the most that a batch of
    /// any size holds.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn due_entries(&self, time: UnixTime) -> Result<PerQueue<u64>, RollupError> {
        let due = self.contract.dueEntries(U40::from(time.get())).call().await?;
        Ok(PerQueue { urgent: due.urgent.saturating_to(), ordinary: due.ordinary.saturating_to() })
    }

    /// From when on anyone can settle an entry of a queue. `None` if the contract holds no entry of these words at this position.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn overdue_from(
        &self,
        queue: QueueName,
        index: u64,
        words: &Words,
    ) -> Result<Option<UnixTime>, RollupError> {
        let entry = self.contract.queueEntry(queue.code(), U56::from(index)).call().await?;
        // The contract keeps 216 bits of the hash.
        if entry.enqueuedAt.is_zero() || entry.wordsHash[..] != keccak256(words.concat())[..27] {
            return Ok(None);
        }
        let time = self.contract.overdueAt(entry.enqueuedAt.to()).call().await?.saturating_to();
        UnixTime::new(time).map(Some).map_err(|error| RollupError::Malformed(error.to_string()))
    }

    /// Finds the block of the deployment, and reads events from there. For a client that nobody told the block: some twenty requests instead of
    /// one for each 10,000 blocks of the chain. An earlier block if the node has forgotten the states in between.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer.
    pub async fn with_events_since_deployment(self) -> Result<Self, RollupError> {
        let newest = self.provider().get_block_number().await?;
        let block = created_at(self.provider(), self.instance.contract, 0..newest).await;
        Ok(self.with_events_from(block))
    }

    /// Whether there is a contract at an address.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn has_code(&self, address: Address) -> Result<bool, RollupError> {
        Ok(!self.provider().get_code_at(address).await?.is_empty())
    }

    /// The time of a block.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or has no such block.
    pub async fn block_time(&self, number: u64) -> Result<UnixTime, RollupError> {
        let block = self.provider().get_block_by_number(number.into()).await?;
        let time = block.ok_or_else(|| RollupError::Malformed(format!("there is no block {number}")))?.header.timestamp;
        UnixTime::new(time).map_err(|error| RollupError::Malformed(error.to_string()))
    }

    /// The sizes in which batches are proved. A batch names the position of its size here.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn sizes(&self) -> Result<Vec<Size>, RollupError> {
        let sizes = self.contract.sizes().call().await?;
        let size = |size: &ISettlement::Size| Size {
            verifier: size.verifier,
            max_l1: size.maxL1.to(),
            max_l2: size.maxL2.to(),
        };
        Ok(sizes.iter().map(size).collect())
    }

    /// The code of the contract that holds the verifying key of each size: a zero byte and the key.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or if a verifier is not one of this program.
    pub async fn verifying_keys(&self) -> Result<Vec<Bytes>, RollupError> {
        let mut keys = Vec::new();
        for size in self.sizes().await? {
            let key = Verifier::new(size.verifier, self.provider()).key().call().await?;
            keys.push(self.provider().get_code_at(key).await?);
        }
        Ok(keys)
    }

    /// As sequencer, sends the registration fees to an address. Returns how many wei.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn collect_fees(&self, to: Address) -> Result<(U256, L1Receipt), RollupError> {
        let mined = self.send(self.contract.collectFees(to)).await?;
        let event = mined.decoded_log::<EmrRollup::FeesCollected>();
        let event = event.ok_or_else(|| RollupError::Malformed("a collection of fees without its event".to_owned()))?;
        Ok((event.data.amount, L1Receipt::of(&mined)))
    }
}
