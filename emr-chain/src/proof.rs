//! Reading contract storage from a node that is not trusted: headers by their hash, storage by EIP-1186 proofs.
//!
//! Everything here except [`verified_storage`] and [`fetch_header`] is a pure function. What they assure: if
//! `expected_hash` is the hash of a block of the right chain, then the value returned is what that block's state holds.
//! What they cannot assure is that the block is recent; compare [`VerifiedHeader::timestamp`] with a clock.

use alloy::{
    consensus::{Header, TrieAccount},
    primitives::{Address, B256, Bytes, U256, keccak256},
    providers::Provider,
    rlp::{self, Decodable},
    rpc::types::{BlockId, EIP1186AccountProofResponse, Header as RpcHeader},
    transports::TransportError,
};
use alloy_trie::{EMPTY_ROOT_HASH, KECCAK_EMPTY, Nibbles, nodes::TrieNode, proof::verify_proof};

/// Nibbles in a trie key, which is a Keccak-256 hash; also the most nodes that can lie on one path.
const PATH_NIBBLES: usize = 64;
/// The largest trie node in bytes: a branch of 16 hashes is 532, a leaf with an account below 160.
const MAX_NODE_SIZE: usize = 1024;
/// The largest RLP header in bytes; mainnet's are about 600.
const MAX_HEADER_SIZE: usize = 8192;

/// Why data from a node was rejected. In every case: ask another node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The header is not RLP or JSON of a block header.
    #[error("the node sent a malformed block header ({0}): use another node")]
    MalformedHeader(String),
    /// The header does not hash to the block hash it was asked for.
    #[error("the node sent a header that hashes to {actual}, not to {expected}: use another node")]
    HeaderHash {
        /// The hash of the block that was asked for.
        expected: B256,
        /// The hash of what came.
        actual: B256,
    },
    /// The proof is for another account.
    #[error("the node proved account {actual}, not {expected}: use another node")]
    WrongAccount {
        /// The account that was asked for.
        expected: Address,
        /// The account in the answer.
        actual: Address,
    },
    /// The proof does not contain the slot that was asked for.
    #[error("the node's proof does not cover slot {0:#x}: use another node")]
    MissingSlot(U256),
    /// The account's fields do not follow from the state root.
    #[error("the node's proof of account {account} does not lead to the state root ({reason}): use another node")]
    Account {
        /// The account that was asked for.
        account: Address,
        /// What is wrong with the proof.
        reason: String,
    },
    /// The slot's value does not follow from the account's storage root.
    #[error("the node's proof of slot {slot:#x} does not lead to the storage root ({reason}): use another node")]
    Slot {
        /// The slot that was asked for.
        slot: U256,
        /// What is wrong with the proof.
        reason: String,
    },
    /// The node could not be asked, or refused.
    #[error("the node did not answer: {0}")]
    Transport(#[from] TransportError),
    /// The node has no such block.
    #[error("the node does not know block {0}: wait until it has caught up, or use another node")]
    UnknownBlock(BlockId),
}

/// A header whose hash was checked. Only this module makes one.
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

    /// The hash of the block before it.
    pub fn parent_hash(&self) -> B256 {
        self.parent_hash
    }

    /// The block number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Unix seconds at which the block was made, as its maker said.
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
/// If its RLP hashes to anything else.
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

/// [`verify_header`] of a header in RLP (Yellow Paper 4.4.3), at most 8 KiB.
///
/// # Errors
///
/// If it is malformed or hashes to anything else.
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

/// [`verify_header`] of a header in JSON, as `eth_getBlockByHash` returns it. The hash that the JSON claims is ignored.
///
/// # Errors
///
/// If it is malformed or hashes to anything else.
pub fn verify_header_json(json: &str, expected_hash: B256) -> Result<VerifiedHeader, ProofError> {
    let header: RpcHeader =
        serde_json::from_str(json).map_err(|error| ProofError::MalformedHeader(error.to_string()))?;
    verify_header(&header.inner, expected_hash)
}

/// Checks an account against a state root and returns it; an account that provably does not exist is empty.
///
/// # Errors
///
/// If the answer is for another account, or its fields do not follow from the state root.
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
    // Some nodes say zero for the hashes of an account that does not exist.
    let absent = account.nonce == 0
        && account.balance.is_zero()
        && (account.storage_root == EMPTY_ROOT_HASH || account.storage_root.is_zero())
        && (account.code_hash == KECCAK_EMPTY || account.code_hash.is_zero());
    let verdict = if absent {
        // Since EIP-161 an empty account is not in the trie; anvil leaves one there. It means the same.
        path(None).or_else(|reason| path(Some(rlp::encode(TrieAccount::default()))).map_err(|_| reason))
    } else {
        path(Some(rlp::encode(account)))
    };
    verdict.map_err(|reason| ProofError::Account { account: address, reason })?;
    Ok(if absent { TrieAccount::default() } else { account })
}

/// Checks the value of one storage slot of one account against a state root (EIP-1186) and returns it; a slot that is
/// provably unset is zero.
///
/// # Errors
///
/// If the account or the slot is not the one asked for, or the value does not follow from the state root.
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
        // A cleared slot leaves the trie; anvil leaves a zero there. It means the same.
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
/// If the node does not answer, or its answer does not verify.
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

/// Asks the node for a block and checks that its header hashes to the hash it is given under.
///
/// For `at` a block hash this trusts nobody. For a number or a tag it takes the node's word for which block that is: use
/// it when the node is the user's own, or compare the hash with other nodes'.
///
/// # Errors
///
/// If the node does not answer, does not know the block, or its header does not hash to what it should.
pub async fn fetch_header(provider: &impl Provider, at: BlockId) -> Result<VerifiedHeader, ProofError> {
    let block = provider.get_block(at).await?.ok_or(ProofError::UnknownBlock(at))?;
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

/// `alloy-trie`'s check of one path, with a bound on the input and on the path that the nodes spell.
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
    // The nodes of an honest proof never spell more than a key; alloy-trie panics on more.
    if path > PATH_NIBBLES {
        return Err("the nodes spell a path longer than a key".to_owned());
    }
    verify_proof(root, Nibbles::unpack_array(&key.0), expected, nodes).map_err(|error| error.to_string())
}

/// How many nibbles of a path a node and what is embedded in it can spell at most.
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
