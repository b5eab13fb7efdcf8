//! Rekeying: after a revocation, the ciphertext that the hospital stores is closed to the revoked reader too.

use emr_api::{RecordView, StoredAt};
use emr_client::{
    Client, ClientError,
    flow::grant::GrantError,
    flow::next_version::EditClass,
    flow::rekey::{RekeyOutcome, Rekeyed},
    flow::submit::{Fate, Resumed},
    flow::upload::Written,
    verify::record::RecordId,
};
use emr_core::{Class, ClassMask, Reason, RecordStatus, Rights, cid::codec_of};
use emr_crypto::SealedRecord;
use emr_rollup::operation::Kind;

use crate::{
    from_now::{keys, opened, opens},
    proxy::{Fault, Proxy, lie},
    scene::*,
};

/// The address of a record's newest ciphertext.
async fn newest(patient: &Client, written: &Written) -> TestResult<Written> {
    let view = patient.node().record(written.patient, written.slot).await?;
    Ok(Written { record_cid: view.stored.manifest, ..written.clone() })
}

fn slots_of(done: &[Rekeyed], outcome: fn(&RekeyOutcome) -> bool) -> Vec<u64> {
    done.iter().filter(|rekeyed| outcome(&rekeyed.outcome)).map(|rekeyed| rekeyed.slot.get()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ciphertext_stored_after_a_rekey_is_closed_to_a_revoked_reader() -> TestResult {
    let scene = Scene::proving().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let stranger = scene.registered(STRANGER).await?;
    let card = handed_over(&patient);
    let laboratory = doctor.upload(&card, Class::Laboratory, &record("potassium 4.1")).await?;
    let imaging = doctor.upload(&card, Class::Imaging, &record("thorax")).await?;
    patient.grant(&handed_over(&stranger), &terms(Rights::READ, ClassMask::ALL)).await?;
    let held = keys(&patient, &stranger).await?;
    patient.revoke(stranger.account()?, ClassMask::ALL).await?;
    scene.next_batch().await?;
    let late = doctor.upload(&card, Class::Laboratory, &record("potassium 4.3")).await?;
    assert!(opens(&scene, &patient, &laboratory, &held).await?, "the revoked reader has keys and blocks");
    assert!(!opens(&scene, &patient, &late, &held).await?);

    let mut told = Vec::new();
    let tell = |rekeyed: &Rekeyed, left| told.push((rekeyed.slot.get(), left));
    let done = patient.rekey(Class::Laboratory.into(), None, tell).await?;
    assert_eq!(told, [(laboratory.slot.get(), 1), (late.slot.get(), 0)], "the records of the class");
    assert_eq!(slots_of(&done, |outcome| *outcome == RekeyOutcome::Unsettled), [late.slot.get()]);
    assert_eq!(slots_of(&done, |outcome| matches!(outcome, RekeyOutcome::Rekeyed { .. })), [laboratory.slot.get()]);
    let rekeyed = newest(&patient, &laboratory).await?;
    assert_ne!(rekeyed.record_cid, laboratory.record_cid);
    assert!(!opens(&scene, &patient, &rekeyed, &held).await?);
    // Those who may read it can: the author's signature is the same, and the version too.
    let (read, _) = patient.retrieve(&card, laboratory.slot, None).await?;
    assert_eq!(read.unproven().record(), &record("potassium 4.1"));
    assert_eq!((read.unproven().author(), read.unproven().leaf().version), (doctor.account()?, laboratory.version));
    let (read, _) = doctor.retrieve(&card, laboratory.slot, Some(Reason::Treatment)).await?;
    assert_eq!(read.unproven().record(), &record("potassium 4.1"));
    // The other class was not touched. A second run has nothing to do.
    assert_eq!(newest(&patient, &imaging).await?.record_cid, imaging.record_cid);
    let again = patient.rekey(Class::Laboratory.into(), None, |_, _| ()).await?;
    assert_eq!(slots_of(&again, |outcome| *outcome == RekeyOutcome::Current), [laboratory.slot.get()]);
    let error = doctor.rekey(ClassMask::ALL, None, |_, _| ()).await;
    assert!(matches!(error, Err(ClientError::Grant(GrantError::NotAPatient))), "{error:?}");
    // The node serves the revoked reader neither the old ciphertext nor the new.
    for cid in [&laboratory.record_cid, &rekeyed.record_cid] {
        assert!(stranger.node().block(cid).await.is_err_and(|error| error.is_revoked()));
        doctor.node().block(cid).await?;
    }
    Ok(())
}

fn rekeys(patient: &Client) -> usize {
    patient.profile().outbox().entries().iter().filter(|entry| entry.kind() == Kind::Rekey).count()
}

/// A node cannot make the patient rekey anything but the record's newest settled version. It cannot make them believe that a record is under the
/// newest keys, or hide a record. An edit and a rekey at the same time lose neither.
#[tokio::test(flavor = "multi_thread")]
async fn neither_a_lying_node_nor_an_edit_decides_what_is_rekeyed() -> TestResult {
    let scene = Scene::proving().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let other_hospital = scene.registered(REGISTRAR).await?;
    let card = handed_over(&patient);
    let first = doctor.upload(&card, Class::Laboratory, &record("potassium 4.1")).await?;
    let second = doctor.upload(&card, Class::Laboratory, &record("sodium 140")).await?;
    let present = keys(&patient, &doctor).await?;
    let stranger = scene.registered(STRANGER).await?;
    patient.grant(&handed_over(&stranger), &terms(Rights::READ, ClassMask::ALL)).await?;
    patient.revoke(stranger.account()?, ClassMask::ALL).await?;
    scene.next_batch().await?;

    // The node has a copy of the record that is sealed to the newest epoch, as everybody can make it who has the record.
    let account = patient.account()?;
    let view = patient.node().record(account, first.slot).await?;
    let other = patient.node().record(account, second.slot).await?;
    let directory = patient.node().patient(account).await?.directory.ok_or("published")?;
    let newest = patient.directory(&directory).await?.current_public(Class::Laboratory);
    let copy = opened(&scene, &patient, &first, &present).await?.ok_or("the doctor's keys open it")?;
    let id = RecordId { domain: patient.domain(), patient: account, slot: first.slot };
    let copy = SealedRecord::seal(&copy.authored, &id.context(&view.leaf), &newest)?;
    for (cid, bytes) in &copy.blocks {
        patient.node().put_block(codec_of(cid)?, bytes).await?;
    }
    let at = StoredAt { manifest: copy.manifest, salt: copy.storage_salt };

    drop(patient);
    let proxy = Proxy::new(scene.node.url())?;
    let patient = scene.client_at(PATIENT, &proxy.address).await?;
    patient.resume().await?;
    type Lie = Box<dyn Fn(&mut RecordView) + Send>;
    let lies: [(&str, Lie); 5] = [
        ("the ciphertext of another record", Box::new(move |view| view.stored = other.stored)),
        ("another record", {
            let other = patient.node().record(account, second.slot).await?;
            Box::new(move |view| *view = RecordView { slot: view.slot, ..other.clone() })
        }),
        ("another class", Box::new(|view| view.leaf.class = Class::Imaging)),
        ("another revision", Box::new(|view| view.leaf.revision = view.leaf.revision.next().expect("room"))),
        ("ciphertext under the newest keys", Box::new(move |view| view.stored = at)),
    ];
    for (what, change) in lies {
        proxy.set(lie(format!("GET /v1/patients/{account}/records/{} ", first.slot), change));
        let rekeyed = patient.rekey(Class::Laboratory.into(), None, |_, _| ()).await;
        assert!(rekeyed.is_err(), "{what}: {rekeyed:?}");
    }
    // Without a proof nothing is signed, and the patient learns which records it was.
    let withheld: [Lie; 2] =
        [Box::new(|view| view.proof = None), Box::new(|view| view.leaf.status = RecordStatus::Tombstone)];
    for change in withheld {
        proxy.set(lie(format!("GET /v1/patients/{account}/records/"), change));
        let rekeyed = patient.rekey(Class::Laboratory.into(), None, |_, _| ()).await?;
        let slots = slots_of(&rekeyed, |outcome| *outcome == RekeyOutcome::Unsettled);
        assert_eq!(slots, [first.slot.get(), second.slot.get()]);
    }
    assert_eq!(rekeys(&patient), 0);

    // The Rekey is lost on its way, and the doctor edits the record. The next run drops the Rekey: the edit stays.
    proxy.set(|request, _| request.starts_with("POST /v1/operations ").then_some(Fault::LoseRequest));
    let lost = patient.rekey(Class::Laboratory.into(), None, |_, _| ()).await;
    assert!(lost.is_err_and(|error| error.is_temporary()));
    assert_eq!(rekeys(&patient), 1);
    proxy.clear();
    let stated = EditClass::Stated(Class::Laboratory);
    doctor.edit(&card, first.slot, stated, &record("potassium 4.2")).await?;
    let refused = |resumed: &Resumed| resumed.kind == Kind::Rekey && matches!(resumed.fate, Fate::Refused { .. });
    assert_eq!(patient.resume().await?.iter().filter(|resumed| refused(resumed)).count(), 1);
    assert!(rekeys(&patient) == 0 && patient.profile().outbox().refused().is_empty());
    // The record that waits for its batch is told. The other one is rekeyed, and named as another hospital's.
    let hospital = handed_over(&other_hospital);
    let done = patient.rekey(Class::Laboratory.into(), Some(&hospital), |_, _| ()).await?;
    assert_eq!(slots_of(&done, |outcome| *outcome == RekeyOutcome::Unsettled), [first.slot.get()]);
    let to = Some(other_hospital.account()?);
    assert!(matches!(done[1].outcome, RekeyOutcome::Rekeyed { custodian, .. } if custodian == to), "{done:?}");
    // A doctor's edit on top of a Rekey that is not settled. It keeps the custodian.
    doctor.edit(&card, second.slot, stated, &record("sodium 141")).await?;
    patient.edit(&card, first.slot, stated, &record("potassium 4.3")).await?;
    scene.next_batch().await?;
    for (slot, text) in [(first.slot, "potassium 4.3"), (second.slot, "sodium 141")] {
        let (read, _) = patient.retrieve(&card, slot, None).await?;
        assert_eq!(read.verified().ok_or("verified")?.authentic().record(), &record(text));
    }

    // An earlier settled version, with its proof, is not rekeyed.
    proxy.set(lie(format!("GET /v1/patients/{account}/records/{} ", first.slot), move |shown: &mut RecordView| {
        shown.clone_from(&view);
    }));
    let old = patient.rekey(Class::Laboratory.into(), None, |_, _| ()).await;
    assert!(old.is_err(), "{old:?}");
    proxy.clear();
    // What was written after the revocation is under the newest keys. Only a custodian can change. The ciphertext stays.
    let before = newest_at(&patient, &first).await?;
    let done = patient.rekey(Class::Laboratory.into(), Some(&hospital), |_, _| ()).await?;
    assert_eq!(slots_of(&done, |outcome| *outcome == RekeyOutcome::Current), [second.slot.get()]);
    assert!(matches!(done[0].outcome, RekeyOutcome::Rekeyed { custodian, .. } if custodian == to), "{done:?}");
    assert_eq!(newest_at(&patient, &first).await?, before);
    let again = patient.rekey(Class::Laboratory.into(), Some(&hospital), |_, _| ()).await?;
    assert_eq!(slots_of(&again, |outcome| *outcome == RekeyOutcome::Current).len(), 2, "{again:?}");
    let of_doctor = handed_over(&doctor);
    let refused = patient.rekey(Class::Laboratory.into(), Some(&of_doctor), |_, _| ()).await;
    assert!(matches!(refused, Err(ClientError::Grant(GrantError::Custodian(_)))), "{refused:?}");
    Ok(())
}

async fn newest_at(patient: &Client, written: &Written) -> TestResult<StoredAt> {
    Ok(patient.node().record(written.patient, written.slot).await?.stored)
}
