//! Revoking through L1, if the hospital does not answer or does not settle: the grants end without its help.

use emr_chain::{Revocation, SignedChange};
use emr_core::{AccountIndex, Role, UnixTime};
use emr_rollup::{
    l1_operation::{ForcedRevoke, RevokedGrants},
    operation::DirectoryCommitment,
    primitive::field,
};

use crate::{
    error::ClientError,
    flow::account_change::{AccountChangeError, ChangeOnL1},
    keys::{self, HashSigner, KeyError},
    l1_client::L1Client,
};

/// How long the patient's program looks for readers without rights after a revocation went to L1, in seconds: until it is relayed, and settled
/// by strangers in a long queue.
const KEYS_WAIT: u64 = 3 * 24 * 3600;

/// The queue entry of a revocation.
pub(super) fn entry(account: AccountIndex, revocation: &Revocation) -> ForcedRevoke {
    let grants = revocation.slot.map_or(RevokedGrants::All, RevokedGrants::Slot);
    let directory = revocation.directory.map(|it| DirectoryCommitment::from(field::from_opaque(it.as_bytes())));
    ForcedRevoke { account, grants, directory }
}

impl L1Client {
    /// Ends grants of this patient on L1, and pays for it. The key directory stays; the next command that reaches a node
    /// publishes a new one if readers lost their rights.
    ///
    /// # Errors
    /// [`AccountChangeError`] if this is no patient, or if the contract does not hold the entry afterwards. [`ClientError::NoEther`].
    /// [`ClientError`] if L1 cannot be asked or refuses.
    pub async fn force_revoke(&self, revocation: &Revocation) -> Result<ChangeOnL1, ClientError> {
        self.require_patient()?;
        self.require_ether().await?;
        let account = self.own_account()?;
        // Noted first: the transaction may be mined although its receipt does not come back.
        self.profile.note_keys_wait(UnixTime::now().saturating_add(KEYS_WAIT))?;
        let first = self.next_position().await?;
        let queued = self.rollup.force_revoke(revocation).await?;
        self.on_l1(queued, first, &entry(account, revocation).into()).await
    }

    /// Signs a revocation that anyone can send to L1 within a day.
    ///
    /// # Errors
    /// [`AccountChangeError::NotAPatient`]. [`ClientError`] if L1 cannot be asked or the keys refuse.
    pub async fn sign_revocation(&self, revocation: Revocation) -> Result<SignedChange, ClientError> {
        self.require_patient()?;
        let instance = *self.rollup.instance();
        let (owner, nonce, deadline) = self.to_sign().await?;
        let signed = keys::with(&self.keys, move |keys| {
            let signed = revocation.sign(&instance, owner, &HashSigner(keys), nonce, deadline);
            signed.map_err(|error| KeyError::Refused(error.to_string()))
        });
        let signed = signed.await?;
        // The patient may never hear that it was relayed, so later commands look.
        self.profile.note_keys_wait(UnixTime::now().saturating_add(KEYS_WAIT))?;
        Ok(SignedChange::Revocation(signed))
    }

    fn require_patient(&self) -> Result<(), AccountChangeError> {
        if self.keys.role() == Role::Patient { Ok(()) } else { Err(AccountChangeError::NotAPatient) }
    }
}
