//! A chain, a hospital's node, and participants with their data folders.

use std::{path::PathBuf, sync::Arc, time::Duration};

use alloy::{
    primitives::{Address, B256, U256},
    signers::local::PrivateKeySigner,
};
use emr_api::BatchView;
use emr_chain::{Deployment, Rollup, bindings::Verifier, deploy, endpoint::Endpoint};
use emr_client::{
    Client,
    flow::grant::{History, Terms},
    profile::Profile,
    verify::card::Card,
};
use emr_core::{ClassMask, Key, Record, Rights, Role, UnixTime, Value};
use emr_crypto::{Identity, RsaSecret, ScryptCost};
use emr_devnet::{ChainConfig, EmbeddedChain};
use emr_ipfs::DiskStore;
use emr_node::{Limits, Node, NodeConfig, ProverConfig, RunningNode, SealPolicy};
use emr_rollup::{data::CircuitVersion, field, poseidon, prover::default_cache, tree::empty_root};
use tempfile::TempDir;

pub(crate) type TestResult<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

pub(crate) const PASSPHRASE: &str = "correct horse";

/// A participant's role, key and Ethereum key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Person {
    pub(crate) name: &'static str,
    role: Role,
    pem: &'static str,
    ethereum: u8,
}

macro_rules! person {
    ($name:ident, $role:ident, $pem:literal, $ethereum:literal) => {
        pub(crate) const $name: Person = Person {
            name: stringify!($name),
            role: Role::$role,
            pem: include_str!(concat!("../../../emr-crypto/tests/fixtures/", $pem)),
            ethereum: $ethereum,
        };
    };
}

person!(HOSPITAL, Hospital, "hospital-4096.pem", 1);
person!(DOCTOR, Doctor, "doctor-3072.pem", 2);
person!(STRANGER, Doctor, "doctor-2048.pem", 3);
person!(REGISTRAR, Hospital, "hospital-4096.pem", 0xee);
person!(PATIENT, Patient, "patient-3072.pem", 4);

impl Person {
    pub(crate) fn ethereum(&self) -> PrivateKeySigner {
        PrivateKeySigner::from_bytes(&B256::repeat_byte(self.ethereum)).expect("a valid key")
    }

    fn identity(&self, number: u8) -> TestResult<Identity> {
        // The rollup seed is random; the rest is fixed, so that a scene starts quickly.
        let identity = Identity::with_rsa(self.role, RsaSecret::from_pem(self.pem)?);
        Ok(identity.with_ethereum(&[number; 32])?)
    }
}

/// Everything that runs.
pub(crate) struct Scene {
    pub(crate) folder: TempDir,
    pub(crate) chain: EmbeddedChain,
    pub(crate) node: RunningNode,
    pub(crate) contract: Address,
}

impl Scene {
    /// A node of a registered hospital; nobody else is there, and nothing is proved.
    pub(crate) async fn new() -> TestResult<Self> {
        Self::with_prover(false).await
    }

    /// The same, with a node that proves what it seals.
    pub(crate) async fn proving() -> TestResult<Self> {
        Self::with_prover(true).await
    }

    async fn with_prover(local: bool) -> TestResult<Self> {
        let folder = tempfile::tempdir()?;
        let ether = U256::from(10).pow(U256::from(18)) * U256::from(1000);
        // Doctors and patients have none: the hospital pays.
        let rich = [HOSPITAL.ethereum().address(), REGISTRAR.ethereum().address()];
        let config = rich.into_iter().fold(ChainConfig::default(), |config, address| config.prefund(address, ether));
        let chain = EmbeddedChain::open(&folder.path().join("chain"), &config)?;
        let endpoint = Endpoint::in_process(chain.transport());
        let version = CircuitVersion::V1;
        let empty = empty_root(version.account_depth);
        let deployment = Deployment {
            verifier_code: Verifier::BYTECODE.clone(),
            circuit_version: version.number.into(),
            max_l1: version.max_l1 as u64,
            max_l2: version.max_l2 as u64,
            genesis: field::to_bytes(&poseidon::node(empty, empty)),
            sequencer: HOSPITAL.ethereum().address(),
            registrar: REGISTRAR.ethereum().address(),
            registration_fee: U256::from(1000),
        };
        let provider = endpoint.connect(Some(HOSPITAL.ethereum()))?;
        let rollup = deploy(provider, &deployment).await?.rollup;
        let contract = rollup.instance().contract;
        let node = Node::start(NodeConfig {
            data_dir: folder.path().join("node"),
            listen: "127.0.0.1:0".parse()?,
            endpoint,
            chain_id: rollup.instance().chain_id,
            contract,
            deployed_at: rollup.deployed_at(),
            blockstore: Arc::new(DiskStore::open(folder.path().join("blocks"))?),
            hospital: HOSPITAL.ethereum(),
            prover: ProverConfig { cache: default_cache().ok_or("a home folder")?, local },
            seal: SealPolicy::Manual,
            limits: Limits::default(),
        })
        .await?;
        let scene = Self { folder, chain, node, contract };
        let hospital = scene.client(HOSPITAL).await?;
        let (hospital, account) = hospital.register_on_l1(None).await?;
        scene.admit(&hospital).await?;
        assert_eq!(hospital.account()?, account);
        Ok(scene)
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::in_process(self.chain.transport())
    }

