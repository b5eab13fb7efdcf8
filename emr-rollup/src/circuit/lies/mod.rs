//! Provers who lie about single hints. Everything after a lie follows from it, so only the constraint that exists for
//! this case can refuse it. These tests find missing constraints. Honest batches cannot show that a constraint is
//! missing. False witness fields cannot show it either, because an honest builder computes all other hints from them.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use halo2curves::ff::Field as _;

use super::{
    batch::BatchCircuit,
    builder::Builder,
    demand::{Content, Demand, EntryTree, Leaf, Moment, Party},
    diagnosis::{Diagnosis, Failure},
    gadget::generic::{FIRST_R, SECOND_R},
    hints::Hints,
    origin::{Origin, Part},
    table::{CellId, Copy, End, Span, Table},
};
use crate::{
    batch::PublicInputs,
    primitive::{
        field::{Fr, to_u64},
        poseidon::{self, Tag},
    },
    state::{
        leaf::Tree,
        tree::{ARITY, levels},
    },
    statement::BatchWitness,
    testing::scenario,
    version::CircuitVersion,
};

mod attacks;
mod deletion;
mod every_hint;
mod forgeries;
mod fuzz;
mod oracle;
mod unused;

/// One L1 slot and one L2 slot, so that a batch is one operation.
const SINGLE: CircuitVersion =
    CircuitVersion { number: 1, account_depth: 4, grant_depth: 2, record_depth: 4, max_l1: 1, max_l2: 1, k: 12 };

/// A witness and its public inputs.
type Case = (BatchWitness, PublicInputs);

/// How many changes, one after the other, make the world fit a lie.
const ROUNDS: u32 = 8;

/// A hint: its part, its name, and its number among the hints of that name in the part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Hint {
    part: Part,
    name: &'static str,
    index: u32,
}

/// A hint of the first L2 slot.
fn operation(name: &'static str, index: u32) -> Hint {
    Hint { part: Part::Operation(0), name, index }
}

/// A hint of the first L1 slot.
fn entry(name: &'static str, index: u32) -> Hint {
    Hint { part: Part::Entry(0), name, index }
}

/// The value that replaces a hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lie {
    Is(Fr),
    /// The honest value plus this.
    More(Fr),
}

/// An assertion, without its L1 or L2 slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Assertion {
    demand: Demand,
    /// The assertion's number among those of its demand. A range check of several words has several assertions.
    index: u32,
}

impl From<Demand> for Assertion {
    fn from(demand: Demand) -> Self {
        Self { demand, index: 0 }
    }
}

/// A record of what a builder did.
#[derive(Debug, Default)]
struct Record {
    hints: Vec<(Hint, Fr)>,
    assertions: Vec<Origin>,
}

impl Record {
    /// Every assertion's name, by number.
    fn names(&self) -> Vec<Assertion> {
        let mut counts = BTreeMap::new();
        let name = |origin: &Origin| {
            let count = counts.entry((origin.part, origin.demand)).or_insert(0);
            *count += 1;
            Assertion { demand: origin.demand, index: *count - 1 }
        };
        self.assertions.iter().map(name).collect()
    }

    fn value(&self, hint: Hint) -> Fr {
        self.hints.iter().find(|(other, _)| *other == hint).map(|(_, value)| *value).expect("a hint of this name")
    }
}

/// Replaces hints by lies, and keeps a record.
#[derive(Debug)]
struct Impostor {
    lies: Vec<(Hint, Lie)>,
    counts: BTreeMap<(Part, &'static str), u32>,
    record: Rc<RefCell<Record>>,
}

impl Hints for Impostor {
    fn value(&mut self, part: Part, name: &'static str, honest: Fr) -> Fr {
        let count = self.counts.entry((part, name)).or_insert(0);
        let hint = Hint { part, name, index: *count };
        *count += 1;
        let value = match self.lies.iter().find(|(other, _)| *other == hint) {
            Some((_, Lie::Is(value))) => *value,
            Some((_, Lie::More(value))) => honest + value,
            None => honest,
        };
        self.record.borrow_mut().hints.push((hint, value));
        value
    }

    fn assertion(&mut self, origin: Origin) {
        self.record.borrow_mut().assertions.push(origin);
    }
}

/// Pairs of paths over the same bits. Both constrain these to be bits.
const SAME_TURNS: [[Demand; 2]; 7] = [
    [entry_turns(EntryTree::Identity, Moment::After), entry_turns(EntryTree::Identity, Moment::Before)],
    [entry_turns(EntryTree::Medical, Moment::Before), entry_turns(EntryTree::Identity, Moment::Before)],
    [entry_turns(EntryTree::Medical, Moment::After), entry_turns(EntryTree::Identity, Moment::Before)],
    [entry_turns(EntryTree::Grants, Moment::After), entry_turns(EntryTree::Grants, Moment::Before)],
    [Demand::MedicalTurns(Moment::Before), Demand::IdentityTurns(Party::Patient)],
    [Demand::MedicalTurns(Moment::After), Demand::IdentityTurns(Party::Patient)],
    [Demand::TargetTurns(Moment::After), Demand::TargetTurns(Moment::Before)],
];

const fn entry_turns(tree: EntryTree, moment: Moment) -> Demand {
    Demand::EntryTurns(tree, moment)
}

/// The table with the lies, what it violates, and what the builder did.
struct Trial {
    table: Table,
    failures: Vec<Failure>,
    record: Record,
}

impl Trial {
    /// The numbers of the violated assertions.
    ///
    /// # Panics
    /// Panics if a row that only computes is violated, because the builder is then not consistent.
    fn numbers(&self) -> BTreeSet<u32> {
        let number = |failure: &Failure| {
            failure.origin.and_then(|origin| origin.assertion).unwrap_or_else(|| panic!("not an assertion: {failure}"))
        };
        self.failures.iter().map(number).collect()
    }

