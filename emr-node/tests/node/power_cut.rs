//! The mempool file on a disk that loses what was not synced.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
};

use alloy::primitives::{Address, B256};
use emr_api::OperationStatus;
use emr_core::{Cid, Class, Codec, RecordSlot, Revision, UnixTime, cid::cid_of};
use emr_durable::crash::{ALL, Harm, Journal, Survivors, no_sync};
use emr_node::mempool::{
    Acknowledged, BatchRecord, BatchStage, BlockReference, Charge, DerivedChanges, InvitationUse, KeptProof,
    KnownProver, Mempool, MempoolError, OnChain, Pointer, Principal, Referenced, Staging, Upload, Usage,
};
use emr_rollup::{batch::PublicInputs, primitive::field::Fr};
use proptest::prelude::*;

use crate::{
    mempool::{acknowledged, anchor, domain},
    stage::Outcome,
};

/// When an upload is repeated, and how far a wrong clock is ahead, in seconds.
const RENEWED: u64 = 7200;
const AHEAD: u64 = 1_000_000;

/// Two folders deep, so that the test includes the folder above the node's.
const FOLDER: &str = "data/node";

fn time() -> Outcome<UnixTime> {
    Ok(UnixTime::new(1_800_000_000)?)
}

fn principal() -> Outcome<Principal> {
    Ok(Principal { account: 1.try_into()?, identity: [1; 32] })
}

fn block(number: u64) -> Cid {
    cid_of(Codec::Raw, &number.to_be_bytes())
}

fn invitation() -> InvitationUse {
    let (inviter, owner) = (Address::repeat_byte(1), Address::repeat_byte(2));
    InvitationUse { inviter, signer: inviter, nonce: [3; 16], expires: UnixTime::ZERO, owner, quota: Some(5) }
}

fn batch(number: u64, operations: &[u64], stage: BatchStage) -> Outcome<BatchRecord> {
    let (zero, root) = (Fr::from(0), emr_core::StateRoot::from_bytes([0; 32])?);
    let public = PublicInputs {
        domain: domain(),
        pre: root,
        post: root,
        time: time()?.get(),
        n1: 0,
        n: operations.len() as u64,
        commitment: zero,
        z: zero,
        y1: zero,
        y2: zero,
    };
    Ok(BatchRecord { number, time: time()?, public, operations: operations.to_vec(), urgent: 0, stage })
}

/// What the settlement of a batch changes.
fn settled(record: BatchRecord) -> DerivedChanges {
    let status = OperationStatus::Settled { batch: record.number };
    let statuses = record.operations.iter().map(|sequence| (*sequence, status.clone())).collect();
    DerivedChanges { records: vec![record], statuses, ..DerivedChanges::default() }
}

/// The text of everything that a node reads from the file.
fn contents(mempool: &Mempool) -> Outcome<String> {
    let batches: BTreeMap<u64, _> =
        (1..9).filter_map(|number| Some((number, mempool.batch(number).transpose()?))).collect();
    let batches: Vec<_> = batches.into_values().collect::<Result<_, _>>()?;
    let references: Vec<_> = (0..20).map(|number| mempool.references(&block(number))).collect::<Result<_, _>>()?;
    let (operations, pointers, hospital) = (mempool.operations()?, mempool.pointers()?, mempool.hospital()?);
    let invitations = (mempool.inviters(time()?)?, mempool.invited(&invitation(), time()?)?);
    let provers = mempool.provers()?;
    let blocks = block_tables(mempool)?;
    Ok(format!(
        "{operations:?} {pointers:?} {hospital:?} {batches:?} {references:?} {invitations:?} {provers:?} {blocks}"
    ))
}

/// The text of what the file holds about blocks.
fn block_tables(mempool: &Mempool) -> Outcome<String> {
    let of = principal()?;
    let (holdings, doomed) = (mempool.holdings(0, 100)?, mempool.doomed(None, 100)?);
    let noted: Vec<_> = (0..20).map(|number| mempool.uploaded(&block(number), &of)).collect::<Result<_, _>>()?;
    let (used, twice) = (mempool.used(&of)?, mempool.stored_twice(&of)?);
    let (staged, by_all) = (mempool.staged(&of)?, mempool.staged_by_all()?);
    // The dates of the notes: those that are older than a time. Each is in use, so none lapses.
    let mut dated = Vec::new();
    for after in [1, RENEWED + 1, AHEAD + 1] {
        let older = Mutex::new(Vec::new());
        mempool.lapse(time()?.saturating_add(after), 100, |cid| {
            older.lock().expect("no panic").push(*cid);
            true
        })?;
        dated.push(older.into_inner()?);
    }
    Ok(format!("{holdings:?} {doomed:?} {noted:?} {used:?} {twice:?} {staged:?} {by_all:?} {dated:?}"))
}

