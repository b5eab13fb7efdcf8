//! The queue: entries are taken in order, whole, as queued, and not left behind for long.

use alloy::primitives::U256;
use emr_chain::{Revert, RollupError, Settlement};
use emr_testkit::Outcome;

use crate::{
    on_each_chain,
    reference::integer,
    world::{DOCTOR, HOUR, MAX_L1, SEQUENCER, World, operations},
};

on_each_chain!(taken_in_order, only_as_queued, overdue_entries_open_settlement);

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
        // The verifier would accept: the queue alone refuses.
        world.expect(&batch).await?;
        let settled = world.rollup.settle(&batch).await.err();
        Outcome::Ok(settled.and_then(|error| error.revert().cloned()))
    };
    // Out of order, skipping one, twice the same, and one bit changed in each word.
    assert_eq!(refused(vec![entries[1]]).await?, Some(Revert::EntryMismatch(0)));
    assert_eq!(refused(vec![entries[0], entries[2]]).await?, Some(Revert::EntryMismatch(1)));
    assert_eq!(refused(vec![entries[0], entries[0]]).await?, Some(Revert::EntryMismatch(1)));
    for word in 0..4 {
        let mut changed = entries[..2].to_vec();
        changed[1][word][31] ^= 1;
        assert_eq!(refused(changed).await?, Some(Revert::EntryMismatch(1)), "word {word}");
    }
    assert_eq!(refused(vec![[integer(0); 4]]).await?, Some(Revert::EntryMismatch(0)));
    // More than there are, and more than a batch holds.
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
    let caller = emr_testkit::chain::account(DOCTOR)?.address();
    assert_eq!(early, Some(Revert::NotSequencer(caller)));

    world.wait(120).await?;
    // As many as a batch holds; more are overdue.
    assert_eq!(world.rollup.head().await?.overdue, MAX_L1);
    let omitted = world.batch(entries[..7].to_vec(), Vec::new()).await?;
    world.expect(&omitted).await?;
    let (supplied, required) = (U256::from(7), U256::from(8));
    for settler in [&anyone, &world.rollup] {
        let refused = settler.settle(&omitted).await.err().and_then(|error| error.revert().cloned());
        assert_eq!(refused, Some(Revert::OverdueEntriesOmitted { supplied, required }));
    }
    // What operations wrote is on L1 in hashes only: one that the sequencer does not know would stop it for ever.
    let own = world.batch(entries[..8].to_vec(), operations(1)).await?;
    world.expect(&own).await?;
    let refused = anyone.settle(&own).await.err().and_then(|error| error.revert().cloned());
    assert_eq!(refused, Some(Revert::OperationsBySequencerOnly(caller)));
    let batch = world.batch(entries[..8].to_vec(), Vec::new()).await?;
    world.expect(&batch).await?;
    anyone.settle(&batch).await?;
    assert_eq!(world.rollup.head().await?.overdue, 2);
    let batch = world.batch(entries[8..].to_vec(), Vec::new()).await?;
    world.expect(&batch).await?;
    anyone.settle(&batch).await?;

    // Nothing is overdue any more: the sequencer's turn again.
    let batch = world.batch(Vec::new(), operations(1)).await?;
    world.expect(&batch).await?;
    let late = anyone.settle(&batch).await.err().and_then(|error| error.revert().cloned());
    assert_eq!(late, Some(Revert::NotSequencer(caller)));
    world.as_account(SEQUENCER).await?.settle(&batch).await?;
    Ok(())
}
