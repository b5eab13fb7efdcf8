//! An import that is repeated writes nothing twice: while its records wait, and after they are settled.

use emr_client::{ClientError, flow::import::ImportOutcome, node::NodeError};
use emr_core::{Class, RecordSlot};

use crate::scene::*;

fn slot(outcome: &ImportOutcome) -> (bool, RecordSlot) {
    match outcome {
        ImportOutcome::Written(written) => (false, written.slot),
        ImportOutcome::Settled(imported) => (true, imported.slot),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_import_writes_nothing_twice() -> TestResult {
    let scene = Scene::proving().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let card = handed_over(&patient);
    let (first, second) = (record("one"), record("two"));
    let one = doctor.import(&card, Class::Laboratory, &first, Vec::new()).await?;
    assert!(!slot(&one).0, "{one:?}");
    assert_eq!(doctor.import(&card, Class::Laboratory, &first, Vec::new()).await?, one, "it waits, and is the same");
    // Another process, as after kill -9.
    drop(doctor);
    let doctor = scene.client(DOCTOR).await?;
    assert_eq!(slot(&doctor.import(&card, Class::Laboratory, &first, Vec::new()).await?), slot(&one));
    scene.next_batch().await?;

    // The import itself notices that it is settled, before the outbox was asked for anything else.
    let settled = doctor.import(&card, Class::Laboratory, &first, Vec::new()).await?;
    assert_eq!(slot(&settled), (true, slot(&one).1));
    assert_eq!(doctor.profile().outbox().entries(), []);
    drop(doctor);
    let doctor = scene.client(DOCTOR).await?;
    doctor.resume().await?;
    assert_eq!(doctor.import(&card, Class::Laboratory, &first, Vec::new()).await?, settled);
    // Another record, another class, and an upload are other requests.
    let other = doctor.import(&card, Class::Laboratory, &second, Vec::new()).await?;
    let class = doctor.import(&card, Class::Summary, &first, Vec::new()).await?;
    let upload = doctor.upload(&card, Class::Laboratory, &first).await?;
    assert_eq!([slot(&other).0, slot(&class).0], [false, false]);
    assert_eq!(upload.slot.get(), 3);
    let listed = patient.records(&card).await?;
    assert_eq!(listed.len(), 4, "{listed:?}");

    // Without a grant, nothing is written, and nothing is noted.
    let stranger = scene.registered(STRANGER).await?;
    let refused = stranger.import(&card, Class::Laboratory, &first, Vec::new()).await;
    assert!(matches!(refused, Err(ClientError::Node(NodeError::Refused { status: 403, .. }))), "{refused:?}");
    assert!(!scene.data_dir(STRANGER).join("imports").exists());
    Ok(())
}
