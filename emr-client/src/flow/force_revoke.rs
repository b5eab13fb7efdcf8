//! Revoking through L1, if the hospital does not answer or does not settle: the grants end without its help.
//!
//! The entry goes into the urgent queue. Honest nodes serve nothing more as soon as they see it there. The sequencer must
//! settle it within six hours. After that, anyone can.

use alloy::primitives::U256;
use emr_chain::{QueueName, QueuedChange, Revocation, SignedRevocation};
use emr_core::{Role, UnixTime};

use crate::{
    error::ClientError,
    keys::{self, HashSigner, KeyError},
    l1_client::L1Client,
};

/// How long what a patient signed for others to relay is valid, in seconds.
const RELAY_VALIDITY: u64 = 24 * 3600;

/// Why a revocation cannot be sent to L1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForceRevokeError {
    /// Only patients have grants.
    #[error("only a patient can revoke access to their records")]
    NotAPatient,
}

/// A revocation that waits in a queue on L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForcedRevocation {
    /// The entry.
    pub queued: QueuedChange,
    /// From then on anyone can settle it. `None` if it waits behind the registration of the account, which gives nobody
    /// rights before.
    pub due: Option<UnixTime>,
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
        let queued = self.rollup.force_revoke(revocation).await?;
        self.profile.note_keys_wait()?;
        self.forced(queued).await
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
        // Whoever relays it need not tell: the next command looks.
        self.profile.note_keys_wait()?;
        Ok(signed)
    }

    /// Sends what a patient signed to L1, and pays for it.
    ///
    /// # Errors
    /// [`ClientError::NoEther`]. [`ClientError`] if L1 cannot be asked or refuses.
    pub async fn relay_revocation(&self, signed: &SignedRevocation) -> Result<ForcedRevocation, ClientError> {
        self.require_ether().await?;
        self.forced(self.rollup.force_revoke_for(signed).await?).await
    }

    async fn forced(&self, queued: QueuedChange) -> Result<ForcedRevocation, ClientError> {
        let due = match queued.queue {
            QueueName::Urgent => Some(self.rollup.overdue_from(queued.queue, queued.index).await?),
            QueueName::Ordinary => None,
        };
        Ok(ForcedRevocation { queued, due })
    }

    fn require_patient(&self) -> Result<(), ForceRevokeError> {
        if self.keys.role() == Role::Patient { Ok(()) } else { Err(ForceRevokeError::NotAPatient) }
    }
}
