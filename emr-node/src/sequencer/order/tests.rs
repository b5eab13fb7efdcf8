use emr_api::OperationStatus;
use emr_core::{
    AccountEpoch, Class, OutOfRange, RecordSlot, RecordStatus, Revision, Rights, Role, UnixTime, Uses, Version,
};
use emr_rollup::{
    batch::Batch,
    l1_operation::Registration,
    operation::{Domain, Operation, PutRecord, Revoke, SetGrant},
    primitive::{eddsa::SigningKey, field::Fr},
    state::{
        leaf::{GrantLeaf, RecordLeaf},
        ledger::Ledger,
    },
    version::CircuitVersion,
};

use super::{super::capacity::check_room, *};

const TIME: u64 = 1_800_000_000;
const PER_BATCH: usize = 24;

type Test = Result<(), Box<dyn std::error::Error>>;

fn sign(signer: u64, patient: u64, salt: u64, action: Action) -> Result<Acknowledged, OutOfRange> {
    let time = UnixTime::new(TIME)?;
    let operation = Operation {
        signer: AccountIndex::new(signer)?,
        signer_epoch: AccountEpoch::FIRST,
        patient: AccountIndex::new(patient)?,
        patient_epoch: AccountEpoch::FIRST,
        valid_until: time.saturating_add(3600),
        salt: Fr::from(salt),
        action,
    };
    let authority = (signer != patient).then_some(GrantSlot::FIRST_ORDINARY);
    let signed = operation.sign(Domain::new(1, [0; 20]), &SigningKey::from_seed(&[signer as u8; 32]), authority);
    Ok(Acknowledged { signed, acknowledged: time, settle_by: time, status: OperationStatus::Pending })
}

fn put(signer: u64, patient: u64, slot: u64) -> Result<Acknowledged, OutOfRange> {
    let leaf = RecordLeaf {
        status: RecordStatus::Live,
        class: Class::Summary,
        author: AccountIndex::new(signer)?,
        custodian: None,
        version: Version::new(1)?,
        revision: Revision::new(1)?,
        authored: Fr::from(1),
        stored: Fr::from(2),
    };
    let action = Action::PutRecord(PutRecord { slot: RecordSlot::new(slot)?, expected: Revision::ZERO, leaf });
    sign(signer, patient, slot, action)
}

fn grant(patient: u64, slot: u64, grantee: u64) -> Result<Acknowledged, OutOfRange> {
    let leaf = GrantLeaf {
        grantee: Some(AccountIndex::new(grantee)?),
        rights: Rights::READ | Rights::WRITE,
        scope: Class::Summary.into(),
        not_after: UnixTime::new(TIME + 10_000)?,
        uses: Uses::ZERO,
        version: Version::new(1)?,
        salt: Fr::from(9),
    };
    let action = Action::SetGrant(SetGrant {
        slot: GrantSlot::new(slot)?,
        expected: Version::ZERO,
        leaf,
        directory_before: Fr::zero(),
        directory_after: Fr::zero(),
    });
    sign(patient, patient, 1000 + slot, action)
}

fn revoke(patient: u64, slot: u64, salt: u64) -> Result<Acknowledged, OutOfRange> {
    let action = Action::Revoke(Revoke {
        slot: GrantSlot::new(slot)?,
        expected: Version::new(1)?,
        leaf_salt: Fr::from(salt),
        directory_before: Fr::zero(),
        directory_after: Fr::zero(),
    });
    sign(patient, patient, salt, action)
}

fn numbered(operations: impl IntoIterator<Item = Acknowledged>) -> BTreeMap<Sequence, Acknowledged> {
    (0..).zip(operations).collect()
}

