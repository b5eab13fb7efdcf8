//! Reads contract storage from a node that is not trusted: headers by their hash, storage by EIP-1186 proofs.
//!
//! All functions here except [`verified_storage`] and [`fetch_header`] are pure. They guarantee this: if
//! `expected_hash` is the hash of a block of the right chain, the returned value is the one in that block's state. They
//! cannot guarantee that the block is recent. Compare [`VerifiedHeader::timestamp`] with a clock.

use alloy::{
    consensus::{Header, TrieAccount},
    primitives::{Address, B256, Bytes, U256, keccak256},
    providers::Provider,
    rlp::{self, Decodable},
    rpc::json_rpc::ErrorPayload,
    rpc::types::{BlockId, EIP1186AccountProofResponse, Header as RpcHeader},
    transports::{RpcError, TransportError},
};
use alloy_trie::{EMPTY_ROOT_HASH, KECCAK_EMPTY, Nibbles, nodes::TrieNode, proof::verify_proof};

use crate::header::Answers;

/// The number of nibbles in a trie key, which is a Keccak-256 hash. A path cannot have more nodes than that.
const PATH_NIBBLES: usize = 64;
/// The largest trie node in bytes. A branch of 16 hashes has 532, a leaf with an account less than 160.
const MAX_NODE_SIZE: usize = 1024;
/// The largest RLP header in bytes. Mainnet's have about 600.
const MAX_HEADER_SIZE: usize = 8192;

/// Why data from a node was rejected. In every case, ask another node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The bytes or the JSON are not a block header.
    #[error("the node sent a malformed block header ({0}): use another node")]
    MalformedHeader(String),
    /// The header does not have the requested block hash.
    #[error("the node sent a header that hashes to {actual}, not to {expected}: use another node")]
    HeaderHash {
        /// The requested block hash.
        expected: B256,
        /// The hash of the header in the answer.
        actual: B256,
    },
    /// The proof is for another account.
    #[error("the node proved account {actual}, not {expected}: use another node")]
    WrongAccount {
        /// The requested account.
        expected: Address,
        /// The account in the answer.
        actual: Address,
    },
    /// The proof does not contain the requested slot.
    #[error("the node's proof does not cover slot {0:#x}: use another node")]
    MissingSlot(U256),
    /// The account's fields do not follow from the state root.
    #[error("the node's proof of account {account} does not lead to the state root ({reason}): use another node")]
    Account {
        /// The requested account.
        account: Address,
        /// What is wrong with the proof.
        reason: String,
    },
    /// The slot's value does not follow from the account's storage root.
    #[error("the node's proof of slot {slot:#x} does not lead to the storage root ({reason}): use another node")]
    Slot {
        /// The requested slot.
        slot: U256,
        /// What is wrong with the proof.
        reason: String,
    },
    /// The node did not answer, or answered with an error.
    #[error("the node did not answer: {0}")]
    Transport(#[from] TransportError),
    /// The node has no such block.
    #[error("the node does not know block {0}: wait until it has caught up, or use another node")]
    UnknownBlock(BlockId),
    /// No one of several nodes proves what was asked.
    #[error(
        "no Ethereum node proves the contract's storage in block {number} ({answers}): try again, or name other nodes with --rpc"
    )]
    NoNode {
        /// The block's number.
        number: u64,
        /// What is wrong with each node's answer.
        answers: Answers,
    },
}

/// A header whose hash was checked. Only this module can make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedHeader {
    hash: B256,
    parent_hash: B256,
    number: u64,
    timestamp: u64,
    state_root: B256,
}

impl VerifiedHeader {
    /// The block hash: Keccak-256 of the RLP of the header.
    pub fn hash(&self) -> B256 {
        self.hash
    }

    /// The hash of the previous block.
    pub fn parent_hash(&self) -> B256 {
        self.parent_hash
    }

    /// The block number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The time of the block in Unix seconds, as its maker stated it.
    pub fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// Root of the account trie after the block.
    pub fn state_root(&self) -> B256 {
        self.state_root
    }
}

