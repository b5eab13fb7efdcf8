//! The loop that turns what waits into settled batches: seal, prove, settle, follow.

pub(crate) mod policy;
pub(crate) mod prove;

use emr_api::ProofJob;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use emr_rollup::{
    batch::{Batch, Proven, Sealed},
    data::PublicInputs,
};
use tokio::sync::{mpsc, watch};

use crate::{
    http::refusal::Refusal,
    l1::follow::{FollowError, Follower},
    l1::lock::L1Turn,
    l1::settle::{self, Outcome},
    mempool::{BatchRecord, BatchStage},
    pipeline::policy::SealPolicy,
    pipeline::prove::{Activity, Proving, VerifiedProof},
    sequencer::{SealError, Sequencer},
};

/// How often the loop looks around when nothing wakes it.
const TICK: Duration = Duration::from_millis(500);
/// How long it waits after a failure.
const RETRY: Duration = Duration::from_secs(5);
/// After how many refused proofs of a batch no more are made.
const MAX_REJECTIONS: u32 = 3;

/// How often L1's verifier refused a proof of the outstanding batch.
#[derive(Debug, Default)]
struct Rejections {
    of: Option<PublicInputs>,
    count: u32,
}

impl Rejections {
    fn note(&mut self, batch: PublicInputs) {
        self.count = self.of(&batch) + 1;
        self.of = Some(batch);
    }

    fn of(&self, batch: &PublicInputs) -> u32 {
        if self.of.as_ref() == Some(batch) { self.count } else { 0 }
    }
}

/// What the loop and the HTTP interface share.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) sequencer: Arc<Sequencer>,
    pub(crate) follower: Follower,
    pub(crate) proving: Proving,
    policy: SealPolicy,
    /// The batch that wants a proof.
    job: Mutex<Option<Arc<ProofJob>>>,
    proofs: mpsc::Sender<(PublicInputs, VerifiedProof)>,
    pub(crate) l1_turn: L1Turn,
}

/// Where verified proofs from outside arrive.
pub(crate) type Proofs = mpsc::Receiver<(PublicInputs, VerifiedProof)>;

impl Pipeline {
    pub(crate) fn new(
        sequencer: Arc<Sequencer>,
        follower: Follower,
        proving: Proving,
        policy: SealPolicy,
    ) -> (Self, Proofs) {
        let (proofs, arriving) = mpsc::channel(4);
        let l1_turn = L1Turn::default();
        (Self { sequencer, follower, proving, policy, job: Mutex::new(None), proofs, l1_turn }, arriving)
    }

    /// The batch that wants a proof.
    pub(crate) fn job(&self) -> Option<Arc<ProofJob>> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_job(&self, job: Option<ProofJob>) {
        *self.job.lock().unwrap_or_else(PoisonError::into_inner) = job.map(Arc::new);
    }

    /// Nobody need prove a batch again while it is being settled. By now another one may want a proof: that one stays.
    fn withdraw_job(&self, proved: &Arc<ProofJob>) {
        let mut job = self.job.lock().unwrap_or_else(PoisonError::into_inner);
        if job.as_ref().is_some_and(|job| Arc::ptr_eq(job, proved)) {
            *job = None;
        }
    }

    fn act(&self, activity: Activity) {
        self.proving.activity.send_replace(activity);
    }

    /// Takes a proof from outside. It is verified before anything is done with it: a lying prover must not cost gas.
    pub(crate) async fn offer(&self, number: u64, proof: Vec<u8>) -> Result<(), Refusal> {
        let job = self.job().filter(|job| job.number == number);
        let job = job.ok_or_else(|| Refusal::not_found(format!("batch {number} does not wait for a proof")))?;
        let verified = self.proving.verify(job.public, proof).await;
        let verified = verified.map_err(|error| Refusal::refused(format!("the proof is refused: {error}")))?;
        // A full channel means that a proof is there already.
        if self.proofs.try_send((job.public, verified)).is_ok() {
            self.withdraw_job(&job);
        }
        Ok(())
    }

    /// Seals what waits, after a look at L1; `None` if nothing does.
    pub(crate) async fn seal(&self) -> Result<Option<BatchRecord>, Refusal> {
        // What lapses by a time that L1 does not have, or is sealed on a state that it does not have, is lost for nothing.
        if let Err(error) = self.follow_once().await {
            return Err(Refusal::unavailable(format!("nothing is sealed without L1: {error}")));
        }
        let sealed = self.sequencer.write(Sequencer::seal).await?;
        if let Ok(Some(record)) = &sealed {
            tracing::info!(batch = record.number, n1 = record.public.n1, n = record.public.n, "sealed");
            self.sequencer.wake.notify_one();
        }
        sealed.map_err(|error| match error {
            SealError::Mempool(error) => error.into(),
            other => Refusal::unavailable(other.to_string()),
        })
    }

