//! What a participant changes on L1, if the hospital does not answer, does not settle, or must not decide: grants end, the account gets a new
//! rollup key, or it ends.
//!
//! The entry goes into the urgent queue. Batches of the sequencer must take it when it is five hours old. From six hours on, anyone can settle
//! it. Honest nodes serve nothing more under a revoked grant as soon as they see the entry.

use alloy::primitives::Address;
use emr_chain::{QueueName, QueuedChange, RollupInstance, SettlementLayer, SignedChange};
use emr_core::UnixTime;
use emr_rollup::l1_operation::L1Operation;

use crate::{
    error::ClientError,
    flow::{close, force_revoke, rotate},
    l1_client::L1Client,
};

/// How long what an owner signed for others to relay is valid, in seconds.
pub(super) const RELAY_VALIDITY: u64 = 24 * 3600;

/// Why a change cannot be sent to L1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountChangeError {
    /// Only patients have grants.
    #[error("only a patient can revoke access to their records")]
    NotAPatient,
    /// The change is for another rollup. Its contract could ask any fee.
    #[error(
        "this is for contract {} on chain {}: if the one who gave it to you confirms that this is their hospital's, name it with --contract and \
         --chain-id, with a --data-dir that has joined no other", .0.contract, .0.chain_id
    )]
    OtherRollup(RollupInstance),
    /// The keys in a relayed change are no keys.
    #[error("the new keys in this file are no keys: ask the one who gave it to you to make it again")]
    Keys,
    /// The contract does not hold the entry that a receipt names.
    #[error(
        "the contract does not hold the entry that the Ethereum node says it took: use another Ethereum node, and try again"
    )]
    NotQueued,
}

/// A change of an account that waits in the urgent queue on L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeOnL1 {
    /// The entry.
    pub queued: QueuedChange,
    /// From then on anyone can settle it.
    pub strangers_from: UnixTime,
}

impl L1Client {
    /// Sends what an owner signed to L1, and pays for it.
    ///
    /// # Errors
    /// [`AccountChangeError`] if it is for another rollup, or if the contract does not hold it afterwards. [`ClientError::NoEther`].
    /// [`ClientError`] if L1 cannot be asked or refuses.
    pub async fn relay(&self, signed: &SignedChange) -> Result<ChangeOnL1, ClientError> {
        if signed.instance() != self.rollup.instance() {
            return Err(AccountChangeError::OtherRollup(*signed.instance()).into());
        }
        self.require_ether().await?;
        let account = self.rollup.account_of(signed.owner()).await?.ok_or(AccountChangeError::NotQueued)?;
        let entry: L1Operation = match signed {
            SignedChange::Revocation(signed) => force_revoke::entry(account, &signed.revocation).into(),
            SignedChange::Rotation(signed) => rotate::entry(account, &signed.registration)?.into(),
            SignedChange::Closing(_) => close::entry(account).into(),
        };
        let first = self.next_position().await?;
        let queued = match signed {
            SignedChange::Revocation(signed) => self.rollup.force_revoke_for(signed).await?,
            SignedChange::Rotation(signed) => self.rollup.rotate_keys_for(signed).await?,
            SignedChange::Closing(signed) => self.rollup.close_account_for(signed).await?,
        };
        self.on_l1(queued, first, &entry).await
    }

    /// The position that the urgent queue's next entry gets.
    pub(super) async fn next_position(&self) -> Result<u64, ClientError> {
        Ok(self.rollup.head().await?.queues.urgent.length)
    }

    /// Receipts come from one Ethereum node. Only what the contract holds shows that the entry is there. An equal entry before `first` is an
    /// earlier change.
    pub(super) async fn on_l1(
        &self,
        queued: QueuedChange,
        first: u64,
        entry: &L1Operation,
    ) -> Result<ChangeOnL1, ClientError> {
        if queued.index < first {
            return Err(AccountChangeError::NotQueued.into());
        }
        let from = self.rollup.overdue_from(QueueName::Urgent, queued.index, &entry.entry().to_bytes()).await?;
        let strangers_from = from.ok_or(AccountChangeError::NotQueued)?;
        Ok(ChangeOnL1 { queued, strangers_from })
    }

    /// The owner's address, the nonce of what they sign next, and until when it is valid.
    pub(super) async fn to_sign(&self) -> Result<(Address, alloy::primitives::U256, UnixTime), ClientError> {
        let owner = self.ethereum_address();
        Ok((owner, self.rollup.nonce_of(owner).await?, UnixTime::now().saturating_add(RELAY_VALIDITY)))
    }
}
