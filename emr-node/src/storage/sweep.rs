//! Removes what nothing needs any more: a little at a time, again after every start, and never what is in use.
//!
//! Three steps, each bounded: notes of uploads lapse; operations let go of blocks that nothing needs; doomed blocks are unpinned and
//! removed. The first two run as the only writer, so that the state cannot change under them. The third runs beside requests; what keeps
//! it off a block that somebody refers to at that moment is [`InUse`](super::InUse).
//!
//! What was unneeded for a while and is needed again (L1 was reorganised) stays: the wait begins again.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use emr_api::OperationStatus;
use emr_core::{RecordStatus, UnixTime};
use emr_ipfs::{Cid, StoreError};
use emr_rollup::operation::DirectoryCommitment;

use crate::{
    http::refusal::Refusal,
    mempool::{BlockReference, Holding, MempoolError, Released, Sequence},
    sequencer::Sequencer,
    state::State,
};

/// How long something stays that nothing refers to any more: an upload, a deleted record, a superseded key directory. Longer than any
/// state of L1 that can come back. Seconds.
pub(crate) const GRACE: u64 = 24 * 3600;
/// How long the blocks of a returned operation stay: its author signs it again. Seconds.
pub(crate) const RETURNED: u64 = 30 * GRACE;
/// A key directory that nothing needs goes at once if its patient has so many later ones.
pub(crate) const DIRECTORIES: u8 = 5;

/// Notes that lapse in a turn.
const NOTES: usize = 256;
/// Holdings that are looked at in a turn.
const HOLDINGS: usize = 256;
/// Holdings that are released in a turn. Each is a write with an fsync.
const RELEASES: usize = 8;
/// Blocks that a holding lets go of in a turn.
const RELEASED_BLOCKS: usize = 1024;
/// Blocks that are removed in a turn.
const REMOVALS: usize = 64;

/// Between two turns while there is something to do.
const BUSY: Duration = Duration::from_secs(1);
/// Between two turns otherwise.
const IDLE: Duration = Duration::from_secs(60);

/// How far the sweep got. A new process begins again.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// The next holding to look at.
    holding: Sequence,
    /// The last doomed block that was looked at.
    doomed: Option<Cid>,
}

/// What the state says of a holding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Needed,
    /// It goes after so many seconds without need.
    Unneeded {
        seconds: u64,
    },
}

