//! A Merkle Patricia trie in memory. Copies share their nodes.
//!
//! Keys are 32 bytes, already hashed. Each node caches its reference (the RLP or its Keccak-256). So after a change,
//! the root needs only the changed paths, and keeping the trie of an earlier block costs only those paths. The node
//! encodings come from `alloy-trie`, and the shape from the Yellow Paper's appendix D.

use std::sync::{Arc, OnceLock};

use alloy::{
    primitives::{B256, Bytes, keccak256},
    rlp::Encodable,
};
use alloy_trie::{
    EMPTY_ROOT_HASH, Nibbles, TrieMask,
    nodes::{BranchNodeRef, ExtensionNodeRef, LeafNodeRef, RlpNode},
};

/// A value that a trie can hold. The trie hashes its RLP.
pub(crate) trait TrieValue: Clone {
    /// The RLP of the value.
    fn rlp(&self) -> Vec<u8>;
}

/// A trie from 32-byte hashed keys to `V`. Cloning only increments a reference count.
#[derive(Clone, Debug)]
pub(crate) struct Trie<V> {
    root: Option<Arc<Node<V>>>,
}

#[derive(Clone, Debug)]
struct Node<V> {
    kind: Kind<V>,
    reference: OnceLock<RlpNode>,
}

#[derive(Clone, Debug)]
enum Kind<V> {
    Leaf { path: Nibbles, value: V },
    Extension { path: Nibbles, child: Arc<Node<V>> },
    Branch { children: Box<[Option<Arc<Node<V>>>; 16]> },
}

impl<V> Default for Trie<V> {
    fn default() -> Self {
        Self { root: None }
    }
}

impl<V: TrieValue> Trie<V> {
    /// The value under `key`.
    pub(crate) fn get(&self, key: &B256) -> Option<&V> {
        let key = Nibbles::unpack_array(&key.0);
        let mut node = self.root.as_deref()?;
        let mut at = 0;
        loop {
            match &node.kind {
                Kind::Leaf { path, value } => return (*path == key.slice(at..)).then_some(value),
                Kind::Extension { path, child } => {
                    if !key.slice(at..).starts_with(path) {
                        return None;
                    }
                    at += path.len();
                    node = child;
                }
                Kind::Branch { children } => {
                    node = children[usize::from(key.get(at)?)].as_deref()?;
                    at += 1;
                }
            }
        }
    }

    /// Sets the value of `key`.
    pub(crate) fn insert(&mut self, key: &B256, value: V) {
        let key = Nibbles::unpack_array(&key.0);
        match &mut self.root {
            Some(root) => insert(root, key, value),
            None => self.root = Some(Node::leaf(key, value)),
        }
    }

    /// Removes `key`, if it is there.
    pub(crate) fn remove(&mut self, key: &B256) {
        if self.get(key).is_none() {
            return;
        }
        if let Some(root) = self.root.take() {
            self.root = remove(root, Nibbles::unpack_array(&key.0));
        }
    }

    /// The root hash.
    pub(crate) fn root(&self) -> B256 {
        match &self.root {
            None => EMPTY_ROOT_HASH,
            Some(root) => root.reference().as_hash().unwrap_or_else(|| keccak256(root.encode())),
        }
    }

    /// The nodes on the path from the root to `key`. They prove its value, or its absence (EIP-1186).
    pub(crate) fn prove(&self, key: &B256) -> Vec<Bytes> {
        let key = Nibbles::unpack_array(&key.0);
        let (mut proof, mut at, mut next) = (Vec::new(), 0, self.root.as_deref());
        while let Some(node) = next {
            // A node shorter than a hash is embedded in its parent, which the proof already holds.
            if at == 0 || node.reference().is_hash() {
                proof.push(node.encode().into());
            }
            next = match &node.kind {
                Kind::Leaf { .. } => None,
                Kind::Extension { path, child } => {
                    let follows = key.slice(at..).starts_with(path);
                    at += path.len();
                    follows.then_some(child)
                }
                Kind::Branch { children } => {
                    at += 1;
                    key.get(at - 1).and_then(|nibble| children[usize::from(nibble)].as_deref())
                }
            };
        }
        proof
    }
}

