//! Which operations go into a batch. The tests read it from the prover's job. Nothing is proved or settled.

use alloy::primitives::B256;
use emr_api::{BatchView, OperationStatus, ProofJob, RecordSummary, Submission};
use emr_core::{Class, Rights, Role, UnixTime, Uses};
use emr_rollup::{statement::check_batch, version::CircuitVersion};

use crate::stage::*;

async fn seal(scene: &Scene) -> Answer<BatchView> {
    scene.hospital.post("v1/batches/seal", &()).await
}

async fn job(scene: &Scene) -> Outcome<ProofJob> {
    until(|| async { matches!(scene.hospital.get::<Option<ProofJob>>("v1/prover/job").await, Ok(Some(_))) }).await?;
    Ok(scene.hospital.get::<Option<ProofJob>>("v1/prover/job").await?.ok_or("no job")?)
}

async fn status(scene: &Scene, caller: &Caller, submission: &Submission) -> Outcome<OperationStatus> {
    let id = submission.signed.id(scene.world.domain());
    Ok(caller.get(&format!("v1/operations/{id}")).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_satisfies_the_statement_and_is_the_same_after_a_restart() -> Outcome {
    let scene = World::populated().await?;
    let (patient, doctor, accounts) = (&scene.patient, &scene.doctor, scene.accounts);
    patient.grant(FIRST, accounts.doctor, Rights::READ | Rights::WRITE, &[Class::Summary], next_year()).await?;
    let record = doctor.upload(&[b"content"]).await?;
    let put = doctor.put_record(accounts.patient, 0, Class::Summary, &record);
    doctor.submit(&put).await?;

    let sealed = seal(&scene).await?;
    assert_eq!((sealed.number, sealed.operations, sealed.public.n1, sealed.public.n), (1, 7, 5, 2));
    assert_eq!(sealed.tx_hash, None);
    let first = job(&scene).await?;
    assert_eq!(first.public, sealed.public);
    check_batch(&first.witness, &first.public)?;
    assert_eq!(status(&scene, doctor, &put).await?, OperationStatus::Sealed { batch: 1 });
    assert_eq!(code(seal(&scene).await), "unavailable", "one at a time");

    // A later operation goes into the next batch. A restart does not change this one.
    let record = doctor.upload(&[b"more"]).await?;
    let later = doctor.put_record(accounts.patient, 1, Class::Summary, &record);
    doctor.submit(&later).await?;
    let scene = scene.restart().await?;
    let again = job(&scene).await?;
    assert_eq!(again, first);
    assert_eq!(status(&scene, &scene.doctor, &put).await?, OperationStatus::Sealed { batch: 1 });
    assert_eq!(status(&scene, &scene.doctor, &later).await?, OperationStatus::Pending);
    let records: Vec<RecordSummary> = scene.patient.get(&format!("v1/patients/{}/records", accounts.patient)).await?;
    assert_eq!(records.iter().map(|record| record.settled).collect::<Vec<_>>(), [false, false]);
    let view: BatchView = scene.hospital.get("v1/batches/1").await?;
    assert_eq!((view.state.as_str(), view.public), ("sealed", sealed.public));
    scene.node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sealed_out_of_nothing() -> Outcome {
    let world = World::new().await?;
    let hospital = world.register(&people().hospital, None).await?;
    let node = world.start().await?;
    let caller = Caller::log_in(node.url().clone(), world.domain(), &people().hospital, hospital).await?;
    let sealed: BatchView = caller.post("v1/batches/seal", &()).await?;
    assert_eq!((sealed.public.n1, sealed.public.n), (1, 0));
    node.shutdown().await;
    Ok(())
}

/// More accounts wait than a batch can register. Only the operations of accounts that are not registered yet wait too.
#[tokio::test(flavor = "multi_thread")]
async fn operations_wait_for_their_registrations() -> Outcome {
    // Without the size for the queue alone, which would take all registrations first.
    let mut deployment = deployment();
    deployment.sizes.retain(|size| size.max_l2 > 0);
    let world = World::with(&deployment).await?;
    let accounts = world.register_all().await?;
    let mut ninth = None;
    for number in 0..5 {
        let fresh = Person::fresh(Role::Patient, B256::repeat_byte(0x40 + number));
        let deadline = UnixTime::now().saturating_add(600);
        let instance = world.rollup.instance();
        let signed =
            fresh.registration(instance, None).sign(instance, fresh.ethereum.address(), &fresh.ethereum, deadline)?;
        ninth = Some((world.rollup.register_for(&signed).await?.0, fresh));
    }
    let (last, fresh) = ninth.ok_or("registered")?;
    let node = world.start().await?;
    let scene = Scene::log_all_in(world, node, accounts).await?;
    let fresh: &'static Person = Box::leak(Box::new(fresh));
    let late = Caller::log_in(scene.node.url().clone(), scene.world.domain(), fresh, last).await?;

    let hers = late.upload(&[b"hers"]).await?;
    let waits = late.put_record(last, 0, Class::Summary, &hers);
    late.submit(&waits).await?;
    let record = scene.patient.upload(&[b"content"]).await?;
    let goes = scene.patient.put_record(accounts.patient, 0, Class::Summary, &record);
    scene.patient.submit(&goes).await?;

    let sealed = seal(&scene).await?;
    assert_eq!((sealed.public.n1, sealed.public.n), (8, 1));
    assert_eq!(status(&scene, &late, &waits).await?, OperationStatus::Pending);
    assert_eq!(status(&scene, &scene.patient, &goes).await?, OperationStatus::Sealed { batch: 1 });
    scene.node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_holds_its_slots_and_the_rest_waits() -> Outcome {
    let scene = World::populated().await?;
    let (patient, accounts) = (&scene.patient, scene.accounts);
    let slots = CircuitVersion::V1.max_l2 as u64;
    for slot in 0..slots + 2 {
        let record = patient.upload(&[&slot.to_be_bytes()]).await?;
        patient.submit(&patient.put_record(accounts.patient, slot, Class::Summary, &record)).await?;
    }
    let sealed = seal(&scene).await?;
    assert_eq!(sealed.public.n, slots);
    let job = job(&scene).await?;
    check_batch(&job.witness, &job.public)?;
    scene.node.shutdown().await;
    Ok(())
}

/// A batch gets a time at which its operations are still valid, as far as L1 allows. An operation that is not valid
/// then is returned.
#[tokio::test(flavor = "multi_thread")]
async fn what_lapses_while_it_waits_is_still_sealed_or_returned() -> Outcome {
    for (waited, kept) in [(1200, true), (7000, false)] {
        let scene = World::populated().await?;
        let (patient, stranger, accounts) = (&scene.patient, &scene.stranger, scene.accounts);
        let soon = UnixTime::now().saturating_add(500);
        patient.grant(FIRST, accounts.stranger, Rights::READ, &[Class::Summary], soon).await?;
        let request = stranger.request_access(accounts.patient, FIRST, Uses::ZERO, Class::Summary);
        stranger.submit(&request).await?;
        advance(&scene.world, waited).await?;
        let scene = scene.log_in_again().await?;
        let sealed = seal(&scene).await?;
        if kept {
            assert_eq!(sealed.public.time, soon.get());
            assert_eq!(sealed.public.n, 2);
            let job = job(&scene).await?;
            check_batch(&job.witness, &job.public)?;
            assert_eq!(status(&scene, &scene.stranger, &request).await?, OperationStatus::Sealed { batch: 1 });
        } else {
            assert!(sealed.public.time > soon.get());
            assert_eq!(sealed.public.n, 1);
            let returned = status(&scene, &scene.stranger, &request).await?;
            let OperationStatus::Returned { reason } = &returned else { return Err("must be returned".into()) };
            assert!(reason.contains("grant expired"), "{reason}");
            // Its author gets the reason on each try, and may sign another operation.
            assert_eq!(code(scene.stranger.submit(&request).await), "refused");
            // A restart does not bring it back.
            let scene = scene.restart().await?;
            assert_eq!(status(&scene, &scene.stranger, &request).await?, returned);
            scene.node.shutdown().await;
            continue;
        }
        scene.node.shutdown().await;
    }
    Ok(())
}

/// A patient's operations keep their order: a grant is given, used and ended in one batch.
#[tokio::test(flavor = "multi_thread")]
async fn grant_use_and_revoke_fit_into_one_batch() -> Outcome {
    let scene = World::populated().await?;
    let (patient, stranger, accounts) = (&scene.patient, &scene.stranger, scene.accounts);
    patient.grant(FIRST, accounts.stranger, Rights::READ, &[Class::Summary], next_year()).await?;
    stranger.submit(&stranger.request_access(accounts.patient, FIRST, Uses::ZERO, Class::Summary)).await?;
    patient.revoke(FIRST).await?;
    let sealed = seal(&scene).await?;
    assert_eq!(sealed.public.n, 3);
    let job = job(&scene).await?;
    check_batch(&job.witness, &job.public)?;
    scene.node.shutdown().await;
    Ok(())
}
