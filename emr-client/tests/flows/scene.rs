//! A chain, a hospital's node, and participants with their data folders.

use std::{path::PathBuf, sync::Arc, time::Duration};

use alloy::{primitives::Address, providers::Provider};
use emr_api::{BatchView, invitation::Invitation};
use emr_chain::{Rollup, endpoint::Endpoint};
use emr_client::{
    Client, L1Client,
    flow::grant::{History, Terms},
    profile::Profile,
    verify::card::Card,
};
use emr_core::{AccountIndex, ClassMask, Key, Record, Rights, Role, UnixTime, Value};
use emr_crypto::{Identity, ScryptCost};
use emr_devnet::EmbeddedChain;
use emr_ipfs::Blockstore;
use emr_node::{Limits, Node, NodeConfig, ProverConfig, RunningNode};
use emr_testkit::{
    node::World,
    people::{Member, registrar},
};
use tempfile::TempDir;

pub(crate) use emr_testkit::Outcome as TestResult;

pub(crate) const PASSPHRASE: &str = "correct horse";

pub(crate) const HOSPITAL: Member = Member::Hospital;
pub(crate) const DOCTOR: Member = Member::Doctor;
pub(crate) const STRANGER: Member = Member::Stranger;
pub(crate) const PATIENT: Member = Member::Patient;
pub(crate) const OTHER_PATIENT: Member = Member::Other;
pub(crate) const REGISTRAR: Member = Member::Registrar;

/// A chain, a node, and the folders of all participants.
pub(crate) struct Scene {
    pub(crate) folder: Arc<TempDir>,
    pub(crate) chain: EmbeddedChain,
    pub(crate) node: RunningNode,
    pub(crate) contract: Address,
}

impl Scene {
    /// A node of a registered hospital, without other participants. It proves nothing.
    pub(crate) async fn new() -> TestResult<Self> {
        Self::with(World::where_the_hospital_pays().await?, false, Limits::default()).await
    }

    /// The same, but these people have ether and can pay for themselves.
    pub(crate) async fn where_these_have_ether(rich: impl IntoIterator<Item = Address>) -> TestResult<Self> {
        Self::with(World::where_these_have_ether(rich).await?, false, Limits::default()).await
    }

    /// The same, with a node that proves its batches.
    pub(crate) async fn proving() -> TestResult<Self> {
        Self::with(World::where_the_hospital_pays().await?, true, Limits::default()).await
    }

    /// The same, and these people have ether.
    pub(crate) async fn proving_for(rich: impl IntoIterator<Item = Address>) -> TestResult<Self> {
        Self::with(World::where_these_have_ether(rich).await?, true, Limits::default()).await
    }

    /// The same as [`Self::proving_for`], on a chain whose clock is this many seconds behind. When a test has let them pass, the chain has the
    /// clients' time: what they sign has not expired, and logins are for now.
    pub(crate) async fn in_the_past(seconds: u64, rich: impl IntoIterator<Item = Address>) -> TestResult<Self> {
        Self::with(World::in_the_past(seconds, rich).await?, true, Limits::default()).await
    }

    /// A participant who asks no hospital's node. Their data folder must not be in use.
    pub(crate) async fn on_l1(&self, person: Member) -> TestResult<L1Client> {
        let (profile, identity) = self.profile(person)?;
        Ok(L1Client::over(profile, identity, None, (&[self.endpoint()], None)).await?)
    }

    /// The same as [`Self::new`], with a node that has these limits.
    pub(crate) async fn limited(limits: Limits) -> TestResult<Self> {
        Self::with(World::where_the_hospital_pays().await?, false, limits).await
    }

    /// The same as [`Self::new`], with a node that keeps its blocks in this store.
    pub(crate) async fn on(blockstore: Arc<dyn Blockstore>) -> TestResult<Self> {
        let world = World::where_the_hospital_pays().await?;
        let config = world.config()?;
        let prover = ProverConfig { local: false, ..config.prover };
        Self::start(world, NodeConfig { prover, blockstore, ..config }).await
    }

    async fn with(world: World, local: bool, limits: Limits) -> TestResult<Self> {
        let config = world.config()?;
        let prover = ProverConfig { local, ..config.prover };
        Self::start(world, NodeConfig { prover, limits, ..config }).await
    }

