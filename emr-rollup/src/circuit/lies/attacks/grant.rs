//! Attacks on the grant: rights, class, scope, grantee.

use super::*;

pub(super) fn attacks() -> Vec<Attack> {
    let mut attacks = Vec::new();
    let mut attack = |name, story, lies: Vec<(Hint, Lie)>, refused_by| {
        attacks.push(Attack { name, story, lies, refused_by });
    };
    let half = Fr::from(2).invert().expect("2 is not 0");
    let more = |name, index, change| (operation(name, index), Lie::More(change));
    let sixteenth = Fr::from(16).invert().expect("16 is not 0");
    let read =
        vec![is("authority", 1, 1), is("right", 1, 1), (operation("right", 4), Lie::Is(-Fr::from(2) * sixteenth))];
    attack("READ becomes READ|WRITE by a rest solved in the field", DOCTOR_PUT, read, Demand::RightsRest);
    let bits = vec![is("authority", 1, 1), is("right", 1, 1), (operation("right", 0), signed(-1))];
    attack("READ becomes WRITE by a right that is no bit", DOCTOR_PUT, bits, Demand::Right(RightBit::Read));
    let bits = vec![is("authority", 1, 4), is("right", 1, 1), (operation("right", 2), Lie::Is(half))];
    attack("MANAGE becomes WRITE by a right that is no bit", DOCTOR_PUT, bits, Demand::Right(RightBit::Manage));
    let lies = vec![
        is("old grant", 1, 4),
        is("new grant", 1, 4),
        is("right", 0, 1),
        (operation("right", 1), Lie::Is(Fr::from(3) * half)),
        is("right", 2, 0),
    ];
    attack("MANAGE becomes READ by a right that is no bit", REQUEST, lies, Demand::Right(RightBit::Write));
    let lies = vec![is("old grant", 1, 4), is("new grant", 1, 4)];
    attack("a request without READ", REQUEST, lies, Demand::MayRead);
    // The record's class changes from summary to encounter. Both classes must be in scope.
    let lies = vec![is("authority", 2, 1)];
    attack("the new class out of scope", SECOND_PUT, lies, Demand::InScope(Covered::New));
    let lies = vec![is("authority", 2, 2)];
    attack("the old class out of scope", SECOND_PUT, lies, Demand::InScope(Covered::Old));
    let lies = vec![
        is("authority", 2, 1),
        is("scope", 1, 1),
        (operation("scope", 2), signed(0)),
        (operation("scope", 0), signed(-1)),
    ];
    attack("a class in scope by low = scope - 2^class", SECOND_PUT, lies, Demand::ScopeBelow(Covered::New));
    let lies = vec![
        is("authority", 2, 1),
        is("scope", 0, 0),
        is("scope", 1, 1),
        (operation("scope", 2), Lie::Is((half - Fr::ONE) * half)),
    ];
    attack("a class in scope by a high solved in the field", SECOND_PUT, lies, Demand::ScopeAbove(Covered::New));
    let lies = vec![is("authority", 2, 2), is("scope", 3, 1), is("scope", 4, 1), is("scope", 5, 0)];
    attack("a class in scope by low = scope", SECOND_PUT, lies, Demand::ScopeBelowBit(Covered::Old));
    // 279 = 2^8 + 2^4 + 7 = 31·9 = 263 + 16. Only values that are not bits give such powers.
    for (cover, covered) in [(0, Covered::New), (1, Covered::Old)] {
        let eighth = Fr::from(8).invert().expect("8 is not 0");
        let classed = |class| vec![is("authority", 2, 279), is("new record", 1, class)];
        let bits = [is("class bit", 4 * cover + 2, 2), is("class bit", 4 * cover + 3, 0)];
        let scope = [is("scope", 3 * cover, 0), is("scope", 3 * cover + 1, 1), is("scope", 3 * cover + 2, 4)];
        let lies = [&classed(8)[..], &bits, &scope].concat();
        attack("bit 2 of a class is 2", DOCTOR_PUT, lies, Demand::ClassBit(covered, 2));
        let low = [is("class bit", 4 * cover, 1), is("class bit", 4 * cover + 1, 1), is("class bit", 4 * cover + 2, 0)];
        let scope = [is("scope", 3 * cover, 16), is("scope", 3 * cover + 1, 1), is("scope", 3 * cover + 2, 0)];
        let high = (operation("class bit", 4 * cover + 3), Lie::Is(eighth));
        let lies = [&classed(4)[..], &low, &[high], &scope].concat();
        attack("bit 3 of a class is an eighth", DOCTOR_PUT, lies, Demand::ClassBit(covered, 3));
    }
    let lies = vec![is("old grant", 0, 0), is("new grant", 0, 0)];
    attack("a grant to nobody, for a doctor of no organisation", REQUEST, lies, Demand::GranteeIsSomebody);
    let lies = vec![is("old grant", 0, 5), is("new grant", 0, 5)];
    attack("somebody else's grant", REQUEST, lies, Demand::GranteeIsSigner);
    let lies = vec![is("authority", 0, 5), is("inverse for a grantee", 0, 0)];
    attack("a grantee said to be nobody", SET, lies, Demand::GranteeIsNobody);

    for (cover, covered) in [(0, Covered::New), (1, Covered::Old)] {
        let lies = vec![more("class bit", 4 * cover, Fr::from(2)), more("class bit", 4 * cover + 1, -Fr::ONE)];
        attack("bit 0 of a class is 2", PATIENT_PUT, lies, Demand::ClassBit(covered, 0));
        let lies = vec![more("class bit", 4 * cover, Fr::ONE), more("class bit", 4 * cover + 1, -half)];
        attack("bit 1 of a class is a half", PATIENT_PUT, lies, Demand::ClassBit(covered, 1));
    }
    let lies = vec![more("scope", 0, Fr::from(2)), more("scope", 2, -Fr::ONE)];
    attack("classes below that are not below", DOCTOR_PUT, lies, Demand::ScopeBelowBit(Covered::New));
    attack("a grant that expired", DOCTOR_PUT, vec![is("authority", 3, TIME - 1)], Demand::GrantNotExpired);
    attacks
}
