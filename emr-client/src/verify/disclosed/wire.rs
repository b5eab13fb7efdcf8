//! The bytes of a disclosure: canonical DAG-CBOR (`docs/disclosure.md`).

use alloy::{
    primitives::{Address, B256, Bytes, U256, keccak256},
    rpc::types::{EIP1186AccountProofResponse, EIP1186StorageProof},
    serde::JsonStorageKey,
};
use emr_api::RecordProof;
use emr_chain::{DeploymentRecord, Officers, RollupInstance, Size, SizeRecord};
use emr_core::{
    AccountIndex, Class, Disclosure, KemHash, RecordStatus, Revision, Version,
    codec::{CodecError, decode, encode},
};
use emr_crypto::{CommittedKey, RsaPublic};
use emr_rollup::{
    layout::{ACCOUNT_DEPTH, RECORD_DEPTH},
    primitive::field::{self, Fr},
    state::{
        StateTrees,
        leaf::{IdentityLeaf, MedicalLeaf, RecordLeaf, index_or_zero},
        tree::{ARITY, LEVEL_BITS, Path, empty_root, levels},
    },
    statement::IdentityFields,
    version::CircuitVersion,
};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use super::{DisclosedError, Evidence, MAX_BYTES, ProvedDisclosure};
use crate::verify::{membership::identity_leaf, settled_state::ProvedRoot};

const TYPE: &str = "emr/disclosed-record/v2";
/// Siblings on a level of a path.
const SIBLINGS: usize = ARITY - 1;
/// The most sizes of a contract, and the most people of an office. Contracts have fewer.
const MAX_SIZES: usize = 255;
const MAX_OFFICERS: usize = 1024;
/// The most nodes of a path in L1's tries: one for each nibble of a hash, and a leaf. The most bytes of a node: the largest, a branch, has 532.
const MAX_NODES: usize = 65;
const MAX_NODE_BYTES: usize = 1024;
/// Bytes of a hash.
const HASH: usize = 32;

type Word = ByteArray<32>;
type AddressBytes = ByteArray<20>;

/// A path: which siblings are given (bit `3 * level + sibling`, from the leaf up), and these, 32 bytes each. The others are roots of empty trees.
#[derive(Serialize, Deserialize)]
struct PathBytes(u64, ByteBuf);

/// A node of a path in L1's tries: where the hash of the path's next node belongs in it, and the node without that hash. Null and the whole node if
/// it does not hold it, as the last one.
#[derive(Serialize, Deserialize)]
struct NodeBytes(Option<u16>, ByteBuf);

/// A slot's value, how many nodes of its path are the first nodes of the first slot's path, and the others.
#[derive(Serialize, Deserialize)]
struct SlotBytes(Word, u8, Vec<NodeBytes>);

#[derive(Serialize, Deserialize)]
struct SizeBytes(Word, u64, u64);

/// Factory, salt, sizes, circuit version, sequencer, registrars, guardians, threshold, forfeit, fee. The state in the beginning is the empty one.
#[derive(Serialize, Deserialize)]
struct DeploymentBytes(
    AddressBytes,
    Word,
    Vec<SizeBytes>,
    u64,
    AddressBytes,
    Vec<AddressBytes>,
    Vec<AddressBytes>,
    u16,
    Word,
    Word,
);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    r#type: String,
    chain: u64,
    contract: AddressBytes,
    deployment: DeploymentBytes,
    /// Hash and header.
    block: (Word, ByteBuf),
    /// Nonce, balance, code hash, storage root, nodes.
    account: (u64, Word, Word, Word, Vec<NodeBytes>),
    slots: Vec<SlotBytes>,
    /// Identity root and medical root.
    roots: (Word, Word),
    /// Grants root, records root, audit head, key directory.
    medical: (Word, Word, Word, Word),
    medical_path: PathBytes,
    /// Status, class, author, custodian, version, revision, authored, stored.
    record: (u8, u8, AccountIndex, Option<AccountIndex>, Version, Revision, Word, Word),
    record_path: PathBytes,
    /// Role, status, organisation or 0, epoch, key x, key y, encryption.
    author: (u64, u64, u64, u64, Word, Word, Word),
    author_path: PathBytes,
    author_key: ByteBuf,
    author_kem: KemHash,
    author_salt: Option<Word>,
    authorship: ByteBuf,
    signature: ByteBuf,
    disclosure: ByteBuf,
}

fn malformed(what: &str) -> DisclosedError {
    DisclosedError::Malformed(what.to_owned())
}

fn word(bytes: impl Into<[u8; 32]>) -> Word {
    Word::new(bytes.into())
}

fn of_element(element: &Fr) -> Word {
    Word::new(field::to_bytes(element))
}

