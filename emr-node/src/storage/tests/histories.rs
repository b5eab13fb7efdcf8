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

/// What the model knows about an acknowledged operation.
struct Holds {
    /// The slot of its record. `None` for a key directory.
    record: Option<u64>,
    cids: Vec<Cid>,
    returned: Option<UnixTime>,
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

    fn holds(&mut self, record: Option<u64>, cids: Vec<Cid>) {
        for cid in &cids {
            self.uploads.remove(cid);
        }
        if let Some(sequence) = self.newest() {
            self.operations.insert(sequence, Holds { record, cids, returned: None });
        }
    }

    /// Ends the first doctor's grant, or gives it back.
    async fn change_directory(&mut self) -> Outcome {
        let changed = match self.scene.revoke(64).await {
            Ok(directory) => Ok(directory),
            Err(_) => self.scene.grant(64, DOCTORS[0]).await,
        };
        self.holds(None, vec![changed?]);
        Ok(())
    }

    async fn step(&mut self) -> Outcome {
        let slot = self.random.random_range(0..3);
        let who = [PATIENT, DOCTORS[0], DOCTORS[1]][self.random.random_range(0..3)];
        match self.random.random_range(0..16) {
            0..=1 => {
                let now = self.scene.now;
                self.uploads.extend(self.scene.upload(who, 2, 100).await?.into_iter().map(|cid| (cid, now)));
            }
            2..=5 => {
                let mut parts = self.scene.upload(who, 2, 100).await?;
                // A later version uses a block of an earlier version again.
                let mut earlier =
                    self.operations.values().filter(|holds| holds.record == Some(slot) && holds.returned.is_none());
                parts.extend(earlier.next_back().and_then(|holds| holds.cids.last()).copied());
                let now = self.scene.now;
                self.uploads.extend(parts[..2].iter().map(|cid| (*cid, now)));
                match self.scene.write(who, slot, &parts).await {
                    Ok((_, cids)) => self.holds(Some(slot), cids),
                    // The record is deleted, the grant has ended, or a block of an earlier version is gone.
                    Err(why) => assert_ne!(why.kind, RequestErrorKind::Unavailable, "{why}"),
                }
            }
            6 => {
                if let Ok(directory) = self.scene.revoke(64).await {
                    self.holds(None, vec![directory]);
                }
            }
            7 => {
                if let Ok(directory) = self.scene.grant(64, DOCTORS[0]).await {
                    self.holds(None, vec![directory]);
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
            // Six changes of the directory, and L1 takes some of them back.
            13 => {
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
        // Sealing and reorganisations return operations too.
        for (sequence, holds) in &mut self.operations {
            if let Some(OperationStatus::Returned { .. }) = self.scene.engine.mempool.status(*sequence)? {
                holds.returned.get_or_insert(self.scene.now);
            }
        }
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
                (Some(_), Some(returned)) => recent(returned, RETURNED),
                (Some(slot), None) => {
                    let leaves = state.settled.patient(account(PATIENT));
                    let settled = leaves.and_then(|leaves| leaves.records.get(&super::scene::slot(slot)));
                    state.open.contains(*sequence) || settled.is_some_and(|leaf| leaf.status == RecordStatus::Live)
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

    /// Deletes every record, lets time pass, and checks what is left.
    async fn end(mut self) -> Outcome {
        self.scene.settle()?;
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
        if left.len() != 1 || !used.is_empty() || directories.blocks != 1 {
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
