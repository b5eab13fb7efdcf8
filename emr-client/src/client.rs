//! The client of a participant: their profile and keys, their hospital's node, and L1.

use std::sync::{Arc, PoisonError, RwLock};

use alloy::{network::EthereumWallet, primitives::Address, providers::DynProvider};
use emr_chain::{DEVELOPMENT_CHAINS, Rollup, RollupInstance, SettlementLayer, endpoint::Endpoint};
use emr_core::{AccountIndex, PlainHttp, Role, UnixTime};
use emr_rollup::{
    batch::D1Entry,
    l1_operation::{L1Operation, Register},
    operation::{Action, CLIENT_VALIDITY, Domain, Operation},
    primitive::field::{self, Fr},
};

use crate::{
    connections::Connections,
    error::ClientError,
    keys::{EthereumKey, Keys},
    node::{Login, NodeClient, NodeError},
    patience::Patience,
    profile::{Hospital, Profile, Settings},
    verify::card::{Card, CardError, CheckedCard, Evidence},
    verify::directory::{self, DirectoryCheckError, PublishedDirectory},
    verify::settled_state::{Finality, SettledState, SettledStateError},
};

/// How often the client looks again for an account that is neither settled nor queued.
const READS: usize = 4;

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
    hospital: Option<Hospital>,
    finality: Finality,
    account: Arc<RwLock<Option<AccountIndex>>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// The hospital that a profile stays with. The hospital is identified by its owner, not by its index: when L1
/// reorganises, the index can get another owner.
fn pinned(before: Option<Hospital>, now: Hospital, joining: bool) -> Result<Hospital, ClientError> {
    match before {
        Some(before) if before.owner != now.owner && !joining => Err(ClientError::OtherHospital { before, now }),
        _ => Ok(now),
    }
}

impl Client {
    /// Connects to the node and the chain that the profile knows.
    ///
    /// # Errors
    /// Returns [`ProfileError::NotJoined`](crate::profile::ProfileError::NotJoined) if the profile knows no node, and otherwise the error of connecting.
    pub async fn open(profile: Profile, keys: impl Keys + 'static) -> Result<Self, ClientError> {
        Self::open_with(profile, keys, PlainHttp::ThisMachine).await
    }

    /// The same as [`Self::open`], but the caller decides where plain http is allowed. The profile does not remember
    /// this.
    ///
    /// # Errors
    /// The same as [`Self::open`].
    pub async fn open_with(profile: Profile, keys: impl Keys + 'static, plain: PlainHttp) -> Result<Self, ClientError> {
        let Settings { node, rpc, .. } = profile.settings()?;
        Self::connect(profile, Arc::new(keys), &Connections::new(&node, &rpc, plain)?, false).await
    }

    /// Connects to a node and an Ethereum node at these addresses, and remembers them.
    ///
    /// # Errors
    /// Returns [`ProfileError::OtherInstance`](crate::profile::ProfileError::OtherInstance) if the node is for another contract than before, and otherwise the error of connecting.
    pub async fn join(profile: Profile, keys: impl Keys + 'static, node: &str, rpc: &str) -> Result<Self, ClientError> {
        Self::join_with(profile, keys, node, rpc, PlainHttp::ThisMachine).await
    }

    /// The same as [`Self::join`], but the caller decides where plain http is allowed. The profile does not remember
    /// this.
    ///
    /// # Errors
    /// The same as [`Self::join`].
    pub async fn join_with(
        profile: Profile,
        keys: impl Keys + 'static,
        node: &str,
        rpc: &str,
        plain: PlainHttp,
    ) -> Result<Self, ClientError> {
        Self::join_through(profile, keys, &Connections::new(node, rpc, plain)?).await
    }

    /// The same as [`Self::join`] with any endpoint, such as a chain in this process. The profile remembers only the
    /// endpoint's name.
    ///
    /// # Errors
    /// The same as [`Self::join`].
    pub async fn join_over(
        profile: Profile,
        keys: impl Keys + 'static,
        node: &str,
        endpoint: &Endpoint,
    ) -> Result<Self, ClientError> {
        Self::join_through(profile, keys, &Connections::over(node, endpoint)?).await
    }