/// A mempool, and its contents after each call.
struct Scene {
    journal: Arc<Journal>,
    mempool: Option<Mempool>,
    /// The steps at which calls returned, and the contents of the file then.
    held: Vec<(usize, String)>,
}

impl Scene {
    fn new() -> Outcome<Self> {
        let mut scene = Self { journal: Journal::new()?, mempool: None, held: Vec::new() };
        scene.open("open")?;
        Ok(scene)
    }

    fn open(&mut self, operation: &'static str) -> Outcome {
        self.journal.begin(operation);
        let folder = self.journal.root().join(FOLDER);
        self.mempool = Some(Mempool::open_on(self.journal.disk(), &folder, &anchor())?);
        self.returned()
    }

    fn returned(&mut self) -> Outcome {
        let contents = contents(self.mempool.as_ref().ok_or("closed")?)?;
        self.held.push((self.journal.steps(), contents));
        Ok(())
    }

    /// Kills the process this number of steps ago. redb cannot close its file.
    fn killed(&mut self, ago: usize) -> Outcome {
        let steps = self.journal.steps() - ago;
        let killed = self.journal.killed_after(steps)?;
        self.mempool = None;
        self.journal = killed;
        self.held.retain(|(returned, _)| *returned <= steps);
        self.open("open again")
    }

    fn call<T>(
        &mut self,
        operation: &'static str,
        call: impl FnOnce(&Mempool) -> Result<T, MempoolError>,
    ) -> Outcome<T> {
        self.journal.begin(operation);
        let done = call(self.mempool.as_ref().ok_or("closed")?)?;
        self.returned()?;
        Ok(done)
    }

    fn acknowledge(&mut self, number: u64) -> Outcome {
        let (kept, patient) = (acknowledged(number)?, principal()?);
        let part_of = BlockReference::Record { patient, slot: RecordSlot::new(0)?, class: Class::Summary };
        // Each third one counts as a Rekey of the record that the others wrote.
        let revision = Revision::new(2)?;
        let charge = match number % 3 {
            2 => Charge::Rekeyed { author: patient, revision },
            _ => Charge::Author(patient),
        };
        let blocks = Referenced { part_of: Some(part_of), charge, cids: vec![block(number)] };
        let pointer = ([number as u8; 32], Pointer::Directory(block(number)));
        self.upload("upload", number, 0)?;
        self.call("acknowledge", |mempool| {
            mempool.acknowledge(kept.signed.id(domain()), &kept, Some(&pointer), &blocks, &[]).map(drop)
        })
    }

    /// Notes an upload, this many seconds late.
    fn upload(&mut self, operation: &'static str, number: u64, late: u64) -> Outcome {
        let room = Usage { bytes: 1 << 20, blocks: 100 };
        let free = Usage { bytes: 1 << 30, blocks: 1000 };
        let staging = Staging { each: room, all: room, directories: room, free };
        let (uploader, at, is_directory) = (principal()?, time()?.saturating_add(late), number.is_multiple_of(2));
        let upload = Upload { cid: block(number), uploader, size: 8, at, is_directory, staging };
        self.call(operation, |mempool| mempool.note_uploads(&[upload]).map(drop))
    }

    /// Checks that the file opens, and that its contents are those after the last call that returned, or after the call
    /// that was interrupted.
    fn check(&self, steps: usize, image: &Path) -> Outcome {
        let mempool = Mempool::open(&image.join(FOLDER), &anchor())?;
        let found = contents(&mempool)?;
        let last = self.held.iter().rposition(|(returned, _)| *returned <= steps);
        let allowed = &self.held[last.unwrap_or(0)..(last.map_or(0, |last| last + 1) + 1).min(self.held.len())];
        if allowed.iter().any(|(_, contents)| *contents == found) {
            Ok(())
        } else {
            Err(format!("it holds {found}").into())
        }
    }

    fn survives(&self) -> Outcome {
        Ok(self.journal.check(&ALL, no_sync, |steps, image| self.check(steps, image))?)
    }

    /// The same check, without any sync of bytes in one kind of call.
    fn survives_without(&self, operation: &str) -> Result<(), Harm> {
        let ways = [Survivors::Nothing, Survivors::Some(1)];
        let left_out = |sync: &emr_durable::crash::Sync| sync.operation() == operation && !sync.is_of_folder();
        self.journal.check(&ways, left_out, |steps, image| self.check(steps, image))
    }
}

