//! An account gets another owner: guardians recover it for a person who lost their keys, or the old identity hands it to the new one.

use std::sync::Arc;

use alloy::primitives::Address;
use emr_chain::{AccountGuardians, OwnershipRefusal, Revert, Revocation, RollupError, SignedTakeover};
use emr_client::{Client, ClientError, error::Code, flow::ownership::OwnershipError, node::NodeError};
use emr_core::{Class, ClassMask, Reason, Rights, Role};

use crate::{
    anew::{Anew, approved, as_guardian, refused, sent, seven_days},
    lying_l1::{self, Lie},
    scene::*,
};

#[tokio::test(flavor = "multi_thread")]
async fn guardians_recover_an_account_unless_its_owner_cancels() -> TestResult {
    let anew = Anew::new(Role::Patient);
    let me = anew.0.address();
    let scene = Scene::where_these_have_ether([PATIENT, DOCTOR].map(|it| it.address()).into_iter().chain([me])).await?;
    let patient = scene.registered(PATIENT).await?;
    let account = patient.account()?;
    drop(patient);
    let owner = scene.on_l1(PATIENT).await?;
    let before = anew.on_l1(&scene).await?.request_takeover(account).await?;
    let guardian = as_guardian(&scene, DOCTOR).await?;
    let none = guardian.approve_takeover(&before, (account, me)).await.map_err(refused).expect_err("no guardian");
    assert!(matches!(none, Some(OwnershipError::NotGuardian(..))), "{none:?}");
    drop(guardian);

    // The doctor, a stranger without ether, and somebody else. Two of them must agree.
    let accounts = vec![DOCTOR.address(), STRANGER.address(), Address::repeat_byte(9)];
    let too_many = AccountGuardians { accounts: accounts.clone(), needed: 4 };
    let error = owner.set_guardians(too_many).await.expect_err("4 of 3");
    let invalid = Revert::Ownership(OwnershipRefusal::InvalidGuardians);
    assert!(matches!(&error, ClientError::Rollup(RollupError::Reverted(found)) if *found == invalid), "{error}");
    owner.set_guardians(AccountGuardians { accounts, needed: 2 }).await?;
    let shown = owner.ownership(account).await?;
    assert_eq!((shown.owner, shown.registrant, shown.guardians.needed), (PATIENT.address(), PATIENT.address(), 2));
    assert!(shown.guardians.accounts.contains(&STRANGER.address()) && shown.recovery.is_none());
    // Approvals of before the guardians changed count no more.
    let void = approved(&scene, DOCTOR, &before, me).await.expect_err("another round");
    assert!(void.to_string().contains("make it again"), "{void}");

    let request: SignedTakeover = sent(&anew.on_l1(&scene).await?.request_takeover(account).await?)?;
    // Somebody exchanged the request, or signed it in another's name.
    let exchanged = approved(&scene, DOCTOR, &request, Address::repeat_byte(1)).await.expect_err("another person");
    assert!(exchanged.to_string().contains("do not agree"), "{exchanged}");
    let mut forged = request.clone();
    forged.recovery = forged.change.clone();
    let guardian = as_guardian(&scene, DOCTOR).await?;
    let error = guardian.approve_takeover(&forged, (account, me)).await.expect_err("not signed");
    assert_eq!(error.code(), Code::TakeoverForged.as_str());
    let own = guardian.approve_takeover(&request, (account, me)).await?;
    let stranger = approved(&scene, STRANGER, &request, me).await?;
    let other = emr_core::AccountIndex::new(account.get() + 1)?;
    let error = guardian.approve_takeover(&request, (other, me)).await.map_err(refused).expect_err("another account");
    assert!(matches!(error, Some(OwnershipError::OtherAccount { .. })), "{error:?}");
    let mut junk = stranger.clone();
    junk.signature = own.signature.clone();
    let error = guardian.begin_recovery(&request, &[own.clone(), junk]).await.map_err(refused).expect_err("junk");
    assert!(matches!(error, Some(OwnershipError::NotTheirs(who)) if who == STRANGER.address()), "{error:?}");
    let few = guardian.begin_recovery(&request, &[own.clone(), own.clone()]).await.map_err(refused).expect_err("one");
    assert!(matches!(few, Some(OwnershipError::Approvals { needed: 2, given: 1 })), "{few:?}");
    let (_, ripe_at) = guardian.begin_recovery(&request, &[stranger.clone(), own.clone()]).await?;
    assert_eq!(owner.ownership(account).await?.recovery, Some((me, ripe_at)));
    drop(owner);
    // Each command of hers says so, and no Ethereum node hides it.
    let patient = scene.client(PATIENT).await?;
    assert_eq!(patient.waiting_recovery().await?, Some((me, ripe_at)));
    drop(patient);
    let (profile, identity) = scene.profile(PATIENT)?;
    let liar = lying_l1::shown(&scene, Lie::EmptySlots);
    let patient = Client::join_over(profile, identity, scene.node.url().as_str(), &liar).await?;
    let hidden = patient.waiting_recovery().await;
    assert!(matches!(hidden, Err(ClientError::Proof(_))), "{hidden:?}");
    drop(patient);
    let owner = scene.on_l1(PATIENT).await?;
    let early = guardian.finish_recovery(account).await.expect_err("too early");
    let waits = Revert::Ownership(OwnershipRefusal::RecoveryWaits(ripe_at.get()));
    assert!(matches!(&early, ClientError::Rollup(RollupError::Reverted(found)) if *found == waits), "{early}");
    // She has her keys after all. The approvals are used up.
    let (_, left) = owner.cancel_recovery().await?;
    assert_eq!((left.accounts.len(), left.needed), (3, 2));
    drop(owner);
    let patient = scene.client(PATIENT).await?;
    assert_eq!(patient.waiting_recovery().await?, None);
    drop(patient);
    let owner = scene.on_l1(PATIENT).await?;
    let again = guardian.begin_recovery(&request, &[stranger, own]).await.map_err(refused).expect_err("used up");
    assert!(matches!(again, Some(OwnershipError::Void)), "{again:?}");
    assert!(owner.cancel_recovery().await.is_err());
    drop(guardian);

    let request = anew.on_l1(&scene).await?.request_takeover(account).await?;
    let approvals = [approved(&scene, DOCTOR, &request, me).await?, approved(&scene, STRANGER, &request, me).await?];
    anew.on_l1(&scene).await?.begin_recovery(&request, &approvals).await?;
    seven_days(&scene).await?;
    anew.on_l1(&scene).await?.finish_recovery(account).await?;
    let now = anew.on_l1(&scene).await?;
    assert_eq!(now.account(), Some(account));
    let shown = now.ownership(account).await?;
    assert_eq!((shown.owner, shown.registrant, shown.recovery), (me, PATIENT.address(), None));
    // The guardians stay, and the old key opens nothing any more.
    assert_eq!(shown.guardians.needed, 2);
    drop(owner);
    let old = scene.on_l1(PATIENT).await?;
    let error = old.set_guardians(AccountGuardians::default()).await.expect_err("no owner");
    assert!(matches!(error, ClientError::Node(NodeError::NotRegistered)), "{error}");
    let owns = now.request_takeover(account).await.map_err(refused).expect_err("owns it");
    assert!(matches!(owns, Some(OwnershipError::OwnsAnAccount(own)) if own == account), "{owns:?}");
    Ok(())
}