fn element(word: &Word) -> Result<Fr, DisclosedError> {
    field::from_bytes(word).map_err(|_| malformed("a number is not below the field's modulus"))
}

fn number(word: &Word) -> U256 {
    U256::from_be_bytes(**word)
}

fn of_number(number: U256) -> Word {
    Word::new(number.to_be_bytes())
}

fn address(bytes: &AddressBytes) -> Address {
    Address::from(**bytes)
}

fn of_address(address: &Address) -> AddressBytes {
    AddressBytes::new(address.into_array())
}

/// The nodes of a path.
fn nodes(bytes: Vec<NodeBytes>) -> Result<Vec<Bytes>, DisclosedError> {
    if bytes.len() > MAX_NODES || bytes.iter().any(|NodeBytes(_, node)| node.len() > MAX_NODE_BYTES) {
        return Err(malformed("a path of L1 is larger than any"));
    }
    let mut nodes: Vec<Bytes> = Vec::new();
    for NodeBytes(at, node) in bytes.into_iter().rev() {
        let node = match at {
            None => node.into_vec(),
            Some(at) => {
                let (before, after) = node
                    .split_at_checked(usize::from(at))
                    .ok_or_else(|| malformed("a node is shorter than it says"))?;
                let next = nodes.last().ok_or_else(|| malformed("the last node of a path leads to another one"))?;
                [before, &keccak256(next)[..], after].concat()
            }
        };
        nodes.push(Bytes::from(node));
    }
    nodes.reverse();
    Ok(nodes)
}

fn of_nodes(nodes: &[Bytes]) -> Vec<NodeBytes> {
    let next = nodes.iter().skip(1).map(|node| Some(keccak256(node))).chain([None]);
    let node = |(node, next): (&Bytes, Option<B256>)| {
        let found = next.and_then(|next| node.windows(HASH).position(|window| window == next.as_slice()));
        match found.and_then(|at| Some((at, u16::try_from(at).ok()?))) {
            Some((at, written)) => NodeBytes(Some(written), ByteBuf::from([&node[..at], &node[at + HASH..]].concat())),
            None => NodeBytes(None, ByteBuf::from(node.to_vec())),
        }
    };
    nodes.iter().zip(next).map(node).collect()
}

/// The siblings of a path one by one, from the leaf up, each with the root of an empty tree of the same height.
fn with_empty(path: &Path) -> impl Iterator<Item = (Fr, Fr)> {
    path.siblings()
        .enumerate()
        .flat_map(|(height, level)| level.map(|sibling| (sibling, empty_root(LEVEL_BITS * height))))
}

impl PathBytes {
    fn of(path: &Path) -> Self {
        let (mut given, mut bytes) = (0, Vec::new());
        for (at, (sibling, empty)) in with_empty(path).enumerate() {
            if sibling != empty {
                given |= 1 << at;
                bytes.extend_from_slice(&field::to_bytes(&sibling));
            }
        }
        Self(given, ByteBuf::from(bytes))
    }

    fn path(&self, depth: usize) -> Result<Path, DisclosedError> {
        let Self(given, bytes) = self;
        let (words, rest) = bytes.as_chunks::<32>();
        let levels = levels(depth);
        if given >> (SIBLINGS * levels) != 0 || given.count_ones() as usize != words.len() || !rest.is_empty() {
            return Err(malformed("a path has another length than it says"));
        }
        let mut words = words.iter();
        let mut path = vec![[Fr::zero(); SIBLINGS]; levels];
        for (height, level) in path.iter_mut().enumerate() {
            for (at, sibling) in level.iter_mut().enumerate() {
                *sibling = match given >> (SIBLINGS * height + at) & 1 {
                    0 => empty_root(LEVEL_BITS * height),
                    _ => element(&Word::new(*words.next().ok_or_else(|| malformed("a path is too short"))?))?,
                };
            }
        }
        Ok(Path::new(path))
    }
}

impl DeploymentBytes {
    fn of(record: &DeploymentRecord) -> Self {
        let sizes = record.sizes.iter().map(|size| SizeBytes(word(size.key), size.max_l1, size.max_l2));
        let Officers { registrars, guardians, threshold, forfeit } = &record.officers;
        Self(
            of_address(&record.factory),
            word(record.salt),
            sizes.collect(),
            record.circuit_version,
            of_address(&record.sequencer),
            registrars.iter().map(of_address).collect(),
            guardians.iter().map(of_address).collect(),
            *threshold,
            of_number(*forfeit),
            of_number(record.registration_fee),
        )
    }

