//! What a disclosure shows holds, and nothing in its bytes can be changed.

use std::sync::LazyLock;

use alloy::{
    primitives::{Address, B256, U256, keccak256},
    rlp,
};
use emr_api::encryption::CommittedKey;
use emr_chain::{RollupInstance, STATE_ROOT_SLOT, Size, SizesDigest, VerifierCode};
use emr_client::verify::{
    card::{Card, CardError},
    deployment::DeploymentError,
    disclosed::{CardOf, CheckedDisclosure, DisclosedError, Evidence, MAX_BYTES, ProvedDisclosure, verify},
    membership::identity_leaf,
};
use emr_core::{
    AccountStatus, Class, Commitment, KemHash, Key, Record, RecordStatus, Revision, Role, SaltSeed, Value, Version,
};
use emr_crypto::SigningContext;
use emr_rollup::{primitive::field::Fr, state::tree::Path};

use crate::fixtures::*;

/// The slot with revision, circuit version and number of the sizes.
const SIZES: U256 = U256::from_limbs([3, 0, 0, 0]);

fn key(text: &str) -> Key {
    text.parse().expect("a key")
}

/// A record with five fields.
fn observation() -> Record {
    let mut record = Record::new();
    for (key, value) in [
        ("Observation.code.text", "potassium"),
        ("Observation.note.0.text", "a secret note"),
        ("Observation.resourceType", "Observation"),
        ("Observation.status", "final"),
        ("Observation.valueString", "4.1"),
    ] {
        record.insert(self::key(key), Value::Text(value.to_owned())).expect("room");
    }
    record
}

const SHOWN: [&str; 2] = ["Observation.code.text", "Observation.valueString"];

/// A word of the contract's storage: how often the sizes changed, the circuit version, and how many sizes there are.
fn sizes_word(revision: u64, version: u64, count: u64) -> U256 {
    U256::from(revision) | U256::from(version) << 64 | U256::from(count) << 128
}

/// What the patient discloses of a record in this world.
fn disclosed(world: &World, number: u64, shown: &[&str], sizes: &[(U256, U256)]) -> ProvedDisclosure {
    let view = world.record_view(number);
    let authored = world.open(&view).authored;
    let record = Record::from_dag_cbor(&authored.record).expect("a record");
    let keys: Vec<Key> = shown.iter().map(|shown| key(shown)).collect();
    let disclosure = Commitment::of(&record, &SaltSeed::new(authored.commitment_seed)).disclose(&keys);
    let root = U256::from_be_bytes(*world.ledger.trees().root().as_bytes());
    let (header, storage) = l1(instance().contract, &[&[(STATE_ROOT_SLOT, root)][..], sizes].concat());
    let evidence = Evidence {
        instance: instance(),
        deployment: deployment(),
        block: header.hash_slow(),
        header: rlp::encode(&header),
        storage,
        proof: emr_api::RecordProof { batch: 0, ..view.proof.expect("settled") },
        leaf: view.leaf,
        author: identity_leaf(&view.author).expect("an identity"),
        key: authored.author_key.clone(),
        authorship: authored.authorship.clone(),
        signature: authored.signature.clone(),
    };
    ProvedDisclosure { evidence, disclosure: disclosure.expect("fields of the record") }
}

/// The world with the record in slot 3, by the doctor.
static WORLD: LazyLock<World> = LazyLock::new(|| {
    let mut world = LIVED.clone();
    let version = world.author_record(DOCTOR, 3, Class::Laboratory, &observation(), |_| {});
    world.write(DOCTOR, 3, &version);
    world
});

static HONEST: LazyLock<ProvedDisclosure> =
    LazyLock::new(|| disclosed(&WORLD, 3, &SHOWN, &[(SIZES, sizes_word(0, 1, 3))]));

/// The error after a change to an honest disclosure, which goes through its bytes.
fn after(change: impl FnOnce(&mut ProvedDisclosure)) -> DisclosedError {
    let mut disclosed = HONEST.clone();
    change(&mut disclosed);
    verify(&disclosed.to_bytes(), None).expect_err("accepted")
}

fn checked() -> CheckedDisclosure {
    verify(&HONEST.to_bytes(), None).expect("holds")
}

