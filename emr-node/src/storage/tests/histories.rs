//! Compares random histories with a model. Needed blocks are there after every sweep, and all other blocks are removed in the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    time::{Duration, Instant},
};

use emr_api::OperationStatus;
use emr_core::{RecordStatus, UnixTime};
use emr_ipfs::Cid;
use emr_rollup::operation::DirectoryCommitment;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::scene::*;
use crate::{
    request_error::RequestErrorKind,
    storage::{
        quota::Quotas,
        sweep::{GRACE, RETURNED},
    },
};

/// What an operation stored: slot, version and revision of the record, and whether it is a Rekey.
#[derive(Clone, Copy)]
struct Stored {
    slot: u64,
    version: u64,
    revision: u64,
    is_rekey: bool,
}

/// What the model knows about an acknowledged operation.
struct Holds {
    /// `None` for a key directory.
    record: Option<Stored>,
    cids: Vec<Cid>,
    returned: Option<UnixTime>,
    /// Since when a settled Rekey of the same version has replaced it.
    replaced: Option<UnixTime>,
}

impl Holds {
    fn is_of(&self, slot: u64) -> bool {
        self.record.is_some_and(|stored| stored.slot == slot)
    }
}

struct Model {
    scene: Scene,
    random: StdRng,
    operations: BTreeMap<u64, Holds>,
    /// Blocks that were uploaded and that no operation has referred to since, with the time of the last upload.
    uploads: BTreeMap<Cid, UnixTime>,
}

impl Model {
    async fn new(seed: u64) -> Outcome<Self> {
        let scene = Scene::new(Quotas::DEFAULT).await?;
        Ok(Self { scene, random: StdRng::seed_from_u64(seed), operations: BTreeMap::new(), uploads: BTreeMap::new() })
    }

    fn newest(&self) -> Option<u64> {
        self.scene.engine.state().open.iter().next_back().map(|(sequence, _)| sequence)
    }

    fn holds(&mut self, record: Option<(u64, bool)>, cids: Vec<Cid>) {
        for cid in &cids {
            self.uploads.remove(cid);
        }
        let stored = |(slot, is_rekey)| {
            let leaf = self.scene.record(slot).expect("it was just written");
            Stored { slot, version: leaf.version.get(), revision: leaf.revision.get(), is_rekey }
        };
        let record = record.map(stored);
        if let Some(sequence) = self.newest() {
            self.operations.insert(sequence, Holds { record, cids, returned: None, replaced: None });
        }
    }

    /// A block of what was stored last in a slot.
    fn earlier_block(&self, slot: u64) -> Option<Cid> {
        let mut earlier = self.operations.values().filter(|holds| holds.is_of(slot) && holds.returned.is_none());
        earlier.next_back().and_then(|holds| holds.cids.last()).copied()
    }

    /// Notes what became of the operations: sealing and reorganisations return some, and Rekeys replace some.
    fn note_statuses(&mut self) -> Outcome {
        let mut rekeyed = BTreeMap::new();
        for (sequence, holds) in &mut self.operations {
            let kept = self.scene.engine.mempool.acknowledged(*sequence)?.ok_or("it was acknowledged")?;
            match (kept.status, holds.record) {
                (OperationStatus::Returned { .. }, _) => drop(holds.returned.get_or_insert(self.scene.now)),
                (OperationStatus::Settled { .. }, Some(Stored { slot, version, revision, is_rekey: true })) => {
                    let newest = rekeyed.entry((slot, version)).or_insert(revision);
                    *newest = revision.max(*newest);
                }
                _ => {}
            }
        }
        for holds in self.operations.values_mut() {
            let is_replaced = holds.record.is_some_and(|stored| {
                rekeyed.get(&(stored.slot, stored.version)).is_some_and(|newest| stored.revision < *newest)
            });
            holds.replaced = is_replaced.then(|| holds.replaced.unwrap_or(self.scene.now));
        }
        Ok(())
    }