/// Every call in the life of a batch.
fn life() -> Outcome<Scene> {
    let mut scene = Scene::new()?;
    for number in 0..3 {
        scene.acknowledge(number)?;
    }
    let hospital = principal()?;
    let changes = DerivedChanges { hospital: Some(hospital), ..DerivedChanges::default() };
    scene.call("hospital", |mempool| mempool.apply_derived(&changes))?;
    let sealed = batch(1, &[0, 1], BatchStage::Sealed)?;
    scene.call("seal", |mempool| mempool.seal(Some(&sealed), &[(2, "it does not execute".to_owned())]))?;
    scene.call("unseal", |mempool| mempool.unseal(1))?;
    scene.call("seal", |mempool| mempool.seal(Some(&sealed), &[]))?;
    let proof = KeptProof { bytes: vec![7; 3000], seconds: None };
    let proven = batch(1, &[0, 1], BatchStage::Proven(proof.clone()))?;
    scene.call("proven", |mempool| mempool.advance(&proven))?;
    let sent = batch(1, &[0, 1], BatchStage::Sent(proof))?;
    scene.call("sent", |mempool| mempool.advance(&sent))?;
    let on_chain = OnChain { tx_hash: B256::ZERO, gas_used: None, proof_bytes: 3000, prove_seconds: None };
    let record = batch(1, &[0, 1], BatchStage::Settled(on_chain))?;
    let changes = settled(record);
    scene.call("settle", |mempool| mempool.apply_derived(&changes))?;
    // The Rekey does not store anything twice any more.
    let twice = |scene: &Scene| -> Outcome<BTreeMap<Principal, Usage>> {
        Ok(scene.mempool.as_ref().ok_or("closed")?.stored_twice(&hospital)?)
    };
    assert_eq!(twice(&scene)?.len(), 1);
    scene.call("release", |mempool| mempool.release(0, 100).map(drop))?;
    assert!(twice(&scene)?.is_empty());
    let statuses = [0, 1].map(|sequence| (sequence, OperationStatus::Pending)).into();
    let changes = DerivedChanges { remove_after: Some(0), statuses, ..DerivedChanges::default() };
    scene.call("rewind", |mempool| mempool.apply_derived(&changes))?;
    let asked = invitation();
    let now = time()?;
    scene.call("invitation", |mempool| mempool.use_invitation(&asked, now).map(drop))?;
    scene.call("end-inviter", |mempool| mempool.end_inviter(asked.inviter, now).map(drop))?;
    scene.call("allow-inviter", |mempool| mempool.allow_inviter(asked.inviter).map(drop))?;
    let prover = KnownProver { digest: [4; 32], added: now };
    scene.call("add-prover", |mempool| mempool.add_prover("a", &prover).map(drop))?;
    scene.call("remove-prover", |mempool| mempool.remove_prover("a").map(drop))?;
    sweep(&mut scene)?;
    Ok(scene)
}

/// Every call of the sweep.
fn sweep(scene: &mut Scene) -> Outcome {
    let now = time()?;
    scene.call("mark", |mempool| mempool.mark_unneeded(&[(1, Some(now))]))?;
    // Another call comes between, because the two marks together change nothing.
    scene.upload("upload-again", 15, 0)?;
    scene.call("mark-needed", |mempool| mempool.mark_unneeded(&[(1, None)]))?;
    scene.call("release", |mempool| mempool.release(1, 10).map(drop))?;
    scene.call("removed", |mempool| mempool.removed(&[block(1)]))?;
    scene.upload("renew", 15, RENEWED)?;
    scene.upload("upload-ahead", 16, AHEAD)?;
    scene.call("redate", |mempool| mempool.redate(now.saturating_add(RENEWED), now, 10).map(drop))?;
    scene.call("lapse", |mempool| mempool.lapse(now.saturating_add(1), 10, |_| false).map(drop))
}

#[test]
fn what_was_acknowledged_is_there_after_any_crash() -> Outcome {
    life()?.survives()
}

/// When a call returns, its change is durable. redb does the syncs. If all syncs of one kind of call are left out, some
/// crash loses data.
#[test]
fn no_call_goes_without_its_syncs() -> Outcome {
    let scene = life()?;
    let of_batches =
        ["open", "upload", "acknowledge", "hospital", "seal", "unseal", "proven", "sent", "settle", "rewind"];
    let of_people = ["invitation", "end-inviter", "allow-inviter", "add-prover", "remove-prover"];
    let of_blocks = ["mark", "mark-needed", "release", "removed", "renew", "redate", "lapse"];
    for call in of_batches.into_iter().chain(of_people).chain(of_blocks) {
        assert!(scene.survives_without(call).is_err(), "{call}");
    }
    Ok(())
}