#[test]
fn a_disclosure_shows_fields_author_record_and_block() -> TestResult {
    let bytes = HONEST.to_bytes();
    assert_eq!(ProvedDisclosure::from_bytes(&bytes)?, *HONEST);
    let checked = verify(&bytes, None)?;
    let fields: Vec<_> = checked.fields().iter().map(|(key, value)| (key.as_str(), value.to_string())).collect();
    assert_eq!(fields, [(SHOWN[0], "potassium".to_owned()), (SHOWN[1], "4.1".to_owned())]);
    assert_eq!((checked.count(), checked.hidden()), (5, 3));
    let authorship = checked.authorship();
    assert_eq!((authorship.patient, authorship.slot, authorship.version.get()), (account(PATIENT), slot(3), 1));
    assert_eq!(authorship.class, Class::Laboratory);
    assert_eq!((checked.author(), checked.identity().role), (account(DOCTOR), Role::Doctor));
    assert_eq!(checked.author_key(), &WORLD.identities[DOCTOR].rsa().public());
    assert_eq!((*checked.instance(), checked.header().number()), (instance(), 57));
    assert_eq!(checked.header().hash(), keccak256(&HONEST.evidence.header));
    assert_eq!(checked.time(), Some(time(NOW)));
    assert!(checked.is_development_chain());
    // The bytes hold nothing of the other fields.
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("potassium") && !holds("secret") && !holds("final") && !holds("note"));
    Ok(())
}

/// A patient's own record: the key is compared with a salted commitment.
#[test]
fn a_record_that_the_patient_wrote_is_disclosed_too() -> TestResult {
    let disclosed = disclosed(&WORLD, 1, &["Observation.note.0.text"], &[(SIZES, sizes_word(0, 1, 3))]);
    let checked = verify(&disclosed.to_bytes(), None)?;
    assert_eq!((checked.author(), checked.identity().role, checked.hidden()), (account(PATIENT), Role::Patient, 0));
    let mut bare = disclosed;
    bare.evidence.key.salt = None;
    assert_eq!(verify(&bare.to_bytes(), None), Err(DisclosedError::Broken("author's key")));
    Ok(())
}

/// Every bit of every byte is covered by something that the reader checks.
#[test]
fn no_byte_can_be_changed() {
    let honest = HONEST.to_bytes();
    let mut bytes = honest.clone();
    for at in 0..bytes.len() {
        let mask = 1 << (at % 8);
        bytes[at] ^= mask;
        assert!(verify(&bytes, None).is_err(), "byte {at}, mask {mask:#04x}");
        bytes[at] ^= mask;
        bytes[at] = !bytes[at];
        assert!(verify(&bytes, None).is_err(), "byte {at}, inverted");
        bytes[at] = honest[at];
    }
    assert!(verify(&bytes, None).is_ok());
    for length in (0..honest.len()).step_by(97).chain([honest.len() - 1]) {
        assert!(verify(&honest[..length], None).is_err(), "{length} bytes");
    }
    assert!(verify(&[&honest[..], &[0]].concat(), None).is_err());
}

#[test]
fn what_is_no_disclosure_is_refused() {
    let malformed = |bytes: &[u8]| matches!(verify(bytes, None), Err(DisclosedError::Malformed(_)));
    let long = vec![0; MAX_BYTES + 1];
    assert_eq!(verify(&long, None), Err(DisclosedError::TooLarge(MAX_BYTES + 1)));
    assert!(malformed(&[]) && malformed(b"{}") && malformed(&[0xa0]) && malformed(&long[1..]));
    // One more entry of the map: its head says 20 entries, and the shortest keys come first.
    let honest = HONEST.to_bytes();
    assert_eq!(honest[0], 0xb4, "a map of 20 entries");
    let more = [&[0xb5, 0x61, b'x', 0][..], &honest[1..]].concat();
    assert!(malformed(&more));
    // Another version of the format.
    let at = honest.windows(23).position(|window| window == b"emr/disclosed-record/v2").unwrap_or_default();
    let mut other = honest.clone();
    other[at + 22] = b'1';
    assert_eq!(verify(&other, None), Err(DisclosedError::Malformed("of another type or version".to_owned())));
}

/// Deeply nested CBOR in place of a value neither overflows the stack nor takes long.
#[test]
fn nested_values_are_refused_in_bounded_time() {
    let nested = [vec![0x81; 1 << 20], vec![0]].concat();
    assert!(verify(&nested, None).is_err());
    let maps = [[0xa1, 0x61, b'a'].repeat(1 << 18), vec![0]].concat();
    assert!(verify(&maps, None).is_err());
}