    /// Ends the first doctor's grant, or gives it back.
    async fn change_directory(&mut self) -> Outcome {
        let changed = match self.scene.revoke(64).await {
            Ok(directory) => Ok(directory),
            Err(_) => self.scene.grant(64, DOCTORS[0]).await,
        };
        let blocks = self.scene.directory_blocks(&changed?);
        self.holds(None, blocks);
        Ok(())
    }

    async fn step(&mut self) -> Outcome {
        let slot = self.random.random_range(0..3);
        let who = [PATIENT, DOCTORS[0], DOCTORS[1]][self.random.random_range(0..3)];
        match self.random.random_range(0..19) {
            0..=1 => {
                let now = self.scene.now;
                self.uploads.extend(self.scene.upload(who, 2, 100).await?.into_iter().map(|cid| (cid, now)));
            }
            2..=5 => {
                let mut parts = self.scene.upload(who, 2, 100).await?;
                // A later version uses a block of an earlier version again.
                parts.extend(self.earlier_block(slot));
                let now = self.scene.now;
                self.uploads.extend(parts[..2].iter().map(|cid| (*cid, now)));
                match self.scene.write(who, slot, &parts).await {
                    Ok((_, cids)) => self.holds(Some((slot, false)), cids),
                    // The record is deleted, the grant has ended, or a block of an earlier version is gone.
                    Err(why) => assert_ne!(why.kind, RequestErrorKind::Unavailable, "{why}"),
                }
            }
            6 => {
                if let Ok(directory) = self.scene.revoke(64).await {
                    let blocks = self.scene.directory_blocks(&directory);
                    self.holds(None, blocks);
                }
            }
            7 => {
                if let Ok(directory) = self.scene.grant(64, DOCTORS[0]).await {
                    let blocks = self.scene.directory_blocks(&directory);
                    self.holds(None, blocks);
                }
            }
            8 => {
                let is_live = self.scene.record(slot).is_some_and(|leaf| leaf.status == RecordStatus::Live);
                if is_live {
                    self.scene.tombstone(slot).await?;
                }
            }
            9 => self.scene.settle()?,
            10 => {
                self.scene.give_back_newest().await?;
            }
            11 => self.scene.reorganise(1 + slot as usize).await?,
            12 => self.scene.restart().await?,
            13..=15 => {
                if self.scene.record(slot).is_some_and(|leaf| leaf.status == RecordStatus::Live) {
                    let mut parts = self.scene.upload(PATIENT, 2, 100).await?;
                    parts.extend(self.earlier_block(slot));
                    let cids = self.scene.rekey(slot, &parts).await?;
                    self.holds(Some((slot, true)), cids);
                }
            }
            // Six changes of the directory, and L1 takes some of them back.
            16 => {
                for _ in 0..3 {
                    self.change_directory().await?;
                    self.change_directory().await?;
                    self.scene.settle()?;
                }
                self.scene.sweep().await?;
                self.scene.reorganise(1 + slot as usize).await?;
            }
            _ => {
                let hours = self.random.random_range(0..40);
                self.scene.pass(hours);
            }
        }
        self.note_statuses()?;
        // The node updates the soft state patient by patient. A complete rebuild gives the same state.
        let state = self.scene.engine.state().clone();
        let mut again = state.clone();
        again.rebuild_soft();
        assert_eq!(state.soft.trees().root(), again.soft.trees().root());
        self.scene.sweep().await?;
        self.check()
    }

