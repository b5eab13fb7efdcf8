//! What a disclosure of some fields of a large record takes: its bytes by part, and the time to make and to check it. The peer is the check of a
//! whole record's commitment, which somebody without disclosures has to do, and for which they must get all fields.
//!
//! `cargo run --release --package benches --bin disclose`

#[path = "../light/l1.rs"]
mod l1;

use std::{collections::BTreeSet, error::Error, time::Instant};

use alloy::{
    primitives::{Address, B256, U256},
    rlp,
};
use clap::Parser;
use emr_api::{
    RecordProof,
    encryption::{self, CommittedKey},
};
use emr_chain::{DeploymentRecord, Officers, RollupInstance, STATE_ROOT_SLOT, SizeRecord};
use emr_client::verify::disclosed::{Evidence, ProvedDisclosure, verify};
use emr_core::{
    AccountEpoch, AccountIndex, AccountStatus, Authorship, Class, Commitment, KemHash, Key, Quantity, Record,
    RecordSlot, RecordStatus, Revision, Role, SaltSeed, Value, Version,
};
use emr_crypto::{RsaBits, RsaSecret, SigningContext};
use emr_rollup::{
    layout::{ACCOUNT_DEPTH, RECORD_DEPTH},
    operation::Domain,
    primitive::{
        eddsa::SigningKey,
        field::{self, Fr},
    },
    state::{
        StateTrees,
        leaf::{IdentityLeaf, LeafHash, MedicalLeaf, RecordLeaf},
        state_root,
        tree::{Path, SparseMerkleTree},
    },
    version::{CircuitSizes, CircuitVersion},
};
use l1::Answers;
use serde::Serialize;

