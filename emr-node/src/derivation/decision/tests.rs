use emr_core::{AccountEpoch, GrantSlot, UnixTime, Version};
use emr_rollup::{
    operation::{Action, DirectoryCommitment, Domain, Operation, OperationId, Revoke},
    primitive::{eddsa::SigningKey, field::Fr},
};

use super::*;
use crate::mempool::KeptProof;

type Test<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn acknowledged(status: OperationStatus) -> Test<Acknowledged> {
    let account = AccountIndex::new(1)?;
    let revoke = Revoke {
        slot: GrantSlot::new(64)?,
        expected: Version::ZERO,
        leaf_salt: Fr::from(1),
        directory_before: DirectoryCommitment::NONE,
        directory_after: DirectoryCommitment::NONE,
    };
    let operation = Operation {
        signer: account,
        signer_epoch: AccountEpoch::FIRST,
        patient: account,
        patient_epoch: AccountEpoch::FIRST,
        valid_until: UnixTime::ZERO,
        salt: Fr::from(0),
        action: Action::Revoke(revoke),
    };
    let signed = operation.sign(Domain::new(1, [0; 20]), &SigningKey::from_seed(&[1; 32]), None);
    Ok(Acknowledged { status, ..Acknowledged::sample(signed, UnixTime::ZERO) })
}

fn root(number: u8) -> Test<StateRoot> {
    let mut bytes = [0; 32];
    bytes[0] = number;
    Ok(StateRoot::from_bytes(bytes)?)
}

/// The batch `number` leads from root `number - 1` to root `number`.
fn batch(number: u64, operations: &[Sequence], stage: BatchStage) -> Test<BatchRecord> {
    let zero = Fr::from(0);
    let public = PublicInputs {
        domain: Domain::new(1, [0; 20]),
        pre: root(number as u8 - 1)?,
        post: root(number as u8)?,
        time: 0,
        n1: 0,
        n: operations.len() as u64,
        commitment: zero,
        z: zero,
        y1: zero,
        y2: zero,
    };
    Ok(BatchRecord { number, time: UnixTime::ZERO, public, operations: operations.to_vec(), urgent: 0, stage })
}

fn on_chain() -> BatchStage {
    let tx_hash = Default::default();
    BatchStage::Settled(OnChain { tx_hash, gas_used: None, proof_bytes: 1, prove_seconds: None })
}

fn sent() -> BatchStage {
    BatchStage::Sent(KeptProof { bytes: vec![1], seconds: None })
}

fn pending() -> OperationStatus {
    OperationStatus::Pending
}

fn sealed(batch: u64) -> OperationStatus {
    OperationStatus::Sealed { batch }
}

fn settled(batch: u64) -> OperationStatus {
    OperationStatus::Settled { batch }
}

fn returned() -> OperationStatus {
    OperationStatus::Returned { reason: "it expired".to_owned() }
}

/// Tables with these operations, numbered from 0, and these batches.
fn tables(statuses: &[OperationStatus], batches: &[BatchRecord]) -> Test<Tables> {
    let operations = statuses.iter().map(|status| acknowledged(status.clone()));
    let operations = (0..).zip(operations).map(|(sequence, operation)| Ok((sequence, operation?)));
    Ok(Tables {
        operations: operations.collect::<Test<_>>()?,
        batches: batches.iter().map(|record| (record.number, record.clone())).collect(),
    })
}

/// Decides, and checks that a second decision on the changed tables changes nothing.
fn decided(tables: &Tables, before: u64, records: &[BatchRecord]) -> Test<Decision> {
    let root = root((before as usize + records.len()) as u8)?;
    let shown = Shown { before, records: records.to_vec(), root };
    let decision = decide(tables, shown.clone());
    let mut changed = tables.clone();
    for (sequence, status) in &decision.changes.statuses {
        changed.operations.get_mut(sequence).ok_or("a known operation")?.status = status.clone();
    }
    let keep = decision.changes.remove_after.unwrap_or(u64::MAX);
    changed.batches.retain(|number, _| *number <= keep);
    changed.batches.extend(decision.changes.records.iter().map(|record| (record.number, record.clone())));
    let again = decide(&changed, shown);
    assert_eq!(again, Decision { changes: DerivedChanges::default(), outstanding: decision.outstanding.clone() });
    Ok(decision)
}

