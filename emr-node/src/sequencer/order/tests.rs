use std::time::Instant;

use emr_core::{
    AccountEpoch, Class, GrantSlot, OutOfRange, RecordSlot, RecordStatus, Revision, Rights, Role, UnixTime, Uses,
    Version,
};
use emr_rollup::{
    batch::Batch,
    l1_operation::Register,
    operation::{Action, DirectoryCommitment, Domain, Operation, PutRecord, Revoke, SetGrant, SignedOperation},
    primitive::{eddsa::SigningKey, field::Fr},
    state::{
        leaf::{GrantLeaf, RecordLeaf},
        ledger::Ledger,
    },
    version::CircuitVersion,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;
use crate::{
    mempool::{Reserved, Turn},
    state::open::{BATCH_SECONDS, Position},
};

const TIME: u64 = 1_800_000_000;
const SHARE: usize = CircuitVersion::V1.max_l2 / 2;

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
    Ok(Acknowledged::sample(signed, time))
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
    Ok(turn(0, sign(patient, patient, salt, action)?))
}

/// The same Revoke with another turn.
fn turn(turn: Turn, revoke: Acknowledged) -> Acknowledged {
    Acknowledged { reserved: Some(Reserved { turn, latest: revoke.settle_by }), ..revoke }
}

fn ordered(open: &OpenOperations) -> Vec<(Sequence, &Acknowledged)> {
    BatchOrder::of(open).collect()
}

fn sequences(open: &OpenOperations) -> Vec<Sequence> {
    ordered(open).iter().map(|(sequence, _)| *sequence).collect()
}

fn numbered(operations: impl IntoIterator<Item = Acknowledged>) -> OpenOperations {
    let mut open = OpenOperations::new(&CircuitVersion::V1.into());
    for (sequence, operation) in (0..).zip(operations) {
        open.insert(sequence, operation);
    }
    open
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
    assert_eq!(sequences(&open), [2, 3, 6, 0, 1, 4, 5, 7, 8]);
    // A write under a grant comes before the Revoke of that grant, together with what the write needs: no acknowledged
    // operation is lost.
    let open = numbered([put(1, 1, 0)?, put(1, 1, 5)?, grant(1, 64, 2)?, put(2, 1, 0)?, revoke(1, 64, 1)?]);
    assert_eq!(sequences(&open), [0, 2, 3, 4, 1]);
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
        ledger.consume(&Register { account, role, org: None, key, encryption: Fr::from(number) }.into(), time)?;
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
    let before = leaves(open.iter().collect())?;
    assert_ne!(sequences(&open), open.iter().map(|(sequence, _)| sequence).collect::<Vec<_>>());
    assert!(before.is_some());
    assert_eq!(leaves(ordered(&open))?, before);
    Ok(())
}

/// One patient ends a hundred grants, and another patient ends one. The other patient's Revoke goes second, not
/// hundred-and-first.
#[test]
fn turns_go_round_between_patients() -> Test {
    let many = (0..100).map(|number| Ok(turn(number, revoke(1, 64 + number, number)?)));
    let open = numbered(many.chain([revoke(2, 64, 1000)]).collect::<Result<Vec<_>, OutOfRange>>()?);
    assert_eq!(ordered(&open)[1].0, 100);
    Ok(())
}

/// A Revoke without a reserved place, for example of a slot without a grant, does not overtake other operations.
#[test]
fn a_revoke_of_nothing_is_not_urgent() -> Test {
    let of_nothing = Acknowledged { reserved: None, ..revoke(1, 70, 1)? };
    let open = numbered([put(9, 9, 0)?, of_nothing, put(8, 8, 0)?, revoke(2, 64, 2)?]);
    assert_eq!(sequences(&open), [3, 0, 1, 2]);
    Ok(())
}

