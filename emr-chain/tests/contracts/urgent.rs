//! The urgent queue: a patient's forced revocation is settled within hours, whatever the sequencer, a flooder or a stranger
//! does.

use alloy::{
    primitives::{Address, U256},
    providers::Provider,
};
use emr_chain::{QueueName, QueueProgress, Revert, SettlementLayer, Words};
use emr_core::UnixTime;
use emr_testkit::{Outcome, chain::account};

use crate::{
    on_each_chain, on_geth,
    world::{DOCTOR, HOUR, MAX_L1, PATIENT, World, operations, refusal},
};

on_each_chain!(
    urgent_entries_come_first,
    overdue_ones_open_settlement_whatever_the_sequencer_settles,
    a_silent_sequencer_delays_by_the_bound,
    younger_entries_come_along,
    settled_revocations_keep_nobody_from_registrations,
    a_long_queue_costs_a_fee_that_is_burnt,
);
on_geth!(urgent_entries_come_first, a_long_queue_costs_a_fee_that_is_burnt);

fn omitted(queue: QueueName, supplied: u64, required: u64) -> Option<Revert> {
    let (supplied, required) = (U256::from(supplied), U256::from(required));
    Some(Revert::OverdueEntriesOmitted { queue, supplied, required })
}

impl World {
    /// Registers patients `PATIENT..`, and settles their registrations.
    pub async fn settled_patients(&self, count: u8) -> Outcome {
        let entries = self.register_patients(count).await?;
        for taken in entries.chunks(MAX_L1 as usize) {
            let batch = self.batch(taken.to_vec(), Vec::new()).await?;
            assert_eq!(refusal(self, &self.rollup, &batch).await?, None);
        }
        Ok(())
    }

    /// Entries of the urgent queue.
    pub async fn urgent(&self, range: std::ops::Range<u64>) -> Outcome<Vec<Words>> {
        let entries = self.rollup.queue_entries(QueueName::Urgent, range, 0).await?;
        Ok(entries.iter().map(|entry| entry.words).collect())
    }
}

/// A batch takes urgent entries before ordinary ones, and cannot pass off one for the other.
async fn urgent_entries_come_first(world: World) -> Outcome {
    world.settled_patients(2).await?;
    let registrations = world.register_patients_from(PATIENT + 2, 2).await?;
    world.revoke_all(PATIENT).await?;
    world.revoke_all(PATIENT + 1).await?;
    let urgent = world.urgent(0..2).await?;

    let mixed = [&urgent[..], &registrations].concat();
    let reversed = [&registrations[..], &urgent].concat();
    for (d1, called_urgent, queue, index) in [
        (&mixed[..], 3, QueueName::Urgent, None),
        (&mixed[..3], 1, QueueName::Ordinary, Some(2)),
        (&mixed[..], 0, QueueName::Ordinary, None),
        (&reversed[..], 2, QueueName::Urgent, Some(0)),
    ] {
        let mut batch = world.batch(d1.to_vec(), operations(1)).await?;
        batch.urgent = called_urgent;
        let refused = refusal(&world, &world.rollup, &batch).await?;
        let as_expected = match (&refused, index) {
            (Some(Revert::EntryMismatch { queue: said, index: at }), Some(index)) => *said == queue && *at == index,
            (Some(Revert::EntriesNotQueued { queue: said, .. }), None) => *said == queue,
            _ => false,
        };
        assert!(as_expected, "{called_urgent} urgent: {refused:?}");
    }
    let batch = world.batch(mixed, operations(1)).await?;
    assert_eq!(batch.urgent, 2);
    assert_eq!(refusal(&world, &world.rollup, &batch).await?, None);
    let queues = world.rollup.head().await?.queues;
    let done = QueueProgress { head: 2, length: 2, ..QueueProgress::default() };
    assert_eq!((queues.urgent, queues.ordinary.head), (done, 4));
    assert_eq!(world.rollup.batches(0).await?.last().map(|batch| batch.content.urgent), Some(2));
    Ok(())
}

