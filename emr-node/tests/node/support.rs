//! A chain with the contract, participants with all their keys, and requests as they make them.

use std::{
    error,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::Duration,
};

use alloy::{
    eips::BlockNumberOrTag,
    primitives::{Address, B256, Bytes, U256},
    providers::{DynProvider, Provider},
    signers::local::PrivateKeySigner,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use emr_chain::{
    CurvePoint, Deployment, Registration, Rollup, RollupInstance, RsaPossession, deploy,
    embedded::{ChainConfig, EmbeddedChain},
    endpoint::Endpoint,
};
use emr_client::{
    api::{
        BlockPut, Challenge, ChallengeRequest, LoginRequest, NodeStatus, PatientView, Problem, Receipt, Session,
        StoredAt, Submission,
    },
    encryption::CommittedKey,
};
use emr_core::{
    AccountEpoch, AccountIndex, Class, GrantSlot, Opaque, Purpose, Reason, RecordSlot, RecordStatus, Revision, Rights,
    Role, UnixTime, Uses, Version,
    cid::{Cid, Codec, cid_of},
};
use emr_crypto::{Challenge as SignedChallenge, Identity, IdentityFile, PatientDirectory, RsaBits, ScryptCost};
use emr_ipfs::DiskStore;
use emr_node::{Node, NodeConfig, ProverConfig, RunningNode, SealPolicy};
use emr_rollup::{
    data::CircuitVersion,
    field::{self, Fr},
    leaf::{GrantLeaf, RecordLeaf},
    operation::{Action, CLIENT_VALIDITY, Domain, Operation, SignedOperation},
    prover::default_cache,
    signature::SigningKey,
    tree::empty_root,
};
use reqwest::{Client, RequestBuilder, Url};
use serde::{Serialize, de::DeserializeOwned};
use tempfile::TempDir;

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn error::Error + Send + Sync>>;

/// Somebody with keys.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) identity: Identity,
    pub(crate) key: SigningKey,
    pub(crate) ethereum: PrivateKeySigner,
}

impl Person {
    fn new(role: Role, number: u8) -> Self {
        Self::fresh(role, B256::repeat_byte(number))
    }

    /// Somebody who is not of the cast.
    pub(crate) fn fresh(role: Role, ethereum: B256) -> Self {
        let identity = Identity::generate(role, RsaBits::MIN);
        Self::of(identity.with_ethereum(&ethereum.0).expect("a valid key"))
    }

    fn of(identity: Identity) -> Self {
        Self {
            key: SigningKey::from_seed(identity.rollup_seed()),
            ethereum: PrivateKeySigner::from_slice(identity.ethereum_secret()).expect("a valid key"),
            identity,
        }
    }

    pub(crate) fn address(&self) -> Address {
        self.ethereum.address()
    }

    pub(crate) fn registration(&self, instance: &RollupInstance, org: Option<AccountIndex>) -> Registration {
        let point = self.key.registration_point();
        let q = CurvePoint { x: field::to_bytes(&point.x()), y: field::to_bytes(&point.y()) };
        let a = self.key.public();
        let a = CurvePoint { x: field::to_bytes(&a.x()), y: field::to_bytes(&a.y()) };
        let role = self.identity.role();
        let rsa = || {
            let message = instance.possession_message(self.address(), a, role);
            let modulus = self.identity.rsa().public().modulus();
            RsaPossession { modulus, signature: self.identity.rsa().sign_pkcs1v15(&message) }
        };
        match role {
            Role::Patient => Registration::patient(q, CommittedKey::of(&self.identity).commitment()),
            Role::Doctor => Registration::doctor(q, org, rsa()),
            Role::Hospital => Registration::hospital(q, rsa()),
        }
    }
}

/// Names a folder of identity files, for a process that must have the same people as the one that started it.
pub(crate) const PEOPLE_FOLDER: &str = "EMR_NODE_TEST_PEOPLE";
const PASSPHRASE: &str = "test";