#[test]
fn no_field_can_be_changed_added_or_moved() {
    let broken = DisclosedError::Broken("list of fields");
    assert_eq!(after(|d| d.disclosure.fields[0].value = Value::Text("sodium".to_owned())), broken);
    assert_eq!(after(|d| d.disclosure.fields[0].key = key("Observation.code.texs")), broken);
    assert_eq!(after(|d| d.disclosure.fields[0].salt[0] ^= 1), broken);
    assert_eq!(after(|d| d.disclosure.fields[0].index += 1), broken);
    assert_eq!(after(|d| d.disclosure.count += 1), broken);
    assert_eq!(after(|d| _ = d.disclosure.fields.pop()), broken);
    assert_eq!(after(|d| d.disclosure.proof.push([0; 32])), broken);
    assert_eq!(after(|d| d.disclosure = disclosed(&WORLD, 0, &["Observation.note.0.text"], &[]).disclosure), broken);
}

#[test]
fn the_author_is_the_one_of_the_state() {
    // Somebody else signs the same statement with their own key.
    let other = &WORLD.identities[OTHER];
    assert_eq!(
        after(|d| {
            d.evidence.signature = other.rsa().sign_pss(SigningContext::AUTHORSHIP, &d.evidence.authorship);
            d.evidence.key = CommittedKey { rsa: other.rsa().public(), ..d.evidence.key.clone() };
        }),
        DisclosedError::Broken("author's key")
    );
    // Or shows the author's RSA key with a second one to which the account does not commit.
    assert_eq!(after(|d| d.evidence.key.kem = KemHash::of(b"another")), DisclosedError::Broken("author's key"));
    // And brings their own identity leaf, which is in the state, at its own position.
    let view = WORLD.account_view(OTHER);
    assert_eq!(
        after(|d| {
            d.evidence.signature = other.rsa().sign_pss(SigningContext::AUTHORSHIP, &d.evidence.authorship);
            d.evidence.key = other.committed_key();
            d.evidence.author = identity_leaf(&view.identity).expect("an identity");
            d.evidence.proof.author_path = view.proof.clone().expect("settled").path;
        }),
        DisclosedError::Broken("identity")
    );
    assert_eq!(after(|d| d.evidence.leaf.author = account(OTHER)), DisclosedError::Broken("record leaf"));
    assert_eq!(after(|d| d.evidence.author.status = AccountStatus::Suspended), DisclosedError::Broken("identity"));
    assert_eq!(after(|d| d.evidence.author.org = None), DisclosedError::Broken("identity"));
    assert_eq!(after(|d| d.evidence.author.role = Role::Hospital), DisclosedError::Broken("identity"));
    assert_eq!(after(|d| d.evidence.signature[5] ^= 1), DisclosedError::Broken("author's signature"));
    assert_eq!(after(|d| d.evidence.signature.clear()), DisclosedError::Broken("author's signature"));
    assert_eq!(after(|d| d.evidence.authorship.clear()), DisclosedError::Broken("authorship"));
}

/// The author signs that the record is another patient's, or in another slot, or of another version, after the state holds it.
#[test]
fn the_record_is_at_its_place_in_the_state() {
    type Change = fn(&mut emr_core::Authorship);
    let changes: [(Change, &str); 5] = [
        (|a| a.patient = account(OTHER), "record leaf"),
        (|a| a.slot = slot(4), "record leaf"),
        (|a| a.version = Version::new(2).expect("a version"), "authorship"),
        (|a| a.class = Class::Imaging, "class"),
        (|a| a.domain[31] ^= 1, "contract"),
    ];
    for (change, broken) in changes {
        let error = after(|d| {
            let mut authorship = emr_core::Authorship::from_dag_cbor(&d.evidence.authorship).expect("an authorship");
            change(&mut authorship);
            d.evidence.authorship = authorship.to_dag_cbor();
            let doctor = &WORLD.identities[DOCTOR];
            d.evidence.signature = doctor.rsa().sign_pss(SigningContext::AUTHORSHIP, &d.evidence.authorship);
        });
        // A patient's number leads to another medical leaf, and version 2 must name its predecessor.
        let broken = if broken == "record leaf" { vec!["record leaf", "medical leaf"] } else { vec![broken] };
        assert!(broken.iter().any(|broken| error == DisclosedError::Broken(broken)), "{error:?}, not {broken:?}");
    }
    assert_eq!(after(|d| d.evidence.leaf.status = RecordStatus::Tombstone), DisclosedError::Broken("record's status"));
    assert_eq!(after(|d| d.evidence.leaf.revision = Revision::ZERO), DisclosedError::Broken("record leaf"));
    assert_eq!(after(|d| d.evidence.proof.medical.records_root += Fr::one()), DisclosedError::Broken("record leaf"));
    assert_eq!(after(|d| d.evidence.proof.medical.audit_head += Fr::one()), DisclosedError::Broken("medical leaf"));
    assert_eq!(after(|d| d.evidence.proof.medical_root += Fr::one()), DisclosedError::Broken("state root"));
    let bent = |path: &Path| {
        Path::new(path.siblings().map(|siblings| siblings.map(|sibling| sibling + Fr::one())).collect::<Vec<_>>())
    };
    assert_eq!(
        after(|d| d.evidence.proof.record_path = bent(&d.evidence.proof.record_path)),
        DisclosedError::Broken("record leaf")
    );
    // In a file it is a path of the full length on which all siblings are empty. The author's are not.
    let short = after(|d| d.evidence.proof.author_path = Path::new([]));
    assert!(matches!(short, DisclosedError::Malformed(_) | DisclosedError::Broken(_)), "{short:?}");
}

