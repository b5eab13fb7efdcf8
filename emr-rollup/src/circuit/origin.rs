//! Why a constraint is there: the part of the circuit and the clause of the statement.

use crate::statement::Clause;

/// A part of the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Constants, public inputs, state roots.
    Frame,
    /// An L1 slot.
    Registration(u32),
    /// An L2 slot.
    Operation(u32),
    /// The data commitment and its evaluations.
    Data,
}

/// Part, clause, and what of the clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Where in the circuit.
    pub part: Part,
    /// Which clause it enforces.
    pub clause: Clause,
    /// What of it.
    pub detail: &'static str,
    /// The number of the assertion among all; `None` for a row that computes, which holds whatever its inputs are.
    pub(super) assertion: Option<u32>,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, {:?}: {}", self.part, self.clause, self.detail)
    }
}
