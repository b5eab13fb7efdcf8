//! The mempool file: a full disk, and damaged files.

use emr_api::OperationStatus;
use std::path::Path;

use emr_core::{AccountEpoch, Class, RecordSlot, RecordStatus, Revision, UnixTime, Version};
use emr_node::mempool::{Acknowledged, Anchor, DerivedChanges, Mempool, MempoolError, Principal, Referenced};
use emr_rollup::{
    operation::{Action, Domain, Operation, PutRecord, SignedOperation},
    primitive::{eddsa::SigningKey, field::Fr},
    state::leaf::RecordLeaf,
};

use emr_testkit::again::{Again, job};
use redb::{ReadableTable, TableDefinition};

use crate::stage::Outcome;

pub(crate) fn anchor() -> Anchor {
    Anchor { chain_id: 1, contract: "0x00".into(), deployed_at: 1, block_hash: "0x00".into() }
}

pub(crate) fn domain() -> Domain {
    Domain::new(1, [0; 20])
}

pub(crate) fn operation(number: u64) -> Outcome<SignedOperation> {
    let leaf = RecordLeaf {
        status: RecordStatus::Live,
        class: Class::Summary,
        author: 1.try_into()?,
        custodian: None,
        version: Version::new(1)?,
        revision: Revision::new(1)?,
        authored: Fr::from(number),
        stored: Fr::from(number),
    };
    let operation = Operation {
        signer: 1.try_into()?,
        signer_epoch: AccountEpoch::FIRST,
        patient: 1.try_into()?,
        patient_epoch: AccountEpoch::FIRST,
        valid_until: UnixTime::new(1_800_000_000)?,
        salt: Fr::from(number),
        action: Action::PutRecord(PutRecord { slot: RecordSlot::new(0)?, expected: Revision::ZERO, leaf }),
    };
    Ok(operation.sign(domain(), &SigningKey::from_seed(&[1; 32]), None))
}

/// The same operation as the file keeps it.
pub(crate) fn acknowledged(number: u64) -> Outcome<Acknowledged> {
    let time = UnixTime::new(1_800_000_000)?;
    let principal = Principal { account: 1.try_into()?, identity: [1; 32] };
    Ok(Acknowledged {
        signed: operation(number)?,
        signer: principal,
        patient: principal,
        acknowledged: time,
        settle_by: time,
        reserved: None,
        replaced: 0,
        status: OperationStatus::Pending,
    })
}

fn acknowledge(mempool: &Mempool, number: u64) -> Outcome<Result<u64, MempoolError>> {
    let kept = acknowledged(number)?;
    Ok(mempool.acknowledge(kept.signed.id(domain()), &kept, None, &Referenced::default(), &[]))
}

/// Not a separate test: it runs in a child process, acknowledges operations until the disk is full, and prints their
/// number.
#[test]
fn until_the_disk_is_full() -> Outcome {
    let Some(folder) = job() else { return Ok(()) };
    let mempool = Mempool::open(Path::new(&folder), &anchor())?;
    for number in 0.. {
        if let Err(error) = acknowledge(&mempool, number)? {
            assert!(matches!(error, MempoolError::Disk(_)), "{error}");
            println!("acknowledged {number}");
            return Ok(());
        }
    }
    Ok(())
}

#[test]
fn a_full_disk_loses_nothing() -> Outcome {
    let folder = tempfile::tempdir()?;
    drop(Mempool::open(folder.path(), &anchor())?);
    let output = Again::new("mempool::until_the_disk_is_full", folder.path()).with_files_up_to(4096).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let after = said.split("acknowledged ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let acknowledged: u64 =
        after.ok_or_else(|| format!("{said} {}", String::from_utf8_lossy(&output.stderr)))?.parse()?;
    assert!(acknowledged > 100, "{acknowledged}");
    let mempool = Mempool::open(folder.path(), &anchor())?;
    let kept = mempool.operations()?;
    for number in 0..acknowledged {
        assert_eq!(kept.get(&number).map(|kept| kept.signed), Some(operation(number)?));
    }
    // With free space it continues.
    acknowledge(&mempool, acknowledged + 1)??;
    Ok(())
}

#[test]
fn an_operation_is_kept_once() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mempool = Mempool::open(folder.path(), &anchor())?;
    assert_eq!(acknowledge(&mempool, 7)??, 0);
    assert!(matches!(acknowledge(&mempool, 7)?, Err(MempoolError::Damaged(_))));
    assert_eq!(acknowledge(&mempool, 8)??, 1);
    assert!(matches!(Mempool::open(folder.path(), &anchor()), Err(MempoolError::Busy)));
    drop(mempool);
    let other = Anchor { chain_id: 2, ..anchor() };
    assert!(matches!(Mempool::open(folder.path(), &other), Err(MempoolError::OtherChain { .. })));
    assert_eq!(Mempool::open(folder.path(), &anchor())?.operations()?.len(), 2);
    Ok(())
}

