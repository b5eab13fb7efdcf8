//! Delegates do their worst, and strangers claim to be delegates. The patient keeps the last word.

use emr_core::ClassMask;

use super::*;

/// The slot of the grant that makes [`DOCTOR`] a delegate.
const MANAGE: u64 = FIRST + 1;
/// A reader to whom the delegate grants.
const READER: u64 = DOCTOR + 1;
const OTHER: u64 = DOCTOR + 2;

fn leaf(grantee: u64, rights: Rights, expected: u64) -> Test<GrantLeaf> {
    Ok(GrantLeaf {
        grantee: Some(AccountIndex::new(grantee)?),
        rights,
        scope: Class::Summary.into(),
        not_after: UnixTime::new(UnixTime::MAX)?,
        uses: Uses::ZERO,
        version: Version::new(expected + 1)?,
        salt: Fr::from(11),
    })
}

fn set(slot: u64, expected: u64, leaf: GrantLeaf) -> Test<Action> {
    let (directory_before, directory_after) = (DirectoryCommitment::NONE, DirectoryCommitment::NONE);
    let (slot, expected) = (GrantSlot::new(slot)?, Version::new(expected)?);
    Ok(Action::SetGrant(SetGrant { slot, expected, leaf, directory_before, directory_after }))
}

/// A world in which the honest patient has named the doctor as a delegate for summaries, and that is settled.
fn family() -> Test<World> {
    let world = world(3)?;
    let manage = set(MANAGE, 0, leaf(DOCTOR, Rights::READ | Rights::MANAGE, 0)?)?;
    world.taken(world.sign(HONEST, 1, manage)?)?;
    world.settle()?;
    Ok(world)
}

impl World {
    fn as_delegate(&self, signer: u64, salt: u64, action: Action) -> Test<SignedOperation> {
        let signed = sign(self.domain, self.time, signer, HONEST, salt, action)?;
        Ok(signed.operation.sign(self.domain, &key(signer), Some(GrantSlot::new(MANAGE)?)))
    }

    /// The delegate grants to the reader in a slot that holds nothing.
    fn grants(&self, salt: u64, slot: u64) -> Test<SignedOperation> {
        self.as_delegate(DOCTOR, salt, set(slot, 0, leaf(READER, Rights::READ, 0)?)?)
    }

    fn status(&self, signed: &SignedOperation) -> Test<OperationStatus> {
        Ok(self.engine.mempool.operation(signed.id(self.domain))?.ok_or("kept")?.status)
    }

    fn gave_way(&self, older: &SignedOperation, newer: &SignedOperation) -> Test<bool> {
        Ok(self.status(older)? == OperationStatus::Replaced { by: newer.id(self.domain) })
    }

    /// The grantee of a slot of the honest patient in the settled state.
    fn settled_in(&self, slot: u64) -> Test<Option<u64>> {
        let state = self.engine.state();
        let leaves = state.settled.patient(AccountIndex::new(HONEST)?).ok_or("a patient")?;
        let leaf = leaves.grants.get(&GrantSlot::new(slot)?);
        Ok(leaf.and_then(|leaf| leaf.grantee).map(AccountIndex::get))
    }

    /// Whether nothing that is signed has taken away the settled grant of a slot.
    fn counts(&self, slot: u64) -> Test<bool> {
        let (state, patient, slot) = (self.engine.state(), AccountIndex::new(HONEST)?, GrantSlot::new(slot)?);
        let leaf = state.settled.patient(patient).and_then(|leaves| leaves.grants.get(&slot)).ok_or("written")?;
        Ok(state.history.left_of(patient, slot, leaf).is_some())
    }
}

