//! Finds the constraints that a table violates, and their clauses. It is for people. The proof system itself only
//! refuses.

use std::collections::{BTreeSet, HashMap};

use halo2_proofs::plonk::{ConstraintSystem, Expression};
use halo2curves::ff::Field;

use super::{
    batch::BatchCircuit,
    config::{ADVICE, CONSTANTS, Config, Selector},
    gadget::generic::FIRST_R,
    origin::Origin,
    table::{CellId, Copy, End, Row, Span, Table},
};
use crate::{batch::PublicInputs, primitive::field::Fr};

/// A constraint that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The gate, or "copy".
    pub gate: String,
    /// The name of the gate's constraint. For a copy, the two cells.
    pub constraint: String,
    /// The row.
    pub row: u32,
    /// The purpose of the constraint, or `None` on rows that only fill a lane.
    pub origin: Option<Origin>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "row {}: {} ({})", self.row, self.gate, self.constraint)?;
        match &self.origin {
            Some(origin) => write!(f, " for {origin}"),
            None => Ok(()),
        }
    }
}

struct NamedConstraint {
    gate: String,
    name: String,
    polynomial: Expression<Fr>,
    /// The advice columns that it reads, in the current or the next row.
    columns: u16,
}

/// Finds what a table violates.
pub struct Diagnosis<'a> {
    table: &'a Table,
    public_inputs: Vec<Fr>,
    constraints: Vec<NamedConstraint>,
    copies: HashMap<CellId, Vec<usize>>,
}

impl std::fmt::Debug for Diagnosis<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Diagnosis").field("rows", &self.table.rows.len()).finish_non_exhaustive()
    }
}

fn evaluate(polynomial: &Expression<Fr>, current: &Row, next: &Row) -> Fr {
    polynomial.evaluate_lazy(
        &|constant| constant,
        &|_| Fr::ZERO,
        &|query| match query.column_index() {
            index if index < CONSTANTS => current.constants[index],
            index => Fr::from(u64::from(current.selectors[index - CONSTANTS])),
        },
        &|query| if query.rotation().0 == 0 { current } else { next }.advice[query.column_index()],
        &|_| Fr::ZERO,
        &|_| Fr::ZERO,
        &|value| -value,
        &|a, b| a + b,
        &|a, b| a * b,
        &|value, factor| value * factor,
        &Fr::ZERO,
    )
}

fn columns(polynomial: &Expression<Fr>) -> u16 {
    polynomial.evaluate(
        &|_| 0,
        &|_| 0,
        &|_| 0,
        &|query| 1 << query.column_index(),
        &|_| 0,
        &|_| 0,
        &|mask| mask,
        &|a, b| a | b,
        &|a, b| a | b,
        &|mask, _| mask,
    )
}

impl<'a> Diagnosis<'a> {
    /// Prepares the diagnosis of a circuit.
    pub fn new(circuit: &'a BatchCircuit, public: &PublicInputs) -> Self {
        Self::of(&circuit.table, public.elements().to_vec())
    }

    pub(super) fn of(table: &'a Table, public_inputs: Vec<Fr>) -> Self {
        let mut system = ConstraintSystem::default();
        Config::new(&mut system);
        let constraints = system
            .gates()
            .iter()
            .flat_map(|gate| {
                gate.polynomials().iter().enumerate().map(|(i, polynomial)| NamedConstraint {
                    gate: gate.name().to_owned(),
                    name: gate.constraint_name(i).to_owned(),
                    polynomial: polynomial.clone(),
                    columns: columns(polynomial),
                })
            })
            .collect();
        let mut copies: HashMap<CellId, Vec<usize>> = HashMap::new();
        for (i, copy) in table.copies.iter().enumerate() {
            copies.entry(copy.left).or_default().push(i);
            if let End::Advice(right) = copy.right {
                copies.entry(right).or_default().push(i);
            }
        }
        Self { table, public_inputs, constraints, copies }
    }

    /// Every constraint that does not hold.
    pub fn failures(&self) -> Vec<Failure> {
        let rows = &self.table.rows;
        let mut failures = Vec::new();
        for row in 0..rows.len() - 1 {
            self.gates(row as u32, &rows[row], &rows[row + 1], &mut failures);
        }
        for copy in &self.table.copies {
            self.copy(copy, None, &mut failures);
        }
        failures
    }

    /// The same as [`failures`](Self::failures), but only looks at rows that differ from a table of this layout without
    /// failures.
    #[cfg(test)]
    pub(super) fn failures_unlike(&self, honest: &Table) -> Vec<Failure> {
        let rows = &self.table.rows;
        let mut failures = Vec::new();
        let differs = |row: usize| rows[row].advice != honest.rows[row].advice;
        for row in (0..rows.len() - 1).filter(|row| differs(*row) || differs(row + 1)) {
            self.gates(row as u32, &rows[row], &rows[row + 1], &mut failures);
        }
        for copy in &self.table.copies {
            self.copy(copy, None, &mut failures);
        }
        failures
    }

