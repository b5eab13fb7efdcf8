//! Accepts operations, puts them in order, and seals them into batches.

#[cfg(test)]
mod hostile;
pub(crate) mod order;
mod place;
mod promise;
mod replacements;
mod seal;
mod settled;
mod take;
mod walks;

use std::sync::{
    Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, Ordering},
};

use alloy::signers::local::PrivateKeySigner;
use emr_api::OperationStatus;
use emr_chain::RollupInstance;
use emr_core::UnixTime;
use emr_ipfs::Blockstore;
use emr_rollup::{operation::Domain, version::CircuitVersion};
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};

use crate::{
    http::refusal::Refusal,
    l1::clock::Clock,
    l1::follow::FollowError,
    mempool::Mempool,
    state::State,
    storage::{InUse, Notes, quota::Quotas},
};

use replacements::Replacements;
pub(crate) use seal::SealError;
pub use settled::DeriveError;
pub(crate) use settled::{L1View, OnL1, derive};
pub(crate) use walks::Walks;

/// The message after a writer panicked.
const PANICKED: &str = "the node met a bug and takes nothing until it has derived its state again: try again in a minute; if it stays so, \
                        start the node again and report what is in its log";

/// The sequencer. All other parts of a node use it.
#[derive(Debug)]
pub(crate) struct Sequencer {
    pub(crate) mempool: Mempool,
    pub(crate) blockstore: Arc<dyn Blockstore>,
    pub(crate) clock: Clock,
    pub(crate) instance: RollupInstance,
    pub(crate) domain: Domain,
    pub(crate) version: CircuitVersion,
    pub(crate) signer: PrivateKeySigner,
    state: RwLock<State>,
    /// Held by the writer that changes the state. Readers do not wait for the writer's disk.
    writer: Arc<Mutex<()>>,
    pub(crate) walks: Walks,
    replacements: Replacements,
    /// The blocks that requests use.
    pub(crate) in_use: Arc<InUse>,
    /// Uploads that wait for their notes.
    pub(crate) notes: Notes,
    pub(crate) quotas: Quotas,
    /// Why only Revokes are accepted: L1 shows something that this node cannot follow.
    halted: RwLock<Option<String>>,
    /// A writer panicked: the state may differ from the file.
    panicked: AtomicBool,
    /// Notified whenever there may be something to do.
    pub(crate) wake: Notify,
}

/// When dropped, it records that a writer panicked, even if no caller waits for that writer any more.
struct Watched<'a>(&'a Sequencer);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.panicked.store(true, Ordering::SeqCst);
            tracing::error!(
                "changing the state met a bug; nothing is taken until the state is derived from the file and L1 again"
            );
        }
    }
}

/// What a new sequencer starts from.
pub(crate) struct Parts {
    pub(crate) mempool: Mempool,
    pub(crate) blockstore: Arc<dyn Blockstore>,
    pub(crate) clock: Clock,
    pub(crate) instance: RollupInstance,
    pub(crate) version: CircuitVersion,
    pub(crate) signer: PrivateKeySigner,
    pub(crate) state: State,
    pub(crate) quotas: Quotas,
}

impl Sequencer {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { mempool, blockstore, clock, instance, version, signer, state, quotas } = parts;
        Self {
            mempool,
            blockstore,
            clock,
            instance,
            domain: state.settled.domain(),
            version,
            signer,
            state: RwLock::new(state),
            writer: Arc::new(Mutex::new(())),
            walks: Walks::new(),
            replacements: Replacements::new(),
            in_use: Arc::default(),
            notes: Notes::default(),
            quotas,
            halted: RwLock::new(None),
            panicked: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    /// Reads the state. Hold the guard only briefly, and never across an await.
    pub(crate) fn state(&self) -> RwLockReadGuard<'_, State> {
        // A poisoned lock means that a writer panicked between two complete values. Each of them is consistent.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs blocking work as the only writer. The work runs to its end, even if the caller goes away.
    ///
    /// # Errors
    /// `unavailable` if this writer or an earlier one panicked, or if the node is stopping.
    pub(crate) async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let turn = Arc::clone(&self.writer).lock_owned().await;
        self.expect_whole()?;
        self.run(turn, work).await
    }

    /// Like [`Self::write`], for work that derives the whole state from the file and L1. It also runs after a panic, and clears the panic if the
    /// work succeeds.
    pub(crate) async fn write_anew<T, E>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, E> + Send + 'static,
    ) -> Result<Result<T, E>, Refusal>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let turn = Arc::clone(&self.writer).lock_owned().await;
        let whole = move |sequencer: &Self| {
            let done = work(sequencer)?;
            sequencer.panicked.store(false, Ordering::SeqCst);
            Ok(done)
        };
        self.run(turn, whole).await
    }

    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        turn: OwnedMutexGuard<()>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let sequencer = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            // Dropped before the turn: the next writer sees what it recorded.
            let _watched = Watched(&sequencer);
            work(&sequencer)
        });
        done.await
            .map_err(|error| Refusal::unavailable(if error.is_panic() { PANICKED } else { "the node is stopping" }))
    }

    /// Whether a writer panicked and the state has not been derived again since.
    pub(crate) fn has_panicked(&self) -> bool {
        self.panicked.load(Ordering::SeqCst)
    }

    /// Refuses if the state may differ from the file: nothing is accepted or promised then. This includes Revokes. The receipt of a Revoke says
    /// that it counts at this node from now on, and that would not be certain. The patient's outbox submits the Revoke again.
    fn expect_whole(&self) -> Result<(), Refusal> {
        if self.has_panicked() { Err(Refusal::unavailable(PANICKED)) } else { Ok(()) }
    }

    /// Why the node accepts no operations, or only Revokes. `None` if it accepts all.
    pub(crate) fn halted(&self) -> Option<String> {
        if self.has_panicked() {
            return Some(PANICKED.to_owned());
        }
        let halted = self.halted.read().unwrap_or_else(PoisonError::into_inner);
        halted.as_ref().map(|reason| format!("it takes only Revokes: {reason}"))
    }

    /// Accepts only Revokes while L1 shows something that this node cannot follow. If L1 is only out of reach, nothing changes.
    pub(crate) fn halt_on(&self, error: &FollowError) {
        if !matches!(
            error,
            FollowError::Rollup(_) | FollowError::Block(_) | FollowError::Incomplete { .. } | FollowError::Stopping
        ) {
            *self.halted.write().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        }
    }

    /// L1 can be followed again.
    pub(crate) fn resume(&self) {
        *self.halted.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Resolves when the mempool file is closed: then the last user of this sequencer is gone.
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        self.mempool.closed()
    }

    /// The number of waiting operations, and when the oldest of them was acknowledged.
    pub(crate) fn waiting(&self) -> (usize, Option<UnixTime>) {
        let state = self.state();
        let sealed = state.outstanding.as_ref().map_or(0, |record| record.operations.len());
        let mut waiting = state.open.iter().filter(|(_, open)| open.status == OperationStatus::Pending);
        (state.open.len().saturating_sub(sealed), waiting.next().map(|(_, open)| open.acknowledged))
    }
}
