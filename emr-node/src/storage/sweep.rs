//! Removes blocks that nothing needs any more. It works in small steps, begins again after every start, and never
//! removes a block that is in use.
//!
//! A round has three steps, each bounded. First, notes of uploads lapse. Then, operations let go of blocks that nothing
//! needs. Last, doomed blocks are unpinned and removed. The first two steps run as the only writer, so the state cannot
//! change during a step. The third step runs at the same time as requests. [`InUse`](super::InUse) prevents it from
//! removing a block that a request uses.
//!
//! Times in the future, which a wrong clock set, are set again. Otherwise these blocks would stay until then.
//!
//! After a reorganisation of L1, something unneeded may be needed again. It stays. If it becomes unneeded once more,
//! the wait begins from zero.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use emr_api::OperationStatus;
use emr_core::{AccountIndex, RecordStatus, UnixTime};
use emr_ipfs::{Cid, StoreError};
use emr_rollup::operation::{Action, Blocks, DirectoryCommitment};

use super::{
    space::Space,
    sweep_time::{AHEAD, SweepTime},
};
use crate::{
    engine::Engine,
    mempool::{BlockReference, Holding, MempoolError, Released, Sequence},
    request_error::RequestError,
    state::NodeState,
};

/// How long an upload, a deleted record, ciphertext that a Rekey replaced, or a superseded key directory stays when nothing
/// refers to it. Longer than the age of any state of L1 that can come back. Seconds.
pub(crate) const GRACE: u64 = 24 * 3600;
/// How long an upload that nothing refers to stays while the disk is nearly full. Longer than a client needs from the
/// first block of a record to its submission. Seconds.
const GRACE_IF_FULL: u64 = 3600;
/// How long the blocks of a returned record stay: its author may sign it again. Seconds.
pub(crate) const RETURNED: u64 = 30 * GRACE;

/// At most this many notes lapse in a round.
const NOTES: usize = 256;
/// At most this many holdings are checked in a round.
const HOLDINGS: usize = 256;
/// At most this many holdings are released in a round. Each release is a write with an fsync.
const RELEASES: usize = 8;
/// At most this many blocks of a holding are released in a round.
const RELEASED_BLOCKS: usize = 1024;
/// At most this many blocks are removed in a round.
const REMOVALS: usize = 64;

/// Pause between two rounds while there is more to do.
const BUSY: Duration = Duration::from_secs(1);
/// Pause between two rounds otherwise.
const IDLE: Duration = Duration::from_secs(60);

/// How far the sweep got. A new process starts from the beginning.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// The next holding to check.
    holding: Sequence,
    /// The last doomed block that was checked.
    doomed: Option<Cid>,
}

/// Whether the state needs a holding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Needed,
    /// It is released after this many seconds without need.
    Unneeded {
        seconds: u64,
    },
}

/// Sweeps until the node stops.
pub(crate) async fn run(engine: Arc<Engine>) {
    let mut sweep = Sweep::default();
    let mut time = SweepTime::new(engine.clock.now(), Instant::now());
    loop {
        let now = time.at(engine.clock.now(), Instant::now());
        let pause = match sweep.round(&engine, now).await {
            Ok(true) => BUSY,
            Ok(false) => IDLE,
            Err(error) => {
                tracing::warn!(%error, "sweeping the block store failed; trying again");
                IDLE
            }
        };
        tokio::time::sleep(pause).await;
    }
}

impl Sweep {
    /// Runs one round. Returns whether there is more to do at once.
    ///
    /// # Errors
    /// [`RequestError`] if a disk or the block store fails. The next round continues.
    pub(crate) async fn round(&mut self, engine: &Arc<Engine>, now: UnixTime) -> Result<bool, RequestError> {
        Space::ask(engine).await;
        let patients = engine.state().soft.patient_count();
        let is_full = engine.quotas.check_space(&engine.space.free(), patients).is_err();
        let grace = if is_full { GRACE_IF_FULL } else { GRACE };
        let before = UnixTime::new(now.get().saturating_sub(grace)).unwrap_or(UnixTime::ZERO);
        let ahead = now.saturating_add(AHEAD);
        let redated = engine.write(move |it| it.mempool.redate(ahead, now, NOTES)).await??;
        let lapsed = engine.write(move |it| it.mempool.lapse(before, NOTES, |cid| it.in_use.is_used(cid))).await??;
        let from = self.holding;
        let next = engine.write(move |it| it.release_unneeded(from, now)).await??;
        self.holding = next.unwrap_or(0);
        let doomed = engine.mempool.doomed(self.doomed.as_ref(), REMOVALS)?;
        self.doomed = doomed.last().copied().filter(|_| doomed.len() == REMOVALS);
        let removed = remove(engine, &doomed).await?;
        Ok(redated == NOTES || lapsed == NOTES || next.is_some() || self.doomed.is_some() || removed > 0)
    }
}

