//! The urgent operations in the order in which they go into batches, each with its rank: the number of urgent
//! operations before it.
//!
//! The structure is a treap: a search tree by [`Position`] whose nodes are also a heap by a priority that looks random.
//! So the depth is about the logarithm of the size. Each node knows the size of its subtree, which gives the ranks, and
//! the least slack in it. A clone shares all nodes with the original. A change copies the nodes on its path only.

use std::sync::Arc;

use crate::mempool::{Sequence, Turn};

/// The place of an urgent operation in the order. Earlier turns go first. Within a turn, the Revoke that was
/// acknowledged first goes first. The operations that a Revoke needs first go just before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// The Revoke's turn.
    pub(crate) turn: Turn,
    /// The Revoke itself.
    pub(crate) revoke: Sequence,
    /// The operation: the Revoke, or an operation that it needs first.
    pub(crate) sequence: Sequence,
}

impl Position {
    /// The position after every operation of this turn and of earlier ones.
    pub(crate) const fn after(turn: Turn) -> Self {
        Self { turn: turn + 1, revoke: 0, sequence: 0 }
    }

    const fn next(self) -> Self {
        Self { sequence: self.sequence + 1, ..self }
    }
}

type Link = Option<Arc<Node>>;

#[derive(Clone, Debug)]
struct Node {
    position: Position,
    /// How late the operation may be settled, in the unit of [`Ranked::last_below`]. `None` if its place in this order
    /// promises nothing.
    limit: Option<i128>,
    /// The number of nodes in this subtree.
    size: usize,
    /// The least slack in this subtree, as if its first node had rank 0.
    least: Option<i128>,
    left: Link,
    right: Link,
}

/// The operations in order. One rank later costs `step` of slack.
#[derive(Clone, Debug)]
pub(crate) struct Ranked {
    step: i128,
    root: Link,
}

fn size(link: &Link) -> usize {
    link.as_ref().map_or(0, |node| node.size)
}

fn least(link: &Link) -> Option<i128> {
    link.as_ref()?.least
}

impl Node {
    /// Consecutive numbers get priorities without a pattern (the output function of SplitMix64).
    fn priority(&self) -> u64 {
        let mut bits = self.position.sequence.wrapping_add(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    fn update(&mut self, step: i128) {
        let rank = size(&self.left);
        self.size = rank + 1 + size(&self.right);
        let own = self.limit.map(|limit| limit - step * rank as i128);
        let right = least(&self.right).map(|least| least - step * (rank + 1) as i128);
        self.least = least(&self.left).into_iter().chain(own).chain(right).min();
    }
}

impl Ranked {
    pub(crate) const fn new(step: i128) -> Self {
        Self { step, root: None }
    }

    /// Inserts an operation that is not in the order yet.
    pub(crate) fn insert(&mut self, position: Position, limit: Option<i128>) {
        let (before, after) = split(self.step, self.root.take(), &position);
        let node = Node { position, limit, size: 1, least: limit, left: None, right: None };
        let before = merge(self.step, before, Some(Arc::new(node)));
        self.root = merge(self.step, before, after);
    }

    pub(crate) fn remove(&mut self, position: Position) {
        let (before, rest) = split(self.step, self.root.take(), &position);
        let (_, after) = split(self.step, rest, &position.next());
        self.root = merge(self.step, before, after);
    }

    /// The number of operations before a position.
    pub(crate) fn rank(&self, position: &Position) -> usize {
        let (mut before, mut link) = (0, &self.root);
        while let Some(node) = link {
            link = if node.position < *position {
                before += size(&node.left) + 1;
                &node.right
            } else {
                &node.left
            };
        }
        before
    }

    /// The last operation whose slack is less than `slack`. The slack of an operation is its limit, less `step` times
    /// its rank.
    pub(crate) fn last_below(&self, slack: i128) -> Option<Position> {
        let is_below = |least: Option<i128>| least.is_some_and(|least| least < slack);
        let (mut before, mut link) = (0, &self.root);
        while let Some(node) = link {
            let rank = (before + size(&node.left)) as i128;
            if is_below(least(&node.right).map(|least| least - self.step * (rank + 1))) {
                before += size(&node.left) + 1;
                link = &node.right;
            } else if is_below(node.limit.map(|limit| limit - self.step * rank)) {
                return Some(node.position);
            } else {
                link = &node.left;
            }
        }
        None
    }

    /// All operations in order.
    pub(crate) fn iter(&self) -> Iter<'_> {
        let mut iter = Iter { path: Vec::new() };
        iter.descend(&self.root);
        iter
    }
}

/// Splits a tree into the operations before a position, and the others.
fn split(step: i128, link: Link, at: &Position) -> (Link, Link) {
    let Some(mut shared) = link else { return (None, None) };
    let node = Arc::make_mut(&mut shared);
    if node.position < *at {
        let (before, after) = split(step, node.right.take(), at);
        node.right = before;
        node.update(step);
        (Some(shared), after)
    } else {
        let (before, after) = split(step, node.left.take(), at);
        node.left = after;
        node.update(step);
        (before, Some(shared))
    }
}

/// Joins two trees; all operations of the first one go before those of the second one.
fn merge(step: i128, first: Link, second: Link) -> Link {
    let (mut first, mut second) = match (first, second) {
        (None, only) | (only, None) => return only,
        (Some(first), Some(second)) => (first, second),
    };
    if first.priority() > second.priority() {
        let node = Arc::make_mut(&mut first);
        node.right = merge(step, node.right.take(), Some(second));
        node.update(step);
        Some(first)
    } else {
        let node = Arc::make_mut(&mut second);
        node.left = merge(step, Some(first), node.left.take());
        node.update(step);
        Some(second)
    }
}

/// The operations in order.
#[derive(Clone, Debug)]
pub(crate) struct Iter<'a> {
    /// The nodes that come next, the first one last; the left subtree of each is done.
    path: Vec<&'a Node>,
}

impl<'a> Iter<'a> {
    fn descend(&mut self, mut link: &'a Link) {
        while let Some(node) = link {
            self.path.push(node);
            link = &node.left;
        }
    }
}

impl Iterator for Iter<'_> {
    type Item = Position;

    fn next(&mut self) -> Option<Position> {
        let node = self.path.pop()?;
        self.descend(&node.right);
        Some(node.position)
    }
}
