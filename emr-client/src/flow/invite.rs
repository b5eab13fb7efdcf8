//! Inviting: a hospital or a doctor signs an invitation, so that the hospital pays for somebody's registration. This
//! needs no node.

use emr_api::invitation::{Invitation, MAX_VALIDITY};
use emr_core::{Role, UnixTime};

use crate::{
    error::ClientError,
    keys::{HashSigner, KeyError, Signer},
    profile::Profile,
};

/// Why no invitation was signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InviteError {
    /// The profile has no account yet.
    #[error("only who is registered can invite: register first")]
    NotRegistered,
    /// The participant is a patient: no node accepts a patient's invitation.
    #[error("only hospitals and their doctors can invite")]
    Role,
    /// No node accepts an invitation that ends at this time.
    #[error("an invitation ends in the future, and at most 90 days from now: choose another time")]
    Expires,
}

impl Profile {
    /// Signs an invitation as this profile's account, valid until `expires`.
    ///
    /// # Errors
    /// [`InviteError`] if this account may not invite, or not until `expires`. [`ClientError::Keys`] if the keys cannot
    /// sign.
    pub fn invite(&self, keys: &dyn Signer, expires: UnixTime) -> Result<Invitation, ClientError> {
        if keys.role() == Role::Patient {
            return Err(InviteError::Role.into());
        }
        let settings = self.settings()?;
        let account = settings.account.ok_or(InviteError::NotRegistered)?;
        let now = UnixTime::now();
        if expires <= now || expires > now.saturating_add(MAX_VALIDITY) {
            return Err(InviteError::Expires.into());
        }
        let invitation = Invitation::issue(&settings.instance(), &HashSigner(keys), account, expires);
        Ok(invitation.map_err(|error| KeyError::Refused(error.to_string()))?)
    }
}
