//! Settled records are read with their proof, and a lying node is not believed.

use std::time::Duration;

use emr_api::{OperationStatus, OwnGrantsView, RecordView, SubtreeView};
use emr_client::{
    ClientError,
    flow::next_version::EditClass,
    flow::retrieve::{ReadError, Retrieved},
    flow::submit::Fate,
    flow::upload::WriteError,
    verify::card::Card,
    verify::light::LightError,
};
use emr_core::{AccountIndex, Class, ClassMask, Reason, RecordSlot, RecordStatus, Revision, Rights, UnixTime};
use emr_rollup::operation::Kind;

use crate::{
    audit_pages::an_audit_chain_in_pages,
    proxy::{Fault, Proxy, lie},
    scene::*,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_settled_is_read_with_its_proof() -> TestResult {
    let scene = Scene::proving().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let stranger = scene.registered(STRANGER).await?;
    let card = handed_over(&patient);
    let early = patient.light_check().await;
    assert!(
        matches!(&early, Err(ClientError::Node(error)) if error.is_temporary()),
        "nothing of this patient is settled: {early:?}"
    );
    let written = doctor.upload(&card, Class::Laboratory, &record("potassium 4.1")).await?;
    let other = patient.upload(&card, Class::Laboratory, &record("sodium 140")).await?;
    patient.grant(&handed_over(&stranger), &terms(Rights::READ, Class::Laboratory.into())).await?;

    let batch = scene.next_batch().await?;
    assert_eq!((batch.public.n1, batch.public.n, batch.operations), (4, 4, 8));
    assert!(batch.proof_bytes.is_some() && batch.gas_used.is_some_and(|gas| gas < 900_000), "{batch:?}");

    // The proved state and the data of the batch hold what was signed.
    for (client, signed) in [(&patient, 3), (&doctor, 1)] {
        let resumed = client.resume().await?;
        assert!(
            resumed.len() == signed && resumed.iter().all(|one| one.fate == Fate::Settled { batch: 1 }),
            "{resumed:?}"
        );
        assert_eq!(client.profile().outbox().entries(), []);
    }

    // A reader with a settled grant requests access first, and reads with a proof up to the root that L1 holds.
    let unasked = stranger.retrieve(&card, written.slot, None).await;
    assert!(
        matches!(unasked, Err(ClientError::Read(ReadError::NotRequested { class: Class::Laboratory, .. }))),
        "{unasked:?}"
    );
    let (read, requested) = stranger.retrieve(&card, written.slot, Some(Reason::Treatment)).await?;
    assert!(requested.is_some());
    let verified = read.verified().ok_or("verified")?;
    assert_eq!(verified.authentic().record(), &record("potassium 4.1"));
    assert_eq!((verified.authentic().author(), verified.batch()), (doctor.account()?, 1));

    // The patient's light check: everything that the state holds about them.
    let check = patient.light_check().await?;
    let leaves = check.leaves();
    let access: Vec<_> = leaves.access(UnixTime::now()).filter_map(|view| view.grant.grantee).collect();
    assert_eq!(access, [doctor.account()?, stranger.account()?]);
    assert_eq!((leaves.records().len(), check.audit_length(), leaves.pending().len()), (2, 4, 1));
    assert_eq!((leaves.state().batches(), leaves.state().root()), (1, batch.public.post));

    // A revocation ends access at once, although the settled state still holds the grant.
    patient.revoke(stranger.account()?, ClassMask::ALL).await?;
    let revoked = stranger.retrieve(&card, written.slot, Some(Reason::Treatment)).await;
    assert!(matches!(revoked, Err(ClientError::Read(ReadError::Revoked { .. }))), "{revoked:?}");

    // An edit needs a proved class, and so access. It waits for its batch. It can be read, and is marked as unsettled.
    let unproved = doctor.edit(&card, other.slot, EditClass::Proved, &record("sodium 141")).await;
    assert!(matches!(unproved, Err(ClientError::Write(WriteError::ClassNotProved(_)))), "{unproved:?}");
    doctor.request(&card, Class::Laboratory, Reason::Treatment).await?;
    let edited = doctor.edit(&card, other.slot, EditClass::Proved, &record("sodium 141")).await?;
    assert_eq!(edited.class, Class::Laboratory);
    let (unsettled, _) = patient.retrieve(&card, other.slot, None).await?;
    assert!(matches!(unsettled, Retrieved::Unsettled(_)));
    let (account, colleague) = (doctor.account()?, handed_over(&stranger));
    drop((patient, doctor, stranger));
    a_moment_between_two_batches_is_waited_out(&scene, &card, written.slot).await?;
    a_lying_node_is_not_believed(&scene, &card, written.slot, account, colleague).await
}

/// Between two batches, node and L1 differ for a moment. Every flow that compares them waits until they agree.
async fn a_moment_between_two_batches_is_waited_out(scene: &Scene, card: &Card, slot: RecordSlot) -> TestResult {
    let proxy = Proxy::new(scene.node.url())?;
    let patient = scene.client_at(PATIENT, &proxy.address).await?;
    for path in ["GET /v1/accounts/", "GET /v1/patients/"] {
        // The node's answer before the batch, for a second: the same leaves under other roots.
        let until = std::time::Instant::now() + Duration::from_secs(1);
        proxy.set(move |request, answer| {
            let early = std::time::Instant::now() < until && request.starts_with(path);
            (early && !answer.is_empty()).then(|| {
                let mut view: serde_json::Value = serde_json::from_str(answer).unwrap_or_default();
                other_root(&mut view);
                Fault::Answer(view.to_string())
            })
        });
        patient.light_check().await?;
        patient.retrieve(card, slot, None).await?;
        patient.check_card(card).await?;
        patient.grants().await?;
    }
    Ok(())
}

/// Replaces each `medical_root` of a view.
fn other_root(view: &mut serde_json::Value) {
    match view {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                if name == "medical_root" {
                    *value = format!("0x{:064x}", 7).into();
                } else {
                    other_root(value);
                }
            }
        }
        serde_json::Value::Array(values) => values.iter_mut().for_each(other_root),
        _ => {}
    }
}

