//! Settles a proven batch on L1.

use alloy::providers::DynProvider;
use emr_api::settlement;
use emr_chain::{Revert, Rollup, RollupError, SettlementLayer};
use emr_core::UnixTime;
use emr_rollup::{
    batch::{Batch, Proven},
    version::CircuitSizes,
};

/// The outcome of an attempt to settle a batch.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Its transaction was mined. L1 shows the result.
    Mined,
    /// L1 may have changed. Look at it before trying again.
    Look,
    /// Waiting is useless: L1 will never accept the batch's time, or not soon.
    Dead(String),
    /// L1's verifier rejects the proof.
    Rejected(String),
    /// L1's newest block is a little older than the batch. The next one will do.
    Early,
    /// It does not work at the moment.
    Stuck(String),
}

/// Sends the batch and waits until it is mined.
pub(crate) async fn send(
    rollup: &Rollup<DynProvider>,
    sizes: &CircuitSizes,
    batch: &Batch<Proven>,
    urgent: u16,
) -> Outcome {
    let Some(size) = sizes.position(batch.size()) else {
        return Outcome::Dead("L1 does not take batches of this size".to_owned());
    };
    match rollup.settle(&settlement::content(batch, size, urgent)).await {
        Ok(_) => Outcome::Mined,
        Err(error) => outcome(&error, batch.time()),
    }
}

/// How many seconds a batch may be ahead of L1's clock. Beyond that, the node does not wait for L1.
const WAITS: u64 = 3600;
/// How many seconds a batch may be ahead of L1's newest block as a matter of course: some blocks of 12 s. A small batch is proved before the next
/// block comes.
const NEXT_BLOCKS: u64 = 60;

/// Decides what a refusal means for the batch.
///
/// If the batch's time is before the earliest that L1 accepts, it stays too early for ever. If it is more than an hour
/// ahead of L1, a wrong clock made it, and waiting is useless. Sealing again is safe, even if the Ethereum node lied
/// and an earlier transaction is still mined. A proof is for one batch number and one previous state (`z` covers both),
/// so at most one of the two batches is settled. The node finds its operations by what they wrote.
fn outcome(error: &RollupError, time: UnixTime) -> Outcome {
    match error.revert() {
        Some(Revert::BatchTimeOutOfRange { earliest, .. }) if *earliest > time.get() => {
            Outcome::Dead(error.to_string())
        }
        Some(Revert::BatchTimeOutOfRange { latest, .. }) if latest.saturating_add(WAITS) < time.get() => {
            Outcome::Dead(error.to_string())
        }
        Some(Revert::BatchTimeOutOfRange { latest, .. }) if latest.saturating_add(NEXT_BLOCKS) >= time.get() => {
            Outcome::Early
        }
        Some(Revert::StaleBatch(_) | Revert::EntryMismatch { .. } | Revert::EntriesNotQueued { .. }) => Outcome::Look,
        // What it must take follows from its time and the queue, and only grows.
        Some(Revert::OverdueEntriesOmitted { .. }) => Outcome::Dead(error.to_string()),
        Some(Revert::ProofRejected) => Outcome::Rejected(error.to_string()),
        // It may still be mined. If it is sent again, L1 accepts only one of the two.
        None if matches!(error, RollupError::NotMined { .. }) => Outcome::Look,
        _ => Outcome::Stuck(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use emr_chain::QueueName;

    use super::*;

    #[test]
    fn only_time_kills_a_batch() -> Result<(), emr_core::OutOfRange> {
        let time = UnixTime::new(1000)?;
        let range = |earliest, latest| RollupError::from(Revert::BatchTimeOutOfRange { earliest, latest });
        assert!(matches!(outcome(&range(1001, 2000), time), Outcome::Dead(_)));
        // Sealed with a clock that was a day ahead.
        let ahead = UnixTime::new(100_000)?;
        assert!(matches!(outcome(&range(0, 10_000), ahead), Outcome::Dead(_)));
        assert!(matches!(outcome(&range(0, 97_000), ahead), Outcome::Stuck(_)));
        // L1's clock is late, and will reach this time. With the next block, it is no fault.
        assert!(matches!(outcome(&range(0, 939), time), Outcome::Stuck(_)));
        for latest in [940, 999] {
            assert!(matches!(outcome(&range(0, latest), time), Outcome::Early));
        }
        assert!(matches!(outcome(&Revert::ProofRejected.into(), time), Outcome::Rejected(_)));
        let (supplied, required) = Default::default();
        let omitted = Revert::OverdueEntriesOmitted { queue: QueueName::Urgent, supplied, required };
        assert!(matches!(outcome(&omitted.into(), time), Outcome::Dead(_)));
        assert!(matches!(outcome(&Revert::StaleBatch(Default::default()).into(), time), Outcome::Look));
        let not_mined = RollupError::NotMined { tx_hash: Default::default(), seconds: 180 };
        assert!(matches!(outcome(&not_mined, time), Outcome::Look));
        assert!(matches!(outcome(&RollupError::Unreachable("down".into()), time), Outcome::Stuck(_)));
        Ok(())
    }
}
