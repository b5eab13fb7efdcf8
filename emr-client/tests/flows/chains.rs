//! Newer Revokes take the place of earlier ones. Nothing that is in force is called lost, whatever became of the newer one.

use std::time::Duration;

use emr_api::OperationStatus;
use emr_client::{Client, flow::submit::Fate};
use emr_core::{AccountIndex, Class, ClassMask, Reason, Rights};
use emr_rollup::operation::{Kind, OperationId};

use crate::{
    proxy::{Fault, Proxy, lie},
    scene::*,
};

const POLL: Duration = Duration::from_millis(10);

/// A patient ends a grant, gives it again and ends it again: two Revokes of one slot.
async fn two_revokes(patient: &Client, reader: &Client) -> TestResult<[OperationId; 2]> {
    let account: AccountIndex = reader.account()?;
    let mut revokes = Vec::new();
    for _ in 0..2 {
        patient.grant(&handed_over(reader), &terms(Rights::READ, Class::Laboratory.into())).await?;
        let [(_, revoke)] = &patient.revoke(account, ClassMask::ALL).await?.changed[..] else {
            return Err("one grant".into());
        };
        revokes.push(revoke.operation);
    }
    Ok([revokes[0], revokes[1]])
}

/// What the node says about some operations.
fn says(statuses: Vec<(OperationId, OperationStatus)>) -> impl FnMut(&str, &str) -> Option<Fault> + Send + 'static {
    let mut lies: Vec<_> = statuses
        .into_iter()
        .map(|(id, status)| {
            lie(format!("GET /v1/operations/{id}"), move |now: &mut OperationStatus| now.clone_from(&status))
        })
        .collect();
    move |request, answer| lies.iter_mut().find_map(|lie| lie(request, answer))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_is_in_force_is_not_called_lost() -> TestResult {
    let scene = Scene::proving().await?;
    let doctor = scene.registered(DOCTOR).await?;
    drop(scene.registered(PATIENT).await?);
    let proxy = Proxy::new(scene.node.url())?;
    let patient = scene.client_at(PATIENT, &proxy.address).await?;
    let [first, second] = two_revokes(&patient, &doctor).await?;
    let [older, newer] = two_revokes(&patient, &doctor).await?;
    let [last_but_one, last] = two_revokes(&patient, &doctor).await?;
    // Somebody else requests access in the same batch.
    let stranger = scene.registered(STRANGER).await?;
    patient.grant(&handed_over(&stranger), &terms(Rights::READ, Class::Imaging.into())).await?;
    stranger.request(&handed_over(&patient), Class::Imaging, Reason::Treatment).await?;
    scene.next_batch().await?;
    assert_eq!(stranger.resume().await?.iter().map(|one| &one.fate).collect::<Vec<_>>(), [&Fate::Settled { batch: 1 }]);
    let waits =
        |patient: &Client, id| patient.profile().outbox().entries().iter().any(|entry| entry.draft().operation == id);

    // Waiting for the first one is waiting for the second one. Both leave the outbox together.
    proxy.set(says(vec![(first, OperationStatus::Replaced { by: second })]));
    assert_eq!(patient.wait_for(first, POLL).await?, Fate::Settled { batch: 1 });
    assert!(!waits(&patient, first) && !waits(&patient, second));

    // The newer one leaves the outbox first. The node says that it returned it, but L1 holds it.
    let returned = OperationStatus::Returned { reason: "it does not fit the state".to_owned() };
    proxy.set(says(vec![(older, OperationStatus::Replaced { by: newer }), (newer, returned)]));
    assert_eq!(patient.wait_for(newer, POLL).await?, Fate::InForce);
    assert!(waits(&patient, older) && !waits(&patient, newer));
    // Nobody can prove any more that the patient signed the newer one. The older one is in force all the same.
    assert_eq!(patient.wait_for(older, POLL).await?, Fate::InForce);
    assert!(!waits(&patient, older));

    // The same at the start of the next command, which signs.
    proxy.clear();
    assert_eq!(patient.wait_for(last, POLL).await?, Fate::Settled { batch: 1 });
    proxy.set(says(vec![(last_but_one, OperationStatus::Replaced { by: last })]));
    let resumed = patient.resume().await?;
    let revoke = resumed.iter().find(|resumed| resumed.kind == Kind::Revoke).ok_or("one is left")?;
    assert_eq!((revoke.operation, &revoke.fate), (last_but_one, &Fate::InForce));
    patient.grant(&handed_over(&doctor), &terms(Rights::READ, Class::Laboratory.into())).await?;
    Ok(())
}