/// The node becomes hostile: it changes, hides and repeats settled data.
async fn a_lying_node_is_not_believed(
    scene: &Scene,
    card: &Card,
    slot: RecordSlot,
    doctor: AccountIndex,
    colleague: Card,
) -> TestResult {
    let proxy = Proxy::new(scene.node.url())?;
    let patient = scene.client_at(PATIENT, &proxy.address).await?;
    let account = patient.account()?;
    let record_path = format!("GET /v1/patients/{account}/records/{slot} ");
    let lies: [fn(&mut RecordView); 5] = [
        |view| view.leaf.author = view.leaf.author.next().expect("room"),
        |view| view.leaf.revision = Revision::ZERO,
        |view| view.leaf.status = RecordStatus::Tombstone,
        |view| view.stored.salt = [0; 32],
        |view| {
            if let Some(proof) = &mut view.proof {
                proof.medical.audit_head = proof.medical.records_root;
            }
        },
    ];
    for (number, change) in lies.into_iter().enumerate() {
        proxy.set(lie(record_path.clone(), change));
        let refused = patient.retrieve(card, slot, None).await;
        let unverified = matches!(refused, Err(ClientError::RecordProof(_) | ClientError::Membership(_)));
        assert!(unverified, "{number}: {refused:?}");
    }
    // Nobody seals the next version to a class that is not proved. The list of records does not count.
    proxy.set(lie(record_path.clone(), |view: &mut RecordView| view.leaf.class = Class::Summary));
    let refused = patient.edit(card, slot, EditClass::Proved, &record("for summary readers?")).await;
    assert!(matches!(refused, Err(ClientError::Membership(_))), "{refused:?}");
    // Batch 1 exists, and holds neither the doctor's edit nor their request for access.
    let writer = scene.client_at(DOCTOR, &proxy.address).await?;
    proxy.set(lie("GET /v1/operations/".to_owned(), |status: &mut OperationStatus| {
        *status = OperationStatus::Settled { batch: 1 };
    }));
    let resumed = writer.resume().await?;
    let kinds: Vec<_> = resumed.iter().map(|resumed| resumed.kind).collect();
    assert_eq!(kinds, [Kind::RequestAccess, Kind::PutRecord]);
    assert!(resumed.iter().all(|resumed| resumed.fate == Fate::Waiting), "{resumed:?}");
    drop(writer);
    // A record without a proof never counts as a proven one.
    proxy.set(lie(record_path, |view: &mut RecordView| view.proof = None));
    let (bare, _) = patient.retrieve(card, slot, None).await?;
    assert!(bare.verified().is_none());

    let subtree_path = format!("GET /v1/patients/{account}/subtree ");
    let hides: [fn(&mut SubtreeView); 2] = [|view| _ = view.grants.pop(), |view| _ = view.records.pop()];
    for hide in hides {
        proxy.set(lie(subtree_path.clone(), hide));
        let refused = patient.light_check().await;
        assert!(matches!(refused, Err(ClientError::Light(LightError::NotAll(_)))), "{refused:?}");
    }
    // The patient signs nothing on top of a list of grants that is incomplete or changed.
    let grants_path = format!("GET /v1/patients/{account}/grants ");
    let bends: [fn(&mut OwnGrantsView); 3] = [
        |view| _ = view.grants.pop(),
        |view| view.grants[0].grant.rights = Rights::READ | Rights::WRITE | Rights::MANAGE,
        |view| view.grants[0].grant.version = view.grants[0].grant.version.next().expect("room"),
    ];
    for bend in bends {
        proxy.set(lie(grants_path.clone(), bend));
        let refused = patient.revoke(doctor, Class::Laboratory.into()).await;
        assert!(matches!(refused, Err(ClientError::Light(LightError::NotAll("grants")))), "{refused:?}");
    }
    an_audit_chain_in_pages(&patient, &proxy).await?;
    // Signing needs neither the patient's records nor the audit chain, so their length does not matter.
    proxy.set(|request, _| {
        let whole = request.contains("/subtree ") || request.contains("/audit?") || request.contains("/records ");
        whole.then_some(Fault::LoseRequest)
    });
    assert!(patient.light_check().await.is_err());
    patient.revoke(doctor, Class::Laboratory.into()).await?;
    patient.grant(&colleague, &terms(Rights::READ, Class::Summary.into())).await?;
    proxy.clear();
    patient.light_check().await?;

    // An Ethereum node that shows an older state than before.
    let state = patient.settled_state().await?;
    patient.profile().seen().note(state.batches() + 1, state.root())?;
    let refused = patient.light_check().await;
    assert!(matches!(refused, Err(ClientError::Seen(_))), "{refused:?}");
    Ok(())
}