/// RSA keys take a while: made once for all tests of this program.
static PEOPLE: LazyLock<People> = LazyLock::new(|| {
    if let Some(folder) = std::env::var_os(PEOPLE_FOLDER) {
        return People::load(Path::new(&folder)).expect("the folder holds the people");
    }
    let roles = [Role::Hospital, Role::Doctor, Role::Doctor, Role::Patient, Role::Patient];
    let made: Vec<Person> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            roles.into_iter().zip(1..).map(|(role, number)| scope.spawn(move || Person::new(role, number))).collect();
        threads.into_iter().map(|thread| thread.join().expect("keys are made")).collect()
    });
    let [hospital, doctor, stranger, patient, other] = <[Person; 5]>::try_from(made).expect("five");
    People { hospital, doctor, stranger, patient, other }
});

/// The cast: a hospital, its doctor, a doctor of nobody, and two patients.
#[derive(Debug)]
pub(crate) struct People {
    pub(crate) hospital: Person,
    pub(crate) doctor: Person,
    pub(crate) stranger: Person,
    pub(crate) patient: Person,
    pub(crate) other: Person,
}

impl People {
    fn all(&self) -> [&Person; 5] {
        [&self.hospital, &self.doctor, &self.stranger, &self.patient, &self.other]
    }

    /// Writes the identity files of everybody.
    pub(crate) fn save(&self, folder: &Path) -> Outcome {
        for (number, person) in self.all().into_iter().enumerate() {
            let bytes = IdentityFile::seal(&person.identity, &PASSPHRASE.into(), ScryptCost::Development)?;
            std::fs::write(folder.join(format!("person-{number}")), bytes)?;
        }
        Ok(())
    }

    fn load(folder: &Path) -> Outcome<Self> {
        let person = |number: usize| -> Outcome<Person> {
            let bytes = std::fs::read(folder.join(format!("person-{number}")))?;
            Ok(Person::of(IdentityFile::unseal(&bytes, &PASSPHRASE.into())?))
        };
        let [hospital, doctor, stranger, patient, other] = [person(0)?, person(1)?, person(2)?, person(3)?, person(4)?];
        Ok(Self { hospital, doctor, stranger, patient, other })
    }
}

pub(crate) fn people() -> &'static People {
    &PEOPLE
}

/// The registrar's key.
pub(crate) fn registrar() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(0xee)).expect("a valid key")
}

/// Creation code of a contract that refuses whatever it is called with: no batch can be settled under it.
pub(crate) const REFUSES_EVERYTHING: [u8; 13] = [0x60, 1, 0x60, 12, 0x60, 0, 0x39, 0x60, 1, 0x60, 0, 0xf3, 0xfe];

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

pub(crate) fn deployment(verifier_code: Bytes) -> Deployment {
    let version = CircuitVersion::V1;
    let genesis = emr_rollup::poseidon::node(empty_root(version.account_depth), empty_root(version.account_depth));
    Deployment {
        verifier_code,
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
    /// A fresh chain with a contract whose verifier refuses everything: for whatever comes before settlement.
    pub(crate) async fn new() -> Outcome<Self> {
        Self::with_verifier(REFUSES_EVERYTHING.to_vec().into()).await
    }

    pub(crate) async fn with_verifier(code: Bytes) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let chain = EmbeddedChain::open(&folder.path().join("chain"), &prefunded())?;
        let provider = Endpoint::Embedded(chain.clone()).connect(Some(people().hospital.ethereum.clone()))?;
        let rollup = deploy(provider, &deployment(code)).await?.rollup;
        Ok(Self { chain, rollup, folder: Arc::new(folder) })
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::Embedded(self.chain.clone())
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
            self.rollup_as(registrar()).await?.admit(account).await?;
        }
        Ok(account)
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

/// A running node with everybody logged in.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) node: RunningNode,
    pub(crate) accounts: Accounts,
    pub(crate) hospital: Caller,
    pub(crate) doctor: Caller,
    pub(crate) stranger: Caller,
    pub(crate) patient: Caller,
    pub(crate) other: Caller,
}

impl Scene {
    pub(crate) async fn set(world: World) -> Outcome<Self> {
        let accounts = world.register_all().await?;
        let node = world.start().await?;
        Self::log_all_in(world, node, accounts).await
    }

