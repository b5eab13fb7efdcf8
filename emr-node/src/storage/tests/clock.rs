//! The machine's clock is wrong for a while.

use super::scene::*;
use crate::{mempool::Usage, storage::quota::Quotas};

/// While the clock was years ahead, blocks were uploaded and a record was deleted. After the clock is corrected, all of
/// these blocks go after their time, and not years later. Needed blocks stay.
#[tokio::test]
async fn what_a_wrong_clock_dated_goes_in_its_time() -> Outcome {
    let mut scene = Scene::new(Quotas::DEFAULT).await?;
    let kept = scene.upload(PATIENT, 1, 100).await?;
    scene.write(PATIENT, 1, &kept).await?;
    let deleted = scene.upload(PATIENT, 1, 100).await?;
    scene.write(PATIENT, 0, &deleted).await?;
    scene.settle()?;
    let right = scene.now;
    scene.pass(10 * 365 * 24);
    let uploaded = scene.upload(DOCTORS[0], 1, 100).await?;
    scene.tombstone(0).await?;
    scene.settle()?;
    scene.sweep().await?;

    scene.now = right;
    scene.sweep().await?;
    scene.pass(23);
    scene.sweep().await?;
    assert!(scene.has(&uploaded[0]).await? && scene.has(&deleted[0]).await?, "a day has not passed");
    scene.pass(2);
    scene.sweep().await?;
    assert!(!scene.has(&uploaded[0]).await?, "the note of the upload");
    assert!(!scene.has(&deleted[0]).await?, "the mark of the deleted record");
    assert!(scene.has(&kept[0]).await?);
    assert_eq!(scene.engine.mempool.staged_by_all()?, Usage::default());
    Ok(())
}

/// The clock is set back by years, and stays there. Uploads go after their time, and not years later.
#[tokio::test]
async fn a_clock_that_is_set_back_removes_nothing_early() -> Outcome {
    let mut scene = Scene::new(Quotas::DEFAULT).await?;
    let uploaded = scene.upload(DOCTORS[0], 1, 100).await?;
    scene.now = emr_core::UnixTime::new(scene.now.get() - 10 * 365 * 24 * 3600)?;
    scene.sweep().await?;
    scene.pass(23);
    scene.sweep().await?;
    assert!(scene.has(&uploaded[0]).await?);
    scene.pass(2);
    scene.sweep().await?;
    assert!(!scene.has(&uploaded[0]).await?);
    Ok(())
}
