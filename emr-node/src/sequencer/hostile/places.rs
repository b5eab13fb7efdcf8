//! Every grant has a place for its Revoke, whatever thousands of accounts submit.

use std::time::Duration;

use super::*;

/// The accounts come one after the other, and each does its worst. The honest Revoke would be taken after every single
/// submission.
#[test]
fn a_revoke_has_a_place_at_every_moment_whatever_thousands_do() -> Test {
    let hostile = hostile_accounts();
    let began = Instant::now();
    let world = world(hostile)?;
    println!("{hostile} accounts are there after {:.0?}", began.elapsed());
    let honest = world.sign(HONEST, 1, revoke(FIRST, 1)?)?;
    let mut pace = Pace::new(hostile);
    let (mut ordinary, mut reserved) = (0_u64, 0_u64);
    for account in DOCTOR + 1..=DOCTOR + hostile {
        // Each account submits as many records as are accepted. Then it revokes empty slots, its grant, and its grant
        // again.
        let records = (0..40).map(|number| Test::Ok((100 + number, put(account, number)?)));
        let empty = (FIRST + 1..FIRST + 20).map(|slot| Test::Ok((200 + slot, revoke(slot, 0)?)));
        for kind in [&mut records.into_iter() as &mut dyn Iterator<Item = _>, &mut empty.into_iter()] {
            for operation in kind {
                let (salt, action) = operation?;
                let refused = pace.submit(&world, world.sign(account, salt, action)?)?.err();
                assert!(world.has_a_place(&honest), "after {account} accounts");
                if refused.is_some() {
                    assert_eq!(refused, Some(RequestErrorKind::Unavailable));
                    break;
                }
                ordinary += 1;
            }
        }
        for again in 0..3 {
            // The later Revokes end more versions: a Revoke that replaces an older one must not end less.
            match pace.submit(&world, world.sign(account, 300 + again, revoke(FIRST, 1 + again)?)?)? {
                Ok(_) => reserved += u64::from(again == 0),
                Err(kind) => {
                    assert!(
                        again > 0 && matches!(kind, RequestErrorKind::Unavailable | RequestErrorKind::Stale),
                        "{kind:?}"
                    )
                }
            }
            assert!(world.has_a_place(&honest), "after {account} accounts");
        }
    }
    pace.print();
    let (open, full, share) = {
        let state = world.engine.state();
        (state.open.len() as u64, state.open.ordinary_places(), state.open.share())
    };
    println!("{hostile} accounts: {ordinary} ordinary, {reserved} reserved, {open} open, {full} counted");
    assert_eq!(reserved, hostile, "each has one place for its one grant");
    assert!(open <= ordinary + reserved, "no account has two places for one grant");
    assert_eq!(full, 2400, "every ordinary place");
    assert_eq!(world.submit(world.sign(HONEST, 2, put(HONEST, 0)?)?)?, Err(RequestErrorKind::Unavailable));

    let receipt = world.taken(honest)?;
    let batch = world.batch_of(&honest).ok_or("it waits")?;
    let promised = receipt.settle_by.get() - receipt.acknowledged.get();
    println!("the honest Revoke: batch {batch}, promised within {promised} s; all in {:.0?}", began.elapsed());
    // At worst all Revokes go first, and what they need first: that takes ordinary places.
    assert!(batch <= (hostile as usize + full) / share + 1, "turns go round");
    assert!(promised >= 120 * (batch as u64 + 1), "the promise counts what goes first");
    // At this node, the Revoke counts at once.
    let state = world.engine.state();
    let grant = state.settled.patient(AccountIndex::new(HONEST)?).and_then(|leaves| leaves.grants.values().next());
    let left = state.history.left_of(AccountIndex::new(HONEST)?, GrantSlot::new(FIRST)?, grant.ok_or("granted")?);
    assert_eq!(left, None);
    Ok(())
}

/// How long a submission takes, on average over each tenth of the accounts.
struct Pace {
    each: u64,
    taken: Vec<(Duration, u32)>,
}

impl Pace {
    fn new(accounts: u64) -> Self {
        Self { each: accounts.div_ceil(10), taken: Vec::new() }
    }

    fn submit(&mut self, world: &World, signed: SignedOperation) -> Test<Result<Receipt, RequestErrorKind>> {
        let tenth = ((signed.operation.signer.get() - DOCTOR - 1) / self.each) as usize;
        self.taken.resize(tenth + 1, (Duration::ZERO, 0));
        let began = Instant::now();
        let submitted = world.submit(signed);
        let (time, count) = &mut self.taken[tenth];
        (*time, *count) = (*time + began.elapsed(), *count + 1);
        submitted
    }

    fn print(&self) {
        let means: Vec<_> = self.taken.iter().map(|(time, count)| format!("{:.1?}", *time / *count)).collect();
        println!("a submission took, over each tenth of the accounts: {}", means.join(", "));
    }
}

/// A delegate's Revoke neither takes the place that is reserved for the patient's, nor replaces the patient's.
#[test]
fn a_revoke_by_somebody_else_gets_an_ordinary_place() -> Test {
    let world = world(1)?;
    let by_doctor = sign(world.domain, world.time, DOCTOR, HONEST, 7, revoke(FIRST, 1)?)?;
    let place = || place::find(&world.engine.state(), &by_doctor.operation, &[]).map_err(|error| error.kind);
    assert_eq!(place(), Ok(Place::Ordinary));
    let own = world.sign(HONEST, 1, revoke(FIRST, 1)?)?;
    assert!(world.has_a_place(&own));
    world.taken(own)?;
    assert_eq!(place(), Ok(Place::Ordinary));
    let again = world.sign(HONEST, 2, revoke(FIRST, 2)?)?;
    let place = place::find(&world.engine.state(), &again.operation, &[]).map_err(|error| error.kind);
    assert!(matches!(place, Ok(Place::InsteadOf(_))), "{place:?}");
    Ok(())
}
