//! Long queues: neither a flood of registrations nor overdue entries stop operations, and none stops the queue.

use std::sync::atomic::Ordering;

use emr_chain::{PerQueue, QueueName};
use emr_core::AccountStatus;
use emr_rollup::l1_operation::{ForcedRevoke, RevokedGrants, SetStatus};

use super::*;

/// The first account of those who flood the queue.
const NEW: u64 = 1_000;

impl World {
    fn register_new(&self, accounts: std::ops::Range<u64>) -> Test {
        let mut entries = Vec::new();
        for number in accounts {
            let (account, key) = (AccountIndex::new(NEW + number)?, key(NEW + number).public());
            let register = Register { account, role: Role::Patient, org: None, key, encryption: Fr::from(number) };
            entries.push(register.into());
        }
        Ok(self.engine.extend_queues(PerQueue { ordinary: entries, ..PerQueue::default() }, None)?)
    }

    /// These patients close their accounts on L1.
    fn close_accounts(&self, accounts: std::ops::RangeInclusive<u64>) -> Test {
        let mut urgent = Vec::new();
        for number in accounts {
            let account = AccountIndex::new(number)?;
            urgent.push(SetStatus { account, status: AccountStatus::Closed }.into());
        }
        Ok(self.engine.extend_queues(PerQueue { urgent, ..PerQueue::default() }, None)?)
    }

    /// Seals and settles a batch. Returns its numbers of L1 and L2 operations, and its size.
    fn next_batch(&self) -> Test<((u64, u64), CircuitVersion)> {
        let record = self.engine.seal()?.ok_or("nothing to seal")?;
        let size = self.engine.reseal(&record)?.witness().version;
        let settled = self.on_l1(&record)?;
        self.engine.apply_settled(std::slice::from_ref(&settled))?;
        Ok(((record.public.n1, record.public.n), size))
    }
}

#[test]
fn a_flood_of_registrations_leaves_every_second_batch_to_operations() -> Test {
    let world = world(20)?;
    world.register_new(0..400)?;
    // Revokes of the patient, which must not wait for the end of the flood.
    for salt in 1..=3 {
        world.taken(world.sign(HONEST, salt, grant(FIRST + salt, Version::ZERO)?)?)?;
    }
    world.taken(world.sign(HONEST, 9, revoke(FIRST, 1)?)?)?;
    assert_eq!(world.next_batch()?, ((175, 0), CircuitVersion::V1_QUEUE));
    assert_eq!(world.next_batch()?, ((8, 4), CircuitVersion::V1));
    world.taken(world.sign(HONEST, 10, put(HONEST, 0)?)?)?;
    assert_eq!(world.next_batch()?, ((175, 0), CircuitVersion::V1_QUEUE));
    assert_eq!(world.next_batch()?, ((8, 1), CircuitVersion::V1));
    // Nobody waits beside the queue, so what is left needs no mixed batch.
    assert_eq!(world.next_batch()?, ((34, 0), CircuitVersion::V1_QUEUE));
    assert_eq!(world.engine.seal()?, None);
    Ok(())
}

/// L1 refuses a batch that leaves out urgent entries that are due and that a larger size would hold. So these go first, also right
/// after another batch of the queues, and before registrations that were queued earlier.
#[test]
fn urgent_entries_go_first() -> Test {
    let world = world(200)?;
    world.register_new(0..200)?;
    world.close_accounts(DOCTOR + 1..=DOCTOR + 200)?;
    world.taken(world.sign(HONEST, 1, revoke(FIRST, 1)?)?)?;
    assert_eq!(world.next_batch()?, ((175, 0), CircuitVersion::V1_QUEUE));
    let urgent = |world: &World| world.engine.state().queues.waiting(QueueName::Urgent);
    assert_eq!(urgent(&world), 25, "no registration went first");
    world.engine.due_urgent.store(9, Ordering::Relaxed);
    assert_eq!(world.next_batch()?, ((175, 0), CircuitVersion::V1_QUEUE));
    assert_eq!((urgent(&world), world.engine.state().queues.waiting(QueueName::Ordinary)), (0, 50));
    // What an Ethereum node claims beyond the entries that wait pushes no operation away.
    world.engine.due_urgent.store(1_000, Ordering::Relaxed);
    assert_eq!(world.next_batch()?, ((8, 1), CircuitVersion::V1));
    Ok(())
}

/// Registrations that are due do not push operations away, however many there are.
#[test]
fn due_registrations_do_not_stop_operations() -> Test {
    let world = world(1)?;
    let within = |salt| -> Test<u64> {
        let signed = world.sign(HONEST, salt, put(HONEST, salt)?)?;
        let receipt = world.submit(signed)?.map_err(|kind| format!("{kind:?}"))?;
        Ok(receipt.settle_by.get() - receipt.acknowledged.get())
    };
    let quiet = within(9)?;
    assert_eq!(world.next_batch()?.0, (0, 1));
    world.register_new(0..2_000)?;
    for salt in 1..=3 {
        assert_eq!(within(salt)?, quiet, "registrations take every second batch at most, however many wait");
        assert_eq!(world.next_batch()?, ((175, 0), CircuitVersion::V1_QUEUE));
        assert_eq!(world.next_batch()?, ((8, 1), CircuitVersion::V1));
    }
    Ok(())
}