/// redb does not sync the folders above its file, so `emr-durable` does. Without these syncs a crash can lose the whole
/// file.
#[test]
fn the_file_has_a_durable_name() -> Outcome {
    let mut scene = Scene::new()?;
    scene.acknowledge(0)?;
    let folders: Vec<_> = scene.journal.syncs().into_iter().filter(|sync| sync.is_of_folder()).collect();
    let names: Vec<_> = folders.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["open: folder .", "open: folder data", "open: folder data/node"]);
    for sync in folders {
        let harm = scene.journal.check(&ALL, |it| *it == sync, |steps, image| scene.check(steps, image));
        assert!(harm.is_err(), "{sync} is not needed");
    }
    Ok(())
}

/// Does one step of a random history that fits the contents of the file.
fn do_something(scene: &mut Scene, choice: u8, next: &mut u64) -> Outcome {
    let mempool = scene.mempool.as_ref().ok_or("closed")?;
    let operations = mempool.operations()?;
    let is_pending = |(_, kept): &(&u64, &Acknowledged)| kept.status == OperationStatus::Pending;
    let pending: Vec<u64> = operations.iter().filter(is_pending).map(|(sequence, _)| *sequence).collect();
    let on_l1 = (1..9)
        .take_while(|number| matches!(mempool.batch(*number), Ok(Some(record)) if record.stage.on_chain().is_some()));
    let number = on_l1.count() as u64 + 1;
    let proof = KeptProof { bytes: vec![choice; 2000], seconds: None };
    let (now, held) = (time()?, mempool.holdings(0, 1)?.first().map_or(0, |first| first.sequence));
    match (choice, mempool.outstanding()?) {
        (10, _) => scene.call("mark", |mempool| mempool.mark_unneeded(&[(held, Some(now))])),
        (11, _) => scene.call("release", |mempool| mempool.release(held, 10).map(drop)),
        (12, _) => {
            *next += 1;
            scene.upload("upload", *next, AHEAD)?;
            scene.call("redate", |mempool| mempool.redate(now.saturating_add(RENEWED), now, 10).map(drop))
        }
        (13, _) => scene.call("lapse", |mempool| mempool.lapse(now.saturating_add(1), 10, |_| false).map(drop)),
        (0..4, _) | (_, None) if pending.is_empty() || choice < 4 => {
            *next += 1;
            scene.acknowledge(*next)
        }
        (_, None) => {
            let (first, rest) = pending.split_first().ok_or("nothing waits")?;
            let returned: Vec<_> = rest.iter().map(|sequence| (*sequence, "too late".to_owned())).collect();
            let sealed = batch(number, &[*first], BatchStage::Sealed)?;
            scene.call("seal", |mempool| mempool.seal(Some(&sealed), &returned))
        }
        (4, Some(record)) if record.stage == BatchStage::Sealed => {
            scene.call("unseal", |mempool| mempool.unseal(record.number))
        }
        (_, Some(record)) => {
            let stage = match &record.stage {
                BatchStage::Sealed => BatchStage::Proven(proof),
                BatchStage::Proven(proof) => BatchStage::Sent(proof.clone()),
                BatchStage::Sent(_) | BatchStage::Settled(_) => {
                    let tx_hash = B256::ZERO;
                    BatchStage::Settled(OnChain { tx_hash, gas_used: None, proof_bytes: 1, prove_seconds: None })
                }
            };
            let record = BatchRecord { stage, ..record };
            match record.stage {
                BatchStage::Settled(_) => {
                    let changes = settled(record);
                    scene.call("settle", |mempool| mempool.apply_derived(&changes))
                }
                _ => scene.call("advance", |mempool| mempool.advance(&record)),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, max_shrink_iters: 20, ..ProptestConfig::default() })]

    /// The process is killed now and then, and the power is cut after each step.
    #[test]
    fn random_histories_lose_nothing(choices in proptest::collection::vec((0_u8..14, 0_usize..20), 14)) {
        let history = || -> Outcome {
            let mut scene = Scene::new()?;
            let mut next = 0;
            for (choice, ago) in choices {
                match choice {
                    9 => scene.killed(ago)?,
                    choice => do_something(&mut scene, choice, &mut next)?,
                }
            }
            scene.survives()
        };
        history().map_err(|error| TestCaseError::fail(error.to_string()))?;
    }
}

/// The process dies at any step of any call, the next process continues, and then the power is cut.
#[test]
fn kill_and_power_cut_together_lose_nothing() -> Outcome {
    for ago in [1, 2, 5, 9, 14] {
        let mut scene = Scene::new()?;
        scene.acknowledge(0)?;
        scene.acknowledge(1)?;
        scene.killed(ago)?;
        scene.acknowledge(7)?;
        scene.survives()?;
    }
    Ok(())
}
