//! Takes operations, puts them in order, and seals them into batches.

mod capacity;
#[cfg(test)]
mod hostile;
mod order;
mod replacements;
mod seal;
mod settled;
mod walks;

use std::sync::{
    Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, Ordering},
};

use alloy::signers::local::PrivateKeySigner;
use emr_api::receipt;
use emr_api::{OperationStatus, Receipt, Submission};
use emr_chain::RollupInstance;
use emr_core::UnixTime;
use emr_ipfs::Blockstore;
use emr_rollup::{
    operation::{DirectoryCommitment, Domain, OperationId, SignedOperation},
    version::CircuitVersion,
};
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};

use crate::{
    http::refusal::Refusal,
    l1::clock::Clock,
    l1::follow::FollowError,
    mempool::{Acknowledged, Mempool, Principal, Sequence},
    state::State,
    state::pointers::{self, CheckedPointer},
    storage::{InUse, Notes, quota::Quotas},
};

use capacity::{Place, Promise};
use replacements::Replacements;
pub(crate) use seal::SealError;
pub use settled::DeriveError;
pub(crate) use settled::{L1View, OnL1, derive};
pub(crate) use walks::Walks;

/// How often a record's epoch is compared again when the key directory changes meanwhile.
const DIRECTORY_READS: usize = 4;

/// What is said after a writer panicked.
const PANICKED: &str = "the node met a bug and takes nothing until it has derived its state again: try again in a minute; if it stays so, \
                        start the node again and report what is in its log";

/// The sequencer; everything else of a node hangs on it.
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
    /// Whoever changes the state holds this; readers do not wait for his disk.
    writer: Arc<Mutex<()>>,
    pub(crate) walks: Walks,
    replacements: Replacements,
    /// The blocks that requests work on.
    pub(crate) in_use: Arc<InUse>,
    /// Uploads that wait to be noted.
    pub(crate) notes: Notes,
    pub(crate) quotas: Quotas,
    /// Why nothing is taken: L1 shows what this node cannot follow.
    halted: RwLock<Option<String>>,
    /// A writer panicked: the state may not follow the file.
    panicked: AtomicBool,
    /// Told whenever there may be something to do.
    pub(crate) wake: Notify,
}