/// What the node acknowledged after an entry of the patient waits for that entry. On the settled state without it, it would not
/// execute, and the node would return what it promised to settle.
#[test]
fn what_follows_an_entry_waits_for_it() -> Test {
    let world = world(20)?;
    // After a batch of the queues alone, eight entries of others come first, as many as a batch takes beside operations.
    world.close_accounts(DOCTOR + 1..=DOCTOR + 9)?;
    assert_eq!(world.next_batch()?.0, (9, 0));
    world.close_accounts(DOCTOR + 10..=DOCTOR + 17)?;
    let account = AccountIndex::new(HONEST)?;
    let forced = ForcedRevoke { account, grants: RevokedGrants::All, directory: None };
    world.engine.extend_queues(PerQueue { urgent: vec![forced.into()], ..PerQueue::default() }, None)?;
    let granted = world.sign_in(2, HONEST, 1, grant(FIRST + 1, Version::ZERO)?)?;
    world.taken(granted)?;
    // Something else can be settled, so the batch is not for the queues alone.
    let other = DOCTOR + 18;
    world.taken(sign(world.domain, world.time, other, other, 2, put(other, 0)?)?)?;
    let mut entries = 0;
    for _ in 0..3 {
        let Some(record) = world.engine.seal()? else { break };
        entries += record.public.n1;
        let settled = world.on_l1(&record)?;
        world.engine.apply_settled(std::slice::from_ref(&settled))?;
    }
    assert_eq!((entries, world.engine.state().open.len()), (9, 0));
    let settled = Ledger::clone(&world.engine.state().settled);
    let grants = &settled.patient(account).ok_or("a patient")?.grants;
    assert!(grants.contains_key(&GrantSlot::new(FIRST + 1)?), "it was returned");
    Ok(())
}

/// A batch that was sealed is made again with the same entries, although more urgent ones were queued since.
#[test]
fn a_sealed_batch_keeps_its_entries() -> Test {
    let world = world(3)?;
    world.register_new(0..3)?;
    world.close_accounts(DOCTOR + 1..=DOCTOR + 1)?;
    let record = world.engine.seal()?.ok_or("nothing to seal")?;
    assert_eq!((record.urgent, record.public.n1), (1, 4));
    world.close_accounts(DOCTOR + 2..=DOCTOR + 3)?;
    assert_eq!(world.engine.reseal(&record)?.public(), &record.public);
    let settled = world.on_l1(&record)?;
    world.engine.apply_settled(std::slice::from_ref(&settled))?;
    let queues = world.engine.state().queues.clone();
    assert_eq!((queues.head(QueueName::Urgent), queues.head(QueueName::Ordinary)), (1, 3));
    assert_eq!((queues.waiting(QueueName::Urgent), queues.waiting(QueueName::Ordinary)), (2, 0));
    assert_eq!(world.next_batch()?.0, (2, 0));
    Ok(())
}

/// Somebody registers behind a long queue and submits an operation, which waits for that registration. It must not make the
/// batches leave room for it.
#[test]
fn an_operation_that_waits_for_its_registration_does_not_slow_the_queue() -> Test {
    let world = world(1)?;
    world.register_new(0..400)?;
    let (account, salt) = (NEW + 399, 1);
    world.taken(sign(world.domain, world.time, account, account, salt, put(account, 0)?)?)?;
    for expected in [(175, 0), (175, 0), (50, 0), (0, 1)] {
        assert_eq!(world.next_batch()?.0, expected);
    }
    Ok(())
}

/// The smallest size that holds a batch: it is proved soonest.
#[test]
fn a_batch_takes_the_smallest_size() -> Test {
    let world = world(1)?;
    for (count, size) in [(1, CircuitVersion::V1_SMALL), (9, CircuitVersion::V1_SMALL), (10, CircuitVersion::V1)] {
        for slot in 0..count {
            world.taken(world.sign(HONEST, 100 * count + slot, put(HONEST, 100 * count + slot)?)?)?;
        }
        assert_eq!(world.next_batch()?, ((0, count), size));
    }
    Ok(())
}

/// An Ethereum node shows a batch of a size that L1 does not have, or of more entries than its size holds. It is an
/// error, and no panic.
#[test]
fn a_batch_beyond_its_size_is_refused() -> Test {
    let world = world(1)?;
    for slot in 0..12 {
        world.taken(world.sign(HONEST, slot + 1, put(HONEST, slot)?)?)?;
    }
    let record = world.engine.seal()?.ok_or("nothing to seal")?;
    let honest = world.on_l1(&record)?;
    assert_eq!(honest.batch.content.size, 1);
    for size in [0, 2, 3, 255] {
        let mut other = honest.clone();
        other.batch.content.size = size;
        let refused = world.engine.apply_settled(std::slice::from_ref(&other));
        assert!(matches!(refused, Err(crate::derivation::DerivationError::Inconsistent(2))), "{size}: {refused:?}");
    }
    world.engine.apply_settled(std::slice::from_ref(&honest))?;
    // It would fit, but it was proved in another size: its commitment says so.
    world.taken(world.sign(HONEST, 99, put(HONEST, 99)?)?)?;
    let record = world.engine.seal()?.ok_or("nothing to seal")?;
    let honest = world.on_l1(&record)?;
    let mut other = honest.clone();
    other.batch.content.size = 1;
    let refused = world.engine.apply_settled(std::slice::from_ref(&other));
    assert!(matches!(refused, Err(crate::derivation::DerivationError::Inconsistent(3))), "{refused:?}");
    world.engine.apply_settled(std::slice::from_ref(&honest))?;
    Ok(())
}
