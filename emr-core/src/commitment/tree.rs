//! The Merkle tree over the fields: rs_merkle, with separate hash domains for leaves and inner nodes.

use std::io::{self, Write};

use rs_merkle::{Hasher, MerkleProof, MerkleTree};
use sha2::{Digest, Sha256};

use crate::codec;
use crate::record::Record;

/// The hash of a leaf or an inner node.
pub(super) type Node = [u8; 32];

/// The largest number of leaves: all fields of the largest record, and its original document.
pub(super) const MAX_LEAVES: u32 = Record::MAX_FIELDS as u32 + 1;

/// rs_merkle's own hashers compute `H(data)` for leaves and `H(left || right)` for inner nodes. With them, an inner
/// node could pass as a leaf whose data are its children. Here the first hashed byte tells leaves from inner nodes.
#[derive(Clone)]
struct FieldHasher;

impl Hasher for FieldHasher {
    type Hash = Node;

    fn hash(data: &[u8]) -> Node {
        let mut hasher = Sha256::new();
        hasher.update([0]);
        hasher.update(data);
        hasher.finalize().into()
    }

    fn concat_and_hash(left: &Node, right: Option<&Node>) -> Node {
        let Some(right) = right else { return *left };
        let mut hasher = Sha256::new();
        hasher.update([1]);
        hasher.update(left);
        hasher.update(right);
        hasher.finalize().into()
    }
}

/// The leaf of a field: `SHA-256(0x00 || salt || dag-cbor([name, value]))`. `value` writes the value into the hash, so a large one is
/// not copied.
pub(super) fn leaf(salt: &[u8; 32], name: &str, value: impl FnOnce(&mut Leaf) -> io::Result<()>) -> Node {
    let mut leaf = Leaf(Sha256::new());
    leaf.0.update([0]);
    leaf.0.update(salt);
    // A list of two.
    leaf.0.update([0x82]);
    codec::write(name, &mut leaf).and_then(|()| value(&mut leaf)).expect("a hash takes all bytes");
    leaf.0.finalize().into()
}

/// The hash of a leaf that is being written.
pub(super) struct Leaf(Sha256);

impl Write for Leaf {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The tree over the leaves of a record.
#[derive(Clone)]
pub(super) struct FieldTree(MerkleTree<FieldHasher>);

impl FieldTree {
    pub(super) fn new(leaves: Vec<Node>) -> Self {
        Self(MerkleTree::from_leaves(&leaves))
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.0.leaves_len()).expect("a record has at most MAX_LEAVES leaves")
    }

    /// The root; 32 zero bytes if there are no leaves.
    pub(super) fn root(&self) -> Node {
        self.0.root().unwrap_or_default()
    }

    /// The nodes that are needed to compute the root from the leaves at these ascending positions: levels from the
    /// leaves upwards, each level from left to right.
    pub(super) fn proof(&self, indices: &[u32]) -> Vec<Node> {
        let indices: Vec<usize> = indices.iter().map(|index| *index as usize).collect();
        self.0.proof(&indices).proof_hashes().to_vec()
    }
}

/// The number of nodes in a proof for leaves at these strictly ascending positions below `count`.
pub(super) fn proof_len(indices: &[u32], count: u32) -> usize {
    let (mut level, mut width, mut len) = (indices.to_vec(), count, 0);
    while width > 1 {
        let known = |index: u32| level.binary_search(&index).is_ok();
        len += level.iter().map(|index| index ^ 1).filter(|sibling| *sibling < width && !known(*sibling)).count();
        level = level.iter().map(|index| index / 2).collect();
        level.dedup();
        width = width.div_ceil(2);
    }
    len
}

/// Computes the root from a proof and leaves at strictly ascending positions below `count`.
///
/// Returns `None` unless the proof has exactly as many nodes as are needed. (rs_merkle would ignore surplus nodes.)
pub(super) fn root_from(leaves: &[(u32, Node)], count: u32, proof: &[Node]) -> Option<Node> {
    let (indices, hashes): (Vec<u32>, Vec<Node>) = leaves.iter().copied().unzip();
    if proof.len() != proof_len(&indices, count) {
        return None;
    }
    let indices: Vec<usize> = indices.into_iter().map(|index| index as usize).collect();
    MerkleProof::<FieldHasher>::new(proof.to_vec()).root(&indices, &hashes, count as usize).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition in RFC 6962, section 2.1, word for word.
    fn rfc6962(leaves: &[Node]) -> Node {
        match leaves {
            [] => Node::default(),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                FieldHasher::concat_and_hash(&rfc6962(left), Some(&rfc6962(right)))
            }
        }
    }

    /// The roots of the test tree of google/certificate-transparency (`merkletree/merkle_tree_test.cc`).
    #[test]
    fn roots_are_those_of_certificate_transparency() -> Result<(), hex::FromHexError> {
        let leaves =
            ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let leaves = leaves.map(hex::decode).into_iter().collect::<Result<Vec<_>, _>>()?;
        let leaves: Vec<Node> = leaves.iter().map(|data| FieldHasher::hash(data)).collect();
        for (count, root) in (1..).zip(roots) {
            assert_eq!(hex::encode(FieldTree::new(leaves[..count].to_vec()).root()), root);
        }
        Ok(())
    }

    fn leaves(count: u32) -> Vec<Node> {
        (0..count).map(|i| FieldHasher::hash(&i.to_be_bytes())).collect()
    }

    /// With rs_merkle's own hasher, the two children of an inner node could be the data of a leaf, and a tree of half
    /// the size would have the same root.
    #[test]
    fn an_inner_node_cannot_pass_as_a_leaf() {
        use rs_merkle::algorithms::Sha256 as Stock;
        let stock: Vec<Node> = (0..4_u8).map(|i| Stock::hash(&[i])).collect();
        let as_leaf = |pair: &[Node]| Stock::hash(&pair.concat());
        let halved = MerkleTree::<Stock>::from_leaves(&[as_leaf(&stock[..2]), as_leaf(&stock[2..])]);
        assert_eq!(MerkleTree::<Stock>::from_leaves(&stock).root(), halved.root());

        let ours = leaves(4);
        let as_leaf = |pair: &[Node]| FieldHasher::hash(&pair.concat());
        let halved = FieldTree::new(vec![as_leaf(&ours[..2]), as_leaf(&ours[2..])]);
        assert_ne!(FieldTree::new(ours).root(), halved.root());
    }

    proptest! {
        #[test]
        fn any_subset_leads_to_the_root_of_rfc6962(count in 1_u32..70, chosen in any::<u128>()) {
            let all = leaves(count);
            let tree = FieldTree::new(all.clone());
            prop_assert_eq!(tree.root(), rfc6962(&all));
            let chosen: Vec<(u32, Node)> = (0..).zip(all).filter(|(i, _)| chosen >> i & 1 == 1).collect();
            prop_assume!(!chosen.is_empty());
            let indices: Vec<u32> = chosen.iter().map(|(i, _)| *i).collect();
            let mut proof = tree.proof(&indices);
            prop_assert_eq!(proof.len(), proof_len(&indices, count));
            prop_assert_eq!(root_from(&chosen, count, &proof), Some(tree.root()));
            proof.push([0; 32]);
            prop_assert_eq!(root_from(&chosen, count, &proof), None);
        }
    }
}