    pub(crate) async fn log_all_in(world: World, node: RunningNode, accounts: Accounts) -> Outcome<Self> {
        let (people, domain) = (people(), world.domain());
        let log_in = |person: &'static Person, account| Caller::log_in(node.url().clone(), domain, person, account);
        Ok(Self {
            hospital: log_in(&people.hospital, accounts.hospital).await?,
            doctor: log_in(&people.doctor, accounts.doctor).await?,
            stranger: log_in(&people.stranger, accounts.stranger).await?,
            patient: log_in(&people.patient, accounts.patient).await?,
            other: log_in(&people.other, accounts.other).await?,
            world,
            node,
            accounts,
        })
    }

    /// New tokens for everybody, once the node has seen L1's time.
    pub(crate) async fn log_in_again(self) -> Outcome<Self> {
        let Self { world, node, accounts, patient, .. } = self;
        let provider = world.rollup.provider();
        let newest = provider.get_block_by_number(BlockNumberOrTag::Latest).await?.ok_or("no block")?.header.timestamp;
        let request = ChallengeRequest { account: accounts.patient };
        until(|| async {
            let challenge: Answer<Challenge> = patient.post("v1/login/challenge", &request).await;
            // Challenges lapse after two minutes of the node's time.
            challenge.is_ok_and(|challenge| challenge.expires.get() >= newest + 120)
        })
        .await?;
        Self::log_all_in(world, node, accounts).await
    }

    /// Stops the node and starts it again on the same folders.
    pub(crate) async fn restart(self) -> Outcome<Self> {
        let Self { world, node, accounts, .. } = self;
        node.shutdown().await;
        let node = world.start().await?;
        Self::log_all_in(world, node, accounts).await
    }
}

/// What a request that was not refused gave, or the refusal.
pub(crate) type Answer<T> = Result<T, Refused>;

/// A refusal as it came over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.status, self.code, self.message)
    }
}

impl error::Error for Refused {}

/// The refusal's code.
pub(crate) fn code<T: std::fmt::Debug>(answer: Answer<T>) -> String {
    match answer {
        Ok(answer) => panic!("must be refused, but gave {answer:?}"),
        Err(refused) => refused.code,
    }
}

/// Somebody who talks to the node.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) url: Url,
    pub(crate) http: Client,
    pub(crate) token: Option<String>,
    pub(crate) domain: Domain,
    pub(crate) person: &'static Person,
    pub(crate) account: AccountIndex,
}

impl Caller {
    pub(crate) fn anonymous(url: Url, domain: Domain, person: &'static Person, account: AccountIndex) -> Self {
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().expect("a client");
        Self { url, http, token: None, domain, person, account }
    }

    pub(crate) async fn log_in(
        url: Url,
        domain: Domain,
        person: &'static Person,
        account: AccountIndex,
    ) -> Outcome<Self> {
        let mut caller = Self::anonymous(url, domain, person, account);
        let login = caller.sign_in().await?;
        let session: Session = caller.post("v1/login", &login).await?;
        caller.token = Some(session.token);
        Ok(caller)
    }

    /// A signed challenge.
    pub(crate) async fn sign_in(&self) -> Outcome<LoginRequest> {
        let status: NodeStatus = self.get("v1/status").await?;
        let verifier = status.hospital.ok_or("no hospital")?;
        let challenge: Challenge = self.post("v1/login/challenge", &ChallengeRequest { account: self.account }).await?;
        self.answer(&challenge, verifier)
    }

    pub(crate) fn answer(&self, challenge: &Challenge, verifier: AccountIndex) -> Outcome<LoginRequest> {
        let mut nonce = [0; 32];
        hex::decode_to_slice(&challenge.nonce, &mut nonce)?;
        let signed = SignedChallenge {
            domain: field::to_bytes(&self.domain.element()),
            verifier,
            account: self.account,
            nonce,
            expires: challenge.expires,
        };
        let key = CommittedKey::of(&self.person.identity);
        Ok(LoginRequest {
            account: self.account,
            nonce: challenge.nonce.clone(),
            expires: challenge.expires,
            public_key: BASE64.encode(key.key.to_der()),
            commitment_salt: key.salt.map(hex::encode).unwrap_or_default(),
            signature: BASE64.encode(signed.sign(self.person.identity.rsa())),
        })
    }

