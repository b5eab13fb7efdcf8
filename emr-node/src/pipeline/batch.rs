//! The steps of one batch: it is proved, sent, settled, or given up.

use std::time::Duration;

use emr_api::ProofJob;
use emr_rollup::batch::{Batch, Proven, PublicInputs, Sealed};

use super::{
    Pipeline, Proofs,
    prove::{Activity, ProvingError},
};
use crate::{
    l1::{
        follow::FollowError,
        settle::{self as l1, Outcome},
    },
    mempool::{BatchRecord, BatchStage, KeptProof, MempoolError},
    request_error::RequestError,
};

/// After this many rejected proofs of a batch, the node makes no more.
const MAX_REJECTIONS: u32 = 3;

/// Why a step of a batch failed. The step is tried again.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    /// The node is stopping.
    #[error(transparent)]
    Stopping(#[from] RequestError),
    #[error(transparent)]
    Mempool(#[from] MempoolError),
    #[error(transparent)]
    Follow(#[from] FollowError),
    #[error(transparent)]
    Proving(#[from] ProvingError),
    /// L1's verifier rejected the proof.
    #[error("{0}; it is proved again")]
    Rejected(String),
    /// The transaction is or may be mined, but L1 does not show the batch.
    #[error("L1 does not show the batch yet")]
    NotShown,
    /// L1 does not accept the batch now.
    #[error("{0}")]
    Stuck(String),
}

/// The wait for L1's next block, if the newest one is older than the batch.
const NEXT_BLOCK: Duration = Duration::from_secs(1);

/// How often the node looks whether the batch that it sends is settled.
const SETTLED: Duration = Duration::from_secs(1);

/// How often L1's verifier rejected a proof of the outstanding batch.
#[derive(Debug, Default)]
pub(super) struct Rejections {
    of: Option<PublicInputs>,
    count: u32,
}

impl Rejections {
    fn note(&mut self, batch: PublicInputs) {
        self.count = self.of(&batch) + 1;
        self.of = Some(batch);
    }

    /// Whether the node stops making proofs of a batch.
    pub(super) fn are_too_many(&self, batch: &PublicInputs) -> bool {
        self.of(batch) >= MAX_REJECTIONS
    }

    fn of(&self, batch: &PublicInputs) -> u32 {
        if self.of.as_ref() == Some(batch) { self.count } else { 0 }
    }
}

impl Pipeline {
    /// Does the next step of the outstanding batch.
    pub(super) async fn step(
        &self,
        record: BatchRecord,
        proofs: &mut Proofs,
        rejections: &mut Rejections,
    ) -> Result<(), StepError> {
        let number = record.number;
        let resealed = {
            let record = record.clone();
            self.engine.write(move |engine| engine.reseal(&record)).await?
        };
        let sealed = match resealed {
            Ok(sealed) => sealed,
            Err(error) => {
                // L1 no longer has its queue entries or its base state, so L1 cannot accept it.
                tracing::warn!(%error, "giving the batch up; its operations wait again");
                return self.give_up(number).await;
            }
        };
        let kept = record.stage.proof().cloned();
        let (record, proof, proven) = match kept {
            Some(proof) => {
                let proven = sealed.with_proof(proof.bytes.clone());
                (record, proof, proven)
            }
            None => self.prove(record, sealed, proofs).await?,
        };
        self.set_job(None);
        self.send_and_follow(record, proof, &proven, rejections).await
    }

    /// Stops proving and sending a batch, because this node and L1 disagree about its proofs.
    pub(super) fn stop_at(&self, batch: u64) {
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
    ) -> Result<(BatchRecord, KeptProof, Batch<Proven>), StepError> {
        let number = record.number;
        let (witness, public) = (sealed.witness().clone(), *sealed.public());
        self.set_job(Some(ProofJob { number, witness: witness.clone(), public }));
        let outside = async {
            loop {
                match proofs.recv().await {
                    // Compares the public inputs, because a batch that was given up can have the same number.
                    Some((of, proof)) if of == public => break proof,
                    Some(_) => {}
                    None => std::future::pending().await,
                }
            }
        };
        let proof = if self.proving.is_local() {
            tokio::select! {
                proved = self.proving.prove(number, witness, public) => {
                    proved.inspect_err(|error| {
                        self.act(Activity::Stuck { batch: number, reason: error.to_string() });
                    })?
                }
                proof = outside => proof,
            }
        } else {
            self.act(Activity::Waiting { batch: number });
            outside.await
        };
        let kept = KeptProof { bytes: proof.bytes.clone(), seconds: proof.seconds };
        let record = BatchRecord { stage: BatchStage::Proven(kept.clone()), ..record };
        self.note(record.clone()).await?;
        tracing::info!(batch = number, seconds = proof.seconds, "proven");
        Ok((record, kept, sealed.with_proof(proof.bytes)))
    }

    /// Sends a proven batch, and reads from L1 what became of it.
    async fn send_and_follow(
        &self,
        record: BatchRecord,
        proof: KeptProof,
        proven: &Batch<Proven>,
        rejections: &mut Rejections,
    ) -> Result<(), StepError> {
        let number = record.number;
        // While a stuck batch is tried again, the status still shows it as stuck.
        if !matches!(*self.activity().borrow(), Activity::Stuck { batch, .. } if batch == number) {
            self.act(Activity::Settling { batch: number });
        }
        self.note(BatchRecord { stage: BatchStage::Sent(proof), ..record.clone() }).await?;
        let outcome = {
            let _sending = self.l1_lock.to_settle().await;
            tokio::select! {
                sent = l1::send(&self.follower.rollup, &self.engine.sizes, proven, record.urgent) => sent,
                // The transaction is mined, or somebody else settled the batch. In the second case it must not be sent again.
                () = self.settled(number) => Outcome::Look,
            }
        };
        // L1 decides what is settled, no matter what the Ethereum node answered.
        let followed = self.follow_once().await;
        if self.engine.state().batches >= number {
            tracing::info!(batch = number, "settled");
            return Ok(());
        }
        let why = match (&outcome, &followed) {
            (Outcome::Stuck(reason), _) => Some(reason.clone()),
            (_, Err(error)) => Some(error.to_string()),
            _ => None,
        };
        if let Some(reason) = why {
            self.act(Activity::Stuck { batch: number, reason });
        }
        followed?;
        match outcome {
            Outcome::Dead(reason) => {
                tracing::warn!(
                    batch = number,
                    reason,
                    "L1 can never accept this batch; its operations are sealed again"
                );
                self.give_up(number).await
            }
            Outcome::Rejected(reason) => {
                rejections.note(record.public);
                self.note(BatchRecord { stage: BatchStage::Sealed, ..record }).await?;
                Err(StepError::Rejected(reason))
            }
            Outcome::Early => {
                tokio::time::sleep(NEXT_BLOCK).await;
                Ok(())
            }
            Outcome::Mined | Outcome::Look => Err(StepError::NotShown),
            Outcome::Stuck(reason) => Err(StepError::Stuck(reason)),
        }
    }

    /// Resolves when the task that follows L1 has seen that a batch is settled.
    async fn settled(&self, number: u64) {
        while self.engine.state().batches < number {
            tokio::time::sleep(SETTLED).await;
        }
    }

    async fn note(&self, record: BatchRecord) -> Result<(), StepError> {
        let noted = self.engine.write(move |engine| engine.advance(record)).await;
        Ok(noted??)
    }

    async fn give_up(&self, number: u64) -> Result<(), StepError> {
        let done = self.engine.write(move |engine| engine.unseal(number)).await;
        done??;
        self.withdraw().await;
        Ok(())
    }
}
