//! What an owner does with their account on L1: they end grants, change keys, and close the account. Nobody's help is
//! needed, and the sequencer cannot refuse it.

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    providers::Provider,
    rpc::types::TransactionReceipt,
    signers::SignerSync,
    sol_types::SolStruct,
};
use emr_core::{GrantSlot, Opaque, UnixTime};
use serde::{Deserialize, Serialize};

use crate::{
    bindings::{EmrRollup, IAccountChanges},
    queue::QueueName,
    registration::{Registration, RollupInstance},
    revert::RollupError,
    rollup::Rollup,
    transaction::{L1Receipt, RELAY_GAS_CAP},
};

mod eip712 {
    alloy::sol! {
        /// The message that a patient signs. The contract's `forceRevokeFor` computes its hash again.
        struct ForcedRevoke {
            address owner;
            bool all;
            uint16 slot;
            bool replaceDirectory;
            uint256 directory;
            uint256 nonce;
            uint256 deadline;
        }
    }
}

/// The grants of a patient that end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The slot of the grant that ends; `None` for all grants.
    pub slot: Option<GrantSlot>,
    /// The commitment to the new key directory; `None` if the present one stays.
    pub directory: Option<Opaque>,
}

impl Revocation {
    fn to_abi(self) -> IAccountChanges::Revocation {
        IAccountChanges::Revocation {
            all: self.slot.is_none(),
            slot: self.slot.map_or(0, |slot| slot.get() as u16),
            replaceDirectory: self.directory.is_some(),
            directory: self.directory.map_or(U256::ZERO, |it| U256::from_be_bytes(it.to_be_bytes32())),
        }
    }

    /// The hash that the owner signs (EIP-712). `nonce` is the owner's next one, [`Rollup::nonce_of`].
    pub fn signing_hash(&self, instance: &RollupInstance, owner: Address, nonce: U256, deadline: UnixTime) -> B256 {
        let IAccountChanges::Revocation { all, slot, replaceDirectory, directory } = self.to_abi();
        let deadline = U256::from(deadline.get());
        let message = eip712::ForcedRevoke { owner, all, slot, replaceDirectory, directory, nonce, deadline };
        message.eip712_signing_hash(&instance.eip712_domain())
    }

    /// Signs as the owner, with the key of that externally owned account. Anyone can relay the result until `deadline`.
    ///
    /// # Errors
    /// Returns [`alloy::signers::Error`] if the signer fails. A local key does not fail.
    pub fn sign(
        self,
        instance: &RollupInstance,
        owner: Address,
        key: &impl SignerSync,
        nonce: U256,
        deadline: UnixTime,
    ) -> Result<SignedRevocation, alloy::signers::Error> {
        let signature = key.sign_hash_sync(&self.signing_hash(instance, owner, nonce, deadline))?;
        Ok(SignedRevocation {
            instance: *instance,
            revocation: self,
            owner,
            deadline,
            signature: signature.as_bytes().into(),
        })
    }
}

/// A revocation that the patient signed and anyone can relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRevocation {
    /// The rollup that it is for.
    pub instance: RollupInstance,
    /// The revocation.
    pub revocation: Revocation,
    /// The owner of the patient's account.
    pub owner: Address,
    /// The last second at which the contract accepts it.
    pub deadline: UnixTime,
    /// 65 bytes `r || s || v` of an externally owned account, or a signature that an ERC-1271 wallet accepts.
    pub signature: Bytes,
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

    /// Closes the sender's account, permanently.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn close_account(&self) -> Result<QueuedChange, RollupError> {
        let fee = self.urgent_fee().await?;
        queued(&self.send(self.contract().closeAccount().value(fee)).await?, fee)
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