    async fn start(world: World, config: NodeConfig) -> TestResult<Self> {
        let node = Node::start(config).await?;
        let World { chain, rollup, record: _, folder } = world;
        let contract = rollup.instance().contract;
        let scene = Self { folder, chain, node, contract };
        let hospital = scene.client(HOSPITAL).await?;
        let account = hospital.register_on_l1(None).await?;
        scene.admit(&hospital).await?;
        assert_eq!(hospital.account()?, account);
        Ok(scene)
    }

    /// Lets time pass on L1, and makes a block.
    pub(crate) async fn pass(&self, seconds: u64) -> TestResult {
        self.chain.advance_clock(seconds)?;
        let provider = self.endpoint().connect(None)?;
        let _: serde_json::Value = provider.raw_request("evm_mine".into(), ()).await?;
        Ok(())
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::in_process(self.chain.transport())
    }

    pub(crate) fn data_dir(&self, person: Member) -> PathBuf {
        self.folder.path().join(person.name)
    }

    pub(crate) fn profile(&self, person: Member) -> TestResult<(Profile, Identity)> {
        let folder = self.data_dir(person);
        let profile = if folder.join("identity").exists() {
            Profile::open(&folder)?
        } else {
            Profile::create(&folder, &person.identity, &PASSPHRASE.into(), ScryptCost::Development)?
        };
        let identity = profile.identity(&PASSPHRASE.into())?;
        Ok((profile, identity))
    }

    /// A participant with a new data folder, or with the one that they had before.
    pub(crate) async fn client(&self, person: Member) -> TestResult<Client> {
        self.client_at(person, self.node.url().as_str()).await
    }

    /// The same, through another address of the node.
    pub(crate) async fn client_at(&self, person: Member, node: &str) -> TestResult<Client> {
        let (profile, identity) = self.profile(person)?;
        Ok(Client::join_over(profile, identity, node, &self.endpoint()).await?)
    }

    pub(crate) async fn admit(&self, client: &Client) -> TestResult {
        let provider = self.endpoint().connect(Some(registrar()))?;
        let registrar = Rollup::attach(provider, self.contract, 0).await?;
        let waiting = registrar.pending(client.account()?).await?.ok_or("nothing waits")?;
        client.card().check_pending(registrar.instance(), &waiting)?;
        registrar.admit(&waiting).await?;
        client.wait_registered(false, Duration::from_millis(20), Duration::from_secs(30)).await?;
        Ok(())
    }

    /// Registers somebody through the node, and admits a doctor.
    pub(crate) async fn registered(&self, person: Member) -> TestResult<Client> {
        let hospital = self.client(HOSPITAL).await?;
        let invitation = invitation(&hospital)?;
        let org = if person.name == DOCTOR.name {
            hospital.rollup().endorse(person.address()).await?;
            Some(hospital.account()?)
        } else {
            None
        };
        drop(hospital);
        let client = self.client(person).await?;
        client.register(org, Some(&invitation)).await?;
        if person.identity.role() != Role::Patient {
            self.admit(&client).await?;
        }
        client.wait_registered(false, Duration::from_millis(20), Duration::from_secs(30)).await?;
        // A registration can be repeated, and then needs no invitation.
        let account = client.account()?;
        assert_eq!(client.register(org, None).await?, account);
        Ok(client)
    }

    /// Makes the hospital seal what waits. Waits at most five minutes until the batch is settled.
    pub(crate) async fn next_batch(&self) -> TestResult<BatchView> {
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

    /// A patient who has granted the doctor to read and write everything.
    pub(crate) async fn with_a_doctor(&self) -> TestResult<(Client, Client)> {
        let doctor = self.registered(DOCTOR).await?;
        let patient = self.registered(PATIENT).await?;
        patient.grant(&doctor.card(), &terms(Rights::READ | Rights::WRITE, ClassMask::ALL)).await?;
        Ok((patient, doctor))
    }
}

/// An invitation that is valid for ten minutes.
pub(crate) fn invitation(inviter: &Client) -> TestResult<Invitation> {
    Ok(inviter.profile().invite(inviter.keys(), UnixTime::now().saturating_add(600))?)
}

/// A grant for an hour, with history.
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

/// What the patient's `versions.json` holds when they have signed this version of their first grant.
pub(crate) fn signed_versions(patient: AccountIndex, version: u64) -> serde_json::Value {
    serde_json::json!([{ "account": patient, "owner": PATIENT.address(), "slot": 64, "version": version }])
}

/// The card as another person gets it, through JSON.
pub(crate) fn handed_over(client: &Client) -> Card {
    Card::from_json(client.card().to_json().as_bytes()).expect("a card")
}