/// Neither kind takes the other's half: while both kinds wait, half of a batch's places are for Revokes.
#[test]
fn either_sort_has_half_of_a_batch() -> Test {
    let revokes = (0..200).map(|patient| revoke(1000 + patient, 64, patient));
    let puts = (0..200).map(|patient| put(5000 + patient, 5000 + patient, patient));
    let open = numbered(revokes.chain(puts).collect::<Result<Vec<_>, _>>()?);
    let order = ordered(&open);
    assert_eq!(order.len(), open.len());
    for batch in order[..8 * SHARE].chunks(2 * SHARE) {
        let urgent = batch.iter().filter(|(_, open)| open.signed.operation.action.rule().ends_rights).count();
        assert_eq!((urgent, batch.len()), (SHARE, 2 * SHARE));
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

/// A Revoke takes the operations that it needs first with it, but they do not go before the Revokes that were
/// acknowledged earlier. Otherwise anyone with many waiting records could put them before the Revokes of others, whose
/// promises do not count them.
#[test]
fn what_a_revoke_needs_first_does_not_overtake_earlier_revokes() -> Test {
    let records = (0..100).map(|slot| put(2, 1, slot));
    let others = (0..20).map(|number| revoke(3 + number, 64, number));
    let open = numbered(records.chain(others).chain([revoke(1, 64, 999)]).collect::<Result<Vec<_>, _>>()?);
    let urgent: Vec<Sequence> = open.urgent().iter().map(|position| position.sequence).collect();
    assert_eq!(urgent, (100..120).chain(0..100).chain([120]).collect::<Vec<_>>());
    Ok(())
}

/// An operation has the promise of its ordinary place. A later Revoke that needs it first, and whose turn is far away,
/// does not delay it.
#[test]
fn a_revoke_does_not_delay_what_it_needs_first() -> Test {
    let others = (0..200).map(|number| revoke(3 + number, 64, number));
    let open = numbered(others.chain([put(2, 1, 0), revoke(1, 64, 999)]).collect::<Result<Vec<_>, _>>()?);
    let order = sequences(&open);
    assert_eq!(order.iter().position(|sequence| *sequence == 200), Some(SHARE));
    assert_eq!(order.last(), Some(&201));
    Ok(())
}

/// A reorganisation of L1 opens Revokes again that were settled. The patient has signed another one since, with a lower
/// turn. Each builds on the key directory of the one before, so they stay in the order of their acknowledgement.
#[test]
fn revokes_that_are_open_again_go_before_later_ones() -> Test {
    let turns = [100, 101, 102, 101];
    let revokes = turns.into_iter().zip(0..).map(|(turn, number)| {
        let revoke = revoke(1, 64 + number, number)?;
        let latest = revoke.settle_by;
        Ok::<_, Box<dyn std::error::Error>>(Acknowledged { reserved: Some(Reserved { turn, latest }), ..revoke })
    });
    let open = numbered(revokes.collect::<Result<Vec<_>, _>>()?);
    assert_eq!(sequences(&open), [0, 1, 2, 3]);
    Ok(())
}

/// The urgent operations as the definition says: from the last operation on a patient to the first, one is urgent if it
/// is a Revoke with a turn, or if it and a later urgent one have another effect in the other order. No Revoke goes after
/// a later one on the same patient.
fn urgent_by_definition(open: &OpenOperations) -> Vec<Position> {
    let mut urgent: Vec<(Position, &SignedOperation)> = Vec::new();
    for (sequence, open) in open.iter().collect::<Vec<_>>().into_iter().rev() {
        let signed = &open.signed;
        let on_patient = || urgent.iter().filter(|(_, later)| later.operation.patient == signed.operation.patient);
        let position = match open.reserved {
            Some(reserved) => {
                let later = on_patient().map(|(position, _)| position.turn).min();
                let turn = later.map_or(reserved.turn, |later| later.min(reserved.turn));
                Some(Position { turn, revoke: sequence, sequence })
            }
            None if on_patient().any(|(_, later)| !commute(signed, later)) => {
                on_patient().next_back().map(|(position, _)| Position { sequence, ..*position })
            }
            None => None,
        };
        urgent.extend(position.map(|position| (position, signed)));
    }
    let mut urgent: Vec<Position> = urgent.into_iter().map(|(position, _)| position).collect();
    urgent.sort();
    urgent
}

/// Whether two operations on one patient have the same effect in either order.
fn commute(one: &SignedOperation, other: &SignedOperation) -> bool {
    let changed = |signed: &SignedOperation| match signed.operation.action {
        Action::SetGrant(SetGrant { slot, .. }) | Action::Revoke(Revoke { slot, .. }) => Some(slot),
        _ => None,
    };
    match (changed(one), changed(other)) {
        (Some(_), Some(_)) => false,
        (Some(slot), None) => other.used_grant() != Some(slot),
        (None, Some(slot)) => one.used_grant() != Some(slot),
        (None, None) => one.operation.action.target() != other.operation.action.target(),
    }
}

/// Whatever comes and goes, the index says the same as the definition: the urgent operations, their ranks, and whose
/// promise would be broken.
#[test]
fn the_index_agrees_with_the_definition_whatever_comes_and_goes() -> Test {
    let mut random = StdRng::seed_from_u64(5);
    let mut pick = move |count: u64| random.random_range(0..count);
    for _ in 0..20 {
        let mut open = OpenOperations::new(&CircuitVersion::V1.into());
        let mut earlier: Option<(OpenOperations, Vec<Position>)> = None;
        for sequence in 0..80 {
            let (patient, slot) = (1 + pick(3), pick(4));
            match pick(8) {
                0 => drop(open.remove(pick(sequence + 1))),
                1 => open.insert(sequence, grant(patient, 64 + slot, 9)?),
                2 | 3 => {
                    let revoke = revoke(patient, 64 + slot, sequence)?;
                    let latest = UnixTime::new(TIME + pick(2000))?;
                    let reserved = Some(Reserved { turn: pick(5), latest });
                    open.insert(sequence, Acknowledged { reserved, ..revoke });
                }
                4 => open.insert(sequence, Acknowledged { reserved: None, ..revoke(patient, 64 + slot, sequence)? }),
                5 => open.insert(sequence, put(9, patient, slot)?),
                _ => open.insert(sequence, put(patient, patient, slot)?),
            }
            let urgent = urgent_by_definition(&open);
            assert_eq!(open.urgent().iter().collect::<Vec<_>>(), urgent);
            let slack = |rank: usize| {
                let latest = open.get(urgent[rank].sequence)?.reserved?.latest;
                Some(i128::from(latest.get()) * SHARE as i128 - i128::from(BATCH_SECONDS) * rank as i128)
            };
            for (rank, position) in urgent.iter().enumerate() {
                assert_eq!(open.urgent().rank(position), rank);
                let Some(least) = slack(rank) else { continue };
                for needed in [least, least + 1] {
                    let below = |rank: &usize| slack(*rank).is_some_and(|slack| slack < needed);
                    let last = (0..urgent.len()).rfind(below).map(|rank| urgent[rank]);
                    assert_eq!(open.urgent().last_below(needed), last);
                }
            }
            let ordinary = open.iter().filter(|(_, open)| open.reserved.is_none()).count();
            assert_eq!((open.ordinary_places(), open.ordinary().count()), (ordinary, ordinary));
            let mut order = sequences(&open);
            order.sort_unstable();
            assert_eq!(order, open.iter().map(|(sequence, _)| sequence).collect::<Vec<_>>());
            // A clone stays as it was.
            if let Some((earlier, urgent)) = &earlier {
                assert_eq!(earlier.urgent().iter().collect::<Vec<_>>(), *urgent);
            }
            earlier = Some((open.clone(), urgent));
        }
    }
    Ok(())
}

/// With a hundred thousand open Revokes, one more costs microseconds. A walk through all of them would take a thousand
/// times as long.
#[test]
fn a_revoke_costs_no_walk_through_what_waits() -> Test {
    let revoke = revoke(1, 64, 0)?;
    let of = |patient: u64| {
        let mut of = turn(patient % 50, revoke.clone());
        of.signed.operation.patient = AccountIndex::new(patient)?;
        of.signed.operation.signer = of.signed.operation.patient;
        Ok::<_, OutOfRange>(of)
    };
    let mut open = OpenOperations::new(&CircuitVersion::V1.into());
    for patient in 1..100_000 {
        open.insert(patient, of(patient)?);
    }
    let began = Instant::now();
    for patient in 100_000..102_000 {
        let new = of(patient)?;
        assert_eq!(open.newly_urgent(&new.signed).all, 1);
        let position = open.urgent().last_below(0).unwrap_or(Position::after(20));
        assert!(open.urgent().rank(&position) > 40_000);
        let before = open.clone();
        open.insert(patient, new);
        assert_eq!(BatchOrder::of(&open).take(32).count(), 32);
        assert_eq!(before.len() + 1, open.len());
    }
    let took = began.elapsed();
    assert!(took.as_millis() < 2000, "{took:?} for 2,000 Revokes");
    Ok(())
}
