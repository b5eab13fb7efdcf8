//! Sparse quaternary Merkle trees over Poseidon. An empty leaf is 0.
//!
//! A depth counts bits of a position, and each level takes two of them. So a tree of depth 24 has 12 levels.

use std::{
    cmp::Ordering,
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
/// Bits of a position that one level takes.
pub const LEVEL_BITS: usize = 2;
/// Children of a node.
pub const ARITY: usize = 1 << LEVEL_BITS;
/// The most levels.
const MAX_LEVELS: usize = MAX_DEPTH / LEVEL_BITS;

/// The levels of a tree of this depth.
///
/// # Panics
/// If `depth` is odd, or more than [`MAX_DEPTH`].
pub const fn levels(depth: usize) -> usize {
    assert!(depth <= MAX_DEPTH && depth.is_multiple_of(LEVEL_BITS), "a tree has at most 12 levels of two bits each");
    depth / LEVEL_BITS
}

static EMPTY: LazyLock<[Fr; MAX_LEVELS + 1]> = LazyLock::new(|| {
    let mut roots = [Fr::ZERO; MAX_LEVELS + 1];
    for height in 0..MAX_LEVELS {
        roots[height + 1] = poseidon::node([roots[height]; ARITY]);
    }
    roots
});

/// `E_depth`, the root of an empty tree.
///
/// # Panics
/// If `depth` is odd, or more than [`MAX_DEPTH`].
pub fn empty_root(depth: usize) -> Fr {
    EMPTY[levels(depth)]
}

/// A tree that stores only the nodes that are not empty. A clone costs nothing: it shares all nodes with the original.
/// A change then copies the nodes from the changed leaf to the root, and no others.
#[derive(Clone, Debug)]
pub struct SparseMerkleTree {
    levels: usize,
    root: Child,
}

/// A node, or `None` if everything below is empty.
type Child = Option<Arc<Node>>;

#[derive(Clone, Debug)]
struct Node {
    hash: Fr,
    /// From left to right. A leaf has none.
    children: [Child; ARITY],
}

/// The hash of a subtree of this height.
fn hash(child: &Child, height: usize) -> Fr {
    child.as_ref().map_or(EMPTY[height], |node| node.hash)
}

/// Which child of a node of this height leads to a leaf.
fn turn(position: u32, height: usize) -> usize {
    position.checked_shr((LEVEL_BITS * (height - 1)) as u32).unwrap_or(0) as usize % ARITY
}

/// Replaces a leaf below a subtree of this height.
fn set(child: &mut Child, height: usize, position: u32, leaf: Fr) {
    let mut node =
        child.take().unwrap_or_else(|| Arc::new(Node { hash: EMPTY[height], children: [const { None }; ARITY] }));
    let inner = Arc::make_mut(&mut node);
    inner.hash = if height == 0 {
        leaf
    } else {
        set(&mut inner.children[turn(position, height)], height - 1, position, leaf);
        poseidon::node(inner.children.each_ref().map(|child| hash(child, height - 1)))
    };
    *child = (inner.hash != EMPTY[height]).then_some(node);
}

/// A subtree of this height with these leaves, which are in order.
fn build(leaves: &[(u32, LeafHash)], height: usize) -> Child {
    let (_, first) = leaves.first()?;
    let node = if height == 0 {
        Node { hash: first.element(), children: [const { None }; ARITY] }
    } else {
        let mut left = leaves;
        let children = std::array::from_fn(|child| {
            let (of_child, after) = left.split_at(left.partition_point(|(at, _)| turn(*at, height) <= child));
            left = after;
            build(of_child, height - 1)
        });
        Node { hash: poseidon::node(children.each_ref().map(|child| hash(child, height - 1))), children }
    };
    (node.hash != EMPTY[height]).then(|| Arc::new(node))
}

impl SparseMerkleTree {
    /// A tree of these leaves, by ascending position. Costs one hash for each node, so less than setting one leaf after another.
    ///
    /// # Panics
    /// If `depth` is odd, or more than [`MAX_DEPTH`], or if the positions are outside the tree or not in order.
    pub fn of_leaves(depth: usize, leaves: &[(u32, LeafHash)]) -> Self {
        let levels = levels(depth);
        assert!(leaves.is_sorted_by(|(a, _), (b, _)| a < b), "the positions are not in order");
        assert!(leaves.last().is_none_or(|(last, _)| u64::from(*last) >> depth == 0), "a position is outside the tree");
        Self { levels, root: build(leaves, levels) }
    }

    /// An empty tree.
    ///
    /// # Panics
    /// If `depth` is odd, or more than [`MAX_DEPTH`].
    pub fn new(depth: usize) -> Self {
        Self { levels: levels(depth), root: None }
    }

    /// The depth.
    pub fn depth(&self) -> usize {
        LEVEL_BITS * self.levels
    }

    /// The root.
    pub fn root(&self) -> Fr {
        hash(&self.root, self.levels)
    }

    /// The leaf at a position.
    pub fn get(&self, position: u32) -> LeafHash {
        let mut child = &self.root;
        for height in (1..=self.levels).rev() {
            let Some(node) = child else { return LeafHash::EMPTY };
            child = &node.children[turn(position, height)];
        }
        hash(child, 0).into()
    }

    /// Replaces a leaf. Costs one hash per level.
    ///
    /// # Panics
    /// If the position is outside the tree.
    pub fn set(&mut self, position: u32, leaf: LeafHash) {
        assert!(
            u64::from(position) >> self.depth() == 0,
            "position {position} is outside a tree of depth {}",
            self.depth()
        );
        set(&mut self.root, self.levels, position, leaf.element());
    }

    /// The path of a position.
    pub fn path(&self, position: u32) -> Path {
        let mut siblings = vec![[Fr::ZERO; ARITY - 1]; self.levels];
        let mut child = &self.root;
        for height in (1..=self.levels).rev() {
            let turn = turn(position, height);
            siblings[height - 1] = std::array::from_fn(|i| {
                let sibling = child.as_ref().and_then(|node| node.children[i + usize::from(i >= turn)].as_ref());
                sibling.map_or(EMPTY[height - 1], |node| node.hash)
            });
            child = child.as_ref().map_or(&None, |node| &node.children[turn]);
        }
        Path::new(siblings)
    }

    /// The leaves that are not empty, from left to right.
    pub fn leaves(&self) -> impl Iterator<Item = (u32, LeafHash)> {
        let mut waiting: Vec<_> = self.root.iter().map(|node| (self.levels, 0, node)).collect();
        std::iter::from_fn(move || {
            loop {
                let (height, index, node) = waiting.pop()?;
                if height == 0 {
                    return Some((index, node.hash.into()));
                }
                let children = node.children.iter().enumerate().rev();
                let below = |turn: usize| index << LEVEL_BITS | turn as u32;
                waiting.extend(children.filter_map(|(turn, child)| Some((height - 1, below(turn), child.as_ref()?))));
            }
        })
    }
}

/// The siblings of a leaf and of its ancestors, from the leaf up. Each level has three, from left to right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Path {
    #[serde(deserialize_with = "at_most_max_levels")]
    levels: Vec<Siblings>,
}

