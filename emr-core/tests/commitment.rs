//! Commitments and disclosures, honest and not.

use std::collections::BTreeMap;

use emr_core::commitment::{DiscloseError, DisclosureError};
use emr_core::{Commitment, CommitmentRoot, Disclosure, Key, OriginalDocument, Record, SaltSeed, Value};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

type Anything = Box<dyn std::error::Error>;

const SEED: SaltSeed = SaltSeed::new([5; 32]);

fn record(fields: u32, original: bool) -> Result<Record, Anything> {
    let fields = (0..fields).map(|i| Ok((Key::new(format!("Patient.field-{i:03}"))?, Value::Integer(i.into()))));
    let original = original.then(|| OriginalDocument {
        media_type: "text/plain".into(),
        bytes: b"as it was".to_vec(),
        cuts: vec![],
    });
    Ok(Record::from_fields(fields.collect::<Result<_, Anything>>()?, original)?)
}

fn keys(record: &Record, chosen: u64) -> Vec<&Key> {
    record.fields().keys().enumerate().filter(|(i, _)| chosen >> (i % 64) & 1 == 1).map(|(_, key)| key).collect()
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    Sha256::digest(parts.concat()).into()
}

/// HKDF-Expand of RFC 5869 for one block, written out, so that the vector does not depend on the hkdf crate.
fn salt(seed: &[u8; 32], name: &str) -> [u8; 32] {
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        block.iter_mut().zip(seed).for_each(|(b, s)| *b ^= s);
        block
    };
    let inner = sha256(&[&pad(0x36), b"emr/field-salt/v1", name.as_bytes(), &[1]]);
    sha256(&[&pad(0x5c), &inner])
}

/// Three leaves, computed from the definition; `docs/record.md` shows the numbers.
#[test]
fn vector() -> Result<(), Anything> {
    let mut record = Record::new();
    record.insert("b".parse()?, Value::Integer(1))?;
    record.insert("a".parse()?, Value::Text("x".into()))?;
    let original = OriginalDocument { media_type: "text/plain".into(), bytes: vec![7], cuts: vec![] };
    let record = Record::from_fields(record.fields().clone(), Some(original))?;

    let leaf = |name: &str, value: &str| {
        let entry = hex::decode(format!("82{:02x}{}{value}", 0x60 + name.len(), hex::encode(name)))?;
        Ok::<_, hex::FromHexError>(sha256(&[&[0], &salt(SEED.as_bytes(), name), &entry]))
    };
    let document =
        format!("a265{}41076a{}6a{}", hex::encode("bytes"), hex::encode("media-type"), hex::encode("text/plain"));
    let leaves = [leaf("$original", &document)?, leaf("a", "6178")?, leaf("b", "01")?];
    let inner = sha256(&[&[1], &leaves[0], &leaves[1]]);
    let tree = sha256(&[&[1], &inner, &leaves[2]]);
    let root = sha256(&[b"emr/commitment/v1", &[0, 0, 0, 3], &tree]);
    assert_eq!(
        hex::encode(salt(SEED.as_bytes(), "a")),
        "5dda0b8d2a70a526b941391a56a6c846f81838cc9648dabab063e9096e309f55"
    );
    assert_eq!(hex::encode(leaves[1]), "62dc5f6bcc950e62a3fec0b1897eceb2e5a0db1f49a75e4506710852d691ab79");
    assert_eq!(Commitment::of(&record, &SEED).root().as_bytes(), &root);
    assert_eq!(hex::encode(root), "0af3663c077143afad5f08fdb120a5d0681e41365496b419ffd71813b2c2ff51");

    let nothing = sha256(&[b"emr/commitment/v1", &[0; 4], &[0; 32]]);
    assert_eq!(Commitment::of(&Record::new(), &SEED).root().as_bytes(), &nothing);
    Ok(())
}

