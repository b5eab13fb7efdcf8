//! The client of a participant: their profile and keys, their hospital's node, and L1.

mod checks;
mod connect;
mod recency;

use std::sync::{Arc, PoisonError, RwLock};

use alloy::{primitives::Address, providers::DynProvider};
use emr_chain::{Rollup, RollupInstance, SizesDigest, header::HeaderSource, nodes::EthereumNodes};
use emr_core::AccountIndex;
use emr_rollup::{
    operation::Domain,
    primitive::field::{self, Fr},
};

use crate::{
    error::ClientError,
    keys::Keys,
    node::{Login, NodeClient, NodeError},
    profile::{Hospital, Profile, Settings},
    verify::card::Card,
    verify::settled_state::Finality,
};
pub(crate) use checks::SettledBlocks;
use recency::Recency;

/// 248 random bits as a field element: a salt.
pub(crate) fn random_element() -> Fr {
    field::from_opaque(&rand::random())
}

/// The client of a participant. Clones are cheap and stand for the same participant: give one to each task.
///
/// Every flow of this crate is a method: see the modules `register`, `upload`, `grant`, `revoke`, `request`,
/// `retrieve`. Flows of one participant that sign run one after the other, because each builds on what the previous one
/// signed. Different participants do not wait for each other. The data folder is free again when the last clone is
/// dropped.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) profile: Arc<Profile>,
    pub(crate) keys: Arc<dyn Keys>,
    pub(crate) node: NodeClient,
    pub(crate) rollup: Rollup<DynProvider>,
    headers: Arc<dyn HeaderSource>,
    pub(crate) nodes: EthereumNodes,
    hospital: Option<Hospital>,
    finality: Finality,
    /// The sizes and verifiers on which this client relies if they changed since the deployment.
    pub(crate) sizes: Option<SizesDigest>,
    age: Recency,
    account: Arc<RwLock<Option<AccountIndex>>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Client {
    /// Gives the node's client the data for logins, if they are known.
    fn log_in(&self) {
        if let (Ok(account), Ok(hospital)) = (self.account(), self.hospital()) {
            let (domain, keys) = (self.instance().domain(), Arc::clone(&self.keys));
            self.node.set_login(Login { domain, hospital, account, keys });
        }
    }

    /// Stores the account that the registration got.
    pub(crate) fn registered_as(&self, account: AccountIndex) -> Result<(), ClientError> {
        let settings = Settings { account: Some(account), ..self.profile.settings()? };
        self.profile.join(settings)?;
        *self.account.write().unwrap_or_else(PoisonError::into_inner) = Some(account);
        self.log_in();
        Ok(())
    }

    /// Reads this participant's account from L1 again. A reorganisation can have removed it or changed its index.
    pub(crate) async fn refresh_account(&self) -> Result<Option<AccountIndex>, ClientError> {
        let now = self.rollup.account_of(self.ethereum_address()).await?;
        if now != self.account().ok() {
            self.profile.join(Settings { account: now, ..self.profile.settings()? })?;
            *self.account.write().unwrap_or_else(PoisonError::into_inner) = now;
            self.log_in();
        }
        Ok(now)
    }

    /// Waits until no other flow of this participant signs.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// The data folder.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The keys.
    pub fn keys(&self) -> &dyn Keys {
        &*self.keys
    }

    /// The node's client, which logs in as this participant. A clone of it does not keep the data folder in use.
    pub const fn node(&self) -> &NodeClient {
        &self.node
    }

    /// The contract. This participant's Ethereum key sends and pays transactions.
    pub const fn rollup(&self) -> &Rollup<DynProvider> {
        &self.rollup
    }

    /// Chain and contract.
    pub const fn instance(&self) -> RollupInstance {
        *self.rollup.instance()
    }

    /// The rollup's domain.
    pub fn domain(&self) -> Domain {
        let instance = self.instance();
        Domain::new(instance.chain_id, instance.contract.into_array())
    }

    /// The Ethereum address.
    pub fn ethereum_address(&self) -> Address {
        self.keys.ethereum_address()
    }

    /// The account.
    ///
    /// # Errors
    /// Returns [`NodeError::NotRegistered`] if this participant has no account.
    pub fn account(&self) -> Result<AccountIndex, NodeError> {
        self.account.read().unwrap_or_else(PoisonError::into_inner).ok_or(NodeError::NotRegistered)
    }

    /// The hospital that runs the node.
    ///
    /// # Errors
    /// Returns [`ClientError::NoHospital`] if the hospital is not registered yet.
    pub fn hospital(&self) -> Result<AccountIndex, ClientError> {
        self.hospital.map(|hospital| hospital.account).ok_or(ClientError::NoHospital)
    }

    /// The Ethereum address of that hospital, which signs receipts.
    pub(crate) fn hospital_address(&self) -> Result<Address, ClientError> {
        self.hospital.map(|hospital| hospital.owner).ok_or(ClientError::NoHospital)
    }

    /// This participant's card, which `whoami` prints.
    pub fn card(&self) -> Card {
        Card::of(&*self.keys, &self.instance(), self.account().ok())
    }

    /// The same participant with these keys, which have the same RSA and Ethereum keys: after a rotation of the rollup key.
    #[must_use]
    pub fn with_keys(self, keys: impl Keys + 'static) -> Self {
        let client = Self { keys: Arc::new(keys), ..self };
        client.log_in();
        client
    }

    /// Sets which states this client remembers. Without this, it remembers finalized states, and on a development chain
    /// every state.
    #[must_use]
    pub fn with_finality(self, finality: Finality) -> Self {
        Self { finality, ..self }
    }

    /// Relies also on these sizes and verifiers, which came after the deployment. Without this, on those of the deployment alone.
    #[must_use]
    pub fn with_sizes(self, sizes: SizesDigest) -> Self {
        Self { sizes: Some(sizes), ..self }
    }
}
