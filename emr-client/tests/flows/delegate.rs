//! A delegate grants and revokes for a patient, within the patient's limits, and the patient keeps the last word.

use emr_api::DelegatedGrant;
use emr_client::{
    Client, ClientError,
    flow::delegate::DelegateError,
    flow::grant::{GrantError, Granted, History},
    flow::retrieve::{ReadError, Retrieved},
    flow::submit::Fate,
    flow::upload::Written,
    verify::card::Card,
    verify::delegated::DelegationError,
};
use emr_core::{Class, ClassMask, Reason, Rights, UnixTime};
use emr_rollup::operation::{Action, Kind};

use crate::{
    from_now::keys,
    proxy::{Proxy, lie},
    scene::*,
};

pub(crate) fn lab() -> ClassMask {
    Class::Laboratory.into()
}

pub(crate) fn soon() -> UnixTime {
    UnixTime::now().saturating_add(1800)
}

/// A patient with a laboratory record, whose family doctor is their delegate for laboratory and imaging, and another doctor. All of it is settled.
pub(crate) async fn family(scene: &Scene) -> TestResult<(Client, Client, Client, Written)> {
    let delegate = scene.registered(DOCTOR).await?;
    let reader = scene.registered(STRANGER).await?;
    let patient = scene.registered(PATIENT).await?;
    let classes = [Class::Laboratory, Class::Imaging].into_iter().collect();
    let until = UnixTime::now().saturating_add(3600);
    let named = patient.delegate(&handed_over(&delegate), classes, until, History::Included).await?;
    assert_eq!(named.grant.rights, Rights::READ | Rights::MANAGE);
    let written = patient.upload(&handed_over(&patient), Class::Laboratory, &record("potassium 4.1")).await?;
    scene.next_batch().await?;
    patient.resume().await?;
    Ok((patient, delegate, reader, written))
}

pub(crate) async fn grants_lab(delegate: &Client, patient: &Card, to: &Client) -> Result<Granted, ClientError> {
    delegate.grant_for(patient, &handed_over(to), Rights::READ, lab(), soon()).await
}

