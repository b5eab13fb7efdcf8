//! Sparse binary Merkle trees over Poseidon. An empty leaf is 0.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

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

/// A tree that stores only the nodes that are not empty. A clone costs nothing: it shares all nodes with the original.
/// A change then copies the nodes from the changed leaf to the root, and no others.
#[derive(Clone, Debug)]
pub struct SparseMerkleTree {
    depth: usize,
    root: Child,
}

/// A node, or `None` if everything below is empty.
type Child = Option<Arc<Node>>;

#[derive(Clone, Debug)]
struct Node {
    hash: Fr,
    /// Left and right. A leaf has none.
    children: [Child; 2],
}

/// The hash of a subtree of this height.
fn hash(child: &Child, height: usize) -> Fr {
    child.as_ref().map_or(EMPTY[height], |node| node.hash)
}

/// Which child of a node of this height leads to a leaf: 0 is left, 1 is right.
fn side(position: u32, height: usize) -> usize {
    (position >> (height - 1) & 1) as usize
}

/// Replaces a leaf below a subtree of this height.
fn set(child: &mut Child, height: usize, position: u32, leaf: Fr) {
    let mut node = child.take().unwrap_or_else(|| Arc::new(Node { hash: EMPTY[height], children: [None, None] }));
    let inner = Arc::make_mut(&mut node);
    inner.hash = if height == 0 {
        leaf
    } else {
        set(&mut inner.children[side(position, height)], height - 1, position, leaf);
        let [left, right] = &inner.children;
        poseidon::node(hash(left, height - 1), hash(right, height - 1))
    };
    *child = (inner.hash != EMPTY[height]).then_some(node);
}

impl SparseMerkleTree {
    /// An empty tree.
    ///
    /// # Panics
    /// If `depth` is more than [`MAX_DEPTH`].
    pub fn new(depth: usize) -> Self {
        assert!(depth <= MAX_DEPTH, "trees are at most {MAX_DEPTH} deep");
        Self { depth, root: None }
    }

    /// The depth.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The root.
    pub fn root(&self) -> Fr {
        hash(&self.root, self.depth)
    }

    /// The leaf at a position.
    pub fn get(&self, position: u32) -> LeafHash {
        let mut child = &self.root;
        for height in (1..=self.depth).rev() {
            let Some(node) = child else { return LeafHash::EMPTY };
            child = &node.children[side(position, height)];
        }
        hash(child, 0).into()
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
        set(&mut self.root, self.depth, position, leaf.element());
    }

    /// The path of a position.
    pub fn path(&self, position: u32) -> Path {
        let mut siblings = vec![Fr::ZERO; self.depth];
        let mut child = &self.root;
        for height in (1..=self.depth).rev() {
            let side = side(position, height);
            let sibling = child.as_ref().and_then(|node| node.children[1 - side].as_ref());
            siblings[height - 1] = sibling.map_or(EMPTY[height - 1], |node| node.hash);
            child = child.as_ref().map_or(&None, |node| &node.children[side]);
        }
        Path::new(siblings)
    }

    /// The leaves that are not empty, from left to right.
    pub fn leaves(&self) -> impl Iterator<Item = (u32, LeafHash)> {
        let mut waiting: Vec<_> = self.root.iter().map(|node| (self.depth, 0, node)).collect();
        std::iter::from_fn(move || {
            loop {
                let (height, index, node) = waiting.pop()?;
                if height == 0 {
                    return Some((index, node.hash.into()));
                }
                let children = node.children.iter().zip([index << 1, index << 1 | 1]).rev();
                waiting.extend(children.filter_map(|(child, index)| Some((height - 1, index, child.as_ref()?))));
            }
        })
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
        assert_eq!(tree.leaves().collect::<Vec<_>>(), [(0xff_ffff, leaf(1))]);
        tree.set(0xff_ffff, LeafHash::EMPTY);
        assert!(tree.root() == empty_root(24) && tree.root.is_none());
    }

    /// A clone stays as it is when the original changes, and shares what did not change.
    #[test]
    fn a_clone_shares_what_does_not_change() {
        let mut tree = SparseMerkleTree::new(24);
        for position in 0..100 {
            tree.set(position << 16, leaf(7));
        }
        let (before, root) = (tree.clone(), tree.root());
        tree.set(5 << 16, leaf(8));
        assert_eq!((before.root(), before.get(5 << 16)), (root, leaf(7)));
        assert_eq!((tree.get(5 << 16), tree.get(6 << 16)), (leaf(8), leaf(7)));
        let nodes = |tree: &SparseMerkleTree| {
            let mut seen = std::collections::BTreeSet::new();
            let mut waiting: Vec<_> = tree.root.iter().cloned().collect();
            while let Some(node) = waiting.pop() {
                waiting.extend(node.children.iter().flatten().cloned());
                seen.insert(Arc::as_ptr(&node));
            }
            seen
        };
        assert_eq!(nodes(&tree).difference(&nodes(&before)).count(), 25);
    }
}
