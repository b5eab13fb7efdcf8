//! The epoch that a submission names must be the one in force.

use emr_api::{NamedEpoch, Submission};
use emr_core::{Class, Rights, Uses};
use emr_crypto::{KeyEpoch, Past, PatientDirectory};
use emr_testkit::directories::{first_directory, first_epoch};

use crate::stage::*;

/// A directory that begins a new epoch of the laboratory records, for a new reader.
fn with_a_new_epoch(scene: &Scene) -> Outcome<PatientDirectory> {
    let mut directory = first_directory();
    let reader = scene.other.person.identity.encryption_key();
    directory.grant(scene.accounts.other, reader, Class::Laboratory.into(), Past::Closed)?;
    Ok(directory)
}

fn epoch_of(directory: &PatientDirectory) -> NamedEpoch {
    NamedEpoch::from(&directory.published().current_public(Class::Laboratory))
}

/// A submission names the epoch that its record is sealed under. It must be the current one.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_under_an_epoch_that_is_over_is_stale() -> Outcome {
    let scene = World::populated().await?;
    let (patient, doctor, accounts) = (&scene.patient, &scene.doctor, scene.accounts);
    let granted = Rights::READ | Rights::WRITE;
    patient.grant(FIRST, accounts.doctor, granted, &[Class::Laboratory, Class::Imaging], next_year()).await?;
    let directory = with_a_new_epoch(&scene)?;
    patient.grant_with(slot(65), accounts.other, Rights::READ, &[Class::Laboratory], next_year(), &directory).await?;

    let lab = doctor.put_record(accounts.patient, 0, Class::Laboratory, &doctor.upload(&[b"lab"]).await?);
    assert_eq!(code(doctor.submit(&lab).await), "stale");
    let current = epoch_of(&directory);
    let later = KeyEpoch::new(3).map(|number| NamedEpoch { number, ..current });
    for (epoch, expected) in [(None, "malformed"), (later, "stale")] {
        assert_eq!(code(doctor.submit(&Submission { epoch, ..lab.clone() }).await), expected);
    }
    let lab = Submission { epoch: Some(current), ..lab };
    doctor.submit(&lab).await?;
    // So must a Rekey's, which only the patient signs, with blocks that they uploaded.
    let again = patient.upload(&[b"lab again"]).await?;
    let old = patient.rekey(&lab, &again, first_epoch(Class::Laboratory))?;
    assert_eq!(code(patient.submit(&old).await), "stale");
    let others = doctor.upload(&[b"not the patient's"]).await?;
    for (signer, manifest, expected) in [(doctor, &again, "refused"), (patient, &others, "missing-block")] {
        assert_eq!(code(signer.submit(&signer.rekey(&lab, manifest, current)?).await), expected);
    }
    patient.submit(&patient.rekey(&lab, &again, current)?).await?;
    // The other class has no new epoch.
    let imaging = doctor.put_record(accounts.patient, 1, Class::Imaging, &doctor.upload(&[b"imaging"]).await?);
    doctor.submit(&imaging).await?;
    let request = scene.doctor.request_access(accounts.patient, FIRST, Uses::ZERO, Class::Laboratory);
    let odd = Submission { epoch: Some(first_epoch(Class::Laboratory)), ..request };
    assert_eq!(code(doctor.submit(&odd).await), "malformed");
    scene.node.shutdown().await;
    Ok(())
}

/// A patient makes two directories from the same one, for example because the first change was returned. Both begin epoch 2, with different
/// secrets. Nobody could ever read a record that is sealed under the directory that is not in force.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_under_another_directory_with_the_same_number_is_stale() -> Outcome {
    let scene = World::populated().await?;
    let (patient, doctor, accounts) = (&scene.patient, &scene.doctor, scene.accounts);
    patient.grant(FIRST, accounts.doctor, Rights::WRITE, &[Class::Laboratory], next_year()).await?;
    let (lost, in_force) = (with_a_new_epoch(&scene)?, with_a_new_epoch(&scene)?);
    patient.grant_with(slot(65), accounts.other, Rights::READ, &[Class::Laboratory], next_year(), &in_force).await?;
    let (lost, in_force) = (epoch_of(&lost), epoch_of(&in_force));
    assert!(lost.number == in_force.number && lost.key != in_force.key);

    let lab = doctor.put_record(accounts.patient, 0, Class::Laboratory, &doctor.upload(&[b"lab"]).await?);
    let refused = doctor.submit(&Submission { epoch: Some(lost), ..lab.clone() }).await.expect_err("must be refused");
    assert_eq!(refused.code, "stale");
    assert!(refused.message.contains("another key of this epoch"), "{refused}");
    doctor.submit(&Submission { epoch: Some(in_force), ..lab }).await?;
    scene.node.shutdown().await;
    Ok(())
}