/// The new identity gets the account, gives it its own keys, and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_identity_hands_its_account_to_a_new_one() -> TestResult {
    let anew = Anew::new(Role::Patient);
    let me = anew.0.address();
    let scene = Scene::proving_for([PATIENT.address(), me]).await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let account = patient.account()?;
    let card = handed_over(&patient);
    let before = doctor.upload(&card, Class::Summary, &record("before")).await?;
    scene.next_batch().await?;
    drop(patient);

    let request = anew.on_l1(&scene).await?.request_takeover(account).await?;
    let old = scene.on_l1(PATIENT).await?;
    let error = old.hand_over(&request, DOCTOR.address()).await.map_err(refused).expect_err("another person");
    assert!(matches!(error, Some(OwnershipError::OtherPerson { .. })), "{error:?}");
    old.hand_over(&request, me).await?;
    drop(old);
    // It owns the account, whose keys are the old ones until the rotation is settled.
    let early = anew.client(&scene).await?;
    let refusal = early.grant(&handed_over(&doctor), &terms(Rights::READ, ClassMask::ALL)).await;
    assert!(matches!(refusal, Err(ClientError::OtherRollupKey(_))), "{refusal:?}");
    drop(early);
    let keys = Arc::new(anew.0.identity.clone());
    anew.on_l1(&scene).await?.rotate(&(keys as _)).await?;
    scene.next_batch().await?;

    let patient = anew.client(&scene).await?;
    assert_eq!(patient.account()?, account);
    patient.light_check().await?;
    assert!(doctor.check_card(&card).await.is_err(), "the old card");
    let card = handed_over(&patient);
    doctor.check_card(&card).await?;
    // The directory was made for another RSA key. She drops it, and all grants with it.
    let closed = patient.grant(&handed_over(&doctor), &terms(Rights::READ, ClassMask::ALL)).await;
    let closed = closed.expect_err("her key opens nothing of it");
    assert!(closed.to_string().contains("--new-keys"), "{closed}");
    drop(patient);
    let anew_keys = Revocation { slot: None, directory: Some(Revocation::NO_DIRECTORY) };
    anew.on_l1(&scene).await?.force_revoke(&anew_keys).await?;
    scene.next_batch().await?;

    let patient = anew.client(&scene).await?;
    patient.resume().await?;
    let own = patient.upload(&card, Class::Summary, &record("mine again")).await?;
    let all = Rights::READ | Rights::WRITE;
    patient.grant(&handed_over(&doctor), &terms(all, ClassMask::ALL)).await?;
    scene.next_batch().await?;
    let theirs = doctor.upload(&card, Class::Summary, &record("after")).await?;
    scene.next_batch().await?;
    for (written, text) in [(own.slot, "mine again"), (theirs.slot, "after")] {
        let (read, _) = patient.retrieve(&card, written, None).await?;
        assert_eq!(read.unproven().record(), &record(text));
        doctor.retrieve(&card, written, Some(Reason::Treatment)).await?;
    }
    patient.light_check().await?;
    // What was written before stays closed to her, and is still in the state.
    assert!(patient.retrieve(&card, before.slot, None).await.is_err());
    assert_eq!(patient.own_leaves().await?.records().len(), 3);
    Ok(())
}
