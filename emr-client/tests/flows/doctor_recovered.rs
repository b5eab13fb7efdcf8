//! A doctor of a hospital lost all keys. A guardian recovers the account for a new identity, which has another RSA key.

use std::sync::Arc;

use emr_chain::{AccountGuardians, Revert, RollupError};
use emr_client::{
    ClientError,
    keys::Keys,
    verify::card::{Card, CardError},
};
use emr_core::{Class, ClassMask, Reason, Rights, Role};

use crate::{
    anew::{Anew, DELAY, approved, seven_days},
    scene::*,
};

/// The account, its number and its hospital stay. Only the new card is accepted from the batch on that takes the new keys.
#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_with_new_keys_goes_on_as_a_doctor_of_the_hospital() -> TestResult {
    let anew = Anew::new(Role::Doctor);
    let me = anew.0.address();
    let scene = Scene::in_the_past(DELAY, [DOCTOR.address(), me]).await?;
    let doctor = scene.registered(DOCTOR).await?;
    let (account, old) = (doctor.account()?, handed_over(&doctor));
    let org = doctor.rollup().account(account).await?.ok_or("an account")?.org;
    assert!(org.is_some());
    drop(doctor);
    let guardians = AccountGuardians { accounts: vec![PATIENT.address()], needed: 1 };
    scene.on_l1(DOCTOR).await?.set_guardians(guardians).await?;
    let request = anew.on_l1(&scene).await?.request_takeover(account).await?;
    let approval = approved(&scene, PATIENT, &request, me).await?;
    anew.on_l1(&scene).await?.begin_recovery(&request, &[approval]).await?;
    seven_days(&scene).await?;
    anew.on_l1(&scene).await?.finish_recovery(account).await?;

    let owner = anew.on_l1(&scene).await?;
    let keys: Arc<dyn Keys> = Arc::new(anew.0.identity.clone());
    // Keys change only where there are some: the registration is not settled yet.
    let early = owner.rotate(&keys).await;
    let waits = matches!(early, Err(ClientError::Rollup(RollupError::Reverted(Revert::EntryWaiting { .. }))));
    assert!(waits, "{early:?}");
    scene.next_batch().await?;
    // The proof of possession of an RSA key is for one owner. That of the old identity is no proof that the new one has the key.
    let of_old = DOCTOR.registration(owner.rollup().instance(), org);
    let refused = owner.rollup().rotate_keys(&of_old).await;
    assert!(matches!(refused, Err(RollupError::Reverted(Revert::InvalidRsaSignature))), "{refused:?}");
    owner.rotate(&keys).await?;
    drop(owner);
    scene.next_batch().await?;

    let doctor = anew.client(&scene).await?;
    assert_eq!(doctor.account()?, account);
    let patient = scene.registered(PATIENT).await?;
    assert_eq!(patient.node().account(account).await?.org, org);
    let all = terms(Rights::READ | Rights::WRITE, ClassMask::ALL);
    // With the new address in it, the old card still has the old keys.
    let patched = Card { ethereum: me, ..old.clone() };
    for (card, differs) in [(&old, "Ethereum address"), (&patched, "rollup key")] {
        match patient.grant(card, &all).await {
            Err(ClientError::Card(CardError::Forged { account: of, field })) => {
                assert_eq!((of, field), (account, differs));
            }
            granted => return Err(format!("{differs}: {granted:?}").into()),
        }
    }
    patient.grant(&handed_over(&doctor), &all).await?;
    let card = handed_over(&patient);
    let written = doctor.upload(&card, Class::Summary, &record("with new keys")).await?;
    scene.next_batch().await?;
    let (read, _) = patient.retrieve(&card, written.slot, None).await?;
    let read = read.verified().ok_or("it is settled")?;
    assert_eq!((read.authentic().record(), read.authentic().author()), (&record("with new keys"), account));
    let (own, _) = doctor.retrieve(&card, written.slot, Some(Reason::Treatment)).await?;
    assert_eq!(own.unproven().record(), &record("with new keys"));
    Ok(())
}
