//! Fills a table: wires are values, and every cell that a wire is placed in is constrained to equal the others.
//!
//! Gadgets work on wires and never see rows. Hashes, paths and range checks are queued, so that two of one shape share their
//! rows even if they belong to different operations; [`Builder::finish`] lays them out. The layout (rows, constants, selectors,
//! copies) depends on the sequence of calls only, never on values: keys are made from any witness.

use std::collections::{BTreeMap, HashMap};

use halo2curves::ff::{Field, PrimeField};

use super::{
    config::{EQUALITY, Selector},
    gadget::{hashing::HashQueue, range::RangeQueue},
    hints::Hints,
    origin::{Origin, Part},
    table::{ALL, CellId, Copy, End, Table},
};
use crate::{primitive::field::Fr, statement::Clause};

/// A value, and the class of cells that hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Wire(u32);

#[derive(Clone, Copy, Debug)]
struct WireState {
    value: Fr,
    home: Option<CellId>,
}

/// `out = factors[0]·l + factors[1]·r + constant + factors[2]·l·r + addend - u·v`; absent inputs are 0.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Generic {
    pub(super) l: Option<Wire>,
    pub(super) r: Option<Wire>,
    pub(super) factors: [Fr; 3],
    pub(super) constant: Fr,
    pub(super) addend: Option<Wire>,
    pub(super) uv: Option<(Wire, Wire)>,
}

/// Columns of the generic gate.
const L: usize = 0;
const R: usize = 3;
const OUT: usize = 6;
const ADDEND: usize = 7;
const U: usize = 8;
const V: usize = 9;

/// Fills a table.
#[derive(Debug)]
pub(super) struct Builder {
    wires: Vec<WireState>,
    pub(super) table: Table,
    equalities: Vec<(Wire, Wire, Origin)>,
    instances: Vec<(Wire, u32, Origin)>,
    constants: HashMap<[u8; 32], Wire>,
    pub(super) hashes: HashQueue,
    pub(super) ranges: RangeQueue,
    origin: Origin,
    assertions: u32,
    /// Ranges that are relied on and not constrained yet.
    pub(super) promises: u32,
    zero: Wire,
    /// Nobody, but in tests.
    hints: Option<Box<dyn Hints>>,
}

/// Why constants are there.
const CONSTANTS: Origin = Origin { part: Part::Frame, clause: Clause::C18, detail: "constants", assertion: None };

impl Builder {
    /// An empty table with the constant 0.
    pub(super) fn new() -> Self {
        let mut builder = Self {
            wires: Vec::new(),
            table: Table::default(),
            equalities: Vec::new(),
            instances: Vec::new(),
            constants: HashMap::new(),
            hashes: HashQueue::default(),
            ranges: RangeQueue::default(),
            origin: CONSTANTS,
            assertions: 0,
            promises: 0,
            zero: Wire(0),
            hints: None,
        };
        // out = addend - u·v with all four the same wire: its square is 0.
        let zero = builder.witness(Fr::ZERO);
        let row = builder.generic_row([Fr::ZERO; 4]);
        for column in [OUT, ADDEND, U, V] {
            builder.place(zero, row, column);
        }
        builder.constants.insert(Fr::ZERO.to_repr(), zero);
        builder
    }

    /// An empty table whose hints hold what somebody says.
    #[cfg(test)]
    pub(super) fn with_hints(hints: Box<dyn Hints>) -> Self {
        Self { hints: Some(hints), ..Self::new() }
    }

    /// A hint that is no wire.
    pub(super) fn propose(&mut self, origin: Origin, name: &'static str, honest: Fr) -> Fr {
        match &mut self.hints {
            Some(hints) => hints.value(origin, name, honest),
            None => honest,
        }
    }

    /// Names what the following constraints are for.
    pub(super) fn enter(&mut self, part: Part) {
        self.origin.part = part;
    }