impl<V: TrieValue> Node<V> {
    fn new(kind: Kind<V>) -> Arc<Self> {
        Arc::new(Self { kind, reference: OnceLock::new() })
    }

    fn leaf(path: Nibbles, value: V) -> Arc<Self> {
        Self::new(Kind::Leaf { path, value })
    }

    /// An extension with `path` in front of `child`, or `child` itself if the path is empty.
    fn extension(path: Nibbles, child: Arc<Self>) -> Arc<Self> {
        if path.is_empty() { child } else { Self::new(Kind::Extension { path, child }) }
    }

    fn reference(&self) -> &RlpNode {
        self.reference.get_or_init(|| RlpNode::from_rlp(&self.encode()))
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match &self.kind {
            Kind::Leaf { path, value } => LeafNodeRef::new(path, &value.rlp()).encode(&mut out),
            Kind::Extension { path, child } => ExtensionNodeRef::new(path, child.reference()).encode(&mut out),
            Kind::Branch { children } => {
                let mut mask = TrieMask::default();
                let mut stack = Vec::with_capacity(16);
                for (nibble, child) in (0u8..).zip(children.iter()) {
                    if let Some(child) = child {
                        mask.set_bit(nibble);
                        stack.push(child.reference().clone());
                    }
                }
                BranchNodeRef::new(&stack, mask).encode(&mut out);
            }
        }
        out
    }
}

/// A branch with two subtrees that differ at their first nibble. Both keys have 64 nibbles, so neither path is empty.
fn fork<V: TrieValue>(prefix: Nibbles, left: (u8, Arc<Node<V>>), right: (u8, Arc<Node<V>>)) -> Arc<Node<V>> {
    let mut children: Box<[Option<Arc<Node<V>>>; 16]> = Box::default();
    children[usize::from(left.0)] = Some(left.1);
    children[usize::from(right.0)] = Some(right.1);
    Node::extension(prefix, Node::new(Kind::Branch { children }))
}

fn insert<V: TrieValue>(slot: &mut Arc<Node<V>>, key: Nibbles, value: V) {
    let node = Arc::make_mut(slot);
    node.reference = OnceLock::new();
    let replacement = match &mut node.kind {
        Kind::Branch { children } => {
            let child = &mut children[usize::from(key.get_unchecked(0))];
            let rest = key.slice(1..);
            match child {
                Some(child) => insert(child, rest, value),
                None => *child = Some(Node::leaf(rest, value)),
            }
            return;
        }
        Kind::Leaf { path, value: old } => {
            let shared = path.common_prefix_length(&key);
            if shared == path.len() {
                *old = value;
                return;
            }
            fork(
                key.slice(..shared),
                (path.get_unchecked(shared), Node::leaf(path.slice(shared + 1..), old.clone())),
                (key.get_unchecked(shared), Node::leaf(key.slice(shared + 1..), value)),
            )
        }
        Kind::Extension { path, child } => {
            let shared = path.common_prefix_length(&key);
            if shared == path.len() {
                return insert(child, key.slice(shared..), value);
            }
            fork(
                key.slice(..shared),
                (path.get_unchecked(shared), Node::extension(path.slice(shared + 1..), child.clone())),
                (key.get_unchecked(shared), Node::leaf(key.slice(shared + 1..), value)),
            )
        }
    };
    *slot = replacement;
}

/// Removes `key`, which must be present, from `node`. Returns `None` if the node is then empty.
fn remove<V: TrieValue>(mut node: Arc<Node<V>>, key: Nibbles) -> Option<Arc<Node<V>>> {
    let inner = Arc::make_mut(&mut node);
    inner.reference = OnceLock::new();
    match &mut inner.kind {
        Kind::Leaf { .. } => None,
        Kind::Extension { path, child } => {
            remove(child.clone(), key.slice(path.len()..)).map(|child| join(*path, child))
        }
        Kind::Branch { children } => {
            let child = &mut children[usize::from(key.get_unchecked(0))];
            *child = child.take().and_then(|child| remove(child, key.slice(1..)));
            let mut left = (0u8..).zip(children.iter_mut()).filter(|(_, child)| child.is_some());
            match (left.next(), left.next()) {
                (Some((nibble, child)), None) => {
                    let only = child.take();
                    only.map(|child| join(Nibbles::from_nibbles([nibble]), child))
                }
                _ => Some(node),
            }
        }
    }
}