#[test]
fn a_delegate_grants_and_revokes_and_a_stranger_does_not() -> Test {
    let world = family()?;
    let granted = world.grants(2, 70)?;
    world.taken(granted)?;
    let ends = world.as_delegate(DOCTOR, 3, revoke(FIRST, 1)?)?;
    world.taken(ends)?;
    assert!(!world.counts(FIRST)?, "a delegate's Revoke counts at once");
    world.settle()?;
    assert_eq!((world.settled_in(70)?, world.settled_in(FIRST)?), (Some(READER), None));

    // Strangers: with the delegate's slot as authority, with another one, and with none.
    for authority in [Some(MANAGE), Some(FIRST), Some(70), None] {
        let grants = set(71, 0, leaf(OTHER, Rights::READ, 0)?)?;
        for (salt, action) in [(20, grants), (21, revoke(70, 1)?)] {
            let operation = sign(world.domain, world.time, READER, HONEST, salt, action)?.operation;
            let authority = authority.map(GrantSlot::new).transpose()?;
            let refused = world.submit(operation.sign(world.domain, &key(READER), authority))?;
            assert!(matches!(refused, Err(RequestErrorKind::Revoked | RequestErrorKind::Forbidden)), "{refused:?}");
        }
    }
    // The delegate beyond their grant: other classes, MANAGE, their own slot, nothing to revoke, a slot of break-glass.
    let wide = GrantLeaf { scope: ClassMask::ALL, ..leaf(READER, Rights::READ, 0)? };
    let beyond = [
        set(71, 0, wide)?,
        set(71, 0, leaf(READER, Rights::READ | Rights::MANAGE, 0)?)?,
        set(MANAGE, 1, leaf(READER, Rights::READ, 1)?)?,
        set(71, 0, leaf(DOCTOR, Rights::READ, 0)?)?,
        revoke(MANAGE, 1)?,
        revoke(90, 0)?,
        revoke(5, 0)?,
        // A reader who does not exist: the patient's program could not check their key.
        set(71, 0, leaf(9_999_999, Rights::READ, 0)?)?,
    ];
    for (salt, action) in (30..).zip(beyond) {
        let refused = world.submit(world.as_delegate(DOCTOR, salt, action)?)?;
        assert_eq!(refused.err(), Some(RequestErrorKind::Refused), "{action:?}");
    }
    // A signature that is not the delegate's.
    let forged = world.grants(40, 72)?.operation.sign(world.domain, &key(READER), Some(GrantSlot::new(MANAGE)?));
    assert_eq!(world.submit(forged)?.err(), Some(RequestErrorKind::Refused));
    Ok(())
}

/// The patient ends the delegate's grant. What the delegate signed and is not sealed is dropped, and the Revoke waits for nothing.
#[test]
fn the_end_of_a_delegate_goes_before_all_that_they_signed() -> Test {
    let world = family()?;
    let mut waiting = Vec::new();
    for slot in 70..77 {
        waiting.push(world.grants(slot, slot)?);
    }
    waiting.push(world.as_delegate(DOCTOR, 3, revoke(FIRST, 1)?)?);
    for signed in &waiting {
        world.taken(*signed)?;
    }
    let end = world.sign(HONEST, 9, revoke(MANAGE, 1)?)?;
    assert!(world.has_a_place(&end));
    assert_eq!(world.engine.state().open.newly_urgent(&end).all, 1, "it needs none of them first");
    world.taken(end)?;
    for signed in &waiting {
        assert!(world.gave_way(signed, &end)?);
        assert_eq!(world.submit(*signed)?, Err(RequestErrorKind::Revoked), "it does not come back");
    }
    assert!(world.counts(FIRST)?, "what the delegate ended counts again: the patient decides");
    assert_eq!(world.batch_of(&end), Some(0));
    let late = world.submit(world.grants(50, 80)?)?;
    assert_eq!(late.err(), Some(RequestErrorKind::Revoked), "before any batch");
    world.settle()?;
    for slot in 70..77 {
        assert_eq!(world.settled_in(slot)?, None);
    }
    assert_eq!(world.settled_in(FIRST)?, Some(DOCTOR));
    assert!(world.submit(world.grants(51, 80)?)?.is_err());
    Ok(())
}

