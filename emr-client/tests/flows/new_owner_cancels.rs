//! Guardians recover an account for one of themselves, who becomes its owner and cancels the next recovery. An owner is no guardian of their own
//! account, so the others stay.

use emr_chain::{AccountGuardians, SignedTakeover};
use emr_client::L1Client;
use emr_core::{AccountIndex, Role};
use emr_testkit::people::Member;

use crate::{
    anew::{Anew, approved, as_guardian, seven_days},
    scene::*,
};

/// The account of a patient that these members and the new identity guard, and the new identity owns since its recovery.
async fn recovered(
    scene: &Scene,
    anew: &Anew,
    members: &[Member],
    needed: u8,
) -> TestResult<(AccountIndex, AccountGuardians)> {
    let patient = scene.registered(PATIENT).await?;
    let account = patient.account()?;
    drop(patient);
    let me = anew.0.address();
    let accounts = members.iter().map(|member| member.address()).chain([me]).collect();
    scene.on_l1(PATIENT).await?.set_guardians(AccountGuardians { accounts, needed }).await?;
    let request = anew.on_l1(scene).await?.request_takeover(account).await?;
    begin(scene, anew, members, &request).await?;
    seven_days(scene).await?;
    anew.on_l1(scene).await?.finish_recovery(account).await?;
    let owner = anew.on_l1(scene).await?;
    assert_eq!(owner.account(), Some(account));
    let found = owner.ownership(account).await?;
    assert_eq!((found.owner, found.guardians.needed), (me, needed));
    assert!(found.guardians.accounts.contains(&me), "an owner who is a guardian");
    Ok((account, found.guardians))
}

/// Begins a recovery with the agreement of these members, or with the new identity's own if there are none.
async fn begin(scene: &Scene, anew: &Anew, members: &[Member], request: &SignedTakeover) -> TestResult {
    let (account, person) = (request.takeover.account, request.takeover.new_owner);
    let mut approvals = Vec::new();
    for member in members {
        approvals.push(approved(scene, *member, request, person).await?);
    }
    let client = anew.on_l1(scene).await?;
    if members.is_empty() {
        approvals.push(client.approve_takeover(request, (account, person)).await?);
    }
    client.begin_recovery(request, &approvals).await?;
    Ok(())
}

/// The identity of before asks for the account, and these agree.
async fn asked_back(scene: &Scene, anew: &Anew, members: &[Member], account: AccountIndex) -> TestResult<L1Client> {
    let request = as_guardian(scene, PATIENT).await?.request_takeover(account).await?;
    begin(scene, anew, members, &request).await?;
    let owner = anew.on_l1(scene).await?;
    let waits = owner.ownership(account).await?.recovery.ok_or("a recovery")?;
    assert_eq!(waits.0, PATIENT.address());
    Ok(owner)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_who_was_a_guardian_cancels_and_the_others_stay() -> TestResult {
    let anew = Anew::new(Role::Patient);
    let scene = Scene::where_these_have_ether([PATIENT.address(), anew.0.address()]).await?;
    let (account, guardians) = recovered(&scene, &anew, &[DOCTOR, STRANGER], 2).await?;
    assert_eq!(guardians.accounts.len(), 3);
    let owner = asked_back(&scene, &anew, &[DOCTOR, STRANGER], account).await?;

    let (_, left) = owner.cancel_recovery().await?;
    let mut others = vec![DOCTOR.address(), STRANGER.address()];
    others.sort_unstable();
    assert_eq!(left, AccountGuardians { accounts: others, needed: 2 });
    let found = owner.ownership(account).await?;
    assert_eq!((found.owner, found.guardians, found.recovery), (anew.0.address(), left, None));
    Ok(())
}

/// Both guardians must agree. Without the new owner there is one, who is then enough: two of one could never agree.
#[tokio::test(flavor = "multi_thread")]
async fn no_more_guardians_must_agree_than_stay() -> TestResult {
    let anew = Anew::new(Role::Patient);
    let scene = Scene::where_these_have_ether([PATIENT.address(), anew.0.address()]).await?;
    let patient = scene.registered(PATIENT).await?;
    let account = patient.account()?;
    drop(patient);
    let accounts = vec![DOCTOR.address(), anew.0.address()];
    scene.on_l1(PATIENT).await?.set_guardians(AccountGuardians { accounts, needed: 2 }).await?;
    let all = async |request: &SignedTakeover| -> TestResult {
        let person = request.takeover.new_owner;
        let doctors = approved(&scene, DOCTOR, request, person).await?;
        let client = anew.on_l1(&scene).await?;
        let own = client.approve_takeover(request, (account, person)).await?;
        client.begin_recovery(request, &[doctors, own]).await?;
        Ok(())
    };
    let request = anew.on_l1(&scene).await?.request_takeover(account).await?;
    all(&request).await?;
    seven_days(&scene).await?;
    anew.on_l1(&scene).await?.finish_recovery(account).await?;
    let request = as_guardian(&scene, PATIENT).await?.request_takeover(account).await?;
    all(&request).await?;
    let (_, left) = anew.on_l1(&scene).await?.cancel_recovery().await?;
    assert_eq!(left, AccountGuardians { accounts: vec![DOCTOR.address()], needed: 1 });
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_who_was_the_only_guardian_has_none_after_cancelling() -> TestResult {
    let anew = Anew::new(Role::Patient);
    let scene = Scene::where_these_have_ether([PATIENT.address(), anew.0.address()]).await?;
    let (account, _) = recovered(&scene, &anew, &[], 1).await?;
    let owner = asked_back(&scene, &anew, &[], account).await?;
    let (_, left) = owner.cancel_recovery().await?;
    assert_eq!(left, AccountGuardians::default());
    let found = owner.ownership(account).await?;
    assert_eq!((found.guardians, found.recovery), (AccountGuardians::default(), None));
    Ok(())
}
