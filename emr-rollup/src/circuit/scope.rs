//! Gives every row its purpose. Gadgets are methods of a [`Scope`]. Outside of tests only [`Section::under`] opens a
//! scope, and it takes the demand that the rows serve.

use super::{
    builder::{Builder, Wire},
    demand::Demand,
    gadget::constrained::{Promise, Ranged},
    origin::{Origin, Part},
};
use crate::primitive::field::Fr;

/// A builder in one part of the circuit. It takes hints; a scope constrains them.
#[derive(Debug)]
pub(super) struct Section<'a> {
    builder: &'a mut Builder,
    part: Part,
}

/// A builder in one part of the circuit, for one demand.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    pub(super) builder: &'a mut Builder,
    origin: Origin,
}

impl Builder {
    /// Opens a part of the circuit.
    pub(super) fn section(&mut self, part: Part) -> Section<'_> {
        Section { builder: self, part }
    }

    /// Hints for gadgets' own tests.
    #[cfg(test)]
    pub(super) fn test_hints<const N: usize>(&mut self, values: [Fr; N]) -> [Wire; N] {
        self.section(Part::Frame).hints("any", values)
    }

    /// A scope for gadgets' own tests.
    #[cfg(test)]
    pub(super) fn test_scope(&mut self) -> Scope<'_> {
        Scope { builder: self, origin: Origin { part: Part::Frame, demand: Demand::LeafOfKind, assertion: None } }
    }
}

impl Section<'_> {
    /// Opens a scope: its rows serve this demand.
    pub(super) fn under(&mut self, demand: Demand) -> Scope<'_> {
        let origin = Origin { part: self.part, demand, assertion: None };
        Scope { builder: self.builder, origin }
    }

    /// A wire for a value that no gate computes. Only its uses constrain it.
    pub(super) fn hint(&mut self, name: &'static str, value: Fr) -> Wire {
        self.builder.hint(self.part, name, value)
    }

    /// Several hints with one name.
    pub(super) fn hints<const N: usize>(&mut self, name: &'static str, values: [Fr; N]) -> [Wire; N] {
        values.map(|value| self.hint(name, value))
    }

    /// The same as [`Builder::integer`].
    pub(super) fn integer(&self, wire: impl Into<Wire>) -> u64 {
        self.builder.integer(wire)
    }

    /// The same as [`Builder::promise`].
    pub(super) fn promise<const BITS: u32>(&mut self, wire: Wire) -> (Ranged<BITS>, Promise<BITS>) {
        self.builder.promise(wire)
    }
}

impl Scope<'_> {
    /// The origin of the rows of this scope.
    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    /// Numbers a new assertion, and returns its origin.
    pub(super) fn assertion(&mut self) -> Origin {
        self.builder.assertion(self.origin)
    }

    /// A scope for the rows of a new assertion of the same demand.
    pub(super) fn asserting(&mut self) -> Scope<'_> {
        let origin = self.assertion();
        Scope { builder: self.builder, origin }
    }

    /// Puts a wire in a cell. The same as [`Builder::place`].
    pub(super) fn place(&mut self, wire: Wire, row: u32, column: usize) {
        self.builder.place(wire, row, column, self.origin);
    }

    /// The same as [`Section::hint`].
    pub(super) fn hint(&mut self, name: &'static str, value: Fr) -> Wire {
        self.builder.hint(self.origin.part, name, value)
    }

    /// The value of a wire.
    pub(super) fn value(&self, wire: impl Into<Wire>) -> Fr {
        self.builder.value(wire)
    }

    /// The constant 0.
    pub(super) fn zero(&self) -> Wire {
        self.builder.zero()
    }

    /// A constant.
    pub(super) fn constant(&mut self, value: Fr) -> Wire {
        self.builder.constant(value)
    }
}