    /// The blocks that must be in the store.
    fn needed(&self) -> BTreeSet<Cid> {
        let state = self.scene.engine.state().clone();
        let mut directories = BTreeSet::new();
        for ledger in [&state.settled, &state.soft] {
            directories.extend(ledger.medical(account(PATIENT)).map(|leaf| leaf.key_directory));
        }
        for (_, open) in state.open.iter() {
            if let Some((before, after)) = open.signed.operation.action.directories() {
                directories.extend([before, after]);
            }
        }
        let now = self.scene.now;
        let recent = |since: UnixTime, seconds| now < since.saturating_add(seconds);
        let mut needed = BTreeSet::new();
        for (sequence, holds) in &self.operations {
            let is_needed = match (holds.record, holds.returned) {
                (Some(Stored { is_rekey: true, .. }), Some(returned)) => recent(returned, GRACE),
                (Some(_), Some(returned)) => recent(returned, RETURNED),
                (Some(stored), None) => {
                    let leaves = state.settled.patient(account(PATIENT));
                    let settled = leaves.and_then(|leaves| leaves.records.get(&slot(stored.slot)));
                    let is_live = settled.is_some_and(|leaf| leaf.status == RecordStatus::Live);
                    let is_current = holds.replaced.is_none_or(|since| recent(since, GRACE));
                    state.open.contains(*sequence) || is_live && is_current
                }
                (None, _) => holds.cids.iter().any(|cid| directories.contains(&DirectoryCommitment::of(cid))),
            };
            if is_needed {
                needed.extend(holds.cids.iter().copied());
            }
        }
        needed.extend(self.uploads.iter().filter(|(_, since)| recent(**since, GRACE)).map(|(cid, _)| *cid));
        needed
    }

    fn check(&self) -> Outcome {
        let stored = self.scene.stored()?;
        let missing: Vec<_> = self.needed().difference(&stored).copied().collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("needed, and not there: {missing:?}").into()) }
    }

    /// Of the blocks that a Rekey replaced, those that nothing else needs are gone a day later. Then every record is deleted. Only the directory in
    /// force is left.
    async fn end(mut self) -> Outcome {
        self.scene.settle()?;
        self.note_statuses()?;
        self.scene.sweep().await?;
        self.scene.pass(31 * 24);
        self.scene.sweep().await?;
        self.check()?;
        let extra: Vec<_> = self.scene.stored()?.difference(&self.needed()).copied().collect();
        let twice = self.scene.engine.mempool.stored_twice(&self.scene.principal(PATIENT))?;
        if !extra.is_empty() || !twice.is_empty() {
            return Err(format!("not needed, and still there: {extra:?}; stored twice: {twice:?}").into());
        }
        for slot in 0..3 {
            if self.scene.record(slot).is_some_and(|leaf| leaf.status == RecordStatus::Live) {
                self.scene.tombstone(slot).await?;
            }
        }
        self.scene.settle()?;
        self.scene.sweep().await?;
        self.scene.pass(31 * 24);
        self.scene.sweep().await?;
        let left = self.scene.stored()?;
        let (used, directories) = self.scene.engine.mempool.used(&self.scene.principal(PATIENT))?;
        if left.len() != 4 || !used.is_empty() || directories.blocks != 4 {
            return Err(format!("left: {left:?}, used: {used:?}, directories: {directories:?}").into());
        }
        self.check()
    }
}

async fn history(seed: u64) -> Outcome {
    let mut model = Model::new(seed).await?;
    for step in 0..40 {
        model.step().await.map_err(|error| format!("seed {seed}, step {step}: {error}"))?;
    }
    model.end().await.map_err(|error| format!("seed {seed}, in the end: {error}").into())
}

/// `cargo xtask soak storage` runs more histories.
#[tokio::test]
async fn what_is_needed_stays_and_everything_else_goes() -> Outcome {
    let minutes: u64 = env::var("EMR_SOAK_MINUTES").ok().map(|minutes| minutes.parse()).transpose()?.unwrap_or(0);
    let until = Instant::now() + Duration::from_secs(60 * minutes);
    let first: u64 = if minutes > 0 { rand::random() } else { 1 };
    for number in 0.. {
        if number >= 3 && Instant::now() >= until {
            break;
        }
        history(first.wrapping_add(number)).await?;
    }
    Ok(())
}
