//! Attacks on L1 operations.

use super::*;

pub(super) fn attacks(stories: &[Story]) -> Vec<Attack> {
    let mut attacks = Vec::new();
    let mut attack = |name, story, lies: Vec<(Hint, Lie)>, refused_by| {
        attacks.push(Attack { name, story, lies, refused_by });
    };
    let l1 = |name, index, value| (entry(name, index), number(value));
    attack("an L1 operation at another account", REGISTER, vec![l1("entry", 1, 5)], Demand::EntryAccount);
    for (word, field) in [(0, 2), (1, 8), (2, 9), (3, 10)] {
        attack("data in an unused L1 slot", SET, vec![l1("entry", field, 1)], Demand::UnusedEntry(word));
    }
    let lies =
        [("account turn", 0), ("entry", 1)].map(|(name, index)| (entry(name, index), Lie::More(Fr::from(4)))).to_vec();
    attack("an L1 turn that is no turn", REGISTER, lies, Demand::EntryTurns(EntryTree::Identity, Moment::Before));

    // Several kinds at once, and a flag that takes one of them back.
    let kinds = Kind::L1.map(|kind| i64::from(kind.code()));
    for (i, kind) in (0..).zip(Kind::L1) {
        let flags: [i64; Kind::L1.len()] = std::array::from_fn(|other| match other {
            other if other == i => -1,
            other if other == (i + 1) % 4 || other == (i + 2) % 4 => 1,
            _ => 0,
        });
        let code: i64 = flags.iter().zip(kinds).map(|(flag, code)| flag * code).sum();
        let lies = (0..).zip(flags).map(|(other, flag)| (entry("used", other), signed(flag)));
        let lies = lies.chain([(entry("entry", 0), signed(code))]).collect();
        attack("two kinds less another one", REGISTER, lies, Demand::EntryKindFlag(kind));
    }

    // An entry without effect that is said to have one, and the reverse.
    let lies = vec![l1("account", 0, 2), l1("inverse for a patient's account", 0, 0)];
    for story in [FORCED_REVOKE, FORCED_REVOKE_ALL] {
        attack("a doctor taken for a patient", story, lies.clone(), Demand::AccountIsPatient);
    }
    let lies = vec![l1("inverse for a patient's account", 0, 0)];
    attack("grants of an account that has none", NOT_A_PATIENT, lies, Demand::AccountIsPatient);
    for story in [SET_STATUS, ROTATE_KEY, FORCED_REVOKE, FORCED_REVOKE_ALL] {
        let lies = vec![l1("inverse for the last epoch", 0, 0)];
        attack("an entry that is said to come in the last epoch", story, lies, Demand::LastEpoch);
    }
    let lies = vec![l1("entry", 2, 2), l1("inverse for a patient", 0, 0)];
    attack("a doctor with a medical leaf", REGISTER, lies, Demand::EntryIsPatient);

    // The leaf before: an account that is not registered holds nothing, and fields are in range.
    for (field, content) in [(0, Content::Packed), (4, Content::First), (5, Content::Second), (6, Content::Third)] {
        let lies = vec![l1("account", field, 1)];
        attack("contents of a fresh account", REGISTER, lies, Demand::EmptyHolds(Leaf::Account, content));
    }
    for (index, bits, field) in
        [(0, 8, Field::Role), (1, 8, Field::Status), (2, 24, Field::Org), (3, 32, Field::AccountEpoch)]
    {
        let lies = vec![l1("account", index, 1 << bits)];
        attack("a field of the account beyond its range", SET_STATUS, lies, Demand::LeafField(Leaf::Account, field));
    }
    for (index, bits, field) in [(2, 8, Field::Role), (3, 8, Field::Status), (4, 24, Field::Org)] {
        attack(
            "a queued field beyond its range",
            SET_STATUS,
            vec![l1("entry", index, 1 << bits)],
            Demand::EntryField(field),
        );
    }

    // Another slot than the queued one.
    let lies = vec![(entry("entry", 6), Lie::More(-Fr::ONE))];
    attack("the end of another slot's grant", FORCED_REVOKE, lies, Demand::EntrySlot);
    let lies =
        [("grant turn", 0), ("entry", 6)].map(|(name, index)| (entry(name, index), Lie::More(Fr::from(4)))).to_vec();
    attack(
        "a slot by a turn that is no turn",
        FORCED_REVOKE,
        lies,
        Demand::EntryTurns(EntryTree::Grants, Moment::Before),
    );
    let grants = stories[FORCED_REVOKE].case.0.entries[0].medical.grants_root;
    let lies = vec![(entry("medical", 0), Lie::Is(grants)), l1("grant leaf", 0, 5)];
    attack("the end of a grant that is not there", FORCED_REVOKE, lies, Demand::EntryRoot(EntryTree::Grants));
    for (index, field) in [(5, Field::Tree), (7, Field::ReplaceDirectory)] {
        attack("a queued flag that is no bit", FORCED_REVOKE, vec![l1("entry", index, 2)], Demand::EntryField(field));
    }
    attacks
}

/// A second registration of an account: whatever is false, two assertions refuse it.
#[test]
fn a_registered_account_is_not_fresh() {
    let stories = stories();
    let lies = [(entry("account", 3), number(1)), (entry("inverse for a fresh account", 0), number(0))];
    let found = stories[REGISTER].tell_in_its_world(&lies).assertions();
    let packed = Demand::EmptyHolds(Leaf::Account, Content::Packed);
    assert_eq!(found, [Demand::SlotIsEmpty(Leaf::Account).into(), packed.into()].into());
}

/// No epoch follows the last one. An entry then takes no effect, and the batch can still be proved.
#[test]
fn an_entry_in_the_last_epoch_changes_nothing() {
    let stories = stories();
    for story in [SET_STATUS, ROTATE_KEY, FORCED_REVOKE, FORCED_REVOKE_ALL] {
        let last = u64::from(u32::MAX);
        for (epoch, changes) in [(last - 1, true), (last, false)] {
            let trial = stories[story].tell_in_its_world(&[(entry("account", 3), number(epoch))]);
            assert_eq!(trial.assertions(), BTreeSet::new(), "{story}");
            let roots = published(&trial.table, &stories[story].case.1);
            assert_eq!(roots[1] != roots[2], changes, "{story}");
        }
    }
}
