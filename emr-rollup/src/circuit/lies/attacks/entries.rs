//! Attacks on L1 operations.

use super::*;

pub(super) fn attacks(stories: &[Story]) -> Vec<Attack> {
    let mut attacks = Vec::new();
    let mut attack = |name, story, lies: Vec<(Hint, Lie)>, refused_by| {
        attacks.push(Attack { name, story, lies, refused_by });
    };
    let l1 = |name, index, value| (registration(name, index), number(value));
    let lies = vec![l1("old leaf", 0, 5), l1("inverse for a fresh account", 0, 0)];
    attack("a second registration of an account", REGISTER, lies, Demand::AccountIsFresh);
    attack("an L1 operation at another account", REGISTER, vec![l1("entry", 1, 5)], Demand::EntryAccount);
    for (word, field) in [(0, 2), (1, 8), (2, 9), (3, 10)] {
        attack("data in an unused L1 slot", SET, vec![l1("entry", field, 1)], Demand::UnusedEntry(word));
    }
    let lies = vec![l1("account bit", 0, 2), (registration("entry", 1), Lie::More(Fr::from(2)))];
    attack("an L1 turn that is no bit", REGISTER, lies, Demand::EntryTurns(AccountTree::Identity, Moment::Before));
    let entry = &stories[REGISTER].case.0.entries[0].entry;
    let kind = Fr::from(2).pow_vartime([EntryFields::WIDTHS[1..].iter().map(|width| u64::from(*width)).sum::<u64>()]);
    let rest = entry.packed() - entry.kind * kind;
    let used = -rest * (Fr::from(16) * kind).invert().expect("not 0");
    let lies = vec![
        (registration("used", 0), Lie::Is(used)),
        (registration("entry", 0), Lie::Is(used * Fr::from(16))),
        l1("entry", 8, 0),
        l1("entry", 9, 0),
        l1("entry", 10, 0),
        public(4, used),
    ];
    attack(
        "an L1 slot that is used so many times that its data are 0",
        REGISTER,
        lies,
        Demand::EntryKindFlag(Kind::Register),
    );
    attacks
}