#[test]
fn an_empty_rollup_changes_nothing() -> Test {
    let decision = decided(&tables(&[], &[])?, 0, &[])?;
    assert_eq!(decision, Decision { changes: DerivedChanges::default(), outstanding: None });
    Ok(())
}

/// What was not settled, returned or replaced stays as it was.
#[test]
fn a_settled_batch_settles_its_operations_only() -> Test {
    let replaced = OperationStatus::Replaced { by: OperationId::from_bytes([1; 32]) };
    let statuses = [pending(), sealed(1), returned(), replaced];
    let tables = tables(&statuses, &[batch(1, &[1], sent())?])?;
    let record = batch(1, &[1], on_chain())?;
    let Decision { changes, outstanding } = decided(&tables, 0, std::slice::from_ref(&record))?;
    assert_eq!(outstanding, None);
    assert_eq!(changes.statuses, [(1, settled(1))].into());
    assert_eq!((changes.records, changes.remove_after, changes.hospital), (vec![record], None, None));
    Ok(())
}

/// The batch that was sealed here lost against another one with the same number.
#[test]
fn operations_of_a_batch_that_lost_wait_again() -> Test {
    let tables = tables(&[sealed(1), pending(), sealed(1)], &[batch(1, &[0, 2], sent())?])?;
    let Decision { changes, outstanding } = decided(&tables, 0, &[batch(1, &[1, 2], on_chain())?])?;
    assert_eq!(outstanding, None);
    assert_eq!(changes.statuses, [(0, pending()), (1, settled(1)), (2, settled(1))].into());
    Ok(())
}

#[test]
fn what_l1_takes_back_waits_again() -> Test {
    let batches = [batch(1, &[0], on_chain())?, batch(2, &[1], on_chain())?, batch(3, &[2], sent())?];
    let tables = tables(&[settled(1), settled(2), sealed(3)], &batches)?;
    let Decision { changes, outstanding } = decided(&tables, 0, &batches[..1])?;
    assert_eq!(outstanding, None);
    assert_eq!(changes.statuses, [(1, pending()), (2, pending())].into());
    assert_eq!((changes.records, changes.remove_after), (vec![], Some(1)));
    Ok(())
}

/// A batch was given up and its operations were returned, and L1 settled it after all.
#[test]
fn a_returned_operation_can_be_settled_after_all() -> Test {
    let tables = tables(&[returned(), pending()], &[])?;
    let record = batch(1, &[0], on_chain())?;
    let Decision { changes, .. } = decided(&tables, 0, std::slice::from_ref(&record))?;
    assert_eq!((changes.statuses, changes.records), ([(0, settled(1))].into(), vec![record]));
    Ok(())
}

#[test]
fn a_sealed_batch_stays_if_it_follows_l1() -> Test {
    let batches = [batch(1, &[0], on_chain())?, batch(2, &[1], sent())?];
    let tables = tables(&[settled(1), sealed(2)], &batches)?;
    let Decision { changes, outstanding } = decided(&tables, 0, &batches[..1])?;
    assert_eq!((changes, outstanding), (DerivedChanges::default(), Some(batches[1].clone())));

    // On another state, its proof is worth nothing.
    let other = Shown { before: 0, records: vec![batches[0].clone()], root: root(9)? };
    let Decision { changes, outstanding } = decide(&tables, other);
    assert_eq!(outstanding, None);
    assert_eq!((changes.statuses, changes.remove_after), ([(1, pending())].into(), Some(1)));
    Ok(())
}

/// Only the batches after the base were executed: what was settled before it stays settled.
#[test]
fn what_was_settled_before_the_base_stays() -> Test {
    let batches = [batch(3, &[2], on_chain())?, batch(4, &[3], on_chain())?];
    let tables = tables(&[settled(1), settled(2), settled(3), settled(4)], &batches)?;
    let Decision { changes, .. } = decided(&tables, 2, &batches[..1])?;
    assert_eq!((changes.statuses, changes.remove_after), ([(3, pending())].into(), Some(3)));
    Ok(())
}

/// A settlement that the node follows as it happens.
#[test]
fn the_next_batch_settles_and_releases() -> Test {
    let record = batch(1, &[1, 2], on_chain())?;
    let changes = following(record.clone(), Some(&batch(1, &[0, 2], sent())?));
    assert_eq!(changes.statuses, [(0, pending()), (1, settled(1)), (2, settled(1))].into());
    assert_eq!((changes.records, changes.remove_after), (vec![record], None));
    Ok(())
}
