//! The parts, and what people do with them.

use std::{collections::BTreeSet, error::Error, path::Path, sync::Arc};

use alloy::{primitives::Address, signers::local::PrivateKeySigner};
use emr_api::{Receipt, StoredAt, Submission};
use emr_chain::{BatchContent, RollupInstance, SettledBatch};
use emr_core::{
    AccountEpoch, AccountIndex, Class, Codec, GrantSlot, Opaque, Purpose, Reason, RecordSlot, RecordStatus, Revision,
    Rights, Role, UnixTime, Uses, Version, cid::cid_of,
};
use emr_crypto::{Epoch, PatientDirectory};
use emr_ipfs::{Blockstore, Cid, DiskStore};
use emr_rollup::{
    batch::{D1Entry, D2Entry},
    l1_operation::{L1Operation, Registration},
    operation::{
        Action, CLIENT_VALIDITY, DirectoryCommitment, Domain, Operation, PutRecord, RequestAccess, Revoke, SetGrant,
        Tombstone,
    },
    primitive::{
        eddsa::SigningKey,
        field::{self, Fr},
    },
    state::leaf::{GrantLeaf, RecordLeaf},
    version::CircuitVersion,
};
use emr_testkit::people::people;

use super::fuse::FusedStore;
use crate::{
    http::refusal::Refusal,
    l1::clock::Clock,
    mempool::{Anchor, Mempool, Principal, Upload},
    sequencer::{L1View, OnL1, Parts, Sequencer, derive},
    storage::{
        Notes,
        quota::Quotas,
        sweep::{GRACE, Sweep},
    },
};

pub(super) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Accounts of the scene.
pub(super) const PATIENT: u64 = 1;
/// Doctors who may write.
pub(super) const DOCTORS: [u64; 2] = [2, 3];

fn domain() -> Domain {
    Domain::new(31337, [7; 20])
}

fn key(number: u64) -> SigningKey {
    SigningKey::from_seed(&[number as u8; 32])
}

fn element(opaque: Opaque) -> Fr {
    field::from_opaque(opaque.as_bytes())
}

pub(super) fn account(number: u64) -> AccountIndex {
    AccountIndex::new(number).expect("an account")
}

pub(super) fn slot(number: u64) -> RecordSlot {
    RecordSlot::new(number).expect("a slot")
}

/// DAG-CBOR of a list of links.
fn manifest(links: &[Cid]) -> Vec<u8> {
    let mut bytes = vec![0x80 + links.len() as u8];
    for link in links {
        bytes.extend([0xd8, 42, 0x58, 37, 0]);
        bytes.extend(link.to_bytes());
    }
    bytes
}

pub(super) struct Scene {
    pub(super) sequencer: Arc<Sequencer>,
    pub(super) store: FusedStore,
    pub(super) quotas: Quotas,
    /// The time of uploads and sweeps. Operations and batches have the true time.
    pub(super) now: UnixTime,
    folder: Arc<tempfile::TempDir>,
    queue: Vec<Registration>,
    l1: Vec<OnL1>,
    /// When each batch was settled, by `now`.
    settled: Vec<UnixTime>,
    sweep: Sweep,
    fresh: u64,
    /// Seed of the key that the patient's account has.
    patient_key: u64,
}

impl Scene {
    /// A patient who lets two doctors write, settled.
    pub(super) async fn new(quotas: Quotas) -> Outcome<Self> {
        let folder = Arc::new(tempfile::tempdir()?);
        let store = DiskStore::open(folder.path().join("blocks"))?;
        Self::in_folder(folder, Arc::new(store), quotas).await
    }

    /// The same with another block store.
    pub(super) async fn on(store: Arc<dyn Blockstore>, quotas: Quotas) -> Outcome<Self> {
        Self::in_folder(Arc::new(tempfile::tempdir()?), store, quotas).await
    }

    async fn in_folder(folder: Arc<tempfile::TempDir>, store: Arc<dyn Blockstore>, quotas: Quotas) -> Outcome<Self> {
        let roles = [(PATIENT, Role::Patient), (DOCTORS[0], Role::Doctor), (DOCTORS[1], Role::Doctor)];
        let queue = roles.map(|(number, role)| Registration {
            account: account(number),
            role,
            org: None,
            key: key(number).public(),
            encryption: Fr::from(number),
        });
        let store = FusedStore::new(store);
        let sequencer = start(folder.path(), &store, &queue, &[], quotas)?;
        let now = UnixTime::now();
        let (l1, sweep) = (Vec::new(), Sweep::default());
        let mut scene = Self {
            sequencer,
            store,
            quotas,
            now,
            folder,
            queue: queue.to_vec(),
            l1,
            settled: Vec::new(),
            sweep,
            fresh: 0,
            patient_key: PATIENT,
        };
        for (position, doctor) in (0..).zip(DOCTORS) {
            scene.grant(64 + position, doctor).await?;
        }
        scene.settle()?;
        Ok(scene)
    }

