//! A lying node cannot make a patient sign what they did not intend.

use emr_api::{OperationStatus, PatientView, RecordSummary, RecordView, Submission};
use emr_client::{
    Client, ClientError,
    flow::grant::{GrantError, Terms},
    flow::next_version::EditClass,
    flow::submit::Fate,
    flow::upload::WriteError,
};
use emr_core::{Class, ClassMask, Reason, Rights, UnixTime, Version};
use emr_rollup::{
    operation::{Action, Operation, OperationId, Revoke, SetGrant},
    primitive::{eddsa::SigningKey, field::Fr},
};

use crate::{
    proxy::{Fault, Proxy, lie},
    scene::*,
};

/// A patient who reaches the node through a proxy, and a doctor who may read and write laboratory and imaging records until tomorrow.
async fn behind_a_proxy(scene: &Scene) -> TestResult<(Client, Client, Proxy)> {
    let doctor = scene.registered(DOCTOR).await?;
    drop(scene.registered(PATIENT).await?);
    let proxy = Proxy::new(scene.node.url())?;
    let patient = scene.client_at(PATIENT, &proxy.address).await?;
    let classes: ClassMask = [Class::Laboratory, Class::Imaging].into_iter().collect();
    patient.grant(&handed_over(&doctor), &terms(Rights::READ, classes)).await?;
    Ok((patient, doctor, proxy))
}

/// The node shows more rights, more classes, a later end or a higher version than the patient granted. A partial revocation is a
/// new grant of the rest, and must sign none of these.
#[tokio::test(flavor = "multi_thread")]
async fn a_partial_revocation_signs_nothing_that_the_node_made_up() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor, proxy) = behind_a_proxy(&scene).await?;
    let given = patient.grants().await?[0].grant;
    let path = format!("GET /v1/patients/{} ", patient.account()?);
    proxy.set(lie(path, |view: &mut PatientView| {
        for view in &mut view.grants {
            view.grant.rights = Rights::READ | Rights::WRITE | Rights::MANAGE;
            view.grant.scope = ClassMask::ALL;
            view.grant.not_after = UnixTime::new(UnixTime::MAX).expect("the last");
            view.grant.version = Version::new(Version::MAX - 1).expect("the last but one");
        }
    }));
    let revoked = patient.revoke(doctor.account()?, Class::Laboratory.into()).await?;
    let Action::SetGrant(SetGrant { leaf, expected, .. }) = revoked.changed[0].1.signed.operation.action else {
        return Err("the rest is granted again".into());
    };
    assert_eq!((leaf.rights, leaf.scope, leaf.not_after), (given.rights, Class::Imaging.into(), given.not_after));
    assert_eq!((expected.get(), leaf.version.get()), (1, 2));
    // The client must not note the highest possible version either: no Revoke could follow it.
    let versions = std::fs::read_to_string(scene.data_dir(PATIENT).join("versions.json"))?;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&versions)?, signed_versions(patient.account()?, 2));
    Ok(())
}

/// The node hides a grant, or shows it as somebody else's, so that the revocation misses it or another grant overwrites it.
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_the_node_hides_is_revoked_all_the_same() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor, proxy) = behind_a_proxy(&scene).await?;
    let stranger = scene.registered(STRANGER).await?;
    let path = format!("GET /v1/patients/{} ", patient.account()?);
    proxy.set(lie(path.clone(), |view: &mut PatientView| view.grants.clear()));
    let second = patient.grant(&handed_over(&stranger), &terms(Rights::READ, Class::Summary.into())).await?;
    assert_eq!(second.slot.get(), 65, "the doctor's slot is not free");
    let (doctor, stranger) = (doctor.account()?, stranger.account()?);
    proxy.set(lie(path, move |view: &mut PatientView| {
        for view in &mut view.grants {
            let other = if view.grant.grantee == Some(doctor) { stranger } else { doctor };
            view.grant.grantee = view.grant.grantee.map(|_| other);
        }
    }));
    let revoked = patient.revoke(doctor, ClassMask::ALL).await?;
    let slots: Vec<_> = revoked.changed.iter().map(|(slot, _)| slot.get()).collect();
    assert_eq!(slots, [64]);
    Ok(())
}

