//! Merkle paths. A climb constrains the turns to be bits, so the first climb makes the path.

use super::constrained::Bit;
use crate::circuit::{builder::Wire, scope::Scope};

/// A path: siblings and turns, lowest first. All climbs along one path have the same siblings and turns.
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

    /// A path with other siblings and the same turns.
    pub(in crate::circuit) fn with_siblings(&self, siblings: Vec<Wire>) -> Self {
        assert_eq!(siblings.len(), self.turns.len(), "one sibling a turn");
        Self { siblings, turns: self.turns.clone() }
    }
}

/// The nodes above a leaf, lowest first. The last is the root.
#[derive(Clone, Debug)]
pub(in crate::circuit) struct Nodes {
    leaf: Wire,
    above: Vec<Wire>,
}

impl Nodes {
    /// The node at this height, which is the root of a tree of this depth. Height 0 is the leaf.
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
