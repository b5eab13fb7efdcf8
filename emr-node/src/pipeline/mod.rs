//! The loop that turns waiting operations into settled batches: seal, prove, settle, follow.

mod batch;
mod overdue;
pub(crate) mod policy;
pub(crate) mod prove;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use emr_api::ProofJob;
use emr_rollup::batch::PublicInputs;
use tokio::sync::{mpsc, watch};

use crate::{
    engine::Engine,
    l1::{
        follow::{FollowError, Follower},
        lock::L1Lock,
    },
    mempool::BatchRecord,
    request_error::RequestError,
    sequencer::SealError,
};
use batch::Rejections;
use overdue::Overdue;
use policy::SealPolicy;
use prove::{Activity, Proving, VerifiedProof};

/// How often the loop runs if nothing wakes it.
const TICK: Duration = Duration::from_millis(500);
/// How long the loop waits after a failure.
const RETRY: Duration = Duration::from_secs(5);

/// The data that the loop and the HTTP interface share.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) engine: Arc<Engine>,
    pub(crate) follower: Follower,
    pub(crate) proving: Proving,
    policy: SealPolicy,
    /// The batch that needs a proof.
    job: Mutex<Option<Arc<ProofJob>>>,
    proofs: mpsc::Sender<(PublicInputs, VerifiedProof)>,
    pub(crate) l1_lock: L1Lock,
}

/// The channel for verified proofs from outside.
pub(crate) type Proofs = mpsc::Receiver<(PublicInputs, VerifiedProof)>;

impl Pipeline {
    pub(crate) fn new(engine: Arc<Engine>, follower: Follower, proving: Proving, policy: SealPolicy) -> (Self, Proofs) {
        let (proofs, arriving) = mpsc::channel(4);
        let l1_lock = L1Lock::default();
        (Self { engine, follower, proving, policy, job: Mutex::new(None), proofs, l1_lock }, arriving)
    }

    /// The batch that needs a proof.
    pub(crate) fn job(&self) -> Option<Arc<ProofJob>> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_job(&self, job: Option<ProofJob>) {
        *self.job.lock().unwrap_or_else(PoisonError::into_inner) = job.map(Arc::new);
    }

    /// Withdraws the job of a batch that was proved, so that nobody proves it again while it is being settled. Keeps
    /// the job if it is another batch's by now.
    fn withdraw_job(&self, proved: &Arc<ProofJob>) {
        let mut job = self.job.lock().unwrap_or_else(PoisonError::into_inner);
        if job.as_ref().is_some_and(|job| Arc::ptr_eq(job, proved)) {
            *job = None;
        }
    }

    fn act(&self, activity: Activity) {
        self.proving.activity.send_replace(activity);
    }

    /// Accepts a proof from outside. Verifies it first, because a lying prover must not cost gas.
    pub(crate) async fn offer(&self, number: u64, proof: Vec<u8>) -> Result<(), RequestError> {
        let job = self.job().filter(|job| job.number == number);
        let job = job.ok_or_else(|| RequestError::not_found(format!("batch {number} does not wait for a proof")))?;
        let verified = self.proving.verify(job.witness.version, job.public, proof).await;
        let verified = verified.map_err(|error| RequestError::refused(format!("the proof is refused: {error}")))?;
        // If the channel is full, there is a proof already.
        if self.proofs.try_send((job.public, verified)).is_ok() {
            self.withdraw_job(&job);
        }
        Ok(())
    }

    /// Follows L1, and then seals the waiting operations. Returns `None` if nothing waits.
    pub(crate) async fn seal(&self) -> Result<Option<BatchRecord>, RequestError> {
        // Without this, operations could expire at a time that L1 has not reached, or be sealed on a state that L1 does
        // not have.
        if let Err(error) = self.follow_once().await {
            return Err(RequestError::unavailable(format!("nothing is sealed without L1: {error}")));
        }
        let sealed = self.engine.write(Engine::seal).await?;
        if let Ok(Some(record)) = &sealed {
            tracing::info!(batch = record.number, n1 = record.public.n1, n = record.public.n, "sealed");
            self.engine.wake.notify_one();
        }
        sealed.map_err(|error| match error {
            SealError::Mempool(error) => error.into(),
            other => RequestError::unavailable(other.to_string()),
        })
    }

    /// Follows L1 until the node stops, and warns of promises that were not kept. A fault that stays is logged once.
    pub(crate) async fn follow(&self, every: Duration) {
        let (mut failing, mut overdue) = (None, Overdue::default());
        loop {
            tokio::time::sleep(every).await;
            let error = self.follow_once().await.err().map(|error| error.to_string());
            if error != failing {
                match &error {
                    Some(error) => tracing::warn!(error, "following L1 failed; it is tried again"),
                    None => tracing::warn!("L1 is followed again"),
                }
                failing = error;
            }
            for (sequence, settle_by) in overdue.new_ones(&self.engine.state().open, self.engine.clock.now()) {
                tracing::warn!(sequence, %settle_by, "an operation was to be settled or returned by now; `emr-hospital status` says what is wrong");
            }
        }
    }

    /// Brings the node up to L1's head. If L1 shows data that the node cannot follow, the node accepts no operations
    /// but Revokes.
    async fn follow_once(&self) -> Result<(), FollowError> {
        let followed = self.follower.sync(&self.engine).await;
        match &followed {
            Ok(()) => self.engine.resume(),
            Err(error) => self.engine.halt_on(error),
        }
        followed
    }

    /// Seals, proves and settles until the node stops.
    pub(crate) async fn run(&self, mut proofs: Proofs) {
        let mut rejections = Rejections::default();
        loop {
            if self.engine.settlement_rests() {
                // The status says why, and the log said it once. A batch that waits is sent, or sealed again, when settlement goes on.
                self.set_job(None);
                self.act(Activity::Idle);
                let _ = tokio::time::timeout(RETRY, self.engine.wake.notified()).await;
                continue;
            }
            let outstanding = self.engine.state().outstanding.clone();
            let Some(record) = outstanding else {
                self.set_job(None);
                self.act(Activity::Idle);
                self.withdraw().await;
                if self.policy.is_due(&self.engine) {
                    match self.seal().await {
                        Ok(Some(_)) => continue,
                        Ok(None) => {}
                        Err(error) => tracing::warn!(%error, "sealing failed"),
                    }
                }
                let _ = tokio::time::timeout(TICK, self.engine.wake.notified()).await;
                continue;
            };
            if rejections.are_too_many(&record.public) {
                self.stop_at(record.number);
                tokio::time::sleep(RETRY).await;
                continue;
            }
            if let Err(reason) = self.step(record, &mut proofs, &mut rejections).await {
                tracing::warn!(%reason, "a batch is stuck; trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Takes a step to take back a settlement that still waits on L1, and that the node no longer wants.
    async fn withdraw(&self) {
        if let Err(error) = self.follower.rollup.withdraw_settlement().await {
            tracing::debug!(%error, "a settlement that waits on L1 could not be taken back yet");
        }
    }

    /// The node's activity, as it changes.
    pub(crate) fn activity(&self) -> watch::Receiver<Activity> {
        self.proving.activity.subscribe()
    }
}
