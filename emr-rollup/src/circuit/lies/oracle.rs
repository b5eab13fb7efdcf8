//! Compares the diagnosis, which these tests rely on, with MockProver: the same gates on the same rows, and the same sets of cells that
//! copies connect.

use std::collections::{BTreeMap, BTreeSet};

use halo2_proofs::{
    dev::{FailureLocation, MockProver, VerifyFailure},
    plonk::Any,
};

use super::*;

/// A cell of an advice column, or of the instance column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cell {
    Advice { row: u32, column: u8 },
    PublicInput(u32),
}

impl From<CellId> for Cell {
    fn from(cell: CellId) -> Self {
        Self::Advice { row: cell.row, column: cell.column }
    }
}

impl From<End> for Cell {
    fn from(end: End) -> Self {
        match end {
            End::Advice(cell) => cell.into(),
            End::PublicInput(row) => Self::PublicInput(row),
        }
    }
}

/// What is violated: gates by row and name, and connected cells by the first of them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Violated {
    gates: BTreeSet<(u32, String)>,
    connected: BTreeSet<Cell>,
}

/// The first of the cells that copies connect with a cell.
#[derive(Default)]
struct Connected(BTreeMap<Cell, Cell>);

impl Connected {
    fn of(copies: &[Copy]) -> Self {
        let mut connected = Self::default();
        for copy in copies {
            let (left, right) = (connected.first(copy.left.into()), connected.first(copy.right.into()));
            connected.0.insert(left.max(right), left.min(right));
        }
        connected
    }

    fn first(&self, cell: Cell) -> Cell {
        let mut cell = cell;
        while let Some(before) = self.0.get(&cell).filter(|before| **before != cell) {
            cell = *before;
        }
        cell
    }
}

fn row(location: &FailureLocation) -> u32 {
    match location {
        FailureLocation::InRegion { offset, .. } => *offset as u32,
        FailureLocation::OutsideRegion { row } => *row as u32,
    }
}

/// What MockProver finds. The circuit is one region that begins in row 0.
fn by_mock_prover(circuit: &BatchCircuit, public: Vec<Fr>, connected: &Connected) -> Violated {
    let prover = MockProver::run(SINGLE.k, circuit, vec![public]).expect("the table fits");
    let mut violated = Violated::default();
    for failure in prover.verify().err().unwrap_or_default() {
        match failure {
            VerifyFailure::ConstraintNotSatisfied { constraint, location, .. } => {
                let name = constraint.to_string();
                let name = name.split_once(' ').and_then(|(_, name)| name.split_once(' ')).map_or("", |(_, name)| name);
                let gate = name.split("in gate ").collect::<Vec<_>>();
                let gate: String = gate.concat().chars().filter(|letter| !letter.is_ascii_digit()).collect();
                violated.gates.insert((row(&location), gate));
            }
            VerifyFailure::Permutation { column, location } => {
                let row = row(&location);
                let cell = match column.column_type() {
                    Any::Instance => Cell::PublicInput(row),
                    _ => Cell::Advice { row, column: column.index() as u8 },
                };
                violated.connected.insert(connected.first(cell));
            }
            other => panic!("{other:?}"),
        }
    }
    violated
}

/// What the diagnosis finds.
fn by_diagnosis(table: &Table, public: Vec<Fr>, connected: &Connected) -> Violated {
    let mut violated = Violated::default();
    for failure in Diagnosis::of(table, public.clone()).failures() {
        if failure.gate != "copy" {
            let gate = format!("('{}')  ('{}')", failure.constraint, failure.gate);
            violated.gates.insert((failure.row, gate.chars().filter(|letter| !letter.is_ascii_digit()).collect()));
        }
    }
    let value = |end: End| match end {
        End::Advice(cell) => table.value(cell),
        End::PublicInput(row) => public[row as usize],
    };
    for copy in table.copies.iter().filter(|copy| table.value(copy.left) != value(copy.right)) {
        violated.connected.insert(connected.first(copy.left.into()));
    }
    violated
}

/// For every kind of operation: the honest table, and tables with lies.
#[test]
fn mock_prover_finds_the_same_violations() {
    const LIES: usize = 6;
    let mut found = (0, 0);
    for (number, story) in stories().iter().enumerate() {
        let used = story.used();
        let hints: Vec<_> = story.record.hints.iter().map(|(hint, _)| *hint).filter(|hint| hint.part == used).collect();
        let lies = hints.iter().step_by(hints.len() / LIES).map(|hint| vec![(*hint, Lie::More(Fr::ONE))]);
        for lies in std::iter::once(Vec::new()).chain(lies) {
            let (circuit, _) = lay_out(&story.case, &lies);
            let public = story.case.1.elements().to_vec();
            let connected = Connected::of(&circuit.table.copies);
            let ours = by_diagnosis(&circuit.table, public.clone(), &connected);
            let theirs = by_mock_prover(&circuit, public, &connected);
            assert_eq!(ours, theirs, "story {number}: {lies:?}");
            found = (found.0 + ours.gates.len(), found.1 + ours.connected.len());
        }
    }
    println!("{} gates, {} sets of cells", found.0, found.1);
    assert!(found.0 > 60 && found.1 > 30, "{found:?}");
}