    /// Names the clause that the following constraints enforce.
    pub(super) fn clause(&mut self, clause: Clause, detail: &'static str) {
        self.origin = Origin { clause, detail, ..self.origin };
    }

    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    /// The origin of a new assertion.
    pub(super) fn assertion(&mut self) -> Origin {
        let origin = Origin { assertion: Some(self.assertions), ..self.origin };
        self.assertions += 1;
        if let Some(hints) = &mut self.hints {
            hints.assertion(origin);
        }
        origin
    }

    /// A wire that a gate will compute; any other is a [`hint`](Self::hint).
    pub(super) fn witness(&mut self, value: Fr) -> Wire {
        self.wires.push(WireState { value, home: None });
        Wire(self.wires.len() as u32 - 1)
    }

    /// Its value.
    pub(super) fn value(&self, wire: impl Into<Wire>) -> Fr {
        self.wires[wire.into().0 as usize].value
    }

    /// The constant 0.
    pub(super) fn zero(&self) -> Wire {
        self.zero
    }

    /// A constant.
    pub(super) fn constant(&mut self, value: Fr) -> Wire {
        if let Some(wire) = self.constants.get(&value.to_repr()) {
            return *wire;
        }
        let origin = std::mem::replace(&mut self.origin, CONSTANTS);
        let wire = self.generic(Generic { constant: value, ..Generic::default() });
        self.origin = origin;
        self.constants.insert(value.to_repr(), wire);
        wire
    }

    /// Puts a wire in a cell of a column with equality.
    ///
    /// # Panics
    /// On any other column: the cell would be free.
    pub(super) fn place(&mut self, wire: Wire, row: u32, column: usize) {
        assert!(EQUALITY.contains(&column), "column a{column} takes no part in the permutation argument");
        let state = &mut self.wires[wire.0 as usize];
        let cell = self.table.write(row, column, state.value);
        match state.home {
            None => state.home = Some(cell),
            Some(left) => self.table.copies.push(Copy { left, right: End::Advice(cell), origin: self.origin }),
        }
    }

    /// As [`place`](Self::place), for a reason noted earlier.
    pub(super) fn place_for(&mut self, wire: Wire, row: u32, column: usize, origin: Origin) {
        let current = std::mem::replace(&mut self.origin, origin);
        self.place(wire, row, column);
        self.origin = current;
    }

    /// Constrains two wires to be equal.
    pub(super) fn assert_equal(&mut self, left: impl Into<Wire>, right: impl Into<Wire>) {
        let origin = self.assertion();
        self.equalities.push((left.into(), right.into(), origin));
    }

    /// Constrains a wire to be a public input.
    pub(super) fn expose(&mut self, wire: Wire, row: u32) {
        let origin = self.assertion();
        self.instances.push((wire, row, origin));
    }

    fn generic_row(&mut self, constants: [Fr; 4]) -> u32 {
        let row = self.table.append(1);
        self.table.row(row).constants = constants;
        self.table.select(row, Selector::Generic);
        self.table.explain(row, row + 1, ALL, self.origin);
        row
    }

    fn generic_inputs(&mut self, gate: &Generic) -> u32 {
        let [factor_l, factor_r, factor_lr] = gate.factors;
        let row = self.generic_row([factor_l, factor_r, gate.constant, factor_lr]);
        let inputs = [(gate.l, L), (gate.r, R)];
        for (wire, column) in inputs {
            if let Some(wire) = wire {
                self.place(wire, row, column);
            }
        }
        match gate.uv {
            Some((u, v)) => {
                self.place(u, row, U);
                self.place(v, row, V);
            }
            // u = 0, whatever v is.
            None => self.place(self.zero, row, U),
        }
        row
    }

    fn generic_value(&self, gate: &Generic) -> Fr {
        let value = |wire: Option<Wire>| wire.map_or(Fr::ZERO, |wire| self.value(wire));
        let (l, r) = (value(gate.l), value(gate.r));
        let [factor_l, factor_r, factor_lr] = gate.factors;
        let product = gate.uv.map_or(Fr::ZERO, |(u, v)| self.value(u) * self.value(v));
        factor_l * l + factor_r * r + gate.constant + factor_lr * l * r + value(gate.addend) - product
    }