/// Removes the doomed blocks that no request uses. Returns how many were removed.
async fn remove(engine: &Arc<Engine>, doomed: &[Cid]) -> Result<usize, RequestError> {
    let store = &engine.blockstore;
    let (mut gone, mut removals) = (Vec::new(), Vec::new());
    for cid in doomed {
        let Some(removal) = engine.in_use.remove(cid) else { continue };
        if !engine.mempool.may_remove(cid)? {
            continue;
        }
        match store.unpin(cid).await {
            Ok(()) | Err(StoreError::NotPinned(_)) => {}
            Err(error) => return Err(error.into()),
        }
        match store.delete(cid).await {
            Ok(()) => {
                gone.push(*cid);
                // Held until the tables show that the block is gone.
                removals.push(removal);
            }
            // The block is under a doomed root that is not unpinned yet, or another user of this store has pinned it.
            Err(StoreError::Pinned(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let count = gone.len();
    let handed = Arc::clone(engine);
    let written = tokio::task::spawn_blocking(move || handed.mempool.removed(&gone)).await;
    written.map_err(|_| RequestError::unavailable("the node is stopping"))??;
    drop(removals);
    Ok(count)
}

impl Engine {
    /// Checks holdings, beginning with `from`. Marks the holdings that nothing needs, and releases those that nothing
    /// has needed for long enough. Returns where to continue, or `None` after the last holding. Must run as the only
    /// writer.
    fn release_unneeded(&self, from: Sequence, now: UnixTime) -> Result<Option<Sequence>, MempoolError> {
        let holdings = self.mempool.holdings(from, HOLDINGS)?;
        let state = self.state().clone();
        let (mut marks, mut releases) = (Vec::new(), 0);
        let mut next = (holdings.len() == HOLDINGS).then(|| holdings.last().map_or(0, |last| last.sequence + 1));
        for holding in &holdings {
            let sequence = holding.sequence;
            let Need::Unneeded { seconds } = self.need(&state, holding)? else {
                if holding.unneeded_since.is_some() {
                    marks.push((sequence, None));
                }
                continue;
            };
            let over = holding.unneeded_since.is_some_and(|since| now >= since.saturating_add(seconds));
            if !over {
                if holding.unneeded_since.is_none_or(|since| since > now.saturating_add(AHEAD)) {
                    marks.push((sequence, Some(now)));
                }
                continue;
            }
            if releases == RELEASES {
                next = Some(sequence);
                break;
            }
            releases += 1;
            if self.mempool.release(sequence, RELEASED_BLOCKS)? == Released::Partly {
                next = Some(sequence);
                break;
            }
        }
        self.mempool.mark_unneeded(&marks)?;
        Ok(next)
    }

    fn need(&self, state: &NodeState, holding: &Holding) -> Result<Need, MempoolError> {
        if state.open.contains(holding.sequence) {
            return Ok(Need::Needed);
        }
        let Some(known) = self.mempool.acknowledged(holding.sequence)? else { return Ok(Need::Needed) };
        let action = &known.signed.operation.action;
        let is_settled = match known.status {
            OperationStatus::Settled { .. } => true,
            OperationStatus::Returned { .. } | OperationStatus::Replaced { .. } => false,
            // Its patient's account no longer belongs to the same principal.
            OperationStatus::Pending if !state.is_current(&holding.part_of.patient()) => {
                return Ok(Need::Unneeded { seconds: RETURNED });
            }
            // The node does not know what becomes of it: in doubt, nothing is removed.
            OperationStatus::Pending | OperationStatus::Sealed { .. } => return Ok(Need::Needed),
        };
        let patient = holding.part_of.patient().account;
        let is_needed = match holding.part_of {
            BlockReference::Record { slot, .. } => {
                let leaf = state.settled.patient(patient).and_then(|leaves| leaves.records.get(&slot));
                let is_replaced = match action.blocks() {
                    Blocks::Record { slot, leaf } => state.rekeyed.has_replaced(patient, slot, &leaf),
                    Blocks::None | Blocks::Directory { .. } => false,
                };
                is_settled && !is_replaced && leaf.is_none_or(|leaf| leaf.status != RecordStatus::Tombstone)
            }
            BlockReference::DelegatedKeys { slot, .. } => match action {
                Action::SetGrant(set) => is_settled && state.needs_delegated_keys(patient, slot, &set.leaf),
                _ => false,
            },
            BlockReference::Directory { .. } => match action.directories() {
                Some((_, commitment)) => {
                    let ledgers = [&state.settled, &state.soft];
                    let in_force = |commitment: &DirectoryCommitment| {
                        let leaves = ledgers.iter().filter_map(|ledger| ledger.medical(patient));
                        leaves.into_iter().any(|leaf| leaf.key_directory == *commitment)
                    };
                    in_force(&commitment) || is_named(state, patient, &commitment)
                }
                None => false,
            },
        };
        // Only a record is signed again after it was returned. A key directory, and keys that a delegate hands on, are always made again, from
        // the directory in force.
        let is_record = matches!(holding.part_of, BlockReference::Record { .. });
        Ok(match (is_needed, is_settled || !is_record) {
            (true, _) => Need::Needed,
            (false, true) => Need::Unneeded { seconds: GRACE },
            // The patient's client makes another one from the record. It does not sign this one again.
            (false, false) if matches!(action, Action::Rekey(_)) => Need::Unneeded { seconds: GRACE },
            (false, false) => Need::Unneeded { seconds: RETURNED },
        })
    }
}

/// Whether an open operation on the patient names a key directory, before or after its change.
fn is_named(state: &NodeState, patient: AccountIndex, directory: &DirectoryCommitment) -> bool {
    let mut directories =
        state.open.on_patient(patient).filter_map(|(_, open)| open.signed.operation.action.directories());
    directories.any(|(before, after)| before == *directory || after == *directory)
}
