//! Attacks of a delegate who takes more than the patient gave them.

use super::*;
use crate::{circuit::demand::Moment, layout::SCOPE};

pub(super) fn attacks() -> Vec<Attack> {
    let mut attacks = Vec::new();
    let mut attack = |name, story, lies: Vec<(Hint, Lie)>, refused_by| {
        attacks.push(Attack { name, story, lies, refused_by });
    };
    attack("under a grant without MANAGE", MANAGED_SET, vec![is("authority", 1, 3)], Demand::MayManage);
    attack("a delegate's delegate", MANAGED_SET, vec![is("new grant", 1, 4)], Demand::ManagedRights(Moment::After));
    for story in [MANAGED_SET, MANAGED_REVOKE] {
        let lies = vec![is("old grant", 1, 5)];
        attack("the end of another delegate's grant", story, lies, Demand::ManagedRights(Moment::Before));
    }
    let lies = vec![is("authority", 3, TIME + 5), is("new grant", 3, TIME + 6)];
    attack("a grant for longer than their own", MANAGED_SET, lies, Demand::ManagedUntil);
    attack("a grant to themselves", MANAGED_SET, vec![is("new grant", 0, STRANGER)], Demand::NotToSelf);
    let lies = vec![is("inverse for a grant to others", 0, 0)];
    attack("a grant that is said to be to themselves", SET, lies, Demand::GrantsToSelf);
    let lies = vec![is("header", 4, 0), is("target turn", 0, 0)];
    attack("the end of an emergency grant", MANAGED_REVOKE, lies, Demand::ManagedSlot);
    let end = (1 << 32) - 2;
    let lies = vec![is("header", 5, end), is("new grant", 5, end + 1)];
    attack("the last version of a slot", MANAGED_REVOKE, lies, Demand::ManagedVersion);
    for story in [MANAGED_SET, MANAGED_REVOKE] {
        attack("another key directory", story, vec![is("body", 4, 95)], Demand::ManagedDirectory);
    }

    // Classes. Hints are numbered by class: the delegate's, those of the grant before, and those of the grant after.
    let scopes = |delegate, before, after| {
        vec![is("authority", 2, delegate), is("old grant", 2, before), is("new grant", 2, after)]
    };
    for (delegate, before, after, moment) in
        [(1, 1, 2, Moment::After), (1, 2, 1, Moment::Before), (0x7fff, 0, 0x8000, Moment::After)]
    {
        let lies = scopes(delegate, before, after);
        attack("classes of others", MANAGED_SET, lies, Demand::ManagedClasses(moment));
    }
    let two = Fr::from(2);
    for class in 0..SCOPE {
        for (moment, first, before, after) in
            [(Moment::Before, 0, 1 << class, 0), (Moment::After, SCOPE, 0, 1 << class)]
        {
            let lies = [scopes(0, before, after), vec![is("managed class", first + class, 1)]].concat();
            attack("a class that the delegate does not have", MANAGED_SET, lies, Demand::ManagedClass(moment, class));
        }
        // A class whose bit is wrong: its neighbour makes up for it.
        let (from, value) = match class {
            0 => (2, two),
            _ => (0, -two.invert().expect("2 is not 0")),
        };
        let beside = match class {
            0 => is("delegate class", 1, 0),
            _ => is("delegate class", class - 1, 1),
        };
        let lies = [scopes(from, 0, 0), vec![(operation("delegate class", class), Lie::Is(value)), beside]].concat();
        attack("a class that is no bit", MANAGED_SET, lies, Demand::DelegateClass(class));
    }
    attacks
}
