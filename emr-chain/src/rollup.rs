//! The rollup contract as its participants use it: registration, endorsement, admission, and queries.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use alloy::{
    contract::CallBuilder,
    network::Ethereum,
    primitives::{
        Address, B256, Bytes, U256,
        aliases::{U24, U40, U56},
        keccak256,
    },
    providers::Provider,
    rpc::types::TransactionReceipt,
    sol_types::{SolEvent, SolValue},
};
use emr_core::{AccountIndex, Opaque, Role, StateRoot, UnixTime};
use serde::{Deserialize, Serialize};

use crate::{
    bindings::{EmrRollup, IRegistry, ISettlement, Verifier},
    queue::{PerQueue, QueueName},
    registration::{CurvePoint, Registration, RollupInstance, SignedRegistration},
    revert::RollupError,
    settlement_layer::{Words, decode, state_root},
    submitter::Submitter,
    transaction::{L1Receipt, MINED_WITHIN, estimate},
};

/// Storage slot of the state root, which `eth_getProof` proves (EIP-1186).
pub const STATE_ROOT_SLOT: U256 = U256::ZERO;

/// The gas limit for relaying another owner's registration. With an RSA-4096 key it takes about 370,000. Without a
/// limit, an owner that is a contract could burn any amount while it checks its signature.
const RELAY_GAS_CAP: u64 = 500_000;

/// A client of one deployed rollup. The provider's default signer sends the transactions, or a [`Submitter`].
#[derive(Clone, Debug)]
pub struct Rollup<P> {
    contract: EmrRollup::EmrRollupInstance<P>,
    instance: RollupInstance,
    deployed_at: u64,
    mined_within: Duration,
    submitter: Option<Arc<Submitter>>,
}

/// How an account stands on L1. The state follows when the account's entries are settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Waits for admission by a registrar.
    Pending,
    /// Held back by a registrar before its admission.
    Withheld,
    /// Its Register entry is in the queue or settled.
    Admitted,
    /// Suspended by a registrar after its admission.
    Suspended,
    /// Closed by its owner, permanently.
    Closed,
}

impl Standing {
    /// Whether its Register entry was queued.
    pub const fn is_admitted(self) -> bool {
        matches!(self, Self::Admitted | Self::Suspended | Self::Closed)
    }
}

/// An account in the contract's registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The Ethereum account that owns it.
    pub owner: Address,
    /// Its role.
    pub role: Role,
    /// How it stands.
    pub standing: Standing,
    /// A doctor's organisation.
    pub org: Option<AccountIndex>,
}

/// A doctor's or hospital's registration that waits for a registrar. The registrar compares it with the data that its
/// owner shows in person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingRegistration {
    /// The account index that it has, and keeps if it is admitted.
    pub account: AccountIndex,
    /// The Ethereum account that owns it.
    pub owner: Address,
    /// Doctor or hospital.
    pub role: Role,
    /// A doctor's organisation.
    pub org: Option<AccountIndex>,
    /// The rollup key `A`.
    pub key: CurvePoint,
    /// The commitment to the RSA key; see [`rsa_commitment`](crate::rsa_commitment).
    pub commitment: Opaque,
}

impl PendingRegistration {
    /// The hash that the contract keeps: `keccak256` of the fields, one word each, in order.
    fn hash(&self) -> B256 {
        keccak256((number(self.account), self.to_abi()).abi_encode())
    }

    fn to_abi(self) -> IRegistry::Candidate {
        IRegistry::Candidate {
            owner: self.owner,
            role: self.role.code(),
            org: self.org.map_or(U24::ZERO, number),
            keys: IRegistry::Keys {
                ax: U256::from_be_bytes(self.key.x),
                ay: U256::from_be_bytes(self.key.y),
                encryptionCommitment: U256::from_be_bytes(self.commitment.to_be_bytes32()),
            },
        }
    }

    fn from_event(event: &EmrRollup::Waiting) -> Result<Self, RollupError> {
        let IRegistry::Candidate { owner, role, org, keys } = &event.candidate;
        Ok(Self {
            account: index(event.account)?.ok_or_else(|| RollupError::Malformed("account 0".to_owned()))?,
            owner: *owner,
            role: role_of(*role)?,
            org: index(*org)?,
            key: CurvePoint { x: keys.ax.to_be_bytes(), y: keys.ay.to_be_bytes() },
            commitment: Opaque::from_be_bytes32(keys.encryptionCommitment.to_be_bytes())
                .map_err(|error| RollupError::Malformed(error.to_string()))?,
        })
    }
}