/// The node takes only Revokes, for example because its places are full or it cannot follow L1. Other operations of the patient wait. They stop
/// neither a later revocation nor the start of the next command.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_takes_only_revokes_takes_them_past_what_waits() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor, proxy) = behind_a_proxy(&scene).await?;
    let stranger = scene.registered(STRANGER).await?;
    patient.grant(&handed_over(&stranger), &terms(Rights::READ, Class::Summary.into())).await?;
    proxy.set(|request, _| request.starts_with("POST /v1/operations ").then_some(Fault::LoseRequest));
    // A narrower grant has no place, and stays in the outbox.
    let doctor = doctor.account()?;
    assert!(patient.revoke(doctor, Class::Laboratory.into()).await.is_err_and(|error| error.is_temporary()));
    let waiting = patient.resume().await?;
    assert!(waiting.iter().any(|resumed| resumed.fate == Fate::Waiting), "{waiting:?}");
    for account in [doctor, stranger.account()?] {
        let revoked = patient.revoke(account, ClassMask::ALL).await?;
        assert_eq!(revoked.changed.len(), 1);
    }
    Ok(())
}

/// Under another epoch, earlier signatures of the patient would not count, and new ones would count later.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_signs_for_an_epoch_that_the_node_made_up() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor, proxy) = behind_a_proxy(&scene).await?;
    patient.revoke(doctor.account()?, ClassMask::ALL).await?;
    let path = format!("GET /v1/patients/{} ", patient.account()?);
    proxy.set(lie(path, |view: &mut PatientView| {
        view.epoch = view.epoch.next().expect("room");
        view.directory_operations.clear();
    }));
    let refused = patient.grant(&handed_over(&doctor), &terms(Rights::READ, Class::Summary.into())).await;
    assert!(matches!(refused, Err(ClientError::ChangeWaits(_))), "{refused:?}");
    Ok(())
}

/// The node answers about another patient who gave the same grant. The client signs no request, record or deletion for that patient.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_signs_for_a_patient_that_the_node_names() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let card = handed_over(&patient);
    let written = doctor.upload(&card, Class::Laboratory, &record("the patient's")).await?;
    let other = scene.registered(OTHER_PATIENT).await?;
    other.grant(&handed_over(&doctor), &terms(Rights::READ | Rights::WRITE, ClassMask::ALL)).await?;
    let other = other.account()?;
    drop(doctor);
    let proxy = Proxy::new(scene.node.url())?;
    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
    let path = format!("GET /v1/patients/{} ", patient.account()?);
    proxy.set(lie(path, move |view: &mut PatientView| view.patient = other));

    let requested = doctor.request(&card, Class::Laboratory, Reason::Treatment).await.map(|_| ());
    let uploaded = doctor.upload(&card, Class::Laboratory, &record("whose?")).await.map(|_| ());
    let deleted = doctor.delete(&card, written.slot).await.map(|_| ());
    for refused in
        [requested.map_err(|e| e.to_string()), uploaded.map_err(|e| e.to_string()), deleted.map_err(|e| e.to_string())]
    {
        assert!(refused.as_ref().is_err_and(|error| error.contains("something else")), "{refused:?}");
    }
    let signed = doctor.profile().outbox().entries().iter().filter(|entry| entry.receipt().is_none()).count();
    assert_eq!(signed, 0, "nothing was signed");
    Ok(())
}

/// The node says that a newer Revoke took the place of one. The client believes it only if the patient signed that Revoke later, and removes the
/// older one only when the state holds its effect.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_is_not_forgotten_for_one_that_took_its_place() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor, proxy) = behind_a_proxy(&scene).await?;
    let classes: ClassMask = [Class::Laboratory, Class::Imaging].into_iter().collect();
    let first = patient.revoke(doctor.account()?, ClassMask::ALL).await?.changed[0].1.operation;
    patient.grant(&handed_over(&doctor), &terms(Rights::READ, classes)).await?;
    let second = patient.revoke(doctor.account()?, ClassMask::ALL).await?.changed[0].1.operation;

    let replaced = |by: OperationId| {
        let status = "GET /v1/operations/".to_owned();
        lie(status, move |status: &mut OperationStatus| *status = OperationStatus::Replaced { by })
    };
    // The node names the later Revoke, but the state does not hold it: the older one stays.
    let of = |id: OperationId| format!("GET /v1/operations/{id}");
    let mut later = replaced(second);
    let path = of(first);
    proxy.set(move |request, answer| if request.starts_with(&path) { later(request, answer) } else { None });
    let resumed = patient.resume().await?;
    assert!(resumed.iter().all(|resumed| resumed.fate == Fate::Waiting), "{resumed:?}");
    let kept = |patient: &Client, id: OperationId| {
        patient.profile().outbox().entries().iter().any(|entry| entry.draft().operation == id)
    };
    assert!(kept(&patient, first) && kept(&patient, second));

    // The node names the Revoke itself, or the older one: the client reports a lost revocation.
    for (operation, by) in [(second, second), (second, first)] {
        let mut lie = replaced(by);
        let path = of(operation);
        proxy.set(move |request, answer| if request.starts_with(&path) { lie(request, answer) } else { None });
        let waited = patient.wait_for(operation, std::time::Duration::from_millis(10));
        let waited = tokio::time::timeout(std::time::Duration::from_secs(20), waited).await??;
        assert!(matches!(waited, Fate::Returned { .. }), "{waited:?}");
        assert!(kept(&patient, operation), "told, not forgotten");
    }
    Ok(())
}

