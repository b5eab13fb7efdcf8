//! How long a start takes, with a snapshot and without. `cargo xtask soak snapshots` measures it for more operations.

use std::{env, fs, time::Instant};

use super::scene::*;
use crate::storage::quota::Quotas;

/// Patients who grant, each in some slots.
const PATIENTS: u64 = 40;
/// How many operations are settled before the times are measured.
const OPERATIONS: u64 = 80;
/// One of so many operations is a record, which has a pointer.
const RECORDS: u64 = 10;
/// How many operations are submitted between two settlements.
const TOGETHER: u64 = 200;

fn operations() -> u64 {
    env::var("EMR_SOAK_OPERATIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(OPERATIONS)
}

/// A start executes what was settled since the snapshot, and nothing before.
#[tokio::test]
async fn a_start_from_a_snapshot_does_not_execute_what_it_holds() -> Outcome {
    let (operations, began) = (operations(), Instant::now());
    let patients = PATIENTS.max(operations / 40);
    let mut scene = Scene::with_patients(patients, Quotas::DEFAULT).await?;
    for number in 0..operations {
        if number % RECORDS == 0 {
            scene.write(PATIENT, number / RECORDS, &[]).await?;
        } else {
            let (who, slot) = (OTHERS + number % patients, 64 + number / patients);
            scene.own_grant(who, slot).await?;
        }
        if number % TOGETHER == TOGETHER - 1 {
            scene.settle()?;
        }
    }
    scene.settle()?;
    println!("{operations} operations of {patients} patients were settled in {:.0?}", began.elapsed());
    let times = scene.measure_start()?;
    let bytes = fs::metadata(scene.newest_snapshot())?.len();
    println!("start from the first batch: {:.2?}, of which the file {:.2?}", times.from_first, times.read_all);
    println!(
        "start from a snapshot: {:.2?} to load it, {:.2?} for the rest, of which {:.2?} for {} pointers",
        times.load, times.rest, times.pointers.0, times.pointers.1
    );
    println!("writing a snapshot of {bytes} bytes: {:.2?}", times.write);
    assert_eq!(times.read, 0, "operations that the snapshot holds were read");
    Ok(())
}
