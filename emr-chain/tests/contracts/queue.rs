//! The ordinary queue: batches take registrations in order, complete and unchanged. A flood of them stops nothing else.

use alloy::primitives::{U256, aliases::U56};
use emr_chain::{BatchContent, QueueName, QueueProgress, Revert, RollupError, SettlementLayer};
use emr_core::UnixTime;
use emr_testkit::{Outcome, chain::account};

use crate::{
    on_each_chain, on_geth,
    reference::integer,
    world::{DOCTOR, HOSPITAL, HOUR, MAX_L1, PATIENT, World, operations, refusal},
};

on_each_chain!(
    taken_in_order,
    only_as_queued,
    registrations_are_the_sequencers_for_a_day,
    a_flood_of_registrations_lets_no_stranger_in,
    a_stranger_does_not_stay_ahead_of_a_sequencer_that_comes_back,
    urgent_entries_of_its_own_keep_no_stranger_out,
    due_registrations_fill_the_slots_of_a_batch,
);
on_geth!(taken_in_order);

async fn taken_in_order(world: World) -> Outcome {
    let entries = world.register_patients(5).await?;
    assert_eq!(world.ordinary(0..5).await?, entries);
    assert_eq!(world.ordinary(2..4).await?.len(), 2);
    assert!(world.ordinary(3..3).await?.is_empty());
    let missing = world.rollup.queue_entries(QueueName::Ordinary, 3..7, 0).await;
    assert!(matches!(missing, Err(RollupError::QueueEntryMissing { queue: QueueName::Ordinary, index: 5 })));

    let queued = world.rollup.queue_entries(QueueName::Ordinary, 0..5, 0).await?;
    for (range, head) in [(0..2, 2), (2..2, 2), (2..5, 5)] {
        let batch = world.batch(entries[range].to_vec(), operations(1)).await?;
        world.expect(&batch).await?;
        world.rollup.settle(&batch).await?;
        let oldest = match queued.get(head as usize) {
            Some(entry) => Some(world.rollup.block_time(entry.block_number).await?),
            None => None,
        };
        assert_eq!(world.registrations().await?, QueueProgress { head, length: 5, overdue: 0, oldest });
    }
    Ok(())
}

async fn only_as_queued(world: World) -> Outcome {
    let entries = world.register_patients(3).await?;
    let refused = async |d1: Vec<_>| {
        let batch = world.batch(d1, Vec::new()).await?;
        // The verifier would accept, so only the queue can refuse.
        world.expect(&batch).await?;
        let settled = world.rollup.settle(&batch).await.err();
        Outcome::Ok(settled.and_then(|error| error.revert().cloned()))
    };
    let mismatch = |index| Some(Revert::EntryMismatch { queue: QueueName::Ordinary, index });
    // Entries out of order, one skipped, one repeated, and one bit changed in each word.
    assert_eq!(refused(vec![entries[1]]).await?, mismatch(0));
    assert_eq!(refused(vec![entries[0], entries[2]]).await?, mismatch(1));
    assert_eq!(refused(vec![entries[0], entries[0]]).await?, mismatch(1));
    for word in 0..4 {
        let mut changed = entries[..2].to_vec();
        changed[1][word][31] ^= 1;
        assert_eq!(refused(changed).await?, mismatch(1), "word {word}");
    }
    // The batch of this helper calls it urgent, where nothing waits.
    let (supplied, waiting) = (U256::ONE, U256::ZERO);
    let not_queued = Revert::EntriesNotQueued { queue: QueueName::Urgent, supplied, waiting };
    assert_eq!(refused(vec![[integer(0); 4]]).await?, Some(not_queued));
    // More entries than are queued, and more than a batch holds.
    let more = [&entries[..], &entries[..1]].concat();
    let (supplied, waiting) = (U256::from(4), U256::from(3));
    assert_eq!(refused(more).await?, Some(Revert::EntriesNotQueued { queue: QueueName::Ordinary, supplied, waiting }));
    let (supplied, capacity) = (U256::from(9), U256::from(MAX_L1));
    assert_eq!(refused(vec![entries[0]; 9]).await?, Some(Revert::TooManyEntries { supplied, capacity }));
    assert_eq!(refused(entries).await?, None);
    Ok(())
}

fn omitted(supplied: u64, required: u64) -> Option<Revert> {
    let (supplied, required) = (U256::from(supplied), U256::from(required));
    Some(Revert::OverdueEntriesOmitted { queue: QueueName::Ordinary, supplied, required })
}

