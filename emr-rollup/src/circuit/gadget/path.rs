//! Merkle paths. A climb constrains the turns to be below 4, so the first climb makes the path.

use super::{constrained::Ranged, hashing::Level};
use crate::{
    circuit::{builder::Wire, scope::Scope},
    state::tree::{ARITY, LEVEL_BITS, levels},
};

/// Which child of its parent a node is: two bits of the leaf's position.
pub(in crate::circuit) type Turn = Ranged<{ LEVEL_BITS as u32 }>;

/// A path: siblings and turns, lowest first. All climbs along one path have the same siblings and turns.
#[derive(Clone, Debug)]
pub(in crate::circuit) struct MerklePath {
    siblings: Vec<[Wire; ARITY - 1]>,
    turns: Vec<Turn>,
}

impl MerklePath {
    /// The turns, lowest first: the digits of the leaf's position.
    pub(in crate::circuit) fn turns(&self) -> &[Turn] {
        &self.turns
    }

    /// The turns above a tree of this depth.
    pub(in crate::circuit) fn turns_above(&self, depth: usize) -> &[Turn] {
        &self.turns[levels(depth)..]
    }

    /// A path with other siblings and the same turns.
    pub(in crate::circuit) fn with_siblings(&self, siblings: Vec<[Wire; ARITY - 1]>) -> Self {
        assert_eq!(siblings.len(), self.turns.len(), "siblings for each turn");
        Self { siblings, turns: self.turns.clone() }
    }

    fn levels(&self) -> Vec<Level> {
        self.siblings.iter().zip(&self.turns).map(|(siblings, turn)| (*siblings, Wire::from(*turn))).collect()
    }
}

/// The nodes above a leaf, lowest first. The last is the root.
#[derive(Clone, Debug)]
pub(in crate::circuit) struct Nodes {
    leaf: Wire,
    above: Vec<Wire>,
}

impl Nodes {
    /// The root of a tree of this depth, which the leaf is in.
    pub(in crate::circuit) fn at(&self, depth: usize) -> Wire {
        levels(depth).checked_sub(1).map_or(self.leaf, |i| self.above[i])
    }

    /// The root.
    pub(in crate::circuit) fn root(&self) -> Wire {
        self.above.last().copied().unwrap_or(self.leaf)
    }
}

impl Scope<'_> {
    /// Climbs from a leaf for the first time, which constrains the turns to be below 4.
    pub(in crate::circuit) fn first_climb(
        &mut self,
        leaf: Wire,
        siblings: Vec<[Wire; ARITY - 1]>,
        turns: Vec<Wire>,
    ) -> (MerklePath, Nodes) {
        assert!(!turns.is_empty() && siblings.len() == turns.len(), "siblings for each turn, and a turn at least");
        let path = MerklePath { siblings, turns: turns.into_iter().map(Ranged::constrained).collect() };
        let nodes = self.climb(&path, leaf);
        (path, nodes)
    }

    /// Climbs from a leaf.
    pub(in crate::circuit) fn climb(&mut self, path: &MerklePath, leaf: Wire) -> Nodes {
        let above = self.queue_climb(leaf, &path.levels());
        Nodes { leaf, above }
    }
}
