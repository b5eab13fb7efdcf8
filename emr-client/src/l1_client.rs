//! A participant on L1 alone: no hospital's node is asked, and none can refuse.

use std::sync::Arc;

use alloy::{
    network::EthereumWallet,
    primitives::Address,
    providers::{DynProvider, Provider},
};
use emr_chain::{Rollup, RollupError, RollupInstance, endpoint::Endpoint, nodes::EthereumNodes};
use emr_core::{AccountIndex, PlainHttp};

use crate::{
    error::ClientError,
    keys::{EthereumKey, Keys},
    node::NodeError,
    profile::Profile,
};

/// A participant's account, Ethereum key and contract. A profile that has joined a node knows chain and contract from there. Others
/// name them, for example a patient who restored only their identity while the hospital is gone.
#[derive(Clone, Debug)]
pub struct L1Client {
    pub(crate) profile: Arc<Profile>,
    pub(crate) keys: Arc<dyn Keys>,
    pub(crate) rollup: Rollup<DynProvider>,
    account: Option<AccountIndex>,
}

impl L1Client {
    /// Connects to the Ethereum nodes at these addresses, or to those that the profile knows if there are none. `named` is the
    /// rollup, if the participant names it.
    ///
    /// # Errors
    /// [`ProfileError::NotJoined`](crate::profile::ProfileError::NotJoined) if neither the profile nor the participant names a
    /// rollup and Ethereum nodes. [`ProfileError::OtherInstance`](crate::profile::ProfileError::OtherInstance) if the profile belongs to another
    /// rollup. [`ClientError`] if the Ethereum nodes do not answer, or are on another chain.
    pub async fn open(
        profile: Profile,
        keys: impl Keys + 'static,
        named: Option<RollupInstance>,
        (rpc, agree): (&[String], Option<usize>),
        plain: PlainHttp,
    ) -> Result<Self, ClientError> {
        let (endpoints, agree) = endpoints(&profile, (rpc, agree), plain)?;
        Self::over(profile, keys, named, (&endpoints, agree)).await
    }

    /// The contract, for reading only: it needs no keys.
    ///
    /// # Errors
    /// The same as [`Self::open`].
    pub async fn read_only(
        profile: &Profile,
        named: Option<RollupInstance>,
        (rpc, agree): (&[String], Option<usize>),
        plain: PlainHttp,
    ) -> Result<Rollup<DynProvider>, ClientError> {
        let (endpoints, agree) = endpoints(profile, (rpc, agree), plain)?;
        attach(profile, named, (&endpoints, agree), None).await
    }

    /// The same over any endpoints, for example a chain in this process.
    ///
    /// # Errors
    /// The same as [`Self::open`].
    pub async fn over(
        profile: Profile,
        keys: impl Keys + 'static,
        named: Option<RollupInstance>,
        (endpoints, agree): (&[Endpoint], Option<usize>),
    ) -> Result<Self, ClientError> {
        let keys: Arc<dyn Keys> = Arc::new(keys);
        let wallet = EthereumWallet::from(EthereumKey(Arc::clone(&keys)));
        let rollup = attach(&profile, named, (endpoints, agree), Some(wallet)).await?;
        let account = rollup.account_of(keys.ethereum_address()).await?;
        Ok(Self { profile: Arc::new(profile), keys, rollup, account })
    }

    /// The data folder.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The contract. This participant's Ethereum key sends and pays transactions.
    pub const fn rollup(&self) -> &Rollup<DynProvider> {
        &self.rollup
    }

    /// The account, if L1 knows one.
    pub const fn account(&self) -> Option<AccountIndex> {
        self.account
    }

    /// The account.
    ///
    /// # Errors
    /// [`NodeError::NotRegistered`] if L1 knows none.
    pub(crate) fn own_account(&self) -> Result<AccountIndex, NodeError> {
        self.account.ok_or(NodeError::NotRegistered)
    }

    /// Checks that the Ethereum key can pay for transactions.
    ///
    /// # Errors
    /// [`ClientError::NoEther`]. [`ClientError`] if L1 cannot be asked.
    pub async fn require_ether(&self) -> Result<(), ClientError> {
        let address = self.ethereum_address();
        let balance = self.rollup.provider().get_balance(address).await.map_err(RollupError::from)?;
        if balance.is_zero() { Err(ClientError::NoEther(address)) } else { Ok(()) }
    }

    /// The Ethereum address.
    pub fn ethereum_address(&self) -> Address {
        self.keys.ethereum_address()
    }
}

/// The Ethereum nodes at these addresses, or those that the profile knows if there are none.
fn endpoints(
    profile: &Profile,
    (rpc, agree): (&[String], Option<usize>),
    plain: PlainHttp,
) -> Result<(Vec<Endpoint>, Option<usize>), ClientError> {
    let (rpc, agree) = match profile.settings() {
        Ok(known) if rpc.is_empty() => (known.rpc, agree.or(known.agree)),
        Err(error) if rpc.is_empty() => return Err(error.into()),
        _ => (rpc.to_vec(), agree),
    };
    let endpoints = rpc.iter().map(|address| Endpoint::http(address, plain)).collect::<Result<_, _>>()?;
    Ok((endpoints, agree))
}

/// The contract that is named, or that of the profile.
async fn attach(
    profile: &Profile,
    named: Option<RollupInstance>,
    (endpoints, agree): (&[Endpoint], Option<usize>),
    wallet: Option<EthereumWallet>,
) -> Result<Rollup<DynProvider>, ClientError> {
    if let Some(named) = &named {
        profile.expect_instance(named)?;
    }
    let known = profile.settings().map(|known| (known.instance(), known.deployed_at));
    let (instance, deployed_at) = match named {
        Some(named) => (named, known.ok().map(|(_, deployed_at)| deployed_at)),
        None => known.map(|(instance, deployed_at)| (instance, Some(deployed_at)))?,
    };
    let nodes = EthereumNodes::of(endpoints, agree)?;
    let provider = nodes.connect(wallet);
    nodes.expect_chain_id(&provider, instance.chain_id).await?;
    let rollup = Rollup::attach(provider, instance.contract, deployed_at.unwrap_or_default()).await?;
    Ok(if deployed_at.is_some() { rollup } else { rollup.with_events_since_deployment().await? })
}
