//! A hostile node names a contract that is not this program's rollup, or not one that began empty.

use alloy::primitives::{Address, U256};
use emr_api::NodeStatus;
use emr_chain::{Deployed, Deployment, DeploymentRecord, VerifierCode, deploy};
use emr_client::{Client, ClientError, Connections, verify::deployment::DeploymentError};
use emr_core::StateRoot;
use emr_testkit::{node::deployment, people::people};
use serde_json::Value;

use crate::{
    proxy::{Fault, Proxy},
    scene::*,
};

/// The error of a patient who joins a node that names this contract and this record.
async fn join(scene: &Scene, contract: Address, record: &DeploymentRecord) -> TestResult<ClientError> {
    let proxy = Proxy::new(scene.node.url())?;
    let record = serde_json::to_value(record)?;
    proxy.set(move |request, answer| {
        if !request.starts_with("GET /v1/status") || answer.is_empty() {
            return None;
        }
        let mut status: Value = serde_json::from_str(answer).ok()?;
        status["contract"] = contract.to_string().into();
        status["deployment"] = record.clone();
        Some(Fault::Answer(status.to_string()))
    });
    let (profile, identity) = scene.profile(PATIENT)?;
    let connections = Connections::over(&proxy.address, &scene.endpoint())?;
    Ok(Client::join_through(profile, identity, &connections).await.expect_err("another contract"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_is_not_the_rollup_is_refused() -> TestResult {
    let scene = Scene::new().await?;
    let provider = scene.endpoint().connect(Some(people().hospital.ethereum.clone()))?;
    let status: NodeStatus = reqwest::get(scene.node.url().join("v1/status")?).await?.json().await?;
    let (contract, record) = (status.contract, status.deployment);

    // Somewhere else, with an honest record: the state, the record's keys, the code and the storage there may be anything.
    let elsewhere = Address::repeat_byte(0xbb);
    let refused = join(&scene, elsewhere, &record).await?;
    assert!(matches!(refused, ClientError::Deployment(DeploymentError::OtherContract(at)) if at == elsewhere));
    assert_eq!(refused.code(), "other-contract");

    // A rollup whose sequencer deployed a verifier that accepts everything: a contract that only returns.
    let accepts_all =
        VerifierCode { verifier: vec![0x60, 1, 0x60, 0, 0xf3].into(), ..deployment().sizes[0].verifier_code.clone() };
    let mut hostile = deployment();
    hostile.sizes[0].verifier_code = accepts_all;
    let Deployed { rollup, record: said, .. } = deploy(provider.clone(), &hostile).await?;
    let refused = join(&scene, rollup.instance().contract, &said).await?;
    assert!(matches!(refused, ClientError::Deployment(DeploymentError::OtherContract(_))), "{refused}");

    // This program's contracts, but there are accounts and grants from the beginning.
    let genesis = StateRoot::from_bytes([3; 32])?;
    let Deployed { rollup, record: said, .. } =
        deploy(provider.clone(), &Deployment { genesis, ..deployment() }).await?;
    let begun = rollup.instance().contract;
    let refused = join(&scene, begun, &said).await?;
    assert!(matches!(refused, ClientError::Deployment(DeploymentError::Genesis(at)) if at == begun), "{refused}");
    let empty = DeploymentRecord { genesis: record.genesis, ..said };
    let refused = join(&scene, begun, &empty).await?;
    assert!(matches!(refused, ClientError::Deployment(DeploymentError::OtherContract(_))), "{refused}");

    // This program's contracts for another circuit version.
    let other = Deployment { circuit_version: 9, ..deployment() };
    let Deployed { rollup, record: said, .. } = deploy(provider, &other).await?;
    let refused = join(&scene, rollup.instance().contract, &said).await?;
    assert!(
        matches!(refused, ClientError::Deployment(DeploymentError::CircuitVersion { version: 9, .. })),
        "{refused}"
    );

    // The node lies about the right contract: about its fee, or its registrar.
    for lie in [
        DeploymentRecord { registration_fee: U256::ZERO, ..record.clone() },
        DeploymentRecord { registrar: record.sequencer, ..record.clone() },
    ] {
        let refused = join(&scene, contract, &lie).await?;
        assert!(matches!(refused, ClientError::Deployment(DeploymentError::OtherContract(_))), "{refused}");
    }
    Ok(())
}

/// A genuine rollup, but not the one that the participant was invited to: its hospital and registrar are the attacker's.
#[tokio::test(flavor = "multi_thread")]
async fn a_genuine_contract_that_was_not_named_is_refused() -> TestResult {
    let scene = Scene::new().await?;
    let (profile, identity) = scene.profile(PATIENT)?;
    let named = Address::repeat_byte(0xaa);
    let connections = Connections::over(scene.node.url().as_str(), &scene.endpoint())?;
    let refused = Client::join_through(profile, identity, &connections.clone().at_contract(Some(named))).await;
    let refused = refused.expect_err("another contract");
    assert!(
        matches!(refused, ClientError::OtherContract { named: said, found } if (said, found) == (named, scene.contract))
    );
    // Nothing of it was remembered.
    let (profile, identity) = scene.profile(PATIENT)?;
    assert!(profile.settings().is_err());
    Client::join_through(profile, identity, &connections.at_contract(Some(scene.contract))).await?;
    Ok(())
}