/// Puts `path` in front of `child` and keeps the trie canonical: leaves and extensions absorb the path.
fn join<V: TrieValue>(path: Nibbles, child: Arc<Node<V>>) -> Arc<Node<V>> {
    match &child.kind {
        Kind::Leaf { path: rest, value } => Node::leaf(path.join(rest), value.clone()),
        Kind::Extension { path: rest, child } => Node::extension(path.join(rest), child.clone()),
        Kind::Branch { .. } => Node::extension(path, child),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use alloy::{
        primitives::{U256, uint},
        rlp,
    };
    use alloy_trie::{proof::verify_proof, root::storage_root};
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Word(U256);

    impl TrieValue for Word {
        fn rlp(&self) -> Vec<u8> {
            rlp::encode(self.0)
        }
    }

    /// Keys that share long prefixes, so that extensions and embedded nodes occur.
    fn key(seed: u16) -> B256 {
        let mut key = B256::ZERO;
        key[31] = (seed & 0x0f) as u8;
        key[30] = ((seed >> 4) & 0x01) as u8;
        key[0] = (seed >> 6) as u8;
        key
    }

    fn check(trie: &Trie<Word>, model: &BTreeMap<B256, U256>) {
        assert_eq!(trie.root(), storage_root(model.iter().map(|(key, value)| (*key, *value))));
        for seed in [0u16, 1, 17, 64, 511, 0x7fff] {
            let (key, expected) = (key(seed), model.get(&key(seed)));
            assert_eq!(trie.get(&key).map(|word| word.0), expected.copied());
            let proof = trie.prove(&key);
            let path = Nibbles::unpack_array(&key.0);
            verify_proof(trie.root(), path, expected.map(rlp::encode), &proof).expect("own proof verifies");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// After any sequence of writes and deletions, the root is the one that `alloy-trie` computes from scratch, and
        /// the proofs verify. A copy that was made in between keeps its root.
        #[test]
        fn agrees_with_a_rebuild(steps in prop::collection::vec((0u16..1024, 0u8..4), 1..80)) {
            let (mut trie, mut model) = (Trie::default(), BTreeMap::new());
            let mut earlier: Option<(Trie<Word>, BTreeMap<B256, U256>)> = None;
            for (at, (seed, value)) in steps.iter().enumerate() {
                let key = key(*seed);
                if *value == 0 {
                    trie.remove(&key);
                    model.remove(&key);
                } else {
                    trie.insert(&key, Word(U256::from(*value)));
                    model.insert(key, U256::from(*value));
                }
                if at == steps.len() / 2 {
                    earlier = Some((trie.clone(), model.clone()));
                }
                if at % 7 == 0 {
                    check(&trie, &model);
                }
            }
            check(&trie, &model);
            if let Some((trie, model)) = earlier {
                check(&trie, &model);
            }
        }
    }

    /// With long values, no node is embedded in another.
    #[test]
    fn agrees_on_long_values() {
        let (mut trie, mut model) = (Trie::default(), BTreeMap::new());
        let long = uint!(0xffff_ffff_ffff_ffff_ffff_ffff_ffff_ffff_ffff_ffff_ffff_ffff_ffff_ffff_ffff_0000_U256);
        for seed in 0..600u16 {
            let value = long + U256::from(seed);
            trie.insert(&key(seed), Word(value));
            model.insert(key(seed), value);
        }
        check(&trie, &model);
        for seed in (0..600u16).rev() {
            trie.remove(&key(seed));
            model.remove(&key(seed));
            if seed % 50 == 0 {
                check(&trie, &model);
            }
        }
        assert_eq!(trie.root(), EMPTY_ROOT_HASH);
    }
}
