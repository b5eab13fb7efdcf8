//! Which data the node serves to whom. Nothing is settled in these tests, so no grant opens anything. `settlement.rs`
//! tests what grants open.

use emr_api::{
    AuditPage, BatchView, OperationStatus, OwnGrantsView, PatientView, RecordSummary, RecordView, StorageView,
    Submission, SubtreeView,
};
use emr_core::{Class, Rights, UnixTime, Uses, cid::Codec};

use emr_rollup::{
    operation::{Action, Kind, SetGrant},
    state::leaf::GrantLeaf,
};

use crate::stage::*;

#[tokio::test(flavor = "multi_thread")]
async fn blocks_belong_to_their_uploader_then_to_their_patient() -> Outcome {
    let scene = World::populated().await?;
    let (patient, doctor, stranger, accounts) = (&scene.patient, &scene.doctor, &scene.stranger, scene.accounts);
    let block = doctor.put_block(Codec::Raw, b"ciphertext").await?;
    assert_eq!(doctor.block(&block).await?, b"ciphertext");
    for caller in [patient, stranger, &scene.hospital] {
        assert_eq!(code(caller.block(&block).await), "not-found");
    }
    assert_eq!(code(stranger.block(&emr_core::cid::cid_of(Codec::Raw, b"nothing")).await), "not-found");

    // The doctor may only write. Once the block is part of the record, its uploader cannot read it.
    patient.grant(FIRST, accounts.doctor, Rights::WRITE, &[Class::Summary], next_year()).await?;
    let record = doctor.upload(&[b"ciphertext"]).await?;
    doctor.submit(&doctor.put_record(accounts.patient, 0, Class::Summary, &record)).await?;
    assert_eq!(patient.block(&block).await?, b"ciphertext");
    assert_eq!(patient.block(&record).await?, manifest(&[block]));
    assert_eq!(code(doctor.block(&block).await), "forbidden");
    assert_eq!(code(stranger.block(&block).await), "not-found", "a stranger does not learn that the block is here");
    assert_eq!(code(scene.other.block(&block).await), "not-found");

    // A stranger who uploads the same bytes may read those, but not the record's other blocks.
    stranger.put_block(Codec::Raw, b"ciphertext").await?;
    assert_eq!(code(stranger.block(&record).await), "not-found");
    scene.node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn late_to_allow_and_early_to_deny() -> Outcome {
    let scene = World::populated().await?;
    let (patient, doctor, stranger, accounts) = (&scene.patient, &scene.doctor, &scene.stranger, scene.accounts);
    let record = patient.upload(&[b"ciphertext"]).await?;
    patient.submit(&patient.put_record(accounts.patient, 0, Class::Summary, &record)).await?;
    let records = format!("v1/patients/{}/records", accounts.patient);
    let first = format!("{records}/0");

    for caller in [doctor, stranger] {
        assert_eq!(code(caller.view(accounts.patient).await), "forbidden");
        assert_eq!(code(caller.get::<Vec<RecordSummary>>(&records).await), "forbidden");
        assert_eq!(code(caller.get::<RecordView>(&first).await), "forbidden");
    }
    let (directory, _) = {
        let granted = patient.grant(FIRST, accounts.stranger, Rights::READ, &[Class::Summary], next_year()).await?;
        let cid = granted.directory.ok_or("a directory")?;
        (cid, ())
    };
    // The grant is acknowledged but not settled: the doctor sees what they need to act, and no record.
    assert_eq!(stranger.view(accounts.patient).await?.grants.len(), 1);
    assert_eq!(stranger.get::<Vec<RecordSummary>>(&records).await?.len(), 1);
    assert!(stranger.block(&directory).await.is_ok());
    let request = stranger.request_access(accounts.patient, FIRST, Uses::ZERO, Class::Summary);
    stranger.submit(&request).await?;
    let refused = stranger.get::<RecordView>(&first).await.expect_err("must be refused");
    assert_eq!((refused.status, refused.code.as_str()), (503, "unavailable"));
    assert_eq!(code(stranger.block(&record).await), "unavailable");

    // A revocation ends all access at once.
    patient.revoke(FIRST).await?;
    assert_eq!(code(stranger.get::<RecordView>(&first).await), "revoked");
    assert_eq!(code(stranger.block(&record).await), "revoked");
    assert_eq!(code(stranger.view(accounts.patient).await), "revoked");
    assert_eq!(code(stranger.get::<Vec<RecordSummary>>(&records).await), "revoked");
    assert_eq!(code(stranger.block(&directory).await), "revoked");
    let request = stranger.request_access(accounts.patient, FIRST, Uses::new(1)?, Class::Summary);
    assert_eq!(code(stranger.submit(&request).await), "refused");
    // The patient always sees everything.
    assert_eq!(patient.block(&record).await?, patient.block(&record).await?);
    let view: RecordView = patient.get(&first).await?;
    assert_eq!((view.slot.get(), view.proof), (0, None));
    assert_eq!(code(patient.get::<RecordView>(&format!("{records}/5")).await), "not-found");
    assert_eq!(code(patient.get::<RecordView>(&format!("{records}/99999")).await), "malformed");
    scene.node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_expire_by_l1s_clock() -> Outcome {
    let scene = World::populated().await?;
    let (patient, stranger, accounts) = (&scene.patient, &scene.stranger, scene.accounts);
    let soon = UnixTime::now().saturating_add(1000);
    patient.grant(FIRST, accounts.stranger, Rights::READ, &[Class::Summary], soon).await?;
    stranger.view(accounts.patient).await?;
    advance(&scene.world, 2000).await?;
    until(|| async { stranger.view(accounts.patient).await.is_err() }).await?;
    assert_eq!(code(stranger.view(accounts.patient).await), "revoked");
    let request = stranger.request_access(accounts.patient, FIRST, Uses::ZERO, Class::Summary);
    assert_eq!(code(stranger.submit(&request).await), "refused");
    scene.node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subtree_is_its_patients_alone() -> Outcome {
    let scene = World::populated().await?;
    let accounts = scene.accounts;
    let path = format!("v1/patients/{}/subtree", accounts.patient);
    let grants = format!("v1/patients/{}/grants", accounts.patient);
    let audit = format!("v1/patients/{}/audit?end=1&limit=1", accounts.patient);
    for caller in [&scene.hospital, &scene.doctor, &scene.other] {
        assert_eq!(code(caller.get::<SubtreeView>(&path).await), "forbidden");
        assert_eq!(code(caller.get::<OwnGrantsView>(&grants).await), "forbidden");
        assert_eq!(code(caller.get::<AuditPage>(&audit).await), "forbidden");
    }
    assert_eq!(code(scene.patient.get::<AuditPage>(&audit).await), "unavailable", "not settled yet");
    // The answer holds what the patient signed before anything is settled. It does not hold what others did on the
    // subtree.
    scene.patient.grant(FIRST, accounts.doctor, Rights::WRITE, &[Class::Summary], next_year()).await?;
    let record = scene.doctor.upload(&[b"content"]).await?;
    scene.doctor.submit(&scene.doctor.put_record(accounts.patient, 0, Class::Summary, &record)).await?;
    let own: OwnGrantsView = scene.patient.get(&grants).await?;
    let kinds: Vec<_> = own.pending.iter().map(|signed| signed.operation.action.kind()).collect();
    assert_eq!((own.batch, own.grants, kinds), (0, Vec::new(), vec![Kind::SetGrant]));
    assert_eq!(code(scene.patient.get::<SubtreeView>(&path).await), "unavailable", "not settled yet");
    let doctors = format!("v1/patients/{}", accounts.doctor);
    assert_eq!(code(scene.doctor.get::<PatientView>(&doctors).await), "not-found");
    scene.node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisations_grant_extends_to_its_doctors_alone() -> Outcome {
    let scene = World::populated().await?;
    let (patient, accounts) = (&scene.patient, scene.accounts);
    patient.grant(FIRST, accounts.hospital, Rights::READ | Rights::WRITE, &[Class::Summary], next_year()).await?;
    scene.doctor.view(accounts.patient).await?;
    scene.hospital.view(accounts.patient).await?;
    assert_eq!(code(scene.stranger.view(accounts.patient).await), "forbidden");
    let record = scene.doctor.upload(&[b"content"]).await?;
    scene.doctor.submit(&scene.doctor.put_record(accounts.patient, 0, Class::Summary, &record)).await?;
    patient.revoke(FIRST).await?;
    assert_eq!(code(scene.doctor.view(accounts.patient).await), "revoked");
    scene.node.shutdown().await;
    Ok(())
}

/// If a narrower grant is signed but never settled, the wider one does not come back.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_patient_signed_away_stays_away() -> Outcome {
    let scene = World::populated().await?;
    let (patient, accounts) = (&scene.patient, scene.accounts);
    let (first, second) = (Class::Summary, Class::Laboratory);
    for (slot, class) in [(0, first), (1, second)] {
        let record = patient.upload(&[class.name().as_bytes()]).await?;
        patient.submit(&patient.put_record(accounts.patient, slot, class, &record)).await?;
    }
    let wide = patient.grant(FIRST, accounts.stranger, Rights::READ, &[first, second], next_year()).await?;
    let Action::SetGrant(SetGrant { leaf, directory_after, .. }) = wide.signed.operation.action else {
        return Err("".into());
    };
    let (cid, after) = patient.publish_directory().await?;
    let narrow = Action::SetGrant(SetGrant {
        slot: FIRST,
        expected: leaf.version,
        leaf: GrantLeaf { scope: first.into(), version: leaf.version.next()?, ..leaf },
        directory_before: directory_after,
        directory_after: after,
    });
    let signed = patient.sign_until(accounts.patient, narrow, UnixTime::now().saturating_add(500));
    let narrow = Submission { signed, stored: None, epoch: None, directory: Some(cid) };
    patient.submit(&narrow).await?;

    // The operation expires before it is sealed.
    advance(&scene.world, 7000).await?;
    let scene = scene.log_in_again().await?;
    scene.hospital.post::<BatchView>("v1/batches/seal", &()).await?;
    let scene = scene.restart().await?;
    let id = narrow.signed.id(scene.world.domain());
    let status: OperationStatus = scene.patient.get(&format!("v1/operations/{id}")).await?;
    assert!(matches!(status, OperationStatus::Returned { .. }), "{status:?}");
    let records = format!("v1/patients/{}/records", accounts.patient);
    let seen: Vec<RecordSummary> = scene.stranger.get(&records).await?;
    assert_eq!(seen.iter().map(|record| record.leaf.class).collect::<Vec<_>>(), [first]);
    let read = async |slot: u64| code(scene.stranger.get::<RecordView>(&format!("{records}/{slot}")).await);
    // The first class is not settled here. The second must be revoked.
    assert_eq!((read(0).await, read(1).await), ("unavailable".to_owned(), "revoked".to_owned()));
    // The doctor sees the grant of the state, and the patient can grant the class again.
    assert_eq!(scene.stranger.view(accounts.patient).await?.grants[0].grant, leaf);
    scene.patient.grant(FIRST, accounts.stranger, Rights::READ, &[first, second], next_year()).await?;
    assert_eq!(read(1).await, "unavailable");
    scene.node.shutdown().await;
    Ok(())
}

/// The patient sees who uses how much space, and nobody else does.
#[tokio::test(flavor = "multi_thread")]
async fn who_uses_a_patients_space_is_shown_to_the_patient() -> Outcome {
    let scene = World::populated().await?;
    let (patient, doctor, accounts) = (&scene.patient, &scene.doctor, scene.accounts);
    patient.grant(FIRST, accounts.doctor, Rights::WRITE, &[Class::Summary], next_year()).await?;
    let record = doctor.upload(&[b"ciphertext"]).await?;
    doctor.submit(&doctor.put_record(accounts.patient, 0, Class::Summary, &record)).await?;
    let path = format!("v1/patients/{}/storage", accounts.patient);
    for caller in [doctor, &scene.stranger, &scene.hospital] {
        assert_eq!(code(caller.get::<StorageView>(&path).await), "forbidden");
    }
    let view: StorageView = patient.get(&path).await?;
    let [writer] = view.writers[..] else { return Err(format!("{view:?}").into()) };
    assert_eq!((writer.account, writer.slots, writer.slot_limit), (accounts.doctor, 1, 4096));
    assert_eq!((writer.used.blocks, writer.used.bytes), (2, 10 + 42));
    assert_eq!(writer.limit.bytes, 2 << 30);
    assert_eq!((view.limit.bytes, view.directories.blocks), (8 << 30, 4));
    scene.node.shutdown().await;
    Ok(())
}

/// Somebody who may read one class does not learn in which class another record is, by its slot or by a block of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_class_is_not_named_to_somebody_who_may_not_know_it() -> Outcome {
    let scene = World::populated().await?;
    let (patient, stranger, accounts) = (&scene.patient, &scene.stranger, scene.accounts);
    let record = patient.upload(&[b"potassium 4.1"]).await?;
    patient.submit(&patient.put_record(accounts.patient, 0, Class::Laboratory, &record)).await?;
    patient.grant(FIRST, accounts.stranger, Rights::READ, &[Class::Summary], next_year()).await?;
    let records = format!("v1/patients/{}/records", accounts.patient);
    assert_eq!(stranger.get::<Vec<RecordSummary>>(&records).await?.len(), 0);
    let hidden = stranger.get::<RecordView>(&format!("{records}/0")).await.expect_err("must be refused");
    let none = stranger.get::<RecordView>(&format!("{records}/1")).await.expect_err("no such record");
    assert_eq!((hidden.status, &hidden.code), (none.status, &none.code), "both look the same");
    let message = hidden.to_string();
    assert!(!message.contains(Class::Laboratory.name()), "{message}");
    assert_eq!(code(stranger.block(&record).await), "not-found");
    // Who could read it once learns that the right has ended.
    let both = [Class::Summary, Class::Laboratory];
    patient.grant(FIRST, accounts.stranger, Rights::READ, &both, next_year()).await?;
    assert_eq!(code(stranger.block(&record).await), "unavailable");
    patient.grant(FIRST, accounts.stranger, Rights::READ, &[Class::Summary], next_year()).await?;
    assert_eq!(code(stranger.get::<RecordView>(&format!("{records}/0")).await), "revoked");
    assert_eq!(code(stranger.block(&record).await), "revoked");
    scene.node.shutdown().await;
    Ok(())
}
