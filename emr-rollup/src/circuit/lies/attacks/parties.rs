//! Attacks on signature, validity, and the positions of the accounts.

use super::*;

pub(super) fn attacks(stories: &[Story]) -> Vec<Attack> {
    let mut attacks = Vec::new();
    let mut attack = |name, story, lies: Vec<(Hint, Lie)>, refused_by| {
        attacks.push(Attack { name, story, lies, refused_by });
    };
    // The high half equals that of the bound, and the prover claims that it does not.
    let lies = vec![is("inverse for the order's high half", 0, 0)];
    attack("S not tight", SET, lies, Demand::CanonicalTight(Scalar::S));
    let lies = vec![is("inverse for p's high half", 0, 0)];
    attack("the challenge not tight", REVOKE, lies, Demand::CanonicalTight(Scalar::Challenge));

    // The signer and the time.
    let lies = vec![is("authority", 1, 0), is("inverse for own", 0, 0)];
    attack("somebody else's operation taken for the patient's own", DOCTOR_PUT, lies, Demand::OwnOperation);
    let lies = vec![is("header", 7, TIME - 1)];
    attack("an operation that expired", SET, lies, Demand::NotExpired);
    let lies = vec![is("header", 7, TIME + MAX_VALIDITY + 1)];
    attack("an operation valid for too long", SET, lies, Demand::NotTooLong);

    // Positions in the trees.
    let lies = vec![is("header", 0, STRANGER), is("new record", 2, STRANGER)];
    attack("another account's identity", DOCTOR_PUT, lies, Demand::Account(Party::Signer));
    let lies = vec![is("header", 2, HOSPITAL)];
    attack("another patient's subtree", REQUEST, lies, Demand::Account(Party::Patient));
    let witness = &stories[REQUEST].case.0.operations[0];
    let first = |path: &crate::state::tree::Path| path.siblings().next().expect("a sibling");
    let forged = crate::statement::IdentityFields { org: Fr::from(STRANGER), ..witness.signer };
    let (other, bit) =
        bent_step(witness.signer.hash().element(), first(&witness.signer_path), true, forged.hash().element());
    let lies = vec![
        is("signer", 2, STRANGER),
        (operation("signer sibling", 0), Lie::Is(other)),
        (operation("signer bit", 0), Lie::Is(bit)),
        (operation("header", 0), Lie::Is(bit + Fr::from(2))),
    ];
    attack("a signer made up, by a turn that is no bit", REQUEST, lies, Demand::IdentityTurns(Party::Signer));
    let forged = crate::statement::IdentityFields { org: Fr::from(7), ..witness.patient };
    let (other, bit) =
        bent_step(witness.patient.hash().element(), first(&witness.patient_path), false, forged.hash().element());
    let lies = vec![
        is("patient", 2, 7),
        (operation("patient sibling", 0), Lie::Is(other)),
        (operation("patient bit", 0), Lie::Is(bit)),
        (operation("header", 2), Lie::Is(bit + Fr::from(4))),
    ];
    attack("a patient made up, by a turn that is no bit", REQUEST, lies, Demand::IdentityTurns(Party::Patient));
    let lies = vec![is("target bit", 0, 2), (operation("header", 4), Lie::More(Fr::ONE))];
    attack("a target beside its slot, by a turn that is no bit", REQUEST, lies, Demand::TargetTurns(Moment::Before));
    let lies = vec![is("target bit", 2, 1), (operation("header", 4), Lie::More(Fr::from(4)))];
    attack("a slot beyond the grants tree", REQUEST, lies, Demand::SlotBeyondTree);
    attacks
}
