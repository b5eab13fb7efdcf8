//! What would go unnoticed if an assertion were deleted: for each there is a lie, told in a world that fits it, which that
//! assertion alone refuses. The others follow from the rest, and are listed with the reason.

use halo2curves::ff::Field;

use super::{
    attacks::{Attack, DOCTOR_PUT, REQUEST, SET, attacks, forgeries},
    every_hint::compensated,
    *,
};

/// Assertions that no lie here violates alone, and why.
const NOT_ALONE: [(&[u32], Clause, &str, &str); 19] = [
    (&[0], Clause::C13, "state root before", EXPOSED),
    (&[0], Clause::C13, "state root after", EXPOSED),
    (&[0], Clause::C15, "commitment to the data", EXPOSED),
    (&[0, 1], Clause::C18, "evaluations of the data", EXPOSED),
    (&[2], Clause::C14, "identity", TURNS),
    (&[0, 2], Clause::C14, "medical", TURNS),
    (&[0], Clause::C10, "root after", TURNS),
    (&[0], Clause::C5, "medical leaf under the medical root", TURNS),
    (&[0], Clause::C12, "medical leaf after", TURNS),
    (&[0, 1, 4], Clause::C2, "kind", "the status, the counters and their ranges admit 0 and 1 only"),
    (&[1], Clause::C19, "packed field", "the signer's status is compared with a constant"),
    (&[4, 5], Clause::C19, "packed field", "the patient's role and status are compared with constants"),
    (
        &[12, 25],
        Clause::C19,
        "packed field",
        "a counter of the leaf before: the expected one, or the one after, is in range",
    ),
    (&[0], Clause::C19, "header", "the expected counter is compared with one of a leaf, which is in range"),
    (&[26], Clause::C19, "packed field", "the status after is computed from the kind"),
    (&[0, 3], Clause::C19, "an empty slot holds nothing", "the packing holds the counter, so it is not 0 either"),
    (&[1], Clause::C8, "status before", "a tombstone's status is 2, and one more than before"),
    (&[0], Clause::C3, "equation", "the curve: `a_key_off_the_curve_is_refused`"),
    (&[1, 2], Clause::C3, "equation", "R is in the challenge: `each_coordinate_of_r_is_compared`"),
];
const EXPOSED: &str = "in no cell: the copy to the public input stands for it";
const TURNS: &str = "the same bits as another path's";

/// Lies about single hints and about pairs that make up for each other, of which some are refused by one assertion alone.
fn alone(number: usize, story: &Story, used: Part) -> BTreeSet<Assertion> {
    let hints = story.record.hints.iter().map(|(hint, _)| *hint).filter(|hint| hint.name != "digits");
    let hints = hints.filter(|hint| [used, Part::Frame].contains(&hint.part));
    let singles = hints.flat_map(|hint| [Fr::ONE, -Fr::ONE].map(|change| vec![(hint, Lie::More(change))]));
    let pairs = compensated(story).into_iter().map(|pair| pair.to_vec());
    let pairs = pairs.filter(|_| [SET, DOCTOR_PUT, REQUEST].contains(&number) || used != Part::Operation(0));
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
    // A public input that is not the one published.
    let story = &stories[0];
    for row in 0..PublicInputs::COUNT {
        let mut instances = story.case.1.elements().to_vec();
        instances[row] += Fr::ONE;
        let failures = Diagnosis::of(&story.honest, instances).failures();
        let names = story.record.names();
        assert_eq!(failures.len(), 1);
        found.extend(failures[0].origin.and_then(|origin| origin.assertion).map(|number| names[number as usize]));
    }
    drop(stories);
    std::thread::scope(|scope| {
        let halves = [0, 1].map(|half| {
            scope.spawn(move || {
                let mut found = BTreeSet::new();
                for (i, case) in scenario::one_by_one(SINGLE)
                    .into_iter()
                    .enumerate()
                    .filter(|(i, _)| [[0, 4, 7, 11], [3, 6, 8, 10]][half].contains(i))
                {
                    let used = if i < 4 { Part::Registration(0) } else { Part::Operation(0) };
                    found.extend(alone(i, &Story::new(case), used));
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
    let excused = |name: &Assertion| {
        NOT_ALONE.iter().any(|(indices, clause, detail, _)| {
            (*clause, *detail) == (name.clause, name.detail) && indices.contains(&name.index)
        })
    };
    let missing: Vec<_> = names.iter().filter(|name| !found.contains(name) && !excused(name)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    let listed = names.iter().filter(|name| excused(name) && !found.contains(name)).count();
    assert_eq!(
        listed,
        NOT_ALONE.iter().map(|(indices, ..)| indices.len()).sum::<usize>(),
        "some are not redundant any more"
    );
}
