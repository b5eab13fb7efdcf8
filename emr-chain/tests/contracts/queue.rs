//! The queue: batches take entries in order, complete and unchanged, and cannot leave them out for long.

use alloy::{primitives::U256, providers::DynProvider};
use emr_chain::{BatchContent, Revert, Rollup, RollupError, SettlementLayer};
use emr_core::UnixTime;
use emr_testkit::{Outcome, chain::account};

use crate::{
    on_each_chain,
    reference::integer,
    world::{DOCTOR, HOSPITAL, HOUR, MAX_L1, SEQUENCER, World, operations},
};

on_each_chain!(
    taken_in_order,
    only_as_queued,
    overdue_entries_open_settlement,
    a_stranger_does_not_stay_ahead_of_the_sequencer,
    a_sequencer_that_does_the_least_delays_by_the_bound,
    due_by_the_time_of_the_batch,
);

async fn taken_in_order(world: World) -> Outcome {
    let entries = world.register_patients(5).await?;
    let told = world.rollup.queue_entries(0..5, 0).await?;
    assert_eq!(told.iter().map(|entry| entry.words).collect::<Vec<_>>(), entries);
    assert_eq!(world.rollup.queue_entries(2..4, 0).await?.len(), 2);
    assert_eq!(world.rollup.queue_entries(3..3, 0).await?, []);
    assert!(matches!(world.rollup.queue_entries(3..7, 0).await, Err(RollupError::QueueEntryMissing(5))));

    for (range, head) in [(0..2, 2), (2..2, 2), (2..5, 5)] {
        let batch = world.batch(entries[range].to_vec(), operations(1)).await?;
        world.expect(&batch).await?;
        world.rollup.settle(&batch).await?;
        let now = world.rollup.head().await?;
        assert_eq!((now.queue_head, now.queue_length), (head, 5));
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
    // Entries out of order, one skipped, one repeated, and one bit changed in each word.
    assert_eq!(refused(vec![entries[1]]).await?, Some(Revert::EntryMismatch(0)));
    assert_eq!(refused(vec![entries[0], entries[2]]).await?, Some(Revert::EntryMismatch(1)));
    assert_eq!(refused(vec![entries[0], entries[0]]).await?, Some(Revert::EntryMismatch(1)));
    for word in 0..4 {
        let mut changed = entries[..2].to_vec();
        changed[1][word][31] ^= 1;
        assert_eq!(refused(changed).await?, Some(Revert::EntryMismatch(1)), "word {word}");
    }
    assert_eq!(refused(vec![[integer(0); 4]]).await?, Some(Revert::EntryMismatch(0)));
    // More entries than are queued, and more than a batch holds.
    let more = [&entries[..], &entries[..1]].concat();
    let (supplied, waiting) = (U256::from(4), U256::from(3));
    assert_eq!(refused(more).await?, Some(Revert::EntriesNotQueued { supplied, waiting }));
    let (supplied, capacity) = (U256::from(9), U256::from(MAX_L1));
    assert_eq!(refused(vec![entries[0]; 9]).await?, Some(Revert::TooManyEntries { supplied, capacity }));
    assert_eq!(refused(entries).await?, None);
    Ok(())
}

/// A sequencer that ignores the queue loses its privilege after six hours.
async fn overdue_entries_open_settlement(world: World) -> Outcome {
    let entries = world.register_patients(10).await?;
    let anyone = world.as_account(DOCTOR).await?;
    let first = world.rollup.contract().queueEntry(0).call().await?.enqueuedAt;
    let deadline = world.rollup.contract().QUEUE_DEADLINE().call().await?;
    assert_eq!(deadline, U256::from(6 * HOUR));

    let left: u64 = (first + deadline).saturating_to::<u64>() - world.now().await?;
    world.wait(left - 60).await?;
    assert_eq!(world.rollup.head().await?.overdue, 0);
    let batch = world.batch(entries[..8].to_vec(), Vec::new()).await?;
    world.expect(&batch).await?;
    let early = anyone.settle(&batch).await.err().and_then(|error| error.revert().cloned());
    let caller = account(DOCTOR)?.address();
    assert_eq!(early, Some(Revert::NotSequencer(caller)));

    world.wait(120).await?;
    // The contract demands as many as a batch holds, though more are overdue.
    assert_eq!(world.rollup.head().await?.overdue, MAX_L1);
    let omitted = world.batch(entries[..7].to_vec(), Vec::new()).await?;
    world.expect(&omitted).await?;
    let (supplied, required) = (U256::from(7), U256::from(8));
    for settler in [&anyone, &world.rollup] {
        let refused = settler.settle(&omitted).await.err().and_then(|error| error.revert().cloned());
        assert_eq!(refused, Some(Revert::OverdueEntriesOmitted { supplied, required }));
    }
    // Operations are on L1 only as hashes. If the sequencer did not know one, it could never continue.
    let own = world.batch(entries[..8].to_vec(), operations(1)).await?;
    world.expect(&own).await?;
    let refused = anyone.settle(&own).await.err().and_then(|error| error.revert().cloned());
    assert_eq!(refused, Some(Revert::OperationsBySequencerOnly(caller)));
    let batch = world.batch(entries[..8].to_vec(), Vec::new()).await?;
    world.expect(&batch).await?;
    anyone.settle(&batch).await?;
    assert_eq!(world.rollup.head().await?.overdue, 2);
    world.wait(HOUR + 60).await?;
    let batch = world.batch(entries[8..].to_vec(), Vec::new()).await?;
    world.expect(&batch).await?;
    anyone.settle(&batch).await?;

    // Nothing is overdue any more, so an hour changes nothing.
    world.wait(HOUR + 60).await?;
    let batch = world.batch(Vec::new(), operations(1)).await?;
    world.expect(&batch).await?;
    let late = anyone.settle(&batch).await.err().and_then(|error| error.revert().cloned());
    assert_eq!(late, Some(Revert::NotSequencer(caller)));
    world.as_account(SEQUENCER).await?.settle(&batch).await?;
    Ok(())
}

/// The contract's reason for refusing a batch of this settler; `None` if it is settled. The verifier would accept the
/// batch.
async fn refusal(world: &World, settler: &Rollup<DynProvider>, batch: &BatchContent) -> Outcome<Option<Revert>> {
    world.expect(batch).await?;
    match settler.settle(batch).await {
        Ok(_) => Ok(None),
        Err(error) => Ok(Some(error.revert().cloned().ok_or(error)?)),
    }
}

/// After a flood of registrations, entries are overdue whatever the sequencer does. A stranger with ready proofs cannot
/// settle between the sequencer's batches, so operations are settled.
async fn a_stranger_does_not_stay_ahead_of_the_sequencer(world: World) -> Outcome {
    let entries = world.register_patients(36).await?;
    let (stranger, other) = (world.as_account(DOCTOR).await?, world.as_account(HOSPITAL).await?);
    let not = |n| Outcome::Ok(Some(Revert::NotSequencer(account(n)?.address())));
    assert_eq!(world.rollup.contract().SEQUENCER_TURN().call().await?, U256::from(HOUR));
    assert_eq!(world.rollup.contract().lastSettlementTime().call().await?.to::<u64>(), 0);
    world.wait(6 * HOUR + 60).await?;

    // The sequencer settles 8, with an operation.
    let batch = world.batch(entries[..8].to_vec(), operations(1)).await?;
    assert_eq!(refusal(&world, &world.rollup, &batch).await?, None);
    let settled = world.now().await?;
    assert_eq!(world.rollup.contract().lastSettlementTime().call().await?.to::<u64>(), settled);
    // 28 are overdue, and it is the sequencer's turn until an hour has passed.
    for left in [HOUR, 60] {
        world.wait((settled + HOUR - left).saturating_sub(world.now().await?)).await?;
        assert_eq!(world.rollup.head().await?.overdue, MAX_L1);
        let batch = world.batch(entries[8..16].to_vec(), Vec::new()).await?;
        assert_eq!(refusal(&world, &stranger, &batch).await?, not(DOCTOR)?, "{left} seconds left");
    }
    world.wait(120).await?;
    // The batch has the earliest allowed time. The turn that it starts counts from the block, not from the batch's
    // time.
    let early = UnixTime::new(world.now().await? - HOUR + 60)?;
    let batch = BatchContent { time: early, ..world.batch(entries[8..16].to_vec(), Vec::new()).await? };
    assert_eq!(refusal(&world, &stranger, &batch).await?, None);

    // Proofs for the batches after that one are ready too. Neither the stranger nor an accomplice gets in before the
    // sequencer.
    for seconds in [0, HOUR / 2] {
        world.wait(seconds).await?;
        let batch = world.batch(entries[16..24].to_vec(), Vec::new()).await?;
        assert_eq!(refusal(&world, &stranger, &batch).await?, not(DOCTOR)?);
        assert_eq!(refusal(&world, &other, &batch).await?, not(HOSPITAL)?);
    }
    let batch = world.batch(entries[16..24].to_vec(), operations(2)).await?;
    assert_eq!(refusal(&world, &world.rollup, &batch).await?, None);
    // The sequencer also settles its next batch at once.
    let batch = world.batch(entries[24..32].to_vec(), operations(1)).await?;
    assert_eq!(refusal(&world, &stranger, &batch).await?, not(DOCTOR)?);
    assert_eq!(refusal(&world, &world.rollup, &batch).await?, None);
    Ok(())
}

/// What a batch of the sequencer must take depends on its own time, so it does not change while the batch is proved.
async fn due_by_the_time_of_the_batch(world: World) -> Outcome {
    let entries = world.register_patients(2).await?;
    let queued = world.rollup.contract().queueEntry(1).call().await?.enqueuedAt.saturating_to::<u64>();
    assert_eq!(world.rollup.contract().QUEUE_DUE().call().await?, U256::from(5 * HOUR));
    let due = queued + 5 * HOUR;
    let times = [(due - HOUR, 0), (due, 1), (due + 1, 2)];
    for (time, expected) in times {
        let told = world.rollup.due_entries(UnixTime::new(time)?).await?;
        assert!(told == expected || (time == due && told <= 1), "{told} at {time}");
    }
    // Sealed a second before they are due, and settled half an hour after.
    let first = world.rollup.contract().queueEntry(0).call().await?.enqueuedAt.saturating_to::<u64>();
    let sealed = UnixTime::new(first + 5 * HOUR)?;
    world.wait((due + HOUR / 2).saturating_sub(world.now().await?)).await?;
    let batch = BatchContent { time: sealed, ..world.batch(Vec::new(), operations(1)).await? };
    assert_eq!(refusal(&world, &world.rollup, &batch).await?, None);
    // The next one is later than that, and must take both, in any size.
    let late = UnixTime::new(due + 1)?;
    for size in [0, 1] {
        let batch = BatchContent { size, time: late, ..world.batch(entries[..1].to_vec(), operations(1)).await? };
        let omitted = Revert::OverdueEntriesOmitted { supplied: U256::ONE, required: U256::from(2) };
        assert_eq!(refusal(&world, &world.rollup, &batch).await?, Some(omitted));
    }
    // They are not overdue yet, so nobody else may settle.
    let batch = BatchContent { time: late, ..world.batch(entries.clone(), Vec::new()).await? };
    let stranger = world.as_account(DOCTOR).await?;
    let refused = Some(Revert::NotSequencer(account(DOCTOR)?.address()));
    assert_eq!(refusal(&world, &stranger, &batch).await?, refused);
    let batch = BatchContent { time: late, ..world.batch(entries, operations(1)).await? };
    assert_eq!(refusal(&world, &world.rollup, &batch).await?, None);
    Ok(())
}

/// A sequencer that settles just often enough to keep strangers out still settles 8 overdue entries per hour. An entry
/// with `k` entries before it waits 6 hours and `(k + 1) / 8` hours, rounded up.
async fn a_sequencer_that_does_the_least_delays_by_the_bound(world: World) -> Outcome {
    let entries = world.register_patients(20).await?;
    let stranger = world.as_account(DOCTOR).await?;
    let omitted = |supplied: usize, required: u64| {
        Some(Revert::OverdueEntriesOmitted { supplied: U256::from(supplied), required: U256::from(required) })
    };
    let queued = world.now().await?;
    world.wait(6 * HOUR - 120).await?;
    // Two minutes later the entries are overdue. Until then, a batch of the earliest time may take none.
    let early = UnixTime::new(world.now().await? - HOUR + 60)?;
    let batch = BatchContent { time: early, ..world.batch(Vec::new(), operations(1)).await? };
    assert_eq!(refusal(&world, &world.rollup, &batch).await?, None);
    world.wait(HOUR - 120).await?;

    for taken in [0, 8] {
        for count in [0, 1, 7] {
            let batch = world.batch(entries[taken..taken + count].to_vec(), operations(1)).await?;
            assert_eq!(refusal(&world, &world.rollup, &batch).await?, omitted(count, 8), "{count} after {taken}");
        }
        let batch = world.batch(entries[taken..taken + 8].to_vec(), Vec::new()).await?;
        assert_eq!(refusal(&world, &world.rollup, &batch).await?, None);
        world.wait(HOUR - 60).await?;
    }
    // From now on, the sequencer sends only batches that leave entries out. They are refused, so they start no turn and
    // keep nobody out.
    for count in [0, 3] {
        let batch = world.batch(entries[16..16 + count].to_vec(), operations(1)).await?;
        assert_eq!(refusal(&world, &world.rollup, &batch).await?, omitted(count, 4));
    }
    world.wait(120).await?;
    let batch = world.batch(entries[16..].to_vec(), Vec::new()).await?;
    assert_eq!(refusal(&world, &stranger, &batch).await?, None);
    let head = world.rollup.head().await?;
    assert_eq!((head.queue_head, head.overdue), (20, 0));
    // The last of the 20 entries has 19 before it.
    let bound = 6 * HOUR + 20_u64.div_ceil(MAX_L1) * HOUR;
    let waited = world.now().await? - queued;
    assert!(waited > bound - HOUR && waited <= bound, "{waited} of {bound}");
    Ok(())
}
