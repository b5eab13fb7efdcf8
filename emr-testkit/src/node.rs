//! A chain with the contracts, the test people registered with them, and a node.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use alloy::{
    primitives::{Address, B256, U256},
    providers::{DynProvider, Provider},
    signers::local::PrivateKeySigner,
};
use emr_api::invitation::Invitation;
use emr_chain::{
    Deployed, Deployment, DeploymentRecord, Officers, Rollup, SizeDeployment, VerifierCode, deploy, endpoint::Endpoint,
    header::Finality,
};
use emr_core::{AccountIndex, Role, UnixTime};
use emr_devnet::{ChainConfig, EmbeddedChain};
use emr_ipfs::DiskStore;
use emr_node::{Limits, Node, NodeConfig, ProverConfig, RunningNode, SealPolicy};
use emr_rollup::{
    operation::Domain,
    prover::{Prover, default_cache},
    setup::SetupChoice,
    state::{state_root, tree::empty_root},
    version::{CircuitSizes, CircuitVersion},
};
use tempfile::TempDir;

use crate::{
    Outcome,
    people::{Person, people, registrar},
};

/// A chain with the rollup contract, and folders for a node.
#[derive(Debug)]
pub struct World {
    /// The chain.
    pub chain: EmbeddedChain,
    /// The contract, used with the hospital's key.
    pub rollup: Rollup<DynProvider>,
    /// What it was made from.
    pub record: DeploymentRecord,
    /// The folder of the node's data and blocks. It is removed with the last handle.
    pub folder: Arc<TempDir>,
}

/// The configuration of a chain on which all test people and the registrar have 1000 ether each.
pub fn prefunded() -> ChainConfig {
    funding(people().all().map(Person::address))
}

/// The configuration of a chain on which these addresses and the registrar have 1000 ether each.
fn funding(rich: impl IntoIterator<Item = Address>) -> ChainConfig {
    let ether = U256::from(10).pow(U256::from(18)) * U256::from(1000);
    let rich = rich.into_iter().chain([registrar().address()]);
    rich.fold(ChainConfig::default(), |config, address| config.prefund(address, ether))
}

/// The real parameters of a deployment. The test hospital settles, and the registrar admits. The registrar is also the only guardian.
pub fn deployment() -> Deployment {
    let (sizes, version) = (CircuitSizes::v1(), CircuitVersion::V1);
    let size = |(size, verifier_code): (&CircuitVersion, VerifierCode)| SizeDeployment {
        verifier_code,
        max_l1: size.max_l1 as u64,
        max_l2: size.max_l2 as u64,
    };
    Deployment {
        factory: None,
        salt: B256::ZERO,
        begun_at: 0,
        sizes: sizes.iter().zip(VerifierCode::development()).map(size).collect(),
        circuit_version: version.number.into(),
        genesis: state_root(empty_root(version.account_depth), empty_root(version.account_depth)),
        sequencer: people().hospital.address(),
        officers: Officers {
            guardians: vec![registrar().address()],
            threshold: 1,
            ..Officers::registrar(registrar().address())
        },
        registration_fee: U256::from(1000),
    }
}

impl World {
    /// Starts a chain with the contracts.
    ///
    /// # Errors
    /// Fails if the chain or the contracts cannot be set up.
    pub async fn new() -> Outcome<Self> {
        Self::with(&deployment()).await
    }

    /// Starts a chain with contracts that have other parameters.
    ///
    /// # Errors
    /// The same as [`Self::new`].
    pub async fn with(deployment: &Deployment) -> Outcome<Self> {
        Self::on(&prefunded(), deployment).await
    }

    /// Starts a chain with the contracts. Doctors and patients have no ether, so the hospital pays for them.
    ///
    /// # Errors
    /// The same as [`Self::new`].
    pub async fn where_the_hospital_pays() -> Outcome<Self> {
        Self::on(&funding([people().hospital.address()]), &deployment()).await
    }

