//! One batch, step by step: proved, sent, settled, or given up.

use emr_api::ProofJob;
use emr_rollup::batch::{Batch, Proven, PublicInputs, Sealed};

use super::{
    Pipeline, Proofs,
    prove::{Activity, ProvingError},
};
use crate::{
    http::refusal::Refusal,
    l1::{
        follow::FollowError,
        settle::{self as l1, Outcome},
    },
    mempool::{BatchRecord, BatchStage, KeptProof, MempoolError},
};

/// After how many refused proofs of a batch no more are made.
const MAX_REJECTIONS: u32 = 3;

/// A step of a batch did not succeed. It is tried again.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    /// The node is stopping.
    #[error(transparent)]
    Stopping(#[from] Refusal),
    #[error(transparent)]
    Mempool(#[from] MempoolError),
    #[error(transparent)]
    Follow(#[from] FollowError),
    #[error(transparent)]
    Proving(#[from] ProvingError),
    /// L1's verifier refused the proof.
    #[error("{0}; it is proved again")]
    Rejected(String),
    /// The transaction is mined or may be, and L1 does not show the batch.
    #[error("L1 does not show the batch yet")]
    NotShown,
    /// L1 does not take it now.
    #[error("{0}")]
    Stuck(String),
}

/// How often L1's verifier refused a proof of the outstanding batch.
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

    /// Whether no more proofs of a batch are made.
    pub(super) fn are_too_many(&self, batch: &PublicInputs) -> bool {
        self.of(batch) >= MAX_REJECTIONS
    }

    fn of(&self, batch: &PublicInputs) -> u32 {
        if self.of.as_ref() == Some(batch) { self.count } else { 0 }
    }
}

impl Pipeline {
    /// Brings the outstanding batch a step on.
    pub(super) async fn carry(
        &self,
        record: BatchRecord,
        proofs: &mut Proofs,
        rejections: &mut Rejections,
    ) -> Result<(), StepError> {
        let number = record.number;
        let reopened = {
            let record = record.clone();
            self.sequencer.write(move |sequencer| sequencer.reopen(&record)).await?
        };
        let sealed = match reopened {
            Ok(sealed) => sealed,
            Err(error) => {
                // Its queue entries or its base are no longer those of L1: it cannot be accepted there.
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
        self.settle(record, proof, &proven, rejections).await
    }

    /// Proves and sends a batch no more: this node and L1 do not agree on what a proof is.
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

    async fn settle(
        &self,
        record: BatchRecord,
        proof: KeptProof,
        proven: &Batch<Proven>,
        rejections: &mut Rejections,
    ) -> Result<(), StepError> {
        let number = record.number;
        self.act(Activity::Settling { batch: number });
        self.note(BatchRecord { stage: BatchStage::Sent(proof), ..record.clone() }).await?;
        let outcome = {
            let _turn = self.l1_turn.to_settle().await;
            l1::settle(&self.follower.rollup, proven).await
        };
        // Whatever the sender was told, L1 says what is settled.
        let followed = self.follow_once().await;
        if self.sequencer.state().batches >= number {
            tracing::info!(batch = number, "settled");
            return Ok(());
        }
        followed?;
        match outcome {
            Outcome::Dead(reason) => {
                tracing::warn!(batch = number, reason, "sealing anew");
                self.give_up(number).await
            }
            Outcome::Rejected(reason) => {
                rejections.note(record.public);
                self.note(BatchRecord { stage: BatchStage::Sealed, ..record }).await?;
                Err(StepError::Rejected(reason))
            }
            Outcome::Mined | Outcome::Look => Err(StepError::NotShown),
            Outcome::Stuck(reason) => {
                self.act(Activity::Stuck { batch: number, reason: reason.clone() });
                Err(StepError::Stuck(reason))
            }
        }
    }

    async fn note(&self, record: BatchRecord) -> Result<(), StepError> {
        let noted = self.sequencer.write(move |sequencer| sequencer.advance(record)).await;
        Ok(noted??)
    }

    async fn give_up(&self, number: u64) -> Result<(), StepError> {
        let done = self.sequencer.write(move |sequencer| sequencer.unseal(number)).await;
        Ok(done??)
    }
}
