//! What a reader's check of one record needs, from a block header of L1 to the record's leaf: its bytes by part, and its time. The peer checks
//! the same paths of L1's tries with `alloy-trie` alone, as every light client does.
//!
//! `cargo run --release --package benches --bin light`

mod l1;

use std::{collections::BTreeSet, error::Error, time::Instant};

use alloy::{
    primitives::{Address, B256, U256, keccak256},
    rlp,
    rpc::types::Header as RpcHeader,
};
use alloy_trie::{Nibbles, proof::verify_proof};
use clap::Parser;
use emr_api::RecordProof;
use emr_chain::{RollupInstance, STATE_ROOT_SLOT, proof::verify_header};
use emr_client::verify::{
    record::{RecordId, check_membership},
    settled_state::SettledState,
};
use emr_core::{AccountEpoch, AccountIndex, AccountStatus, Class, RecordSlot, RecordStatus, Revision, Role, Version};
use emr_rollup::{
    layout::{ACCOUNT_DEPTH, RECORD_DEPTH},
    operation::Domain,
    primitive::{eddsa::SigningKey, field::Fr},
    state::{
        leaf::{IdentityLeaf, LeafHash, MedicalLeaf, RecordLeaf},
        state_root,
        tree::{Path, SparseMerkleTree},
    },
};
use l1::Answers;
use serde::Serialize;

/// Measure the check of one record, from a block header of L1 to the record's leaf
#[derive(Debug, Parser)]
struct Arguments {
    /// Full branches above the contract's account. Sixteen times more accounts are one more; Ethereum's 300 million are between 7 and 8
    #[arg(long, default_value = "8")]
    account_levels: usize,
    /// Full branches above a slot of the contract. 6 are 16 million slots
    #[arg(long, default_value = "6")]
    storage_levels: usize,
    /// How many checks are timed
    #[arg(long, default_value = "501")]
    rounds: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The bytes of a part: its values alone, each trie node once, and as they arrive in JSON.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Bytes {
    values: usize,
    json: usize,
}

#[derive(Debug, Serialize)]
struct Figures {
    header: Bytes,
    account_proof: Bytes,
    storage_proofs: Bytes,
    record: Bytes,
    total: Bytes,
    /// Median time of the whole check, in milliseconds.
    check_milliseconds: f64,
    /// Median time of `alloy-trie` for the paths of L1 alone, in milliseconds.
    alloy_trie_milliseconds: f64,
    ratio: f64,
}

impl Figures {
    fn print(&self) {
        println!("{:<44} {:>8} {:>8}", "part", "bytes", "as JSON");
        for (name, part) in [
            ("block header", self.header),
            ("the contract's account in L1's state", self.account_proof),
            ("three slots of the contract's storage", self.storage_proofs),
            ("the record's leaf and its paths", self.record),
            ("all", self.total),
        ] {
            println!("{name:<44} {:>8} {:>8}", part.values, part.json);
        }
        let Self { check_milliseconds, alloy_trie_milliseconds, ratio, .. } = self;
        println!(
            "\none check: {check_milliseconds:.3} ms; alloy-trie for L1's paths alone: {alloy_trie_milliseconds:.3} ms (ratio {ratio:.2})"
        );
    }
}

/// A record in the middle of full trees, with what the node sends to prove it.
struct Record {
    id: RecordId,
    leaf: RecordLeaf,
    author: IdentityLeaf,
    proof: RecordProof,
}

impl Record {
    fn new(domain: Domain) -> Result<Self, Box<dyn Error>> {
        let (patient, author) = (AccountIndex::new(700_001)?, AccountIndex::new(12)?);
        let slot = RecordSlot::new(3000)?;
        let identity = IdentityLeaf {
            role: Role::Doctor,
            status: AccountStatus::Active,
            org: None,
            epoch: AccountEpoch::new(0)?,
            key: SigningKey::from_seed(&[7; 32]).public(),
            encryption: Fr::from(5),
        };
        let leaf = RecordLeaf {
            status: RecordStatus::Live,
            class: Class::Summary,
            author,
            custodian: None,
            version: Version::new(1)?,
            revision: Revision::new(1)?,
            authored: Fr::from(8),
            stored: Fr::from(9),
        };
        let tree = |depth, position: u64, leaf: LeafHash| {
            let mut tree = SparseMerkleTree::new(depth);
            tree.set(position as u32, leaf);
            (tree.root(), tree.path(position as u32))
        };
        let (records_root, record_path) = tree(RECORD_DEPTH, slot.get(), leaf.hash());
        let medical = MedicalLeaf { records_root, ..MedicalLeaf::registered() };
        let (medical_root, medical_path) = tree(ACCOUNT_DEPTH, patient.get(), medical.hash());
        let (identity_root, author_path) = tree(ACCOUNT_DEPTH, author.get(), identity.hash());
        let proof =
            RecordProof { batch: 9, record_path, medical, medical_path, author_path, identity_root, medical_root };
        Ok(Self { id: RecordId { domain, patient, slot }, leaf, author: identity, proof })
    }

