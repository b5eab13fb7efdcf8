//! A node that lies. Every change of an honest answer is refused, for proofs of the embedded chain, of anvil and of
//! Ethereum mainnet.

use alloy::{
    consensus::Header,
    eips::BlockId,
    primitives::{Address, B256, Bytes, U256, address, b256, keccak256, uint},
    providers::Provider,
    rlp,
    rpc::types::{EIP1186AccountProofResponse, Header as RpcHeader},
};
use alloy_trie::{
    Nibbles, TrieMask,
    nodes::{BranchNode, ExtensionNode, LeafNode, RlpNode},
};
use emr_chain::proof::{
    ProofError, fetch_header, verify_account, verify_header, verify_header_json, verify_header_rlp, verify_storage,
};
use emr_testkit::{
    Outcome,
    chain::{Node, Probe, account},
};
use proptest::prelude::*;

const HEADER: &str = include_str!("vectors/mainnet_header.json");
const PROOF: &str = include_str!("vectors/mainnet_proof.json");
/// Block 24,630,100 of mainnet.
const HEADER_HASH: B256 = b256!("6c4c6ea047f0ca4bcb0b0fbbcc2e50061d8dd24ba1ab8a22a6d3583a497c3c82");
const CONTRACT: Address = address!("01d5b501c1fc0121e1411970fb79c322737025c2");

/// Mainnet's answer for the slots 0 (an address) and 2 (not set) of a contract, and its state root.
fn mainnet() -> Outcome<(B256, EIP1186AccountProofResponse)> {
    let proof: EIP1186AccountProofResponse = serde_json::from_str(PROOF)?;
    Ok((keccak256(&proof.account_proof[0]), proof))
}

#[test]
fn accepts_mainnets_proof() -> Outcome {
    let (root, proof) = mainnet()?;
    let account = verify_account(root, CONTRACT, &proof)?;
    assert_eq!((account.nonce, account.balance), (1, U256::ZERO));
    let value = uint!(0xf0e3b9aada6d89ddeb34aab7e9cd1744cf90d82f_U256);
    assert_eq!(verify_storage(root, CONTRACT, U256::ZERO, &proof)?, value);
    assert_eq!(verify_storage(root, CONTRACT, uint!(2_U256), &proof)?, U256::ZERO);
    Ok(())
}

#[test]
fn refuses_lies_about_mainnet() -> Outcome {
    let (root, proof) = mainnet()?;
    refuses_lies(root, CONTRACT, U256::ZERO, uint!(2_U256), &proof)
}

#[tokio::test]
async fn refuses_lies_about_the_embedded_chain() -> Outcome {
    refuses_lies_of(&Node::embedded()?).await
}

#[tokio::test]
async fn refuses_lies_about_anvil() -> Outcome {
    match Node::anvil()? {
        Some(node) => refuses_lies_of(&node).await,
        None => Ok(()),
    }
}

async fn refuses_lies_of(node: &Node) -> Outcome {
    let provider = node.endpoint()?.connect(Some(account(0)?))?;
    let probe = Probe::deploy(&provider, uint!(1_U256)).await?;
    probe.storeMany(uint!(0_U256), uint!(40_U256)).send().await?.get_receipt().await?;
    let set = U256::from_be_bytes(keccak256([U256::ZERO.to_be_bytes::<32>(), [0; 32]].concat()).0);
    let unset = uint!(77_U256);
    let header = fetch_header(&provider, BlockId::latest()).await?;
    let slots = vec![set.into(), unset.into()];
    let proof = provider.get_proof(*probe.address(), slots.clone()).number(header.number()).await?;
    assert_eq!(verify_storage(header.state_root(), *probe.address(), set, &proof)?, U256::ONE);
    refuses_lies(header.state_root(), *probe.address(), set, unset, &proof)?;

    // An old proof is wrong for the newest block: slot 1 counts the stores.
    let count = vec![B256::with_last_byte(1)];
    let old = provider.get_proof(*probe.address(), count.clone()).number(header.number()).await?;
    probe.store(unset, unset).send().await?.get_receipt().await?;
    let now = fetch_header(&provider, BlockId::latest()).await?;
    assert!(verify_storage(now.state_root(), *probe.address(), U256::ONE, &old).is_err());
    let new = provider.get_proof(*probe.address(), count).number(now.number()).await?;
    assert_eq!(verify_storage(now.state_root(), *probe.address(), U256::ONE, &new)?, uint!(2_U256));
    assert!(verify_storage(header.state_root(), *probe.address(), U256::ONE, &new).is_err());
    Ok(())
}

type Lie = Box<dyn Fn(&mut EIP1186AccountProofResponse)>;

