//! Hints: the values that no gate computes, so a prover may choose them.
//!
//! Hints are the witness fields, and what the builder computes from them, such as bits, inverses and digits. Each hint
//! passes through [`Builder::hint`] or [`Builder::propose`]. Production code takes the value that it is given. A test
//! replaces a value: everything after it follows from the false value, and only the constraint that exists for this
//! case may refuse it. Production code cannot make a builder that replaces hints. The layout does not depend on values.

use super::{
    builder::{Builder, Wire},
    origin::{Origin, Part},
};
use crate::primitive::field::Fr;

/// Chooses the value of each hint, and is told of each assertion.
pub(super) trait Hints: std::fmt::Debug {
    /// Returns the value of a hint in a part of the circuit. `honest` is the value that an honest builder takes.
    fn value(&mut self, part: Part, name: &'static str, honest: Fr) -> Fr;

    /// Called for each assertion in order. They are numbered from 0.
    fn assertion(&mut self, origin: Origin);
}

impl Builder {
    /// A wire for a value that no gate computes. Only its uses constrain it.
    pub(super) fn hint(&mut self, part: Part, name: &'static str, value: Fr) -> Wire {
        let value = self.propose(part, name, value);
        self.witness(value)
    }
}
