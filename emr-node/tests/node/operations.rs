//! Which operations the node acknowledges, and which it refuses.

use emr_api::receipt;
use emr_api::{NodeStatus, OperationStatus, Receipt, StoredAt, Submission};
use std::time::Instant;

use emr_core::{Class, RecordStatus, Rights, UnixTime, Uses, Version, cid::Codec};
use emr_crypto::PatientDirectory;
use emr_rollup::{
    operation::{Action, DirectoryCommitment, OperationId, PutRecord, SetGrant, Tombstone},
    state::leaf::RecordLeaf,
};

use crate::stage::*;

fn id(scene: &Scene, submission: &Submission) -> OperationId {
    submission.signed.id(scene.world.domain())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_promised_and_counts_at_once() -> Outcome {
    let scene = World::populated().await?;
    let (patient, doctor, accounts) = (&scene.patient, &scene.doctor, scene.accounts);
    patient.grant(FIRST, accounts.doctor, Rights::READ | Rights::WRITE, &[Class::Laboratory], next_year()).await?;
    let view = doctor.view(accounts.patient).await?;
    assert_eq!(view.grants.len(), 1);
    assert_eq!(view.directory_operations.len(), 1);
    assert_eq!(view.next_record_slot.get(), 0);
    assert_eq!((view.proof.batch, view.proof.leaf), (0, None));

    let record = doctor.upload(&[b"key", b"sealed", b"content"]).await?;
    let submission = doctor.put_record(accounts.patient, 0, Class::Laboratory, &record);
    let began = Instant::now();
    let promised = doctor.submit(&submission).await?;
    let took = began.elapsed();
    println!("an acknowledged PutRecord took {took:.2?}");
    let instance = scene.world.rollup.instance();
    receipt::verify(
        &promised,
        instance,
        people().hospital.address(),
        id(&scene, &submission),
        receipt::Longest::Ordinary,
        UnixTime::now(),
    )?;
    assert!(promised.settle_by > promised.acknowledged);

    // The same operation again gives the same promise, and nothing is done twice.
    assert_eq!(doctor.submit(&submission).await?, promised);
    let status: NodeStatus = doctor.get("v1/status").await?;
    assert_eq!(status.pending, 2);
    assert_eq!(doctor.view(accounts.patient).await?.next_record_slot.get(), 1);

    let path = format!("v1/operations/{}", id(&scene, &submission));
    assert_eq!(doctor.get::<OperationStatus>(&path).await?, OperationStatus::Pending);
    assert_eq!(patient.get::<OperationStatus>(&path).await?, OperationStatus::Pending);
    assert_eq!(code(scene.other.get::<OperationStatus>(&path).await), "not-found");
    assert_eq!(code(doctor.get::<OperationStatus>("v1/operations/xyz").await), "malformed");

    // The patient's blocks are pinned.
    use emr_ipfs::Blockstore;
    assert!(scene.world.store()?.pins().await?.contains(&record));

    // A second write of the same slot that expects it empty is stale.
    let again = doctor.put_record(accounts.patient, 0, Class::Laboratory, &doctor.upload(&[b"other"]).await?);
    assert_eq!(code(doctor.submit(&again).await), "stale");

    // The latency of many.
    let mut times = Vec::new();
    for slot in 1..=20 {
        let record = doctor.upload(&[&rand::random::<[u8; 64]>()]).await?;
        let submission = doctor.put_record(accounts.patient, slot, Class::Laboratory, &record);
        let began = Instant::now();
        doctor.submit(&submission).await?;
        times.push(began.elapsed());
    }
    times.sort();
    println!(
        "acknowledged submit: median {:.2?}, worst {:.2?} of {}",
        times[times.len() / 2],
        times[times.len() - 1],
        times.len()
    );
    scene.node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_a_rule_is_refused() -> Outcome {
    let scene = World::populated().await?;
    let (patient, doctor, stranger, accounts) = (&scene.patient, &scene.doctor, &scene.stranger, scene.accounts);
    patient.grant(FIRST, accounts.doctor, Rights::WRITE, &[Class::Laboratory], next_year()).await?;
    let record = doctor.upload(&[b"content"]).await?;
    let good = doctor.put_record(accounts.patient, 0, Class::Laboratory, &record);

    // Another person's signature, or a valid one over another message.
    let mut forged = good.clone();
    forged.signed.signature = stranger.put_record(accounts.patient, 0, Class::Laboratory, &record).signed.signature;
    assert_eq!(code(doctor.submit(&forged).await), "refused");
    let mut altered = good.clone();
    altered.signed.operation.salt = random_element();
    assert_eq!(code(doctor.submit(&altered).await), "refused");
    // For another rollup.
    let elsewhere = Caller { domain: emr_rollup::operation::Domain::new(1, [1; 20]), ..doctor.clone() };
    let foreign = elsewhere.put_record(accounts.patient, 0, Class::Laboratory, &record);
    assert_eq!(code(doctor.submit(&foreign).await), "refused");
    // Submitted by another account.
    assert_eq!(code(stranger.submit(&good).await), "forbidden");
    // Out of scope; without a grant; on a doctor instead of a patient; signed by an account that does not exist.
    let imaging = doctor.put_record(accounts.patient, 0, Class::Imaging, &record);
    assert_eq!(code(doctor.submit(&imaging).await), "refused");
    let theirs = stranger.upload(&[b"content"]).await?;
    let ungranted = stranger.put_record(accounts.patient, 0, Class::Laboratory, &theirs);
    assert_eq!(code(stranger.submit(&ungranted).await), "refused");
    let no_patient = doctor.put_record(accounts.doctor, 0, Class::Laboratory, &record);
    assert_eq!(code(doctor.submit(&no_patient).await), "refused");
    // Expired, or valid for too long.
    let action = good.signed.operation.action;
    let expired = doctor.sign_until(accounts.patient, action, UnixTime::now().get().saturating_sub(10).try_into()?);
    assert_eq!(code(doctor.submit(&Submission { signed: expired, ..good.clone() }).await), "stale");
    let endless = doctor.sign_until(accounts.patient, action, UnixTime::now().saturating_add(8 * 24 * 3600));
    assert_eq!(code(doctor.submit(&Submission { signed: endless, ..good.clone() }).await), "stale");
    // A signature that is not canonical.
    let mut json = serde_json::to_value(&good)?;
    json["signed"]["signature"] = serde_json::Value::String("ff".repeat(96));
    assert_eq!(code(doctor.post::<serde_json::Value>("v1/operations", &json).await), "malformed");

    // After all of that the valid operation is still taken.
    doctor.submit(&good).await?;
    scene.node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_must_be_here_whole_and_its_writers_own() -> Outcome {
    let scene = World::populated().await?;
    let (patient, doctor, other, accounts) = (&scene.patient, &scene.doctor, &scene.other, scene.accounts);
    let classes = [Class::Laboratory, Class::Imaging];
    patient.grant(FIRST, accounts.doctor, Rights::READ | Rights::WRITE, &classes, next_year()).await?;
    let record = doctor.upload(&[b"content"]).await?;
    let good = doctor.put_record(accounts.patient, 0, Class::Laboratory, &record);
    let at = good.stored.ok_or("stored")?;

    // Pointers that differ from the signed ones, that are not pointers, or that are missing.
    let elsewhere = doctor.upload(&[b"elsewhere"]).await?;
    for (stored, directory, expected) in [
        (Some(StoredAt { manifest: elsewhere, ..at }), None, "refused"),
        (Some(StoredAt { salt: [0; 32], ..at }), None, "refused"),
        (None, None, "malformed"),
        (Some(at), Some(record), "malformed"),
    ] {
        let wrong = Submission { stored, directory, ..good.clone() };
        assert_eq!(code(doctor.submit(&wrong).await), expected, "{wrong:?}");
    }
    for (field, text) in [
        ("stored.salt", "00".to_owned()),
        ("stored.manifest", "no cid".to_owned()),
        ("stored.manifest", "b".repeat(5000)),
        ("directory", record.to_string().to_uppercase()),
        ("signed.signature", "0".repeat(190)),
        ("signed.operation.salt", format!("0x{}", "f".repeat(64))),
    ] {
        let wrong = with_field(&good, field, text)?;
        let refused = doctor.post::<Receipt>("v1/operations", &wrong).await.expect_err("must be refused");
        assert!(refused.code == "malformed" && refused.message.contains(&format!("field `{field}`")), "{refused}");
    }

    // A block that was never uploaded.
    let missing = emr_core::cid::cid_of(Codec::Raw, b"never uploaded");
    let holed = doctor.put_block(Codec::DagCbor, &manifest(&[missing])).await?;
    let submission = doctor.put_record(accounts.patient, 0, Class::Laboratory, &holed);
    let refused = doctor.submit(&submission).await.expect_err("must be refused");
    assert_eq!(refused.code, "missing-block");
    assert!(refused.message.contains(&missing.to_string()) && refused.message.contains("upload"), "{refused}");

    // A manifest that is not DAG-CBOR at all.
    let raw = doctor.put_block(Codec::Raw, b"raw").await?;
    let submission = doctor.put_record(accounts.patient, 0, Class::Laboratory, &raw);
    assert_eq!(code(doctor.submit(&submission).await), "refused");

    // The signer names somebody else's blocks by their address, which is refused. Otherwise the signer could make these
    // blocks part of a record that they may read.
    let hers = other.upload(&[b"her secret"]).await?;
    let theft = doctor.put_record(accounts.patient, 0, Class::Laboratory, &hers);
    let refused = doctor.submit(&theft).await.expect_err("must be refused");
    assert!(refused.message.contains("not uploaded by you"), "{refused}");
    other.submit(&other.put_record(accounts.other, 0, Class::Laboratory, &hers)).await?;
    assert_eq!(code(doctor.submit(&theft).await), "missing-block", "nor after they are part of a record");
    // The same with blocks of another class of the same patient.
    let imaging = patient.upload(&[b"an image"]).await?;
    patient.submit(&patient.put_record(accounts.patient, 7, Class::Imaging, &imaging)).await?;
    let across = doctor.put_record(accounts.patient, 0, Class::Laboratory, &imaging);
    assert_eq!(code(doctor.submit(&across).await), "missing-block");

    // The valid operation. The next version may keep blocks.
    doctor.submit(&good).await?;
    let next = next_version(doctor, &good)?;
    doctor.submit(&next).await?;
    scene.node.shutdown().await;
    Ok(())
}

fn next_version(doctor: &Caller, first: &Submission) -> Outcome<Submission> {
    let Action::PutRecord(PutRecord { slot, leaf, .. }) = first.signed.operation.action else {
        return Err("a PutRecord".into());
    };
    let next = RecordLeaf { version: leaf.version.next()?, revision: leaf.revision.next()?, ..leaf };
    let action = Action::PutRecord(PutRecord { slot, expected: leaf.revision, leaf: next });
    Ok(Submission { signed: doctor.sign(first.signed.operation.patient, action), ..first.clone() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_dag_costs_little() -> Outcome {
    let scene = World::populated().await?;
    let (patient, accounts) = (&scene.patient, scene.accounts);
    // A DAG that is deeper than any record.
    let mut top = patient.put_block(Codec::Raw, b"bottom").await?;
    for _ in 0..20 {
        top = patient.put_block(Codec::DagCbor, &manifest(&[top])).await?;
    }
    let deep = patient.put_record(accounts.patient, 0, Class::Summary, &top);
    let refused = patient.submit(&deep).await.expect_err("must be refused");
    assert_eq!(refused.code, "refused");
    assert!(refused.message.contains("depth"), "{refused}");
    // Every level links the next one many times. Each block counts once.
    let mut top = patient.put_block(Codec::Raw, b"bottom").await?;
    for _ in 0..10 {
        top = patient.put_block(Codec::DagCbor, &manifest(&[top; 20])).await?;
    }
    let began = Instant::now();
    patient.submit(&patient.put_record(accounts.patient, 0, Class::Summary, &top)).await?;
    assert!(began.elapsed().as_secs() < 10);
    // A block that is named DAG-CBOR and is not.
    assert_eq!(code(patient.put_block(Codec::DagCbor, b"\xff\xff").await), "refused");
    scene.node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_are_checked() -> Outcome {
    let scene = World::populated().await?;
    let (patient, other, accounts) = (&scene.patient, &scene.other, scene.accounts);
    let good = patient.grant(FIRST, accounts.doctor, Rights::READ, &[Class::Summary], next_year()).await?;
    let Action::SetGrant(SetGrant { leaf, directory_after, .. }) = good.signed.operation.action else {
        return Err("".into());
    };
    let next = |after: DirectoryCommitment| {
        Action::SetGrant(SetGrant {
            slot: slot(65),
            expected: Version::ZERO,
            leaf,
            directory_before: directory_after,
            directory_after: after,
        })
    };
    let (cid, after) = patient.publish_directory().await?;
    let submit = async |after, directory: Option<emr_core::Cid>| {
        let signed = patient.sign(accounts.patient, next(after));
        patient.submit(&Submission { signed, stored: None, epoch: None, directory }).await
    };
    // Not the signed one; missing; not uploaded; of another patient; not a directory.
    assert_eq!(code(submit(random_element().into(), Some(cid)).await), "refused");
    assert_eq!(code(submit(after, None).await), "malformed");
    let (theirs, of_other) = other.publish_directory().await?;
    assert_eq!(code(submit(of_other, Some(theirs)).await), "refused");
    let unpublished = PatientDirectory::create(&people().patient.identity).published().cid();
    let commitment = DirectoryCommitment::of(&unpublished);
    assert_eq!(code(submit(commitment, Some(unpublished)).await), "refused");
    let junk = patient.put_block(Codec::DagCbor, &manifest(&[cid])).await?;
    let commitment = DirectoryCommitment::of(&junk);
    assert_eq!(code(submit(commitment, Some(junk)).await), "refused");
    // A directory that is not changed needs no CID.
    submit(directory_after, None).await?;
    scene.node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_is_final() -> Outcome {
    let scene = World::populated().await?;
    let (patient, doctor, accounts) = (&scene.patient, &scene.doctor, scene.accounts);
    patient.grant(FIRST, accounts.doctor, Rights::READ | Rights::WRITE, &[Class::Summary], next_year()).await?;
    let record = doctor.upload(&[b"content"]).await?;
    let put = doctor.put_record(accounts.patient, 0, Class::Summary, &record);
    doctor.submit(&put).await?;
    let Action::PutRecord(PutRecord { slot, leaf, .. }) = put.signed.operation.action else { return Err("".into()) };
    let tombstone = RecordLeaf { status: RecordStatus::Tombstone, revision: leaf.revision.next()?, ..leaf };
    let action = Action::Tombstone(Tombstone { slot, expected: leaf.revision, leaf: tombstone });
    let signed = doctor.sign(accounts.patient, action);
    doctor.submit(&Submission { signed, stored: None, epoch: None, directory: None }).await?;
    let again = RecordLeaf {
        status: RecordStatus::Live,
        revision: tombstone.revision.next()?,
        version: leaf.version.next()?,
        ..leaf
    };
    let action = Action::PutRecord(PutRecord { slot, expected: tombstone.revision, leaf: again });
    let submission = Submission { signed: doctor.sign(accounts.patient, action), ..put };
    assert_eq!(code(doctor.submit(&submission).await), "stale");
    // The patient can still read it.
    assert!(patient.block(&record).await.is_ok());
    scene.node.shutdown().await;
    Ok(())
}

/// Of many operations on the same slot one is acknowledged. The same operation many times gives one promise.
#[tokio::test(flavor = "multi_thread")]
async fn races_have_one_winner() -> Outcome {
    let scene = World::populated().await?;
    let (patient, accounts) = (&scene.patient, scene.accounts);
    let mut rivals = Vec::new();
    for number in 0..8_u8 {
        let record = patient.upload(&[&[number]]).await?;
        let submission = patient.put_record(accounts.patient, 0, Class::Summary, &record);
        // Each is submitted twice, at once.
        for _ in 0..2 {
            let (patient, submission) = (patient.clone(), submission.clone());
            rivals.push(tokio::spawn(async move { patient.submit(&submission).await }));
        }
    }
    let mut promises = Vec::new();
    for rival in rivals {
        match rival.await? {
            Ok(promise) => promises.push(promise),
            Err(refused) => assert_eq!(refused.code, "stale"),
        }
    }
    assert!(matches!(&promises[..], [one, other] if one == other), "{promises:?}");
    let status: NodeStatus = patient.get("v1/status").await?;
    assert_eq!(status.pending, 1);
    scene.node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_signer_cannot_fill_the_mempool() -> Outcome {
    let scene = World::populated().await?;
    let (patient, accounts) = (&scene.patient, scene.accounts);
    patient.grant(FIRST, accounts.doctor, Rights::READ, &[Class::Summary], next_year()).await?;
    let mut last = Ok(());
    for uses in 0..300 {
        let request = scene.doctor.request_access(accounts.patient, FIRST, Uses::new(uses)?, Class::Summary);
        if let Err(refused) = scene.doctor.submit(&request).await {
            last = Err((uses, refused.code));
            break;
        }
    }
    assert_eq!(last, Err((256, "unavailable".to_owned())));
    // Others are still served.
    patient.revoke(FIRST).await?;
    scene.node.shutdown().await;
    Ok(())
}
