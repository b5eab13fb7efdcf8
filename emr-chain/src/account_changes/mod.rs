//! What an owner does with their account on L1: they end grants, change keys, and close the account. Nobody's help is
//! needed, and the sequencer cannot refuse it.

mod closing;
mod revocation;
mod rotation;

use alloy::{
    primitives::{Address, U256},
    providers::Provider,
    rpc::types::TransactionReceipt,
};
use emr_core::UnixTime;
use serde::{Deserialize, Serialize};

use crate::{
    bindings::EmrRollup,
    queue::QueueName,
    registration::{Registration, RollupInstance},
    revert::RollupError,
    rollup::Rollup,
    transaction::{L1Receipt, RELAY_GAS_CAP},
};

pub use closing::SignedClosing;
pub use revocation::{Revocation, SignedRevocation};
pub use rotation::SignedRotation;

/// A change of an account that its owner signed and anyone can relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum SignedChange {
    /// Grants end.
    Revocation(SignedRevocation),
    /// The account gets new keys.
    Rotation(SignedRotation),
    /// The account ends.
    Closing(SignedClosing),
}

impl SignedChange {
    /// The rollup that it is for.
    pub const fn instance(&self) -> &RollupInstance {
        match self {
            Self::Revocation(signed) => &signed.instance,
            Self::Rotation(signed) => &signed.instance,
            Self::Closing(signed) => &signed.instance,
        }
    }

    /// The owner who signed it.
    pub const fn owner(&self) -> Address {
        match self {
            Self::Revocation(signed) => signed.owner,
            Self::Rotation(signed) => signed.owner,
            Self::Closing(signed) => signed.owner,
        }
    }

    /// The last second at which the contract accepts it.
    pub const fn deadline(&self) -> UnixTime {
        match self {
            Self::Revocation(signed) => signed.deadline,
            Self::Rotation(signed) => signed.deadline,
            Self::Closing(signed) => signed.deadline,
        }
    }
}

/// A change of an account that waits in the urgent queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedChange {
    /// Its position there.
    pub index: u64,
    /// The ether that was sent for it, in wei. What was above the contract's fee is the sender's credit.
    pub sent: U256,
    /// The transaction.
    pub receipt: L1Receipt,
}

/// How many entries of others may come before one that is being sent, and raise its fee.
const FEE_MARGIN: U256 = U256::from_limbs([32, 0, 0, 0]);

impl<P: Provider> Rollup<P> {
    /// What an entry of the urgent queue costs at most now, in wei, if no more than 32 others come first. It is 0 as long as
    /// few entries wait.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn urgent_fee(&self) -> Result<U256, RollupError> {
        let fee = self.contract().urgentFee().call().await?;
        // Others may come first and raise it. What is too much becomes the sender's credit.
        let urgent = QueueName::Urgent.code();
        let length = U256::from(self.contract().queueLength(urgent).call().await?);
        let head = U256::from(self.contract().queueHead(urgent).call().await?);
        let free = self.contract().FREE_URGENT_ENTRIES().call().await?;
        if length.saturating_sub(head) + FEE_MARGIN < free {
            return Ok(fee);
        }
        let step = self.contract().URGENT_FEE_STEP().call().await?;
        Ok(fee + (fee / U256::from(4)).max(step * FEE_MARGIN))
    }

    /// The nonce of the next message that an owner signs for the contract.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn nonce_of(&self, owner: Address) -> Result<U256, RollupError> {
        Ok(self.contract().nonces(owner).call().await?)
    }

    /// Ends grants of the sender, a patient.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn force_revoke(&self, revocation: &Revocation) -> Result<QueuedChange, RollupError> {
        let fee = self.urgent_fee().await?;
        queued(&self.send(self.contract().forceRevoke(revocation.to_abi()).value(fee)).await?, fee)
    }

    /// Relays what a patient signed, and pays the fee.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses, and [`RollupError::TooMuchGas`] if the call needs more
    /// than half a million gas. That can happen if the owner is a contract.
    pub async fn force_revoke_for(&self, signed: &SignedRevocation) -> Result<QueuedChange, RollupError> {
        let fee = self.urgent_fee().await?;
        let deadline = U256::from(signed.deadline.get());
        let call = self.contract().forceRevokeFor(
            signed.owner,
            signed.revocation.to_abi(),
            deadline,
            signed.signature.clone(),
        );
        queued(&self.send_within(call.value(fee), RELAY_GAS_CAP).await?, fee)
    }

    /// Gives the sender's account the keys of a registration. Its role and organisation must be the account's.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn rotate_keys(&self, registration: &Registration) -> Result<QueuedChange, RollupError> {
        let fee = self.urgent_fee().await?;
        queued(&self.send(self.contract().rotateKeys(registration.to_abi()).value(fee)).await?, fee)
    }

    /// Relays new keys that an owner signed, and pays the fee.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses, and [`RollupError::TooMuchGas`] if the call needs more
    /// than half a million gas.
    pub async fn rotate_keys_for(&self, signed: &SignedRotation) -> Result<QueuedChange, RollupError> {
        let fee = self.urgent_fee().await?;
        let deadline = U256::from(signed.deadline.get());
        let (owner, registration) = (signed.owner, signed.registration.to_abi());
        let call = self.contract().rotateKeysFor(owner, registration, deadline, signed.signature.clone());
        queued(&self.send_within(call.value(fee), RELAY_GAS_CAP).await?, fee)
    }

    /// Closes the sender's account, permanently.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn close_account(&self) -> Result<QueuedChange, RollupError> {
        let fee = self.urgent_fee().await?;
        queued(&self.send(self.contract().closeAccount().value(fee)).await?, fee)
    }

    /// Relays the end of an account, which its owner signed, and pays the fee.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses, and [`RollupError::TooMuchGas`] if the call needs more
    /// than a million gas. That can happen if the owner is a contract.
    pub async fn close_account_for(&self, signed: &SignedClosing) -> Result<QueuedChange, RollupError> {
        let fee = self.urgent_fee().await?;
        let deadline = U256::from(signed.deadline.get());
        let call = self.contract().closeAccountFor(signed.owner, deadline, signed.signature.clone());
        queued(&self.send_within(call.value(fee), RELAY_GAS_CAP).await?, fee)
    }

    /// Withdraws the sender's registration, which must not be admitted. The sender may register again, but nobody may relay
    /// a registration of theirs.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn withdraw_registration(&self) -> Result<L1Receipt, RollupError> {
        Ok(L1Receipt::of(&self.send(self.contract().withdrawRegistration()).await?))
    }

    /// What an account sent beyond fees and has not withdrawn, in wei.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn credit_of(&self, account: Address) -> Result<U256, RollupError> {
        Ok(self.contract().creditOf(account).call().await?)
    }

    /// Sends the sender's credit to an address.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn withdraw_credit(&self, to: Address) -> Result<L1Receipt, RollupError> {
        Ok(L1Receipt::of(&self.send(self.contract().withdrawCredit(to)).await?))
    }
}

/// The entry that a mined transaction appended.
fn queued(mined: &TransactionReceipt, sent: U256) -> Result<QueuedChange, RollupError> {
    let event = mined.decoded_log::<EmrRollup::Enqueued>();
    let event = event.ok_or_else(|| RollupError::Malformed("a change of an account without its event".to_owned()))?;
    Ok(QueuedChange { index: event.data.index.to(), sent, receipt: L1Receipt::of(mined) })
}