    /// The record. Its state in the beginning is the empty one: no other is relied on.
    fn record(&self) -> Result<DeploymentRecord, DisclosedError> {
        let Self(factory, salt, sizes, circuit_version, sequencer, registrars, guardians, threshold, forfeit, fee) =
            self;
        if sizes.len() > MAX_SIZES || registrars.len() > MAX_OFFICERS || guardians.len() > MAX_OFFICERS {
            return Err(malformed("its deployment is larger than any"));
        }
        let size = |SizeBytes(key, max_l1, max_l2): &SizeBytes| SizeRecord {
            key: B256::from(**key),
            max_l1: *max_l1,
            max_l2: *max_l2,
        };
        Ok(DeploymentRecord {
            factory: address(factory),
            salt: B256::from(**salt),
            sizes: sizes.iter().map(size).collect(),
            circuit_version: *circuit_version,
            genesis: StateTrees::genesis(CircuitVersion::V1).root(),
            sequencer: address(sequencer),
            officers: Officers {
                registrars: registrars.iter().map(address).collect(),
                guardians: guardians.iter().map(address).collect(),
                threshold: *threshold,
                forfeit: number(forfeit),
            },
            registration_fee: number(fee),
        })
    }
}

/// The slot at a position of the list.
fn slot(position: usize) -> Option<U256> {
    match ProvedRoot::SLOTS.get(position) {
        Some(slot) => Some(*slot),
        None => u8::try_from(position - ProvedRoot::SLOTS.len()).ok().map(Size::slot),
    }
}

/// The slots with their values and paths. Nodes that a path shares with the first slot's are written once.
fn slots_of(proofs: &[EIP1186StorageProof]) -> Vec<SlotBytes> {
    let mut first: Option<&[Bytes]> = None;
    let slot = |entry: &'_ EIP1186StorageProof, first: &[Bytes]| {
        let shared = entry.proof.iter().zip(first).take_while(|(one, other)| one == other).count();
        // Paths have at most 65 nodes. A longer one is not accepted in the end.
        let shared = u8::try_from(shared).unwrap_or(u8::MAX);
        SlotBytes(of_number(entry.value), shared, of_nodes(&entry.proof[usize::from(shared)..]))
    };
    let mut slots = Vec::new();
    for entry in proofs {
        slots.push(slot(entry, first.unwrap_or_default()));
        first.get_or_insert(&entry.proof);
    }
    slots
}

fn slots(bytes: Vec<SlotBytes>) -> Result<Vec<EIP1186StorageProof>, DisclosedError> {
    let mut proofs: Vec<EIP1186StorageProof> = Vec::new();
    for (position, SlotBytes(value, shared, own)) in bytes.into_iter().enumerate() {
        let first = proofs.first().map(|first| first.proof.as_slice()).unwrap_or_default();
        let shared =
            first.get(..usize::from(shared)).ok_or_else(|| malformed("a path shares more nodes than there are"))?;
        let proof = [shared, &nodes(own)?].concat();
        let slot = slot(position).ok_or_else(|| malformed("more slots than a contract has"))?;
        proofs.push(EIP1186StorageProof { key: JsonStorageKey::Hash(B256::from(slot)), value: number(&value), proof });
    }
    Ok(proofs)
}

fn record_leaf(wire: &Wire) -> Result<RecordLeaf, DisclosedError> {
    let (status, class, author, custodian, version, revision, authored, stored) = &wire.record;
    Ok(RecordLeaf {
        status: RecordStatus::from_code(*status).ok_or_else(|| malformed("a record of no status"))?,
        class: Class::from_code(*class).ok_or_else(|| malformed("a record of no class"))?,
        author: *author,
        custodian: *custodian,
        version: *version,
        revision: *revision,
        authored: element(authored)?,
        stored: element(stored)?,
    })
}

fn author(wire: &Wire) -> Result<IdentityLeaf, DisclosedError> {
    let (role, status, org, epoch, key_x, key_y, encryption) = &wire.author;
    let fields = IdentityFields {
        role: Fr::from(*role),
        status: Fr::from(*status),
        org: Fr::from(*org),
        epoch: Fr::from(*epoch),
        key_x: element(key_x)?,
        key_y: element(key_y)?,
        encryption: element(encryption)?,
    };
    identity_leaf(&fields).map_err(|_| malformed("an identity that no registration gives"))
}

fn proof(wire: &Wire) -> Result<RecordProof, DisclosedError> {
    let (grants_root, records_root, audit_head, key_directory) = &wire.medical;
    let (identity_root, medical_root) = &wire.roots;
    Ok(RecordProof {
        batch: 0,
        record_path: wire.record_path.path(RECORD_DEPTH)?,
        medical: MedicalLeaf {
            grants_root: element(grants_root)?,
            records_root: element(records_root)?,
            audit_head: element(audit_head)?,
            key_directory: element(key_directory)?.into(),
        },
        medical_path: wire.medical_path.path(ACCOUNT_DEPTH)?,
        author_path: wire.author_path.path(ACCOUNT_DEPTH)?,
        identity_root: element(identity_root)?,
        medical_root: element(medical_root)?,
    })
}