    /// Follows L1 until the node stops.
    pub(crate) async fn follow(&self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            if let Err(error) = self.follow_once().await {
                tracing::warn!(%error, "following L1 failed");
            }
        }
    }

    /// Brings the node up to L1's head; takes nothing while L1 shows what cannot be followed.
    async fn follow_once(&self) -> Result<(), FollowError> {
        let followed = self.follower.sync(&self.sequencer).await;
        match &followed {
            Ok(()) => self.sequencer.resume(),
            Err(error) => self.sequencer.halt_on(error),
        }
        followed
    }

    /// Seals, proves and settles until the node stops.
    pub(crate) async fn run(&self, mut proofs: Proofs) {
        let mut rejections = Rejections::default();
        loop {
            let outstanding = self.sequencer.state().outstanding.clone();
            let Some(record) = outstanding else {
                self.set_job(None);
                self.act(Activity::Idle);
                if self.policy.is_due(&self.sequencer) {
                    match self.seal().await {
                        Ok(Some(_)) => continue,
                        Ok(None) => {}
                        Err(error) => tracing::warn!(%error, "sealing failed"),
                    }
                }
                let _ = tokio::time::timeout(TICK, self.sequencer.wake.notified()).await;
                continue;
            };
            if rejections.of(&record.public) >= MAX_REJECTIONS {
                self.stop_at(record.number);
                tokio::time::sleep(RETRY).await;
                continue;
            }
            if let Err(reason) = self.carry(record, &mut proofs, &mut rejections).await {
                tracing::warn!(reason, "a batch is stuck; trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Brings the outstanding batch a step on.
    async fn carry(&self, record: BatchRecord, proofs: &mut Proofs, rejections: &mut Rejections) -> Result<(), String> {
        let number = record.number;
        let reopened = {
            let record = record.clone();
            self.sequencer.write(move |sequencer| sequencer.reopen(&record)).await.map_err(|error| error.to_string())?
        };
        let sealed = match reopened {
            Ok(sealed) => sealed,
            Err(error) => {
                // Its queue entries or its base are no longer those of L1: it cannot be accepted there.
                tracing::warn!(%error, "giving the batch up; its operations wait again");
                return self.give_up(number).await;
            }
        };
        let (record, proven) = match &record.proof {
            Some(proof) => {
                let proof = hex::decode(proof).map_err(|error| error.to_string())?;
                (record, sealed.with_proof(proof))
            }
            None => self.prove(record, sealed, proofs).await?,
        };
        self.set_job(None);
        self.settle(record, proven, rejections).await
    }

    /// Proves and sends a batch no more: this node and L1 do not agree on what a proof is.
    fn stop_at(&self, batch: u64) {
        let reason = format!(
            "L1 has refused {MAX_REJECTIONS} proofs of it that verify here: use the keys of this deployment and an honest \
             Ethereum node, then start the node again"
        );
        let stuck = Activity::Stuck { batch, reason };
        if *self.activity().borrow() != stuck {
            tracing::error!("{stuck}");
            self.act(stuck);
        }
    }

    async fn prove(
        &self,
        record: BatchRecord,
        sealed: Batch<Sealed>,
        proofs: &mut Proofs,
    ) -> Result<(BatchRecord, Batch<Proven>), String> {
        let number = record.number;
        let (witness, public) = (sealed.witness().clone(), *sealed.public());
        self.set_job(Some(ProofJob { number, witness: witness.clone(), public }));
        let outside = async {
            loop {
                match proofs.recv().await {
                    // Of this very batch: one that was given up had the same number.
                    Some((of, proof)) if of == public => break proof,
                    Some(_) => {}
                    None => std::future::pending().await,
                }
            }
        };
        let proof = if self.proving.is_local() {
            tokio::select! {
                proved = self.proving.prove(number, witness, public) => {
                    proved.map_err(|error| {
                        self.act(Activity::Stuck { batch: number, reason: error.to_string() });
                        error.to_string()
                    })?
                }
                proof = outside => proof,
            }
        } else {
            self.act(Activity::Waiting { batch: number });
            outside.await
        };
        let record = BatchRecord {
            stage: BatchStage::Proven,
            proof: Some(hex::encode(&proof.bytes)),
            proof_bytes: Some(proof.bytes.len() as u64),
            prove_seconds: proof.seconds,
            ..record
        };
        self.note(record.clone()).await?;
        tracing::info!(batch = number, seconds = proof.seconds, "proven");
        Ok((record, sealed.with_proof(proof.bytes)))
    }

    async fn settle(
        &self,
        record: BatchRecord,
        proven: Batch<Proven>,
        rejections: &mut Rejections,
    ) -> Result<(), String> {
        let number = record.number;
        self.act(Activity::Settling { batch: number });
        self.note(BatchRecord { stage: BatchStage::Sent, ..record.clone() }).await?;
        let outcome = {
            let _turn = self.l1_turn.to_settle().await;
            settle::settle(&self.follower.rollup, &proven).await
        };
        // Whatever the sender was told, L1 says what is settled.
        let followed = self.follow_once().await;
        if self.sequencer.state().batches >= number {
            tracing::info!(batch = number, "settled");
            return Ok(());
        }
        followed.map_err(|error| error.to_string())?;
        match outcome {
            Outcome::Dead(reason) => {
                tracing::warn!(batch = number, reason, "sealing anew");
                self.give_up(number).await
            }
            Outcome::Rejected(reason) => {
                rejections.note(record.public);
                let unproven = BatchRecord {
                    stage: BatchStage::Sealed,
                    proof: None,
                    proof_bytes: None,
                    prove_seconds: None,
                    ..record
                };
                self.note(unproven).await?;
                Err(format!("{reason}; proving anew"))
            }
            Outcome::Mined | Outcome::Look => Err("L1 does not show the batch yet".to_owned()),
            Outcome::Stuck(reason) => {
                self.act(Activity::Stuck { batch: number, reason: reason.clone() });
                Err(reason)
            }
        }
    }

    async fn note(&self, record: BatchRecord) -> Result<(), String> {
        let noted = self.sequencer.write(move |sequencer| sequencer.advance(record)).await;
        noted.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    async fn give_up(&self, number: u64) -> Result<(), String> {
        let done = self.sequencer.write(move |sequencer| sequencer.unseal(number)).await;
        done.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// What the node is busy with, as it changes.
    pub(crate) fn activity(&self) -> watch::Receiver<Activity> {
        self.proving.activity.subscribe()
    }
}