#[test]
fn a_damaged_file_is_told_not_guessed() -> Outcome {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("mempool.redb");
    std::fs::write(&file, b"not a database, and long enough to look like one".repeat(100))?;
    let error = Mempool::open(folder.path(), &anchor()).map(drop).expect_err("damaged");
    assert!(matches!(error, MempoolError::Damaged(_)) && error.to_string().contains("mempool"), "{error}");
    Ok(())
}

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// A new file with a changed META. If `retyped`, a table has keys and values of other types.
fn changed(folder: &Path, retyped: bool, change: impl FnOnce(&str) -> String) -> Outcome {
    drop(Mempool::open(folder, &anchor())?);
    let database = redb::Database::open(folder.join("mempool.redb"))?;
    let transaction = database.begin_write()?;
    if retyped {
        transaction.delete_table(TableDefinition::<u64, &[u8]>::new("batches"))?;
        transaction.open_table(TableDefinition::<&str, u64>::new("batches"))?;
    }
    {
        let mut meta = transaction.open_table(META)?;
        let written = meta.get("anchor")?.ok_or("no anchor")?.value().to_vec();
        meta.insert("anchor", change(std::str::from_utf8(&written)?).as_bytes())?;
    }
    Ok(transaction.commit()?)
}

#[test]
fn the_file_of_another_version_is_told_and_left_as_it_is() -> Outcome {
    // Another format number; a table with other types; an anchor of another shape.
    let older = |written: &str| {
        let anchor = written.split_once(',').expect("a format and an anchor").1;
        format!("[3,{anchor}")
    };
    for retyped in [false, true] {
        let folder = tempfile::tempdir()?;
        changed(folder.path(), retyped, older)?;
        for _ in 0..2 {
            let error = Mempool::open(folder.path(), &anchor()).map(drop).expect_err("another format");
            assert!(matches!(error, MempoolError::Format { found: 3 }), "{retyped}: {error}");
        }
    }
    let folder = tempfile::tempdir()?;
    changed(folder.path(), false, |_| "[3,\"elsewhere\"]".to_owned())?;
    let error = Mempool::open(folder.path(), &anchor()).map(drop).expect_err("another format");
    assert!(matches!(error, MempoolError::Format { found: 3 }), "{error}");
    Ok(())
}

/// A damaged file is not taken for a full disk.
#[test]
fn a_table_of_another_type_is_damage() -> Outcome {
    let folder = tempfile::tempdir()?;
    changed(folder.path(), true, str::to_owned)?;
    let error = Mempool::open(folder.path(), &anchor()).map(drop).expect_err("damaged");
    assert!(matches!(error, MempoolError::Damaged(_)), "{error}");
    Ok(())
}

/// The settled operations of a record are found by their revision: not those that wait, and not those of a batch that L1 took back.
#[test]
fn the_revisions_of_a_record_are_those_that_are_settled() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mempool = Mempool::open(folder.path(), &anchor())?;
    let (patient, slot) = (1.try_into()?, RecordSlot::new(0)?);
    let revisions = |before: u64, limit: usize| -> Outcome<Vec<u64>> {
        let found = mempool.revisions(patient, slot, Revision::new(before)?, limit)?;
        let leaf = |kept: &Acknowledged| kept.signed.operation.action.record().map(|(_, leaf)| leaf.revision.get());
        Ok(found.iter().filter_map(leaf).collect())
    };
    let mut sequences = Vec::new();
    for number in 1..=4 {
        let mut kept = acknowledged(number)?;
        if let Action::PutRecord(put) = &mut kept.signed.operation.action {
            put.leaf.revision = Revision::new(number)?;
        }
        sequences.push(mempool.acknowledge(kept.signed.id(domain()), &kept, None, &Referenced::default(), &[])?);
    }
    assert_eq!(revisions(100, 10)?, [0; 0]);
    let set = |of: &[u64], status: OperationStatus| {
        let statuses = of.iter().map(|sequence| (*sequence, status.clone())).collect();
        mempool.apply_derived(&DerivedChanges { statuses, ..DerivedChanges::default() })
    };
    set(&sequences[..3], OperationStatus::Settled { batch: 7 })?;
    assert_eq!(revisions(100, 10)?, [3, 2, 1]);
    assert_eq!(revisions(3, 10)?, [2, 1]);
    assert_eq!(revisions(100, 2)?, [3, 2]);
    assert_eq!(revisions(1, 10)?, [0; 0]);
    let other = mempool.revisions(patient, RecordSlot::new(1)?, Revision::new(100)?, 10)?;
    assert!(other.is_empty());
    // L1 takes the batch back, and another operation writes revision 3.
    set(&sequences[1..3], OperationStatus::Pending)?;
    assert_eq!(revisions(100, 10)?, [1]);
    let mut kept = acknowledged(9)?;
    if let Action::PutRecord(put) = &mut kept.signed.operation.action {
        put.leaf.revision = Revision::new(3)?;
    }
    let later = mempool.acknowledge(kept.signed.id(domain()), &kept, None, &Referenced::default(), &[])?;
    set(&[later], OperationStatus::Settled { batch: 7 })?;
    set(&sequences[2..3], OperationStatus::Returned { reason: "late".to_owned() })?;
    let found = mempool.revisions(patient, slot, Revision::new(100)?, 10)?;
    assert_eq!(found.first().map(|kept| kept.signed), Some(kept.signed));
    // The table is in the file.
    drop(mempool);
    let mempool = Mempool::open(folder.path(), &anchor())?;
    assert_eq!(mempool.revisions(patient, slot, Revision::new(100)?, 10)?.len(), 2);
    Ok(())
}
