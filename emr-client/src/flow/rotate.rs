//! A new rollup key, through L1: what was signed with the old one, and is not settled yet, counts no more.
//!
//! The account's RSA key and Ethereum key stay. So everything that was encrypted to the participant, and everything that they wrote, stays
//! readable, and a thief who has the Ethereum key too can change the rollup key again.

use std::sync::Arc;

use emr_chain::{Registration, SignedChange};
use emr_core::AccountIndex;
use emr_rollup::{
    l1_operation::RotateKey,
    primitive::{
        eddsa::PublicKey,
        field::{self, Fr},
        jubjub::Point,
    },
};

use crate::{
    client::Client,
    error::ClientError,
    flow::{
        account_change::{AccountChangeError, ChangeOnL1},
        register,
    },
    keys::{self, HashSigner, KeyError, Keys},
    l1_client::L1Client,
    node::NodeError,
    verify::card::{Card, CardError},
};

/// The queue entry of a rotation to the keys of a registration.
pub(super) fn entry(account: AccountIndex, registration: &Registration) -> Result<RotateKey, AccountChangeError> {
    let element = |bytes: &[u8; 32]| field::from_bytes(bytes).map_err(|_| AccountChangeError::Keys);
    let q = registration.q();
    let q = Point::new(element(&q.x)?, element(&q.y)?).ok_or(AccountChangeError::Keys)?;
    // As the contract does it, so that the key has prime order.
    let double = |point: Point| point + point;
    let key = PublicKey::new(double(double(double(q)))).map_err(|_| AccountChangeError::Keys)?;
    let encryption: Fr = field::from_opaque(registration.commitment().as_bytes());
    Ok(RotateKey { account, key, encryption })
}

impl L1Client {
    /// Gives this account the rollup key of `next` on L1, and pays for it. `next` has the same role and Ethereum key. Keep its keys before: they
    /// count when the entry is settled, and [`Client::has_rotated`] tells when that is. Until then hospitals take no operation of this account.
    ///
    /// # Errors
    /// [`AccountChangeError`] if the contract does not hold the entry afterwards. [`ClientError::NoEther`]. [`ClientError`] if the identity has no
    /// account, if the keys refuse, or if L1 cannot be asked or refuses, for example because an earlier rotation waits.
    pub async fn rotate(&self, next: &Arc<dyn Keys>) -> Result<ChangeOnL1, ClientError> {
        self.require_ether().await?;
        let (account, registration) = self.registration_of(next).await?;
        let entry = entry(account, &registration)?;
        let first = self.next_position().await?;
        let queued = self.rollup.rotate_keys(&registration).await?;
        self.on_l1(queued, first, &entry.into()).await
    }

    /// Signs a rotation to the rollup key of `next` that anyone can send to L1 within a day.
    ///
    /// # Errors
    /// [`ClientError`] if the identity has no account, if the keys refuse, or if L1 cannot be asked.
    pub async fn sign_rotation(&self, next: &Arc<dyn Keys>) -> Result<SignedChange, ClientError> {
        let (_, registration) = self.registration_of(next).await?;
        let instance = *self.rollup.instance();
        let (owner, nonce, deadline) = self.to_sign().await?;
        let signed = keys::with(&self.keys, move |keys| {
            let signed = registration.sign_rotation(&instance, owner, &HashSigner(keys), nonce, deadline);
            signed.map_err(|error| KeyError::Refused(error.to_string()))
        });
        Ok(SignedChange::Rotation(signed.await?))
    }

    /// The keys of `next` with this account's role and organisation.
    async fn registration_of(&self, next: &Arc<dyn Keys>) -> Result<(AccountIndex, Registration), ClientError> {
        let account = self.own_account()?;
        let stored = self.rollup.account(account).await?;
        let org = stored.ok_or(NodeError::NotRegistered)?.org;
        let instance = *self.rollup.instance();
        let registration = keys::with(next, move |keys| register::registration(keys, &instance, org)).await?;
        Ok((account, registration))
    }
}

impl Client {
    /// Whether the settled state names the rollup key of these keys as this account's. If so, go on with [`Self::with_keys`].
    ///
    /// # Errors
    /// [`ClientError`] if this participant has no account, or if the node or L1 cannot be asked.
    pub async fn has_rotated(&self, next: &dyn Keys) -> Result<bool, ClientError> {
        let account = self.account()?;
        match self.check_card(&Card::of(next, &self.instance(), Some(account))).await {
            Ok(_) => Ok(true),
            Err(ClientError::Card(CardError::Forged { field: Card::ROLLUP_KEY, .. })) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
