//! Fills a table. A wire is a value. All cells in which a wire is placed are constrained to be equal.
//!
//! Hashes, paths and range checks are queued, and [`Builder::finish`] lays them out. So two of one shape share their
//! rows, even if they belong to different operations. The layout (rows, constants, selectors, copies) depends only on
//! the sequence of calls, never on values. So keys can be made from any witness.

use std::collections::{BTreeMap, HashMap};

use halo2curves::ff::{Field, PrimeField};

use super::{
    demand::Demand,
    gadget::{
        generic::{Generic, OpenRows},
        hashing::HashQueue,
        range::RangeQueue,
    },
    hints::Hints,
    origin::{Origin, Part},
    scope::Scope,
    table::{CellId, Copy, End, Table},
};
use crate::primitive::field::Fr;

/// A value, and all cells that hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Wire(u32);

#[derive(Clone, Copy, Debug)]
struct WireState {
    value: Fr,
    home: Option<CellId>,
}

/// Fills a table.
#[derive(Debug)]
pub(super) struct Builder {
    wires: Vec<WireState>,
    pub(super) table: Table,
    equalities: Vec<(Wire, Wire, Origin)>,
    public_inputs: Vec<(Wire, u32, Origin)>,
    constants: HashMap<[u8; 32], Wire>,
    pub(super) hashes: HashQueue,
    pub(super) ranges: RangeQueue,
    pub(super) generic_rows: OpenRows,
    assertions: u32,
    /// How many promised ranges are not constrained yet.
    pub(super) promises: u32,
    zero: Wire,
    /// Replaces the values of hints. `None` except in tests.
    hints: Option<Box<dyn Hints>>,
}

impl Builder {
    /// Makes an empty table, and defines the constant 0.
    pub(super) fn new() -> Self {
        let mut builder = Self {
            wires: Vec::new(),
            table: Table::default(),
            equalities: Vec::new(),
            public_inputs: Vec::new(),
            constants: HashMap::new(),
            hashes: HashQueue::default(),
            ranges: RangeQueue::default(),
            generic_rows: OpenRows::default(),
            assertions: 0,
            promises: 0,
            zero: Wire(0),
            hints: None,
        };
        let zero = builder.witness(Fr::ZERO);
        builder.section(Part::Frame).under(Demand::Constant).define_zero(zero);
        builder.constants.insert(Fr::ZERO.to_repr(), zero);
        builder
    }

    /// Makes an empty table in which a test chooses the values of hints.
    #[cfg(test)]
    pub(super) fn with_hints(hints: Box<dyn Hints>) -> Self {
        Self { hints: Some(hints), ..Self::new() }
    }

    /// A hint that is not a wire.
    pub(super) fn propose(&mut self, part: Part, name: &'static str, honest: Fr) -> Fr {
        match &mut self.hints {
            Some(hints) => hints.value(part, name, honest),
            None => honest,
        }
    }

    /// Numbers a new assertion, and returns its origin.
    pub(super) fn assertion(&mut self, origin: Origin) -> Origin {
        let origin = Origin { assertion: Some(self.assertions), ..origin };
        self.assertions += 1;
        if let Some(hints) = &mut self.hints {
            hints.assertion(origin);
        }
        origin
    }

    /// A wire for a value that a gate will compute. For any other value use [`hint`](Self::hint).
    pub(super) fn witness(&mut self, value: Fr) -> Wire {
        self.wires.push(WireState { value, home: None });
        Wire(self.wires.len() as u32 - 1)
    }

    /// The value of a wire.
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
        let mut frame = self.section(Part::Frame);
        let wire = frame.under(Demand::Constant).generic(Generic { constant: value, ..Generic::default() });
        self.constants.insert(value.to_repr(), wire);
        wire
    }

    /// Puts a wire in a cell.
    pub(super) fn place(&mut self, wire: Wire, row: u32, column: usize, origin: Origin) {
        let state = &mut self.wires[wire.0 as usize];
        let cell = self.table.write(row, column, state.value);
        match state.home {
            None => state.home = Some(cell),
            Some(left) => self.table.copies.push(Copy { left, right: End::Advice(cell), origin }),
        }
    }

    /// Lays out what is queued and resolves equalities.
    ///
    /// # Panics
    /// Panics if a promised range is not constrained, if a public input is used nowhere, or if two wires must be equal
    /// and neither is in a cell. Each is a mistake in a gadget, and does not depend on the witness.
    pub(super) fn finish(mut self) -> Table {
        let open = self.promises;
        assert!(open == 0, "{open} range is promised and not constrained");
        HashQueue::lay_out(&mut self);
        RangeQueue::lay_out(&mut self);
        // An empty row at the end, because the gates of the last row read the next one.
        self.table.append(1);
        for (left, right, origin) in std::mem::take(&mut self.equalities) {
            match (self.home(left), self.home(right)) {
                (Some(left), Some(right)) => {
                    self.table.copies.push(Copy { left, right: End::Advice(right), origin });
                }
                (None, None) => panic!("an equality ({origin}) of two wires that are used nowhere constrains nothing"),
                // A wire that is in no cell yet, such as a public input, gets the cell of the other wire.
                (None, home) => self.wires[left.0 as usize].home = home,
                (home, None) => self.wires[right.0 as usize].home = home,
            }
        }
        for (wire, row, origin) in std::mem::take(&mut self.public_inputs) {
            let left = self.home(wire).unwrap_or_else(|| panic!("public input {row} ({origin}) is used nowhere"));
            self.table.copies.push(Copy { left, right: End::PublicInput(row), origin });
        }
        self.table
    }

    fn home(&self, wire: Wire) -> Option<CellId> {
        self.wires[wire.0 as usize].home
    }
}

impl Scope<'_> {
    /// Constrains two wires to be equal.
    pub(super) fn assert_equal(&mut self, left: impl Into<Wire>, right: impl Into<Wire>) {
        let origin = self.assertion();
        self.builder.equalities.push((left.into(), right.into(), origin));
    }

    /// Constrains a wire to be a public input.
    pub(super) fn expose(&mut self, wire: Wire, row: u32) {
        let origin = self.assertion();
        self.builder.public_inputs.push((wire, row, origin));
    }
}

/// Queued jobs by shape, in order of arrival.
pub(super) type Queue<Shape, Job> = BTreeMap<Shape, Vec<Job>>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::diagnosis::failures_of;

    #[test]
    #[should_panic(expected = "(Frame, C8: LeafOfKind) of two wires that are used nowhere constrains nothing")]
    fn an_equality_of_wires_in_no_cell_is_refused() {
        let mut builder = Builder::new();
        let [left, right] = builder.test_hints([Fr::ONE, Fr::ONE]);
        builder.test_scope().assert_equal(left, right);
        builder.finish();
    }

    #[test]
    fn an_equality_with_a_wire_in_a_cell_constrains() {
        let mut builder = Builder::new();
        let [left, right] = builder.test_hints([Fr::ONE, Fr::ZERO]);
        let mut scope = builder.test_scope();
        scope.mul(left, left);
        scope.mul(right, right);
        scope.assert_equal(left, right);
        assert_eq!(failures_of(&builder.finish()).len(), 1);
    }
}
