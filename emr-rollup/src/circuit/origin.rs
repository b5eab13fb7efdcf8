//! Why a constraint exists: its part of the circuit, and its demand.

use super::demand::Demand;
use crate::statement::Clause;

/// A part of the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Constants, public inputs, state roots.
    Frame,
    /// An L1 slot.
    Entry(u32),
    /// An L2 slot.
    Operation(u32),
    /// The data commitment and its evaluations.
    Data,
}

/// The part of the circuit and the demand that a constraint belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The part of the circuit.
    pub part: Part,
    /// The purpose.
    pub demand: Demand,
    /// The number of the assertion, counted over the whole circuit. `None` for a row that only computes: it holds for
    /// all inputs.
    pub(super) assertion: Option<u32>,
}

impl Origin {
    /// The clause that the constraint enforces.
    pub const fn clause(&self) -> Clause {
        self.demand.clause()
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, C{}: {:?}", self.part, self.clause().number(), self.demand)
    }
}