fn not(n: u8) -> Outcome<Option<Revert>> {
    Ok(Some(Revert::NotSequencer(account(n)?.address())))
}

/// Strangers may settle registrations only after a day without a batch of the sequencer, and only overdue ones.
async fn registrations_are_the_sequencers_for_a_day(world: World) -> Outcome {
    let entries = world.register_patients(10).await?;
    let stranger = world.as_account(DOCTOR).await?;
    let contract = world.rollup.contract();
    assert_eq!(contract.QUEUE_DEADLINE().call().await?, U256::from(6 * HOUR));
    assert_eq!(contract.SEQUENCER_ABSENCE().call().await?, U256::from(24 * HOUR));
    let batch = world.batch(Vec::new(), operations(1)).await?;
    assert_eq!(refusal(&world, &world.rollup, &batch).await?, None);
    let from = world.now().await? + 24 * HOUR;
    assert_eq!(world.rollup.head().await?.strangers_from.get(), from);

    world.wait(from - world.now().await? - 120).await?;
    // As many as a batch holds, though more are overdue.
    assert_eq!(world.registrations().await?.overdue, MAX_L1);
    let batch = world.batch(entries[..8].to_vec(), Vec::new()).await?;
    assert_eq!(refusal(&world, &stranger, &batch).await?, not(DOCTOR)?);
    world.wait(240).await?;
    let batch = world.batch(entries[..7].to_vec(), Vec::new()).await?;
    assert_eq!(refusal(&world, &stranger, &batch).await?, omitted(7, 8));
    // Operations are on L1 only as hashes. If the sequencer did not know one, it could never continue.
    let batch = world.batch(entries[..8].to_vec(), operations(1)).await?;
    let refused = Some(Revert::OperationsBySequencerOnly(account(DOCTOR)?.address()));
    assert_eq!(refusal(&world, &stranger, &batch).await?, refused);
    let batch = world.batch(entries[..8].to_vec(), Vec::new()).await?;
    assert_eq!(refusal(&world, &stranger, &batch).await?, None);

    // Then the sequencer has an hour, and the next stranger comes after it.
    let batch = world.batch(entries[8..].to_vec(), Vec::new()).await?;
    assert_eq!(refusal(&world, &stranger, &batch).await?, not(DOCTOR)?);
    world.wait(HOUR + 60).await?;
    let batch = world.batch(entries[8..].to_vec(), Vec::new()).await?;
    assert_eq!(refusal(&world, &stranger, &batch).await?, None);
    // Nothing is overdue any more.
    world.wait(HOUR + 60).await?;
    for d2 in [Vec::new(), operations(1)] {
        let batch = world.batch(Vec::new(), d2).await?;
        assert_eq!(refusal(&world, &stranger, &batch).await?, not(DOCTOR)?);
    }
    Ok(())
}

/// However many registrations are overdue: as long as the sequencer settles a batch a day, no stranger makes a proof
/// stale, and the batches hold operations.
async fn a_flood_of_registrations_lets_no_stranger_in(world: World) -> Outcome {
    let entries = world.register_patients(36).await?;
    let stranger = world.as_account(DOCTOR).await?;
    world.wait(6 * HOUR + 60).await?;
    for (round, seconds) in [HOUR, 20 * HOUR, 23 * HOUR, 23 * HOUR].into_iter().enumerate() {
        let at = 8 * round;
        assert_eq!(world.registrations().await?.overdue, MAX_L1);
        let batch = world.batch(entries[at..at + 8].to_vec(), Vec::new()).await?;
        assert_eq!(refusal(&world, &stranger, &batch).await?, not(DOCTOR)?, "round {round}");
        let batch = world.batch(entries[at..at + 8].to_vec(), operations(1)).await?;
        assert_eq!(refusal(&world, &world.rollup, &batch).await?, None);
        world.wait(seconds).await?;
    }
    Ok(())
}