#[test]
fn a_deleted_record_cannot_be_disclosed_in_a_later_block() {
    let mut later = WORLD.clone();
    later.tombstone(DOCTOR, 3);
    let now = disclosed(&later, 3, &SHOWN, &[(SIZES, sizes_word(0, 1, 3))]);
    assert_eq!(verify(&now.to_bytes(), None), Err(DisclosedError::Broken("record's status")));
    // The old leaf with the new block.
    let old = ProvedDisclosure {
        evidence: Evidence {
            storage: now.evidence.storage.clone(),
            block: now.evidence.block,
            header: now.evidence.header.clone(),
            ..HONEST.evidence.clone()
        },
        ..HONEST.clone()
    };
    assert_eq!(verify(&old.to_bytes(), None), Err(DisclosedError::Broken("state root")));
}

#[test]
fn the_block_is_the_one_whose_hash_is_named() -> TestResult {
    let block = DisclosedError::Broken("block header");
    assert_eq!(after(|d| d.evidence.block = B256::ZERO), block);
    let later = |d: &mut ProvedDisclosure| -> TestResult {
        let mut header: alloy::consensus::Header = rlp::decode_exact(&d.evidence.header)?;
        header.timestamp += 1;
        d.evidence.header = rlp::encode(&header);
        Ok(())
    };
    assert_eq!(after(|d| later(d).expect("a header")), block);
    assert_eq!(after(|d| d.evidence.header.push(0)), block);
    assert_eq!(after(|d| d.evidence.header = vec![0xc0]), block);
    let storage = DisclosedError::Broken("proof of the contract's storage");
    assert_eq!(after(|d| d.evidence.storage.storage_proof[0].value += U256::from(1)), storage);
    assert_eq!(after(|d| d.evidence.storage.nonce += 1), storage);
    assert_eq!(after(|d| _ = d.evidence.storage.account_proof.pop()), storage);
    assert_eq!(after(|d| _ = d.evidence.storage.storage_proof.pop()), storage);
    assert_eq!(after(|d| d.evidence.storage.account_proof.push(vec![0xc0].into())), storage);
    // A slot that is not looked at could say anything.
    let more = after(|d| d.evidence.storage.storage_proof.push(d.evidence.storage.storage_proof[1].clone()));
    assert_eq!(more, DisclosedError::Broken("number of slots"));
    // A root that the contract does not hold: another state of the same patient.
    let other = disclosed(&LIVED, 0, &["Observation.note.0.text"], &[(SIZES, sizes_word(0, 1, 3))]);
    let (storage, block, header) = (other.evidence.storage, other.evidence.block, other.evidence.header);
    let mixed = after(|d| d.evidence = Evidence { storage, block, header, ..d.evidence.clone() });
    assert_eq!(mixed, DisclosedError::Broken("state root"));
    Ok(())
}

#[test]
fn the_contract_and_the_chain_are_those_that_were_signed_for() {
    // The same contract on another chain has another domain.
    assert_eq!(after(|d| d.evidence.instance.chain_id = 1337), DisclosedError::Broken("contract"));
    let other = deployment();
    let elsewhere = Address::repeat_byte(9);
    let not_ours = DisclosedError::Deployment(DeploymentError::OtherContract(elsewhere));
    assert_eq!(after(|d| d.evidence.instance.contract = elsewhere), not_ours);
    // A genuine contract of somebody else, whose storage the block does not hold.
    let salted = emr_chain::DeploymentRecord { salt: B256::repeat_byte(1), ..other };
    let contract = salted.contract().expect("an address");
    let storage = DisclosedError::Broken("proof of the contract's storage");
    assert_eq!(
        after(|d| {
            d.evidence.instance.contract = contract;
            d.evidence.deployment = salted.clone();
        }),
        storage
    );
    // And with a block that does hold the same state there: the author did not sign for it.
    let root = U256::from_be_bytes(*WORLD.ledger.trees().root().as_bytes());
    let (header, proof) = l1(contract, &[(STATE_ROOT_SLOT, root), (SIZES, sizes_word(0, 1, 3))]);
    assert_eq!(
        after(|d| {
            d.evidence.instance.contract = contract;
            d.evidence.deployment = salted;
            d.evidence.storage = proof;
            d.evidence.block = header.hash_slow();
            d.evidence.header = rlp::encode(&header);
        }),
        DisclosedError::Broken("contract")
    );
}

