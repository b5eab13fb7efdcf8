//! Attacks on signature, validity, and the positions of the accounts.

use super::{turn::bent_step, *};
use crate::{state::tree::Path, statement::IdentityFields};

fn more(name: &'static str, index: u32, change: Fr) -> (Hint, Lie) {
    (operation(name, index), Lie::More(change))
}

/// An account of another hospital under the honest root, at a position that is no account's.
fn made_up(
    (leaf, turn, sibling): (&'static str, &'static str, &'static str),
    header: u32,
    honest: &IdentityFields,
    (position, path): (&Fr, &Path),
) -> Vec<(Hint, Lie)> {
    let siblings = path.siblings().next().expect("a level");
    let honest_turn = to_u64(position).expect("an account") % 4;
    let mut children = siblings.to_vec();
    children.insert(honest_turn as usize, honest.hash().element());
    let children: [Fr; 4] = children.try_into().expect("three siblings and the leaf");
    // Not every leaf has such a turn.
    let (encryption, (siblings, bent)) = (0..)
        .find_map(|i| {
            let forged = IdentityFields { org: Fr::from(STRANGER), encryption: Fr::from(i), ..*honest };
            Some((i, bent_step(children, forged.hash().element())?))
        })
        .expect("one in two leaves has a turn");
    let mut lies = vec![
        is(leaf, 2, STRANGER),
        is(leaf, 6, encryption),
        (operation(turn, 0), Lie::Is(bent)),
        more("header", header, bent - Fr::from(honest_turn)),
    ];
    lies.extend(siblings.into_iter().zip(0..).map(|(node, i)| (operation(sibling, i), Lie::Is(node))));
    lies
}

pub(super) fn attacks(stories: &[Story]) -> Vec<Attack> {
    let mut attacks = Vec::new();
    let mut attack = |name, story, lies: Vec<(Hint, Lie)>, refused_by| {
        attacks.push(Attack { name, story, lies, refused_by });
    };
    // The prover claims that the high half equals that of the bound. In these two signatures, the low half is below the bound's.
    let lies = vec![is("inverse for the order's high half", 0, 0)];
    attack("S not tight", REVOKE, lies, Demand::CanonicalTight(Scalar::S));
    let lies = vec![is("inverse for p's high half", 0, 0)];
    attack("the challenge not tight", SET, lies, Demand::CanonicalTight(Scalar::Challenge));

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
    let header = &witness.message.header;
    let (signer, patient) = (&witness.signer, &witness.patient);
    let lies = made_up(("signer", "signer turn", "signer sibling"), 0, signer, (&header.signer, &witness.signer_path));
    attack("a signer made up, by a turn that is no turn", REQUEST, lies, Demand::IdentityTurns(Party::Signer));
    let lies =
        made_up(("patient", "patient turn", "patient sibling"), 2, patient, (&header.patient, &witness.patient_path));
    attack("a patient made up, by a turn that is no turn", REQUEST, lies, Demand::IdentityTurns(Party::Patient));
    let lies = vec![more("target turn", 0, Fr::from(4)), more("header", 4, Fr::from(4))];
    attack("a target beside its slot, by a turn that is no turn", REQUEST, lies, Demand::TargetTurns(Moment::Before));
    let lies = vec![more("target turn", 1, Fr::ONE), more("header", 4, Fr::from(4))];
    attack("a slot beyond the grants tree", REQUEST, lies, Demand::SlotBeyondTree);
    attacks
}
