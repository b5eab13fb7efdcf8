//! Sparse binary Merkle trees over Poseidon. An empty leaf is 0.

use std::{collections::HashMap, fmt, sync::LazyLock};

use halo2curves::ff::Field;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, SeqAccess, Visitor},
};

use crate::{
    primitive::{
        field::{Fr, hex_element},
        poseidon,
    },
    state::leaf::LeafHash,
};

/// The greatest depth: account indices have 24 bits.
pub const MAX_DEPTH: usize = 24;

static EMPTY: LazyLock<[Fr; MAX_DEPTH + 1]> = LazyLock::new(|| {
    let mut roots = [Fr::ZERO; MAX_DEPTH + 1];
    for height in 0..MAX_DEPTH {
        roots[height + 1] = poseidon::node(roots[height], roots[height]);
    }
    roots
});

/// `E_depth`, the root of an empty tree.
///
/// # Panics
/// If `depth` is more than [`MAX_DEPTH`].
pub fn empty_root(depth: usize) -> Fr {
    EMPTY[depth]
}

/// A tree that stores only the nodes that are not empty.
#[derive(Clone, Debug)]
pub struct SparseMerkleTree {
    depth: usize,
    nodes: HashMap<(u8, u32), Fr>,
}

impl SparseMerkleTree {
    /// An empty tree.
    ///
    /// # Panics
    /// If `depth` is more than [`MAX_DEPTH`].
    pub fn new(depth: usize) -> Self {
        assert!(depth <= MAX_DEPTH, "trees are at most {MAX_DEPTH} deep");
        Self { depth, nodes: HashMap::new() }
    }

    /// The depth.
    pub fn depth(&self) -> usize {
        self.depth
    }

    fn node(&self, height: usize, index: u32) -> Fr {
        self.nodes.get(&(height as u8, index)).copied().unwrap_or(EMPTY[height])
    }

    /// The root.
    pub fn root(&self) -> Fr {
        self.node(self.depth, 0)
    }

    /// The leaf at a position.
    pub fn get(&self, position: u32) -> LeafHash {
        self.node(0, position).into()
    }

    /// Replaces a leaf. Costs one hash per level.
    ///
    /// # Panics
    /// If the position is outside the tree.
    pub fn set(&mut self, position: u32, leaf: LeafHash) {
        assert!(
            u64::from(position) >> self.depth == 0,
            "position {position} is outside a tree of depth {}",
            self.depth
        );
        let (mut index, mut value) = (position, leaf.element());
        for height in 0..=self.depth {
            if value == EMPTY[height] {
                self.nodes.remove(&(height as u8, index));
            } else {
                self.nodes.insert((height as u8, index), value);
            }
            if height < self.depth {
                let sibling = self.node(height, index ^ 1);
                value = if index & 1 == 0 { poseidon::node(value, sibling) } else { poseidon::node(sibling, value) };
                index >>= 1;
            }
        }
    }

    /// The path of a position.
    pub fn path(&self, position: u32) -> Path {
        let siblings = (0..self.depth).map(|height| self.node(height, position >> height ^ 1));
        Path::new(siblings)
    }

    /// The leaves that are not empty, in no particular order.
    pub fn leaves(&self) -> impl Iterator<Item = (u32, LeafHash)> {
        self.nodes.iter().filter(|((height, _), _)| *height == 0).map(|((_, index), leaf)| (*index, (*leaf).into()))
    }
}

/// The siblings of a leaf's ancestors, from the leaf up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Path {
    #[serde(deserialize_with = "at_most_max_depth")]
    siblings: Vec<Sibling>,
}

/// Reads no more siblings than the deepest tree has, however many another party sends.
fn at_most_max_depth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Sibling>, D::Error> {
    struct Siblings;

    impl<'de> Visitor<'de> for Siblings {
        type Value = Vec<Sibling>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a path of at most {MAX_DEPTH} siblings")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<Sibling>, A::Error> {
            let mut siblings = Vec::new();
            while let Some(sibling) = items.next_element()? {
                if siblings.len() == MAX_DEPTH {
                    return Err(A::Error::invalid_length(siblings.len() + 1, &self));
                }
                siblings.push(sibling);
            }
            Ok(siblings)
        }
    }

    deserializer.deserialize_seq(Siblings)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Sibling(#[serde(with = "hex_element")] Fr);

impl Path {
    /// A path of these siblings, from the leaf up.
    pub fn new(siblings: impl IntoIterator<Item = Fr>) -> Self {
        Self { siblings: siblings.into_iter().map(Sibling).collect() }
    }

    /// The siblings, from the leaf up.
    pub fn siblings(&self) -> impl ExactSizeIterator<Item = Fr> {
        self.siblings.iter().map(|sibling| sibling.0)
    }

    /// The number of levels.
    pub fn depth(&self) -> usize {
        self.siblings.len()
    }

    /// The root that follows from a leaf at a position and this path.
    ///
    /// It proves something only if the path's [`depth`](Self::depth) is that of the tree. Callers have to check this.
    pub fn root(&self, position: u32, leaf: LeafHash) -> Fr {
        self.siblings.iter().enumerate().fold(leaf.element(), |node, (height, sibling)| {
            if height < 32 && position >> height & 1 == 1 {
                poseidon::node(sibling.0, node)
            } else {
                poseidon::node(node, sibling.0)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn leaf(value: u64) -> LeafHash {
        Fr::from(value).into()
    }

    fn dense_root(depth: usize, leaves: &BTreeMap<u32, Fr>) -> Fr {
        let mut level: Vec<Fr> = (0..1u32 << depth).map(|i| leaves.get(&i).copied().unwrap_or(Fr::ZERO)).collect();
        while level.len() > 1 {
            level = level.chunks(2).map(|pair| poseidon::node(pair[0], pair[1])).collect();
        }
        level[0]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn agrees_with_a_dense_tree(writes in prop::collection::vec((0u32..32, 0u64..4), 1..20)) {
            let (mut tree, mut model) = (SparseMerkleTree::new(5), BTreeMap::new());
            for (position, value) in writes {
                tree.set(position, leaf(value));
                model.insert(position, Fr::from(value));
                prop_assert_eq!(tree.root(), dense_root(5, &model));
                prop_assert_eq!(tree.path(position).root(position, leaf(value)), tree.root());
                prop_assert_ne!(tree.path(position).root(position, leaf(value + 1)), tree.root());
                prop_assert_ne!(tree.path(position).root(position ^ 1, leaf(9)), tree.root());
            }
        }
    }

    #[test]
    fn clearing_every_leaf_leaves_nothing_stored() {
        let mut tree = SparseMerkleTree::new(24);
        tree.set(0xff_ffff, leaf(1));
        assert_ne!(tree.root(), empty_root(24));
        tree.set(0xff_ffff, LeafHash::EMPTY);
        assert_eq!((tree.root(), tree.nodes.len()), (empty_root(24), 0));
    }
}
