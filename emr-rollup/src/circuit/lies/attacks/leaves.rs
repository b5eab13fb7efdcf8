//! Attacks on the written leaf: the rules of each kind, counters that overflow, several kinds at once.

use super::*;

pub(super) fn attacks() -> Vec<Attack> {
    let mut attacks = Vec::new();
    let mut attack = |name, story, lies: Vec<(Hint, Lie)>, refused_by| {
        attacks.push(Attack { name, story, lies, refused_by });
    };
    let more = |name, index, change| (operation(name, index), Lie::More(change));
    // What a tombstone keeps, and what SetGrant may do.
    for (field, content) in [(1, Content::Packed), (7, Content::Second)] {
        let lies = vec![more("new record", field, Fr::ONE)];
        attack("a tombstone of something else", TOMBSTONE, lies, Demand::TombstoneKeeps(content));
    }
    for story in [TOMBSTONE, REKEY] {
        let lies = vec![more("new record", 6, Fr::ONE)];
        attack("another statement under an old record", story, lies, Demand::StatementStays);
    }
    attack("a rekey of something else", REKEY, vec![more("new record", 1, Fr::ONE)], Demand::RekeyKeeps);

    // Emergency grants.
    attack("an emergency grant for somebody else", BREAK_GLASS, vec![is("new grant", 0, 5)], Demand::EmergencyGrantee);
    attack("an emergency grant with READ", BREAK_GLASS, vec![is("new grant", 1, 9)], Demand::EmergencyRight);
    let lies = vec![is("new grant", 3, TIME - 1)];
    attack("an emergency grant that is over at once", BREAK_GLASS, lies, Demand::EmergencyHolds);
    let lies = vec![is("new grant", 3, TIME + MAX_EMERGENCY + 1)];
    attack("an emergency grant for more than a day", BREAK_GLASS, lies, Demand::EmergencyEnds);
    for classes in [0, 2, 3, 0xffff] {
        let lies = vec![is("new grant", 2, classes)];
        attack(
            "an emergency grant for other classes than the one that it names",
            BREAK_GLASS,
            lies,
            Demand::EmergencyClass,
        );
    }
    attack(
        "an emergency grant that names another class",
        BREAK_GLASS,
        vec![is("header", 6, 0x2f)],
        Demand::EmergencyClass,
    );
    attack("an emergency grant without a reason", BREAK_GLASS, vec![is("header", 6, 0)], Demand::EmergencyReason);
    let lies = vec![is("header", 4, 2), is("target turn", 0, 2)];
    attack("an emergency grant in an ordinary slot", BREAK_GLASS, lies, Demand::EmergencySlot);
    let held = [
        is("old grant", 1, 8),
        is("old grant", 3, TIME),
        is("old grant", 5, 1),
        is("new grant", 5, 2),
        is("header", 5, 1),
    ];
    attack("an emergency grant that another holds", BREAK_GLASS, held.to_vec(), Demand::GrantIsOver);
    let lies = [&held[..], &[is("inverse for a grant without rights", 0, 0)]].concat();
    attack("a grant that is said to be void", BREAK_GLASS, lies, Demand::GrantIsVoid);

    attack("an emergency grant", SET, vec![is("new grant", 1, 9)], Demand::OrdinaryRights);
    let lies = vec![is("header", 4, 0), is("target turn", 0, 0)];
    attack("a slot of break-glass", SET, lies, Demand::OrdinarySlot);

    // Counters that overflow, and fields that borrow from their neighbours.
    let above = Fr::from(1 << 32);
    let lies = vec![more("signer", 0, Fr::ONE), more("signer", 2, -above)];
    attack("a role borrowed from the organisation", SET, lies, Demand::LeafField(Leaf::Signer, Field::Org));
    let lies = vec![more("signer", 0, -above.invert().expect("not 0")), more("signer", 2, Fr::ONE)];
    attack("an organisation borrowed from the role", SET, lies, Demand::LeafField(Leaf::Signer, Field::Role));
    let end = (1 << 32) - 1;
    let lies = vec![is("old grant", 4, end), is("new grant", 4, end + 1), is("header", 5, end)];
    attack("the last use", REQUEST, lies, Demand::LeafField(Leaf::NewGrant, Field::Uses));
    let lies = vec![is("old record", 4, end), is("new record", 4, end + 1)];
    attack("the last version", SECOND_PUT, lies, Demand::LeafField(Leaf::NewRecord, Field::Version));
    let lies = vec![(operation("old record", 4), signed(-1)), is("new record", 4, 0)];
    attack("a version before the first", SECOND_PUT, lies, Demand::LeafField(Leaf::OldRecord, Field::Version));
    let lies = vec![is("old record", 5, end), is("new record", 5, end + 1), is("header", 5, end)];
    attack("the last revision", SECOND_PUT, lies, Demand::LeafField(Leaf::NewRecord, Field::Revision));
    let lies = vec![is("signer", 2, 0), is("signer", 3, end + 2), is("header", 1, end + 2), is("authority", 0, DOCTOR)];
    attack(
        "an organisation hidden in the epoch",
        DOCTOR_PUT,
        lies,
        Demand::LeafField(Leaf::Signer, Field::AccountEpoch),
    );
    let last = (1u64 << 40) - 1;
    let lies = vec![public(3, Fr::from(last)), is("header", 7, last + 5)];
    attack("a validity beyond the last second", SET, lies, Demand::HeaderField(Field::ValidUntil));
    attack("a time beyond the last second", 0, vec![public(3, Fr::from(last + 1))], Demand::TimeInRange);

    // Several kinds at once. In an unused L2 slot, a flag of -1 makes the sum 0.
    let flags = |with: u32| {
        vec![
            is("kind flag", 0, 1),
            (operation("kind flag", with), signed(-1)),
            is("new record", 0, 1),
            is("new record", 4, 1),
            is("new record", 5, 1),
            is("new grant", 5, 1),
        ]
    };
    let set = [is("new grant", 0, 5), is("new grant", 1, 7), is("header", 4, 2), is("target turn", 0, 2)];
    let code = |lies: Vec<(Hint, Lie)>, code| {
        [lies, vec![(operation("kind, tree", 0), signed(code)), is("kind, tree", 1, 1)]].concat()
    };
    attack(
        "PutRecord less SetGrant",
        REGISTER,
        code([&flags(3)[..], &set].concat(), 1 - 4),
        Demand::KindFlag(Kind::SetGrant),
    );
    attack("PutRecord less Revoke", REGISTER, code(flags(4), 1 - 5), Demand::KindFlag(Kind::Revoke));
    let neutral = [
        ("signer", 4, 0),
        ("signer", 5, 1),
        ("patient", 4, 0),
        ("patient", 5, 1),
        ("signature", 0, 0),
        ("signature", 1, 1),
        ("signature", 2, 0),
    ];
    let written = [("new record", 0, 1), ("new record", 2, PATIENT), ("new record", 4, 1), ("new record", 5, 1)];
    let kinds = [("kind flag", 0, 1), ("kind, tree", 0, 5), ("kind, tree", 1, 3)];
    let lies = [&neutral[..], &written, &kinds].concat().into_iter().map(|(name, index, value)| is(name, index, value));
    let lies = lies.chain([public(5, Fr::from(2))]).collect();
    attack("SetGrant and PutRecord at once, under a key that signs everything", SET, lies, Demand::OneKind);
    attacks
}
