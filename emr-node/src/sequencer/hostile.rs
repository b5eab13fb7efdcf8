//! One patient ends a grant while thousands of free accounts attack. The tests use the real sequencer, ledger and mempool file.
//!
//! `EMR_SOAK_ACCOUNTS` sets the number of hostile accounts. `cargo xtask soak mempool` runs ten thousand.

use std::{collections::BTreeMap, env, sync::Arc, time::Instant};

use alloy::{
    primitives::{Address, B256},
    signers::local::PrivateKeySigner,
};
use emr_api::{OperationStatus, Receipt, Submission};
use emr_chain::{RollupInstance, SettledBatch};
use emr_core::{
    AccountEpoch, AccountIndex, Class, GrantSlot, RecordSlot, RecordStatus, Revision, Rights, Role, UnixTime, Uses,
    Version,
};
use emr_ipfs::DiskStore;
use emr_rollup::{
    l1_operation::Register,
    operation::{Action, DirectoryCommitment, Domain, Operation, PutRecord, Revoke, SetGrant, SignedOperation},
    primitive::{eddsa::SigningKey, field::Fr},
    state::{
        leaf::{GrantLeaf, RecordLeaf},
        ledger::Ledger,
    },
    version::{CircuitSizes, CircuitVersion},
};

use super::{
    SealError,
    order::BatchOrder,
    place::{self, Place},
    promise,
    take::Admission,
};
use crate::{
    derivation::BatchOnL1,
    engine::{Engine, EngineParts},
    l1::clock::Clock,
    mempool::{Anchor, BatchRecord, Mempool},
    request_error::RequestErrorKind,
    snapshot::Snapshots,
    state::{
        NodeState,
        finality::FinalStates,
        open::{BATCH_SECONDS, OpenOperations},
        pointers::CheckedPointer,
    },
    storage::Space,
};

mod admission;
mod delegates;
mod emergencies;
mod flood;
mod forced;
mod lost_directories;
mod panicked;
mod places;
mod promises;
mod replacement;

type Test<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// How many hostile accounts there are, if the environment sets no other number.
const ACCOUNTS: u64 = 150;
/// The honest patient's account.
const HONEST: u64 = 1;
/// The doctor to whom every patient grants access.
const DOCTOR: u64 = 2;
const FIRST: u64 = 64;

fn hostile_accounts() -> u64 {
    env::var("EMR_SOAK_ACCOUNTS").ok().and_then(|count| count.parse().ok()).unwrap_or(ACCOUNTS)
}

fn key(account: u64) -> SigningKey {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&account.to_be_bytes());
    SigningKey::from_seed(&seed)
}

struct World {
    engine: Arc<Engine>,
    domain: Domain,
    time: UnixTime,
    _folder: tempfile::TempDir,
}

/// A settled state in which every patient, the honest one first, has a grant for the doctor in slot 64.
fn world(hostile: u64) -> Test<World> {
    let folder = tempfile::tempdir()?;
    let anchor = Anchor { chain_id: 1, contract: String::new(), deployed_at: 0, block_hash: String::new() };
    let mempool = Mempool::open(folder.path(), &anchor)?;
    let instance = RollupInstance { chain_id: 31337, contract: Address::repeat_byte(1) };
    let domain = Domain::new(instance.chain_id, instance.contract.into_array());
    let (sizes, time) = (Arc::new(CircuitSizes::v1()), UnixTime::now());
    let mut ledger = Ledger::genesis(domain, CircuitVersion::V1);
    let patients = || [HONEST].into_iter().chain(DOCTOR + 1..=DOCTOR + hostile);
    for account in [DOCTOR].into_iter().chain(patients()) {
        let role = if account == DOCTOR { Role::Doctor } else { Role::Patient };
        let key = key(account).public();
        let account = AccountIndex::new(account)?;
        ledger
            .consume(&Register { account, role, org: None, key, encryption: Fr::from(account.get()) }.into(), time)?;
    }
    for account in patients() {
        ledger.execute(&sign(domain, time, account, account, 0, grant(FIRST, Version::ZERO)?)?, time)?;
    }
    let settled = Arc::new(ledger);
    let state = NodeState {
        soft: Arc::clone(&settled),
        finality: FinalStates::from(Arc::clone(&settled), 0, u64::MAX),
        settled,
        batches: 1,
        last_time: time,
        last_commitment: Fr::from(0),
        settled_history: Default::default(),
        queues: Default::default(),
        open: OpenOperations::new(&sizes),
        sizes: Arc::clone(&sizes),
        resized: false,
        outstanding: None,
        history: Arc::default(),
        rekeyed: Default::default(),
        pointers: Default::default(),
        hospital: None,
    };
    let blockstore = Arc::new(DiskStore::open(folder.path().join("blocks"))?);
    let signer = PrivateKeySigner::from_bytes(&B256::repeat_byte(7))?;
    let clock = Clock::new(true);
    let quotas = crate::storage::quota::Quotas::DEFAULT;
    let snapshots = Arc::new(Snapshots::in_test(folder.path()));
    let parts = EngineParts { mempool, snapshots, blockstore, clock, instance, sizes, signer, state, quotas };
    let mut engine = Engine::new(parts);
    engine.space = Space::plenty();
    Ok(World { engine: Arc::new(engine), domain, time, _folder: folder })
}

