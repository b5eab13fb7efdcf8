//! Brings a proven batch to L1.

use alloy::providers::DynProvider;
use emr_chain::{BatchContent, Revert, Rollup, RollupError, Settlement};
use emr_core::UnixTime;
use emr_rollup::{
    batch::{Batch, Proven, Words},
    primitive::field,
};

/// What came of trying to settle a batch.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Its transaction was mined; L1 says the rest.
    Mined,
    /// L1 may have moved on; look before trying again.
    Look,
    /// It is not worth waiting for: L1's time has passed it, or is far behind it.
    Dead(String),
    /// L1's verifier refuses the proof.
    Rejected(String),
    /// It does not work for now.
    Stuck(String),
}

/// The batch as L1 takes it.
pub(crate) fn content(batch: &Batch<Proven>) -> BatchContent {
    let words = |entries: &[Words]| entries.iter().map(|entry| entry.map(|word| field::to_bytes(&word))).collect();
    let public = batch.public();
    BatchContent {
        pre: public.pre,
        post: public.post,
        time: batch.time(),
        commitment: field::to_bytes(&public.commitment),
        d1: words(&batch.data().d1),
        d2: words(&batch.data().d2),
        proof: batch.proof().to_vec(),
    }
}

/// Sends the batch and waits until it is mined.
pub(crate) async fn settle(rollup: &Rollup<DynProvider>, batch: &Batch<Proven>) -> Outcome {
    match rollup.settle(&content(batch)).await {
        Ok(_) => Outcome::Mined,
        Err(error) => outcome(&error, batch.time()),
    }
}

/// How far ahead of L1's clock a batch may be and still be waited for, seconds.
const WAITS: u64 = 3600;

/// What a refusal means for the batch.
///
/// A batch time before the earliest that L1 takes stays too early for ever; one that is more than an hour ahead of L1 was made
/// by a clock that was wrong, and nobody waits for it. To seal anew is safe even if the Ethereum node lied and a transaction
/// that was sent before is still mined: a proof is for one number and one state before it (`z` covers both), so of two batches
/// at most one is settled, and whichever it is, its operations are found by what they wrote.
fn outcome(error: &RollupError, time: UnixTime) -> Outcome {
    match error.revert() {
        Some(Revert::BatchTimeOutOfRange { earliest, .. }) if *earliest > time.get() => {
            Outcome::Dead(error.to_string())
        }
        Some(Revert::BatchTimeOutOfRange { latest, .. }) if latest.saturating_add(WAITS) < time.get() => {
            Outcome::Dead(error.to_string())
        }
        Some(
            Revert::StaleBatch(_)
            | Revert::EntryMismatch(_)
            | Revert::EntriesNotQueued { .. }
            | Revert::OverdueEntriesOmitted { .. },
        ) => Outcome::Look,
        Some(Revert::ProofRejected) => Outcome::Rejected(error.to_string()),
        // It may be mined yet: of what is sent again, L1 takes one.
        None if matches!(error, RollupError::NotMined { .. }) => Outcome::Look,
        _ => Outcome::Stuck(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_time_kills_a_batch() -> Result<(), emr_core::OutOfRange> {
        let time = UnixTime::new(1000)?;
        let range = |earliest, latest| RollupError::from(Revert::BatchTimeOutOfRange { earliest, latest });
        assert!(matches!(outcome(&range(1001, 2000), time), Outcome::Dead(_)));
        // Sealed by a clock that was a day ahead.
        let ahead = UnixTime::new(100_000)?;
        assert!(matches!(outcome(&range(0, 10_000), ahead), Outcome::Dead(_)));
        assert!(matches!(outcome(&range(0, 97_000), ahead), Outcome::Stuck(_)));
        // L1's clock is late: it will come.
        assert!(matches!(outcome(&range(0, 999), time), Outcome::Stuck(_)));
        assert!(matches!(outcome(&Revert::ProofRejected.into(), time), Outcome::Rejected(_)));
        assert!(matches!(outcome(&Revert::StaleBatch(Default::default()).into(), time), Outcome::Look));
        let not_mined = RollupError::NotMined { tx_hash: Default::default(), seconds: 180 };
        assert!(matches!(outcome(&not_mined, time), Outcome::Look));
        assert!(matches!(outcome(&RollupError::Unreachable("down".into()), time), Outcome::Stuck(_)));
        Ok(())
    }
}
