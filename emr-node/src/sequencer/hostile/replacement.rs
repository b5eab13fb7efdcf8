//! Many Revokes of one patient: which one replaces which, and what they wait for.

use emr_chain::QueueName;

use super::*;
use crate::{derivation::DerivationError, l1::follow::FollowError};

/// A patient who ends hundreds of grants does not delay another patient's first Revoke.
#[test]
fn one_patient_with_many_grants_does_not_delay_another() -> Test {
    let world = world(2)?;
    let busy = DOCTOR + 1;
    for slot in FIRST + 1..FIRST + 200 {
        world.taken(world.sign(busy, slot, grant(slot, Version::ZERO)?)?)?;
    }
    for slot in FIRST + 1..FIRST + 200 {
        world.taken(world.sign(busy, 1000 + slot, revoke(slot, 1)?)?)?;
    }
    let honest = world.sign(HONEST, 1, revoke(FIRST, 1)?)?;
    world.taken(honest)?;
    assert_eq!(world.batch_of(&honest), Some(0));
    Ok(())
}

/// When a newer Revoke replaces an older one, and what happens to the older one.
#[test]
fn a_newer_revoke_takes_the_older_ones_place_or_waits_its_turn() -> Test {
    let world = world(1)?;
    let id = |signed: &SignedOperation| signed.id(world.domain);
    let older = world.sign(HONEST, 1, revoke(FIRST, 2)?)?;
    world.taken(older)?;
    // A Revoke that ends less or expires earlier does not replace the older one. The soft state refuses it as well.
    assert!(world.submit(world.sign(HONEST, 2, revoke(FIRST, 1)?)?)?.is_err());
    let shorter = Operation { valid_until: world.time.saturating_add(60), salt: Fr::from(3), ..older.operation };
    assert!(world.submit(shorter.sign(world.domain, &key(HONEST), None))?.is_err());
    // For a forged signature, the state is not even built again.
    let forged = Operation { salt: Fr::from(4), ..older.operation }.sign(world.domain, &key(DOCTOR), None);
    assert_eq!(world.submit(forged)?, Err(RequestErrorKind::Refused));

    let newer = world.sign(HONEST, 5, revoke(FIRST, 2)?)?;
    world.taken(newer)?;
    let fate = world.engine.mempool.operation(id(&older))?.ok_or("kept")?.status;
    assert_eq!(fate, OperationStatus::Replaced { by: id(&newer) });
    assert_eq!(world.submit(older)?, Err(RequestErrorKind::Refused), "it does not come back");
    assert_eq!(world.engine.state().open.len(), 1);
    assert!(world.engine.state().soft.patient(AccountIndex::new(HONEST)?).is_some());
    // The state is the same as if the older Revoke had never come.
    let mut expected = Ledger::clone(&world.engine.state().settled);
    let acknowledged = world.engine.mempool.operation(id(&newer))?.ok_or("kept")?.acknowledged;
    expected.execute(&newer, acknowledged).map_err(|violation| violation.to_string())?;
    assert_eq!(world.engine.state().soft.trees().root(), expected.trees().root());

    // A waiting Revoke can be replaced only a few times: each time costs a row of the file.
    let mut last = newer;
    for salt in 10..13 {
        last = world.sign(HONEST, salt, revoke(FIRST, 2)?)?;
        world.taken(last)?;
    }
    assert!(world.submit(world.sign(HONEST, 20, revoke(FIRST, 2)?)?)?.is_err());
    // The Revoke stays once another operation may be built on its directory, or once it is sealed.
    world.taken(world.sign(HONEST, 7, put(HONEST, 0)?)?)?;
    let sealed = world.engine.seal()?.ok_or("sealed")?;
    assert_eq!(sealed.operations.len(), 2);
    assert!(world.submit(world.sign(HONEST, 9, revoke(FIRST, 2)?)?)?.is_err());
    let kept = world.engine.mempool.operation(id(&last))?.ok_or("kept")?.status;
    assert_eq!(kept, OperationStatus::Sealed { batch: 2 });
    Ok(())
}