/// Under the development setup, anyone can forge proofs.
#[test]
fn keys_of_the_development_setup_count_on_development_chains_alone() {
    let mut record = deployment();
    record.sizes[0].key = VerifierCode::development()[0].key_hash();
    let contract = record.contract().expect("an address");
    let on_chain = |chain_id| {
        after(|d| {
            d.evidence.instance = RollupInstance { chain_id, contract };
            d.evidence.deployment = record.clone();
        })
    };
    assert_eq!(on_chain(1), DisclosedError::UnsafeSetup(1));
    assert_eq!(on_chain(31337), DisclosedError::Broken("proof of the contract's storage"));
}

#[test]
fn verifiers_that_changed_must_be_named() -> TestResult {
    let sizes: Vec<Size> =
        [9, 10].map(|verifier| Size { verifier: Address::repeat_byte(verifier), max_l1: 8, max_l2: 90 }).to_vec();
    let slots = |version| {
        let words = sizes.iter().enumerate().map(|(at, size)| (Size::slot(at as u8), size.word()));
        [(SIZES, sizes_word(1, version, 2))].into_iter().chain(words).collect::<Vec<_>>()
    };
    let changed = disclosed(&WORLD, 3, &SHOWN, &slots(1)).to_bytes();
    let digest = SizesDigest::of(1, &sizes);
    let refused = DisclosedError::SizesChanged { contract: instance().contract, sizes: digest };
    assert_eq!(verify(&changed, None), Err(refused.clone()));
    assert_eq!(verify(&changed, Some(SizesDigest::of(1, &sizes[..1]))), Err(refused));
    verify(&changed, Some(digest))?;
    // Without the slots of the sizes.
    let mut fewer = ProvedDisclosure::from_bytes(&changed)?;
    fewer.evidence.storage.storage_proof.truncate(3);
    assert_eq!(verify(&fewer.to_bytes(), Some(digest)), Err(DisclosedError::Broken("number of slots")));
    let newer = disclosed(&WORLD, 3, &SHOWN, &slots(2)).to_bytes();
    let unknown = DisclosedError::CircuitVersion { contract: instance().contract, version: 2 };
    assert_eq!(verify(&newer, Some(digest)), Err(unknown));
    Ok(())
}

#[test]
fn a_card_is_compared_with_author_and_patient() -> TestResult {
    let checked = checked();
    assert_eq!(checked.compare(&WORLD.card(DOCTOR))?, CardOf::Author);
    assert_eq!(checked.compare(&WORLD.card(PATIENT))?, CardOf::Patient);
    assert_eq!(checked.compare(&WORLD.card(OTHER)), Err(DisclosedError::OtherCard(account(OTHER))));
    // The doctor's number on somebody else's card, and the other way round.
    let forged = |card: Card, field| {
        let error = CardError::Forged { account: card.account.expect("registered"), field };
        assert_eq!(checked.compare(&card), Err(DisclosedError::Card(error)));
    };
    forged(Card { account: Some(account(DOCTOR)), ..WORLD.card(OTHER) }, "rollup key");
    forged(Card { rsa: WORLD.card(OTHER).rsa, ..WORLD.card(DOCTOR) }, "encryption key");
    forged(Card { account: Some(account(DOCTOR)), ..WORLD.card(PATIENT) }, "role");
    forged(Card { account: Some(account(PATIENT)), ..WORLD.card(DOCTOR) }, "role");
    let elsewhere = Card { chain_id: 1, ..WORLD.card(DOCTOR) };
    assert!(matches!(checked.compare(&elsewhere), Err(DisclosedError::Card(CardError::OtherInstance { .. }))));
    let unregistered = Card { account: None, ..WORLD.card(DOCTOR) };
    assert_eq!(checked.compare(&unregistered), Err(DisclosedError::Card(CardError::NotRegistered)));
    Ok(())
}
