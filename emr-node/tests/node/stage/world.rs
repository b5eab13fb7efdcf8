//! A chain with the contracts, and folders for a node.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use alloy::{
    primitives::{Address, U256},
    providers::DynProvider,
    signers::local::PrivateKeySigner,
};
use emr_chain::{Deployment, Rollup, bindings::Verifier, deploy, endpoint::Endpoint};
use emr_core::{AccountIndex, Role};
use emr_devnet::{ChainConfig, EmbeddedChain};
use emr_ipfs::DiskStore;
use emr_node::{Limits, Node, NodeConfig, ProverConfig, RunningNode, SealPolicy};
use emr_rollup::{data::CircuitVersion, field, operation::Domain, prover::default_cache, tree::empty_root};
use tempfile::TempDir;

use super::{
    Outcome,
    cast::{Person, people, registrar},
    scene::Scene,
};

/// A chain, a contract on it, and folders for a node.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) chain: EmbeddedChain,
    pub(crate) rollup: Rollup<DynProvider>,
    pub(crate) folder: Arc<TempDir>,
}

pub(crate) fn prefunded() -> ChainConfig {
    let ether = U256::from(10).pow(U256::from(18)) * U256::from(1000);
    people()
        .all()
        .into_iter()
        .map(Person::address)
        .chain([registrar().address()])
        .fold(ChainConfig::default(), |config, address| config.prefund(address, ether))
}

pub(crate) fn deployment() -> Deployment {
    let version = CircuitVersion::V1;
    let genesis = emr_rollup::poseidon::node(empty_root(version.account_depth), empty_root(version.account_depth));
    Deployment {
        verifier_code: Verifier::BYTECODE.clone(),
        circuit_version: version.number.into(),
        max_l1: version.max_l1 as u64,
        max_l2: version.max_l2 as u64,
        genesis: field::to_bytes(&genesis),
        sequencer: people().hospital.address(),
        registrar: registrar().address(),
        registration_fee: U256::from(1000),
    }
}

impl World {
    /// A fresh chain with the contracts.
    pub(crate) async fn new() -> Outcome<Self> {
        Self::with(&deployment()).await
    }

    /// A fresh chain with other contracts.
    pub(crate) async fn with(deployment: &Deployment) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let chain = EmbeddedChain::open(&folder.path().join("chain"), &prefunded())?;
        let provider = Endpoint::in_process(chain.transport()).connect(Some(people().hospital.ethereum.clone()))?;
        let rollup = deploy(provider, deployment).await?.rollup;
        Ok(Self { chain, rollup, folder: Arc::new(folder) })
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::in_process(self.chain.transport())
    }

    pub(crate) fn domain(&self) -> Domain {
        let instance = self.rollup.instance();
        Domain::new(instance.chain_id, instance.contract.into_array())
    }

    /// The contract as somebody else calls it.
    pub(crate) async fn rollup_as(&self, signer: PrivateKeySigner) -> Outcome<Rollup<DynProvider>> {
        let provider = self.endpoint().connect(Some(signer))?;
        Ok(Rollup::attach(provider, self.rollup.instance().contract, self.rollup.deployed_at()).await?)
    }

    /// Registers somebody on L1; the registrar admits whoever needs it.
    pub(crate) async fn register(&self, person: &Person, org: Option<AccountIndex>) -> Outcome<AccountIndex> {
        if org.is_some() {
            self.rollup.endorse(person.address()).await?;
        }
        let rollup = self.rollup_as(person.ethereum.clone()).await?;
        let (account, _) = rollup.register(&person.registration(rollup.instance(), org)).await?;
        if person.identity.role() != Role::Patient {
            self.admit(account).await?;
        }
        Ok(account)
    }

    /// As the registrar, admits whatever waits under an account index.
    pub(crate) async fn admit(&self, account: AccountIndex) -> Outcome {
        admit(&self.rollup_as(registrar()).await?, account).await
    }

    /// Registers the whole cast.
    pub(crate) async fn register_all(&self) -> Outcome<Accounts> {
        let people = people();
        let hospital = self.register(&people.hospital, None).await?;
        Ok(Accounts {
            hospital,
            doctor: self.register(&people.doctor, Some(hospital)).await?,
            stranger: self.register(&people.stranger, None).await?,
            patient: self.register(&people.patient, None).await?,
            other: self.register(&people.other, None).await?,
        })
    }

    pub(crate) fn node_folder(&self) -> PathBuf {
        self.folder.path().join("node")
    }

    pub(crate) fn store(&self) -> Outcome<DiskStore> {
        Ok(DiskStore::open(self.folder.path().join("blocks"))?)
    }

    pub(crate) fn config(&self) -> Outcome<NodeConfig> {
        config(self.endpoint(), &self.rollup, self.folder.path())
    }

    pub(crate) async fn start(&self) -> Outcome<RunningNode> {
        Ok(Node::start(self.config()?).await?)
    }

    /// Everybody registered, a node that knows them, and all of them logged in.
    pub(crate) async fn populated() -> Outcome<Scene> {
        let world = Self::new().await?;
        Scene::set(world).await
    }
}

/// As the registrar, admits whatever waits under an account index.
pub(crate) async fn admit(registrar: &Rollup<DynProvider>, account: AccountIndex) -> Outcome {
    let waiting = registrar.pending(account).await?.ok_or("nothing waits")?;
    registrar.admit(&waiting).await?;
    Ok(())
}

pub(crate) fn config(endpoint: Endpoint, rollup: &Rollup<DynProvider>, folder: &Path) -> Outcome<NodeConfig> {
    Ok(NodeConfig {
        data_dir: folder.join("node"),
        listen: "127.0.0.1:0".parse()?,
        endpoint,
        chain_id: rollup.instance().chain_id,
        contract: rollup.instance().contract,
        deployed_at: rollup.deployed_at(),
        blockstore: Arc::new(DiskStore::open(folder.join("blocks"))?),
        hospital: people().hospital.ethereum.clone(),
        prover: ProverConfig { cache: default_cache().ok_or("a home folder")?, local: false },
        seal: SealPolicy::Manual,
        limits: Limits::default(),
    })
}

/// The cast's account numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accounts {
    pub(crate) hospital: AccountIndex,
    pub(crate) doctor: AccountIndex,
    pub(crate) stranger: AccountIndex,
    pub(crate) patient: AccountIndex,
    pub(crate) other: AccountIndex,
}

/// Puts L1's clock ahead and mines a block.
pub(crate) async fn advance(world: &World, seconds: u64) -> Outcome {
    world.chain.advance_clock(seconds)?;
    // Any transaction makes a block.
    world.rollup.endorse(Address::repeat_byte(rand::random())).await?;
    Ok(())
}
