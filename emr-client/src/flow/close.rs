//! The end of an account, through L1. It is final: nothing more is signed or served under it, and nobody gets its number.

use emr_chain::{SignedChange, SignedClosing};
use emr_core::{AccountIndex, AccountStatus};
use emr_rollup::l1_operation::SetStatus;

use crate::{
    error::ClientError,
    flow::account_change::ChangeOnL1,
    keys::{self, HashSigner, KeyError},
    l1_client::L1Client,
};

/// The queue entry of the end of an account.
pub(super) const fn entry(account: AccountIndex) -> SetStatus {
    SetStatus { account, status: AccountStatus::Closed }
}

impl L1Client {
    /// Closes this account for ever on L1, and pays for it.
    ///
    /// # Errors
    /// [`AccountChangeError`](crate::flow::account_change::AccountChangeError) if the contract does not hold the entry afterwards.
    /// [`ClientError::NoEther`]. [`ClientError`] if the identity has no account, or if L1 cannot be asked or refuses.
    pub async fn close_account(&self) -> Result<ChangeOnL1, ClientError> {
        self.require_ether().await?;
        let account = self.own_account()?;
        let first = self.next_position().await?;
        let queued = self.rollup.close_account().await?;
        self.on_l1(queued, first, &entry(account).into()).await
    }

    /// Signs the end of this account, which anyone can send to L1 within a day.
    ///
    /// # Errors
    /// [`ClientError`] if the identity has no account, if the keys refuse, or if L1 cannot be asked.
    pub async fn sign_closing(&self) -> Result<SignedChange, ClientError> {
        self.own_account()?;
        let instance = *self.rollup.instance();
        let (owner, nonce, deadline) = self.to_sign().await?;
        let signed = keys::with(&self.keys, move |keys| {
            let signed = SignedClosing::sign(&instance, owner, &HashSigner(keys), nonce, deadline);
            signed.map_err(|error| KeyError::Refused(error.to_string()))
        });
        Ok(SignedChange::Closing(signed.await?))
    }
}
