//! Thousands of free accounts, each doing its worst against one patient who ends a grant: on the real sequencer, ledger and mempool file.
//!
//! `EMR_SOAK_ACCOUNTS` sets how many there are; `cargo xtask soak mempool` runs ten thousand.

use std::{collections::BTreeMap, env, time::Instant};

use alloy::primitives::{Address, B256};
use emr_chain::SettledBatch;
use emr_core::{
    AccountEpoch, AccountIndex, Class, GrantSlot, RecordSlot, RecordStatus, Revision, Rights, Role, UnixTime, Uses,
    Version,
};
use emr_ipfs::DiskStore;
use emr_rollup::{
    l1_operation::Registration,
    operation::{Action, Operation, PutRecord, Revoke, SetGrant, SignedOperation},
    primitive::eddsa::SigningKey,
    state::{
        leaf::{GrantLeaf, RecordLeaf},
        ledger::Ledger,
    },
};

use super::*;
use crate::{
    http::refusal::RefusalKind,
    l1,
    mempool::{Anchor, BatchRecord},
};

type Test<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// How many hostile accounts there are, unless the environment says otherwise.
const ACCOUNTS: u64 = 150;
/// The honest patient's account.
const HONEST: u64 = 1;
/// Whom everybody grants to.
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
    sequencer: Sequencer,
    domain: Domain,
    time: UnixTime,
    _folder: tempfile::TempDir,
}

/// A state in which every account, the honest patient first, has granted the doctor slot 64; all of it settled.
fn world(hostile: u64) -> Test<World> {
    let folder = tempfile::tempdir()?;
    let anchor = Anchor { chain_id: 1, contract: String::new(), deployed_at: 0, block_hash: String::new() };
    let mempool = Mempool::open(folder.path(), &anchor)?;
    let instance = RollupInstance { chain_id: 31337, contract: Address::repeat_byte(1) };
    let domain = Domain::new(instance.chain_id, instance.contract.into_array());
    let (version, time) = (CircuitVersion::V1, UnixTime::now());
    let mut ledger = Ledger::genesis(domain, version);
    let patients = || [HONEST].into_iter().chain(DOCTOR + 1..=DOCTOR + hostile);
    for account in [DOCTOR].into_iter().chain(patients()) {
        let role = if account == DOCTOR { Role::Doctor } else { Role::Patient };
        let key = key(account).public();
        let account = AccountIndex::new(account)?;
        ledger.register(&Registration { account, role, org: None, key, encryption: Fr::from(account.get()) })?;
    }
    for account in patients() {
        ledger.execute(&sign(domain, time, account, account, 0, grant(FIRST, Version::ZERO)?)?, time)?;
    }
    let settled = Arc::new(ledger);
    let state = State {
        soft: Arc::clone(&settled),
        settled,
        batches: 1,
        last_time: time,
        queue_head: 0,
        queue: Default::default(),
        open: Default::default(),
        outstanding: None,
        history: Arc::default(),
        pointers: Arc::default(),
        hospital: None,
    };
    let blockstore = Arc::new(DiskStore::open(folder.path().join("blocks"))?);
    let signer = PrivateKeySigner::from_bytes(&B256::repeat_byte(7))?;
    let clock = Clock::new(true);
    let quotas = crate::storage::quota::Quotas::DEFAULT;
    let sequencer = Sequencer::new(Parts { mempool, blockstore, clock, instance, version, signer, state, quotas });
    Ok(World { sequencer, domain, time, _folder: folder })
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
    let (directory_before, directory_after) = (Fr::zero(), Fr::zero());
    Ok(Action::SetGrant(SetGrant { slot: GrantSlot::new(slot)?, expected, leaf, directory_before, directory_after }))
}