/// Notes on its way out that a writer panicked, also if nobody waits for it any more.
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

    /// Reads the state. Held briefly, never across an await.
    pub(crate) fn state(&self) -> RwLockReadGuard<'_, State> {
        // A poisoned lock means that a writer panicked between two whole values; each is consistent.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs blocking work as the only writer, to its end even if the caller goes away.
    ///
    /// # Errors
    /// If a writer panicked, this one or an earlier one; if the node is stopping.
    pub(crate) async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let turn = Arc::clone(&self.writer).lock_owned().await;
        self.expect_whole()?;
        self.run(turn, work).await
    }

    /// As [`Self::write`], for work that derives the whole state from the file and L1: after a panic too, which is then over.
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
            // Dropped before the turn: the next writer sees what it notes.
            let _watched = Watched(&sequencer);
            work(&sequencer)
        });
        done.await
            .map_err(|error| Refusal::unavailable(if error.is_panic() { PANICKED } else { "the node is stopping" }))
    }

    /// Whether a writer panicked and the state was not derived again since.
    pub(crate) fn has_panicked(&self) -> bool {
        self.panicked.load(Ordering::SeqCst)
    }

    /// Nothing is taken and nothing promised on a state that may not follow the file. Not even a Revoke: its receipt says that it counts
    /// at this node from now on, and that is not sure. The patient's outbox hands it in again.
    fn expect_whole(&self) -> Result<(), Refusal> {
        if self.has_panicked() { Err(Refusal::unavailable(PANICKED)) } else { Ok(()) }
    }

    /// Why operations are not taken, or only Revokes, if that is so.
    pub(crate) fn halted(&self) -> Option<String> {
        if self.has_panicked() {
            return Some(PANICKED.to_owned());
        }
        let halted = self.halted.read().unwrap_or_else(PoisonError::into_inner);
        halted.as_ref().map(|reason| format!("it takes only Revokes: {reason}"))
    }

    /// Takes an operation from the account of `principal`: checks it on the soft state, checks what it points to, keeps it durably, and
    /// promises. Submitting the same operation again gives the same promise.
    ///
    /// # Errors
    /// [`Refusal`]; the operation is then not kept.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        principal: Principal,
        submission: Submission,
    ) -> Result<Receipt, Refusal> {
        let operation = submission.signed.operation;
        if operation.signer != principal.account {
            return Err(Refusal::forbidden("an operation is submitted by its signer: log in as that account"));
        }
        let id = submission.signed.id(self.domain);
        if let Some(known) = self.mempool.operation(id)? {
            return self.promise(id, &known);
        }
        match self.take(id, principal, submission).await {
            // The same operation, handed in at the same time, was faster.
            Err(refusal) => self.mempool.operation(id)?.map_or(Err(refusal), |known| self.promise(id, &known)),
            taken => taken,
        }
    }

    async fn take(
        self: &Arc<Self>,
        id: OperationId,
        principal: Principal,
        submission: Submission,
    ) -> Result<Receipt, Refusal> {
        // Cheap refusals first: nothing is read for an operation that breaks a rule.
        let (directory_in_force, place) = self.admit(&submission)?;
        if let Place::InsteadOf(older) = place {
            self.try_replacement(older, submission.signed).await?;
        }
        pointers::check_epoch(&submission, directory_in_force, self).await?;
        let checked = pointers::check(&submission, &principal, directory_in_force, self).await?;
        let whole = Arc::new((submission, checked));
        for _ in 0..DIRECTORY_READS {
            // The walk may have taken minutes: the epoch is looked at once more, and nothing is kept on another directory than that.
            let (submission, _) = &*whole;
            let (directory, _) = self.admit(submission)?;
            pointers::check_epoch(submission, directory, self).await?;
            let handed = Arc::clone(&whole);
            let kept =
                self.write(move |sequencer| sequencer.keep(id, principal, &handed.0, &handed.1, directory)).await?;
            if let Some(receipt) = kept? {
                self.wake.notify_one();
                return Ok(receipt);
            }
        }
        Err(Refusal::unavailable("the patient's key directory keeps changing: try again in a moment"))
    }

    /// Takes nothing more while L1 shows what this node cannot follow. L1 being out of reach is no reason.
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

    /// Whether the soft state takes an operation now; gives the key directory in force, and the operation's place.
    fn admit(&self, submission: &Submission) -> Result<(DirectoryCommitment, Place), Refusal> {
        let state = self.state();
        let operation = &submission.signed.operation;
        let place = capacity::place(&state, operation)?;
        // A patient's Revoke is taken all the same: readers are served meanwhile, and it ends that at once.
        if place == Place::Ordinary
            && let Some(reason) = &*self.halted.read().unwrap_or_else(PoisonError::into_inner)
        {
            return Err(Refusal::unavailable(format!("this node takes only Revokes at present: {reason}")));
        }
        if place == Place::Ordinary {
            self.quotas.check_space(&self.mempool)?;
        }
        match place {
            Place::Ordinary | Place::Reserved => {
                state.soft.check(&submission.signed, self.clock.now())?;
            }
            // The rest is checked on the state without the older one, which takes time to make: not for a forgery.
            Place::InsteadOf(_) => {
                let key = state.soft.identity(operation.signer).map(|identity| identity.key);
                let signed = key.is_some_and(|key| submission.signed.verify(self.domain, &key).is_ok());
                if !signed {
                    return Err(Refusal::refused("the signature is not the signer's"));
                }
            }
        }
        self.quotas.check_slots(state.soft.patient(operation.patient), operation)?;
        let medical = state.soft.medical(operation.patient);
        Ok((medical.map_or(DirectoryCommitment::NONE, |medical| medical.key_directory), place))
    }

    /// Whether an operation executes on the state without the older one. Not as the writer: this takes long, and costs the signer nothing if
    /// it fails.
    async fn try_replacement(self: &Arc<Self>, older: Sequence, signed: SignedOperation) -> Result<(), Refusal> {
        let _turn = self.replacements.turn().await?;
        let sequencer = Arc::clone(self);
        let now = self.clock.now();
        let tried = tokio::task::spawn_blocking(move || sequencer.without(older).soft.check(&signed, now).map(drop));
        tried.await.map_err(|_| Refusal::unavailable("the node is stopping"))?.map_err(Refusal::from)
    }

    /// As the only writer: checks once more, keeps, then executes. `None`, and nothing is kept, if a record was checked against another
    /// key directory than the one in force.
    fn keep(
        &self,
        id: OperationId,
        signer: Principal,
        submission: &Submission,
        checked: &CheckedPointer,
        directory: DirectoryCommitment,
    ) -> Result<Option<Receipt>, Refusal> {
        if let Some(known) = self.mempool.operation(id)? {
            return self.promise(id, &known).map(Some);
        }
        let (in_force, place) = self.admit(submission)?;
        if in_force != directory && submission.epoch.is_some() {
            return Ok(None);
        }
        let operation = &submission.signed.operation;
        let patient = {
            let state = self.state();
            let patient = state
                .principal(operation.patient)
                .filter(|patient| state.is_current(&signer) && checked.is_on(patient));
            patient.ok_or_else(|| Refusal::unavailable("L1 was reorganised just now: hand the operation in again"))?
        };
        pointers::check_blocks(&signer, &checked.blocks, self)?;
        let acknowledged = self.clock.now();
        let (without, replaces) = match place {
            Place::Ordinary | Place::Reserved => (None, None),
            Place::InsteadOf(older) => {
                let without = self.without(older);
                without.soft.check(&submission.signed, acknowledged)?;
                (Some(without), Some(older))
            }
        };
        let signed = submission.signed;
        let Promise { turn, settle_by } = match &without {
            Some(without) => capacity::promise(without, &signed, place, acknowledged)?,
            None => capacity::promise(&self.state(), &signed, place, acknowledged)?,
        };
        let older = replaces.and_then(|older| self.state().open.get(&older).map(|open| open.replaced));
        let replaced = older.map_or(0, |replaced| replaced + 1);
        let status = OperationStatus::Pending;
        let kept = Acknowledged { signed, signer, patient, acknowledged, settle_by, turn, replaced, status };
        let receipt = self.promise(id, &kept)?;
        let (pointer, blocks) = (checked.pointer.as_ref(), &checked.blocks);
        let sequence = self.mempool.acknowledge(id, &kept, pointer, blocks, replaces)?;
        let mut state = self.state_mut();
        let state = &mut *state;
        if let Some(without) = without {
            *state = without;
        }
        if let Some((commitment, pointer)) = &checked.pointer {
            Arc::make_mut(&mut state.pointers).insert(*commitment, pointer.clone());
        }
        // Checked on this very state under this lock, a moment ago; were the second that passed its last, it is returned
        // at the next sealing.
        if Arc::make_mut(&mut state.soft).execute(&kept.signed, acknowledged).is_ok() {
            Arc::make_mut(&mut state.history).record(sequence, &kept, &state.soft);
        }
        state.open.insert(sequence, kept);
        Ok(Some(receipt))
    }

    /// The state as if an open operation had never come. What it ended stays ended. Only the operations on its patient are executed again.
    fn without(&self, sequence: Sequence) -> State {
        let mut state = self.state().clone();
        let Some(removed) = state.open.remove(&sequence) else { return state };
        let patient = removed.signed.operation.patient;
        let soft = Arc::make_mut(&mut state.soft);
        soft.restore(patient, &state.settled);
        for open in state.open.values().filter(|open| open.signed.operation.patient == patient) {
            // As in `State::rebuild_soft`.
            let _ = soft.execute(&open.signed, open.acknowledged);
        }
        state
    }

    fn promise(&self, id: OperationId, kept: &Acknowledged) -> Result<Receipt, Refusal> {
        self.expect_whole()?;
        if !self.state().is_of_its_principals(kept) {
            return Err(Refusal::refused("this operation was signed for an account that is somebody else's on L1 now"));
        }
        match &kept.status {
            OperationStatus::Returned { reason } => {
                return Err(Refusal::refused(format!("this operation was returned: {reason}; sign a new one")));
            }
            OperationStatus::Replaced { by } => {
                return Err(Refusal::refused(format!("operation {by} took the place of this one")));
            }
            OperationStatus::Pending | OperationStatus::Sealed { .. } | OperationStatus::Settled { .. } => {}
        }
        receipt::sign(&self.instance, &self.signer, id, kept.acknowledged, kept.settle_by)
            .map_err(|error| Refusal::unavailable(format!("the hospital's key cannot sign: {error}")))
    }

    /// Resolves when the mempool file is closed: the last user of this sequencer is gone.
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        self.mempool.closed()
    }

    /// Number of operations that wait, and when the oldest of them was acknowledged.
    pub(crate) fn waiting(&self) -> (usize, Option<UnixTime>) {
        let state = self.state();
        let waiting = state.open.values().filter(|open| open.status == OperationStatus::Pending);
        waiting.fold((0, None), |(count, oldest), open| {
            (count + 1, Some(oldest.map_or(open.acknowledged, |oldest: UnixTime| oldest.min(open.acknowledged))))
        })
    }
}