/// Checks that `header` is the header of the block `expected_hash`.
///
/// # Errors
///
/// Fails if its RLP has another hash.
pub fn verify_header(header: &Header, expected_hash: B256) -> Result<VerifiedHeader, ProofError> {
    let actual = header.hash_slow();
    if actual != expected_hash {
        return Err(ProofError::HeaderHash { expected: expected_hash, actual });
    }
    Ok(VerifiedHeader {
        hash: actual,
        parent_hash: header.parent_hash,
        number: header.number,
        timestamp: header.timestamp,
        state_root: header.state_root,
    })
}

/// The same as [`verify_header`], for a header in RLP (Yellow Paper 4.4.3) of at most 8 KiB.
///
/// # Errors
///
/// Fails if the header is malformed or has another hash.
pub fn verify_header_rlp(bytes: &[u8], expected_hash: B256) -> Result<VerifiedHeader, ProofError> {
    if bytes.len() > MAX_HEADER_SIZE {
        return Err(ProofError::MalformedHeader(format!("{} bytes", bytes.len())));
    }
    let mut rest = bytes;
    let header = Header::decode(&mut rest).map_err(|error| ProofError::MalformedHeader(error.to_string()))?;
    if !rest.is_empty() {
        return Err(ProofError::MalformedHeader(format!("{} bytes after it", rest.len())));
    }
    verify_header(&header, expected_hash)
}

/// The same as [`verify_header`], for a header in JSON from `eth_getBlockByHash`. Ignores the hash that the JSON
/// claims.
///
/// # Errors
///
/// Fails if the header is malformed or has another hash.
pub fn verify_header_json(json: &str, expected_hash: B256) -> Result<VerifiedHeader, ProofError> {
    let header: RpcHeader =
        serde_json::from_str(json).map_err(|error| ProofError::MalformedHeader(error.to_string()))?;
    verify_header(&header.inner, expected_hash)
}

/// Checks an account against a state root and returns it. Returns an empty account if it provably does not exist.
///
/// # Errors
///
/// Fails if the answer is for another account, or if the proof does not lead to the state root.
pub fn verify_account(
    state_root: B256,
    address: Address,
    proof: &EIP1186AccountProofResponse,
) -> Result<TrieAccount, ProofError> {
    if proof.address != address {
        return Err(ProofError::WrongAccount { expected: address, actual: proof.address });
    }
    let account = TrieAccount::new(proof.nonce, proof.balance, proof.storage_hash, proof.code_hash);
    let path = |expected| verify_path(state_root, keccak256(address), expected, &proof.account_proof);
    // Some nodes answer zero for the hashes of an account that does not exist.
    let absent = account.nonce == 0
        && account.balance.is_zero()
        && (account.storage_root == EMPTY_ROOT_HASH || account.storage_root.is_zero())
        && (account.code_hash == KECCAK_EMPTY || account.code_hash.is_zero());
    let verdict = if absent {
        // Since EIP-161 an empty account is not in the trie, but anvil leaves one there. It means the same.
        path(None).or_else(|reason| path(Some(rlp::encode(TrieAccount::default()))).map_err(|_| reason))
    } else {
        path(Some(rlp::encode(account)))
    };
    verdict.map_err(|reason| ProofError::Account { account: address, reason })?;
    Ok(if absent { TrieAccount::default() } else { account })
}

/// Checks the value of one storage slot of one account against a state root (EIP-1186) and returns it. Returns zero for
/// a slot that is provably not set.
///
/// # Errors
///
/// Fails if the answer is for another account or slot, or if the proof does not lead to the state root.
pub fn verify_storage(
    state_root: B256,
    address: Address,
    slot: U256,
    proof: &EIP1186AccountProofResponse,
) -> Result<U256, ProofError> {
    let account = verify_account(state_root, address, proof)?;
    let key = B256::from(slot);
    let entry = proof.storage_proof.iter().find(|entry| entry.key.as_b256() == key);
    let entry = entry.ok_or(ProofError::MissingSlot(slot))?;
    let path = |expected| verify_path(account.storage_root, keccak256(key), expected, &entry.proof);
    let stored = rlp::encode(entry.value);
    let verdict = if entry.value.is_zero() {
        // A cleared slot is not in the trie, but anvil leaves a zero there. It means the same.
        path(None).or_else(|reason| path(Some(stored)).map_err(|_| reason))
    } else {
        path(Some(stored))
    };
    verdict.map_err(|reason| ProofError::Slot { slot, reason })?;
    Ok(entry.value)
}