/// A sequencer that settles operations and leaves a revocation out: its batches are refused from five hours on, and from
/// six hours on anyone settles the revocation, also right after a batch of the sequencer.
async fn overdue_ones_open_settlement_whatever_the_sequencer_settles(world: World) -> Outcome {
    world.settled_patients(1).await?;
    let registrations = world.register_patients_from(PATIENT + 1, 1).await?;
    world.revoke_all(PATIENT).await?;
    let queued = world.now().await?;
    let entry = world.urgent(0..1).await?;
    let stranger = world.as_account(DOCTOR).await?;
    let not_sequencer = Some(Revert::NotSequencer(account(DOCTOR)?.address()));

    world.wait(5 * HOUR - 60).await?;
    let batch = world.batch(Vec::new(), operations(1)).await?;
    assert_eq!(refusal(&world, &world.rollup, &batch).await?, None, "not due yet");
    world.wait(120).await?;
    for size in [0, 1] {
        let mut batch = world.batch(registrations.clone(), operations(1)).await?;
        batch.size = size;
        assert_eq!(refusal(&world, &world.rollup, &batch).await?, omitted(QueueName::Urgent, 0, 1), "size {size}");
    }
    let batch = world.batch(entry.clone(), Vec::new()).await?;
    assert_eq!(refusal(&world, &stranger, &batch).await?, not_sequencer, "due, and not overdue");

    // The sequencer's batch of the earliest time need not have it, until the entry is six hours old.
    world.wait(HOUR - 120).await?;
    let early = UnixTime::new(queued + 5 * HOUR - 10)?;
    let mut batch = world.batch(Vec::new(), operations(1)).await?;
    batch.time = early;
    assert_eq!(refusal(&world, &world.rollup, &batch).await?, None);
    world.wait(120).await?;
    assert_eq!(world.rollup.head().await?.queues.urgent.overdue, 1);
    // A stranger takes nothing else along: no operation, and no registration.
    let batch = world.batch(entry.clone(), operations(1)).await?;
    let refused = Some(Revert::OperationsBySequencerOnly(account(DOCTOR)?.address()));
    assert_eq!(refusal(&world, &stranger, &batch).await?, refused);
    let batch = world.batch([&entry[..], &registrations].concat(), Vec::new()).await?;
    assert_eq!(refusal(&world, &stranger, &batch).await?, not_sequencer);
    let batch = world.batch(entry, Vec::new()).await?;
    assert_eq!(refusal(&world, &stranger, &batch).await?, None);
    assert_eq!(world.rollup.head().await?.queues.urgent.head, 1);
    // The sequencer was there all the time, so the registration is not open to strangers.
    world.wait(6 * HOUR).await?;
    let batch = world.batch(registrations, Vec::new()).await?;
    assert_eq!(refusal(&world, &stranger, &batch).await?, not_sequencer);
    Ok(())
}

/// The sequencer settles nothing, and a batch holds eight: twelve revocations are settled by strangers one batch after the
/// other, without a pause between them.
async fn a_silent_sequencer_delays_by_the_bound(world: World) -> Outcome {
    world.settled_patients(12).await?;
    for n in 0..12 {
        world.revoke_all(PATIENT + n).await?;
    }
    let queued = world.now().await?;
    let entries = world.urgent(0..12).await?;
    let stranger = world.as_account(DOCTOR).await?;
    world.wait(6 * HOUR + 60).await?;
    let batch = world.batch(entries[..4].to_vec(), Vec::new()).await?;
    assert_eq!(refusal(&world, &stranger, &batch).await?, omitted(QueueName::Urgent, 4, MAX_L1));
    // A size that holds fewer is no excuse.
    let mut batch = world.batch(entries[..2].to_vec(), Vec::new()).await?;
    batch.size = 1;
    assert_eq!(refusal(&world, &stranger, &batch).await?, omitted(QueueName::Urgent, 2, MAX_L1));
    for taken in [0..8, 8..12] {
        let batch = world.batch(entries[taken].to_vec(), Vec::new()).await?;
        assert_eq!(refusal(&world, &stranger, &batch).await?, None);
    }
    let waited = world.now().await? - queued;
    assert!(waited < 8 * HOUR, "{waited}");
    assert_eq!(
        world.rollup.head().await?.queues.urgent,
        QueueProgress { head: 12, length: 12, ..QueueProgress::default() }
    );
    Ok(())
}

/// A stranger's batch may hold urgent entries that are not overdue yet, so somebody who queues one every minute makes no proof
/// void. What the registrations behind them need is counted in the slots that are left.
async fn younger_entries_come_along(world: World) -> Outcome {
    world.settled_patients(3).await?;
    let registrations = world.register_patients_from(PATIENT + 3, 8).await?;
    world.wait(20 * HOUR).await?;
    world.revoke_all(PATIENT).await?;
    world.wait(5 * HOUR).await?;
    world.revoke_all(PATIENT + 1).await?;
    world.revoke_all(PATIENT + 2).await?;
    let urgent = world.urgent(0..3).await?;
    let stranger = world.as_account(DOCTOR).await?;
    world.wait(HOUR + 60).await?;
    let queues = world.rollup.head().await?.queues;
    assert_eq!((queues.urgent.overdue, queues.ordinary.overdue), (1, MAX_L1));

    // A batch with registrations starts an hour without strangers, so it must take all that fit.
    let batch = world.batch([&urgent[..], &registrations[..4]].concat(), Vec::new()).await?;
    assert_eq!(refusal(&world, &stranger, &batch).await?, omitted(QueueName::Ordinary, 4, 5));
    let batch = world.batch([&urgent[..], &registrations[..5]].concat(), Vec::new()).await?;
    assert_eq!(refusal(&world, &stranger, &batch).await?, None);
    let queues = world.rollup.head().await?.queues;
    assert_eq!((queues.urgent.waiting(), queues.ordinary.head), (3..3, 8));
    Ok(())
}