    /// A new process on the same folders, with what L1 shows.
    pub(super) async fn restart(&mut self) -> Outcome {
        let closed = self.sequencer.closed();
        // The old one must be gone: a folder has one node.
        let folder = tempfile::tempdir()?;
        let other = FusedStore::new(Arc::new(DiskStore::open(folder.path().join("blocks"))?));
        self.store.disarm();
        self.sequencer = start(folder.path(), &other, &self.queue, &[], self.quotas)?;
        closed.await;
        self.sequencer = start(self.folder.path(), &self.store, &self.queue, &self.l1, self.quotas)?;
        self.sweep = Sweep::default();
        Ok(())
    }

    /// L1 loses its newest batches, but none that is a day old, and not the first: it holds everybody.
    pub(super) async fn reorganise(&mut self, lost: usize) -> Outcome {
        let old = self.settled.iter().filter(|settled| self.now >= settled.saturating_add(GRACE)).count();
        let kept = self.l1.len().saturating_sub(lost).max(old).max(1);
        self.l1.truncate(kept);
        self.settled.truncate(kept);
        self.restart().await
    }

    /// L1 loses everything, and then shows these batches and these registrations.
    pub(super) async fn replace_l1(&mut self, l1: L1History) -> Outcome<L1History> {
        let old = L1History {
            queue: std::mem::replace(&mut self.queue, l1.queue),
            batches: std::mem::replace(&mut self.l1, l1.batches),
            settled: std::mem::replace(&mut self.settled, l1.settled),
            patient_key: std::mem::replace(&mut self.patient_key, l1.patient_key),
        };
        self.restart().await?;
        Ok(old)
    }

    /// A history in which the patient's account is somebody else's.
    pub(super) fn of_another_patient(&self) -> L1History {
        let patient_key = 200;
        let mut queue = self.queue.clone();
        queue[0].key = key(patient_key).public();
        queue[0].encryption = Fr::from(patient_key);
        L1History { queue, batches: Vec::new(), settled: Vec::new(), patient_key }
    }

    /// Seals what waits, and L1 takes it.
    pub(super) fn settle(&mut self) -> Outcome {
        for _ in 0..20 {
            self.sequencer.seal()?;
            let Some(record) = self.sequencer.state().outstanding.clone() else { return Ok(()) };
            let batch = self.sequencer.reopen(&record)?;
            let content = BatchContent {
                pre: batch.public().pre,
                post: batch.public().post,
                time: record.time,
                commitment: field::to_bytes(&batch.public().commitment),
                d1: batch.data().d1.iter().map(D1Entry::to_bytes).collect(),
                d2: batch.data().d2.iter().map(D2Entry::to_bytes).collect(),
                proof: vec![1; 100],
            };
            let batch = SettledBatch { number: record.number, tx_hash: Default::default(), block_number: 5, content };
            let on_l1 = OnL1 { batch, gas_used: None };
            self.sequencer.take_over(std::slice::from_ref(&on_l1))?;
            self.l1.push(on_l1);
            self.settled.push(self.now);
        }
        Err("it does not come to an end".into())
    }

    /// As the node returns an operation that no longer executes: the newest open one, at the next start.
    pub(super) async fn give_back_newest(&mut self) -> Outcome<Option<u64>> {
        let newest = self.sequencer.state().open.last_key_value().map(|(sequence, _)| *sequence);
        if let Some(sequence) = newest {
            self.sequencer.mempool.seal(None, &[(sequence, "it does not execute".to_owned())])?;
            self.restart().await?;
        }
        Ok(newest)
    }

    /// The newest open operation lets go of its blocks, as after a return and its time.
    pub(super) fn give_up_newest(&self) -> Outcome<Option<u64>> {
        let newest = self.sequencer.state().open.last_key_value().map(|(sequence, _)| *sequence);
        if let Some(sequence) = newest {
            self.sequencer.mempool.release(sequence, usize::MAX)?;
        }
        Ok(newest)
    }

    /// Sweeps until there is nothing to do at once.
    pub(super) async fn sweep(&mut self) -> Outcome {
        for _ in 0..1000 {
            if !self.sweep.turn(&self.sequencer, self.now).await? {
                return Ok(());
            }
        }
        Err("the sweep does not come to an end".into())
    }

    pub(super) fn pass(&mut self, hours: u64) {
        self.now = self.now.saturating_add(hours * 3600);
    }

