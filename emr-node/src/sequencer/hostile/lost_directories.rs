//! A change of the key directory is returned while records wait that were sealed under it.

use super::*;

/// When the change is no longer valid, in seconds after the start.
const SOON: u64 = 100;

/// A patient's grant that puts another key directory in force, or the same one, and that is valid for a short time only.
fn soon_over(world: &World, slot: u64, after: DirectoryCommitment) -> Test<SignedOperation> {
    let Action::SetGrant(grant) = grant(slot, Version::ZERO)? else { return Err("a SetGrant".into()) };
    let long = world.sign(HONEST, slot, Action::SetGrant(SetGrant { directory_after: after, ..grant }))?.operation;
    let operation = Operation { valid_until: world.time.saturating_add(SOON), ..long };
    Ok(operation.sign(world.domain, &key(HONEST), None))
}

/// Seals when the change is no longer valid.
fn seal_late(world: &World) -> Test<Option<BatchRecord>> {
    world.engine.state_mut().last_time = world.time.saturating_add(2 * SOON);
    Ok(world.engine.seal()?)
}

fn status(world: &World, signed: &SignedOperation) -> Test<OperationStatus> {
    Ok(world.engine.mempool.operation(signed.id(world.domain))?.ok_or("kept")?.status)
}

fn is_returned(world: &World, signed: &SignedOperation) -> Test<bool> {
    Ok(matches!(status(world, signed)?, OperationStatus::Returned { .. }))
}

/// The epoch's secret is in the returned directory only. If the record were settled, nobody could ever read it.
#[test]
fn a_record_on_a_returned_directory_is_returned_too() -> Test {
    let world = world(1)?;
    let before = world.sign(HONEST, 1, put(HONEST, 0)?)?;
    world.taken(before)?;
    let change = soon_over(&world, FIRST + 1, DirectoryCommitment::from(Fr::from(5)))?;
    world.taken(change)?;
    let on_top = world.sign(HONEST, 2, put(HONEST, 1)?)?;
    world.taken(on_top)?;
    let of_another = world.sign(DOCTOR + 1, 3, put(DOCTOR + 1, 0)?)?;
    world.taken(of_another)?;

    let sealed = seal_late(&world)?.ok_or("sealed")?;
    assert!(is_returned(&world, &change)?);
    let OperationStatus::Returned { reason } = status(&world, &on_top)? else { return Err("must be returned".into()) };
    assert!(reason.contains("seal the record again"), "{reason}");
    // What was sealed under the directory in force stays, and so do the records of other patients.
    for kept in [before, of_another] {
        assert_eq!(status(&world, &kept)?, OperationStatus::Sealed { batch: sealed.number });
    }
    // The slot is free for the record that the author seals again.
    world.taken(world.sign(HONEST, 4, put(HONEST, 1)?)?)?;
    Ok(())
}

/// The batch is full before it reaches the record. The next sealing no longer sees the returned change.
#[test]
fn a_record_that_the_batch_does_not_reach_is_returned_too() -> Test {
    let world = world(1)?;
    let change = soon_over(&world, FIRST + 1, DirectoryCommitment::from(Fr::from(5)))?;
    world.taken(change)?;
    for number in 0..CircuitVersion::V1.max_l2 as u64 {
        world.taken(world.sign(DOCTOR + 1, number, put(DOCTOR + 1, number)?)?)?;
    }
    let on_top = world.sign(HONEST, 2, put(HONEST, 0)?)?;
    world.taken(on_top)?;
    seal_late(&world)?.ok_or("sealed")?;
    assert!(is_returned(&world, &change)?);
    assert!(is_returned(&world, &on_top)?);
    assert!(!world.engine.state().open.iter().any(|(_, open)| open.signed == on_top));
    Ok(())
}

/// A returned grant that kept the directory takes no keys away. Only records that use the grant are returned with it.
#[test]
fn a_record_after_a_returned_grant_with_the_same_directory_stays() -> Test {
    let world = world(1)?;
    let same = soon_over(&world, FIRST + 1, DirectoryCommitment::NONE)?;
    world.taken(same)?;
    let record = world.sign(HONEST, 2, put(HONEST, 0)?)?;
    world.taken(record)?;
    let sealed = seal_late(&world)?.ok_or("sealed")?;
    assert!(is_returned(&world, &same)?);
    assert_eq!(status(&world, &record)?, OperationStatus::Sealed { batch: sealed.number });
    Ok(())
}
