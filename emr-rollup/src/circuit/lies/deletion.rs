//! Checks that each assertion is needed: for each one there is a lie, in a world that fits the lie, that only this
//! assertion refuses. The assertions without such a lie follow from the others, and are listed with the reason.

use halo2curves::ff::Field as _;

use super::{
    attacks::{Attack, DOCTOR_PUT, MANAGED_SET, REQUEST, SET, attacks},
    every_hint::compensated,
    forgeries::forgeries,
    *,
};
use crate::{
    circuit::demand::{Axis, Field, Leaf},
    operation::Kind,
};

/// Assertions that no lie here violates alone, and why.
const NOT_ALONE: [(&[Demand], &str); 14] = [
    (
        &[Demand::RootBefore, Demand::RootAfter, Demand::DataCommitment, Demand::D1Evaluation, Demand::D2Evaluation],
        "in no cell: the copy to the public input stands for it",
    ),
    (
        &[
            Demand::EntryTurns(EntryTree::Identity, Moment::After),
            Demand::EntryTurns(EntryTree::Medical, Moment::Before),
            Demand::EntryTurns(EntryTree::Medical, Moment::After),
            Demand::EntryTurns(EntryTree::Grants, Moment::After),
            Demand::TargetTurns(Moment::After),
            Demand::MedicalTurns(Moment::Before),
            Demand::MedicalTurns(Moment::After),
        ],
        "the same bits as another path's",
    ),
    (
        &[Demand::KindFlag(Kind::PutRecord), Demand::KindFlag(Kind::Tombstone), Demand::KindFlag(Kind::RequestAccess)],
        "the status, the counters and their ranges admit 0 and 1 only",
    ),
    (&[Demand::EntryOneKind], "two flags make the slot used twice, and `UnusedEntry` refuses its data then"),
    (&[Demand::KindFlag(Kind::Rekey)], "`RekeyKeeps` and `NextRevision` together admit 0 and 1 only"),
    (&[Demand::KindFlag(Kind::BreakGlass)], "`EmergencyEnds` admits nothing below 0"),
    (
        &[
            Demand::LeafField(Leaf::Signer, Field::Status),
            Demand::LeafField(Leaf::Patient, Field::Role),
            Demand::LeafField(Leaf::Patient, Field::Status),
        ],
        "compared with a constant",
    ),
    (
        &[Demand::LeafField(Leaf::OldGrant, Field::Uses), Demand::LeafField(Leaf::OldRecord, Field::Revision)],
        "a counter of the leaf before: the expected one, or the one after, is in range",
    ),
    (&[Demand::LeafField(Leaf::Authority, Field::Scope)], "the delegate's classes spell it"),
    (&[Demand::HeaderField(Field::Expected)], "compared with a counter of a leaf, which is in range"),
    (&[Demand::LeafField(Leaf::NewRecord, Field::Status)], "computed from the kind"),
    (
        &[
            Demand::SlotIsEmpty(Leaf::Account),
            Demand::SlotIsEmpty(Leaf::OldGrant),
            Demand::SlotIsEmpty(Leaf::OldRecord),
        ],
        "the packing holds the counter, so it is not 0 either",
    ),
    (&[Demand::StillLive], "a tombstone's status is 2, and one more than before; a rekey's is 1, and as before"),
    (
        &[Demand::Ladder, Demand::SignaturePoint(Axis::X), Demand::SignaturePoint(Axis::Y)],
        "`a_key_off_the_curve_is_refused` and `each_coordinate_of_r_is_compared` show it",
    ),
];

/// Tries lies about single hints and about pairs that compensate for each other. Returns the assertions that refuse one
/// of them alone.
fn alone(number: usize, story: &Story) -> BTreeSet<Assertion> {
    let used = story.used();
    let hints = story.record.hints.iter().map(|(hint, _)| *hint).filter(|hint| hint.name != "digits");
    let hints = hints.filter(|hint| [used, Part::Frame].contains(&hint.part));
    let singles = hints.flat_map(|hint| [Fr::ONE, -Fr::ONE].map(|change| vec![(hint, Lie::More(change))]));
    let pairs = compensated(story).into_iter().map(|pair| pair.to_vec());
    let pairs =
        pairs.filter(|_| [SET, DOCTOR_PUT, REQUEST, MANAGED_SET].contains(&number) || used != Part::Operation(0));
    let trials = singles.chain(pairs).map(|lies| story.tell_in_its_world(&lies).assertions());
    trials.filter(|assertions| assertions.len() == 1).flatten().collect()
}

#[test]
fn every_assertion_stands_alone_against_something() {
    let stories = stories();
    let mut found: BTreeSet<Assertion> = BTreeSet::new();
    let one =
        |assertions: BTreeSet<Assertion>| (assertions.len() == 1).then(|| assertions.into_iter().next()).flatten();
    for Attack { story, lies, .. } in attacks(&stories) {
        found.extend(one(stories[story].tell_in_its_world(&lies).assertions()));
    }
    for (_, case, _) in forgeries() {
        found.extend(one(refusals(&case)));
    }
    // A public input that differs from the published one.
    let story = &stories[0];
    for row in 0..PublicInputs::COUNT {
        let mut public_inputs = story.case.1.elements().to_vec();
        public_inputs[row] += Fr::ONE;
        let failures = Diagnosis::of(&story.honest, public_inputs).failures();
        let names = story.record.names();
        assert_eq!(failures.len(), 1);
        found.extend(failures[0].origin.and_then(|origin| origin.assertion).map(|number| names[number as usize]));
    }
    drop(stories);
    std::thread::scope(|scope| {
        let halves =
            [0, 1].map(|half| {
                scope.spawn(move || {
                    let mut found = BTreeSet::new();
                    for (i, case) in scenario::one_by_one(SINGLE).into_iter().enumerate().filter(|(i, _)| {
                        [[0, 4, 7, 11, 12, 15, 17, 19], [3, 6, 8, 10, 13, 16, 18, 20]][half].contains(i)
                    }) {
                        found.extend(alone(i, &Story::new(case)));
                    }
                    found
                })
            });
        for half in halves {
            found.extend(half.join().expect("no panic"));
        }
    });
    let names = Story::new(scenario::one_by_one(SINGLE).remove(0)).record.names();
    println!("{} of {}", found.len(), names.len());
    let excused = |name: &Assertion| NOT_ALONE.iter().any(|(demands, _)| demands.contains(&name.demand));
    let missing: Vec<_> = names.iter().filter(|name| !found.contains(name) && !excused(name)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    let listed = names.iter().filter(|name| excused(name) && !found.contains(name)).count();
    assert_eq!(
        listed,
        NOT_ALONE.iter().map(|(demands, _)| demands.len()).sum::<usize>(),
        "some are not redundant any more"
    );
}
