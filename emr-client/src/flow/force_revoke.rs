//! Revoking through L1, if the hospital does not answer or does not settle: the grants end without its help.
//!
//! The entry goes into the urgent queue. Honest nodes serve nothing more as soon as they see it there. Batches of the
//! sequencer must take it when it is five hours old. From six hours on, anyone can settle it.

use alloy::primitives::{Address, U256};
use emr_chain::{QueueName, QueuedChange, Revocation, RollupInstance, SettlementLayer, SignedRevocation};
use emr_core::{Role, UnixTime};
use emr_rollup::{
    l1_operation::{ForcedRevoke, L1Operation, RevokedGrants},
    operation::DirectoryCommitment,
    primitive::field,
};

use crate::{
    error::ClientError,
    keys::{self, HashSigner, KeyError},
    l1_client::L1Client,
};

/// How long what a patient signed for others to relay is valid, in seconds.
const RELAY_VALIDITY: u64 = 24 * 3600;

/// How long the patient's program looks for readers without rights after a revocation went to L1, in seconds: until it is relayed, and settled
/// by strangers in a long queue.
const KEYS_WAIT: u64 = 3 * 24 * 3600;

/// Why a revocation cannot be sent to L1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForceRevokeError {
    /// Only patients have grants.
    #[error("only a patient can revoke access to their records")]
    NotAPatient,
    /// The revocation is for another rollup. Its contract could ask any fee.
    #[error(
        "this revocation is for contract {} on chain {}: if the patient confirms that this is their hospital's, name it with --contract and --chain-id, \
         with a --data-dir that has joined no other", .0.contract, .0.chain_id
    )]
    OtherRollup(RollupInstance),
    /// The contract does not hold the entry that a receipt names.
    #[error(
        "the contract does not hold the revocation that the Ethereum node says it took: use another Ethereum node, and revoke again"
    )]
    NotQueued,
}

/// A revocation that waits in a queue on L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForcedRevocation {
    /// The entry.
    pub queued: QueuedChange,
    /// From then on anyone can settle it.
    pub strangers_from: UnixTime,
}

impl L1Client {
    /// Ends grants of this patient on L1, and pays for it. The key directory stays; the next command that reaches a node
    /// publishes a new one if readers lost their rights.
    ///
    /// # Errors
    /// [`ForceRevokeError`] if this is no patient. [`ClientError::NoEther`]. [`ClientError`] if L1 cannot be asked or refuses.
    pub async fn force_revoke(&self, revocation: &Revocation) -> Result<ForcedRevocation, ClientError> {
        self.require_patient()?;
        self.require_ether().await?;
        // Noted first: the transaction may be mined although its receipt does not come back.
        self.profile.note_keys_wait(UnixTime::now().saturating_add(KEYS_WAIT))?;
        let first = self.next_position().await?;
        let queued = self.rollup.force_revoke(revocation).await?;
        self.forced(queued, first, self.ethereum_address(), revocation).await
    }

    /// Signs a revocation that anyone can send to L1 within a day.
    ///
    /// # Errors
    /// [`ForceRevokeError::NotAPatient`]. [`ClientError`] if L1 cannot be asked or the keys refuse.
    pub async fn sign_revocation(&self, revocation: Revocation) -> Result<SignedRevocation, ClientError> {
        self.require_patient()?;
        let (instance, owner) = (*self.rollup.instance(), self.ethereum_address());
        let nonce: U256 = self.rollup.nonce_of(owner).await?;
        let deadline = UnixTime::now().saturating_add(RELAY_VALIDITY);
        let signed = keys::with(&self.keys, move |keys| {
            let signed = revocation.sign(&instance, owner, &HashSigner(keys), nonce, deadline);
            signed.map_err(|error| KeyError::Refused(error.to_string()))
        });
        let signed = signed.await?;
        // The patient may never hear that it was relayed, so later commands look.
        self.profile.note_keys_wait(UnixTime::now().saturating_add(KEYS_WAIT))?;
        Ok(signed)
    }

    /// Sends what a patient signed to L1, and pays for it.
    ///
    /// # Errors
    /// [`ClientError::NoEther`]. [`ClientError`] if L1 cannot be asked or refuses.
    pub async fn relay_revocation(&self, signed: &SignedRevocation) -> Result<ForcedRevocation, ClientError> {
        if signed.instance != *self.rollup.instance() {
            return Err(ForceRevokeError::OtherRollup(signed.instance).into());
        }
        self.require_ether().await?;
        let first = self.next_position().await?;
        let queued = self.rollup.force_revoke_for(signed).await?;
        self.forced(queued, first, signed.owner, &signed.revocation).await
    }

    /// The position that the urgent queue's next entry gets.
    async fn next_position(&self) -> Result<u64, ClientError> {
        Ok(self.rollup.head().await?.queues.urgent.length)
    }

    /// Receipts come from one Ethereum node. Only what the contract holds shows that the entry is there. An equal entry before `first` is an
    /// earlier revocation of this patient.
    async fn forced(
        &self,
        queued: QueuedChange,
        first: u64,
        owner: Address,
        revocation: &Revocation,
    ) -> Result<ForcedRevocation, ClientError> {
        if queued.index < first {
            return Err(ForceRevokeError::NotQueued.into());
        }
        let account = self.rollup.account_of(owner).await?.ok_or(ForceRevokeError::NotQueued)?;
        let grants = revocation.slot.map_or(RevokedGrants::All, RevokedGrants::Slot);
        let directory = revocation.directory.map(|it| DirectoryCommitment::from(field::from_opaque(it.as_bytes())));
        let entry = L1Operation::from(ForcedRevoke { account, grants, directory }).entry();
        let from = self.rollup.overdue_from(QueueName::Urgent, queued.index, &entry.to_bytes()).await?;
        let strangers_from = from.ok_or(ForceRevokeError::NotQueued)?;
        Ok(ForcedRevocation { queued, strangers_from })
    }

    fn require_patient(&self) -> Result<(), ForceRevokeError> {
        if self.keys.role() == Role::Patient { Ok(()) } else { Err(ForceRevokeError::NotAPatient) }
    }
}
