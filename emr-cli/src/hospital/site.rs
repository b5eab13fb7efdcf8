//! A hospital's site on one machine: chain or endpoint, block store, node.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use alloy::{
    primitives::{Address, U256},
    signers::local::PrivateKeySigner,
};
use emr_chain::{
    Officers,
    endpoint::{Endpoint, EndpointError},
    header::Finality,
};
use emr_core::{HttpAddress, Origin, PlainHttp};
use emr_devnet::{ChainConfig, EmbeddedChain, OpenError, RpcServer, StoreError, serve_rpc};
use emr_ipfs::{Blockstore, DiskStore, KuboStore};
use emr_node::{Limits, Node, NodeConfig, ProverConfig, RunningNode, SealPolicy};
use url::{Host, Url};

use super::{
    deployment::{DeploymentFile, Target},
    deployment_check, start_failure,
};
use crate::failure::{Exit, Failure, OrExit, one_line};

/// The configuration of a site.
#[derive(Clone, Debug)]
pub struct SitePlan {
    /// The hospital's folder.
    pub folder: PathBuf,
    /// The Ethereum node. Without one, the site starts a chain in this process.
    pub rpc: Option<Url>,
    /// The Kubo node. Without one, the blocks are on disk.
    pub ipfs: Option<Url>,
    /// The address where the node listens.
    pub listen: SocketAddr,
    /// The address where the embedded chain's JSON-RPC listens.
    pub rpc_listen: SocketAddr,
    /// Where plain http is allowed.
    pub plain: PlainHttp,
    /// When to seal batches.
    pub seal: SealPolicy,
    /// The limits of the node's HTTP service.
    pub limits: Limits,
    /// The addresses at which clients reach the node, if they differ from `listen`.
    pub origins: Vec<Origin>,
    /// Whether this process proves.
    pub prove: bool,
    /// Bytes that the prover may keep between proofs.
    pub memory: u64,
    /// The most that the hospital pays per gas, in wei.
    pub max_fee: Option<u128>,
    /// Whether to deploy if nothing is deployed yet.
    pub deploy: bool,
    /// The chain that the operator named.
    pub chain_id: Option<u64>,
    /// Which blocks of L1 are final, if the operator says so. Otherwise it depends on the chain.
    pub finality: Option<Finality>,
}

/// A running site.
#[derive(Debug)]
pub struct Site {
    /// The node.
    pub node: RunningNode,
    /// The Ethereum JSON-RPC: of the embedded chain, or of the given node.
    pub rpc: HttpAddress,
    /// Where plain http is allowed.
    pub plain: PlainHttp,
    /// The rollup.
    pub deployment: DeploymentFile,
    server: Option<RpcServer>,
}

/// The folder of the proving keys.
///
/// # Errors
/// Fails if there is neither a home folder nor `EMR_CACHE`.
pub fn key_cache() -> Result<PathBuf, Failure> {
    emr_rollup::prover::default_cache().ok_or_else(|| {
        Failure::new(Exit::Usage, "there is no home folder for the proving keys; set EMR_CACHE to a folder")
    })
}

impl SitePlan {
    /// The addresses on which the site listens: the node's address, and the chain's address if the site runs the chain.
    pub fn listeners(&self) -> impl Iterator<Item = SocketAddr> {
        let own_chain = self.rpc.is_none().then_some(self.rpc_listen);
        [self.listen].into_iter().chain(own_chain)
    }