    /// The violated assertions. Of paths over the same bits, only the first counts.
    fn assertions(&self) -> BTreeSet<Assertion> {
        let names = self.record.names();
        let mut found: BTreeSet<_> = self.numbers().into_iter().map(|number| names[number as usize]).collect();
        for [same, first] in SAME_TURNS {
            if found.contains(&first.into()) {
                found.remove(&same.into());
            }
        }
        found
    }

    /// The value that the circuit computed for a violated assertion: `x` of `flag · (x - y)`, or the second of two
    /// wires that must be equal.
    fn computed(&self, number: u32) -> Fr {
        let of = |origin: Origin| origin.assertion == Some(number);
        let copy = self.table.copies.iter().find(|copy| of(copy.origin) && self.copy_fails(copy));
        match copy.map(|copy| copy.right) {
            Some(End::Advice(cell)) => self.table.value(cell),
            _ => {
                let failure = self.failures.iter().find(|failure| failure.origin.is_some_and(of));
                let failure = failure.expect("it is violated");
                let column = if failure.constraint == "first" { FIRST_R } else { SECOND_R };
                self.table.value(CellId { row: failure.row, column: column as u8 })
            }
        }
    }

    fn copy_fails(&self, copy: &Copy) -> bool {
        matches!(copy.right, End::Advice(cell) if self.table.value(cell) != self.table.value(copy.left))
    }

    /// The output of the last permutation for this demand.
    fn hash(&self, demand: Demand) -> Fr {
        let of = |span: &&Span| span.origin.demand == demand && span.end - span.first > 1;
        let span = self.table.spans.iter().filter(of).max_by_key(|span| span.end).expect("a hash for this reason");
        self.table.value(CellId { row: span.end - 1, column: span.columns.trailing_zeros() as u8 })
    }
}

/// An honest batch about which a prover lies.
struct Story {
    case: Case,
    honest: Table,
    record: Record,
}

impl Story {
    fn new(case: Case) -> Self {
        let (circuit, record) = lay_out(&case, &[]);
        assert_eq!(Diagnosis::new(&circuit, &case.1).failures(), []);
        Self { case, honest: circuit.table, record }
    }

    /// The slot that the batch uses.
    fn used(&self) -> Part {
        if self.case.0.entries.is_empty() { Part::Operation(0) } else { Part::Entry(0) }
    }

    /// Lays the batch out with lies, under the published public inputs, or under those that follow from the lies.
    fn tell(&self, lies: &[(Hint, Lie)], public_follows: bool) -> Trial {
        let (circuit, record) = lay_out(&self.case, lies);
        let public = &self.case.1;
        let public_inputs = if public_follows { published(&circuit.table, public) } else { public.elements().to_vec() };
        let failures = Diagnosis::of(&circuit.table, public_inputs).failures_unlike(&self.honest);
        Trial { table: circuit.table, failures, record }
    }

    /// Tells a lie in a world that fits it: the state before holds what the lie says, the signer signs it, and the
    /// public inputs follow. So only the assertions that exist for this lie still fail.
    fn tell_in_its_world(&self, lies: &[(Hint, Lie)]) -> Trial {
        let mut world = BTreeMap::new();
        // If two assertions want different values for one hint, one of them stays violated.
        for round in 0.. {
            let told: Vec<_> = lies.iter().copied().chain(world.iter().map(|(hint, lie)| (*hint, *lie))).collect();
            let trial = self.tell(&told, true);
            let names = trial.record.names();
            // One change at a time, because each changes what follows. A hint with a lie keeps the lie.
            let fit = trial.numbers().into_iter().find_map(|number| {
                let mut fits = self.fit(&trial, names[number as usize], number);
                fits.retain(|(hint, lie)| !lies.iter().any(|(other, _)| other == hint) && world.get(hint) != Some(lie));
                (!fits.is_empty()).then_some(fits)
            });
            match fit {
                Some(fits) if round < ROUNDS => world.extend(fits),
                _ => return trial,
            }
        }
        unreachable!("the last round returns")
    }