/// If a sequencer settles Revokes in another order than they were signed, a reader whose rights ended stays in the directory. Here one of the
/// patient's own Revokes ends the rights and does not change the directory. That reader still cannot open the next record.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_without_a_grant_does_not_stay_in_the_directory() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let stranger = scene.registered(STRANGER).await?;
    let card = handed_over(&patient);
    patient.grant(&handed_over(&stranger), &terms(Rights::READ, Class::Laboratory.into())).await?;
    let account = patient.account()?;
    let view = patient.node().patient(account).await?;
    let of_stranger = view.grants.iter().find(|view| view.grant.scope == Class::Laboratory.into()).ok_or("granted")?;
    let action = Action::Revoke(Revoke {
        slot: of_stranger.slot,
        expected: of_stranger.grant.version,
        leaf_salt: Fr::from(1),
        directory_before: Fr::from(99).into(),
        directory_after: view.directory_commitment,
    });
    let operation = Operation {
        signer: account,
        signer_epoch: view.epoch,
        patient: account,
        patient_epoch: view.epoch,
        valid_until: UnixTime::now().saturating_add(3600),
        salt: Fr::from(2),
        action,
    };
    let key = SigningKey::from_seed(PATIENT.identity.rollup_seed());
    let signed = operation.sign(patient.domain(), &key, None);
    patient.node().submit(&Submission { signed, stored: None, epoch: None, directory: None }).await?;
    let reads = async |patient: &Client| -> TestResult<bool> {
        let cid = patient.node().patient(account).await?.directory.ok_or("published")?;
        let directory = patient.directory(&cid).await?;
        Ok(directory.open_for(&STRANGER.identity).is_ok())
    };
    assert!(reads(&patient).await?, "the rights are over, the keys are there");

    assert!(patient.repair_directory().await?.is_some());
    assert!(!reads(&patient).await?);
    assert!(patient.repair_directory().await?.is_none(), "once is enough");
    let written = doctor.upload(&card, Class::Laboratory, &record("after")).await?;
    assert_eq!(written.version.get(), 1);

    // A write-only grant that replaces a grant to read takes the keys away too.
    let all = terms(Rights::READ, Class::Laboratory.into());
    patient.grant(&handed_over(&stranger), &all).await?;
    assert!(reads(&patient).await?);
    patient.grant(&handed_over(&stranger), &Terms { rights: Rights::WRITE, ..all }).await?;
    assert!(!reads(&patient).await?);
    Ok(())
}

/// The node's claim that a revocation is settled is not enough to remove it. A returned revocation is reported.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_is_not_forgotten_on_a_nodes_word() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor, proxy) = behind_a_proxy(&scene).await?;
    let before: PatientView = patient.node().patient(patient.account()?).await?;
    let revoked = patient.revoke(doctor.account()?, ClassMask::ALL).await?;
    let operation = revoked.changed[0].1.operation;

    let status = "GET /v1/operations/".to_owned();
    proxy.set(lie(status.clone(), |status: &mut OperationStatus| *status = OperationStatus::Settled { batch: 7 }));
    let resumed = patient.resume().await?;
    assert!(resumed.iter().all(|resumed| resumed.fate == Fate::Waiting), "{resumed:?}");
    let waited = patient.wait_for(operation, std::time::Duration::from_millis(10)).await;
    assert!(matches!(waited, Err(ClientError::NotInForce { batch: 7 })), "{waited:?}");
    assert_eq!(patient.profile().outbox().entries().len(), 2);

    // The node returned it, or claims so, and shows the old state: the patient learns it before they sign anything else.
    let patients = format!("GET /v1/patients/{} ", patient.account()?);
    let mut as_before = lie(patients, move |view: &mut PatientView| view.clone_from(&before));
    let mut returned = lie(status, |status: &mut OperationStatus| {
        *status = OperationStatus::Returned { reason: "\u{1b}[2Jno reason".to_owned() };
    });
    proxy.set(move |request, answer| as_before(request, answer).or_else(|| returned(request, answer)));
    let stranger = scene.registered(STRANGER).await?;
    let granted = patient.grant(&handed_over(&stranger), &terms(Rights::READ, Class::Summary.into())).await;
    let Err(ClientError::RevocationLost { reason }) = granted else {
        return Err(format!("{granted:?}").into());
    };
    assert_eq!(reason, " [2Jno reason");
    // The hospital's receipt is kept.
    assert!(scene.data_dir(PATIENT).join("receipts").join(format!("{operation}.json")).exists());
    proxy.clear();
    let again = patient.revoke(doctor.account()?, ClassMask::ALL).await;
    assert!(
        matches!(again, Err(ClientError::Grant(GrantError::NoSuchGrant(_)))),
        "an honest node still has it: {again:?}"
    );
    Ok(())
}