    fn bytes(&self) -> Result<Bytes, serde_json::Error> {
        let path = |path: &Path| path.siblings().len() * 3 * 32;
        let RecordProof { record_path, medical_path, author_path, .. } = &self.proof;
        // Two roots, the leaves of the patient, of the record and of its author.
        let values = (2 + 4 + 3 + 4) * 32 + path(record_path) + path(medical_path) + path(author_path);
        let json = serde_json::to_vec(&self.proof)?.len() + serde_json::to_vec(&self.leaf)?.len();
        Ok(Bytes { values, json })
    }
}

fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let contract = Address::repeat_byte(0x42);
    let instance = RollupInstance { chain_id: 1, contract };
    let record = Record::new(Domain::new(instance.chain_id, contract.into_array()))?;
    let root = state_root(record.proof.identity_root, record.proof.medical_root);
    let progress = U256::from(1_800_000_000) | U256::from(9) << 40;
    let slots = [
        (STATE_ROOT_SLOT, U256::from_be_bytes(*root.as_bytes())),
        (U256::from(1), progress),
        (U256::from(3), U256::from(1) << 64),
    ];
    let l1 = Answers::of(contract, &slots, arguments.account_levels, arguments.storage_levels);
    let hash = l1.header.hash_slow();

    let check = || -> Result<u64, Box<dyn Error>> {
        let header = verify_header(&l1.header, hash)?;
        let state = SettledState::verify(&instance, &header, &l1.proof)?;
        Ok(check_membership(&record.id, &record.leaf, &record.author, &record.proof, &state)?)
    };
    let key = |key: B256| Nibbles::unpack_array(&keccak256(key).0);
    let account =
        alloy::consensus::TrieAccount::new(l1.proof.nonce, l1.proof.balance, l1.proof.storage_hash, l1.proof.code_hash);
    let alone = || -> Result<(), Box<dyn Error>> {
        let account = Some(rlp::encode(account));
        let path = Nibbles::unpack_array(&keccak256(contract).0);
        verify_proof(l1.header.state_root, path, account, &l1.proof.account_proof)?;
        for slot in &l1.proof.storage_proof {
            verify_proof(l1.proof.storage_hash, key(slot.key.as_b256()), Some(rlp::encode(slot.value)), &slot.proof)?;
        }
        Ok(())
    };
    // Interleaved, so that both meet the same machine.
    let (mut checks, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds.max(1) {
        let started = Instant::now();
        check()?;
        checks.push(started.elapsed().as_secs_f64() * 1e3);
        let started = Instant::now();
        alone()?;
        peers.push(started.elapsed().as_secs_f64() * 1e3);
    }

    let nodes = |nodes: Vec<&alloy::primitives::Bytes>| -> usize {
        nodes.into_iter().collect::<BTreeSet<_>>().into_iter().map(|node| node.len()).sum()
    };
    let header = Bytes {
        values: rlp::encode(&l1.header).len(),
        json: serde_json::to_vec(&RpcHeader::new(l1.header.clone()))?.len(),
    };
    let storage_json = serde_json::to_vec(&l1.proof.storage_proof)?.len();
    let account_proof = Bytes {
        values: nodes(l1.proof.account_proof.iter().collect()),
        json: serde_json::to_vec(&l1.proof)?.len() - storage_json,
    };
    let storage_proofs = Bytes {
        values: nodes(l1.proof.storage_proof.iter().flat_map(|slot| &slot.proof).collect()),
        json: storage_json,
    };
    let parts = [header, account_proof, storage_proofs, record.bytes()?];
    let total =
        Bytes { values: parts.iter().map(|part| part.values).sum(), json: parts.iter().map(|part| part.json).sum() };
    let (check_milliseconds, alloy_trie_milliseconds) = (median(checks), median(peers));
    let [header, account_proof, storage_proofs, record] = parts;
    let ratio = check_milliseconds / alloy_trie_milliseconds;
    let figures = Figures {
        header,
        account_proof,
        storage_proofs,
        record,
        total,
        check_milliseconds,
        alloy_trie_milliseconds,
        ratio,
    };
    if arguments.json {
        println!("{}", serde_json::to_string(&figures)?);
    } else {
        figures.print();
    }
    Ok(())
}
