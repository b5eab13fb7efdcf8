//! A patient ends their account through L1.

use emr_chain::SignedChange;
use emr_client::verify::card::Card;
use emr_core::{Class, ClassMask, Rights};

use crate::scene::*;

#[tokio::test(flavor = "multi_thread")]
async fn under_a_closed_account_nothing_more_is_written_or_granted() -> TestResult {
    let scene = Scene::proving_for([DOCTOR.address()]).await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let card = handed_over(&patient);
    doctor.upload(&card, Class::Summary, &record("before")).await?;
    let doctors: Card = handed_over(&doctor);
    scene.next_batch().await?;
    drop((patient, doctor));

    // The patient has no ether.
    let own = scene.on_l1(PATIENT).await?;
    assert!(own.close_account().await.is_err());
    let signed: SignedChange = serde_json::from_str(&serde_json::to_string(&own.sign_closing().await?)?)?;
    drop(own);
    let relaying = scene.on_l1(DOCTOR).await?;
    assert_eq!(relaying.relay(&signed).await?.queued.index, 0);
    assert!(relaying.relay(&signed).await.is_err(), "a second time");
    drop(relaying);
    scene.next_batch().await?;

    let doctor = scene.client(DOCTOR).await?;
    assert!(doctor.upload(&card, Class::Summary, &record("after")).await.is_err());
    drop(doctor);
    let patient = scene.client(PATIENT).await?;
    assert!(patient.grant(&doctors, &terms(Rights::READ, ClassMask::ALL)).await.is_err());
    Ok(())
}
