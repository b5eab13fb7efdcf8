//! An L1 state as deep as one that real chains have: on the way to what is proved, every branch is full. Other keys are chosen by their hash,
//! so a few dozen are enough for any depth.

use std::collections::BTreeMap;

use alloy::{
    consensus::{Header, TrieAccount},
    primitives::{Address, B256, Bytes, U256, keccak256},
    rlp,
    rpc::types::{EIP1186AccountProofResponse, EIP1186StorageProof},
    serde::JsonStorageKey,
};
use alloy_trie::{HashBuilder, Nibbles, proof::ProofRetainer};

/// What a node answers about a contract, and the header that it follows from.
pub(crate) struct Answers {
    pub(crate) header: Header,
    pub(crate) proof: EIP1186AccountProofResponse,
}

/// A trie whose root is `root`, with a proof of each of some keys.
struct Proved {
    root: B256,
    proofs: BTreeMap<B256, Vec<Bytes>>,
}

/// A trie with these leaves, and on the way to each of them `levels` branches with sixteen children.
fn trie(leaves: &BTreeMap<B256, Vec<u8>>, levels: usize) -> Proved {
    let mut all = leaves.clone();
    for key in leaves.keys() {
        for level in 0..levels {
            for nibble in 0..16_u8 {
                let mut sibling = *key;
                let byte = &mut sibling[level / 2];
                *byte = if level % 2 == 0 { nibble << 4 | *byte & 15 } else { *byte & 0xf0 | nibble };
                if sibling != *key {
                    // Another tail: the leaf is not embedded in its branch, and is no sibling of the next level.
                    sibling[31] ^= 0x55;
                    all.entry(sibling).or_insert_with(|| vec![0xa5; 40]);
                }
            }
        }
    }
    let targets: Vec<_> = leaves.keys().map(|key| Nibbles::unpack_array(&key.0)).collect();
    let mut builder = HashBuilder::default().with_proof_retainer(ProofRetainer::new(targets));
    for (key, value) in &all {
        builder.add_leaf(Nibbles::unpack_array(&key.0), value);
    }
    let root = builder.root();
    let nodes = builder.take_proof_nodes();
    let proof = |key: &B256| nodes.matching_nodes_sorted(&Nibbles::unpack_array(&key.0)).into_iter();
    let proofs = leaves.keys().map(|key| (*key, proof(key).map(|(_, node)| node).collect())).collect();
    Proved { root, proofs }
}

impl Answers {
    /// A contract with these storage slots.
    pub(crate) fn of(contract: Address, slots: &[(U256, U256)], account_levels: usize, storage_levels: usize) -> Self {
        let hashed = |slot: U256| keccak256(B256::from(slot));
        let storage = slots.iter().map(|(slot, value)| (hashed(*slot), rlp::encode(value))).collect();
        let storage = trie(&storage, storage_levels);
        let account = TrieAccount::new(1, U256::ZERO, storage.root, B256::repeat_byte(7));
        let key = keccak256(contract);
        let state = trie(&BTreeMap::from([(key, rlp::encode(account))]), account_levels);
        let proof = EIP1186AccountProofResponse {
            address: contract,
            balance: account.balance,
            code_hash: account.code_hash,
            nonce: account.nonce,
            storage_hash: storage.root,
            account_proof: state.proofs[&key].clone(),
            storage_proof: slots
                .iter()
                .map(|(slot, value)| EIP1186StorageProof {
                    key: JsonStorageKey::Hash(B256::from(*slot)),
                    value: *value,
                    proof: storage.proofs[&hashed(*slot)].clone(),
                })
                .collect(),
        };
        // The fields that mainnet's headers have since Prague.
        let header = Header {
            number: 24_000_000,
            timestamp: 1_800_000_000,
            state_root: state.root,
            base_fee_per_gas: Some(1_000_000_000),
            withdrawals_root: Some(B256::repeat_byte(1)),
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            parent_beacon_block_root: Some(B256::repeat_byte(2)),
            requests_hash: Some(B256::repeat_byte(3)),
            ..Header::default()
        };
        Self { header, proof }
    }
}