/// Checks changes of an honest answer. It proves the slot `set` (entry 0), which is not zero, and the slot `unset`
/// (entry 1).
fn refuses_lies(
    root: B256,
    contract: Address,
    set: U256,
    unset: U256,
    honest: &EIP1186AccountProofResponse,
) -> Outcome {
    let value = verify_storage(root, contract, set, honest)?;
    assert!(!value.is_zero());
    assert_eq!(verify_storage(root, contract, unset, honest)?, U256::ZERO);

    let other = Address::repeat_byte(0x42);
    assert!(matches!(verify_storage(root, other, set, honest), Err(ProofError::WrongAccount { .. })));
    assert!(matches!(verify_storage(root, contract, set ^ uint!(1024_U256), honest), Err(ProofError::MissingSlot(_))));
    assert!(matches!(verify_storage(B256::ZERO, contract, set, honest), Err(ProofError::Account { .. })));

    let about_set: Vec<(&str, Lie)> = vec![
        ("another value", Box::new(|p| p.storage_proof[0].value += U256::ONE)),
        ("zero", Box::new(|p| p.storage_proof[0].value = U256::ZERO)),
        ("zero without nodes", Box::new(|p| (p.storage_proof[0].value, p.storage_proof[0].proof) = Default::default())),
        (
            "the other slot's proof of absence",
            Box::new(|p| {
                p.storage_proof[0].value = U256::ZERO;
                p.storage_proof[0].proof = p.storage_proof[1].proof.clone();
            }),
        ),
        ("the last node missing", Box::new(|p| drop(p.storage_proof[0].proof.pop()))),
        (
            "the last node missing, as absence",
            Box::new(|p| {
                p.storage_proof[0].proof.pop();
                p.storage_proof[0].value = U256::ZERO;
            }),
        ),
        ("the first node missing", Box::new(|p| drop(p.storage_proof[0].proof.remove(0)))),
        (
            "a node twice",
            Box::new(|p| {
                let node = p.storage_proof[0].proof[0].clone();
                p.storage_proof[0].proof.insert(0, node);
            }),
        ),
        ("a node too many", Box::new(|p| p.storage_proof[0].proof.push(Bytes::from_static(&[0x80])))),
        (
            "a hundred nodes",
            Box::new(|p| {
                let node = p.storage_proof[0].proof[0].clone();
                p.storage_proof[0].proof = vec![node; 100];
            }),
        ),
        (
            "the slots' names exchanged",
            Box::new(|p| {
                let (left, right) = (p.storage_proof[0].key, p.storage_proof[1].key);
                (p.storage_proof[0].key, p.storage_proof[1].key) = (right, left);
            }),
        ),
        ("another storage root", Box::new(|p| p.storage_hash = B256::repeat_byte(1))),
        (
            "no storage at all",
            Box::new(|p| {
                p.storage_hash = alloy_trie::EMPTY_ROOT_HASH;
                (p.storage_proof[0].value, p.storage_proof[0].proof) = Default::default();
            }),
        ),
        (
            "no account at all",
            Box::new(|p| {
                (p.nonce, p.balance, p.code_hash) = (0, U256::ZERO, alloy_trie::KECCAK_EMPTY);
                p.storage_hash = alloy_trie::EMPTY_ROOT_HASH;
                (p.storage_proof[0].value, p.storage_proof[0].proof) = Default::default();
            }),
        ),
        (
            "no account, no nodes",
            Box::new(|p| {
                (p.nonce, p.balance, p.code_hash) = (0, U256::ZERO, B256::ZERO);
                p.storage_hash = B256::ZERO;
                p.account_proof.clear();
                (p.storage_proof[0].value, p.storage_proof[0].proof) = Default::default();
            }),
        ),
        ("another balance", Box::new(|p| p.balance += U256::ONE)),
        ("another nonce", Box::new(|p| p.nonce += 1)),
        ("another code", Box::new(|p| p.code_hash = B256::repeat_byte(1))),
        ("an account node missing", Box::new(|p| drop(p.account_proof.pop()))),
        ("account nodes reversed", Box::new(|p| p.account_proof.reverse())),
        ("the storage proof as account proof", Box::new(|p| p.account_proof = p.storage_proof[0].proof.clone())),
    ];
    for (name, lie) in about_set {
        let mut proof = honest.clone();
        lie(&mut proof);
        if proof == *honest {
            continue; // Reversing a single node changes nothing.
        }
        if let Ok(value) = verify_storage(root, contract, set, &proof) {
            return Err(format!("accepted {name}: {value}").into());
        }
    }
    let mut invented = honest.clone();
    invented.storage_proof[1].value = U256::ONE;
    assert!(verify_storage(root, contract, unset, &invented).is_err());

    // Flips bits in every node.
    for at in 0..honest.account_proof.len() {
        for byte in (0..honest.account_proof[at].len()).step_by(7) {
            let mut proof = honest.clone();
            proof.account_proof[at] = flipped(&proof.account_proof[at], byte);
            assert!(verify_account(root, contract, &proof).is_err(), "account node {at}, byte {byte}");
        }
    }
    for at in 0..honest.storage_proof[0].proof.len() {
        for byte in 0..honest.storage_proof[0].proof[at].len() {
            let mut proof = honest.clone();
            proof.storage_proof[0].proof[at] = flipped(&proof.storage_proof[0].proof[at], byte);
            assert!(verify_storage(root, contract, set, &proof).is_err(), "storage node {at}, byte {byte}");
        }
    }
    Ok(())
}