/// The same after the batch with the delegate's operations was sealed and given up: then the operations wait again, and the Revoke goes first.
#[test]
fn a_batch_that_is_given_up_gives_the_delegate_nothing() -> Test {
    let world = family()?;
    let granted = world.grants(2, 70)?;
    world.taken(granted)?;
    let record = world.engine.seal()?.ok_or("sealed")?;
    let end = world.sign(HONEST, 9, revoke(MANAGE, 1)?)?;
    world.taken(end)?;
    assert_eq!(world.status(&granted)?, OperationStatus::Sealed { batch: record.number }, "it may be settled already");
    world.engine.unseal(record.number)?;
    world.settle()?;
    assert_eq!((world.settled_in(70)?, world.settled_in(MANAGE)?), (None, None));
    assert!(matches!(world.status(&granted)?, OperationStatus::Returned { .. }));
    Ok(())
}

/// Patient and delegate write the same slot at the same time.
#[test]
fn a_race_for_a_slot_ends_in_the_patients_favour() -> Test {
    let world = family()?;
    // A free slot.
    let theirs = world.grants(2, 70)?;
    world.taken(theirs)?;
    let own = world.sign(HONEST, 3, set(70, 0, leaf(OTHER, Rights::READ, 0)?)?)?;
    world.taken(own)?;
    assert!(world.gave_way(&theirs, &own)?);
    // A grant that the delegate extends again and again while the patient ends it. The patient knows version 1 only.
    let mut versions = Vec::new();
    for version in 1..5 {
        let again = set(FIRST, version, leaf(READER, Rights::READ, version)?)?;
        versions.push(world.as_delegate(DOCTOR, 10 + version, again)?);
        world.taken(versions[version as usize - 1])?;
    }
    let end = world.sign(HONEST, 20, revoke(FIRST, 1)?)?;
    assert_eq!(place::find(&world.engine.state(), &end.operation, &[]).ok(), Some(Place::Reserved));
    world.taken(end)?;
    for signed in &versions {
        assert!(world.gave_way(signed, &end)?);
    }
    assert!(!world.counts(FIRST)?);
    world.settle()?;
    assert_eq!((world.settled_in(70)?, world.settled_in(FIRST)?), (Some(OTHER), None));

    // What is sealed cannot give way. A Revoke that goes beyond the known version ends it all the same.
    let sealed = world.as_delegate(DOCTOR, 30, set(70, 1, leaf(READER, Rights::READ, 1)?)?)?;
    world.taken(sealed)?;
    let record = world.engine.seal()?.ok_or("sealed")?;
    let exact = world.sign(HONEST, 31, revoke(70, 1)?)?;
    assert_eq!(world.submit(exact)?, Err(RequestErrorKind::Stale));
    world.taken(world.sign(HONEST, 32, revoke(70, 17)?)?)?;
    let settled = world.on_l1(&record)?;
    world.engine.apply_settled(std::slice::from_ref(&settled))?;
    world.settle()?;
    assert_eq!(world.settled_in(70)?, None);
    Ok(())
}

/// The patient builds on a delegate's operation. Then it goes first, so that the patient's own has its effect.
#[test]
fn what_the_patient_builds_on_stays() -> Test {
    let world = family()?;
    let theirs = world.grants(2, 70)?;
    world.taken(theirs)?;
    let longer = world.sign(HONEST, 3, set(70, 1, leaf(READER, Rights::WRITE, 1)?)?)?;
    world.taken(longer)?;
    assert_eq!(world.status(&theirs)?, OperationStatus::Pending);
    world.taken(world.sign(HONEST, 4, revoke(MANAGE, 1)?)?)?;
    assert_eq!(world.status(&theirs)?, OperationStatus::Pending);
    world.settle()?;
    assert_eq!((world.settled_in(70)?, world.settled_in(MANAGE)?), (Some(READER), None));
    Ok(())
}