/// Reads no more levels than the deepest tree has, however many another party sends.
fn at_most_max_levels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Siblings>, D::Error> {
    struct Levels;

    impl<'de> Visitor<'de> for Levels {
        type Value = Vec<Siblings>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a path of at most {MAX_LEVELS} levels")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<Siblings>, A::Error> {
            let mut levels = Vec::new();
            while let Some(siblings) = items.next_element()? {
                if levels.len() == MAX_LEVELS {
                    return Err(A::Error::invalid_length(levels.len() + 1, &self));
                }
                levels.push(siblings);
            }
            Ok(levels)
        }
    }

    deserializer.deserialize_seq(Levels)
}

type Siblings = [Sibling; ARITY - 1];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Sibling(#[serde(with = "hex_element")] Fr);

impl Path {
    /// A path of these siblings, from the leaf up.
    pub fn new(levels: impl IntoIterator<Item = [Fr; ARITY - 1]>) -> Self {
        Self { levels: levels.into_iter().map(|siblings| siblings.map(Sibling)).collect() }
    }

    /// A path of zeros, for a leaf that is not read.
    ///
    /// # Panics
    /// If `depth` is odd, or more than [`MAX_DEPTH`].
    pub fn zeros(depth: usize) -> Self {
        Self::new(std::iter::repeat_n([Fr::ZERO; ARITY - 1], levels(depth)))
    }

    /// The siblings, from the leaf up.
    pub fn siblings(&self) -> impl ExactSizeIterator<Item = [Fr; ARITY - 1]> + Clone {
        self.levels.iter().map(|siblings| siblings.map(|sibling| sibling.0))
    }

    /// The depth of the tree that it is a path of.
    pub fn depth(&self) -> usize {
        LEVEL_BITS * self.levels.len()
    }

    /// The lowest levels, or these and zeros above them: the path in a tree of another depth.
    ///
    /// # Panics
    /// If `depth` is odd, or more than [`MAX_DEPTH`].
    pub fn to_depth(&self, depth: usize) -> Self {
        let zeros = std::iter::repeat([Fr::ZERO; ARITY - 1]);
        Self::new(self.siblings().chain(zeros).take(levels(depth)))
    }

    /// The root that follows from a leaf at a position and this path.
    ///
    /// It proves something only if the path's [`depth`](Self::depth) is that of the tree. Callers have to check this.
    pub fn root(&self, position: u32, leaf: LeafHash) -> Fr {
        (1..).zip(self.siblings()).fold(leaf.element(), |node, (height, siblings)| {
            let turn = turn(position, height);
            poseidon::node(std::array::from_fn(|i| match i.cmp(&turn) {
                Ordering::Less => siblings[i],
                Ordering::Equal => node,
                Ordering::Greater => siblings[i - 1],
            }))
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
            level = level.chunks(4).map(|four| poseidon::node([four[0], four[1], four[2], four[3]])).collect();
        }
        level[0]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn agrees_with_a_dense_tree(writes in prop::collection::vec((0u32..64, 0u64..4), 1..20)) {
            let (mut tree, mut model) = (SparseMerkleTree::new(6), BTreeMap::new());
            for (position, value) in writes {
                tree.set(position, leaf(value));
                model.insert(position, Fr::from(value));
                prop_assert_eq!(tree.root(), dense_root(6, &model));
                prop_assert_eq!(tree.path(position).root(position, leaf(value)), tree.root());
                prop_assert_ne!(tree.path(position).root(position, leaf(value + 1)), tree.root());
                prop_assert_ne!(tree.path(position).root(position ^ 1, leaf(9)), tree.root());
                prop_assert_eq!(tree.path(position).to_depth(10).to_depth(6), tree.path(position));
                let leaves: Vec<_> = model.iter().map(|(position, leaf)| (*position, (*leaf).into())).collect();
                let at_once = SparseMerkleTree::of_leaves(6, &leaves);
                prop_assert_eq!(at_once.root(), tree.root());
                prop_assert!(at_once.leaves().eq(tree.leaves()));
                prop_assert_eq!(at_once.path(position), tree.path(position));
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
        assert_eq!(nodes(&tree).difference(&nodes(&before)).count(), 13);
    }
}