    /// The same over connections that other participants of this process use too.
    ///
    /// # Errors
    /// The same as [`Self::join`].
    pub async fn join_through(
        profile: Profile,
        keys: impl Keys + 'static,
        connections: &Connections,
    ) -> Result<Self, ClientError> {
        Self::connect(profile, Arc::new(keys), connections, true).await
    }

    async fn connect(
        profile: Profile,
        keys: Arc<dyn Keys>,
        connections: &Connections,
        joining: bool,
    ) -> Result<Self, ClientError> {
        let (node, endpoint) = (connections.node(), connections.endpoint());
        let status = node.status().await?;
        let contract = status.contract;
        let before = profile.settings().ok();
        let mut settings = Settings {
            node: node.address().url().to_string(),
            rpc: connections.rpc().to_owned(),
            chain_id: status.chain_id,
            contract,
            hospital: before.as_ref().and_then(|settings| settings.hospital),
            account: before.as_ref().and_then(|settings| settings.account),
        };
        // Anyone who knows the development setup can forge proofs, so the client relies on no state where forging could
        // pay.
        if !DEVELOPMENT_CHAINS.contains(&status.chain_id) {
            return Err(ClientError::NotADevelopmentChain(status.chain_id));
        }
        // Checked before any request to the node's chain. The settings are stored only after all checks.
        profile.expect_instance(&settings.instance())?;

        let provider = endpoint.connect_with(Some(EthereumWallet::from(EthereumKey(Arc::clone(&keys)))))?;
        endpoint.expect_chain_id(&provider, settings.chain_id).await?;
        // If the node lies about this block, skipped events show as gaps, or as another state root.
        let rollup = Rollup::attach(provider, contract, status.deployed_at).await?;

        let mut hospital = None;
        if let Some(now) = status.hospital {
            let account = rollup.account(now).await?.filter(|account| account.role == Role::Hospital);
            let owner = account.ok_or(ClientError::NotAHospital(now))?.owner;
            hospital = Some(pinned(settings.hospital, Hospital { account: now, owner }, joining)?);
            settings.hospital = hospital;
        }
        // A registration may have succeeded after this process was killed, and a reorganisation of L1 may have removed
        // one.
        settings.account = rollup.account_of(keys.ethereum_address()).await?;
        let (account, finality) = (settings.account, Finality::of_chain(settings.chain_id));
        profile.join(settings)?;
        let client = Self {
            profile: Arc::new(profile),
            keys,
            node,
            rollup,
            hospital,
            finality,
            account: Arc::new(RwLock::new(account)),
            turn: Arc::default(),
        };
        client.log_in();
        Ok(client)
    }

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

    /// Sets which states this client remembers. Without this, it remembers finalized states, and on a development chain
    /// every state.
    #[must_use]
    pub fn with_finality(self, finality: Finality) -> Self {
        Self { finality, ..self }
    }

    /// Reads the current state on L1 with its proof. It is never older than the newest final state that this profile
    /// has seen.
    ///
    /// # Errors
    /// Returns [`SettledStateError`] if the Ethereum node does not answer, if its proof is wrong, or if it shows an older state.
    pub async fn settled_state(&self) -> Result<SettledState, SettledStateError> {
        let (provider, instance, seen) = (self.rollup.provider(), self.instance(), self.profile.seen());
        let newest = SettledState::read(provider, &instance).await?;
        let deployed_at = self.rollup.deployed_at();
        if let Some(last) = SettledState::read_final(provider, &instance, self.finality, &newest, deployed_at).await? {
            seen.note(last.batches(), last.root())?;
        }
        seen.check(newest.batches(), newest.root())?;
        Ok(newest)
    }

