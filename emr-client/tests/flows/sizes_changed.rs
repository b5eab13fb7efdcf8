//! Registrars change the sizes and their verifiers: clients notice, and stop until their users agree.

use alloy::providers::Provider;
use emr_chain::{Change, Rollup, SizesDigest};
use emr_client::{ClientError, error::Code, verify::settled_state::SettledStateError};
use emr_testkit::people::registrar;

use crate::scene::*;

const DAY: u64 = 24 * 3600;

#[tokio::test(flavor = "multi_thread")]
async fn changed_verifiers_stop_a_client_until_its_user_agrees() -> TestResult {
    let scene = Scene::new().await?;
    let patient = scene.registered(PATIENT).await?;
    patient.settled_state().await?;

    let authority = Rollup::attach(scene.endpoint().connect(Some(registrar()))?, scene.contract, 0).await?;
    let all = authority.sizes().await?;
    let sizes: Vec<_> = all.iter().rev().copied().collect();
    let right = SizesDigest::of(1, &sizes);
    let change = Change::Sizes { circuit_version: 1, sizes };
    authority.propose(&change, Default::default()).await?;
    scene.chain.advance_clock(14 * DAY + 600)?;
    let _: serde_json::Value = authority.provider().raw_request("evm_mine".into(), ()).await?;
    // Nothing has changed while it waits.
    patient.settled_state().await?;
    authority.execute(&change, Default::default()).await?;

    let refused = patient.settled_state().await.map_err(ClientError::from).expect_err("other verifiers");
    assert!(
        matches!(&refused, ClientError::SettledState(SettledStateError::SizesChanged { sizes, .. }) if *sizes == right),
        "{refused:?}"
    );
    assert_eq!(refused.code(), Code::SizesChanged.as_str());
    assert!(refused.to_string().contains(&format!("{right}, name it with --sizes")), "{refused}");
    assert_eq!(authority.sizes_digest().await?, right);
    // Others are not those that the user agreed to.
    let patient = patient.with_sizes(SizesDigest::of(1, &all));
    assert!(patient.settled_state().await.is_err());
    assert!(patient.with_sizes(right).settled_state().await.is_ok());
    Ok(())
}