impl Wire {
    fn of(disclosed: &ProvedDisclosure) -> Self {
        let Evidence { instance, deployment, block, header, storage, proof, leaf, author, key, authorship, signature } =
            &disclosed.evidence;
        let medical = &proof.medical;
        Self {
            r#type: TYPE.to_owned(),
            chain: instance.chain_id,
            contract: of_address(&instance.contract),
            deployment: DeploymentBytes::of(deployment),
            block: (word(*block), ByteBuf::from(header.clone())),
            account: (
                storage.nonce,
                of_number(storage.balance),
                word(storage.code_hash),
                word(storage.storage_hash),
                of_nodes(&storage.account_proof),
            ),
            slots: slots_of(&storage.storage_proof),
            roots: (of_element(&proof.identity_root), of_element(&proof.medical_root)),
            medical: (
                of_element(&medical.grants_root),
                of_element(&medical.records_root),
                of_element(&medical.audit_head),
                of_element(&medical.key_directory.element()),
            ),
            medical_path: PathBytes::of(&proof.medical_path),
            record: (
                leaf.status.code(),
                leaf.class.code(),
                leaf.author,
                leaf.custodian,
                leaf.version,
                leaf.revision,
                of_element(&leaf.authored),
                of_element(&leaf.stored),
            ),
            record_path: PathBytes::of(&proof.record_path),
            author: (
                u64::from(author.role.code()),
                u64::from(author.status.code()),
                index_or_zero(author.org),
                author.epoch.get(),
                of_element(&author.key.x()),
                of_element(&author.key.y()),
                of_element(&author.encryption),
            ),
            author_path: PathBytes::of(&proof.author_path),
            author_key: ByteBuf::from(key.rsa.to_der()),
            author_kem: key.kem,
            author_salt: key.salt.map(word),
            authorship: ByteBuf::from(authorship.clone()),
            signature: ByteBuf::from(signature.clone()),
            disclosure: ByteBuf::from(disclosed.disclosure.to_dag_cbor()),
        }
    }

    fn disclosed(self) -> Result<ProvedDisclosure, DisclosedError> {
        let (leaf, author, proof) = (record_leaf(&self)?, author(&self)?, proof(&self)?);
        let contract = address(&self.contract);
        let (nonce, balance, code_hash, storage_hash, account) = self.account;
        let storage = EIP1186AccountProofResponse {
            address: contract,
            balance: number(&balance),
            code_hash: B256::from(*code_hash),
            nonce,
            storage_hash: B256::from(*storage_hash),
            account_proof: nodes(account)?,
            storage_proof: slots(self.slots)?,
        };
        let rsa = RsaPublic::from_der(&self.author_key).map_err(|_| malformed("its author's key is no RSA key"))?;
        let evidence = Evidence {
            instance: RollupInstance { chain_id: self.chain, contract },
            deployment: self.deployment.record()?,
            block: B256::from(*self.block.0),
            header: self.block.1.into_vec(),
            storage,
            proof,
            leaf,
            author,
            key: CommittedKey { rsa, kem: self.author_kem, salt: self.author_salt.map(ByteArray::into_array) },
            authorship: self.authorship.into_vec(),
            signature: self.signature.into_vec(),
        };
        let disclosure = Disclosure::from_dag_cbor(&self.disclosure).map_err(|_| malformed("its fields"))?;
        Ok(ProvedDisclosure { evidence, disclosure })
    }
}

impl ProvedDisclosure {
    /// The bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(&Wire::of(self))
    }

    /// Reads a file. It is checked by [`Self::verify`].
    ///
    /// # Errors
    /// [`DisclosedError::TooLarge`] for more than [`MAX_BYTES`], and [`DisclosedError::Malformed`] if the bytes are not a file in its canonical form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DisclosedError> {
        let wire: Wire = decode("a disclosure", MAX_BYTES, bytes).map_err(|error| match error {
            CodecError::TooLarge { len, .. } => DisclosedError::TooLarge(len),
            CodecError::Malformed { detail, .. } => DisclosedError::Malformed(detail),
            _ => malformed("not in its canonical form"),
        })?;
        if wire.r#type != TYPE {
            return Err(malformed("of another type or version"));
        }
        let disclosed = wire.disclosed()?;
        // The parts have one form each, for example without a sibling that an empty tree has anyway.
        if disclosed.to_bytes() == bytes { Ok(disclosed) } else { Err(malformed("not in its canonical form")) }
    }
}