    fn request(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer<Vec<u8>> {
        let unreachable =
            |error: reqwest::Error| Refused { status: 0, code: "unreachable".into(), message: format!("{error:?}") };
        let response = self.request(request).send().await.map_err(unreachable)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(bytes.to_vec());
        }
        let problem: Problem = serde_json::from_slice(&bytes).map_err(|_| Refused {
            status: status.as_u16(),
            code: "not a problem".into(),
            message: String::from_utf8_lossy(&bytes).into_owned(),
        })?;
        Err(Refused { status: status.as_u16(), code: problem.code, message: problem.message })
    }

    fn join(&self, path: &str) -> Url {
        self.url.join(path).expect("a path")
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Answer<T> {
        let bytes = self.send(self.http.get(self.join(path))).await?;
        Ok(read(&bytes))
    }

    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &(impl Serialize + Sync)) -> Answer<T> {
        let bytes = self.send(self.http.post(self.join(path)).json(body)).await?;
        Ok(read(&bytes))
    }

    pub(crate) async fn post_bytes(&self, path: &str, body: Vec<u8>) -> Answer<Vec<u8>> {
        self.send(self.http.post(self.join(path)).body(body)).await
    }

    pub(crate) async fn put_block(&self, codec: Codec, bytes: &[u8]) -> Answer<Cid> {
        let name = match codec {
            Codec::Raw => "raw",
            Codec::DagCbor => "dag-cbor",
        };
        let put: BlockPut = read(&self.post_bytes(&format!("v1/blocks?codec={name}"), bytes.to_vec()).await?);
        assert_eq!(put.cid, cid_of(codec, bytes).to_string());
        Ok(cid_of(codec, bytes))
    }

    pub(crate) async fn block(&self, cid: &Cid) -> Answer<Vec<u8>> {
        self.send(self.http.get(self.join(&format!("v1/blocks/{cid}")))).await
    }

    pub(crate) async fn submit(&self, submission: &Submission) -> Answer<Receipt> {
        self.post("v1/operations", submission).await
    }

    pub(crate) async fn view(&self, patient: AccountIndex) -> Answer<PatientView> {
        self.get(&format!("v1/patients/{patient}")).await
    }

    pub(crate) fn sign(&self, patient: AccountIndex, action: Action) -> SignedOperation {
        self.sign_until(patient, action, UnixTime::now().saturating_add(CLIENT_VALIDITY))
    }

    pub(crate) fn sign_until(&self, patient: AccountIndex, action: Action, valid_until: UnixTime) -> SignedOperation {
        let operation = Operation {
            signer: self.account,
            signer_epoch: AccountEpoch::FIRST,
            patient,
            patient_epoch: AccountEpoch::FIRST,
            valid_until,
            salt: random_element(),
            action,
        };
        let authority = (self.account != patient).then_some(GrantSlot::FIRST_ORDINARY);
        operation.sign(self.domain, &self.person.key, authority)
    }

    /// The patient's key directory, made and uploaded; its CID and commitment.
    pub(crate) async fn publish_directory(&self) -> Outcome<(Cid, Fr)> {
        let directory = PatientDirectory::create(self.person.identity.rsa());
        let cid = self.put_block(Codec::DagCbor, directory.published().to_bytes()).await?;
        Ok((cid, element(Opaque::directory(&cid))))
    }

    /// As a patient: grants, publishing a new key directory with it.
    pub(crate) async fn grant(
        &self,
        slot: GrantSlot,
        grantee: AccountIndex,
        rights: Rights,
        classes: &[Class],
        until: UnixTime,
    ) -> Outcome<Submission> {
        let view = self.view(self.account).await?;
        let (cid, after) = self.publish_directory().await?;
        let old = view.grants.iter().find(|grant| grant.slot == slot);
        let expected = old.map_or(Version::ZERO, |old| old.grant.version);
        let leaf = GrantLeaf {
            grantee: Some(grantee),
            rights,
            scope: classes.iter().copied().collect(),
            not_after: until,
            uses: Uses::ZERO,
            version: expected.next()?,
            salt: random_element(),
        };
        let action = Action::SetGrant {
            slot,
            expected,
            leaf,
            directory_before: view.directory_commitment,
            directory_after: after,
        };
        let signed = self.sign(self.account, action);
        let submission = Submission { signed, stored: None, directory: Some(cid.to_string()) };
        self.submit(&submission).await?;
        Ok(submission)
    }

