//! Registration: a hospital's node relays it and pays, or the participant sends it and pays with their own ether.

use std::time::Duration;

use emr_api::{AccountView, RelayRegistration, encryption, invitation::Invitation};
use emr_chain::{CurvePoint, Registration, RollupInstance, RsaPossession, SignedRegistration};
use emr_core::{AccountIndex, KemHash, Role, UnixTime};
use emr_rollup::primitive::field::{self, Fr};

use crate::{
    client::Client,
    error::ClientError,
    keys::{self, HashSigner, KeyError, Keys},
};

/// How long the signature of a relayed registration is valid, in seconds. L1 must mine it within that time.
const RELAY_VALIDITY: u64 = 3600;

/// Why registration failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// A hospital was named for a role that belongs to none.
    #[error("only doctors belong to a hospital: register without one")]
    OrgForRole(Role),
    /// There is no invitation, and the hospital pays for invited participants only.
    #[error(
        "without an invitation the hospital does not pay: ask it or a doctor of it for one (register --invite CODE), or pay on L1 yourself (register --own-ether)"
    )]
    NotInvited,
    /// The node says that it relayed the registration, but L1 does not know the account.
    #[error("the node says it registered account {0}, but L1 does not: use another node, or register with own ether")]
    NotOnL1(AccountIndex),
    /// The account did not get into the state in time.
    #[error(
        "account {0} is not in the state yet: a doctor or hospital waits for the registrar's admission, everyone for the next batch"
    )]
    NotYet(AccountIndex),
}

/// A registration, and the proof that the participant has its RSA key.
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
    let committed = keys.committed_key();
    let message = instance.possession_message(keys.ethereum_address(), point(key.x(), key.y()), role, committed.kem);
    let signature = keys.sign_possession(&message)?;
    let possession = RsaPossession { modulus: committed.rsa.modulus(), kem: committed.kem, signature };
    let registration = match role {
        Role::Hospital => Registration::hospital(q, possession.clone()),
        _ => Registration::doctor(q, org, possession.clone()),
    };
    Ok(Prepared { registration, possession: Some(possession) })
}

/// The registration of these keys, with the account's organisation.
///
/// # Errors
/// [`KeyError`] if the keys cannot sign.
pub(super) fn registration(
    keys: &dyn Keys,
    instance: &RollupInstance,
    org: Option<AccountIndex>,
) -> Result<Registration, KeyError> {
    Ok(prepare(keys, instance, org)?.registration)
}

/// Signs a registration for relaying, in the form that the node takes.
///
/// # Errors
/// [`KeyError`] if the keys cannot sign.
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
    let signature = signature[..].try_into();
    let signature = signature.map_err(|_| KeyError::Refused("an Ethereum signature has 65 bytes".to_owned()))?;
    let q = keys.registration_point();
    let (encryption, kem_hash, rsa_modulus, rsa_signature) = match possession {
        None => (encryption::element(&keys.committed_key()), KemHash::NONE, Vec::new(), Vec::new()),
        Some(key) => (Fr::default(), key.kem, key.modulus, key.signature),
    };
    Ok(RelayRegistration {
        owner,
        role: keys.role(),
        org,
        q_x: q.x(),
        q_y: q.y(),
        encryption,
        kem_hash,
        rsa_modulus,
        rsa_signature,
        deadline,
        signature,
        invitation,
    })
}

impl Client {
    /// Registers this identity through the hospital's node, which pays for participants with an invitation. If the identity has an account
    /// already, nothing is sent and that account is returned, so the call may be repeated after a crash with the same invitation.
    ///
    /// # Errors
    /// [`RegisterError::NotInvited`] without an invitation. Other variants of [`RegisterError`] if the registration cannot be made or L1 does not
    /// show it. [`ClientError`] if the node or L1 cannot be asked or refuses.
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
        let (named, found) = (invitation.instance(), self.instance());
        if named.chain_id != found.chain_id {
            return Err(ClientError::OtherChain { named: named.chain_id, found: found.chain_id });
        }
        if named.contract != found.contract {
            return Err(ClientError::OtherContract { named: named.contract, found: found.contract });
        }
        self.check_org(org)?;
        let deadline = UnixTime::now().saturating_add(RELAY_VALIDITY);
        let instance = self.instance();
        let sign = move |keys: &dyn Keys| sign_for_relay(keys, &instance, org, deadline, Some(invitation));
        let signed = keys::with(&self.keys, sign).await?;
        let relayed = self.node.relay(&signed).await?;
        // L1 gives out accounts, not the node: ask L1 which one it is.
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

    /// Registers this identity and pays with its own ether. The call may be repeated, like [`Self::register`].
    ///
    /// # Errors
    /// [`RegisterError::OrgForRole`] if a hospital is named for a patient or hospital. [`ClientError`] if L1 cannot be asked or refuses.
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

    /// Waits, for at most `limit`, until the node knows this account, or with `settled` until a batch has taken it.
    ///
    /// # Errors
    /// [`RegisterError::NotYet`] after `limit`. [`ClientError`] if the node cannot be asked.
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