/// Asks the node for a slot at the block of `header` and checks the answer with [`verify_storage`].
///
/// # Errors
///
/// Fails if the node does not answer, or if its answer does not verify.
pub async fn verified_storage(
    provider: &impl Provider,
    address: Address,
    slot: U256,
    header: &VerifiedHeader,
) -> Result<U256, ProofError> {
    let at = BlockId::number(header.number());
    let proof = provider.get_proof(address, vec![B256::from(slot)]).block_id(at).await?;
    verify_storage(header.state_root(), address, slot, &proof)
}

/// Asks the node for a block and checks that its header has the block hash.
///
/// If `at` is a block hash, this trusts nobody. If `at` is a number or a tag, the node decides which block it is. Then
/// use a node that you run yourself, or compare the hash with the answers of other nodes.
///
/// # Errors
///
/// Fails if the node does not answer or does not know the block, or if the header has another hash.
pub async fn fetch_header(provider: &impl Provider, at: BlockId) -> Result<VerifiedHeader, ProofError> {
    let block = match provider.get_block(at).await {
        Err(RpcError::ErrorResp(refused)) if is_unknown_block(&refused) => None,
        answer => answer?,
    };
    let block = block.ok_or(ProofError::UnknownBlock(at))?;
    let expected = match at {
        BlockId::Hash(hash) => hash.block_hash,
        BlockId::Number(_) => block.header.hash,
    };
    let header = verify_header(&block.header.inner, expected)?;
    match at.as_u64() {
        Some(number) if number != header.number() => Err(ProofError::UnknownBlock(at)),
        _ => Ok(header),
    }
}

/// Whether an error means that the node has no such block. geth says so, instead of `null`, where no block is final yet.
fn is_unknown_block(refused: &ErrorPayload) -> bool {
    /// "Unknown block" in the error codes of Ethereum's execution-apis.
    const UNKNOWN_BLOCK: i64 = -39_001;
    let message = refused.message.to_ascii_lowercase();
    refused.code == UNKNOWN_BLOCK || message.contains("block not found") || message.contains("unknown block")
}

/// Checks one path with `alloy-trie`. Limits the size of the input and the length of the path in the nodes.
fn verify_path(root: B256, key: B256, expected: Option<Vec<u8>>, nodes: &[Bytes]) -> Result<(), String> {
    if nodes.len() > PATH_NIBBLES + 1 {
        return Err(format!("{} nodes", nodes.len()));
    }
    let mut path = 0;
    for node in nodes {
        if node.len() > MAX_NODE_SIZE {
            return Err(format!("a node of {} bytes", node.len()));
        }
        path += path_length(node).map_err(|error| error.to_string())?;
    }
    // The path in the nodes of an honest proof is never longer than a key. alloy-trie panics if it is longer.
    if path > PATH_NIBBLES {
        return Err("the nodes spell a path longer than a key".to_owned());
    }
    verify_proof(root, Nibbles::unpack_array(&key.0), expected, nodes).map_err(|error| error.to_string())
}

/// The largest number of a path's nibbles that a node and the nodes embedded in it can contain.
fn path_length(mut node: &[u8]) -> rlp::Result<usize> {
    Ok(match TrieNode::decode(&mut node)? {
        TrieNode::EmptyRoot => 0,
        TrieNode::Leaf(leaf) => leaf.key.len(),
        TrieNode::Extension(extension) if extension.child.is_hash() => extension.key.len(),
        TrieNode::Extension(extension) => extension.key.len() + path_length(&extension.child)?,
        TrieNode::Branch(branch) => {
            let mut deepest = 0;
            for child in branch.stack.iter().filter(|child| !child.is_hash()) {
                deepest = deepest.max(path_length(child)?);
            }
            1 + deepest
        }
    })
}
