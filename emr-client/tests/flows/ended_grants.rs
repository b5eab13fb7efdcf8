//! When a delegate's grant ends, the keys that it handed on open nothing new, whatever the node shows and whatever directories came between.

use emr_api::DelegatedGrant;
use emr_client::{Client, flow::own_directory::Repaired};
use emr_core::{Class, ClassMask, Rights};

use crate::{
    delegate::{family, grants_lab, lab},
    from_now::keys,
    proxy::{Proxy, lie},
    scene::*,
};

/// The directory that the patient's next run publishes by itself, once it is settled. The run after it finds nothing more to do.
async fn repaired(scene: &Scene, patient: &Client) -> TestResult<Option<Repaired>> {
    let repaired = patient.repair_directory().await?;
    assert_eq!(patient.repair_directory().await?, None, "once is enough, also while it waits");
    if repaired.is_some() {
        scene.next_batch().await?;
        patient.resume().await?;
        assert_eq!(patient.repair_directory().await?, None);
    }
    Ok(repaired)
}

/// The reader gets into no directory, and another directory with the same epochs comes between the grant and its end.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_an_ended_grant_open_nothing_new_after_another_directory() -> TestResult {
    let scene = Scene::proving().await?;
    let (patient, delegate, reader, _) = family(&scene).await?;
    let (card, account) = (handed_over(&patient), patient.account()?);
    let granted = grants_lab(&delegate, &card, &reader).await?;
    scene.next_batch().await?;
    delegate.resume().await?;

    // The patient has not heard of the grant when they publish the next directory. Its laboratory keys are the same.
    drop(patient);
    let proxy = Proxy::new(scene.node.url())?;
    let patient = scene.client_at(PATIENT, &proxy.address).await?;
    let list = format!("GET /v1/patients/{account}/delegated-grants");
    proxy.set(lie(list.clone(), |grants: &mut Vec<DelegatedGrant>| grants.clear()));
    let epoch = keys(&patient, &delegate).await?.epochs(Class::Laboratory).ok_or("read")?.1;
    let hospital = scene.client(HOSPITAL).await?;
    patient.grant(&handed_over(&hospital), &terms(Rights::READ, Class::Imaging.into())).await?;
    drop(hospital);
    let ring = keys(&patient, &delegate).await?;
    assert_eq!(ring.epochs(Class::Laboratory).ok_or("read")?.1, epoch, "the same keys");
    assert!(keys(&patient, &reader).await.is_err());
    scene.next_batch().await?;
    patient.resume().await?;

    // The grant ends. The next run begins a new epoch: not before L1 holds the grant, whatever the node says, and only once.
    delegate.revoke_for(&card, &handed_over(&reader), ClassMask::ALL).await?;
    scene.next_batch().await?;
    delegate.resume().await?;
    proxy.set(lie(list, |grants: &mut Vec<DelegatedGrant>| grants.iter_mut().for_each(|grant| grant.batch = Some(1))));
    assert_eq!(patient.repair_directory().await?, None);
    proxy.clear();
    let begun = repaired(&scene, &patient).await?.ok_or("new keys")?;
    assert_eq!((begun.new_epochs, begun.added), (lab(), Vec::new()));
    let ring = keys(&patient, &delegate).await?;
    assert!(ring.epochs(Class::Laboratory).ok_or("read")?.1 > epoch);

    // The slot's versions go on: the next grant in it is another one, and its end counts too.
    let again = grants_lab(&delegate, &card, &reader).await?;
    assert_eq!(again.slot, granted.slot);
    scene.next_batch().await?;
    delegate.resume().await?;
    delegate.revoke_for(&card, &handed_over(&reader), ClassMask::ALL).await?;
    scene.next_batch().await?;
    delegate.resume().await?;
    assert_eq!(repaired(&scene, &patient).await?.ok_or("new keys")?.new_epochs, lab());

    // A profile that does not know the directories any more begins one epoch too many, and not one in each run.
    drop(patient);
    std::fs::remove_file(scene.data_dir(PATIENT).join("directories.json"))?;
    let patient = scene.client(PATIENT).await?;
    assert_eq!(repaired(&scene, &patient).await?.ok_or("new keys")?.new_epochs, lab());
    patient.light_check().await?;
    Ok(())
}
