//! Why a constraint is there: the part of the circuit, and what it demands there.

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

/// Part and demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Where in the circuit.
    pub part: Part,
    /// What for.
    pub demand: Demand,
    /// The number of the assertion among all; `None` for a row that computes, which holds whatever its inputs are.
    pub(super) assertion: Option<u32>,
}

impl Origin {
    /// The clause that it enforces.
    pub const fn clause(&self) -> Clause {
        self.demand.clause()
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, C{}: {:?}", self.part, self.clause().number(), self.demand)
    }
}