/// Whoever fills the mempool, with however many accounts: a Revoke is taken, and goes into the next batch.
#[test]
fn a_full_mempool_takes_a_revoke_and_the_next_batch_holds_it() -> Test {
    let mut open = BTreeMap::new();
    let (mut sequence, mut signer) = (0, 1);
    while signer < 100 {
        let next = put(signer, signer, sequence)?;
        if check_room(&open, &next.signed.operation, PER_BATCH).is_err() {
            signer += 1;
            continue;
        }
        open.insert(sequence, next);
        sequence += 1;
    }
    // Two thirds of what is settled in five hours.
    assert_eq!(open.len(), 2400);
    let (refused, taken) = (put(200, 200, 0)?, revoke(200, 70, 1)?);
    assert!(check_room(&open, &refused.signed.operation, PER_BATCH).is_err());
    assert!(check_room(&open, &taken.signed.operation, PER_BATCH).is_ok());
    // Those who filled it cannot fill what is left to Revokes with few accounts either.
    for attacker in 1..100 {
        for number in 0..20 {
            let next = revoke(attacker, 64 + number, number)?;
            if check_room(&open, &next.signed.operation, PER_BATCH).is_ok() {
                open.insert(sequence, next);
                sequence += 1;
            }
        }
        if attacker == 50 {
            assert!(check_room(&open, &taken.signed.operation, PER_BATCH).is_ok());
        }
    }
    assert_eq!(open.len(), 3600, "never more than is settled in time");

    let mut open: BTreeMap<_, _> = open.into_iter().filter(|(sequence, _)| *sequence < 2400).collect();
    open.insert(sequence, taken);
    assert_eq!(in_order(&open).first().map(|(first, _)| *first), Some(sequence));
    Ok(())
}

/// A Revoke overtakes what does not need the grant that it ends, and nothing else.
#[test]
fn a_revoke_overtakes_what_is_independent_of_it() -> Test {
    let open = numbered([
        put(9, 9, 0)?,    // another patient
        put(1, 1, 0)?,    // her own record
        grant(1, 64, 2)?, // what the doctor writes under
        grant(1, 65, 3)?, // what is ended below
        put(2, 1, 1)?,    // under 64
        put(2, 1, 0)?,    // under 64, and after her own on that record
        revoke(1, 65, 1)?,
        put(1, 1, 3)?,
        put(8, 8, 0)?,
    ]);
    let order = |open: &_| in_order(open).iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>();
    assert_eq!(order(&open), [2, 3, 6, 0, 1, 4, 5, 7, 8]);
    // What was written under a grant comes before its end, with whatever that needs: nothing acknowledged is lost.
    let open = numbered([put(1, 1, 0)?, put(1, 1, 5)?, grant(1, 64, 2)?, put(2, 1, 0)?, revoke(1, 64, 1)?]);
    assert_eq!(order(&open), [0, 2, 3, 4, 1]);
    Ok(())
}

/// In the new order everything executes that executed in the old one, to the same state.
#[test]
fn the_order_changes_no_effect() -> Test {
    let (domain, time) = (Domain::new(1, [0; 20]), UnixTime::new(TIME)?);
    let mut ledger = Ledger::genesis(domain, CircuitVersion::V1);
    for (number, role) in [(1, Role::Patient), (2, Role::Doctor), (3, Role::Patient)] {
        let account = AccountIndex::new(number)?;
        let key = SigningKey::from_seed(&[number as u8; 32]).public();
        ledger.register(&Registration { account, role, org: None, key, encryption: Fr::from(number) })?;
    }
    let open = numbered([
        put(1, 1, 0)?,
        put(3, 3, 0)?,
        grant(1, 64, 2)?,
        grant(1, 65, 2)?,
        put(2, 1, 1)?,
        put(1, 1, 2)?,
        revoke(1, 65, 1)?,
        put(2, 1, 3)?,
    ]);
    let leaves = |waiting: Vec<(Sequence, &Acknowledged)>| {
        let mut batch = Batch::open(ledger.clone(), 1, time);
        for (_, open) in &waiting {
            batch.push(&open.signed)?;
        }
        let (_, after) = batch.seal();
        let patient = after.patient(AccountIndex::new(1).map_err(|_| emr_rollup::batch::PushError::Full)?).cloned();
        Ok::<_, emr_rollup::batch::PushError>(patient.map(|leaves| (leaves.grants, leaves.records)))
    };
    let before = leaves(open.iter().map(|(sequence, open)| (*sequence, open)).collect())?;
    let waiting = in_order(&open);
    assert_ne!(
        waiting.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(),
        open.keys().copied().collect::<Vec<_>>()
    );
    assert!(before.is_some());
    assert_eq!(leaves(waiting)?, before);
    Ok(())
}
