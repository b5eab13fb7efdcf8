//! Strangers settle what the sequencer does not: registrations when it was away for a day, and urgent entries that are overdue, also while it settles
//! other batches.

use std::time::Duration;

use alloy::{primitives::U256, providers::DynProvider};
use emr_api::settlement;
use emr_chain::{BatchContent, QueueName, Revert, Revocation, Rollup, RollupError, SettlementLayer};
use emr_client::{ClientError, L1Client, profile::Profile};
use emr_core::{Class, GrantSlot, UnixTime};
use emr_crypto::ScryptCost;
use emr_rollup::{
    batch::{Batch, BatchData, D1Entry, D2Entry, Sealed},
    l1_operation::L1Operation,
    operation::Domain,
    state::{StateTrees, ledger::Ledger},
    version::CircuitSizes,
};
use emr_testkit::node::{World, advance};

use crate::{
    anew::as_guardian,
    forced::{proof_of, proved},
    scene::*,
};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// The time of L1's newest block.
async fn now(rollup: &Rollup<DynProvider>) -> TestResult<UnixTime> {
    Ok(rollup.block_time(rollup.head().await?.block_number).await?)
}

/// A batch of so many entries from the heads of the urgent and the ordinary queue, made from L1's data alone. Whether the contract takes it is the
/// test's question.
async fn batch_of(
    rollup: &Rollup<DynProvider>,
    (urgent, ordinary): (u64, u64),
    time: UnixTime,
) -> TestResult<Batch<Sealed>> {
    let (head, sizes, instance) = (rollup.head().await?, CircuitSizes::v1(), rollup.instance());
    let mut trees = StateTrees::genesis(*sizes.any());
    for settled in rollup.batches(0).await? {
        let content = settled.content;
        let d1 = content.d1.iter().map(D1Entry::from_bytes).collect::<Result<_, _>>()?;
        let d2 = content.d2.iter().map(D2Entry::from_bytes).collect::<Result<_, _>>()?;
        trees.apply(&BatchData { d1, d2 }, content.time)?;
    }
    let domain = Domain::new(instance.chain_id, instance.contract.into_array());
    let mut batch = Batch::open(Ledger::of_trees(domain, trees), head.batch_count + 1, time).in_sizes(sizes);
    for (queue, first, count) in [
        (QueueName::Urgent, head.queues.urgent.head, urgent),
        (QueueName::Ordinary, head.queues.ordinary.head, ordinary),
    ] {
        for entry in rollup.queue_entries(queue, first..first + count, 0).await? {
            batch.push_l1(&L1Operation::from_entry(&D1Entry::from_bytes(&entry.words)?)?)?;
        }
    }
    Ok(batch.seal().0)
}

/// The batch as L1 takes it.
fn content(batch: Batch<Sealed>, urgent: u16, proof: Vec<u8>) -> TestResult<BatchContent> {
    let size = CircuitSizes::v1().position(&batch.witness().version).ok_or("a size of the deployment")?;
    Ok(settlement::content(&batch.with_proof(proof), size, urgent))
}

/// A day after the deployment no batch of the sequencer has come. Before, registrations are nobody else's affair, however old they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_settles_registrations_when_the_sequencer_was_away_for_a_day() -> TestResult {
    let scene = Scene::in_the_past(26 * HOUR, [STRANGER.address()]).await?;
    let patient = scene.registered(PATIENT).await?;
    let stranger = as_guardian(&scene, STRANGER).await?;
    let rollup = stranger.rollup();
    assert!(stranger.overdue_batch().await?.is_none());
    for (hours, overdue) in [(5, 0), (2, 2), (16, 2)] {
        scene.pass(hours * HOUR).await?;
        let head = rollup.head().await?;
        assert_eq!(head.queues.ordinary.overdue, overdue);
        assert!(now(rollup).await? < head.strangers_from);
        assert!(stranger.overdue_batch().await?.is_none(), "{overdue} are overdue for the sequencer alone");
    }
    let early = content(batch_of(rollup, (0, 2), now(rollup).await?).await?, 0, Vec::new())?;
    let refused = rollup.settle(&early).await;
    let not_theirs =
        matches!(refused, Err(RollupError::Reverted(Revert::NotSequencer(who))) if who == STRANGER.address());
    assert!(not_theirs, "{refused:?}");

    scene.pass(2 * HOUR).await?;
    let (batch, proof) = proved(&stranger).await?;
    assert_eq!(batch.entries(), 2, "the hospital and the patient");
    let receipt = stranger.settle_overdue(batch, proof).await?;
    let head = rollup.head().await?;
    assert_eq!((head.queues.ordinary.head, head.batch_count), (2, 1));
    assert!(stranger.overdue_batch().await?.is_none());
    // The next hour is the sequencer's.
    let settled_at = rollup.block_time(receipt.block_number).await?;
    assert_eq!(head.strangers_from, settled_at.saturating_add(HOUR));

    // The hospital's node follows, and the account is proved in the settled state.
    let view = patient.wait_registered(true, Duration::from_millis(20), Duration::from_secs(30)).await?;
    assert!(view.settled);
    let card = handed_over(&patient);
    let hospital = scene.client(HOSPITAL).await?;
    assert!(hospital.check_card(&card).await?.is_settled());
    drop(hospital);
    // The sequencer comes back, and goes on from the stranger's batch.
    scene.pass(HOUR).await?;
    let own = patient.upload(&card, Class::Summary, &record("after a stranger's batch")).await?;
    assert_eq!(scene.next_batch().await?.number, 2);
    let (read, _) = patient.retrieve(&card, own.slot, None).await?;
    assert_eq!(read.verified().ok_or("it is settled")?.batch(), 2);
    Ok(())
}

