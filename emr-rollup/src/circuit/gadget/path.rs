//! Merkle paths. Climbing constrains the turns to be bits, so a path is made by its first climb.

use super::constrained::Bit;
use crate::circuit::{builder::Wire, scope::Scope};

/// A path: siblings and turns, lowest first. Every climb along it goes the same way.
#[derive(Clone, Debug)]
pub(in crate::circuit) struct MerklePath {
    siblings: Vec<Wire>,
    turns: Vec<Bit>,
}

impl MerklePath {
    /// The turns, lowest first: the bits of the leaf's position.
    pub(in crate::circuit) fn turns(&self) -> &[Bit] {
        &self.turns
    }

    /// A path of other siblings that turns as this one.
    pub(in crate::circuit) fn with_siblings(&self, siblings: Vec<Wire>) -> Self {
        assert_eq!(siblings.len(), self.turns.len(), "one sibling a turn");
        Self { siblings, turns: self.turns.clone() }
    }
}

/// The nodes above a leaf, lowest first, and at the end the root.
#[derive(Clone, Debug)]
pub(in crate::circuit) struct Nodes {
    leaf: Wire,
    above: Vec<Wire>,
}

impl Nodes {
    /// The root of a tree of this depth; 0 is the leaf.
    pub(in crate::circuit) fn at(&self, depth: usize) -> Wire {
        depth.checked_sub(1).map_or(self.leaf, |i| self.above[i])
    }

    /// The root.
    pub(in crate::circuit) fn root(&self) -> Wire {
        self.at(self.above.len())
    }
}

impl Scope<'_> {
    /// Climbs from a leaf for the first time, which constrains the turns to be bits.
    pub(in crate::circuit) fn first_climb(
        &mut self,
        leaf: Wire,
        siblings: Vec<Wire>,
        turns: Vec<Wire>,
    ) -> (MerklePath, Nodes) {
        assert_eq!(siblings.len(), turns.len(), "one sibling a turn");
        let above = self.queue_climb(leaf, &siblings, &turns);
        let turns = turns.into_iter().map(Bit::constrained).collect();
        (MerklePath { siblings, turns }, Nodes { leaf, above })
    }

    /// Climbs from a leaf.
    pub(in crate::circuit) fn climb(&mut self, path: &MerklePath, leaf: Wire) -> Nodes {
        let turns: Vec<_> = path.turns.iter().map(|turn| Wire::from(*turn)).collect();
        let above = self.queue_climb(leaf, &path.siblings, &turns);
        Nodes { leaf, above }
    }
}