    /// As a patient: ends a grant, publishing a new key directory with it.
    pub(crate) async fn revoke(&self, slot: GrantSlot) -> Outcome<Submission> {
        let view = self.view(self.account).await?;
        let (cid, after) = self.publish_directory().await?;
        let old = view.grants.iter().find(|grant| grant.slot == slot).ok_or("no such grant")?;
        let action = Action::Revoke {
            slot,
            expected: old.grant.version,
            leaf_salt: random_element(),
            directory_before: view.directory_commitment,
            directory_after: after,
        };
        let signed = self.sign(self.account, action);
        let submission = Submission { signed, stored: None, directory: Some(cid.to_string()) };
        self.submit(&submission).await?;
        Ok(submission)
    }

    /// Uploads the blocks of a record; its manifest.
    pub(crate) async fn upload(&self, parts: &[&[u8]]) -> Outcome<Cid> {
        let mut links = Vec::new();
        for part in parts {
            links.push(self.put_block(Codec::Raw, part).await?);
        }
        Ok(self.put_block(Codec::DagCbor, &manifest(&links)).await?)
    }

    /// A PutRecord of a first version with that manifest.
    pub(crate) fn put_record(&self, patient: AccountIndex, slot: u64, class: Class, manifest: &Cid) -> Submission {
        let salt: [u8; 32] = rand::random();
        let leaf = RecordLeaf {
            status: RecordStatus::Live,
            class,
            author: self.account,
            custodian: None,
            version: Version::new(1).expect("1"),
            revision: Revision::new(1).expect("1"),
            authored: random_element(),
            stored: element(Opaque::stored(manifest, &salt)),
        };
        let slot = RecordSlot::new(slot).expect("a slot");
        let action = Action::PutRecord { slot, expected: Revision::ZERO, leaf };
        Submission {
            signed: self.sign(patient, action),
            stored: Some(StoredAt { manifest: manifest.to_string(), salt: hex::encode(salt) }),
            directory: None,
        }
    }

    /// A RequestAccess.
    pub(crate) fn request_access(
        &self,
        patient: AccountIndex,
        slot: GrantSlot,
        expected: Uses,
        class: Class,
    ) -> Submission {
        let purpose = Purpose { reason: Reason::Treatment, class };
        let signed = self.sign(patient, Action::RequestAccess { slot, expected, purpose });
        Submission { signed, stored: None, directory: None }
    }
}

/// 204 is an empty body: read as null.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> T {
    let bytes = if bytes.is_empty() { b"null" } else { bytes };
    serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}

pub(crate) fn element(opaque: Opaque) -> Fr {
    field::from_opaque(opaque.as_bytes())
}

pub(crate) fn random_element() -> Fr {
    field::from_opaque(&rand::random())
}

/// DAG-CBOR of a list of at most 23 links.
pub(crate) fn manifest(links: &[Cid]) -> Vec<u8> {
    assert!(links.len() < 24);
    let mut bytes = vec![0x80 + links.len() as u8];
    for link in links {
        bytes.extend([0xd8, 42, 0x58, 37, 0]);
        bytes.extend(link.to_bytes());
    }
    bytes
}

pub(crate) fn slot(number: u64) -> GrantSlot {
    GrantSlot::new(number).expect("a slot")
}

pub(crate) const FIRST: GrantSlot = GrantSlot::FIRST_ORDINARY;

/// A year from now.
pub(crate) fn next_year() -> UnixTime {
    UnixTime::now().saturating_add(365 * 24 * 3600)
}

/// Puts L1's clock ahead and mines a block.
pub(crate) async fn advance(world: &World, seconds: u64) -> Outcome {
    world.chain.advance_clock(seconds)?;
    // Any transaction makes a block.
    world.rollup.endorse(Address::repeat_byte(rand::random())).await?;
    Ok(())
}

/// Waits until something holds, 20 s at most.
pub(crate) async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) -> Outcome {
    for _ in 0..400 {
        if holds().await {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err("it does not come to hold".into())
}