/// The doctor moved a record from summary to mental health. The node hides the move and lists the version before it, which the doctor signed
/// too. The next version must not be sealed to the summary key.
#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_signature_does_not_prove_the_class() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let card = handed_over(&patient);
    let slot = doctor.upload(&card, Class::Summary, &record("first")).await?.slot;
    let before = doctor.records(&card).await?;
    doctor.edit(&card, slot, EditClass::MoveTo(Class::MentalHealth), &record("moved")).await?;
    drop(doctor);
    let proxy = Proxy::new(scene.node.url())?;
    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
    let list = format!("GET /v1/patients/{}/records ", patient.account()?);
    let old = before.clone();
    let mut lists = lie(list, move |list: &mut Vec<RecordSummary>| list.clone_from(&old));
    proxy.set(move |request, answer| lists(request, answer));
    let edited = doctor.edit(&card, slot, EditClass::Proved, &record("for summary readers?")).await;
    assert!(matches!(edited, Err(ClientError::Write(WriteError::ClassNotProved(_)))), "{edited:?}");
    proxy.clear();
    let edited = doctor.edit(&card, slot, EditClass::Proved, &record("newer")).await?;
    assert_eq!((edited.version.get(), edited.class), (3, Class::MentalHealth));
    Ok(())
}

/// The node lists a mental-health record as a summary, so that the next version would be sealed to the summary key. Only the author's own
/// signature, a proof or the caller's statement gives the class.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_seals_a_version_to_a_class_that_the_node_made_up() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let card = handed_over(&patient);
    let own = doctor.upload(&card, Class::MentalHealth, &record("by the doctor")).await?.slot;
    let other = patient.upload(&card, Class::MentalHealth, &record("by the patient")).await?.slot;
    drop(doctor);
    let proxy = Proxy::new(scene.node.url())?;
    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
    let account = patient.account()?;

    let list = format!("GET /v1/patients/{account}/records ");
    let mut lists = lie(list, |list: &mut Vec<RecordSummary>| {
        list.iter_mut().for_each(|record| record.leaf.class = Class::Summary);
    });
    let mut shows = lie(format!("GET /v1/patients/{account}/records/"), |view: &mut RecordView| {
        view.leaf.class = Class::Summary;
    });
    proxy.set(move |request, answer| lists(request, answer).or_else(|| shows(request, answer)));
    for slot in [own, other] {
        for class in [EditClass::Proved, EditClass::Stated(Class::MentalHealth)] {
            let edited = doctor.edit(&card, slot, class, &record("for summary readers?")).await;
            let stated = matches!(class, EditClass::Stated(_));
            assert!(
                matches!(edited, Err(ClientError::Write(WriteError::OtherClass { .. }))) == stated
                    && matches!(edited, Err(ClientError::Write(WriteError::ClassNotProved(_)))) != stated,
                "{edited:?}"
            );
        }
    }
    assert_eq!(doctor.profile().outbox().entries().len(), 1, "nothing was signed");

    // An honest node: the author's own signature proves the class. That of a record which is not settled is stated.
    proxy.clear();
    let edited = doctor.edit(&card, own, EditClass::Proved, &record("newer")).await?;
    assert_eq!((edited.version.get(), edited.class), (2, Class::MentalHealth));
    let unproved = doctor.edit(&card, other, EditClass::Proved, &record("newer")).await;
    assert!(matches!(unproved, Err(ClientError::Write(WriteError::ClassNotProved(_)))), "{unproved:?}");
    let stated = doctor.edit(&card, other, EditClass::Stated(Class::MentalHealth), &record("newer")).await?;
    let moved = doctor.edit(&card, other, EditClass::MoveTo(Class::Summary), &record("newest")).await?;
    assert_eq!((stated.class, moved.class), (Class::MentalHealth, Class::Summary));
    Ok(())
}