/// The sequencer was away for two days, and strangers settle a long queue. Their ready proofs do not keep it from settling
/// operations again.
async fn a_stranger_does_not_stay_ahead_of_a_sequencer_that_comes_back(world: World) -> Outcome {
    let entries = world.register_patients(36).await?;
    let (stranger, other) = (world.as_account(DOCTOR).await?, world.as_account(HOSPITAL).await?);
    assert_eq!(world.rollup.contract().SEQUENCER_TURN().call().await?, U256::from(HOUR));
    world.wait(48 * HOUR).await?;
    // The batch has the earliest allowed time. The turn that it starts counts from the block, not from the batch's time.
    let early = UnixTime::new(world.now().await? - HOUR + 60)?;
    let batch = BatchContent { time: early, ..world.batch(entries[..8].to_vec(), Vec::new()).await? };
    assert_eq!(refusal(&world, &stranger, &batch).await?, None);
    // Proofs for the batches after that one are ready too. Neither the stranger nor an accomplice gets in.
    for seconds in [0, HOUR / 2] {
        world.wait(seconds).await?;
        let batch = world.batch(entries[8..16].to_vec(), Vec::new()).await?;
        assert_eq!(refusal(&world, &stranger, &batch).await?, not(DOCTOR)?);
        assert_eq!(refusal(&world, &other, &batch).await?, not(HOSPITAL)?);
    }
    let batch = world.batch(entries[8..16].to_vec(), operations(2)).await?;
    assert_eq!(refusal(&world, &world.rollup, &batch).await?, None);
    // The sequencer is back, so the queue is its own for another day.
    world.wait(20 * HOUR).await?;
    let batch = world.batch(entries[16..24].to_vec(), Vec::new()).await?;
    assert_eq!(refusal(&world, &stranger, &batch).await?, not(DOCTOR)?);
    Ok(())
}

/// Once a day, a hostile sequencer settles a batch full of urgent entries of its own accounts. Strangers may settle the
/// registrations all the same.
async fn urgent_entries_of_its_own_keep_no_stranger_out(world: World) -> Outcome {
    world.settled_patients(8).await?;
    let entries = world.register_patients_from(PATIENT + 8, 2).await?;
    world.wait(20 * HOUR).await?;
    for n in 0..8 {
        world.revoke_all(PATIENT + n).await?;
    }
    let from = world.rollup.head().await?.strangers_from;
    let batch = world.batch(world.urgent(0..8).await?, Vec::new()).await?;
    assert_eq!(refusal(&world, &world.rollup, &batch).await?, None);
    assert_eq!(world.rollup.head().await?.strangers_from, from);
    world.wait(5 * HOUR).await?;
    let stranger = world.as_account(DOCTOR).await?;
    let batch = world.batch(entries, Vec::new()).await?;
    assert_eq!(refusal(&world, &stranger, &batch).await?, None);
    Ok(())
}

/// What a batch of the sequencer must take depends on its own time, so it does not change while the batch is proved. Due
/// registrations fill the slots that the batch's size has left, and need no larger size.
async fn due_registrations_fill_the_slots_of_a_batch(world: World) -> Outcome {
    let entries = world.register_patients(3).await?;
    let queued = async |index| {
        let entry = world.rollup.contract().queueEntry(1, U56::from(index)).call().await?;
        Outcome::Ok(entry.enqueuedAt.saturating_to::<u64>())
    };
    assert_eq!(world.rollup.contract().QUEUE_DUE().call().await?, U256::from(5 * HOUR));
    let (first, last) = (queued(0).await?, queued(2).await?);
    for (time, expected) in [(first + 5 * HOUR, 0), (last + 5 * HOUR + 1, 3)] {
        let due = world.rollup.due_entries(UnixTime::new(time)?).await?;
        assert_eq!((due.urgent, due.ordinary), (0, expected), "{time}");
    }
    // Sealed a second before they are due, and settled half an hour after.
    let sealed = UnixTime::new(first + 5 * HOUR)?;
    world.wait((last + 5 * HOUR + HOUR / 2).saturating_sub(world.now().await?)).await?;
    let batch = BatchContent { time: sealed, ..world.batch(Vec::new(), operations(1)).await? };
    assert_eq!(refusal(&world, &world.rollup, &batch).await?, None);
    // The next one is later than that. The smaller size has room for two.
    let late = UnixTime::new(last + 5 * HOUR + 1)?;
    for (size, taken, required) in [(0, 2, 3), (0, 0, 3), (1, 1, 2), (1, 0, 2)] {
        let d1 = entries[..taken].to_vec();
        let batch = BatchContent { size, time: late, ..world.batch(d1, operations(1)).await? };
        assert_eq!(refusal(&world, &world.rollup, &batch).await?, omitted(taken as u64, required), "{size}");
    }
    let batch = BatchContent { size: 1, time: late, ..world.batch(entries[..2].to_vec(), operations(1)).await? };
    assert_eq!(refusal(&world, &world.rollup, &batch).await?, None);
    let batch = BatchContent { size: 1, ..world.batch(entries[2..].to_vec(), operations(1)).await? };
    assert_eq!(refusal(&world, &world.rollup, &batch).await?, None);
    Ok(())
}
