//! The secrets of a class's epochs as leaves of a tree, so that a range of epochs is granted by a few secrets.
//!
//! The constrained pseudorandom function of Goldreich, Goldwasser and Micali: a seed at the root, each node yields its two
//! children one way, the leaves are the epochs' secrets. Whoever holds the nodes that cover a range can work out the
//! secrets in it and no other: neither older epochs that were not shared nor those to come. A range of n epochs
//! takes at most `2 log2 n` nodes, so that a reader's part of the directory hardly grows with the number of revocations.

use zeroize::Zeroizing;

use crate::epoch::{Epoch, EpochSecret};
use crate::{aead, random};

/// The height of the root: [`Epoch::LAST`] is 2^16.
const ROOT_HEIGHT: u8 = 16;

const _: () = assert!(Epoch::LAST.get() == 1 << ROOT_HEIGHT);

/// A node and with it every epoch below it. Erased from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Subtree {
    /// Position among the nodes of its height; leaf `i` is epoch `i + 1`.
    index: u32,
    height: u8,
    secret: Zeroizing<[u8; 32]>,
}

impl Subtree {
    /// The root of a fresh tree.
    pub(crate) fn generate() -> Self {
        Self { index: 0, height: ROOT_HEIGHT, secret: random::secret() }
    }

    /// The root that a seed makes.
    pub(crate) fn root(secret: [u8; 32]) -> Self {
        Self { index: 0, height: ROOT_HEIGHT, secret: Zeroizing::new(secret) }
    }

    /// The node at a place; `None` if the tree has no such place.
    pub(crate) fn from_parts(index: u32, height: u8, secret: [u8; 32]) -> Option<Self> {
        let exists = height <= ROOT_HEIGHT && index >> (ROOT_HEIGHT - height) == 0;
        exists.then(|| Self { index, height, secret: Zeroizing::new(secret) })
    }

    pub(crate) const fn index(&self) -> u32 {
        self.index
    }

    pub(crate) const fn height(&self) -> u8 {
        self.height
    }

    pub(crate) fn secret_bytes(&self) -> &[u8; 32] {
        &self.secret
    }

    fn child(&self, right: bool) -> Self {
        Self {
            index: self.index << 1 | u32::from(right),
            height: self.height - 1,
            secret: aead::derive(&self.secret, "emr/epoch-tree/v1", &[u8::from(right)]),
        }
    }

    /// First and last leaf below this node.
    fn leaves(&self) -> (u32, u32) {
        let first = self.index << self.height;
        (first, first + (1 << self.height) - 1)
    }

    /// The secret of an epoch; `None` if it is not below this node.
    pub(crate) fn secret(&self, epoch: Epoch) -> Option<EpochSecret> {
        let leaf = epoch.get() - 1;
        let (first, last) = self.leaves();
        if !(first..=last).contains(&leaf) {
            return None;
        }
        let mut node = self.clone();
        while node.height > 0 {
            node = node.child(leaf >> (node.height - 1) & 1 == 1);
        }
        Some(EpochSecret(aead::derive(&node.secret, "emr/epoch-key/v1", b"")))
    }

    /// The fewest nodes below this one that cover the epochs `from..=to` and no other.
    pub(crate) fn cover(&self, from: Epoch, to: Epoch) -> Vec<Self> {
        let mut nodes = Vec::new();
        self.collect_cover(from.get() - 1, to.get() - 1, &mut nodes);
        nodes
    }

    fn collect_cover(&self, from: u32, to: u32, nodes: &mut Vec<Self>) {
        let (first, last) = self.leaves();
        if from > to || last < from || to < first {
            return;
        }
        if from <= first && last <= to {
            nodes.push(self.clone());
            return;
        }
        // A leaf is either outside or inside, so there are children here.
        self.child(false).collect_cover(from, to, nodes);
        self.child(true).collect_cover(from, to, nodes);
    }
}

impl std::fmt::Debug for Subtree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Subtree({}, {}, ..)", self.index, self.height)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn epoch(number: u32) -> Epoch {
        Epoch::new(number).expect("within range")
    }

    fn secret_of(nodes: &[Subtree], number: u32) -> Option<Zeroizing<[u8; 32]>> {
        nodes.iter().find_map(|node| node.secret(epoch(number))).map(|secret| secret.0)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// A cover gives exactly its range, with the root's secrets, in few nodes.
        #[test]
        fn covers_give_their_range_and_nothing_else(a in 1_u32..=65_536, b in 1_u32..=65_536, other in 1_u32..=65_536) {
            let (from, to) = (a.min(b), a.max(b));
            let root = Subtree::root([1; 32]);
            let nodes = root.cover(epoch(from), epoch(to));
            prop_assert!(nodes.len() as u32 <= 2 * ROOT_HEIGHT as u32);
            for number in [from, to, from + (to - from) / 2] {
                prop_assert_eq!(secret_of(&nodes, number), secret_of(std::slice::from_ref(&root), number));
            }
            prop_assert_eq!(secret_of(&nodes, other).is_some(), (from..=to).contains(&other));
            for node in &nodes {
                let read = Subtree::from_parts(node.index, node.height, *node.secret);
                prop_assert_eq!(read.as_ref(), Some(node));
            }
        }
    }

    #[test]
    fn places_outside_the_tree_are_refused() {
        assert!(Subtree::from_parts(1, 16, [0; 32]).is_none());
        assert!(Subtree::from_parts(65_536, 0, [0; 32]).is_none());
        assert!(Subtree::from_parts(0, 17, [0; 32]).is_none());
        assert!(Subtree::from_parts(65_535, 0, [0; 32]).is_some());
    }
}