#[test]
fn the_root_depends_on_everything() -> Result<(), Anything> {
    let root = |record: &Record, seed: &SaltSeed| Commitment::of(record, seed).root();
    let base = record(5, true)?;
    let mut roots = vec![root(&base, &SEED), root(&base, &SaltSeed::new([6; 32])), root(&record(5, false)?, &SEED)];
    let with = |original: OriginalDocument| Record::from_fields(base.fields().clone(), Some(original));
    roots.push(root(
        &with(OriginalDocument { media_type: "text/plain".into(), bytes: b"as it is".to_vec(), cuts: vec![] })?,
        &SEED,
    ));
    roots.push(root(
        &with(OriginalDocument { media_type: "text/html".into(), bytes: b"as it was".to_vec(), cuts: vec![] })?,
        &SEED,
    ));
    for key in base.fields().keys() {
        let mut other = record(5, false)?;
        other.insert(key.clone(), Value::Integer(99))?;
        roots.push(root(&other, &SEED));
        other.remove(key);
        roots.push(root(&other, &SEED));
    }
    let count = roots.len();
    roots.sort_unstable();
    roots.dedup();
    assert_eq!(roots.len(), count);
    assert!(!format!("{SEED:?}").contains('5'));
    Ok(())
}

#[test]
fn impossible_disclosures_are_refused() -> Result<(), Anything> {
    let record = record(5000, false)?;
    let commitment = Commitment::of(&record, &SEED);
    let unknown: Key = "Patient.unknown".parse()?;
    assert_eq!(commitment.disclose([&unknown]), Err(DiscloseError::NoSuchField(unknown)));
    assert_eq!(commitment.disclose([]), Err(DiscloseError::Nothing));
    assert_eq!(commitment.disclose(record.fields().keys()), Err(DiscloseError::TooMany(5000)));
    let most = commitment.disclose(record.fields().keys().take(Disclosure::MAX_FIELDS))?;
    assert_eq!(most.verify(&commitment.root())?.len(), Disclosure::MAX_FIELDS);
    Ok(())
}

fn resigned(disclosure: &Disclosure, root: &CommitmentRoot) -> Result<BTreeMap<Key, Value>, DisclosureError> {
    // A forgery reaches the verifier as bytes.
    Disclosure::from_dag_cbor(&disclosure.to_dag_cbor())?.verify(root)
}

/// A doctor has one honest disclosure of the fields 1 and 2 of 6, and tries to forge others from it.
#[test]
fn forgeries_are_refused() -> Result<(), Anything> {
    let record = record(6, false)?;
    let commitment = Commitment::of(&record, &SEED);
    let root = commitment.root();
    let honest = commitment.disclose(keys(&record, 0b110))?;
    assert!(resigned(&honest, &root).is_ok());

    type Forge = fn(&mut Disclosure);
    let forgeries: Vec<(&str, Forge)> = vec![
        ("another value", |d| d.fields[0].value = Value::Integer(0)),
        ("the same number as text", |d| d.fields[0].value = Value::Text("1".into())),
        ("another key", |d| d.fields[0].key = "Patient.field-000".parse().expect("a key")),
        ("another salt", |d| d.fields[0].salt[31] ^= 1),
        ("another position", |d| d.fields[0].index = 0),
        ("swapped positions", |d| {
            d.fields[0].index = 2;
            d.fields[1].index = 1;
        }),
        ("swapped fields", |d| d.fields.swap(0, 1)),
        ("a field twice", |d| {
            let field = d.fields[1].clone();
            d.fields.push(field);
        }),
        ("a field twice at two positions", |d| {
            let mut field = d.fields[1].clone();
            field.index = 3;
            d.fields.push(field);
        }),
        ("a field left out", |d| {
            d.fields.pop();
        }),
        ("no fields", |d| d.fields.clear()),
        ("a position beyond the count", |d| d.fields[1].index = 6),
        ("one field more in all", |d| d.count += 1),
        ("one field fewer in all", |d| d.count -= 1),
        ("as many fields as fit a u32", |d| d.count = u32::MAX),
        ("no fields in all", |d| d.count = 0),
        ("a node more", |d| d.proof.push([0; 32])),
        ("a node fewer", |d| {
            d.proof.pop();
        }),
        ("swapped nodes", |d| d.proof.swap(0, 1)),
        ("another node", |d| d.proof[0][0] ^= 1),
    ];
    for (what, forge) in forgeries {
        let mut forged = honest.clone();
        forge(&mut forged);
        assert!(forged.verify(&root).is_err(), "{what}");
        assert!(resigned(&forged, &root).is_err(), "{what}");
    }
    Ok(())
}

