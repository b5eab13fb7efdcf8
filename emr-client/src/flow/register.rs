//! Registration: relayed by a hospital's node, which pays, or sent with own ether.

use std::time::Duration;

use emr_api::{AccountView, RelayRegistration, invitation::Invitation};
use emr_chain::{CurvePoint, Registration, RollupInstance, RsaPossession, SignedRegistration};
use emr_core::{AccountIndex, Role, UnixTime};
use emr_rollup::primitive::field::{self, Fr};

use crate::{
    client::Client,
    error::ClientError,
    keys::{self, HashSigner, KeyError, Keys},
};

/// How long a relayed registration may take to be mined. Seconds.
const RELAY_VALIDITY: u64 = 3600;

/// Why registration failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Only doctors belong to a hospital.
    #[error("only doctors belong to a hospital: register without one")]
    OrgForRole(Role),
    /// The hospital pays only for whom it invited.
    #[error(
        "without an invitation the hospital does not pay: ask it or a doctor of it for one (register --invite CODE), or pay on L1 yourself (register --own-ether)"
    )]
    NotInvited,
    /// The node says it relayed, but L1 knows nothing of it.
    #[error("the node says it registered account {0}, but L1 does not: use another node, or register with own ether")]
    NotOnL1(AccountIndex),
    /// Nothing happened in time.
    #[error(
        "account {0} is not in the state yet: a doctor or hospital waits for the registrar's admission, everyone for the next batch"
    )]
    NotYet(AccountIndex),
}

/// What a participant registers, and what proves possession of its RSA key.
struct Prepared {
    registration: Registration,
    possession: Option<RsaPossession>,
}

fn prepare(keys: &dyn Keys, instance: &RollupInstance, org: Option<AccountIndex>) -> Result<Prepared, KeyError> {
    let role = keys.role();
    let point = |x: Fr, y: Fr| CurvePoint { x: field::to_bytes(&x), y: field::to_bytes(&y) };
    let q = keys.registration_point();
    let q = point(q.x(), q.y());
    if role == Role::Patient {
        let registration = Registration::patient(q, keys.committed_key().commitment());
        return Ok(Prepared { registration, possession: None });
    }
    let key = keys.rollup_key();
    let message = instance.possession_message(keys.ethereum_address(), point(key.x(), key.y()), role);
    let possession =
        RsaPossession { modulus: keys.committed_key().key.modulus(), signature: keys.sign_possession(&message)? };
    let registration = match role {
        Role::Hospital => Registration::hospital(q, possession.clone()),
        _ => Registration::doctor(q, org, possession.clone()),
    };
    Ok(Prepared { registration, possession: Some(possession) })
}

/// A registration signed for relaying, in the form that the node takes.
///
/// # Errors
/// [`KeyError`].
fn sign_for_relay(
    keys: &dyn Keys,
    instance: &RollupInstance,
    org: Option<AccountIndex>,
    deadline: UnixTime,
    invitation: Option<Invitation>,
) -> Result<RelayRegistration, KeyError> {
    let Prepared { registration, possession } = prepare(keys, instance, org)?;
    let signed = registration.sign(instance, keys.ethereum_address(), &HashSigner(keys), deadline);
    let SignedRegistration { owner, signature, .. } = signed.map_err(|error| KeyError::Refused(error.to_string()))?;
    let q = keys.registration_point();
    let encryption = match possession {
        None => keys.committed_key().element(),
        Some(_) => Fr::default(),
    };
    let (modulus, rsa_signature) = possession.map(|key| (key.modulus, key.signature)).unwrap_or_default();
    Ok(RelayRegistration {
        owner: owner.to_string(),
        role: keys.role(),
        org,
        q_x: q.x(),
        q_y: q.y(),
        encryption,
        rsa_modulus: hex::encode(modulus),
        rsa_signature: hex::encode(rsa_signature),
        deadline,
        signature: hex::encode(signature),
        invitation,
    })
}

impl Client {
    /// Registers this identity through its hospital's node, which pays for those with an invitation. Without effect if it has an account
    /// already: the answer is that account, so that it may be repeated after a crash, with the same invitation.
    ///
    /// # Errors
    /// [`RegisterError::NotInvited`] without an invitation; [`RegisterError`].
    pub async fn register(
        &self,
        org: Option<AccountIndex>,
        invitation: Option<&Invitation>,
    ) -> Result<AccountIndex, ClientError> {
        let _turn = self.turn().await;
        if let Some(account) = self.refresh_account().await? {
            return Ok(account);
        }
        let invitation = *invitation.ok_or(RegisterError::NotInvited)?;
        self.check_org(org)?;
        let deadline = UnixTime::now().saturating_add(RELAY_VALIDITY);
        let instance = self.instance();
        let sign = move |keys: &dyn Keys| sign_for_relay(keys, &instance, org, deadline, Some(invitation));
        let signed = keys::with(&self.keys, sign).await?;
        let relayed = self.node.relay(&signed).await?;
        // The account is L1's to give out, not the node's.
        match self.rollup.account_of(self.ethereum_address()).await? {
            Some(account) => self.registered_as(account).map(|()| account),
            None => Err(RegisterError::NotOnL1(relayed.account).into()),
        }
    }

    fn check_org(&self, org: Option<AccountIndex>) -> Result<(), RegisterError> {
        match (org, self.keys.role()) {
            (None, _) | (Some(_), Role::Doctor) => Ok(()),
            (Some(_), role) => Err(RegisterError::OrgForRole(role)),
        }
    }

    /// Registers this identity with its own ether. Repeatable like [`Self::register`].
    ///
    /// # Errors
    /// [`RegisterError`].
    pub async fn register_on_l1(&self, org: Option<AccountIndex>) -> Result<AccountIndex, ClientError> {
        let _turn = self.turn().await;
        if let Some(account) = self.refresh_account().await? {
            return Ok(account);
        }
        self.check_org(org)?;
        let instance = self.instance();
        let prepared = keys::with(&self.keys, move |keys| prepare(keys, &instance, org)).await?;
        let (account, _) = self.rollup.register(&prepared.registration).await?;
        self.registered_as(account)?;
        Ok(account)
    }

    /// Waits until the node knows this account, at most `limit`; with `settled`, until a batch has taken it.
    ///
    /// # Errors
    /// [`RegisterError::NotYet`] after `limit`; [`RegisterError`].
    pub async fn wait_registered(
        &self,
        settled: bool,
        interval: Duration,
        limit: Duration,
    ) -> Result<AccountView, ClientError> {
        let account = self.account()?;
        let until = tokio::time::Instant::now() + limit;
        loop {
            match self.node.account(account).await {
                Ok(view) if view.settled || !settled => return Ok(view),
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
            if tokio::time::Instant::now() >= until {
                return Err(RegisterError::NotYet(account).into());
            }
            tokio::time::sleep(interval).await;
        }
    }
}
