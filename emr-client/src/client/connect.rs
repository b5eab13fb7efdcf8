//! Connects a profile to a node and to L1.

use std::sync::{Arc, RwLock};

use alloy::network::EthereumWallet;
use emr_chain::{DEVELOPMENT_CHAINS, Rollup, endpoint::Endpoint, header::age::HeaderAge};
use emr_core::{PlainHttp, Role};
use emr_rollup::setup::SetupChoice;

use super::{Client, recency::Recency};
use crate::{
    connections::Connections,
    error::ClientError,
    keys::{EthereumKey, Keys},
    profile::{Hospital, Profile, Settings},
    verify::{
        deployment,
        settled_state::{Finality, SettledStateError},
    },
};

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
        let Settings { node, rpc, agree, .. } = profile.settings()?;
        Self::connect(profile, Arc::new(keys), &Connections::several(&node, &rpc, agree, plain)?, false).await
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
        let (node, nodes) = (connections.node(), connections.nodes().clone());
        let headers = nodes.headers();
        let status = node.status().await?;
        let contract = status.contract;
        let before = profile.settings().ok();
        let mut settings = Settings {
            node: node.address().url().to_string(),
            rpc: connections.rpc().to_owned(),
            agree: connections.agree(),
            chain_id: status.chain_id,
            contract,
            deployed_at: status.deployed_at,
            hospital: before.as_ref().and_then(|settings| settings.hospital),
            account: before.as_ref().and_then(|settings| settings.account),
        };
        if let Some(named) = connections.chain().filter(|named| *named != status.chain_id) {
            return Err(ClientError::OtherChain { named, found: status.chain_id });
        }
        if let Some(named) = connections.contract().filter(|named| *named != contract) {
            return Err(ClientError::OtherContract { named, found: contract });
        }
        // Anyone can forge proofs under the development setup, so the client relies on no state where forging could
        // pay. On other chains, the participant names chain and contract once: when they join.
        if !DEVELOPMENT_CHAINS.contains(&status.chain_id) {
            let joined = before.as_ref().map(|settings| settings.chain_id);
            if connections.chain().or(joined) != Some(status.chain_id) {
                return Err(ClientError::NotADevelopmentChain(status.chain_id));
            }
            if status.setup == SetupChoice::InsecureDevelopment || status.deployment.has_development_keys() {
                return Err(ClientError::UnsafeSetup(status.chain_id));
            }
            // Anyone can make a genuine rollup and invent the people in it. Which one it is, no node can say.
            let joined = before.as_ref().map(|settings| settings.contract);
            if connections.contract().or(joined) != Some(contract) {
                return Err(ClientError::UnnamedContract(contract));
            }
        }
        // Checked before any request to the node's chain. The settings are stored only after all checks.
        profile.expect_instance(&settings.instance())?;
        deployment::verify(&status.deployment, &settings.instance())?;

        let provider = nodes.connect(Some(EthereumWallet::from(EthereumKey(Arc::clone(&keys)))));
        nodes.expect_chain_id(&provider, settings.chain_id).await?;
        // Nodes that do not agree with the others are asked last from here on.
        headers.newest().await.map_err(SettledStateError::from)?;
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
        let (account, chain_id) = (settings.account, settings.chain_id);
        profile.join(settings)?;
        let client = Self {
            profile: Arc::new(profile),
            keys,
            node,
            rollup,
            headers,
            nodes,
            hospital,
            finality: Finality::of_chain(chain_id),
            sizes: None,
            age: Recency::refusing(HeaderAge::of_chain(chain_id)),
            account: Arc::new(RwLock::new(account)),
            turn: Arc::default(),
        };
        client.log_in();
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::Address;
    use emr_core::AccountIndex;

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
