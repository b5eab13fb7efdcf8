//! Every grant has a place for its Revoke, whatever thousands of accounts submit.

use super::*;

#[test]
fn a_revoke_has_a_place_at_every_moment_whatever_thousands_do() -> Test {
    let hostile = hostile_accounts();
    let world = world(hostile)?;
    let (mut ordinary, mut reserved) = (0_u64, 0_u64);
    for account in DOCTOR + 1..=DOCTOR + hostile {
        // Each account submits as many records as are accepted. Then it revokes empty slots, its grant, and its grant again.
        let mut taken = 0;
        for number in 0..40 {
            let record = self::put(account, number)?;
            match world.submit(world.sign(account, 100 + number, record)?)? {
                Ok(_) => taken += 1,
                Err(kind) => {
                    assert_eq!(kind, RequestErrorKind::Unavailable);
                    break;
                }
            }
        }
        for slot in FIRST + 1..FIRST + 20 {
            match world.submit(world.sign(account, 200 + slot, revoke(slot, 0)?)?)? {
                Ok(_) => taken += 1,
                Err(kind) => {
                    assert_eq!(kind, RequestErrorKind::Unavailable);
                    break;
                }
            }
        }
        ordinary += taken;
        for again in 0..3 {
            // The later Revokes end more versions: a Revoke that replaces an older one must not end less.
            match world.submit(world.sign(account, 300 + again, revoke(FIRST, 1 + again)?)?)? {
                Ok(_) => reserved += u64::from(again == 0),
                Err(kind) => {
                    assert!(
                        again > 0 && matches!(kind, RequestErrorKind::Unavailable | RequestErrorKind::Stale),
                        "{kind:?}"
                    )
                }
            }
        }
        if account % 16 == 0 || account < 100 {
            assert!(world.has_a_place()?, "after {account} accounts");
        }
    }
    let (open, full) = {
        let state = world.engine.state();
        (state.open.len() as u64, state.open.values().filter(|open| open.turn.is_none()).count())
    };
    println!("{hostile} accounts: {ordinary} ordinary, {reserved} reserved, {open} open, {full} counted");
    assert_eq!(reserved, hostile, "each has one place for its one grant");
    assert!(open <= ordinary + reserved, "no account has two places for one grant");
    assert_eq!(full, 2400, "half of each batch for five hours");
    assert_eq!(world.submit(world.sign(HONEST, 2, put(HONEST, 0)?)?)?, Err(RequestErrorKind::Unavailable));

    let honest = world.sign(HONEST, 1, revoke(FIRST, 1)?)?;
    let receipt = world.taken(honest)?;
    let batch = world.batch_of(&honest).ok_or("it waits")?;
    let promised = receipt.settle_by.get() - receipt.acknowledged.get();
    println!("the honest Revoke: batch {batch}, promised within {promised} s");
    assert!(batch <= hostile as usize / 16 + 1, "turns go round");
    assert!(promised >= 120 * (batch as u64 + 1), "the promise counts what goes first");
    // At this node, the Revoke counts at once.
    let state = world.engine.state();
    let grant = state.settled.patient(AccountIndex::new(HONEST)?).and_then(|leaves| leaves.grants.values().next());
    let left = state.history.left_of(AccountIndex::new(HONEST)?, GrantSlot::new(FIRST)?, grant.ok_or("granted")?);
    assert_eq!(left, None);
    Ok(())
}