/// A delegate takes neither the patient's places, nor their slots, nor their audit chain.
#[test]
fn a_delegate_uses_up_nothing_of_the_patient() -> Test {
    let world = family()?;
    let honest = world.sign(HONEST, 1000, revoke(FIRST, 1)?)?;
    let (mut taken, mut slot) = (0, FIRST + 2);
    loop {
        match world.submit(world.grants(slot, slot)?)? {
            Ok(_) => taken += 1,
            Err(RequestErrorKind::Unavailable) => world.settle()?,
            Err(kind) => {
                assert_eq!(kind, RequestErrorKind::Refused);
                break;
            }
        }
        assert!(world.has_a_place(&honest));
        let waiting = world.engine.state().open.len();
        assert!(waiting <= 8, "{waiting} of a delegate wait");
        slot += 1;
    }
    assert_eq!(taken, 50, "in a day");
    // Each grant of a delegate has a place for the patient's Revoke, and a delegate's Revoke takes none.
    world.settle()?;
    let theirs = world.as_delegate(DOCTOR, 2000, revoke(FIRST, 1)?)?;
    assert_eq!(place::find(&world.engine.state(), &theirs.operation, &[]).ok(), Some(Place::Ordinary));
    world.taken(theirs)?;
    assert!(world.has_a_place(&honest));
    world.taken(honest)?;
    assert!(world.gave_way(&theirs, &honest)?);

    // Half of the slots are for the patient.
    let world = family()?;
    for slot in FIRST + 2..FIRST + 480 {
        let own = world.sign(HONEST, slot, set(slot, 0, leaf(READER, Rights::WRITE, 0)?)?)?;
        if world.submit(own)?.is_err() {
            while !world.engine.state().open.iter().collect::<Vec<_>>().is_empty() {
                world.settle()?;
            }
            world.taken(own)?;
        }
    }
    assert_eq!(world.submit(world.grants(1, 700)?)?.err(), Some(RequestErrorKind::Refused));
    world.taken(world.sign(HONEST, 2, set(700, 0, leaf(READER, Rights::READ, 0)?)?)?)?;
    Ok(())
}

/// A patient's Revoke names a version that is ahead of what delegates can sign at once. So all delegates of a patient share their number.
#[test]
fn several_delegates_of_a_patient_share_what_may_wait() -> Test {
    let world = family()?;
    const SECOND: u64 = MANAGE + 1;
    world.taken(world.sign(HONEST, 1, set(SECOND, 0, leaf(OTHER, Rights::READ | Rights::MANAGE, 0)?)?)?)?;
    world.settle()?;
    let of_second = |salt, slot| -> Test<SignedOperation> {
        let action = set(slot, 0, leaf(READER, Rights::READ, 0)?)?;
        let signed = sign(world.domain, world.time, OTHER, HONEST, salt, action)?;
        Ok(signed.operation.sign(world.domain, &key(OTHER), Some(GrantSlot::new(SECOND)?)))
    };
    for slot in 70..74 {
        world.taken(world.grants(slot, slot)?)?;
        world.taken(of_second(slot, slot + 10)?)?;
    }
    assert_eq!(world.submit(world.grants(90, 90)?)?.err(), Some(RequestErrorKind::Unavailable));
    assert_eq!(world.submit(of_second(91, 91)?)?.err(), Some(RequestErrorKind::Unavailable));
    world.settle()?;
    world.taken(of_second(92, 91)?)?;
    Ok(())
}

/// A patient and a delegate cannot make any number of reserved places together.
#[test]
fn a_delegates_grant_that_is_dropped_makes_no_place() -> Test {
    let world = family()?;
    let mut version = 0;
    let mut reserved = 0;
    for round in 0..12 {
        let theirs = set(70, version, leaf(READER, Rights::READ, version)?)?;
        if world.submit(world.as_delegate(DOCTOR, 100 + round, theirs)?)?.is_err() {
            break;
        }
        let end = world.sign(HONEST, 200 + round, revoke(70, version + 1)?)?;
        if world.submit(end)?.is_err() {
            break;
        }
        let kept = world.engine.mempool.operation(end.id(world.domain))?.ok_or("kept")?;
        reserved += usize::from(kept.reserved.is_some());
        version += 2;
    }
    assert_eq!(reserved, 0, "the slot never held a grant that was settled");
    Ok(())
}

