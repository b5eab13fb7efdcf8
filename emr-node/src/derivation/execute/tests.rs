use std::time::Instant;

use emr_chain::BatchContent;
use emr_core::{
    AccountEpoch, Class, GrantSlot, OutOfRange, RecordSlot, RecordStatus, Revision, Rights, Role, StateRoot, Uses,
    Version,
};
use emr_rollup::{
    batch::Batch,
    l1_operation::Register,
    operation::{Action, DirectoryCommitment, Domain, PutRecord, SetGrant, SignedOperation},
    primitive::{eddsa::SigningKey, field::Fr},
    state::leaf::{GrantLeaf, RecordLeaf},
    version::{CircuitSizes, CircuitVersion},
};

use super::*;

const TIME: u64 = 1_800_000_000;

struct Case {
    before: Ledger,
    after: Ledger,
    settled: SettledBatch,
    known: BTreeMap<Sequence, Acknowledged>,
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

fn sign(domain: Domain, signer: u64, number: u8, action: Action) -> Result<SignedOperation, OutOfRange> {
    let operation = Operation {
        signer: AccountIndex::new(signer)?,
        signer_epoch: AccountEpoch::FIRST,
        patient: AccountIndex::new(1)?,
        patient_epoch: AccountEpoch::FIRST,
        valid_until: UnixTime::new(TIME + 1000)?,
        salt: Fr::from(u64::from(number)),
        action,
    };
    let authority = (signer != 1).then_some(GrantSlot::FIRST_ORDINARY);
    Ok(operation.sign(domain, &key(signer as u8), authority))
}

fn sizes() -> CircuitSizes {
    CircuitVersion::V1.into()
}

/// A patient and a doctor are registered. The patient lets the doctor write, and the doctor writes.
fn case() -> Result<Case, Box<dyn std::error::Error>> {
    let domain = Domain::new(31337, [7; 20]);
    let before = Ledger::genesis(domain, CircuitVersion::V1);
    let time = UnixTime::new(TIME)?;
    let mut batch = Batch::open(before.clone(), 1, time);
    for (number, role) in [(1, Role::Patient), (2, Role::Doctor)] {
        let account = AccountIndex::new(number)?;
        let key = key(number as u8).public();
        batch.push_l1(&Register { account, role, org: None, key, encryption: Fr::from(number) }.into())?;
    }
    let grant = GrantLeaf {
        grantee: Some(AccountIndex::new(2)?),
        rights: Rights::READ | Rights::WRITE,
        scope: Class::Summary.into(),
        not_after: UnixTime::new(TIME + 1000)?,
        uses: Uses::ZERO,
        version: Version::new(1)?,
        salt: Fr::from(9),
    };
    let (slot, expected) = (GrantSlot::FIRST_ORDINARY, Version::ZERO);
    let (directory_before, directory_after) = (DirectoryCommitment::NONE, Fr::from(5).into());
    let record = RecordLeaf {
        status: RecordStatus::Live,
        class: Class::Summary,
        author: AccountIndex::new(2)?,
        custodian: None,
        version: Version::new(1)?,
        revision: Revision::new(1)?,
        authored: Fr::from(3),
        stored: Fr::from(4),
    };
    let actions = [
        (1, Action::SetGrant(SetGrant { slot, expected, leaf: grant, directory_before, directory_after })),
        (2, Action::PutRecord(PutRecord { slot: RecordSlot::new(0)?, expected: Revision::ZERO, leaf: record })),
    ];
    let mut known = BTreeMap::new();
    for (number, (signer, action)) in (0..).zip(actions) {
        let signed = sign(domain, signer, number, action)?;
        batch.push(&signed)?;
        known.insert(u64::from(number) + 10, Acknowledged::sample(signed, time));
    }
    let (sealed, after) = batch.seal();
    let public = sealed.public();
    let content = BatchContent {
        size: 0,
        pre: public.pre,
        post: public.post,
        time,
        commitment: field::to_bytes(&public.commitment),
        urgent: 0,
        d1: sealed.data().d1.iter().map(D1Entry::to_bytes).collect(),
        d2: sealed.data().d2.iter().map(D2Entry::to_bytes).collect(),
        proof: vec![1; 100],
    };
    let settled = SettledBatch { number: 1, tx_hash: Default::default(), block_number: 5, content };
    Ok(Case { before, after, settled, known })
}

#[test]
fn operations_are_found_by_what_they_wrote() -> Result<(), Box<dyn std::error::Error>> {
    let Case { before, after, settled, known } = case()?;
    let mut order = Vec::new();
    let mut candidates = Candidates::new(&known);
    let Executed { ledger, operations, public } =
        execute((&before, &sizes(), false), &settled, None, &mut candidates, |sequence, _, _| order.push(sequence))?;
    assert_eq!(ledger.trees().root(), after.trees().root());
    assert_eq!((operations, order), (vec![10, 11], vec![10, 11]));
    assert_eq!(field::to_bytes(&public.commitment), settled.content.commitment);
    Ok(())
}

/// Thousands of operations on the same leaf in the mempool do not make it slow to apply a settled batch.
#[test]
fn operations_are_found_among_thousands() -> Result<(), Box<dyn std::error::Error>> {
    let Case { before, after, settled, known } = case()?;
    let mut crowd = BTreeMap::new();
    for (sequence, operation) in known {
        for number in 0..3000 {
            let mut other = operation.clone();
            other.signed.operation.salt = Fr::from(1000 + number);
            crowd.insert(sequence * 10_000 + number, other);
        }
        crowd.insert(sequence * 10_000 + 9999, operation);
    }
    let began = Instant::now();
    let Executed { ledger, operations, .. } =
        execute((&before, &sizes(), false), &settled, None, &mut Candidates::new(&crowd), |_, _, _| {})?;
    let took = began.elapsed();
    assert_eq!((ledger.trees().root(), operations), (after.trees().root(), vec![109_999, 119_999]));
    assert!(took.as_millis() < 1500, "{took:?}: as if every signature were checked");
    Ok(())
}

/// What an L1 node can show: another base, other data, other roots, or operations that this node does not know.
#[test]
fn what_l1_shows_is_applied_only_if_it_is_consistent() -> Result<(), Box<dyn std::error::Error>> {
    let Case { before, after, settled, known } = case()?;
    let run = |ledger: &Ledger, change: &dyn Fn(&mut BatchContent), known: &BTreeMap<_, _>| {
        let mut settled = settled.clone();
        change(&mut settled.content);
        execute((ledger, &sizes(), false), &settled, None, &mut Candidates::new(known), |_, _, _| {}).map(drop)
    };
    let none = BTreeMap::new();
    assert!(matches!(run(&after, &|_| {}, &known), Err(DerivationError::Fork(1))));
    assert!(matches!(run(&before, &|_| {}, &none), Err(DerivationError::UnknownOperations(1))));
    let changes: [&dyn Fn(&mut BatchContent); 6] = [
        &|content| content.post = StateRoot::from_bytes([1; 32]).expect("small"),
        &|content| content.d2[1][1][31] ^= 1,
        &|content| content.d2.truncate(1),
        &|content| content.d1.truncate(1),
        &|content| content.d1[0][0] = [0; 32],
        &|content| content.d2.swap(0, 1),
    ];
    for (number, change) in changes.iter().enumerate() {
        for known in [&known, &none] {
            let shown = run(&before, *change, known);
            assert!(matches!(shown, Err(DerivationError::Inconsistent(1))), "{number}: {shown:?}");
        }
    }
    Ok(())
}

/// Without a record of a batch, an entry is compared with the operations on its leaf only, and with none that an earlier batch settled.
#[test]
fn an_entry_is_compared_with_what_is_open_on_its_leaf() -> Result<(), Box<dyn std::error::Error>> {
    let Case { before, settled, mut known, .. } = case()?;
    let content = &settled.content;
    let entries = content.d2.iter().map(D2Entry::from_bytes).collect::<Result<Vec<_>, _>>()?;
    let put = known.get(&11).ok_or("the record")?.clone();
    for number in 0..500 {
        let mut other = put.clone();
        let Action::PutRecord(elsewhere) = &mut other.signed.operation.action else { return Err("a record".into()) };
        elsewhere.slot = RecordSlot::new(1 + number)?;
        known.insert(100 + number, other);
    }
    let mut candidates = Candidates::new(&known);
    let compared = |candidates: &mut Candidates<'_>, entry| {
        candidates.on_leaf_of(entry).map(|(sequence, _)| sequence).collect::<Vec<_>>()
    };
    assert_eq!(compared(&mut candidates, &entries[0]), [10]);
    assert_eq!(compared(&mut candidates, &entries[1]), [11]);
    execute((&before, &sizes(), false), &settled, None, &mut candidates, |_, _, _| {})?;
    assert!(entries.iter().all(|entry| compared(&mut candidates, entry).is_empty()));
    Ok(())
}