    /// A new chain with the contracts. The hospital and these addresses have ether on it.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub async fn where_these_have_ether(rich: impl IntoIterator<Item = Address>) -> Outcome<Self> {
        Self::on(&funding(rich.into_iter().chain([people().hospital.address()])), &deployment()).await
    }

    /// The same as [`Self::where_these_have_ether`], on a chain whose clock is this many seconds behind. A test lets them pass ([`advance`]), and
    /// then the chain has the machine's time, as clients have.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub async fn in_the_past(seconds: u64, rich: impl IntoIterator<Item = Address>) -> Outcome<Self> {
        let config = funding(rich.into_iter().chain([people().hospital.address()]));
        Self::on(&ChainConfig { clock_behind: seconds, ..config }, &deployment()).await
    }

    async fn on(config: &ChainConfig, deployment: &Deployment) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let chain = EmbeddedChain::open(&folder.path().join("chain"), config)?;
        Self::on_chain(chain, deployment, folder).await
    }

    /// Deploys the contracts on a chain that is open already. `folder` is for the node's files.
    ///
    /// # Errors
    /// The same as [`Self::new`].
    pub async fn on_chain(chain: EmbeddedChain, deployment: &Deployment, folder: TempDir) -> Outcome<Self> {
        let provider = Endpoint::in_process(chain.transport()).connect(Some(people().hospital.ethereum.clone()))?;
        let Deployed { rollup, record, .. } = deploy(provider, deployment).await?;
        Ok(Self { chain, rollup, record, folder: Arc::new(folder) })
    }

    /// The endpoint for nodes and clients.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::in_process(self.chain.transport())
    }

    /// The domain that operations of this rollup are bound to.
    pub fn domain(&self) -> Domain {
        let instance = self.rollup.instance();
        Domain::new(instance.chain_id, instance.contract.into_array())
    }

    /// The contract, used with another key.
    ///
    /// # Errors
    /// Fails if the chain does not answer.
    pub async fn rollup_as(&self, signer: PrivateKeySigner) -> Outcome<Rollup<DynProvider>> {
        let provider = self.endpoint().connect(Some(signer))?;
        Ok(Rollup::attach(provider, self.rollup.instance().contract, self.rollup.deployed_at()).await?)
    }

    /// Registers a person on L1, and admits them as the registrar if they are a doctor or a hospital.
    ///
    /// # Errors
    /// Fails if the contract refuses.
    pub async fn register(&self, person: &Person, org: Option<AccountIndex>) -> Outcome<AccountIndex> {
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

    /// An invitation that is valid for ten minutes, signed by `inviter` as this account.
    ///
    /// # Errors
    /// No error is expected, because the test people have valid keys.
    pub fn invitation(&self, inviter: &Person, account: AccountIndex) -> Outcome<Invitation> {
        let expires = UnixTime::now().saturating_add(600);
        Ok(Invitation::issue(self.rollup.instance(), &inviter.ethereum, account, expires)?)
    }

    /// As the registrar, admits the registration that waits under an account index.
    ///
    /// # Errors
    /// Fails if nothing waits, or if the contract refuses.
    pub async fn admit(&self, account: AccountIndex) -> Outcome {
        admit(&self.rollup_as(registrar()).await?, account).await
    }

    /// Registers all test people.
    ///
    /// # Errors
    /// Fails if the contract refuses.
    pub async fn register_all(&self) -> Outcome<Accounts> {
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

    /// The data folder of the node.
    pub fn node_folder(&self) -> PathBuf {
        self.folder.path().join("node")
    }

    /// Opens the block store of the node a second time.
    ///
    /// # Errors
    /// Fails if the folder cannot be opened.
    pub fn store(&self) -> Outcome<DiskStore> {
        Ok(DiskStore::open(self.folder.path().join("blocks"))?)
    }

    /// The configuration of a node that proves nothing and seals only on demand.
    ///
    /// # Errors
    /// Fails if the block store cannot be opened, or if there is no home folder.
    pub fn config(&self) -> Outcome<NodeConfig> {
        config(self.endpoint(), &self.rollup, &self.record, self.folder.path())
    }

    /// Starts the node of [`Self::config`].
    ///
    /// # Errors
    /// Fails if it does not start.
    pub async fn start(&self) -> Outcome<RunningNode> {
        Ok(Node::start(self.config()?).await?)
    }
}

/// As the registrar, admits the registration that waits under an account index.
///
/// # Errors
/// Fails if nothing waits, or if the contract refuses.
pub async fn admit(registrar: &Rollup<DynProvider>, account: AccountIndex) -> Outcome {
    let waiting = registrar.pending(account).await?.ok_or("nothing waits")?;
    registrar.admit(&waiting).await?;
    Ok(())
}

/// The configuration of the test hospital's node on any chain, with its data and blocks in a folder. It proves nothing
/// and seals only on demand.
///
/// # Errors
/// The same as [`World::config`].
pub fn config(
    endpoint: Endpoint,
    rollup: &Rollup<DynProvider>,
    record: &DeploymentRecord,
    folder: &Path,
) -> Outcome<NodeConfig> {
    Ok(NodeConfig {
        data_dir: folder.join("node"),
        listen: "127.0.0.1:0".parse()?,
        endpoint,
        chain_id: rollup.instance().chain_id,
        deployment: record.clone(),
        deployed_at: rollup.deployed_at(),
        blockstore: Arc::new(DiskStore::open(folder.join("blocks"))?),
        hospital: people().hospital.ethereum.clone(),
        finality: Finality::of_chain(rollup.instance().chain_id),
        max_fee: None,
        prover: ProverConfig {
            cache: default_cache().ok_or("a home folder")?,
            setup: SetupChoice::InsecureDevelopment,
            local: false,
            memory: Prover::MEMORY,
        },
        seal: SealPolicy::Manual,
        limits: Limits::default(),
        origins: Vec::new(),
    })
}

/// The account numbers of the test people.
#[derive(Clone, Copy, Debug)]
pub struct Accounts {
    /// Account of [`People::hospital`](crate::people::People::hospital).
    pub hospital: AccountIndex,
    /// Account of [`People::doctor`](crate::people::People::doctor).
    pub doctor: AccountIndex,
    /// Account of [`People::stranger`](crate::people::People::stranger).
    pub stranger: AccountIndex,
    /// Account of [`People::patient`](crate::people::People::patient).
    pub patient: AccountIndex,
    /// Account of [`People::other`](crate::people::People::other).
    pub other: AccountIndex,
}

/// Moves L1's clock forward and mines a block.
///
/// # Errors
/// Fails if the chain refuses.
pub async fn advance(world: &World, seconds: u64) -> Outcome {
    world.chain.advance_clock(seconds)?;
    let _: serde_json::Value = world.rollup.provider().raw_request("evm_mine".into(), ()).await?;
    Ok(())
}