fn sign(domain: Domain, time: UnixTime, signer: u64, patient: u64, salt: u64, action: Action) -> Test<SignedOperation> {
    let operation = Operation {
        signer: AccountIndex::new(signer)?,
        signer_epoch: AccountEpoch::FIRST,
        patient: AccountIndex::new(patient)?,
        patient_epoch: AccountEpoch::FIRST,
        valid_until: time.saturating_add(6 * 24 * 3600 - 3600),
        salt: Fr::from(salt),
        action,
    };
    Ok(operation.sign(domain, &key(signer), None))
}

fn grant(slot: u64, expected: Version) -> Test<Action> {
    let leaf = GrantLeaf {
        grantee: Some(AccountIndex::new(DOCTOR)?),
        rights: Rights::READ,
        scope: Class::Summary.into(),
        not_after: UnixTime::new(UnixTime::MAX)?,
        uses: Uses::ZERO,
        version: expected.next()?,
        salt: Fr::from(9),
    };
    let (directory_before, directory_after) = (DirectoryCommitment::NONE, DirectoryCommitment::NONE);
    Ok(Action::SetGrant(SetGrant { slot: GrantSlot::new(slot)?, expected, leaf, directory_before, directory_after }))
}

fn revoke(slot: u64, expected: u64) -> Test<Action> {
    Ok(Action::Revoke(Revoke {
        slot: GrantSlot::new(slot)?,
        expected: Version::new(expected)?,
        leaf_salt: Fr::from(slot),
        directory_before: DirectoryCommitment::NONE,
        directory_after: DirectoryCommitment::NONE,
    }))
}

fn put(account: u64, slot: u64) -> Test<Action> {
    let leaf = RecordLeaf {
        status: RecordStatus::Live,
        class: Class::Summary,
        author: AccountIndex::new(account)?,
        custodian: None,
        version: Version::new(1)?,
        revision: Revision::new(1)?,
        authored: Fr::from(1),
        stored: Fr::from(2),
    };
    Ok(Action::PutRecord(PutRecord { slot: RecordSlot::new(slot)?, expected: Revision::ZERO, leaf }))
}

fn submission(signed: SignedOperation) -> Submission {
    Submission { signed, stored: None, epoch: None, directory: None }
}

impl World {
    /// Submits an operation, from the step after its blocks were read. Returns the receipt, or the kind of the refusal.
    fn submit(&self, signed: SignedOperation) -> Test<Result<Receipt, RequestErrorKind>> {
        match self.engine.admit(&submission(signed), None) {
            Ok(admission) => self.keep(signed, admission),
            Err(error) => Ok(Err(error.kind)),
        }
    }

    /// The last step of a submission, which the writer does.
    fn keep(&self, signed: SignedOperation, admission: Admission) -> Test<Result<Receipt, RequestErrorKind>> {
        let principal = self.engine.state().principal(signed.operation.signer).ok_or("an account")?;
        let (id, pointer) = (signed.id(self.domain), CheckedPointer::default());
        let kept = self.engine.keep(id, principal, &submission(signed), &pointer, admission);
        Ok(kept.map_err(|error| error.kind).and_then(|receipt| receipt.ok_or(RequestErrorKind::Stale)))
    }

    fn taken(&self, signed: SignedOperation) -> Test<Receipt> {
        self.submit(signed)?.map_err(|kind| format!("refused: {kind:?}").into())
    }

    fn sign(&self, account: u64, salt: u64, action: Action) -> Test<SignedOperation> {
        sign(self.domain, self.time, account, account, salt, action)
    }

    /// An operation of a patient in a later epoch than the first.
    fn sign_in(&self, epoch: u64, account: u64, salt: u64, action: Action) -> Test<SignedOperation> {
        let epoch = AccountEpoch::new(epoch)?;
        let operation = self.sign(account, salt, action)?.operation;
        let operation = Operation { signer_epoch: epoch, patient_epoch: epoch, ..operation };
        Ok(operation.sign(self.domain, &key(account), None))
    }

    /// Whether a Revoke would get a reserved place and a promise now.
    fn has_a_place(&self, revoke: &SignedOperation) -> bool {
        let state = self.engine.state();
        let place = place::find(&state, &revoke.operation, &[]);
        place.is_ok_and(|place| place == Place::Reserved && promise::promise(&state, revoke, place, self.time).is_ok())
    }

    /// A sealed batch as L1 shows it.
    fn on_l1(&self, record: &BatchRecord) -> Test<BatchOnL1> {
        let proven = self.engine.reseal(record)?.with_proof(vec![1; 100]);
        let size = self.engine.sizes.position(proven.size()).ok_or("a size that L1 does not take")?;
        let content = emr_api::settlement::content(&proven, size, record.urgent);
        let batch = SettledBatch { number: record.number, tx_hash: Default::default(), block_number: 5, content };
        Ok(BatchOnL1 { batch, gas_used: None })
    }

    /// Seals one batch of the waiting operations, and settles it.
    fn settle(&self) -> Test {
        let Some(record) = self.engine.seal()? else { return Ok(()) };
        let settled = self.on_l1(&record)?;
        Ok(self.engine.apply_settled(std::slice::from_ref(&settled))?)
    }

    /// The number of batches before the operation's batch, if no other operation comes.
    fn batch_of(&self, signed: &SignedOperation) -> Option<usize> {
        let state = self.engine.state();
        let mut order = BatchOrder::of(&state.open);
        let position = order.position(|(_, open)| open.signed == *signed)?;
        Some(position / CircuitVersion::V1.max_l2)
    }
}