fn revoke(slot: u64, expected: u64) -> Test<Action> {
    Ok(Action::Revoke(Revoke {
        slot: GrantSlot::new(slot)?,
        expected: Version::new(expected)?,
        leaf_salt: Fr::from(slot),
        directory_before: Fr::zero(),
        directory_after: Fr::zero(),
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

impl World {
    /// Hands in, as after the blocks were read. The receipt, or the kind of the refusal.
    fn submit(&self, signed: SignedOperation) -> Test<Result<Receipt, RefusalKind>> {
        let submission = Submission { signed, stored: None, epoch: None, directory: None };
        let directory = match self.sequencer.admit(&submission) {
            Ok(directory) => directory,
            Err(refusal) => return Ok(Err(refusal.kind)),
        };
        let principal = self.sequencer.state().principal(signed.operation.signer).ok_or("an account")?;
        let kept =
            self.sequencer.keep(signed.id(self.domain), principal, &submission, &CheckedPointer::default(), directory);
        Ok(kept.map_err(|refusal| refusal.kind).and_then(|receipt| receipt.ok_or(RefusalKind::Stale)))
    }

    fn taken(&self, signed: SignedOperation) -> Test<Receipt> {
        self.submit(signed)?.map_err(|kind| format!("refused: {kind:?}").into())
    }

    fn sign(&self, account: u64, salt: u64, action: Action) -> Test<SignedOperation> {
        sign(self.domain, self.time, account, account, salt, action)
    }

    /// Whether the honest patient's Revoke would be taken now.
    fn has_a_place(&self) -> Test<bool> {
        let revoke = self.sign(HONEST, 1, revoke(FIRST, 1)?)?;
        let state = self.sequencer.state();
        let place = capacity::place(&state, &revoke.operation);
        let Ok(place) = place else { return Ok(false) };
        Ok(place == Place::Reserved && capacity::promise(&state, &revoke, place, self.time).is_ok())
    }

    /// A sealed batch as L1 shows it.
    fn on_l1(&self, record: &BatchRecord) -> Test<OnL1> {
        let proven = self.sequencer.reopen(record)?.with_proof(vec![1; 100]);
        let content = l1::settle::content(&proven);
        let batch = SettledBatch { number: record.number, tx_hash: Default::default(), block_number: 5, content };
        Ok(OnL1 { batch, gas_used: None })
    }

    /// Seals a batch of what waits, and settles it.
    fn settle(&self) -> Test {
        let Some(record) = self.sequencer.seal()? else { return Ok(()) };
        let settled = self.on_l1(&record)?;
        Ok(self.sequencer.take_over(std::slice::from_ref(&settled))?)
    }

    /// In which of the coming batches an operation goes, if nothing else comes.
    fn batch_of(&self, signed: &SignedOperation) -> Option<usize> {
        let state = self.sequencer.state();
        let order = order::Queue::of(&state.open).in_order(order::share(&CircuitVersion::V1));
        let position = order.iter().position(|(_, open)| open.signed == *signed)?;
        Some(position / CircuitVersion::V1.max_l2)
    }
}

#[test]
fn a_revoke_has_a_place_at_every_moment_whatever_thousands_do() -> Test {
    let hostile = hostile_accounts();
    let world = world(hostile)?;
    let (mut ordinary, mut reserved) = (0_u64, 0_u64);
    for account in DOCTOR + 1..=DOCTOR + hostile {
        // Records as many as are taken, then Revokes of slots that hold nothing, of the grant, and of the grant again.
        let mut taken = 0;
        for number in 0..40 {
            let record = self::put(account, number)?;
            match world.submit(world.sign(account, 100 + number, record)?)? {
                Ok(_) => taken += 1,
                Err(kind) => {
                    assert_eq!(kind, RefusalKind::Unavailable);
                    break;
                }
            }
        }
        for slot in FIRST + 1..FIRST + 20 {
            match world.submit(world.sign(account, 200 + slot, revoke(slot, 0)?)?)? {
                Ok(_) => taken += 1,
                Err(kind) => {
                    assert_eq!(kind, RefusalKind::Unavailable);
                    break;
                }
            }
        }
        ordinary += taken;
        for again in 0..3 {
            // The later ones name more, which is what a Revoke that takes the older one's place must do.
            match world.submit(world.sign(account, 300 + again, revoke(FIRST, 1 + again)?)?)? {
                Ok(_) => reserved += u64::from(again == 0),
                Err(kind) => {
                    assert!(again > 0 && matches!(kind, RefusalKind::Unavailable | RefusalKind::Stale), "{kind:?}")
                }
            }
        }
        if account % 16 == 0 || account < 100 {
            assert!(world.has_a_place()?, "after {account} accounts");
        }
    }
    let (open, full) = {
        let state = world.sequencer.state();
        (state.open.len() as u64, state.open.values().filter(|open| open.turn.is_none()).count())
    };
    println!("{hostile} accounts: {ordinary} ordinary, {reserved} reserved, {open} open, {full} counted");
    assert_eq!(reserved, hostile, "each has one place for its one grant");
    assert!(open <= ordinary + reserved, "no account has two places for one grant");
    assert_eq!(full, 2400, "half of each batch for five hours");
    assert_eq!(world.submit(world.sign(HONEST, 2, put(HONEST, 0)?)?)?, Err(RefusalKind::Unavailable));

    let honest = world.sign(HONEST, 1, revoke(FIRST, 1)?)?;
    let receipt = world.taken(honest)?;
    let batch = world.batch_of(&honest).ok_or("it waits")?;
    let promised = receipt.settle_by.get() - receipt.acknowledged.get();
    println!("the honest Revoke: batch {batch}, promised within {promised} s");
    assert!(batch <= hostile as usize / 16 + 1, "turns go round");
    assert!(promised >= 120 * (batch as u64 + 1), "the promise counts what goes first");
    // At this node it counts at once.
    let state = world.sequencer.state();
    let grant = state.settled.patient(AccountIndex::new(HONEST)?).and_then(|leaves| leaves.grants.values().next());
    let left = state.history.left_of(AccountIndex::new(HONEST)?, GrantSlot::new(FIRST)?, grant.ok_or("granted")?);
    assert_eq!(left, None);
    Ok(())
}

/// A patient who ends hundreds of grants holds nobody up, and who was served last comes last.
#[test]
fn one_patient_with_many_grants_does_not_delay_another() -> Test {
    let world = world(2)?;
    let busy = DOCTOR + 1;
    for slot in FIRST + 1..FIRST + 200 {
        world.taken(world.sign(busy, slot, grant(slot, Version::ZERO)?)?)?;
    }
    for slot in FIRST + 1..FIRST + 200 {
        world.taken(world.sign(busy, 1000 + slot, revoke(slot, 1)?)?)?;
    }
    let honest = world.sign(HONEST, 1, revoke(FIRST, 1)?)?;
    world.taken(honest)?;
    assert_eq!(world.batch_of(&honest), Some(0));
    Ok(())
}

/// When a newer Revoke takes an older one's place, and what becomes of the older one.
#[test]
fn a_newer_revoke_takes_the_older_ones_place_or_waits_its_turn() -> Test {
    let world = world(1)?;
    let id = |signed: &SignedOperation| signed.id(world.domain);
    let older = world.sign(HONEST, 1, revoke(FIRST, 2)?)?;
    world.taken(older)?;
    // It ends less, or lapses earlier: no place of the older one, and the state has moved on.
    assert!(world.submit(world.sign(HONEST, 2, revoke(FIRST, 1)?)?)?.is_err());
    let shorter = Operation { valid_until: world.time.saturating_add(60), salt: Fr::from(3), ..older.operation };
    assert!(world.submit(shorter.sign(world.domain, &key(HONEST), None))?.is_err());
    // A forgery does not even cost a rebuilding of the state.
    let forged = Operation { salt: Fr::from(4), ..older.operation }.sign(world.domain, &key(DOCTOR), None);
    assert_eq!(world.submit(forged)?, Err(RefusalKind::Refused));

    let newer = world.sign(HONEST, 5, revoke(FIRST, 2)?)?;
    world.taken(newer)?;
    let fate = world.sequencer.mempool.operation(&id(&older))?.ok_or("kept")?.status;
    assert_eq!(fate, OperationStatus::Replaced { by: hex::encode(id(&newer)) });
    assert_eq!(world.submit(older)?, Err(RefusalKind::Refused), "it does not come back");
    assert_eq!(world.sequencer.state().open.len(), 1);
    assert!(world.sequencer.state().soft.patient(AccountIndex::new(HONEST)?).is_some());
    // The state is what it would be if the older one had never come.
    let mut expected = Ledger::clone(&world.sequencer.state().settled);
    let acknowledged = world.sequencer.mempool.operation(&id(&newer))?.ok_or("kept")?.acknowledged;
    expected.execute(&newer, acknowledged).map_err(|violation| violation.to_string())?;
    assert_eq!(world.sequencer.state().soft.trees().root(), expected.trees().root());

    // Not more often than a few times a batch: each costs a row of the file.
    let mut last = newer;
    for salt in 10..13 {
        last = world.sign(HONEST, salt, revoke(FIRST, 2)?)?;
        world.taken(last)?;
    }
    assert!(world.submit(world.sign(HONEST, 20, revoke(FIRST, 2)?)?)?.is_err());
    // Once something was built on its directory, or it is sealed, it stays.
    world.taken(world.sign(HONEST, 7, put(HONEST, 0)?)?)?;
    let sealed = world.sequencer.seal()?.ok_or("sealed")?;
    assert_eq!(sealed.operations.len(), 2);
    assert!(world.submit(world.sign(HONEST, 9, revoke(FIRST, 2)?)?)?.is_err());
    let kept = world.sequencer.mempool.operation(&id(&last))?.ok_or("kept")?.status;
    assert_eq!(kept, OperationStatus::Sealed { batch: 2 });
    Ok(())
}

/// A grant that is given again after its Revoke, both still waiting, is ended at once: it has a place of its own.
#[test]
fn a_grant_that_waits_behind_a_revoke_can_be_ended() -> Test {
    let world = world(1)?;
    world.taken(world.sign(HONEST, 1, revoke(FIRST, 1)?)?)?;
    world.taken(world.sign(HONEST, 2, grant(FIRST, Version::new(2)?)?)?)?;
    let again = world.sign(HONEST, 3, revoke(FIRST, 3)?)?;
    assert_eq!(capacity::place(&world.sequencer.state(), &again.operation).ok(), Some(Place::Reserved));
    world.taken(again)?;
    // What somebody else does under a grant does not keep the patient from naming more.
    Ok(())
}

/// While L1 shows what cannot be followed readers are served, so a Revoke is taken, and ends that.
#[test]
fn a_halted_node_takes_revokes() -> Test {
    let world = world(1)?;
    world.sequencer.halt_on(&FollowError::QueueEntry(7));
    assert_eq!(world.submit(world.sign(HONEST, 1, put(HONEST, 0)?)?)?, Err(RefusalKind::Unavailable));
    world.taken(world.sign(HONEST, 2, revoke(FIRST, 1)?)?)?;
    Ok(())
}

/// A batch is given up while it is in flight, a Revoke in it is replaced, and then L1 settles the batch after all. What is in it is no
/// longer open, so the state is derived again from all that was ever acknowledged.
#[test]
fn a_batch_that_was_given_up_may_be_settled_after_all() -> Test {
    let world = world(1)?;
    let older = world.sign(HONEST, 1, revoke(FIRST, 1)?)?;
    world.taken(older)?;
    let record = world.sequencer.seal()?.ok_or("sealed")?;
    let in_flight = world.on_l1(&record)?;
    world.sequencer.unseal(record.number)?;
    world.taken(world.sign(HONEST, 2, revoke(FIRST, 1)?)?)?;
    let taken = world.sequencer.take_over(std::slice::from_ref(&in_flight));
    assert!(matches!(taken, Err(DeriveError::UnknownOperations(_))), "{taken:?}");
    Ok(())
}

/// Accounts that do their worst round after round: Revokes of nothing, new grants, and their ends. Whenever the honest Revoke comes, it is
/// settled within what its receipt promises, and so is each of theirs.
#[test]
fn every_promise_of_a_revoke_is_kept_whatever_comes_after() -> Test {
    const HOSTILE: u64 = 20;
    const ROUNDS: u64 = 8;
    let world = world(HOSTILE)?;
    let hostile = DOCTOR + 1..=DOCTOR + HOSTILE;
    // The honest patient has revoked before, so nothing is owed to a first time.
    let mut versions: BTreeMap<u64, u64> = hostile.clone().chain([HONEST]).map(|account| (account, 1)).collect();
    let mut salt = 0;
    let mut promised: Vec<(SignedOperation, u64, u64)> = Vec::new();
    let mut act = |world: &World, account: u64, action: Action, batch: u64| -> Test<bool> {
        salt += 1;
        let signed = world.sign(account, salt, action)?;
        let Ok(receipt) = world.submit(signed)? else { return Ok(false) };
        if let Action::Revoke(revoke) = action
            && revoke.slot.get() == FIRST
        {
            promised.push((signed, batch, receipt.settle_by.get() - receipt.acknowledged.get()));
        }
        Ok(true)
    };
    for batch in 0..ROUNDS {
        for account in hostile.clone() {
            for slot in 1..4 {
                act(&world, account, revoke(FIRST + slot + 4 * batch, 0)?, batch)?;
            }
            let version = versions.get_mut(&account).ok_or("known")?;
            if act(&world, account, revoke(FIRST, *version)?, batch)?
                && act(&world, account, grant(FIRST, Version::new(*version + 1)?)?, batch)?
            {
                *version += 2;
            }
        }
        let version = versions[&HONEST];
        if batch % 4 == 1 && act(&world, HONEST, revoke(FIRST, version)?, batch)? {
            act(&world, HONEST, grant(FIRST, Version::new(version + 1)?)?, batch)?;
            versions.insert(HONEST, version + 2);
        }
        world.settle()?;
    }
    let mut late = ROUNDS;
    while world.sequencer.state().open.values().any(|open| open.turn.is_some()) && late < 200 {
        world.settle()?;
        late += 1;
    }
    assert!(promised.len() > 60, "{}", promised.len());
    for (signed, at, seconds) in promised {
        let status = world.sequencer.mempool.operation(&signed.id(world.domain))?.ok_or("kept")?.status;
        let batch = match status {
            OperationStatus::Settled { batch } => batch,
            // By a newer one of the same account, whose promise counts.
            OperationStatus::Replaced { .. } if signed.operation.signer.get() != HONEST => continue,
            other => return Err(format!("{other:?}").into()),
        };
        // The first batch of the world is 2; a batch takes at most two minutes.
        let took = (batch - 1 - at) * capacity::BATCH_SECONDS;
        assert!(
            took + capacity::MARGIN / 2 <= seconds,
            "account {}: {took} s, promised {seconds}",
            signed.operation.signer
        );
        if signed.operation.signer.get() == HONEST {
            assert!(batch - 1 - at <= 5, "the honest Revoke of round {at} went into batch {batch}");
        }
    }
    Ok(())
}

/// What waits for its registration is promised after all the registrations before it, or not at all.
#[test]
fn a_promise_counts_the_registrations_that_go_first() -> Test {
    let world = world(1)?;
    let own = world.sign(HONEST, 1, put(HONEST, 0)?)?;
    let of_new = |account: u64| world.sign(account, 1, put(account, 0)?);
    let mut state = world.sequencer.state().clone();
    for account in 100..2100 {
        let registration = Registration {
            account: AccountIndex::new(account)?,
            role: Role::Patient,
            org: None,
            key: key(7).public(),
            encryption: Fr::from(account),
        };
        state.queue.push_back(crate::state::Queued { registration, seen: Instant::now() });
    }
    let within = |signed: &SignedOperation| {
        let promise = capacity::promise(&state, signed, Place::Ordinary, world.time);
        promise.map(|promise| promise.settle_by.get() - world.time.get())
    };
    // Those whose accounts are settled are not held up by registrations: they have places of their own.
    let soon = within(&own)?;
    assert_eq!(within(&of_new(107)?)?, soon + 120, "in the first eight");
    assert_eq!(within(&of_new(108)?)?, soon + 2 * 120);
    let refused = within(&of_new(2099)?).map_err(|refusal| refusal.kind);
    assert_eq!(refused, Err(RefusalKind::Unavailable), "250 batches are more than five hours");
    Ok(())
}
