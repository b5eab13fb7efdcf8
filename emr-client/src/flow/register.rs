//! Registration: relayed by a hospital's node, which pays, or sent with own ether.

use std::time::Duration;

use alloy::{primitives::Address, signers::local::PrivateKeySigner};
use emr_api::encryption::CommittedKey;
use emr_api::{AccountView, RelayRegistration, invitation::Invitation};
use emr_chain::{CurvePoint, Registration, RollupInstance, RsaPossession, SignedRegistration};
use emr_core::{AccountIndex, Role, UnixTime};
use emr_crypto::Identity;
use emr_rollup::primitive::{
    eddsa::SigningKey,
    field::{self, Fr},
};

use crate::{client::Client, error::ClientError};

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

/// What an identity registers, and what proves possession of its RSA key.
struct Prepared {
    registration: Registration,
    possession: Option<RsaPossession>,
}

fn prepare(
    identity: &Identity,
    instance: &RollupInstance,
    owner: Address,
    org: Option<AccountIndex>,
) -> Result<Prepared, ClientError> {
    let role = identity.role();
    if org.is_some() && role != Role::Doctor {
        return Err(RegisterError::OrgForRole(role).into());
    }
    let signing = SigningKey::from_seed(identity.rollup_seed());
    let point = |x: Fr, y: Fr| CurvePoint { x: field::to_bytes(&x), y: field::to_bytes(&y) };
    let q = signing.registration_point();
    let q = point(q.x(), q.y());
    if role == Role::Patient {
        let registration = Registration::patient(q, CommittedKey::of(identity).commitment());
        return Ok(Prepared { registration, possession: None });
    }
    let key = point(signing.public().x(), signing.public().y());
    let message = instance.possession_message(owner, key, role);
    let possession =
        RsaPossession { modulus: identity.rsa().public().modulus(), signature: identity.rsa().sign_pkcs1v15(&message) };
    let registration = match role {
        Role::Hospital => Registration::hospital(q, possession.clone()),
        _ => Registration::doctor(q, org, possession.clone()),
    };
    Ok(Prepared { registration, possession: Some(possession) })
}

/// A registration signed for relaying, in the form that the node takes.
///
/// # Errors
/// [`RegisterError::OrgForRole`], [`RegisterError::Signer`].
pub fn sign_for_relay(
    identity: &Identity,
    instance: &RollupInstance,
    key: &PrivateKeySigner,
    org: Option<AccountIndex>,
    deadline: UnixTime,
    invitation: Option<Invitation>,
) -> Result<RelayRegistration, ClientError> {
    let Prepared { registration, possession } = prepare(identity, instance, key.address(), org)?;
    let SignedRegistration { owner, signature, .. } = registration.sign(instance, key, deadline)?;
    let q = SigningKey::from_seed(identity.rollup_seed()).registration_point();
    let encryption = match possession {
        None => CommittedKey::of(identity).element(),
        Some(_) => Fr::default(),
    };
    let (modulus, rsa_signature) = possession.map(|key| (key.modulus, key.signature)).unwrap_or_default();
    Ok(RelayRegistration {
        owner: owner.to_string(),
        role: identity.role(),
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
        if let Ok(account) = self.account() {
            return Ok(account);
        }
        let invitation = *invitation.ok_or(RegisterError::NotInvited)?;
        let deadline = UnixTime::now().saturating_add(RELAY_VALIDITY);
        let signed = sign_for_relay(&self.identity, &self.instance(), &self.ethereum, org, deadline, Some(invitation))?;
        let relayed = self.node.relay(&signed).await?;
        // The account is L1's to give out, not the node's.
        match self.rollup.account_of(self.ethereum_address()).await? {
            Some(account) => self.registered_as(account).map(|()| account),
            None => Err(RegisterError::NotOnL1(relayed.account).into()),
        }
    }

    /// Registers this identity with its own ether. Repeatable like [`Self::register`].
    ///
    /// # Errors
    /// [`RegisterError`].
    pub async fn register_on_l1(&self, org: Option<AccountIndex>) -> Result<AccountIndex, ClientError> {
        let _turn = self.turn().await;
        if let Ok(account) = self.account() {
            return Ok(account);
        }
        let prepared = prepare(&self.identity, &self.instance(), self.ethereum_address(), org)?;
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
