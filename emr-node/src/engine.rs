//! The shared parts of a running node, and the one writer of its state.

use std::sync::{
    Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use alloy::signers::local::PrivateKeySigner;
use emr_api::OperationStatus;
use emr_chain::RollupInstance;
use emr_core::UnixTime;
use emr_ipfs::Blockstore;
use emr_rollup::{operation::Domain, version::CircuitSizes};
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};

use crate::{
    l1::clock::Clock,
    l1::follow::FollowError,
    mempool::Mempool,
    request_error::RequestError,
    sequencer::{Replacements, Walks},
    snapshot::Snapshots,
    state::NodeState,
    storage::{InUse, Notes, Space, quota::Quotas},
    tasks::Tasks,
};

/// The message after a writer panicked.
const PANICKED: &str = "the node met a bug and takes nothing until it has derived its state again: try again in a minute; if it stays so, \
                        start the node again and report what is in its log";

/// What the HTTP interface and the pipeline share: the state, the durable tables, the block store, and the hospital's key.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) mempool: Mempool,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) blockstore: Arc<dyn Blockstore>,
    pub(crate) clock: Clock,
    pub(crate) instance: RollupInstance,
    pub(crate) domain: Domain,
    pub(crate) sizes: Arc<CircuitSizes>,
    pub(crate) signer: PrivateKeySigner,
    /// How many entries of the L1 queue a batch must take, as L1 said last: those that are due at its time.
    pub(crate) due_urgent: AtomicU64,
    /// Blocks of L1 up to this one are final.
    pub(crate) final_block: AtomicU64,
    state: RwLock<NodeState>,
    /// Held by the writer that changes the state. Readers do not wait for the writer's disk.
    writer: Arc<Mutex<()>>,
    pub(crate) walks: Walks,
    pub(crate) replacements: Replacements,
    /// The blocks that requests use.
    pub(crate) in_use: Arc<InUse>,
    /// Uploads that wait for their notes.
    pub(crate) notes: Notes,
    pub(crate) quotas: Quotas,
    /// What is free on the disks.
    pub(crate) space: Space,
    /// Why only Revokes are accepted: L1 shows something that this node cannot follow.
    halted: RwLock<Option<Halted>>,
    /// A writer panicked: the state may differ from the file.
    panicked: AtomicBool,
    pub(crate) tasks: Arc<Tasks>,
    /// Notified whenever there may be something to do.
    pub(crate) wake: Notify,
}

/// Why operations are not taken.
#[derive(Clone, Debug)]
struct Halted {
    reason: String,
    /// Another hospital is the sequencer. A receipt of this one would promise nothing.
    replaced: bool,
    /// Nothing can be settled here at present, whatever is tried.
    rests: bool,
}

/// When dropped, it records that a writer panicked, even if no caller waits for that writer any more.
struct Watched<'a>(&'a Engine);

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

/// What a new engine starts from.
pub(crate) struct EngineParts {
    pub(crate) mempool: Mempool,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) blockstore: Arc<dyn Blockstore>,
    pub(crate) clock: Clock,
    pub(crate) instance: RollupInstance,
    pub(crate) sizes: Arc<CircuitSizes>,
    pub(crate) signer: PrivateKeySigner,
    pub(crate) state: NodeState,
    pub(crate) quotas: Quotas,
}

impl Engine {
    pub(crate) fn new(parts: EngineParts) -> Self {
        let EngineParts { mempool, snapshots, blockstore, clock, instance, sizes, signer, state, quotas } = parts;
        Self {
            mempool,
            snapshots,
            blockstore,
            clock,
            instance,
            domain: state.settled.domain(),
            sizes,
            due_urgent: AtomicU64::new(0),
            // Whoever follows L1 says otherwise.
            final_block: AtomicU64::new(u64::MAX),
            signer,
            state: RwLock::new(state),
            writer: Arc::new(Mutex::new(())),
            walks: Walks::new(),
            replacements: Replacements::new(),
            in_use: Arc::default(),
            notes: Notes::default(),
            quotas,
            space: Space::default(),
            halted: RwLock::new(None),
            panicked: AtomicBool::new(false),
            tasks: Arc::default(),
            wake: Notify::new(),
        }
    }