/// If inner nodes could pass as leaves, two trees of different size could have the same root: four leaves, seen as two.
/// Also, a leaf that moves up unchanged has the same hash on every level. So the commitment must contain the number of
/// leaves.
#[test]
fn a_tree_of_another_size_is_refused() -> Result<(), Anything> {
    let record = record(5, false)?;
    let commitment = Commitment::of(&record, &SEED);
    let root = commitment.root();
    let last = commitment.disclose(keys(&record, 0b10000))?;
    // The fifth leaf of five has no sibling below the top. It looks like the second leaf of two.
    assert_eq!(last.proof.len(), 1);
    let moved = |count, index| {
        let mut forged = last.clone();
        forged.count = count;
        forged.fields[0].index = index;
        forged
    };
    assert!(moved(5, 4).verify(&root).is_ok());
    for (count, index) in [(2, 1), (3, 2), (9, 8), (4, 3)] {
        assert!(moved(count, index).verify(&root).is_err(), "{index} of {count}");
    }
    Ok(())
}

#[test]
fn a_disclosure_has_one_byte_form() -> Result<(), Anything> {
    let record = record(6, true)?;
    let bytes = Commitment::of(&record, &SEED).disclose(keys(&record, 0b11))?.to_dag_cbor();
    assert!(Disclosure::from_dag_cbor(&[bytes.as_slice(), &[0]].concat()).is_err());
    assert!(Disclosure::from_dag_cbor(&bytes[1..]).is_err());
    let longer_proof =
        hex::encode(&bytes).replacen("65 70726f6f66 5860".replace(' ', "").as_str(), "6570726f6f665861", 1) + "00";
    assert_ne!(longer_proof.len(), bytes.len() * 2);
    assert!(Disclosure::from_dag_cbor(&hex::decode(longer_proof)?).is_err());
    Ok(())
}

proptest! {
    #[test]
    fn any_subset_is_disclosed(count in 1_u32..50, chosen in any::<u64>(), original in any::<bool>()) {
        let record = record(count, original).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let keys = keys(&record, chosen);
        prop_assume!(!keys.is_empty());
        let commitment = Commitment::of(&record, &SEED);
        let disclosure = commitment.disclose(keys.iter().copied())?;
        let disclosure = Disclosure::from_dag_cbor(&disclosure.to_dag_cbor())?;
        let fields = disclosure.verify(&commitment.root())?;
        prop_assert_eq!(fields.keys().collect::<Vec<_>>(), keys);
        for (key, value) in &fields {
            prop_assert_eq!(Some(value), record.get(key));
        }
        // The bytes contain neither the key nor the salt of a hidden field.
        let bytes = disclosure.to_dag_cbor();
        for hidden in record.fields().keys().filter(|key| !fields.contains_key(*key)) {
            prop_assert!(!bytes.windows(hidden.as_str().len()).any(|w| w == hidden.as_str().as_bytes()));
            prop_assert!(!bytes.windows(32).any(|w| w == salt(SEED.as_bytes(), hidden.as_str())));
        }
    }

    #[test]
    fn any_changed_byte_is_refused(
        count in 1_u32..40,
        chosen in 1_u64..,
        at in any::<prop::sample::Index>(),
        flip in 1..=u8::MAX,
    ) {
        let record = record(count, true).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let keys = keys(&record, chosen);
        prop_assume!(!keys.is_empty());
        let commitment = Commitment::of(&record, &SEED);
        let mut bytes = commitment.disclose(keys)?.to_dag_cbor();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let accepted = Disclosure::from_dag_cbor(&bytes).and_then(|d| d.verify(&commitment.root()));
        prop_assert!(accepted.is_err());
    }

    #[test]
    fn any_disclosure_is_checked_without_panic(
        count in any::<u32>(),
        fields in prop::collection::vec((any::<u32>(), "[a-c]"), 0..6),
        nodes in 0_usize..40,
    ) {
        let field = |(index, key): &(u32, String)| {
            Ok::<_, emr_core::KeyError>(emr_core::commitment::DisclosedField {
                index: *index,
                salt: [0; 32],
                key: Key::new(key.as_str())?,
                value: Value::Null,
            })
        };
        let fields = fields.iter().map(field).collect::<Result<_, _>>()?;
        let forged = Disclosure { count, fields, proof: vec![[0; 32]; nodes] };
        prop_assert!(forged.verify(&CommitmentRoot::new([0; 32])).is_err());
    }
}