    /// Compares a card with the state, or with the L1 queue if its account is not in the state yet. Compares its
    /// Ethereum address with the contract.
    ///
    /// # Errors
    /// Returns [`CardError`] if the card does not agree, and other errors if node or L1 cannot be read.
    pub async fn check_card(&self, card: &Card) -> Result<CheckedCard, ClientError> {
        let account = card.registered()?;
        let instance = self.instance();
        let owner = self.rollup.account(account).await?.map(|account| account.owner);
        if owner != Some(card.ethereum) {
            return Err(CardError::Forged { account, field: "Ethereum address" }.into());
        }
        let mut patience = Patience::new();
        let mut unknown = 0;
        loop {
            let view = self.node.account(account).await?;
            let checked = if view.proof.is_some() {
                card.check(&instance, &view, Evidence::Settled(&self.settled_state().await?))
            } else {
                match self.queued(account).await? {
                    Some(registration) => card.check(&instance, &view, Evidence::Queued(&registration)),
                    None => Err(CardError::Unknown(account)),
                }
            };
            match checked.map_err(ClientError::from) {
                Err(error) if error.is_other_state() && patience.again().await => {}
                // A batch took the account from the queue between the two reads.
                Err(ClientError::Card(CardError::Unknown(_))) if unknown < READS => unknown += 1,
                other => return other,
            }
        }
    }

    /// An account's entry in the L1 queue, if no batch has taken it yet. The Ethereum node does not prove this.
    async fn queued(&self, account: AccountIndex) -> Result<Option<Register>, ClientError> {
        let head = self.rollup.head().await?;
        let entries = self.rollup.queue_entries(head.queue_head..head.queue_length, 0).await?;
        let registration = entries.iter().filter_map(|entry| {
            match L1Operation::from_entry(&D1Entry::from_bytes(&entry.words).ok()?).ok()? {
                L1Operation::Register(registration) => Some(registration),
                L1Operation::SetStatus(_) | L1Operation::RotateKey(_) | L1Operation::ForcedRevoke(_) => None,
            }
        });
        Ok(registration.into_iter().find(|registration| registration.account == account))
    }

    /// The view that a patient or their grantee needs to act. Checks that the key directory is the patient's.
    pub(crate) async fn patient_view(
        &self,
        patient: &CheckedCard,
    ) -> Result<(emr_api::PatientView, PublishedDirectory), ClientError> {
        let mut patience = Patience::new();
        loop {
            let view = self.node.patient(patient.account()).await?;
            if view.epoch != patient.epoch() {
                return Err(DirectoryCheckError::Chain("the epoch is not the patient's").into());
            }
            let (state, now) = (self.settled_state().await?, UnixTime::now());
            let checked = directory::verify(&view, patient.account(), patient.key(), self.domain(), &state, now);
            match checked.map_err(ClientError::from) {
                Ok(directory) => return Ok((view, directory)),
                Err(error) if error.is_other_state() && patience.again().await => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes an operation of this participant on a patient's subtree. The patient and both epochs come from checked
    /// cards, never from a node's answer. Otherwise a node could name another patient, and get a signature for that
    /// one.
    pub(crate) async fn operation(&self, patient: &CheckedCard, action: Action) -> Result<Operation, ClientError> {
        let signer = self.account()?;
        let signer_epoch = if signer == patient.account() { patient.epoch() } else { self.own_card().await?.epoch() };
        Ok(Operation {
            signer,
            signer_epoch,
            patient: patient.account(),
            patient_epoch: patient.epoch(),
            valid_until: UnixTime::now().saturating_add(CLIENT_VALIDITY),
            salt: random_element(),
            action,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hospital_is_its_owner_not_its_index() -> Result<(), Box<dyn std::error::Error>> {
        let hospital = |account, owner| -> Result<_, emr_core::OutOfRange> {
            Ok(Hospital { account: AccountIndex::new(account)?, owner: Address::repeat_byte(owner) })
        };
        let before = Some(hospital(1, 7)?);
        assert_eq!(pinned(before, hospital(2, 7)?, false)?, hospital(2, 7)?);
        let successor = pinned(before, hospital(1, 8)?, false);
        assert!(matches!(successor, Err(ClientError::OtherHospital { .. })), "{successor:?}");
        assert_eq!(pinned(before, hospital(1, 8)?, true)?, hospital(1, 8)?);
        Ok(())
    }
}
