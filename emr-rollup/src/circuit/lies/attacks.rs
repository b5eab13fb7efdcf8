//! Attacks that are worked out: each would give a prover something, and one assertion alone stands against it.

use emr_core::{Class, ClassMask, RecordSlot, RecordStatus, Revision, Rights, Role};
use halo2curves::ff::Field;

use super::*;
use crate::{
    operation::{Action, MAX_VALIDITY, SignedOperation, Tombstone},
    state::leaf::RecordLeaf,
    statement::{EntryFields, OperationWitness},
    testing::{
        forger::Forger,
        scenario::{
            DOCTOR, HOSPITAL, PATIENT, STRANGER, TIME, first_slot, grant, operations, put, record, request, sign,
        },
    },
};

/// Positions of operations in the honest history.
const REGISTER: usize = 3;
pub(super) const SET: usize = 4;
pub(super) const DOCTOR_PUT: usize = 6;
const SECOND_PUT: usize = 8;
const PATIENT_PUT: usize = 7;
const TOMBSTONE: usize = 9;
pub(super) const REQUEST: usize = 10;
const REVOKE: usize = 11;

/// An attack: what it is, the operation it starts from, its lies, and what refuses it: clause, reason, and which of that reason.
pub(super) struct Attack {
    pub(super) name: &'static str,
    pub(super) story: usize,
    pub(super) lies: Vec<(Hint, Lie)>,
    pub(super) refused_by: (Clause, &'static str, u32),
}

fn number(value: u64) -> Lie {
    Lie::Is(Fr::from(value))
}

fn is(name: &'static str, index: u32, value: u64) -> (Hint, Lie) {
    (operation(name, index), number(value))
}

/// `value` or, for a negative one, `p - |value|`.
fn signed(value: i64) -> Lie {
    let size = Fr::from(value.unsigned_abs());
    Lie::Is(if value < 0 { -size } else { size })
}

fn public(index: u32, value: Fr) -> (Hint, Lie) {
    (Hint { part: Part::Frame, name: "public", index }, Lie::Is(value))
}

/// Siblings and direction that give the children of an honest node for a leaf that is neither of them.
fn bent_step(node: Fr, sibling: Fr, bit: bool, forged: Fr) -> (Fr, Fr) {
    let (left, right) = if bit { (sibling, node) } else { (node, sibling) };
    let other = left + right - forged;
    let direction = (left - forged) * (other - forged).invert().expect("another leaf");
    (other, direction)
}

/// The attacks on single operations of the honest history.
pub(super) fn attacks(stories: &[Story]) -> Vec<Attack> {
    use Clause::*;
    let mut attacks = Vec::new();
    let mut attack = |name, story, lies: Vec<(Hint, Lie)>, refused_by| {
        attacks.push(Attack { name, story, lies, refused_by });
    };
    let half = Fr::from(2).invert().expect("2 is not 0");

    // C7: rights, class, scope.
    let sixteenth = Fr::from(16).invert().expect("16 is not 0");
    let read =
        vec![is("authority", 1, 1), is("right", 1, 1), (operation("right", 4), Lie::Is(-Fr::from(2) * sixteenth))];
    attack("READ becomes READ|WRITE by a rest solved in the field", DOCTOR_PUT, read, (C7, "rights", 4));
    let bits = vec![is("authority", 1, 1), is("right", 1, 1), (operation("right", 0), signed(-1))];
    attack("READ becomes WRITE by a right that is no bit", DOCTOR_PUT, bits, (C7, "rights", 0));
    let bits = vec![is("authority", 1, 4), is("right", 1, 1), (operation("right", 2), Lie::Is(half))];
    attack("MANAGE becomes WRITE by a right that is no bit", DOCTOR_PUT, bits, (C7, "rights", 2));
    let lies = vec![
        is("old grant", 1, 4),
        is("new grant", 1, 4),
        is("right", 0, 1),
        (operation("right", 1), Lie::Is(Fr::from(3) * half)),
        is("right", 2, 0),
    ];
    attack("MANAGE becomes READ by a right that is no bit", REQUEST, lies, (C7, "rights", 1));
    let lies = vec![is("old grant", 1, 4), is("new grant", 1, 4)];
    attack("a request without READ", REQUEST, lies, (C7, "rights", 7));
    // An encounter where a summary stands: each class asked for alone.
    let lies = vec![is("authority", 2, 1)];
    attack("the new class out of scope", SECOND_PUT, lies, (C7, "class out of scope", 10));
    let lies = vec![is("authority", 2, 2)];
    attack("the old class out of scope", SECOND_PUT, lies, (C7, "class out of scope", 21));
    let lies = vec![
        is("authority", 2, 1),
        is("scope", 1, 1),
        (operation("scope", 2), signed(0)),
        (operation("scope", 0), signed(-1)),
    ];
    attack("a class in scope by low = scope - 2^class", SECOND_PUT, lies, (C7, "class out of scope", 6));
    let lies = vec![
        is("authority", 2, 1),
        is("scope", 0, 0),
        is("scope", 1, 1),
        (operation("scope", 2), Lie::Is((half - Fr::ONE) * half)),
    ];
    attack("a class in scope by a high solved in the field", SECOND_PUT, lies, (C7, "class out of scope", 8));
    let lies = vec![is("authority", 2, 2), is("scope", 3, 1), is("scope", 4, 1), is("scope", 5, 0)];
    attack("a class in scope by low = scope", SECOND_PUT, lies, (C7, "class out of scope", 18));
    // 279 = 2^8 + 2^4 + 7 = 31·9 = 263 + 16: powers that only bits which are none give.
    for cover in 0..2u32 {
        let eighth = Fr::from(8).invert().expect("8 is not 0");
        let classed = |class| vec![is("authority", 2, 279), is("new record", 1, class)];
        let bits = [is("class bit", 4 * cover + 2, 2), is("class bit", 4 * cover + 3, 0)];
        let scope = [is("scope", 3 * cover, 0), is("scope", 3 * cover + 1, 1), is("scope", 3 * cover + 2, 4)];
        let lies = [&classed(8)[..], &bits, &scope].concat();
        attack("bit 2 of a class is 2", DOCTOR_PUT, lies, (C7, "class out of scope", 11 * cover + 2));
        let low = [is("class bit", 4 * cover, 1), is("class bit", 4 * cover + 1, 1), is("class bit", 4 * cover + 2, 0)];
        let scope = [is("scope", 3 * cover, 16), is("scope", 3 * cover + 1, 1), is("scope", 3 * cover + 2, 0)];
        let high = (operation("class bit", 4 * cover + 3), Lie::Is(eighth));
        let lies = [&classed(4)[..], &low, &[high], &scope].concat();
        attack("bit 3 of a class is an eighth", DOCTOR_PUT, lies, (C7, "class out of scope", 11 * cover + 3));
    }
    let lies = vec![is("old grant", 0, 0), is("new grant", 0, 0)];
    attack("a grant to nobody, for a doctor of no organisation", REQUEST, lies, (C7, "granted to somebody else", 1));
    let lies = vec![is("old grant", 0, 5), is("new grant", 0, 5)];
    attack("somebody else's grant", REQUEST, lies, (C7, "granted to somebody else", 2));
    let lies = vec![is("authority", 0, 5), is("inverse for a grantee", 0, 0)];
    attack("a grantee said to be nobody", SET, lies, (C7, "granted to somebody else", 0));

    let more = |name, index, change| (operation(name, index), Lie::More(change));
    for cover in 0..2u32 {
        let lies = vec![more("class bit", 4 * cover, Fr::from(2)), more("class bit", 4 * cover + 1, -Fr::ONE)];
        attack("bit 0 of a class is 2", PATIENT_PUT, lies, (C7, "class out of scope", 11 * cover));
        let lies = vec![more("class bit", 4 * cover, Fr::ONE), more("class bit", 4 * cover + 1, -half)];
        attack("bit 1 of a class is a half", PATIENT_PUT, lies, (C7, "class out of scope", 11 * cover + 1));
    }
    let lies = vec![more("scope", 0, Fr::from(2)), more("scope", 2, -Fr::ONE)];
    attack("classes below that are not below", DOCTOR_PUT, lies, (C7, "class out of scope", 7));
    attack("a grant that expired", DOCTOR_PUT, vec![is("authority", 3, TIME - 1)], (C7, "grant expired", 0));

    // C3: a high half that is the bound's, and is said not to be.
    let lies = vec![is("inverse for the order's high half", 0, 0)];
    attack("S not tight", SET, lies, (C3, "S is below the order", 4));
    let lies = vec![is("inverse for p's high half", 0, 0)];
    attack("the challenge not tight", REVOKE, lies, (C3, "challenge is below p", 4));

    // C2, C4: who acts, and when.
    let lies = vec![is("authority", 1, 0), is("inverse for own", 0, 0)];
    attack("somebody else's operation taken for the patient's own", DOCTOR_PUT, lies, (C2, "who acts", 0));
    let lies = vec![is("header", 7, TIME - 1)];
    attack("an operation that expired", SET, lies, (C4, "validity", 0));
    let lies = vec![is("header", 7, TIME + MAX_VALIDITY + 1)];
    attack("an operation valid for too long", SET, lies, (C4, "validity", 1));

    // C1, C5: places in the trees.
    let lies = vec![is("header", 0, STRANGER), is("new record", 2, STRANGER)];
    attack("another account's identity", DOCTOR_PUT, lies, (C1, "account", 0));
    let lies = vec![is("header", 2, HOSPITAL)];
    attack("another patient's subtree", REQUEST, lies, (C5, "account", 0));
    let witness = &stories[REQUEST].case.0.operations[0];
    let first = |path: &crate::state::tree::Path| path.siblings().next().expect("a sibling");
    let forged = crate::statement::IdentityFields { org: Fr::from(STRANGER), ..witness.signer };
    let (other, bit) = bent_step(witness.signer.hash(), first(&witness.signer_path), true, forged.hash());
    let lies = vec![
        is("signer", 2, STRANGER),
        (operation("signer sibling", 0), Lie::Is(other)),
        (operation("signer bit", 0), Lie::Is(bit)),
        (operation("header", 0), Lie::Is(bit + Fr::from(2))),
    ];
    attack("a signer made up, by a turn that is no bit", REQUEST, lies, (C1, "identity under the identity root", 0));
    let forged = crate::statement::IdentityFields { org: Fr::from(7), ..witness.patient };
    let (other, bit) = bent_step(witness.patient.hash(), first(&witness.patient_path), false, forged.hash());
    let lies = vec![
        is("patient", 2, 7),
        (operation("patient sibling", 0), Lie::Is(other)),
        (operation("patient bit", 0), Lie::Is(bit)),
        (operation("header", 2), Lie::Is(bit + Fr::from(4))),
    ];
    attack("a patient made up, by a turn that is no bit", REQUEST, lies, (C5, "identity under the identity root", 0));
    let lies = vec![is("target bit", 0, 2), (operation("header", 4), Lie::More(Fr::ONE))];
    attack("a target beside its slot, by a turn that is no bit", REQUEST, lies, (C8, "target under its root", 0));
    let lies = vec![is("target bit", 2, 1), (operation("header", 4), Lie::More(Fr::from(4)))];
    attack("a slot beyond the grants tree", REQUEST, lies, (C19, "slot beyond the tree", 0));

    // C9: what a tombstone keeps, and what SetGrant may do.
    for (field, assertion) in [(1, 0), (6, 1), (7, 2)] {
        let lies = vec![more("new record", field, Fr::ONE)];
        attack("a tombstone of something else", TOMBSTONE, lies, (C9, "a tombstone keeps everything else", assertion));
    }
    attack("an emergency grant", SET, vec![is("new grant", 1, 9)], (C9, "an ordinary grant", 2));
    let lies = vec![is("header", 4, 0), is("target bit", 1, 0)];
    attack("a slot of break-glass", SET, lies, (C9, "an ordinary grant", 3));

    // C19: counters that turn over, and fields that borrow.
    let above = Fr::from(1 << 32);
    let lies = vec![more("signer", 0, Fr::ONE), more("signer", 2, -above)];
    attack("a role borrowed from the organisation", SET, lies, (C19, "packed field", 2));
    let lies = vec![more("signer", 0, -above.invert().expect("not 0")), more("signer", 2, Fr::ONE)];
    attack("an organisation borrowed from the role", SET, lies, (C19, "packed field", 0));
    let end = (1 << 32) - 1;
    let lies = vec![is("old grant", 4, end), is("new grant", 4, end + 1), is("header", 5, end)];
    attack("the last use", REQUEST, lies, (C19, "packed field", 18));
    let lies = vec![is("old record", 4, end), is("new record", 4, end + 1)];
    attack("the last version", SECOND_PUT, lies, (C19, "packed field", 30));
    let lies = vec![(operation("old record", 4), signed(-1)), is("new record", 4, 0)];
    attack("a version before the first", SECOND_PUT, lies, (C19, "packed field", 24));
    let lies = vec![is("old record", 5, end), is("new record", 5, end + 1), is("header", 5, end)];
    attack("the last revision", SECOND_PUT, lies, (C19, "packed field", 31));
    let lies = vec![is("signer", 2, 0), is("signer", 3, end + 2), is("header", 1, end + 2), is("authority", 0, DOCTOR)];
    attack("an organisation hidden in the epoch", DOCTOR_PUT, lies, (C19, "packed field", 3));
    let last = (1u64 << 40) - 1;
    let lies = vec![public(3, Fr::from(last)), is("header", 7, last + 5)];
    attack("a validity beyond the last second", SET, lies, (C19, "header", 1));
    attack("a time beyond the last second", 0, vec![public(3, Fr::from(last + 1))], (C16, "time", 0));

    // C2: several kinds at once. In an unused slot a kind of -1 makes the sum 0.
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
    let set = [is("new grant", 0, 5), is("new grant", 1, 7), is("header", 4, 2), is("target bit", 1, 1)];
    let code = |lies: Vec<(Hint, Lie)>, code| {
        [lies, vec![(operation("kind, tree", 0), signed(code)), is("kind, tree", 1, 1)]].concat()
    };
    attack("PutRecord less SetGrant", REGISTER, code([&flags(2)[..], &set].concat(), 1 - 4), (C2, "kind", 2));
    attack("PutRecord less Revoke", REGISTER, code(flags(3), 1 - 5), (C2, "kind", 3));
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
    attack("SetGrant and PutRecord at once, under a key that signs everything", SET, lies, (C2, "kind", 5));

    // C14: L1 operations.
    let l1 = |name, index, value| (registration(name, index), number(value));
    let lies = vec![l1("old leaf", 0, 5), l1("inverse for a fresh account", 0, 0)];
    attack("a second registration of an account", REGISTER, lies, (C14, "a medical leaf without an identity", 0));
    attack("an L1 operation at another account", REGISTER, vec![l1("entry", 1, 5)], (C14, "account", 0));
    for (word, field) in [(0, 2), (1, 8), (2, 9), (3, 10)] {
        attack("data in an unused L1 slot", SET, vec![l1("entry", field, 1)], (C14, "data beyond n1", word));
    }
    let lies = vec![l1("account bit", 0, 2), (registration("entry", 1), Lie::More(Fr::from(2)))];
    attack("an L1 turn that is no bit", REGISTER, lies, (C14, "identity", 0));
    let entry = &stories[REGISTER].case.0.registrations[0].entry;
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
    attack("a slot that is used so many times that its data are 0", REGISTER, lies, (C14, "kind", 0));
    attacks
}

#[test]
fn each_attack_is_refused_by_the_assertion_against_it() {
    let stories = stories();
    let mut wrong = Vec::new();
    for Attack { name, story, lies, refused_by } in attacks(&stories) {
        let trial = stories[story].tell_in_its_world(&lies);
        let found: Vec<_> = trial.assertions().into_iter().map(|a| (a.clause, a.detail, a.index)).collect();
        if found != [refused_by] {
            wrong.push(format!("{name}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Batches that break a rule openly, on a state that has what they need.
pub(super) fn forgeries() -> Vec<(&'static str, Case, (Clause, &'static str, u32))> {
    use Clause::*;
    let slot = first_slot(&SINGLE);
    let history = operations(&SINGLE);
    let world = |change: fn(&mut Vec<EntryFields>), operations: &[SignedOperation]| {
        let mut entries = scenario::registrations().iter().map(|registration| registration.fields()).collect();
        change(&mut entries);
        let mut forger = Forger::new(SINGLE);
        for entry in entries {
            let witness = forger.registration(entry);
            forger.register(witness);
        }
        for operation in operations {
            let witness = forger.operation(operation);
            forger.push(witness);
        }
        forger.settle();
        forger
    };
    let then = |mut forger: Forger, operation: &SignedOperation, change: fn(&mut OperationWitness)| {
        let mut witness = forger.operation(operation);
        change(&mut witness);
        forger.sign(&mut witness);
        forger.push(witness);
        forger.finish()
    };
    let put = |signer, slot| sign(signer, put(0, 0, record(Class::Summary, signer, 1, 1)), Some(slot), 3);
    let write = grant(STRANGER, Rights::WRITE, ClassMask::ALL, 2);
    let to_stranger = sign(PATIENT, scenario::set_grant(slot + 1, write, 92, 93), None, 20);
    let deleted = RecordLeaf {
        status: RecordStatus::Tombstone,
        revision: Revision::new(3).expect("a revision"),
        ..record(Class::Encounter, DOCTOR, 2, 2)
    };
    let (first, second) = (RecordSlot::new(0).expect("a slot"), Revision::new(2).expect("a revision"));
    let tombstone = sign(
        STRANGER,
        Action::Tombstone(Tombstone { slot: first, expected: second, leaf: deleted }),
        Some(slot + 1),
        21,
    );
    let request = sign(DOCTOR, request(slot, 0, Class::Summary), None, 3);
    let readable = |change| {
        let mut forger = world(change, &[]);
        forger.write_grant(PATIENT, slot, &grant(DOCTOR, Rights::READ, ClassMask::ALL, 1));
        forger
    };
    let nothing = |_: &mut OperationWitness| ();
    let foreign =
        sign(STRANGER, scenario::set_grant(slot, grant(STRANGER, Rights::READ, ClassMask::ALL, 1), 0, 5), None, 3);
    vec![
        (
            "a hospital writes",
            then(world(|_| (), &history[..1]), &put(HOSPITAL, slot), nothing),
            (C2, "a doctor or the patient", 0),
        ),
        (
            "a suspended doctor writes",
            then(world(|entries| entries[1].status = Fr::from(2), &history[..1]), &history[2], nothing),
            (C2, "signer active", 0),
        ),
        ("somebody else grants", then(world(|_| (), &[]), &foreign, nothing), (C2, "the patient", 0)),
        (
            "not the author deletes",
            then(world(|_| (), &[&history[..5], &[to_stranger]].concat()), &tombstone, nothing),
            (C2, "the patient or the author", 0),
        ),
        (
            "a doctor as a patient",
            then(readable(|entries| entries[3].role = Fr::from(u64::from(Role::Doctor.code()))), &request, nothing),
            (C5, "an active patient", 0),
        ),
        (
            "a closed account",
            then(readable(|entries| entries[3].status = Fr::from(3)), &request, nothing),
            (C5, "an active patient", 1),
        ),
        (
            "a suspension hidden in the organisation",
            then(readable(|entries| entries[3].status = Fr::from(2)), &request, |w| {
                (w.patient.status, w.patient.org) = (Fr::ONE, Fr::from(1 << 24));
            }),
            (C19, "packed field", 6),
        ),
        (
            "an organisation hidden in the epoch",
            then(readable(|entries| entries[3].org = Fr::ONE), &request, |w| {
                (w.patient.org, w.patient.epoch) = (Fr::ZERO, Fr::from((1 << 32) + 1));
                w.message.header.patient_epoch = w.patient.epoch;
            }),
            (C19, "packed field", 7),
        ),
    ]
}

#[test]
fn each_forgery_is_refused_by_the_assertion_against_it() {
    for (name, case, refused_by) in forgeries() {
        let found: Vec<_> = refusals(&case).into_iter().map(|a| (a.clause, a.detail, a.index)).collect();
        assert_eq!(found, [refused_by], "{name}");
    }
}

/// An unused slot before a used one, wherever it is.
#[test]
fn every_hole_is_refused() {
    let version = CircuitVersion { max_l1: 4, max_l2: 4, k: 14, ..SINGLE };
    let mut batch = scenario::open(version);
    for operation in &operations(&version)[..3] {
        batch.push(operation).expect("an honest operation");
    }
    let (sealed, _) = batch.seal();
    let case = (sealed.witness().clone(), *sealed.public());
    assert_eq!(refusals(&case), BTreeSet::new());
    for hole in 0..3 {
        let (mut witness, public) = case.clone();
        witness.operations.insert(hole, super::super::batch::unused_operation());
        let found: Vec<_> = refusals(&(witness, public)).into_iter().map(|a| (a.clause, a.detail, a.index)).collect();
        assert_eq!(found, [(Clause::C18, "exactly n, first", hole as u32)]);
        let (mut witness, mut public) = case.clone();
        (public.n1, public.n) = (3, 0);
        witness.registrations.remove(3);
        let unused = super::super::batch::unused_registration();
        witness.registrations.insert(hole, unused);
        // The operations need the fourth account.
        witness.operations.clear();
        let found: Vec<_> = refusals(&(witness, public)).into_iter().map(|a| (a.clause, a.detail, a.index)).collect();
        assert_eq!(found, [(Clause::C14, "exactly n1, first", hole as u32)]);
    }
}