/// Measure a disclosure of some fields of a record
#[derive(Debug, Parser)]
struct Arguments {
    /// Fields of the record
    #[arg(long, default_value = "5000")]
    fields: usize,
    /// Fields that are disclosed, as far from each other as possible
    #[arg(long, default_value = "10")]
    disclosed: usize,
    /// Full branches above the contract's account, as in the bin `light`
    #[arg(long, default_value = "8")]
    account_levels: usize,
    /// Full branches above a slot of the contract
    #[arg(long, default_value = "6")]
    storage_levels: usize,
    /// Accounts in the state; the trees are full up to them
    #[arg(long, default_value = "1000000")]
    accounts: u32,
    /// Records of the patient
    #[arg(long, default_value = "4096")]
    records: u32,
    /// How many checks are timed
    #[arg(long, default_value = "201")]
    rounds: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Figures {
    fields: usize,
    disclosed: usize,
    /// The disclosed fields with their salts, and the nodes of the commitment.
    fields_bytes: usize,
    nodes_bytes: usize,
    /// Authorship, signature and key.
    author_bytes: usize,
    header_bytes: usize,
    /// The contract's account and two slots.
    l1_bytes: usize,
    /// Everything else: leaves and paths of the state, the deployment, names.
    state_bytes: usize,
    total_bytes: usize,
    whole_record_bytes: usize,
    make_milliseconds: f64,
    check_milliseconds: f64,
    whole_commitment_milliseconds: f64,
}

impl Figures {
    fn print(&self) {
        println!("{} of {} fields\n\n{:<44} {:>8}", self.disclosed, self.fields, "part", "bytes");
        for (name, bytes) in [
            ("the fields and their salts", self.fields_bytes),
            ("nodes of the commitment", self.nodes_bytes),
            ("authorship, signature, author's key", self.author_bytes),
            ("leaves and paths of the state, deployment", self.state_bytes),
            ("the contract's account and two slots on L1", self.l1_bytes),
            ("block header", self.header_bytes),
            ("all", self.total_bytes),
            ("(the whole record)", self.whole_record_bytes),
        ] {
            println!("{name:<44} {bytes:>8}");
        }
        let Self { make_milliseconds, check_milliseconds, whole_commitment_milliseconds, .. } = self;
        println!(
            "\nto make: {make_milliseconds:.3} ms; to check: {check_milliseconds:.3} ms; the whole commitment: {whole_commitment_milliseconds:.3} ms"
        );
    }
}

/// A record of laboratory values.
fn record(fields: usize) -> Result<Record, Box<dyn Error>> {
    let mut record = Record::new();
    for number in 0..fields {
        let key: Key = format!("Bundle.entry.{number}.resource.valueQuantity").parse()?;
        let value = Quantity {
            value: format!("{}.{}", number % 300, number % 10).parse()?,
            unit: Some("mmol/L".to_owned()),
            system: Some("http://unitsofmeasure.org".to_owned()),
            code: Some("mmol/L".to_owned()),
        };
        record.insert(key, Value::Quantity(value))?;
    }
    Ok(record)
}

/// The path of a leaf in a tree whose first `full` positions are taken: siblings beyond them are empty.
fn path(depth: usize, position: u32, full: u32) -> Path {
    let empty = SparseMerkleTree::new(depth).path(position);
    let levels = empty.siblings().enumerate().map(|(height, siblings)| {
        let below = 2 * height as u32;
        let parent = position >> (below + 2) << 2;
        let turn = position >> below & 3;
        let mut at = 0;
        siblings.map(|sibling| {
            let child = if at < turn { at } else { at + 1 };
            at += 1;
            let first = u64::from(parent + child) << below;
            if first < u64::from(full) { Fr::from(1000 + u64::from(below + child)) } else { sibling }
        })
    });
    Path::new(levels)
}

fn deployment() -> DeploymentRecord {
    let size = |size: &CircuitVersion| SizeRecord {
        key: B256::repeat_byte(size.k as u8),
        max_l1: size.max_l1 as u64,
        max_l2: size.max_l2 as u64,
    };
    DeploymentRecord {
        factory: Address::repeat_byte(1),
        salt: B256::ZERO,
        sizes: CircuitSizes::v1().iter().map(size).collect(),
        circuit_version: 1,
        genesis: StateTrees::genesis(CircuitVersion::V1).root(),
        sequencer: Address::repeat_byte(2),
        officers: Officers::registrar(Address::repeat_byte(3)),
        registration_fee: U256::ZERO,
    }
}

/// A record by a doctor with a key of 3072 bits, in the state of a contract on a chain as large as Ethereum.
fn evidence(arguments: &Arguments, commitment: &Commitment<'_>) -> Result<Evidence, Box<dyn Error>> {
    let deployment = deployment();
    let contract = deployment.contract().ok_or("no address")?;
    let instance = RollupInstance { chain_id: 1, contract };
    let domain = Domain::new(instance.chain_id, contract.into_array());
    let (patient, author) = (AccountIndex::new(700_001)?, AccountIndex::new(12)?);
    let slot = RecordSlot::new(3000)?;
    let secret = RsaSecret::generate(RsaBits::new(3072)?);
    let key = CommittedKey { rsa: secret.public(), kem: KemHash::NONE, salt: None };
    let authorship = Authorship {
        domain: field::to_bytes(&domain.element()),
        patient,
        slot,
        version: Version::new(1)?,
        class: Class::Laboratory,
        commitment: commitment.root(),
        previous: None,
    };
    let identity = IdentityLeaf {
        role: Role::Doctor,
        status: AccountStatus::Active,
        org: Some(AccountIndex::new(1)?),
        epoch: AccountEpoch::FIRST,
        key: SigningKey::from_seed(&[7; 32]).public(),
        encryption: encryption::element(&key),
    };
    let leaf = RecordLeaf {
        status: RecordStatus::Live,
        class: Class::Laboratory,
        author,
        custodian: Some(AccountIndex::new(1)?),
        version: Version::new(1)?,
        revision: Revision::new(1)?,
        authored: field::from_opaque(authorship.authored().as_bytes()),
        stored: Fr::from(9),
    };
    let under = |depth, position: u64, full, leaf: LeafHash| {
        let path = path(depth, position as u32, full);
        (path.root(position as u32, leaf), path)
    };
    let (records_root, record_path) = under(RECORD_DEPTH, slot.get(), arguments.records, leaf.hash());
    let medical = MedicalLeaf { records_root, ..MedicalLeaf::registered() };
    let (medical_root, medical_path) = under(ACCOUNT_DEPTH, patient.get(), arguments.accounts, medical.hash());
    let (identity_root, author_path) = under(ACCOUNT_DEPTH, author.get(), arguments.accounts, identity.hash());
    let root = state_root(identity_root, medical_root);
    let slots = [(STATE_ROOT_SLOT, U256::from_be_bytes(*root.as_bytes())), (U256::from(3), U256::from(1) << 64)];
    let l1 = Answers::of(contract, &slots, arguments.account_levels, arguments.storage_levels);
    let signed = authorship.to_dag_cbor();
    Ok(Evidence {
        instance,
        deployment,
        block: l1.header.hash_slow(),
        header: rlp::encode(&l1.header),
        storage: l1.proof,
        proof: RecordProof { batch: 0, record_path, medical, medical_path, author_path, identity_root, medical_root },
        leaf,
        author: identity,
        key,
        signature: secret.sign_pss(SigningContext::AUTHORSHIP, &signed),
        authorship: signed,
    })
}

fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let record = record(arguments.fields)?;
    let seed = SaltSeed::new([5; 32]);
    let commitment = Commitment::of(&record, &seed);
    let evidence = evidence(&arguments, &commitment)?;
    let step = (arguments.fields / arguments.disclosed.max(1)).max(1);
    let keys: BTreeSet<&Key> = record.fields().keys().step_by(step).take(arguments.disclosed).collect();

