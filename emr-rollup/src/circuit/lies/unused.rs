//! Unused slots hold anything that a prover likes. Nothing of it reaches the roots, the data or another slot.

use super::*;
use crate::circuit::lies::attacks::{DOCTOR_PUT, MANAGED_SET, SET};
use crate::statement::Clause;

/// The history's story that uses an L1 slot and no L2 slot.
const REGISTER: usize = 3;

/// What refuses the lies. If nothing does, every public input is the honest one.
fn refusals_of(story: &Story, lies: &[(Hint, Lie)]) -> BTreeSet<Assertion> {
    let trial = story.tell(lies, true);
    if trial.failures.is_empty() {
        assert_eq!(published(&trial.table, &story.case.1), story.case.1.elements(), "{lies:?}");
    }
    trial.assertions()
}

#[test]
fn no_hint_of_an_unused_slot_reaches_the_public_inputs() {
    let stories = stories();
    for (number, unused, least) in [(REGISTER, Part::Operation(0), 100), (SET, Part::Entry(0), 10)] {
        let story = &stories[number];
        let hints = story.record.hints.iter().filter(|(hint, _)| hint.part == unused && hint.name != "digits");
        let tries = hints.flat_map(|(hint, honest)| {
            [Fr::ONE, Fr::from(2), -Fr::ONE, *honest + Fr::ONE].map(|value| [(*hint, Lie::Is(value))])
        });
        let free = tries.filter(|lies| refusals_of(story, lies).is_empty()).count();
        assert!(free > least, "{free} lies in {unused:?}");
    }
}

/// A whole operation of another history is in the unused slot, but for what is constrained there too: its kind, its body (0), its record
/// (the counters stay) and its signature (of the neutral key).
#[test]
fn a_whole_operation_in_an_unused_slot_changes_nothing() {
    let stories = stories();
    for number in [SET, DOCTOR_PUT, MANAGED_SET] {
        let slot = stories[number].record.hints.iter().filter(|(hint, _)| hint.part == Part::Operation(0));
        // Inverses and digits follow from the rest.
        let kept = ["kind flag", "kind, tree", "body", "old record", "new record", "signature", "word", "digits"];
        let taken = |name: &str| !kept.contains(&name) && !name.starts_with("inverse");
        let content = slot.filter(|(hint, _)| taken(hint.name)).map(|(hint, value)| (*hint, Lie::Is(*value)));
        let lies: Vec<_> = content.collect();
        assert_eq!(refusals_of(&stories[REGISTER], &lies), BTreeSet::new(), "story {number}");
        // With its kind it is a used slot, which the public inputs do not have.
        let slot = stories[number].record.hints.iter();
        let kind = slot.filter(|(hint, _)| hint.part == Part::Operation(0) && hint.name.starts_with("kind"));
        let used: Vec<_> = lies.into_iter().chain(kind.map(|(hint, value)| (*hint, Lie::Is(*value)))).collect();
        let trial = stories[REGISTER].tell(&used, false);
        let refused = trial.assertions();
        assert!(refused.iter().any(|assertion| assertion.demand.clause() == Clause::PublicInputs), "{refused:?}");
    }
}