/// Sweeps until the node stops.
pub(crate) async fn run(sequencer: Arc<Sequencer>) {
    let mut sweep = Sweep::default();
    loop {
        let now = sequencer.clock.now();
        let pause = match sweep.turn(&sequencer, now).await {
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
    /// One turn. Whether there is more to do at once.
    ///
    /// # Errors
    /// [`Refusal`] if a disk or the block store refuses; the next turn goes on.
    pub(crate) async fn turn(&mut self, sequencer: &Arc<Sequencer>, now: UnixTime) -> Result<bool, Refusal> {
        let before = UnixTime::new(now.get().saturating_sub(GRACE)).unwrap_or(UnixTime::ZERO);
        let lapsed = sequencer.write(move |it| it.mempool.lapse(before, NOTES, |cid| it.in_use.is_used(cid))).await??;
        let from = self.holding;
        let next = sequencer.write(move |it| it.release_unneeded(from, now)).await??;
        self.holding = next.unwrap_or(0);
        let doomed = sequencer.mempool.doomed(self.doomed.as_ref(), REMOVALS)?;
        self.doomed = doomed.last().copied().filter(|_| doomed.len() == REMOVALS);
        let removed = remove(sequencer, &doomed).await?;
        Ok(lapsed == NOTES || next.is_some() || self.doomed.is_some() || removed > 0)
    }
}

/// Removes doomed blocks, as far as nobody uses them; how many.
async fn remove(sequencer: &Arc<Sequencer>, doomed: &[Cid]) -> Result<usize, Refusal> {
    let store = &sequencer.blockstore;
    let (mut gone, mut removals) = (Vec::new(), Vec::new());
    for cid in doomed {
        let Some(removal) = sequencer.in_use.remove(cid) else { continue };
        if !sequencer.mempool.may_remove(cid)? {
            continue;
        }
        match store.unpin(cid).await {
            Ok(()) | Err(StoreError::NotPinned(_)) => {}
            Err(error) => return Err(error.into()),
        }
        match store.delete(cid).await {
            Ok(()) => {
                gone.push(*cid);
                // Until the tables know.
                removals.push(removal);
            }
            // Under a doomed root whose turn has not come, or kept by somebody else who uses this store.
            Err(StoreError::Pinned(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let count = gone.len();
    let handed = Arc::clone(sequencer);
    let written = tokio::task::spawn_blocking(move || handed.mempool.removed(&gone)).await;
    written.map_err(|_| Refusal::unavailable("the node is stopping"))??;
    drop(removals);
    Ok(count)
}

impl Sequencer {
    /// Looks at holdings from one on, marks those that nothing needs, and releases those that nothing has needed for long enough. Returns
    /// where to go on; `None` after the last one. As the only writer.
    fn release_unneeded(&self, from: Sequence, now: UnixTime) -> Result<Option<Sequence>, MempoolError> {
        let holdings = self.mempool.holdings(from, HOLDINGS)?;
        let state = self.state().clone();
        let named = named_directories(&state);
        let (mut marks, mut releases) = (Vec::new(), 0);
        let mut next = (holdings.len() == HOLDINGS).then(|| holdings.last().map_or(0, |last| last.sequence + 1));
        for holding in &holdings {
            let sequence = holding.sequence;
            let Need::Unneeded { seconds } = self.need(&state, &named, holding)? else {
                if holding.unneeded_since.is_some() {
                    marks.push((sequence, None));
                }
                continue;
            };
            let is_directory = matches!(holding.part_of, BlockReference::Directory { .. });
            let too_many = is_directory && holding.later_directories >= DIRECTORIES;
            let over = holding.unneeded_since.is_some_and(|since| now >= since.saturating_add(seconds));
            if !over && !too_many {
                if holding.unneeded_since.is_none() {
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

    fn need(
        &self,
        state: &State,
        named: &BTreeSet<DirectoryCommitment>,
        holding: &Holding,
    ) -> Result<Need, MempoolError> {
        if state.open.contains_key(&holding.sequence) {
            return Ok(Need::Needed);
        }
        let is_settled = match self.mempool.status(holding.sequence)? {
            Some(OperationStatus::Settled { .. }) => true,
            Some(OperationStatus::Returned { .. } | OperationStatus::Replaced { .. }) => false,
            // Not known here: nothing is removed on a doubt.
            // Signed for an account that L1 gave to somebody else since.
            Some(OperationStatus::Pending) if !state.is_current(&holding.part_of.patient()) => {
                return Ok(Need::Unneeded { seconds: RETURNED });
            }
            // Not known here: nothing is removed on a doubt.
            Some(OperationStatus::Pending | OperationStatus::Sealed { .. }) | None => return Ok(Need::Needed),
        };
        let patient = holding.part_of.patient().account;
        let is_needed = match holding.part_of {
            BlockReference::Record { slot, .. } => {
                let leaf = state.settled.patient(patient).and_then(|leaves| leaves.records.get(&slot));
                is_settled && leaf.is_none_or(|leaf| leaf.status != RecordStatus::Tombstone)
            }
            BlockReference::Directory { .. } => match self.mempool.first_held(holding.sequence)? {
                Some(cid) => {
                    let commitment = DirectoryCommitment::of(&cid);
                    let ledgers = [&state.settled, &state.soft];
                    let in_force = |commitment: &DirectoryCommitment| {
                        let leaves = ledgers.iter().filter_map(|ledger| ledger.medical(patient));
                        leaves.into_iter().any(|leaf| leaf.key_directory == *commitment)
                    };
                    in_force(&commitment) || named.contains(&commitment)
                }
                None => false,
            },
        };
        Ok(match (is_needed, is_settled) {
            (true, _) => Need::Needed,
            (false, true) => Need::Unneeded { seconds: GRACE },
            (false, false) => Need::Unneeded { seconds: RETURNED },
        })
    }
}

/// The key directories that open operations begin from or lead to.
fn named_directories(state: &State) -> BTreeSet<DirectoryCommitment> {
    let mut named = BTreeSet::new();
    for open in state.open.values() {
        if let Some((before, after)) = open.signed.operation.action.directories() {
            named.extend([before, after]);
        }
    }
    named
}
