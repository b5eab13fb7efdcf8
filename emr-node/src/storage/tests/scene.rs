//! The parts of the tests, and what people do with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use alloy::{primitives::Address, signers::local::PrivateKeySigner};
use emr_api::{Receipt, StoredAt, Submission};
use emr_chain::{BatchContent, PerQueue, RollupInstance, SettledBatch};
use emr_core::{
    AccountEpoch, AccountIndex, Class, Codec, GrantSlot, Opaque, Purpose, Reason, RecordSlot, RecordStatus, Revision,
    Rights, Role, UnixTime, Uses, Version, cid::cid_of,
};
use emr_crypto::DelegatedKeys;
use emr_ipfs::{Blockstore, Cid, DiskStore};
use emr_rollup::{
    batch::{D1Entry, D2Entry},
    l1_operation::{L1Operation, Register},
    operation::{
        Action, Blocks, CLIENT_VALIDITY, DirectoryCommitment, Domain, Operation, PutRecord, Rekey, RequestAccess,
        Revoke, SetGrant, Tombstone,
    },
    primitive::{
        eddsa::SigningKey,
        field::{self, Fr},
    },
    state::leaf::{GrantLeaf, RecordLeaf},
    version::CircuitSizes,
};
use emr_testkit::{
    directories::{first_directory, first_epoch},
    people::people,
};

mod acts;
mod patients;
mod snapshots;

use super::fuse::FusedStore;
use crate::{
    derivation::{BatchOnL1, L1Data, SettledLedger, derive},
    engine::{Engine, EngineParts},
    l1::clock::Clock,
    mempool::{Anchor, Mempool, Principal},
    request_error::RequestError,
    snapshot::Snapshots,
    state::queues::L1Queues,
    storage::{
        quota::Quotas,
        staging::{self, NewBlock},
        sweep::{GRACE, Sweep},
    },
};

pub(super) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// The patient's account.
pub(super) const PATIENT: u64 = 1;
/// The accounts of two doctors who may write.
pub(super) const DOCTORS: [u64; 2] = [2, 3];

/// The first account of other patients.
pub(super) const OTHERS: u64 = 4;

fn domain() -> Domain {
    Domain::new(31337, [7; 20])
}