/// A size in which batches are proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// The contract that verifies its proofs.
    pub verifier: Address,
    /// Queue entries per batch.
    pub max_l1: u64,
    /// L2 operations per batch.
    pub max_l2: u64,
}

/// The fixed parameters of a deployment, and the current holders of its roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// The sizes in which batches are proved.
    pub sizes: Vec<Size>,
    /// The circuit version that they belong to.
    pub circuit_version: u64,
    /// The account that settles batches.
    pub sequencer: Address,
    /// The account that admits doctors and hospitals.
    pub registrar: Address,
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

    /// The fixed parameters of the deployment, and the current holders of its roles.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn parameters(&self) -> Result<Parameters, RollupError> {
        Ok(Parameters {
            sizes: self.sizes().await?,
            circuit_version: self.contract.circuitVersion().call().await?.saturating_to(),
            sequencer: self.contract.sequencer().call().await?,
            registrar: self.contract.owner().call().await?,
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
        let deadline = self.contract.QUEUE_DEADLINE().call().await?;
        let time = (entry.enqueuedAt + deadline).saturating_to();
        UnixTime::new(time).map(Some).map_err(|error| RollupError::Malformed(error.to_string()))
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

    /// The account of an owner.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn account_of(&self, owner: Address) -> Result<Option<AccountIndex>, RollupError> {
        index(self.contract.accountOf(owner).call().await?)
    }

    /// The account with this index; `None` if the index is not assigned.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn account(&self, account: AccountIndex) -> Result<Option<Account>, RollupError> {
        let found = self.contract.accountAt(number(account)).call().await?;
        if found.owner.is_zero() {
            return Ok(None);
        }
        let standing = match found.standing {
            1 => Standing::Pending,
            2 => Standing::Withheld,
            3 => Standing::Admitted,
            4 => Standing::Suspended,
            5 => Standing::Closed,
            _ => return Err(RollupError::Malformed("unknown standing".to_owned())),
        };
        Ok(Some(Account { owner: found.owner, role: role_of(found.role)?, standing, org: index(found.org)? }))
    }

    /// The transaction that registered an account; `None` if the index is not assigned.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn registration_of(&self, account: AccountIndex) -> Result<Option<L1Receipt>, RollupError> {
        let filter = self.events(EmrRollup::Registered::SIGNATURE_HASH).topic1(U256::from(account.get()));
        let logs = self.logs(filter, self.deployed_at()).await?;
        let Some(hash) = logs.first().and_then(|log| log.transaction_hash) else { return Ok(None) };
        Ok(self.provider().get_transaction_receipt(hash).await?.as_ref().map(L1Receipt::of))
    }

    /// Whether a hospital currently endorses a doctor's Ethereum address.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn is_endorsed(&self, hospital: AccountIndex, doctor: Address) -> Result<bool, RollupError> {
        Ok(self.contract.isEndorsed(number(hospital), doctor).call().await?)
    }

    /// Registers the sender and pays the fee. Returns the account index.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn register(&self, registration: &Registration) -> Result<(AccountIndex, L1Receipt), RollupError> {
        let fee = self.contract.registrationFee().call().await?;
        let mined = self.send(self.contract.register(registration.to_abi()).value(fee)).await?;
        registered(&mined)
    }

    /// Relays an owner's signed registration and pays the fee. Returns the account index.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses, and [`RollupError::TooMuchGas`] if the call needs
    /// more than half a million gas. That can happen if the owner is a contract.
    pub async fn register_for(&self, signed: &SignedRegistration) -> Result<(AccountIndex, L1Receipt), RollupError> {
        registered(&self.send_within(self.relay(signed).await?, RELAY_GAS_CAP).await?)
    }

    /// Whether [`Self::register_for`] would succeed now. Sends nothing.
    ///
    /// # Errors
    /// The same as [`Self::register_for`].
    pub async fn check_register_for(&self, signed: &SignedRegistration) -> Result<(), RollupError> {
        estimate(&self.relay(signed).await?, RELAY_GAS_CAP).await.map(drop)
    }

    async fn relay(
        &self,
        signed: &SignedRegistration,
    ) -> Result<CallBuilder<&P, PhantomData<EmrRollup::registerForCall>, Ethereum>, RollupError> {
        let fee = self.contract.registrationFee().call().await?;
        let call = self.contract.registerFor(
            signed.owner,
            signed.registration.to_abi(),
            U256::from(signed.deadline.get()),
            signed.signature.clone(),
        );
        Ok(call.value(fee))
    }

    /// Endorses a doctor: the sender's hospital consents that the owner `doctor` registers as its member.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn endorse(&self, doctor: Address) -> Result<L1Receipt, RollupError> {
        Ok(L1Receipt::of(&self.send(self.contract.endorse(doctor)).await?))
    }

    /// Withdraws the sender's endorsement. This has no effect on a doctor who is admitted already.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn withdraw_endorsement(&self, doctor: Address) -> Result<L1Receipt, RollupError> {
        Ok(L1Receipt::of(&self.send(self.contract.withdrawEndorsement(doctor)).await?))
    }

    /// The registration that waits for admission under an account index; `None` if no registration waits.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn pending(&self, account: AccountIndex) -> Result<Option<PendingRegistration>, RollupError> {
        let standing = self.account(account).await?.map(|account| account.standing);
        if standing != Some(Standing::Pending) {
            return Ok(None);
        }
        let hash = self.contract.registrationHash(number(account)).call().await?;
        let filter = self.events(EmrRollup::Waiting::SIGNATURE_HASH).topic1(U256::from(account.get()));
        for log in self.logs(filter, self.deployed_at()).await? {
            let waiting = PendingRegistration::from_event(&decode(&log)?)?;
            if waiting.hash() == hash {
                return Ok(Some(waiting));
            }
        }
        Err(RollupError::Malformed(format!("the registration of account {account} is not among its events")))
    }

    /// As registrar, admits exactly this registration, and so queues its Register entry.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses, or if the account index belongs to another
    /// registration by now.
    pub async fn admit(&self, registration: &PendingRegistration) -> Result<L1Receipt, RollupError> {
        let call = self.contract.admit(number(registration.account), registration.to_abi());
        Ok(L1Receipt::of(&self.send(call).await?))
    }

    /// As registrar, suspends a doctor or hospital, or holds a pending registration back. After admission this costs
    /// [`Self::urgent_fee`], and has effect once its entry is settled.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn suspend(&self, account: AccountIndex) -> Result<L1Receipt, RollupError> {
        let fee = self.fee_of_standing(account, Standing::Pending).await?;
        Ok(L1Receipt::of(&self.send(self.contract.suspend(number(account)).value(fee)).await?))
    }

    /// As registrar, ends a suspension, or no longer holds a registration back. After admission this costs
    /// [`Self::urgent_fee`], and has effect once its entry is settled.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn reinstate(&self, account: AccountIndex) -> Result<L1Receipt, RollupError> {
        let fee = self.fee_of_standing(account, Standing::Withheld).await?;
        Ok(L1Receipt::of(&self.send(self.contract.reinstate(number(account)).value(fee)).await?))
    }

    /// The fee of a change of status: none for an account that is not admitted yet and stands like this.
    async fn fee_of_standing(&self, account: AccountIndex, free: Standing) -> Result<U256, RollupError> {
        let standing = self.account(account).await?.map(|account| account.standing);
        if standing == Some(free) { Ok(U256::ZERO) } else { self.urgent_fee().await }
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

/// The account index that a mined registration assigned.
fn registered(mined: &TransactionReceipt) -> Result<(AccountIndex, L1Receipt), RollupError> {
    let event = mined.decoded_log::<EmrRollup::Registered>();
    let account = event.map(|event| index(event.data.account)).transpose()?.flatten();
    let account = account.ok_or_else(|| RollupError::Malformed("a registration without its event".to_owned()))?;
    Ok((account, L1Receipt::of(mined)))
}

pub(crate) fn number(account: AccountIndex) -> U24 {
    U24::from(account.get())
}

fn role_of(code: u8) -> Result<Role, RollupError> {
    Role::from_code(code).ok_or_else(|| RollupError::Malformed("unknown role".to_owned()))
}

/// Converts the contract's number, where 0 means no account.
fn index(number: U24) -> Result<Option<AccountIndex>, RollupError> {
    if number.is_zero() {
        return Ok(None);
    }
    AccountIndex::new(number.to()).map(Some).map_err(|error| RollupError::Malformed(error.to_string()))
}
