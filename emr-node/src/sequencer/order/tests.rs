use emr_api::OperationStatus;
use emr_core::{
    AccountEpoch, Class, OutOfRange, RecordSlot, RecordStatus, Revision, Rights, Role, UnixTime, Uses, Version,
};
use emr_rollup::{
    batch::Batch,
    l1_operation::Register,
    operation::{DirectoryCommitment, Domain, Operation, PutRecord, Revoke, SetGrant},
    primitive::{eddsa::SigningKey, field::Fr},
    state::{
        leaf::{GrantLeaf, RecordLeaf},
        ledger::Ledger,
    },
    version::CircuitVersion,
};

use super::*;
use crate::mempool::Principal;

const TIME: u64 = 1_800_000_000;

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
    let principal = |account| Principal { account, identity: [0; 32] };
    Ok(Acknowledged {
        signed,
        signer: principal(operation.signer),
        patient: principal(operation.patient),
        acknowledged: time,
        settle_by: time,
        turn: None,
        replaced: 0,
        status: OperationStatus::Pending,
    })
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
        directory_before: DirectoryCommitment::NONE,
        directory_after: DirectoryCommitment::NONE,
    });
    sign(patient, patient, 1000 + slot, action)
}

fn revoke(patient: u64, slot: u64, salt: u64) -> Result<Acknowledged, OutOfRange> {
    let action = Action::Revoke(Revoke {
        slot: GrantSlot::new(slot)?,
        expected: Version::new(1)?,
        leaf_salt: Fr::from(salt),
        directory_before: DirectoryCommitment::NONE,
        directory_after: DirectoryCommitment::NONE,
    });
    Ok(Acknowledged { turn: Some(0), ..sign(patient, patient, salt, action)? })
}

fn ordered(open: &BTreeMap<Sequence, Acknowledged>) -> Vec<(Sequence, &Acknowledged)> {
    Queue::of(open).in_order(share(&CircuitVersion::V1))
}

fn numbered(operations: impl IntoIterator<Item = Acknowledged>) -> BTreeMap<Sequence, Acknowledged> {
    (0..).zip(operations).collect()
}

/// A Revoke overtakes only the operations that are independent of it.
#[test]
fn a_revoke_overtakes_what_is_independent_of_it() -> Test {
    let open = numbered([
        put(9, 9, 0)?,    // another patient
        put(1, 1, 0)?,    // the patient's own record
        grant(1, 64, 2)?, // the grant that the doctor writes under
        grant(1, 65, 3)?, // the grant that is ended below
        put(2, 1, 1)?,    // under 64
        put(2, 1, 0)?,    // under 64, after the patient's own write to that record
        revoke(1, 65, 1)?,
        put(1, 1, 3)?,
        put(8, 8, 0)?,
    ]);
    let order = |open: &_| ordered(open).iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>();
    assert_eq!(order(&open), [2, 3, 6, 0, 1, 4, 5, 7, 8]);
    // A write under a grant comes before the Revoke of that grant, together with what the write needs: no acknowledged operation is lost.
    let open = numbered([put(1, 1, 0)?, put(1, 1, 5)?, grant(1, 64, 2)?, put(2, 1, 0)?, revoke(1, 64, 1)?]);
    assert_eq!(order(&open), [0, 2, 3, 4, 1]);
    Ok(())
}

/// Every operation that executed in the old order also executes in the new order. The resulting state is the same.
#[test]
fn the_order_changes_no_effect() -> Test {
    let (domain, time) = (Domain::new(1, [0; 20]), UnixTime::new(TIME)?);
    let mut ledger = Ledger::genesis(domain, CircuitVersion::V1);
    for (number, role) in [(1, Role::Patient), (2, Role::Doctor), (3, Role::Patient)] {
        let account = AccountIndex::new(number)?;
        let key = SigningKey::from_seed(&[number as u8; 32]).public();
        ledger.consume(&Register { account, role, org: None, key, encryption: Fr::from(number) }.into())?;
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
    let waiting = ordered(&open);
    assert_ne!(
        waiting.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(),
        open.keys().copied().collect::<Vec<_>>()
    );
    assert!(before.is_some());
    assert_eq!(leaves(waiting)?, before);
    Ok(())
}

/// One patient ends a hundred grants, and another patient ends one. The other patient's Revoke goes second, not hundred-and-first.
#[test]
fn turns_go_round_between_patients() -> Test {
    let many = (0..100).map(|number| Ok(Acknowledged { turn: Some(number), ..revoke(1, 64 + number, number)? }));
    let open = numbered(many.chain([revoke(2, 64, 1000)]).collect::<Result<Vec<_>, OutOfRange>>()?);
    assert_eq!(ordered(&open)[1].0, 100);
    Ok(())
}

/// A Revoke without a reserved place, for example of a slot without a grant, does not overtake other operations.
#[test]
fn a_revoke_of_nothing_is_not_urgent() -> Test {
    let of_nothing = Acknowledged { turn: None, ..revoke(1, 70, 1)? };
    let open = numbered([put(9, 9, 0)?, of_nothing, put(8, 8, 0)?, revoke(2, 64, 2)?]);
    let order: Vec<_> = ordered(&open).iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(order, [3, 0, 1, 2]);
    Ok(())
}

/// Neither kind takes the other's half. While both kinds wait, 16 of a batch's 32 places are for Revokes and 16 for the others.
#[test]
fn either_sort_has_half_of_a_batch() -> Test {
    let revokes = (0..200).map(|patient| revoke(1000 + patient, 64, patient));
    let puts = (0..200).map(|patient| put(5000 + patient, 5000 + patient, patient));
    let open = numbered(revokes.chain(puts).collect::<Result<Vec<_>, _>>()?);
    let order = ordered(&open);
    assert_eq!(order.len(), open.len());
    for batch in order[..384].chunks(32) {
        let urgent = batch.iter().filter(|(_, open)| open.signed.operation.action.rule().ends_rights).count();
        assert_eq!((urgent, batch.len()), (16, 32));
    }
    Ok(())
}

/// The shares do not move an operation before a Revoke on the same patient that was acknowledged earlier.
#[test]
fn an_ordinary_operation_waits_for_the_revokes_before_it() -> Test {
    let revokes = (0..40).map(|slot| revoke(1, 64 + slot, slot));
    let open = numbered(revokes.chain([put(1, 1, 7)]).collect::<Result<Vec<_>, _>>()?);
    assert_eq!(ordered(&open).last().map(|(sequence, _)| *sequence), Some(40));
    Ok(())
}