    /// The wire that a generic row computes.
    pub(super) fn generic(&mut self, gate: Generic) -> Wire {
        let out = self.witness(self.generic_value(&gate));
        self.generic_output(gate, out);
        out
    }

    /// Constrains a generic row to compute a given wire.
    pub(super) fn assert_generic(&mut self, gate: Generic, out: Wire) {
        let asserting = self.assertion();
        let computing = std::mem::replace(&mut self.origin, asserting);
        self.generic_output(gate, out);
        self.origin = computing;
    }

    fn generic_output(&mut self, gate: Generic, out: Wire) {
        let row = self.generic_inputs(&gate);
        self.place(gate.addend.unwrap_or(self.zero), row, ADDEND);
        self.place(out, row, OUT);
    }

    /// `before + a·b + c·d`: a generic row solved for its addend.
    pub(super) fn add_products(&mut self, before: Wire, (a, b): (Wire, Wire), (c, d): (Wire, Wire)) -> Wire {
        let value = |wire| self.value(wire);
        let sum = self.witness(value(before) + value(a) * value(b) + value(c) * value(d));
        let gate = Generic {
            l: Some(a),
            r: Some(b),
            factors: [Fr::ZERO, Fr::ZERO, -Fr::ONE],
            uv: Some((c, d)),
            ..Generic::default()
        };
        let row = self.generic_inputs(&gate);
        self.place(sum, row, ADDEND);
        self.place(before, row, OUT);
        sum
    }

    /// Lays out what is queued and resolves equalities.
    ///
    /// # Panics
    /// If a range is promised and not constrained, a public input is used nowhere, or two wires are to be equal and neither is in a cell: a mistake in a gadget, the same
    /// for every witness.
    pub(super) fn finish(mut self) -> Table {
        let open = self.promises;
        assert!(open == 0, "{open} range is promised and not constrained");
        HashQueue::lay_out(&mut self);
        RangeQueue::lay_out(&mut self);
        // An empty row: gates on the last one read it.
        self.table.append(1);
        for (left, right, origin) in std::mem::take(&mut self.equalities) {
            match (self.home(left), self.home(right)) {
                (Some(left), Some(right)) => {
                    self.table.copies.push(Copy { left, right: End::Advice(right), origin });
                }
                (None, None) => panic!("an equality ({origin}) of two wires that are used nowhere constrains nothing"),
                // A wire that is nowhere yet, such as a public input, is where its equal is.
                (None, home) => self.wires[left.0 as usize].home = home,
                (home, None) => self.wires[right.0 as usize].home = home,
            }
        }
        for (wire, row, origin) in std::mem::take(&mut self.instances) {
            let left = self.home(wire).unwrap_or_else(|| panic!("public input {row} ({origin}) is used nowhere"));
            self.table.copies.push(Copy { left, right: End::Instance(row), origin });
        }
        self.table
    }

    fn home(&self, wire: Wire) -> Option<CellId> {
        self.wires[wire.0 as usize].home
    }
}

/// Jobs of one shape, in order of arrival.
pub(super) type Queue<Shape, Job> = BTreeMap<Shape, Vec<Job>>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::diagnosis::failures_of;

    #[test]
    #[should_panic(expected = "(Frame, C18: constants) of two wires that are used nowhere constrains nothing")]
    fn an_equality_of_wires_in_no_cell_is_refused() {
        let mut builder = Builder::new();
        let [left, right] = builder.hints("any", [Fr::ONE, Fr::ONE]);
        builder.assert_equal(left, right);
        builder.finish();
    }

    #[test]
    fn an_equality_with_a_wire_in_a_cell_constrains() {
        let mut builder = Builder::new();
        let [left, right] = builder.hints("any", [Fr::ONE, Fr::ZERO]);
        builder.mul(left, left);
        builder.mul(right, right);
        builder.assert_equal(left, right);
        assert_eq!(failures_of(&builder.finish()).len(), 1);
    }
}