    /// From now on there is less space than the node keeps free.
    pub(super) fn fill_disk(&mut self) {
        let sequencer = Arc::get_mut(&mut self.sequencer).expect("the only handle");
        sequencer.quotas.kept_free = u64::MAX;
    }

    /// Whose an account is now.
    pub(super) fn principal(&self, number: u64) -> Principal {
        self.sequencer.state().principal(account(number)).expect("a registered account")
    }

    fn fresh(&mut self) -> u64 {
        self.fresh += 1;
        self.fresh
    }

    /// Uploads a block as the route does, noted with a size that may be larger than it is.
    pub(super) async fn upload_as(&self, who: u64, codec: Codec, bytes: &[u8], size: u64) -> Result<Cid, Refusal> {
        let cid = cid_of(codec, bytes);
        let _in_use = self.sequencer.in_use.take(&[cid]).await;
        let limit = self.quotas.staged_with(codec, bytes);
        let noted =
            Notes::note(&self.sequencer, Upload { cid, uploader: self.principal(who), size, at: self.now, limit })
                .await?;
        assert_eq!(noted, crate::mempool::Noted::Yes);
        Ok(self.sequencer.blockstore.put(codec, bytes).await?)
    }

    /// Uploads fresh blocks.
    pub(super) async fn upload(&mut self, who: u64, blocks: usize, size: u64) -> Outcome<Vec<Cid>> {
        let mut cids = Vec::new();
        for _ in 0..blocks {
            let bytes = self.fresh().to_be_bytes();
            cids.push(self.upload_as(who, Codec::Raw, &bytes, size).await?);
        }
        Ok(cids)
    }

    async fn submit(
        &self,
        who: u64,
        action: Action,
        stored: Option<StoredAt>,
        directory: Option<Cid>,
    ) -> Result<Receipt, Refusal> {
        let operation = Operation {
            signer: account(who),
            signer_epoch: AccountEpoch::FIRST,
            patient: account(PATIENT),
            patient_epoch: AccountEpoch::FIRST,
            valid_until: self.sequencer.clock.now().saturating_add(CLIENT_VALIDITY),
            salt: field::from_opaque(&rand::random()),
            action,
        };
        let authority = (who != PATIENT).then(|| GrantSlot::new(62 + who).expect("a slot"));
        let signed = operation.sign(domain(), &key(if who == PATIENT { self.patient_key } else { who }), authority);
        let epoch = stored.is_some().then_some(Epoch::FIRST);
        let submission = Submission { signed, stored, epoch, directory: directory.map(|cid| cid.to_string()) };
        self.sequencer.submit(self.principal(who), submission).await
    }

    /// A doctor asks for access under their grant.
    pub(super) async fn request(&self, who: u64) -> Result<Receipt, Refusal> {
        let slot = GrantSlot::new(62 + who).expect("a slot");
        let expected = Uses::ZERO;
        let purpose = Purpose { reason: Reason::Treatment, class: Class::Summary };
        self.submit(who, Action::RequestAccess(RequestAccess { slot, expected, purpose }), None, None).await
    }

    /// A version of a record over these blocks, with one more upload for its manifest.
    pub(super) async fn write(&self, who: u64, number: u64, parts: &[Cid]) -> Result<(Receipt, Vec<Cid>), Refusal> {
        let bytes = manifest(parts);
        let manifest = self.upload_as(who, Codec::DagCbor, &bytes, bytes.len() as u64).await?;
        let old = self.record(number);
        let salt: [u8; 32] = rand::random();
        let leaf = RecordLeaf {
            status: RecordStatus::Live,
            class: Class::Summary,
            author: account(who),
            custodian: None,
            version: old.map_or(Version::ZERO, |old| old.version).next().expect("a version"),
            revision: old.map_or(Revision::ZERO, |old| old.revision).next().expect("a revision"),
            authored: field::from_opaque(&rand::random()),
            stored: element(Opaque::stored(&manifest, &salt)),
        };
        let expected = old.map_or(Revision::ZERO, |old| old.revision);
        let at = StoredAt { manifest: manifest.to_string(), salt: hex::encode(salt) };
        let receipt = self
            .submit(who, Action::PutRecord(PutRecord { slot: slot(number), expected, leaf }), Some(at), None)
            .await?;
        Ok((receipt, [&[manifest], parts].concat()))
    }

    pub(super) async fn tombstone(&self, number: u64) -> Outcome {
        let old = self.record(number).ok_or("no record")?;
        let leaf = RecordLeaf { status: RecordStatus::Tombstone, revision: old.revision.next()?, ..old };
        self.submit(
            PATIENT,
            Action::Tombstone(Tombstone { slot: slot(number), expected: old.revision, leaf }),
            None,
            None,
        )
        .await?;
        Ok(())
    }

