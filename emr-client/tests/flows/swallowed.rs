//! An Ethereum node passes no transaction on, and shows the receipt of an earlier one. Nobody is told that an account's owner or guardians changed.

use std::fmt::Debug;

use alloy::primitives::{Address, B256};
use emr_chain::AccountGuardians;
use emr_client::{ClientError, L1Client, error::Code, flow::ownership::OwnershipError};
use emr_core::Role;

use crate::{
    anew::{Anew, approved, seven_days, through},
    lying_l1::{Lie, shown},
    scene::*,
};

fn not_done<T: Debug>(answer: Result<T, ClientError>) -> TestResult {
    match answer {
        Err(error @ ClientError::Ownership(OwnershipError::NotDone)) => {
            assert_eq!(error.code(), Code::L1Unproved.as_str());
            Ok(())
        }
        other => Err(format!("{other:?}").into()),
    }
}

fn one(guardian: Address) -> AccountGuardians {
    AccountGuardians { accounts: vec![guardian], needed: 1 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_of_another_transaction_shows_nothing() -> TestResult {
    let anew = Anew::new(Role::Patient);
    let me = anew.0.address();
    let scene = Scene::where_these_have_ether([PATIENT.address(), me]).await?;
    let patient = scene.registered(PATIENT).await?;
    let account = patient.account()?;
    drop(patient);
    let owner = scene.on_l1(PATIENT).await?;
    let earlier: B256 = owner.set_guardians(one(DOCTOR.address())).await?.tx_hash;
    drop(owner);
    let old = async || -> TestResult<L1Client> {
        through(&scene, scene.profile(PATIENT)?, shown(&scene, Lie::Swallows(earlier))).await
    };
    let new = async || -> TestResult<L1Client> {
        through(&scene, anew.profile(&scene)?, shown(&scene, Lie::Swallows(earlier))).await
    };

    not_done(old().await?.set_guardians(one(STRANGER.address())).await)?;
    // A patient who already has these guardians has what they asked for.
    old().await?.set_guardians(one(DOCTOR.address())).await?;
    let request = anew.on_l1(&scene).await?.request_takeover(account).await?;
    not_done(old().await?.hand_over(&request, me).await)?;
    let approvals = [approved(&scene, DOCTOR, &request, me).await?];
    not_done(new().await?.begin_recovery(&request, &approvals).await)?;
    anew.on_l1(&scene).await?.begin_recovery(&request, &approvals).await?;
    not_done(old().await?.cancel_recovery().await)?;
    seven_days(&scene).await?;
    not_done(new().await?.finish_recovery(account).await)?;

    // Nothing of that happened but what was sent through an honest node.
    let found = anew.on_l1(&scene).await?.ownership(account).await?;
    assert_eq!((found.owner, found.guardians), (PATIENT.address(), one(DOCTOR.address())));
    assert_eq!(found.recovery.map(|(to, _)| to), Some(me));
    anew.on_l1(&scene).await?.finish_recovery(account).await?;
    assert_eq!(anew.on_l1(&scene).await?.account(), Some(account));
    Ok(())
}