    /// Reads the state. Hold the guard only briefly, and never across an await.
    pub(crate) fn state(&self) -> RwLockReadGuard<'_, NodeState> {
        // A poisoned lock means that a writer panicked between two complete values. Each of them is consistent.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state in place. Must run as the only writer, and take no longer than a moment: readers wait.
    pub(crate) fn state_mut(&self) -> RwLockWriteGuard<'_, NodeState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the whole state. Must run as the only writer.
    pub(crate) fn replace(&self, state: NodeState) {
        // Dropped after the lock is released: dropping two ledgers takes long.
        let _old = std::mem::replace(&mut *self.state_mut(), state);
    }

    /// Runs blocking work as the only writer. The work runs to its end, even if the caller goes away.
    ///
    /// # Errors
    /// `unavailable` if this writer or an earlier one panicked, or if the node is stopping.
    pub(crate) async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, RequestError> {
        let writing = Arc::clone(&self.writer).lock_owned().await;
        self.expect_whole()?;
        self.run(writing, work).await
    }

    /// Like [`Self::write`], for work that derives the whole state from the file and L1. It also runs after a panic, and clears the panic if the
    /// work succeeds.
    pub(crate) async fn recover<T, E>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, E> + Send + 'static,
    ) -> Result<Result<T, E>, RequestError>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let writing = Arc::clone(&self.writer).lock_owned().await;
        let whole = move |engine: &Self| {
            let done = work(engine)?;
            engine.panicked.store(false, Ordering::SeqCst);
            Ok(done)
        };
        self.run(writing, whole).await
    }

    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        writing: OwnedMutexGuard<()>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, RequestError> {
        let engine = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let _writing = writing;
            // Dropped before the lock: the next writer sees what it recorded.
            let _watched = Watched(&engine);
            work(&engine)
        });
        done.await.map_err(|error| {
            RequestError::unavailable(if error.is_panic() { PANICKED } else { "the node is stopping" })
        })
    }

    /// Whether a writer panicked and the state has not been derived again since.
    pub(crate) fn has_panicked(&self) -> bool {
        self.panicked.load(Ordering::SeqCst)
    }

    /// Refuses if the state may differ from the file: nothing is accepted or promised then. This includes Revokes. The receipt of a Revoke says
    /// that it counts at this node from now on, and that would not be certain. The patient's outbox submits the Revoke again.
    pub(crate) fn expect_whole(&self) -> Result<(), RequestError> {
        if self.has_panicked() { Err(RequestError::unavailable(PANICKED)) } else { Ok(()) }
    }

    /// Why the node accepts no operations, or only Revokes. `None` if it accepts all.
    pub(crate) fn halted(&self) -> Option<String> {
        if self.has_panicked() {
            return Some(PANICKED.to_owned());
        }
        match self.replaced() {
            Some(reason) => Some(format!("it takes nothing: {reason}")),
            None => self.halt_reason().map(|reason| format!("it takes only Revokes: {reason}")),
        }
    }

    /// Who took this hospital's office over. Then the node takes nothing, not even a Revoke: nobody would settle it.
    pub(crate) fn replaced(&self) -> Option<String> {
        let halted = self.halted.read().unwrap_or_else(PoisonError::into_inner);
        halted.as_ref().filter(|halted| halted.replaced).map(|halted| halted.reason.clone())
    }

    /// Whether nothing can be settled at present, so that sealing and sending are useless.
    pub(crate) fn settlement_rests(&self) -> bool {
        self.halted.read().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(|halted| halted.rests)
    }

    /// Why the node accepts only Revokes. `None` if L1 can be followed and all vital tasks run.
    pub(crate) fn halt_reason(&self) -> Option<String> {
        if let Some(ended) = self.tasks.vital_ended() {
            return Some(ended.to_string());
        }
        let halted = self.halted.read().unwrap_or_else(PoisonError::into_inner);
        halted.as_ref().map(|halted| halted.reason.clone())
    }

    /// Accepts only Revokes while L1 shows something that this node cannot follow. If L1 is only out of reach, nothing changes.
    pub(crate) fn halt_on(&self, error: &FollowError) {
        if !matches!(
            error,
            FollowError::Rollup(_) | FollowError::Block(_) | FollowError::Incomplete { .. } | FollowError::Stopping
        ) {
            let replaced = matches!(error, FollowError::Replaced(_));
            let rests = replaced || matches!(error, FollowError::SizesChanged | FollowError::SettlementHalted(_));
            let halted = Halted { reason: error.to_string(), replaced, rests };
            *self.halted.write().unwrap_or_else(PoisonError::into_inner) = Some(halted);
        }
    }

    /// L1 can be followed again.
    pub(crate) fn resume(&self) {
        *self.halted.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Resolves when the mempool file is closed: then the last user of this engine is gone.
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