fn key(number: u64) -> SigningKey {
    let mut seed = [number as u8; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    SigningKey::from_seed(&seed)
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

/// A list of links, as DAG-CBOR.
pub(super) fn manifest(links: &[Cid]) -> Vec<u8> {
    let mut bytes = vec![0x80 + links.len() as u8];
    for link in links {
        bytes.extend([0xd8, 42, 0x58, 37, 0]);
        bytes.extend(link.to_bytes());
    }
    bytes
}

pub(super) struct Scene {
    pub(super) engine: Arc<Engine>,
    pub(super) store: FusedStore,
    pub(super) quotas: Quotas,
    /// The time for uploads and sweeps. Operations and batches use the real time.
    pub(super) now: UnixTime,
    folder: Arc<tempfile::TempDir>,
    queue: Vec<Register>,
    l1: Vec<BatchOnL1>,
    /// The value of `now` when each batch was settled.
    settled: Vec<UnixTime>,
    sweep: Sweep,
    fresh: u64,
    /// Seed of the key of the patient's account.
    patient_key: u64,
    /// How many derivations from a snapshot were compared with one from the first batch.
    pub(super) compared: usize,
    /// The blocks of each directory that was uploaded, by its root.
    directories: Mutex<BTreeMap<Cid, Vec<Cid>>>,
}

impl Scene {
    /// A patient who lets two doctors write. The grants are settled.
    pub(super) async fn new(quotas: Quotas) -> Outcome<Self> {
        let folder = Arc::new(tempfile::tempdir()?);
        let store = DiskStore::open(folder.path().join("blocks"))?;
        Self::in_folder(folder, Arc::new(store), quotas, 0).await
    }

    /// The same, with `others` more patients. Their accounts are those after the doctors' accounts.
    pub(super) async fn with_patients(others: u64, quotas: Quotas) -> Outcome<Self> {
        let folder = Arc::new(tempfile::tempdir()?);
        let store = DiskStore::open(folder.path().join("blocks"))?;
        Self::in_folder(folder, Arc::new(store), quotas, others).await
    }

    /// The same, with another block store.
    pub(super) async fn on(store: Arc<dyn Blockstore>, quotas: Quotas) -> Outcome<Self> {
        Self::in_folder(Arc::new(tempfile::tempdir()?), store, quotas, 0).await
    }

    async fn in_folder(
        folder: Arc<tempfile::TempDir>,
        store: Arc<dyn Blockstore>,
        quotas: Quotas,
        others: u64,
    ) -> Outcome<Self> {
        let people = [(PATIENT, Role::Patient), (DOCTORS[0], Role::Doctor), (DOCTORS[1], Role::Doctor)];
        let others = (OTHERS..OTHERS + others).map(|number| (number, Role::Patient));
        let register = |(number, role)| Register {
            account: account(number),
            role,
            org: None,
            key: key(number).public(),
            encryption: Fr::from(number),
        };
        let queue: Vec<Register> = people.into_iter().chain(others).map(register).collect();
        let store = FusedStore::new(store);
        let engine = start(folder.path(), &store, genesis(), view(&queue, &[], 0), quotas)?;
        let now = UnixTime::now();
        let (l1, sweep) = (Vec::new(), Sweep::default());
        let mut scene = Self {
            engine,
            store,
            quotas,
            now,
            folder,
            queue,
            l1,
            settled: Vec::new(),
            sweep,
            fresh: 0,
            patient_key: PATIENT,
            compared: 0,
            directories: Mutex::default(),
        };
        for (position, doctor) in (0..).zip(DOCTORS) {
            scene.grant(64 + position, doctor).await?;
        }
        scene.settle()?;
        Ok(scene)
    }

    /// Starts a new process on the same folders, with what L1 shows.
    pub(super) async fn restart(&mut self) -> Outcome {
        let closed = self.engine.closed();
        // The old engine must be gone first: a folder belongs to one node.
        let folder = tempfile::tempdir()?;
        let other = FusedStore::new(Arc::new(DiskStore::open(folder.path().join("blocks"))?));
        self.store.disarm();
        self.engine = start(folder.path(), &other, genesis(), view(&self.queue, &[], 0), self.quotas)?;
        closed.await;
        let base = self.newest_base()?;
        let view = view(&self.queue, &self.l1, base.batches as usize);
        self.engine = start(self.folder.path(), &self.store, base, view, self.quotas)?;
        self.sweep = Sweep::default();
        Ok(())
    }

    /// L1 loses its newest batches, but none that is a day old, and not the first batch: it has all registrations.
    pub(super) async fn reorganise(&mut self, lost: usize) -> Outcome {
        let old = self.settled.iter().filter(|settled| self.now >= settled.saturating_add(GRACE)).count();
        let kept = self.l1.len().saturating_sub(lost).max(old).max(1);
        self.l1.truncate(kept);
        self.settled.truncate(kept);
        self.restart().await
    }

    /// L1 loses everything, and then shows these batches and registrations. Returns what it showed before.
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

    /// A history in which the patient's account belongs to somebody else.
    pub(super) fn of_another_patient(&self) -> L1History {
        let patient_key = 200;
        let mut queue = self.queue.clone();
        queue[0].key = key(patient_key).public();
        queue[0].encryption = Fr::from(patient_key);
        L1History { queue, batches: Vec::new(), settled: Vec::new(), patient_key }
    }

    /// Seals all waiting operations, and L1 accepts the batches.
    pub(super) fn settle(&mut self) -> Outcome {
        for _ in 0..20 {
            self.engine.seal()?;
            let Some(record) = self.engine.state().outstanding.clone() else { return Ok(()) };
            let batch = self.engine.reseal(&record)?;
            let size = self.engine.sizes.position(&batch.witness().version).ok_or("a size that L1 does not take")?;
            let content = BatchContent {
                size,
                pre: batch.public().pre,
                post: batch.public().post,
                time: record.time,
                commitment: field::to_bytes(&batch.public().commitment),
                urgent: record.urgent,
                d1: batch.data().d1.iter().map(D1Entry::to_bytes).collect(),
                d2: batch.data().d2.iter().map(D2Entry::to_bytes).collect(),
                proof: vec![1; 100],
            };
            let batch = SettledBatch { number: record.number, tx_hash: Default::default(), block_number: 5, content };
            let on_l1 = BatchOnL1 { batch, gas_used: None };
            self.engine.apply_settled(std::slice::from_ref(&on_l1))?;
            self.l1.push(on_l1);
            self.settled.push(self.now);
            self.write_snapshot();
        }
        Err("it does not come to an end".into())
    }

    /// Returns the newest open operation, like an operation that no longer executes, and starts the node again.
    pub(super) async fn give_back_newest(&mut self) -> Outcome<Option<u64>> {
        let newest = self.engine.state().open.iter().next_back().map(|(sequence, _)| sequence);
        if let Some(sequence) = newest {
            self.engine.mempool.seal(None, &[(sequence, "it does not execute".to_owned())])?;
            self.restart().await?;
        }
        Ok(newest)
    }

    /// The newest open operation lets go of its blocks, like an operation that was returned long ago.
    pub(super) fn give_up_newest(&self) -> Outcome<Option<u64>> {
        let newest = self.engine.state().open.iter().next_back().map(|(sequence, _)| sequence);
        if let Some(sequence) = newest {
            self.engine.mempool.release(sequence, usize::MAX)?;
        }
        Ok(newest)
    }

    /// Sweeps until there is nothing more to do at once.
    pub(super) async fn sweep(&mut self) -> Outcome {
        for _ in 0..1000 {
            if !self.sweep.round(&self.engine, self.now).await? {
                return Ok(());
            }
        }
        Err("the sweep does not come to an end".into())
    }

    pub(super) fn pass(&mut self, hours: u64) {
        self.now = self.now.saturating_add(hours * 3600);
    }

    /// From now on, the disk has less free space than the node requires.
    pub(super) fn fill_disk(&mut self) {
        self.quotas().least_patients = u64::MAX;
    }

    /// The limits of the running node, until it restarts.
    pub(super) fn quotas(&mut self) -> &mut Quotas {
        &mut Arc::get_mut(&mut self.engine).expect("the only handle").quotas
    }

    /// The current owner of an account.
    pub(super) fn principal(&self, number: u64) -> Principal {
        self.engine.state().principal(account(number)).expect("a registered account")
    }

    /// A record in the soft state.
    pub(super) fn record(&self, number: u64) -> Option<RecordLeaf> {
        self.engine.state().soft.patient(account(PATIENT))?.records.get(&slot(number)).copied()
    }

    pub(super) async fn has(&self, cid: &Cid) -> Outcome<bool> {
        Ok(self.store.has(cid).await?)
    }

    pub(super) async fn pins(&self) -> Outcome<BTreeSet<Cid>> {
        Ok(self.store.pins().await?)
    }

    /// All blocks of a directory that the patient uploaded, also the root.
    pub(super) fn directory_blocks(&self, root: &Cid) -> Vec<Cid> {
        let known = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(root).cloned().unwrap_or_default()
    }

    /// The blocks on the disk.
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
    queue: Vec<Register>,
    batches: Vec<BatchOnL1>,
    settled: Vec<UnixTime>,
    patient_key: u64,
}

fn genesis() -> SettledLedger {
    SettledLedger::genesis(domain(), Arc::new(CircuitSizes::v1()))
}

fn open_mempool(folder: &Path) -> Outcome<Mempool> {
    let anchor = Anchor { chain_id: 31337, contract: String::new(), deployed_at: 0, block_hash: String::new() };
    Ok(Mempool::open(folder, &anchor)?)
}

/// What L1 shows to a derivation that starts after so many batches.
fn view(queue: &[Register], l1: &[BatchOnL1], after: usize) -> L1Data {
    let taken: usize = l1.iter().map(|on_l1| on_l1.batch.content.d1.len()).sum();
    L1Data {
        batches: l1[after..].to_vec(),
        queues: L1Queues::new(
            PerQueue { ordinary: taken as u64, ..PerQueue::default() },
            PerQueue {
                ordinary: queue.get(taken..).unwrap_or_default().iter().cloned().map(L1Operation::from).collect(),
                ..PerQueue::default()
            },
        ),
        hospital: None,
        from_block: 0,
        final_block: u64::MAX,
    }
}

fn start(folder: &Path, store: &FusedStore, base: SettledLedger, view: L1Data, quotas: Quotas) -> Outcome<Arc<Engine>> {
    let mempool = open_mempool(folder)?;
    let sizes = Arc::clone(&base.sizes);
    let state = derive(&mempool, base, view)?;
    Ok(Arc::new(Engine::new(EngineParts {
        mempool,
        snapshots: Arc::new(Snapshots::in_test(folder)),
        blockstore: Arc::new(store.clone()),
        clock: Clock::new(true),
        instance: RollupInstance { chain_id: 31337, contract: Address::repeat_byte(7) },
        sizes,
        signer: PrivateKeySigner::from_slice(&[1; 32])?,
        state,
        quotas,
    })))
}