    /// Publishes a fresh key directory.
    async fn directory(&self) -> Outcome<(Cid, DirectoryCommitment)> {
        let directory = PatientDirectory::create(people().patient.identity.rsa());
        let bytes = directory.published().to_bytes();
        let cid = self.upload_as(PATIENT, Codec::DagCbor, bytes, bytes.len() as u64).await?;
        Ok((cid, DirectoryCommitment::of(&cid)))
    }

    fn directory_in_force(&self) -> DirectoryCommitment {
        self.sequencer
            .state()
            .soft
            .medical(account(PATIENT))
            .map_or(DirectoryCommitment::NONE, |leaf| leaf.key_directory)
    }

    /// Lets a doctor write for a year, with a new directory.
    pub(super) async fn grant(&mut self, number: u64, doctor: u64) -> Outcome<Cid> {
        let (cid, directory_after) = self.directory().await?;
        let slot = GrantSlot::new(number)?;
        let expected = self.grant_version(slot);
        let leaf = GrantLeaf {
            grantee: Some(account(doctor)),
            rights: Rights::READ | Rights::WRITE,
            scope: Class::Summary.into(),
            not_after: UnixTime::now().saturating_add(365 * 24 * 3600),
            uses: Uses::ZERO,
            version: expected.next()?,
            salt: Fr::from(9),
        };
        let directory_before = self.directory_in_force();
        let action = Action::SetGrant(SetGrant { slot, expected, leaf, directory_before, directory_after });
        self.submit(PATIENT, action, None, Some(cid)).await?;
        Ok(cid)
    }

    /// Ends a grant, with a new directory.
    pub(super) async fn revoke(&mut self, number: u64) -> Outcome<Cid> {
        let (cid, directory_after) = self.directory().await?;
        let slot = GrantSlot::new(number)?;
        let (expected, directory_before) = (self.grant_version(slot), self.directory_in_force());
        let action =
            Action::Revoke(Revoke { slot, expected, leaf_salt: Fr::from(3), directory_before, directory_after });
        self.submit(PATIENT, action, None, Some(cid)).await?;
        Ok(cid)
    }

    fn grant_version(&self, slot: GrantSlot) -> Version {
        let state = self.sequencer.state();
        let grant = state.soft.patient(account(PATIENT)).and_then(|leaves| leaves.grants.get(&slot));
        grant.map_or(Version::ZERO, |grant| grant.version)
    }

    /// A record in the soft state.
    pub(super) fn record(&self, number: u64) -> Option<RecordLeaf> {
        self.sequencer.state().soft.patient(account(PATIENT))?.records.get(&slot(number)).copied()
    }

    pub(super) async fn has(&self, cid: &Cid) -> Outcome<bool> {
        Ok(self.store.has(cid).await?)
    }

    pub(super) async fn pins(&self) -> Outcome<BTreeSet<Cid>> {
        Ok(self.store.pins().await?)
    }

    /// The blocks that are on the disk.
    pub(super) fn stored(&self) -> Outcome<BTreeSet<Cid>> {
        let mut found = BTreeSet::new();
        for shard in std::fs::read_dir(self.folder.path().join("blocks/blocks"))? {
            for file in std::fs::read_dir(shard?.path())? {
                found.insert(file?.file_name().to_string_lossy().parse()?);
            }
        }
        Ok(found)
    }
}

/// What L1 shows.
pub(super) struct L1History {
    queue: Vec<Registration>,
    batches: Vec<OnL1>,
    settled: Vec<UnixTime>,
    patient_key: u64,
}

fn start(
    folder: &Path,
    store: &FusedStore,
    queue: &[Registration],
    l1: &[OnL1],
    quotas: Quotas,
) -> Outcome<Arc<Sequencer>> {
    let anchor = Anchor { chain_id: 31337, contract: String::new(), deployed_at: 0, block_hash: String::new() };
    let mempool = Mempool::open(folder, &anchor)?;
    let taken: usize = l1.iter().map(|on_l1| on_l1.batch.content.d1.len()).sum();
    let view = L1View {
        batches: l1.to_vec(),
        queue_head: taken as u64,
        queue: queue.get(taken..).unwrap_or_default().iter().cloned().map(L1Operation::from).collect(),
        hospital: None,
    };
    let state = derive(&mempool, domain(), CircuitVersion::V1, view)?;
    Ok(Arc::new(Sequencer::new(Parts {
        mempool,
        blockstore: Arc::new(store.clone()),
        clock: Clock::new(true),
        instance: RollupInstance { chain_id: 31337, contract: Address::repeat_byte(7) },
        version: CircuitVersion::V1,
        signer: PrivateKeySigner::from_slice(&[1; 32])?,
        state,
        quotas,
    })))
}
