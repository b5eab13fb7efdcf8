//! The contract's registry: accounts, registration, endorsement, and what a registrar decides.

use std::marker::PhantomData;

use alloy::{
    contract::CallBuilder,
    network::Ethereum,
    primitives::{Address, B256, U256, aliases::U24, keccak256},
    providers::Provider,
    rpc::types::TransactionReceipt,
    sol_types::{SolEvent, SolValue},
};
use emr_core::{AccountIndex, Opaque, Role};
use serde::{Deserialize, Serialize};

use crate::{
    bindings::{EmrRollup, IRegistry},
    registration::{CurvePoint, Registration, SignedRegistration},
    revert::RollupError,
    rollup::Rollup,
    settlement_layer::decode,
    transaction::{L1Receipt, RELAY_GAS_CAP, estimate},
};

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
    /// The commitment to the RSA key and the second one; see [`rsa_commitment`](crate::rsa_commitment).
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

impl<P: Provider> Rollup<P> {
    /// The account of an owner.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn account_of(&self, owner: Address) -> Result<Option<AccountIndex>, RollupError> {
        index(self.contract().accountOf(owner).call().await?)
    }

    /// The account with this index; `None` if the index is not assigned.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn account(&self, account: AccountIndex) -> Result<Option<Account>, RollupError> {
        let found = self.contract().accountAt(number(account)).call().await?;
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
        Ok(self.contract().isEndorsed(number(hospital), doctor).call().await?)
    }

    /// Registers the sender and pays the fee. Returns the account index.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn register(&self, registration: &Registration) -> Result<(AccountIndex, L1Receipt), RollupError> {
        let fee = self.contract().registrationFee().call().await?;
        let mined = self.send(self.contract().register(registration.to_abi()).value(fee)).await?;
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
        let fee = self.contract().registrationFee().call().await?;
        let call = self.contract().registerFor(
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
        Ok(L1Receipt::of(&self.send(self.contract().endorse(doctor)).await?))
    }

    /// Withdraws the sender's endorsement. This has no effect on a doctor who is admitted already.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn withdraw_endorsement(&self, doctor: Address) -> Result<L1Receipt, RollupError> {
        Ok(L1Receipt::of(&self.send(self.contract().withdrawEndorsement(doctor)).await?))
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
        let hash = self.contract().registrationHash(number(account)).call().await?;
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
        let call = self.contract().admit(number(registration.account), registration.to_abi());
        Ok(L1Receipt::of(&self.send(call).await?))
    }

    /// As registrar, suspends a doctor or hospital, or holds a pending registration back. After admission this costs
    /// [`Self::urgent_fee`], and has effect once its entry is settled.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn suspend(&self, account: AccountIndex) -> Result<L1Receipt, RollupError> {
        let fee = self.fee_of_standing(account, Standing::Pending).await?;
        Ok(L1Receipt::of(&self.send(self.contract().suspend(number(account)).value(fee)).await?))
    }

    /// As registrar, ends a suspension, or no longer holds a registration back. After admission this costs
    /// [`Self::urgent_fee`], and has effect once its entry is settled.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn reinstate(&self, account: AccountIndex) -> Result<L1Receipt, RollupError> {
        let fee = self.fee_of_standing(account, Standing::Withheld).await?;
        Ok(L1Receipt::of(&self.send(self.contract().reinstate(number(account)).value(fee)).await?))
    }

    /// The fee of a change of status: none for an account that is not admitted yet and stands like this.
    async fn fee_of_standing(&self, account: AccountIndex, free: Standing) -> Result<U256, RollupError> {
        let standing = self.account(account).await?.map(|account| account.standing);
        if standing == Some(free) { Ok(U256::ZERO) } else { self.urgent_fee().await }
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
pub(crate) fn index(number: U24) -> Result<Option<AccountIndex>, RollupError> {
    if number.is_zero() {
        return Ok(None);
    }
    AccountIndex::new(number.to()).map(Some).map_err(|error| RollupError::Malformed(error.to_string()))
}