    pub(crate) fn data_dir(&self, person: Person) -> PathBuf {
        self.folder.path().join(person.name)
    }

    fn profile(&self, person: Person) -> TestResult<(Profile, Identity)> {
        let folder = self.data_dir(person);
        let profile = if folder.join("identity").exists() {
            Profile::open(&folder)?
        } else {
            let identity = person.identity(person.ethereum)?;
            Profile::create(&folder, &identity, &PASSPHRASE.into(), ScryptCost::Development)?
        };
        let identity = profile.identity(&PASSPHRASE.into())?;
        Ok((profile, identity))
    }

    /// Somebody with a fresh data folder, or the one of before.
    pub(crate) async fn client(&self, person: Person) -> TestResult<Client> {
        self.client_at(person, self.node.url().as_str()).await
    }

    /// The same, through another address of the node.
    pub(crate) async fn client_at(&self, person: Person, node: &str) -> TestResult<Client> {
        let (profile, identity) = self.profile(person)?;
        Ok(Client::join_over(profile, identity, node, &self.endpoint()).await?)
    }

    async fn admit(&self, client: &Client) -> TestResult {
        let provider = self.endpoint().connect(Some(REGISTRAR.ethereum()))?;
        let registrar = Rollup::attach(provider, self.contract, 0).await?;
        let waiting = registrar.pending(client.account()?).await?.ok_or("nothing waits")?;
        client.card().check_pending(registrar.instance(), &waiting)?;
        registrar.admit(&waiting).await?;
        client.wait_registered(false, Duration::from_millis(20), Duration::from_secs(30)).await?;
        Ok(())
    }

    /// Registers somebody through the node; a doctor is admitted.
    pub(crate) async fn registered(&self, person: Person) -> TestResult<Client> {
        let hospital = self.client(HOSPITAL).await?;
        let org = if person.name == DOCTOR.name {
            hospital.rollup().endorse(person.ethereum().address()).await?;
            Some(hospital.account()?)
        } else {
            None
        };
        drop(hospital);
        let (client, _) = self.client(person).await?.register(org).await?;
        if person.role != Role::Patient {
            self.admit(&client).await?;
        }
        client.wait_registered(false, Duration::from_millis(20), Duration::from_secs(30)).await?;
        // A registration is repeatable.
        let account = client.account()?;
        let (client, again) = client.register(org).await?;
        assert_eq!(again, account);
        Ok(client)
    }

    /// Has the hospital seal what waits, and waits until it is proved and settled, five minutes at most.
    pub(crate) async fn settle(&self) -> TestResult<BatchView> {
        let hospital = self.client(HOSPITAL).await?;
        let sealed = hospital.node().seal().await?;
        for _ in 0..600 {
            let batch = hospital.node().batch(sealed.number).await?;
            if batch.state == "settled" {
                return Ok(batch);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Err("the batch is not settled in time".into())
    }

    /// A patient who let the doctor read and write everything.
    pub(crate) async fn with_a_doctor(&self) -> TestResult<(Client, Client)> {
        let doctor = self.registered(DOCTOR).await?;
        let mut patient = self.registered(PATIENT).await?;
        patient.grant(&doctor.card(), &terms(Rights::READ | Rights::WRITE, ClassMask::ALL)).await?;
        Ok((patient, doctor))
    }
}

/// An hour's grant with history.
pub(crate) fn terms(rights: Rights, classes: ClassMask) -> Terms {
    Terms { rights, classes, until: UnixTime::now().saturating_add(3600), history: History::Included }
}

/// A record with one field.
pub(crate) fn record(text: &str) -> Record {
    let mut record = Record::new();
    let key: Key = "Observation.note.0.text".parse().expect("a key");
    record.insert(key, Value::Text(text.to_owned())).expect("room");
    record
}

/// A card as it reaches somebody else: through JSON.
pub(crate) fn handed_over(client: &Client) -> Card {
    Card::from_json(client.card().to_json().as_bytes()).expect("a card")
}