    let (mut made, mut checked, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    let mut bytes = Vec::new();
    for _ in 0..arguments.rounds.max(1) {
        let started = Instant::now();
        let disclosure = Commitment::of(&record, &seed).disclose(keys.iter().copied())?;
        bytes = ProvedDisclosure { evidence: evidence.clone(), disclosure }.to_bytes();
        made.push(started.elapsed().as_secs_f64() * 1e3);
        let started = Instant::now();
        let shown = verify(&bytes, None)?;
        checked.push(started.elapsed().as_secs_f64() * 1e3);
        if shown.fields().len() != keys.len() {
            return Err("not all fields are shown".into());
        }
        let started = Instant::now();
        if Commitment::of(&record, &seed).root() != commitment.root() {
            return Err("the commitment changed".into());
        }
        whole.push(started.elapsed().as_secs_f64() * 1e3);
    }

    let disclosure = commitment.disclose(keys.iter().copied())?;
    let nodes_bytes = disclosure.proof.len() * 32;
    let fields_bytes = disclosure.to_dag_cbor().len() - nodes_bytes;
    let author_bytes = evidence.authorship.len() + evidence.signature.len() + evidence.key.rsa.to_der().len();
    let (account, slots) = (&evidence.storage.account_proof, &evidence.storage.storage_proof);
    let unique: BTreeSet<_> = slots.iter().flat_map(|slot| &slot.proof).chain(account).collect();
    // Every node but the last of a path is written without the hash of the next one.
    let hashes = unique.len() - slots.len() - 1;
    let l1_bytes = unique.into_iter().map(|node| node.len()).sum::<usize>() - 32 * hashes;
    let header_bytes = evidence.header.len();
    let others = fields_bytes + nodes_bytes + author_bytes + l1_bytes + header_bytes;
    let figures = Figures {
        fields: arguments.fields,
        disclosed: keys.len(),
        fields_bytes,
        nodes_bytes,
        author_bytes,
        header_bytes,
        l1_bytes,
        state_bytes: bytes.len() - others,
        total_bytes: bytes.len(),
        whole_record_bytes: record.to_dag_cbor()?.len(),
        make_milliseconds: median(made),
        check_milliseconds: median(checked),
        whole_commitment_milliseconds: median(whole),
    };
    if arguments.json {
        println!("{}", serde_json::to_string(&figures)?);
    } else {
        figures.print();
    }
    Ok(())
}
