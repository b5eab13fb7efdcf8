//! Hints: the values that no gate computes, and so anyone who makes a proof may choose.
//!
//! Every one of them passes through [`Builder::hint`] or [`Builder::propose`]: witness fields, and what the builder works out of
//! them, such as bits, inverses and digits. Honest builders have nobody to ask and take the value that they are given. Tests put
//! an impostor there: one value is another, everything after it follows from that, and only the constraint that should prevent
//! it may notice. No production code can make such a builder, and the layout does not depend on values.

use super::{
    builder::{Builder, Wire},
    origin::{Origin, Part},
};
use crate::primitive::field::Fr;

/// Who says what each hint holds, and hears of each assertion.
pub(super) trait Hints: std::fmt::Debug {
    /// The value of a hint in a part of the circuit; `honest` is what an honest builder takes.
    fn value(&mut self, part: Part, name: &'static str, honest: Fr) -> Fr;

    /// An assertion, in order. The n-th one has number n.
    fn assertion(&mut self, origin: Origin);
}

impl Builder {
    /// A wire of a value that no gate computes: nothing constrains it but its uses.
    pub(super) fn hint(&mut self, part: Part, name: &'static str, value: Fr) -> Wire {
        let value = self.propose(part, name, value);
        self.witness(value)
    }
}