    /// Starts all parts.
    ///
    /// # Errors
    /// Returns the part that does not start, and what to do.
    pub async fn start(&self, hospital: &PrivateKeySigner) -> Result<Site, Failure> {
        for address in self.listeners() {
            self.plain.allows_listening(address).or_exit(Exit::Usage)?;
        }
        if self.origins.is_empty() && (self.limits.behind_proxy || self.listen.ip().is_unspecified()) {
            let message =
                "say at which address clients reach the node: --public-url URL; logins count for that address only";
            return Err(Failure::new(Exit::Usage, message));
        }
        let (endpoint, rpc, server) = self.chain(hospital.address()).await?;
        let deployment = match DeploymentFile::read(&self.folder)? {
            Some(deployment) if deployment.deployed_at.is_some() || !self.deploy => deployment,
            _ if self.deploy => {
                let officers = Officers::registrar(hospital.address());
                let (fee, target) = (U256::ZERO, Target::DEVELOPMENT);
                DeploymentFile::deploy(&self.folder, &endpoint, hospital, fee, officers, target).await?
            }
            _ => return Err(Failure::new(Exit::Usage, "nothing is deployed yet; run `emr-hospital deploy` first")),
        };
        deployment_check::check(&endpoint, &deployment, self.chain_id).await?;
        deployment_check::check_setup(&deployment).await?;
        let node = Node::start(NodeConfig {
            data_dir: self.folder.join("node"),
            listen: self.listen,
            endpoint,
            chain_id: deployment.chain_id,
            deployment: deployment.record.clone(),
            deployed_at: deployment.deployed_at()?,
            blockstore: self.blockstore().await?,
            hospital: hospital.clone(),
            finality: self.finality.unwrap_or_else(|| Finality::of_chain(deployment.chain_id)),
            max_fee: self.max_fee,
            prover: ProverConfig {
                cache: key_cache()?,
                setup: deployment.setup,
                local: self.prove,
                memory: self.memory,
            },
            seal: self.seal,
            limits: self.limits,
            origins: self.origins.clone(),
        })
        .await
        .map_err(start_failure::failure)?;
        Ok(Site { node, rpc, plain: self.plain, deployment, server })
    }

    async fn chain(&self, hospital: Address) -> Result<(Endpoint, HttpAddress, Option<RpcServer>), Failure> {
        let checked = |url: Url| HttpAddress::new(url, self.plain).map_err(EndpointError::from).or_exit(Exit::Usage);
        if let Some(url) = &self.rpc {
            let address = checked(url.clone())?;
            return Ok((Endpoint::Http(address.clone()), address, None));
        }
        // Only this hospital has ether. It pays for the people whom it invites.
        let balance = U256::from(10).pow(U256::from(24));
        let config = ChainConfig::default().prefund(hospital, balance);
        let folder = self.folder.join("chain");
        let chain = tokio::task::spawn_blocking(move || EmbeddedChain::open(&folder, &config))
            .await
            .or_exit(Exit::Internal)?
            .map_err(|error| {
                let busy = matches!(error, OpenError::Store(StoreError::Busy));
                Failure::new(if busy { Exit::Unavailable } else { Exit::Storage }, one_line(&error))
            })?;
        let server = serve_rpc(chain.clone(), self.rpc_listen).await.map_err(|error| {
            let address = self.rpc_listen;
            Failure::new(
                Exit::Unavailable,
                format!("cannot listen on {address}: {error}; choose another with --rpc-listen"),
            )
        })?;
        Ok((Endpoint::in_process(chain.transport()), checked(server.url())?, Some(server)))
    }

    /// Opens the block store.
    ///
    /// # Errors
    /// Fails if the store cannot be used.
    pub async fn blockstore(&self) -> Result<Arc<dyn Blockstore>, Failure> {
        let Some(url) = &self.ipfs else {
            return Ok(Arc::new(open_blocks(&self.folder)?));
        };
        let store = KuboStore::with_rule(url.as_str(), self.plain).or_exit(Exit::Usage)?;
        store.version().await.or_exit(Exit::Unavailable)?;
        if !store.is_synced().await.or_exit(Exit::Unavailable)? {
            eprintln!(
                "warning: this Kubo does not fsync: a power cut can lose acknowledged blocks; set \"sync\": true for flatfs in its \
                 Datastore.Spec"
            );
        }
        Ok(Arc::new(store))
    }
}

fn open_blocks(folder: &Path) -> Result<DiskStore, Failure> {
    DiskStore::open(folder.join("blocks")).or_exit(Exit::Storage)
}

impl Site {
    /// The node's URL for this machine. A node that listens on all addresses also listens on loopback.
    pub fn node_here(&self) -> Url {
        let mut url = self.node.url().clone();
        let host = match url.host() {
            Some(Host::Ipv4(address)) if address.is_unspecified() => Some(IpAddr::from(Ipv4Addr::LOCALHOST)),
            Some(Host::Ipv6(address)) if address.is_unspecified() => Some(IpAddr::from(Ipv6Addr::LOCALHOST)),
            _ => None,
        };
        if let Some(host) = host {
            // This fails only for a URL without a host.
            let _ = url.set_ip_host(host);
        }
        url
    }

    /// Stops all parts.
    pub async fn shutdown(self) {
        self.node.shutdown().await;
        if let Some(server) = self.server {
            server.shutdown().await;
        }
    }
}

/// The seal policy of `dev` and `serve`.
pub fn seal_after(seconds: u64) -> SealPolicy {
    SealPolicy::After(Duration::from_secs(seconds))
}