fn flipped(bytes: &Bytes, at: usize) -> Bytes {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1 << (at % 8);
    bytes.into()
}

/// A node that invents a state root can also invent trie nodes. They must be refused without a panic.
#[test]
fn survives_made_up_tries() {
    let contract = Address::repeat_byte(0x42);
    let path = Nibbles::unpack(keccak256(contract));
    let whole_key = LeafNode::new(path, vec![1, 2, 3]);
    let leaf = rlp::encode(&whole_key);
    // A branch or an extension, followed by a leaf with 64 more nibbles.
    let mut mask = TrieMask::default();
    mask.set_bit(path.get_unchecked(0));
    let branch = rlp::encode(BranchNode::new(vec![RlpNode::from_rlp(&leaf)], mask));
    let extension = rlp::encode(ExtensionNode::new(path, RlpNode::from_rlp(&leaf)));
    // Nobody can compute the hash of an extension that links to itself, but an extension embedded in another is
    // possible.
    let inner = rlp::encode(ExtensionNode::new(path.slice(..2), RlpNode::default()));
    let nested = rlp::encode(ExtensionNode::new(path.slice(..63), RlpNode::from_rlp(&inner)));
    for nodes in
        [vec![branch, leaf.clone()], vec![extension, leaf.clone()], vec![nested], vec![vec![0xc1, 0x80]], vec![vec![]]]
    {
        let nodes: Vec<Bytes> = nodes.into_iter().map(Bytes::from).collect();
        let root = keccak256(&nodes[0]);
        let proof =
            EIP1186AccountProofResponse { address: contract, account_proof: nodes, nonce: 1, ..Default::default() };
        assert!(verify_account(root, contract, &proof).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn survives_any_bytes(nodes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..5)) {
        let nodes: Vec<Bytes> = nodes.into_iter().map(Bytes::from).collect();
        let root = nodes.first().map(keccak256).unwrap_or_default();
        let proof = EIP1186AccountProofResponse { account_proof: nodes, nonce: 1, ..Default::default() };
        prop_assert!(verify_account(root, Address::ZERO, &proof).is_err());
    }

    #[test]
    fn survives_any_header(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        prop_assert!(verify_header_rlp(&bytes, HEADER_HASH).is_err());
    }
}

#[test]
fn headers_must_have_the_requested_hash() -> Outcome {
    let header = verify_header_json(HEADER, HEADER_HASH)?;
    assert_eq!(header.hash(), HEADER_HASH);
    assert_eq!(header.number(), 24_630_100);
    assert_eq!(header.timestamp(), 0x69b0_9d6b);
    assert_eq!(header.state_root(), b256!("41ebb402f36d0ce15799e98d1aca83bbb5d4b08d1b6572e73b388e4ece192916"));
    assert_eq!(header.parent_hash(), b256!("63ce16602b2afe4089fa8e0a2c16be1a2dea1c4d30b65bd717d9398ddd5fba23"));

    let whole: RpcHeader = serde_json::from_str(HEADER)?;
    let bytes = rlp::encode(&whole.inner);
    assert_eq!(verify_header_rlp(&bytes, HEADER_HASH)?, header);
    for at in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[at] ^= 1 << (at % 8);
        assert!(verify_header_rlp(&altered, HEADER_HASH).is_err(), "byte {at}");
    }
    assert!(matches!(
        verify_header_rlp(&[&bytes[..], &[0]].concat(), HEADER_HASH),
        Err(ProofError::MalformedHeader(_))
    ));
    assert!(matches!(verify_header_rlp(&[0; 10_000], HEADER_HASH), Err(ProofError::MalformedHeader(_))));

    // The hash that the answer claims is ignored.
    let mut lie: serde_json::Value = serde_json::from_str(HEADER)?;
    lie["stateRoot"] = serde_json::json!(B256::repeat_byte(1));
    assert!(matches!(verify_header_json(&lie.to_string(), HEADER_HASH), Err(ProofError::HeaderHash { .. })));
    let mut shorter: Header = whole.inner;
    shorter.requests_hash = None;
    assert!(verify_header(&shorter, HEADER_HASH).is_err());
    Ok(())
}