/// The sequencer is always first, and takes as little as it may. Each proof of the stranger is void then, but no batch leaves out what is overdue.
#[tokio::test(flavor = "multi_thread")]
async fn a_sequencer_that_settles_while_a_stranger_proves_cannot_leave_out_what_is_overdue() -> TestResult {
    let world = World::new().await?;
    let sequencer = &world.rollup;
    world.register(&PATIENT, None).await?;
    let registered = batch_of(sequencer, (0, 1), now(sequencer).await?).await?;
    let proof = proof_of(&registered).await?;
    sequencer.settle(&content(registered, 0, proof)?).await?;
    let patient = world.rollup_as(PATIENT.ethereum.clone()).await?;
    patient.force_revoke(&Revocation { slot: None, directory: None }).await?;
    advance(&world, 30 * MINUTE).await?;
    patient.force_revoke(&Revocation { slot: Some(GrantSlot::FIRST_ORDINARY), directory: None }).await?;

    let folder = world.folder.path().join("stranger");
    let profile = Profile::create(&folder, &STRANGER.identity, &PASSPHRASE.into(), ScryptCost::Development)?;
    let named = Some(*sequencer.instance());
    let stranger = L1Client::over(profile, STRANGER.identity.clone(), named, (&[world.endpoint()], None)).await?;
    advance(&world, 5 * HOUR + 40 * MINUTE).await?;
    // The first is 6 hours and 10 minutes old, the second 5 hours and 40.
    let (batch, proof) = proved(&stranger).await?;
    assert_eq!(batch.entries(), 2);

    // The earliest time that a batch of the sequencer can have, but for five minutes in which it is proved. Then only the first entry is due.
    let earliest = async || TestResult::Ok(UnixTime::new(now(sequencer).await?.get() - HOUR + 5 * MINUTE)?);
    let leaving_out_one = async || -> TestResult {
        let none = batch_of(sequencer, (0, 0), earliest().await?).await?;
        let refused = sequencer.settle(&content(none, 0, Vec::new())?).await;
        let Err(RollupError::Reverted(Revert::OverdueEntriesOmitted { queue, supplied, required })) = &refused else {
            return Err(format!("{refused:?}").into());
        };
        assert_eq!((*queue, *supplied, *required), (QueueName::Urgent, U256::ZERO, U256::ONE));
        Ok(())
    };
    leaving_out_one().await?;
    let least = batch_of(sequencer, (1, 0), earliest().await?).await?;
    let proof_of_least = proof_of(&least).await?;
    sequencer.settle(&content(least, 1, proof_of_least)?).await?;
    let late = stranger.settle_overdue(batch, proof).await;
    let stale = matches!(late, Err(ClientError::Rollup(RollupError::Reverted(Revert::StaleBatch(_)))));
    assert!(stale, "{late:?}");
    // What was overdue is settled. The second entry is not yet.
    assert_eq!(sequencer.head().await?.queues.urgent.head, 1);
    assert!(stranger.overdue_batch().await?.is_none());

    // Now it is. The sequencer can be first only with a batch that takes it, so it gains nothing.
    advance(&world, 30 * MINUTE).await?;
    let (batch, proof) = proved(&stranger).await?;
    assert_eq!(batch.entries(), 1);
    leaving_out_one().await?;
    stranger.settle_overdue(batch, proof).await?;
    let head = sequencer.head().await?;
    assert_eq!((head.queues.urgent.head, head.batch_count), (2, 3));
    assert!(stranger.overdue_batch().await?.is_none());
    Ok(())
}