    /// If a delegate acts, their grant and the target lie in one tree. So each is beside the path of the other.
    fn one_tree(&self, trial: &Trial) -> Vec<(Hint, Lie)> {
        let headers = self.case.0.operations.iter().map(|operation| &operation.message.header);
        let grants = Fr::from(Tree::Grants as u64);
        if !headers.into_iter().any(|header| header.signer != header.patient && header.tree == grants) {
            return Vec::new();
        }
        let turns = |name| -> Vec<usize> {
            let turn = |i| to_u64(&trial.record.value(operation(name, i))).filter(|turn| *turn < ARITY as u64);
            (0..levels(SINGLE.grant_depth) as u32).map(|i| turn(i).unwrap_or(0) as usize).collect()
        };
        let (authority, target) = (turns("authority turn"), turns("target turn"));
        let Some(meet) = authority.iter().zip(&target).rposition(|(one, other)| one != other) else {
            return Vec::new();
        };
        let node = |turns: &[usize], siblings, leaf| {
            turns[..meet].iter().zip(0..).fold(trial.hash(Demand::LeafHash(leaf)), |node, (turn, level)| {
                let mut children: Vec<_> =
                    (0..3).map(|i| trial.record.value(operation(siblings, 3 * level + i))).collect();
                children.insert(*turn, node);
                poseidon::hash(Tag::Node, &children)
            })
        };
        // The hint of the sibling that is child `child` of the parent where the paths meet.
        let sibling = |siblings, turn: usize, child: usize| {
            operation(siblings, (3 * meet + child - usize::from(child > turn)) as u32)
        };
        let (by_authority, by_target) = (authority[meet], target[meet]);
        let others = (0..ARITY).filter(|child| ![by_authority, by_target].contains(child)).map(|child| {
            let value = trial.record.value(sibling("authority sibling", by_authority, child));
            (sibling("target sibling", by_target, child), Lie::Is(value))
        });
        let node_of_authority = node(&authority, "authority sibling", Leaf::Authority);
        let node_of_target = node(&target, "target sibling", Leaf::OldGrant);
        others
            .chain([
                (sibling("target sibling", by_target, by_authority), Lie::Is(node_of_authority)),
                (sibling("authority sibling", by_authority, by_target), Lie::Is(node_of_target)),
            ])
            .collect()
    }

    /// The changes to the world that satisfy a violated assertion, if it is about the world.
    fn fit(&self, trial: &Trial, assertion: Assertion, number: u32) -> Vec<(Hint, Lie)> {
        let frame = |index| Hint { part: Part::Frame, name: "root before", index };
        let hint = match assertion.demand {
            Demand::EntryRoot(EntryTree::Identity) | Demand::IdentityRoot(_) => frame(0),
            Demand::EntryRoot(EntryTree::Medical) | Demand::MedicalRoot => frame(1),
            Demand::EntryRoot(EntryTree::Grants) => entry("medical", 0),
            Demand::AuthorityRoot | Demand::TargetRoot(Tree::Grants) => {
                let root = (operation("medical", 0), Lie::Is(trial.computed(number)));
                return self.one_tree(trial).into_iter().chain([root]).collect();
            }
            Demand::TargetRoot(Tree::Records) => operation("medical", 1),
            Demand::Signed(Content::Packed) => operation("body", 0),
            Demand::Signed(Content::First) => operation("body", 1),
            Demand::Signed(Content::Second) => operation("body", 2),
            Demand::SignaturePoint(_) => {
                let signer = to_u64(&self.case.0.operations[0].message.header.signer);
                let message = trial.hash(Demand::MessageHash);
                let signature = scenario::key(signer.expect("an account")).sign(message);
                let s = crate::primitive::field::reduce(&signature.s.to_bytes());
                let fields = [signature.r.x(), signature.r.y(), s];
                return (0..).zip(fields).map(|(i, field)| (operation("signature", i), Lie::Is(field))).collect();
            }
            _ => return Vec::new(),
        };
        vec![(hint, Lie::Is(trial.computed(number)))]
    }
}

fn lay_out((witness, public): &Case, lies: &[(Hint, Lie)]) -> (BatchCircuit, Record) {
    let record = Rc::new(RefCell::new(Record::default()));
    let impostor = Impostor { lies: lies.to_vec(), counts: BTreeMap::new(), record: record.clone() };
    let circuit = BatchCircuit::lay_out(Builder::with_hints(Box::new(impostor)), witness, public);
    (circuit, Rc::into_inner(record).expect("the builder is gone").into_inner())
}

/// The assertions that refuse an honest layout of a batch, with the public inputs that follow from it.
fn refusals((witness, public): &Case) -> BTreeSet<Assertion> {
    let (circuit, record) = lay_out(&(witness.clone(), *public), &[]);
    let public_inputs = published(&circuit.table, public);
    let failures = Diagnosis::of(&circuit.table, public_inputs).failures();
    Trial { table: circuit.table, failures, record }.assertions()
}

/// The public inputs that follow from a table.
fn published(table: &Table, public: &PublicInputs) -> Vec<Fr> {
    let mut public_inputs = public.elements().to_vec();
    for copy in &table.copies {
        if let End::PublicInput(row) = copy.right {
            public_inputs[row as usize] = table.value(copy.left);
        }
    }
    public_inputs
}

/// The honest history, one story per operation.
fn stories() -> Vec<Story> {
    scenario::one_by_one(SINGLE).into_iter().map(Story::new).collect()
}
