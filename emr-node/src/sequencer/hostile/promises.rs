//! Every promise in a receipt is kept, whatever comes later.

use emr_chain::QueueName;

use super::*;

/// In every round, hostile accounts revoke empty slots, set new grants and revoke them. Whenever the honest Revoke
/// comes, it is settled within the time that its receipt promises. The same holds for the Revokes of the hostile
/// accounts.
#[test]
fn every_promise_of_a_revoke_is_kept_whatever_comes_after() -> Test {
    const HOSTILE: u64 = 20;
    const ROUNDS: u64 = 8;
    let world = world(HOSTILE)?;
    let hostile = DOCTOR + 1..=DOCTOR + HOSTILE;
    // The honest patient revokes more than once, so the promise does not depend on a first Revoke.
    let mut versions: BTreeMap<u64, u64> = hostile.clone().chain([HONEST]).map(|account| (account, 1)).collect();
    let mut salt = 0;
    let mut promised: Vec<(SignedOperation, u64, u64)> = Vec::new();
    let mut act = |world: &World, account: u64, action: Action, batch: u64| -> Test<bool> {
        salt += 1;
        let signed = world.sign(account, salt, action)?;
        let Ok(receipt) = world.submit(signed)? else { return Ok(false) };
        if let Action::Revoke(revoke) = action
            && revoke.slot.get() == FIRST
        {
            promised.push((signed, batch, receipt.settle_by.get() - receipt.acknowledged.get()));
        }
        Ok(true)
    };
    for batch in 0..ROUNDS {
        for account in hostile.clone() {
            for slot in 1..4 {
                act(&world, account, revoke(FIRST + slot + 4 * batch, 0)?, batch)?;
            }
            let version = versions.get_mut(&account).ok_or("known")?;
            if act(&world, account, revoke(FIRST, *version)?, batch)?
                && act(&world, account, grant(FIRST, Version::new(*version + 1)?)?, batch)?
            {
                *version += 2;
            }
        }
        let version = versions[&HONEST];
        if batch % 4 == 1 && act(&world, HONEST, revoke(FIRST, version)?, batch)? {
            act(&world, HONEST, grant(FIRST, Version::new(version + 1)?)?, batch)?;
            versions.insert(HONEST, version + 2);
        }
        world.settle()?;
    }
    let mut late = ROUNDS;
    while world.engine.state().open.iter().any(|(_, open)| open.reserved.is_some()) && late < 200 {
        world.settle()?;
        late += 1;
    }
    assert!(promised.len() > 60, "{}", promised.len());
    for (signed, at, seconds) in promised {
        let status = world.engine.mempool.operation(signed.id(world.domain))?.ok_or("kept")?.status;
        let batch = match status {
            OperationStatus::Settled { batch } => batch,
            // A newer Revoke of the same account replaced it. The newer promise counts.
            OperationStatus::Replaced { .. } if signed.operation.signer.get() != HONEST => continue,
            other => return Err(format!("{other:?}").into()),
        };
        // The first batch of the world has number 2. A batch takes at most two minutes.
        let took = (batch - 1 - at) * BATCH_SECONDS;
        assert!(
            took + promise::MARGIN / 2 <= seconds,
            "account {}: {took} s, promised {seconds}",
            signed.operation.signer
        );
        if signed.operation.signer.get() == HONEST {
            assert!(batch - 1 - at <= 5, "the honest Revoke of round {at} went into batch {batch}");
        }
    }
    Ok(())
}

/// An operation that waits for its registration gets a promise that counts all registrations before it, or it gets no
/// promise.
#[test]
fn a_promise_counts_the_registrations_that_go_first() -> Test {
    let world = world(1)?;
    let own = world.sign(HONEST, 1, put(HONEST, 0)?)?;
    let of_new = |account: u64| world.sign(account, 1, put(account, 0)?);
    let mut state = world.engine.state().clone();
    let (mut registrations, key) = (Vec::new(), key(7).public());
    for account in 100..30_100 {
        let registration = Register {
            account: AccountIndex::new(account)?,
            role: Role::Patient,
            org: None,
            key,
            encryption: Fr::from(account),
        };
        registrations.push(registration.into());
    }
    state.queues.append(QueueName::Ordinary, registrations);
    let within = |signed: &SignedOperation| {
        let promise = promise::promise(&state, signed, Place::Ordinary, world.time);
        promise.map(|promise| promise.settle_by.get() - world.time.get())
    };
    // Registrations do not delay operations of settled accounts: they fill every second batch at most, and have separate places in the others.
    let soon = within(&own)?;
    assert_eq!(soon, promise::MARGIN + 120);
    assert_eq!(
        within(&of_new(282)?)?,
        soon + 120,
        "the first 175 in a batch of the queue alone, eight beside operations"
    );
    assert_eq!(within(&of_new(283)?)?, soon + 2 * 120);
    let refused = within(&of_new(30_099)?).map_err(|error| error.kind);
    assert_eq!(refused, Err(RequestErrorKind::Unavailable), "164 times two batches are more than five hours");
    Ok(())
}

/// Revokes that expire soon cannot be settled before others with a later expiry. So they keep nobody from going first.
#[test]
fn revokes_that_expire_soon_keep_nobody_back() -> Test {
    const SLOTS: u64 = 40;
    let world = world(1)?;
    let busy = DOCTOR + 1;
    for slot in FIRST + 1..FIRST + SLOTS {
        world.taken(world.sign(busy, slot, grant(slot, Version::ZERO)?)?)?;
    }
    for slot in FIRST + 1..FIRST + SLOTS {
        let operation = world.sign(busy, 1000 + slot, revoke(slot, 1)?)?.operation;
        let operation = Operation { valid_until: world.time.saturating_add(900), ..operation };
        world.taken(operation.sign(world.domain, &key(busy), None))?;
    }
    let honest = world.sign(HONEST, 1, revoke(FIRST, 1)?)?;
    world.taken(honest)?;
    assert_eq!(world.batch_of(&honest), Some(0));
    Ok(())
}