fn is_text(read: &Retrieved, text: &str) -> bool {
    read.verified().is_some_and(|read| *read.authentic().record() == record(text))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_grants_and_revokes_and_the_patient_follows() -> TestResult {
    let scene = Scene::proving().await?;
    let (patient, delegate, reader, written) = family(&scene).await?;
    let card = handed_over(&patient);
    let before = patient.node().patient(patient.account()?).await?.directory;

    let granted = grants_lab(&delegate, &card, &reader).await?;
    let Action::SetGrant(set) = granted.acknowledged.signed.operation.action else { return Err("no grant".into()) };
    assert_eq!(set.directory_before, set.directory_after, "a delegate leaves the directory");
    scene.next_batch().await?;
    assert!(delegate.resume().await?.iter().all(|one| matches!(one.fate, Fate::Settled { .. })));

    // The reader has no keys in the directory, and reads with those that the delegate handed on.
    assert_eq!(patient.node().patient(patient.account()?).await?.directory, before);
    assert!(keys(&patient, &reader).await.is_err());
    let (read, _) = reader.retrieve(&card, written.slot, Some(Reason::Treatment)).await?;
    assert!(is_text(&read, "potassium 4.1"), "{read:?}");
    // The patient is told once, by the delegate's own signature. The checks hold, and nothing has to be published for this alone.
    let told = patient.new_grants_of_delegates().await?;
    assert_eq!(
        (told.len(), told[0].delegate(), told[0].leaf().grantee),
        (1, delegate.account()?, Some(reader.account()?))
    );
    assert_eq!(patient.new_grants_of_delegates().await?, told, "until it is noted that they were told");
    patient.note_told(&told).await?;
    assert!(patient.new_grants_of_delegates().await?.is_empty());
    let (_, audit) = patient.light_check_with_audit(usize::MAX).await?;
    let by = delegate.account()?;
    assert!(audit.iter().any(|entry| entry.kind == Kind::SetGrant && entry.signer == by));
    assert_eq!(patient.repair_directory().await?, None);

    // The patient's next directory has keys for the reader, of the classes of the grant.
    let hospital = scene.client(HOSPITAL).await?;
    patient.grant(&handed_over(&hospital), &terms(Rights::READ, Class::Imaging.into())).await?;
    drop(hospital);
    let ring = keys(&patient, &reader).await?;
    assert!(ring.epochs(Class::Laboratory).is_some() && ring.epochs(Class::Imaging).is_none());

    // The delegate revokes: the reader is refused at once. New keys follow when the patient's client runs.
    let revoked = delegate.revoke_for(&card, &handed_over(&reader), ClassMask::ALL).await?;
    assert_eq!(revoked.changed.len(), 1);
    let refused = reader.retrieve(&card, written.slot, Some(Reason::Treatment)).await;
    assert!(matches!(refused, Err(ClientError::Read(ReadError::Revoked { .. }))), "{refused:?}");
    assert!(keys(&patient, &reader).await.is_ok(), "the delegate cannot take the keys");
    scene.next_batch().await?;
    assert!(delegate.resume().await?.iter().all(|one| matches!(one.fate, Fate::Settled { .. })));
    let repaired = patient.repair_directory().await?.ok_or("new keys")?;
    assert_eq!(repaired.new_epochs, lab());
    assert!(keys(&patient, &reader).await.is_err());
    assert!(keys(&patient, &delegate).await?.epochs(Class::Laboratory).is_some());

    // The patient ends the delegate's grant: from then on nothing is taken.
    patient.revoke(delegate.account()?, ClassMask::ALL).await?;
    let late = grants_lab(&delegate, &card, &reader).await;
    assert!(late.is_err(), "{late:?}");
    scene.next_batch().await?;
    let late = delegate.revoke_for(&card, &handed_over(&reader), ClassMask::ALL).await;
    assert!(late.is_err(), "{late:?}");
    patient.light_check().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_stays_within_the_grant() -> TestResult {
    let scene = Scene::proving().await?;
    let (patient, delegate, reader, written) = family(&scene).await?;
    let card = handed_over(&patient);
    let hospital = scene.client(HOSPITAL).await?;
    let refused = patient.delegate(&handed_over(&hospital), lab(), soon(), History::Included).await;
    assert!(matches!(refused, Err(ClientError::Delegate(DelegateError::Delegate(_)))), "{refused:?}");
    let hospital = {
        let card = handed_over(&hospital);
        drop(hospital);
        card
    };

    let to = handed_over(&reader);
    let beyond = [
        delegate.grant_for(&card, &to, Rights::READ, Class::Genetics.into(), soon()).await,
        delegate.grant_for(&card, &to, Rights::READ, ClassMask::ALL, soon()).await,
        delegate.grant_for(&card, &to, Rights::READ, lab(), UnixTime::now().saturating_add(9000)).await,
    ];
    for refused in beyond {
        assert!(matches!(refused, Err(ClientError::Delegate(DelegateError::Beyond { .. }))), "{refused:?}");
    }
    for to in [handed_over(&delegate), hospital.clone()] {
        let refused = delegate.grant_for(&card, &to, Rights::READ, lab(), soon()).await;
        assert!(matches!(refused, Err(ClientError::Delegate(DelegateError::Yourself))), "{refused:?}");
    }
    let manage = delegate.grant_for(&card, &to, Rights::READ | Rights::MANAGE, lab(), soon()).await;
    assert!(matches!(manage, Err(ClientError::Grant(GrantError::Rights(_)))), "{manage:?}");
    let none = delegate.revoke_for(&card, &to, ClassMask::ALL).await;
    assert!(matches!(none, Err(ClientError::Grant(GrantError::NoSuchGrant(_)))), "{none:?}");
    let for_doctor = delegate.grant_for(&to, &hospital, Rights::READ, lab(), soon()).await;
    assert!(matches!(for_doctor, Err(ClientError::Delegate(DelegateError::NotAPatient(_)))), "{for_doctor:?}");
    let by_patient = patient.grant_for(&card, &to, Rights::READ, lab(), soon()).await;
    assert!(matches!(by_patient, Err(ClientError::Delegate(DelegateError::Patient))), "{by_patient:?}");
    assert!(grants_lab(&reader, &card, &delegate).await.is_err(), "a stranger");
    assert_eq!(delegate.profile().outbox().entries(), [], "nothing was signed");

    // What a delegate granted is taken back before it is settled, by the delegate's own signature. Part of a grant is taken too.
    let both = [Class::Laboratory, Class::Imaging].into_iter().collect();
    let granted = delegate.grant_for(&card, &to, Rights::READ | Rights::WRITE, both, soon()).await?;
    let narrowed = delegate.revoke_for(&card, &to, Class::Imaging.into()).await?;
    assert_eq!(narrowed.changed[0].0, granted.slot);
    scene.next_batch().await?;
    delegate.resume().await?;
    let (_, _, givers) = patient.own_leaves_with_givers().await?;
    assert_eq!(givers.get(&granted.slot).copied(), Some(delegate.account()?));
    let (read, _) = reader.retrieve(&card, written.slot, Some(Reason::Treatment)).await?;
    assert!(is_text(&read, "potassium 4.1"));
    reader.upload(&card, Class::Laboratory, &record("by the reader")).await?;
    let imaging = reader.upload(&card, Class::Imaging, &record("x")).await;
    assert!(imaging.is_err(), "{imaging:?}");

    // While another grant of the delegate waits, the patient ends the delegate. The grant is dropped, and the delegate learns why.
    let waiting = delegate.grant_for(&card, &to, Rights::WRITE, Class::Imaging.into(), soon()).await?;
    patient.revoke(delegate.account()?, ClassMask::ALL).await?;
    let resumed = delegate.resume().await?;
    let dropped = resumed.iter().find(|one| one.operation == waiting.acknowledged.operation).ok_or("known")?;
    assert!(
        matches!(&dropped.fate, Fate::Returned { reason } if reason.contains("the patient's own operation")),
        "{dropped:?}"
    );
    // The reader of the former delegate keeps the grant, with keys from the patient now, until the patient ends it.
    let ring = keys(&patient, &reader).await?;
    assert!(ring.epochs(Class::Laboratory).is_some() && ring.epochs(Class::Imaging).is_none());
    assert!(keys(&patient, &delegate).await.is_err());
    let ended = patient.revoke(reader.account()?, ClassMask::ALL).await?;
    assert_eq!((ended.changed.len(), ended.new_epochs), (1, lab()));
    let refused = reader.retrieve(&card, written.slot, Some(Reason::Treatment)).await;
    assert!(matches!(refused, Err(ClientError::Read(ReadError::Revoked { .. }))), "{refused:?}");
    scene.next_batch().await?;
    let resumed = patient.resume().await?;
    assert!(resumed.iter().all(|one| matches!(one.fate, Fate::Settled { .. })), "{resumed:?}");
    assert_eq!(patient.repair_directory().await?, None);
    patient.light_check().await?;
    Ok(())
}

/// Nobody can make a reader use keys that no delegate handed on, and no node can make a patient forget the readers of a delegate for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_cannot_hand_on_keys_in_a_delegates_name() -> TestResult {
    let scene = Scene::proving().await?;
    let (patient, delegate, reader, written) = family(&scene).await?;
    let card = handed_over(&patient);
    let account = patient.account()?;
    grants_lab(&delegate, &card, &reader).await?;
    scene.next_batch().await?;
    drop(reader);
    let proxy = Proxy::new(scene.node.url())?;
    let reader = scene.client_at(STRANGER, &proxy.address).await?;
    let list = format!("GET /v1/patients/{account}/delegated-grants");
    let other = patient.node().patient(account).await?.directory.ok_or("published")?;

    type Lie = Box<dyn Fn(&mut DelegatedGrant) + Send>;
    let lies: [Lie; 4] = [
        Box::new(|grant| grant.keys.iter_mut().for_each(|keys| keys.salt = [9; 32])),
        Box::new(move |grant| grant.keys.iter_mut().for_each(|keys| keys.manifest = other)),
        Box::new(|grant| {
            // The grant of a stranger, or with other terms: the signature is not the delegate's.
            if let Action::SetGrant(set) = &mut grant.signed.operation.action {
                set.leaf.scope = ClassMask::ALL;
            }
        }),
        // It never came into force: so nobody has checked that its signer was a delegate.
        Box::new(|grant| grant.batch = Some(1)),
    ];
    for change in lies {
        proxy.set(lie(list.clone(), move |grants: &mut Vec<DelegatedGrant>| grants.iter_mut().for_each(&change)));
        let read = reader.retrieve(&card, written.slot, Some(Reason::Treatment)).await;
        assert!(
            matches!(read, Err(ClientError::Delegation(DelegationError::Forged(_) | DelegationError::NotOnL1(1)))),
            "{read:?}"
        );
    }
    // Without the list, the reader has no keys, and learns what helps.
    proxy.set(lie(list.clone(), |grants: &mut Vec<DelegatedGrant>| grants.clear()));
    let read = reader.retrieve(&card, written.slot, None).await;
    assert!(matches!(read, Err(ClientError::Read(ReadError::NoKeys))), "{read:?}");
    proxy.clear();
    let (read, _) = reader.retrieve(&card, written.slot, None).await?;
    assert!(is_text(&read, "potassium 4.1"));

    // The patient is told only what L1 holds.
    drop(patient);
    let patient = scene.client_at(PATIENT, &proxy.address).await?;
    proxy.set(lie(list.clone(), |grants: &mut Vec<DelegatedGrant>| {
        grants.iter_mut().for_each(|grant| grant.batch = Some(1))
    }));
    let news = patient.new_grants_of_delegates().await;
    assert!(matches!(news, Err(ClientError::Delegation(DelegationError::NotOnL1(1)))), "{news:?}");
    proxy.set(lie(list.clone(), |grants: &mut Vec<DelegatedGrant>| {
        grants.iter_mut().for_each(|grant| grant.batch = None)
    }));
    assert!(patient.new_grants_of_delegates().await?.is_empty());
    proxy.clear();
    assert_eq!(patient.new_grants_of_delegates().await?.len(), 1);

    // The node hides the delegate's grant from the patient, who publishes a directory without the reader. Later it shows it: the patient's client
    // adds the reader then, and begins no new epoch for it. A forged list does not stop the patient.
    proxy.set(lie(list.clone(), |grants: &mut Vec<DelegatedGrant>| {
        grants.iter_mut().for_each(|grant| grant.signed.operation.valid_until = UnixTime::ZERO);
    }));
    let hospital = scene.client(HOSPITAL).await?;
    patient.grant(&handed_over(&hospital), &terms(Rights::READ, Class::Imaging.into())).await?;
    drop(hospital);
    assert!(keys(&patient, &reader).await.is_err());
    proxy.clear();
    let repaired = patient.repair_directory().await?.ok_or("published")?;
    assert_eq!((repaired.new_epochs, repaired.added.len()), (ClassMask::default(), 1));
    assert_eq!(repaired.added[0].reader, reader.account()?);
    assert!(keys(&patient, &reader).await?.epochs(Class::Laboratory).is_some());
    assert_eq!(patient.repair_directory().await?, None);
    Ok(())
}