    /// The constraints that would not hold if one cell had another value. If there are none, the cell is free.
    pub fn failures_if(&self, cell: CellId, value: Fr) -> Vec<Failure> {
        let rows = &self.table.rows;
        let mut failures = Vec::new();
        let mut changed = rows[cell.row as usize];
        changed.advice[usize::from(cell.column)] = value;
        if let Some(next) = rows.get(cell.row as usize + 1) {
            self.gates(cell.row, &changed, next, &mut failures);
        }
        if let Some(before) = cell.row.checked_sub(1) {
            self.gates(before, &rows[before as usize], &changed, &mut failures);
        }
        for i in self.copies.get(&cell).into_iter().flatten() {
            self.copy(&self.table.copies[*i], Some((cell, value)), &mut failures);
        }
        failures
    }

    /// The cells that were written.
    pub fn cells(&self) -> impl Iterator<Item = CellId> {
        self.table.rows.iter().enumerate().flat_map(|(row, cells)| {
            let assigned = cells.assigned;
            (0..ADVICE as u8)
                .filter(move |column| assigned >> column & 1 == 1)
                .map(move |column| CellId { row: row as u32, column })
        })
    }

    /// The value of a cell.
    pub fn value(&self, cell: CellId) -> Fr {
        self.table.value(cell)
    }

    /// The purpose of a cell.
    pub fn origin(&self, cell: CellId) -> Option<Origin> {
        self.find_origin(cell.row, 1 << cell.column)
    }

    /// Whether a cell is r where a row computes `1 - l·r`, the first half of a test for 0. If l is 0, it may hold anything.
    pub fn is_inverse(&self, cell: CellId) -> bool {
        let row = &self.table.rows[cell.row as usize];
        usize::from(cell.column) == FIRST_R
            && row.selectors[2] == Selector::Generic.place().1 as u8
            && row.constants[..4] == [Fr::ZERO, Fr::ZERO, Fr::ONE, -Fr::ONE]
    }

    fn find_origin(&self, row: u32, columns: u16) -> Option<Origin> {
        // Spans overlap: an output row is also the next permutation's first row, and range words are on S-box rows. The
        // span that shares most columns is the right one, and among equal ones the earliest.
        let shared = |span: &Span| (span.columns & columns).count_ones();
        let covering = self.table.spans.iter().filter(|span| (span.first..span.end).contains(&row) && shared(span) > 0);
        covering.rev().max_by_key(|span| shared(span)).map(|span| span.origin)
    }

    fn gates(&self, row: u32, current: &Row, next: &Row, failures: &mut Vec<Failure>) {
        if current.selectors == [0; 3] {
            return;
        }
        for constraint in &self.constraints {
            if evaluate(&constraint.polynomial, current, next) != Fr::ZERO {
                failures.push(Failure {
                    gate: constraint.gate.clone(),
                    constraint: constraint.name.clone(),
                    row,
                    origin: self.find_origin(row, constraint.columns),
                });
            }
        }
    }

    fn copy(&self, copy: &Copy, changed: Option<(CellId, Fr)>, failures: &mut Vec<Failure>) {
        let value = |cell: CellId| match changed {
            Some((other, value)) if other == cell => value,
            _ => self.value(cell),
        };
        let right = match copy.right {
            End::Advice(cell) => value(cell),
            End::PublicInput(row) => self.public_inputs[row as usize],
        };
        if value(copy.left) != right {
            failures.push(Failure {
                gate: "copy".to_owned(),
                constraint: format!("{:?} = {:?}", copy.left, copy.right),
                row: copy.left.row,
                origin: Some(copy.origin),
            });
        }
    }
}

/// The origins of the violated constraints of a table without public inputs.
#[cfg(test)]
pub(super) fn failures_of(table: &Table) -> Vec<Origin> {
    Diagnosis::of(table, Vec::new()).failures().into_iter().filter_map(|failure| failure.origin).collect()
}

impl BatchCircuit {
    /// A text table of the rows that each demand takes in each part of the circuit.
    pub fn costs(&self) -> String {
        let mut totals: HashMap<(String, String), u64> = HashMap::new();
        for span in &self.table.spans {
            let part = format!("{:?}", span.origin.part);
            let part = part.split('(').next().unwrap_or_default().to_owned();
            let cells = u64::from(span.end - span.first) * u64::from(span.columns.count_ones());
            *totals
                .entry((part, format!("C{:<2} {:?}", span.origin.clause().number(), span.origin.demand)))
                .or_default() += cells;
        }
        let lines: BTreeSet<String> = totals
            .into_iter()
            .map(|((part, what), cells)| format!("{part:<14} {what:<52} {:>8.1} rows", cells as f64 / ADVICE as f64))
            .collect();
        let mut text: String = lines.into_iter().map(|line| line + "\n").collect();
        text += &format!("{} rows of 2^{}\n", self.rows(), self.version.k);
        text
    }
}