/// A grant is given again after its Revoke, and both still wait. The new grant can be ended at once: its Revoke has a reserved place.
#[test]
fn a_grant_that_waits_behind_a_revoke_can_be_ended() -> Test {
    let world = world(1)?;
    world.taken(world.sign(HONEST, 1, revoke(FIRST, 1)?)?)?;
    world.taken(world.sign(HONEST, 2, grant(FIRST, Version::new(2)?)?)?)?;
    let again = world.sign(HONEST, 3, revoke(FIRST, 3)?)?;
    assert_eq!(place::find(&world.engine.state(), &again.operation, &[]).ok(), Some(Place::Reserved));
    world.taken(again)?;
    Ok(())
}

/// A Revoke has a valid signature and would replace another Revoke, but it does not execute. No limit counts such tries, so they may come again
/// and again. Each try runs outside the writer, because Revokes with a reserved place need the writer. Only a few may wait for a try.
#[tokio::test]
async fn a_replacement_that_fails_takes_nothing_from_the_writer() -> Test {
    let world = world(1)?;
    world.taken(world.sign(HONEST, 1, revoke(FIRST, 1)?)?)?;
    let wrong = |salt| {
        let operation = world.sign(HONEST, salt, revoke(FIRST, 1)?)?.operation;
        let operation = Operation { patient_epoch: AccountEpoch::FIRST.next()?, ..operation };
        Test::Ok(operation.sign(world.domain, &key(HONEST), None))
    };
    let honest = world.engine.state().principal(AccountIndex::new(HONEST)?).ok_or("an account")?;
    let hand_in = |salt| -> Test<_> {
        let submission = Submission { signed: wrong(salt)?, stored: None, epoch: None, directory: None };
        let engine = Arc::clone(&world.engine);
        Ok(tokio::spawn(async move { engine.submit(honest, submission).await.map_err(|error| error.kind) }))
    };
    // Another writer is at work all the while.
    let (begun, begins) = tokio::sync::oneshot::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let engine = Arc::clone(&world.engine);
    let work = move |_: &Engine| (begun.send(()).is_ok(), ended.recv().is_ok());
    let writing = tokio::spawn(async move { engine.write(work).await });
    begins.await?;
    let mut tried = Vec::new();
    for salt in 10..30 {
        tried.push(hand_in(salt)?);
    }
    let mut busy = 0;
    for task in tried {
        match tokio::time::timeout(std::time::Duration::from_secs(20), task).await?? {
            Err(RequestErrorKind::Stale | RequestErrorKind::Refused) => {}
            Err(RequestErrorKind::Unavailable) => busy += 1,
            other => return Err(format!("{other:?}").into()),
        }
    }
    assert!((1..20).contains(&busy), "{busy}");
    end.send(())?;
    assert_eq!(writing.await??, (true, true));
    Ok(())
}

/// While L1 shows something that the node cannot follow, readers are still served. So a Revoke is still accepted, and ends their access.
#[test]
fn a_halted_node_takes_revokes() -> Test {
    let world = world(1)?;
    world.engine.halt_on(&FollowError::QueueEntry { queue: QueueName::Urgent, index: 7 });
    assert_eq!(world.submit(world.sign(HONEST, 1, put(HONEST, 0)?)?)?, Err(RequestErrorKind::Unavailable));
    world.taken(world.sign(HONEST, 2, revoke(FIRST, 1)?)?)?;
    Ok(())
}

/// A batch is given up while its transaction is in flight, a Revoke in it is replaced, and then L1 settles the batch after all. That Revoke
/// is no longer open. So the node must derive its state again from all operations that were ever acknowledged.
#[test]
fn a_batch_that_was_given_up_may_be_settled_after_all() -> Test {
    let world = world(1)?;
    let older = world.sign(HONEST, 1, revoke(FIRST, 1)?)?;
    world.taken(older)?;
    let record = world.engine.seal()?.ok_or("sealed")?;
    let in_flight = world.on_l1(&record)?;
    world.engine.unseal(record.number)?;
    world.taken(world.sign(HONEST, 2, revoke(FIRST, 1)?)?)?;
    let taken = world.engine.apply_settled(std::slice::from_ref(&in_flight));
    assert!(matches!(taken, Err(DerivationError::UnknownOperations(_))), "{taken:?}");
    Ok(())
}