/// The sequencer is gone, and an accomplice queues a revocation every hour and settles it. That does not keep registrations
/// from being settled.
async fn settled_revocations_keep_nobody_from_registrations(world: World) -> Outcome {
    world.settled_patients(1).await?;
    let from = world.rollup.head().await?.strangers_from;
    let registrations = world.register_patients_from(PATIENT + 1, 1).await?;
    world.wait(18 * HOUR - 600).await?;
    world.revoke_all(PATIENT).await?;
    let stranger = world.as_account(DOCTOR).await?;
    world.wait(6 * HOUR + 60).await?;
    assert!(world.now().await? < from.get());
    let batch = world.batch(world.urgent(0..1).await?, Vec::new()).await?;
    assert_eq!(refusal(&world, &stranger, &batch).await?, None);
    assert_eq!(world.rollup.head().await?.strangers_from, from);
    world.wait(600).await?;
    let batch = world.batch(registrations, Vec::new()).await?;
    assert_eq!(refusal(&world, &stranger, &batch).await?, None);
    Ok(())
}

/// Up to 128 entries wait for nothing but gas. Then each costs more than the one before, and nobody gets the fee.
async fn a_long_queue_costs_a_fee_that_is_burnt(world: World) -> Outcome {
    let (patients, free) = (66, 128);
    world.settled_patients(patients).await?;
    let contract = world.rollup.contract();
    assert_eq!(contract.FREE_URGENT_ENTRIES().call().await?, U256::from(free));
    let step = contract.URGENT_FEE_STEP().call().await?;
    // The client sends 32 steps more if others can come first and raise the fee. What is not needed is the sender's.
    let margin = step * U256::from(32);
    for n in 0..free {
        assert_eq!(contract.urgentFee().call().await?, U256::ZERO, "{n}");
        assert_eq!(world.rollup.urgent_fee().await?, if n < free - 32 { U256::ZERO } else { margin }, "{n}");
        // Each patient can have one entry for a slot and one for all grants.
        let patient = PATIENT + n / 2;
        if n % 2 == 0 {
            world.revoke_all(patient).await?
        } else {
            world.revoke_slot(patient, 64).await?
        };
    }
    let last = world.signed_revocation(PATIENT + 64, Some(64)).await?;
    assert_eq!(contract.urgentFee().call().await?, step);
    let unpaid =
        contract.forceRevokeFor(last.owner, to_abi(&last), U256::from(last.deadline.get()), last.signature.clone());
    let missing = Revert::UrgentFeeMissing { fee: step, sent: U256::ZERO };
    assert_eq!(world.refusal(DOCTOR, unpaid).await?, missing);

    let relayer = world.as_account(DOCTOR).await?;
    relayer.force_revoke_for(&last).await?;
    // The fee is not in the contract.
    let rollup = world.rollup.instance().contract;
    assert_eq!(world.provider().get_balance(rollup).await?, margin * U256::from(33));
    assert!(world.provider().get_balance(Address::ZERO).await? >= step);
    let sender = account(DOCTOR)?.address();
    assert_eq!(relayer.credit_of(sender).await?, margin);
    assert_eq!(contract.urgentFee().call().await?, step * U256::from(2));
    // The sequencer cannot take it.
    assert_eq!(world.rollup.collect_fees(account(0)?.address()).await?.0, U256::ZERO);
    let to = crate::world::stranger()?.address();
    relayer.withdraw_credit(to).await?;
    assert_eq!(world.provider().get_balance(to).await?, margin);
    assert_eq!(world.refusal(DOCTOR, contract.withdrawCredit(to)).await?, Revert::NoCredit(sender));
    // As entries are settled, the fee falls.
    let batch = world.batch(world.urgent(0..8).await?, Vec::new()).await?;
    assert_eq!(refusal(&world, &world.rollup, &batch).await?, None);
    assert_eq!(contract.urgentFee().call().await?, U256::ZERO);
    Ok(())
}

fn to_abi(signed: &emr_chain::SignedRevocation) -> emr_chain::bindings::IAccountChanges::Revocation {
    let slot = signed.revocation.slot.map_or(0, |slot| slot.get() as u16);
    let all = signed.revocation.slot.is_none();
    emr_chain::bindings::IAccountChanges::Revocation { all, slot, replaceDirectory: false, directory: U256::ZERO }
}