/// Others replace Revokes without end, and a delegate has written the slot. The patient's first Revoke does not stand in their line.
#[tokio::test]
async fn a_first_revoke_does_not_wait_for_those_that_replace_others() -> Test {
    let world = family()?;
    world.taken(world.as_delegate(DOCTOR, 2, set(FIRST, 1, leaf(READER, Rights::READ, 1)?)?)?)?;
    let _busy = world.engine.replacements.permit().await?;
    let patient = world.engine.state().principal(AccountIndex::new(HONEST)?).ok_or("an account")?;
    let end = submission(world.sign(HONEST, 3, revoke(FIRST, 1)?)?);
    let taken = tokio::time::timeout(std::time::Duration::from_secs(20), world.engine.submit(patient, end)).await?;
    assert!(taken.is_ok(), "{taken:?}");
    Ok(())
}

/// A patient and an accomplice keep an operation of a delegate waiting, and the patient hands in operations without end that would end it and fail:
/// at once, or only when their blocks are read. After a few, the node does no more work for them. Nobody else notices.
#[tokio::test]
async fn replacements_that_fail_cost_their_signer_something() -> Test {
    let world = family()?;
    world.taken(world.grants(2, 70)?)?;
    let other = DOCTOR + 1;
    world.taken(world.sign(other, 1, revoke(FIRST, 1)?)?)?;
    let hand_in = |account: u64, submission: Submission| {
        let engine = Arc::clone(&world.engine);
        async move {
            let principal = engine.state().principal(AccountIndex::new(account)?).ok_or("an account")?;
            Test::Ok(engine.submit(principal, submission).await.map(drop).map_err(|error| error.kind))
        }
    };
    let good = |salt| Test::Ok(submission(world.sign(HONEST, salt, set(70, 0, leaf(READER, Rights::READ, 0)?)?)?));
    for salt in 10..14 {
        let operation = good(salt)?.signed.operation;
        let operation = Operation { patient_epoch: AccountEpoch::FIRST.next()?, ..operation };
        let taken = hand_in(HONEST, submission(operation.sign(world.domain, &key(HONEST), None))).await?;
        assert!(matches!(taken, Err(RequestErrorKind::Stale | RequestErrorKind::Refused)), "{taken:?}");
    }
    // It executes, but the node has no such directory.
    let nowhere = emr_core::cid::cid_of(emr_core::Codec::DagCbor, b"nowhere");
    for salt in 14..18 {
        let mut operation = good(salt)?.signed.operation;
        if let Action::SetGrant(set) = &mut operation.action {
            set.directory_after = DirectoryCommitment::of(&nowhere);
        }
        let signed = operation.sign(world.domain, &key(HONEST), None);
        let taken = hand_in(HONEST, Submission { directory: Some(nowhere), ..submission(signed) }).await?;
        assert!(taken.is_err_and(|kind| kind != RequestErrorKind::Unavailable));
    }
    assert_eq!(hand_in(HONEST, good(20)?).await?, Err(RequestErrorKind::Unavailable));
    assert_eq!(world.status(&world.grants(2, 70)?)?, OperationStatus::Pending);
    // What ends nothing that waits is free, and others are not concerned.
    hand_in(HONEST, submission(world.sign(HONEST, 21, revoke(FIRST, 1)?)?))
        .await?
        .map_err(|kind| format!("{kind:?}"))?;
    let again = submission(world.sign(other, 22, revoke(FIRST, 1)?)?);
    hand_in(other, again).await?.map_err(|kind| format!("{kind:?}"))?;
    Ok(())
}
