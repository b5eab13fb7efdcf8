//! A hostile node names a contract that is not this program's rollup, or not one that began empty.

use alloy::{
    primitives::{Address, U256},
    providers::Provider,
};
use emr_api::{NodeStatus, invitation::Invitation};
use emr_chain::{Deployed, Deployment, DeploymentRecord, Officers, RollupInstance, VerifierCode, deploy};
use emr_client::{Client, ClientError, Connections, verify::deployment::DeploymentError};
use emr_core::{AccountIndex, StateRoot, UnixTime};
use emr_testkit::{
    chain::hostile::{create, with_state_root},
    node::deployment,
    people::people,
};
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

    // This program's contracts with other parameters: for another circuit version; of a size for which nobody has a key, so that L1 could demand
    // batches that cannot be proved; with a fee that takes all ether of who pays it.
    let mut unprovable = deployment();
    unprovable.sizes[2].max_l1 = 1 << 40;
    let dear = U256::from(10).pow(U256::from(18)) + U256::ONE;
    for other in [
        Deployment { circuit_version: 9, ..deployment() },
        unprovable,
        Deployment { registration_fee: dear, ..deployment() },
    ] {
        let Deployed { rollup, record: said, .. } = deploy(provider.clone(), &other).await?;
        let at = rollup.instance().contract;
        let expected = match other.circuit_version {
            9 => DeploymentError::CircuitVersion { contract: at, version: 9 },
            _ if other.registration_fee == dear => DeploymentError::Fee(at),
            _ => DeploymentError::Sizes(at),
        };
        let refused = join(&scene, at, &said).await?;
        assert!(matches!(refused, ClientError::Deployment(error) if error == expected), "{expected}");
    }

    // The genuine code, whose creation code wrote a state root of its own. What the node says of the genuine one does not fit.
    let code = provider.get_code_at(contract).await?;
    let hostile = create(&provider, with_state_root(&code, U256::from(7))).await?;
    assert_eq!(provider.get_code_at(hostile).await?, code);
    let refused = join(&scene, hostile, &record).await?;
    assert!(matches!(refused, ClientError::Deployment(DeploymentError::OtherContract(at)) if at == hostile));

    // The node lies about the right contract: about its fee, or its registrar.
    for lie in [
        DeploymentRecord { registration_fee: U256::ZERO, ..record.clone() },
        DeploymentRecord { officers: Officers::registrar(record.sequencer), ..record.clone() },
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
    // The node says that it is for the contract of an invitation, and the invitation is for another one.
    let client = scene.client(STRANGER).await?;
    let elsewhere = RollupInstance { contract: named, chain_id: 31337 };
    let hospital = AccountIndex::new(1)?;
    let issue = |instance: &RollupInstance| {
        Invitation::issue(instance, &people().hospital.ethereum, hospital, UnixTime::now().saturating_add(600))
    };
    let refused = client.register(None, Some(&issue(&elsewhere)?)).await.expect_err("another contract");
    assert!(matches!(refused, ClientError::OtherContract { named: said, .. } if said == named), "{refused}");
    let other_chain = RollupInstance { chain_id: 1, contract: scene.contract };
    let refused = client.register(None, Some(&issue(&other_chain)?)).await.expect_err("another chain");
    assert!(matches!(refused, ClientError::OtherChain { named: 1, found: 31337 }), "{refused}");
    // Nothing of it was remembered.
    let (profile, identity) = scene.profile(PATIENT)?;
    assert!(profile.settings().is_err());
    Client::join_through(profile, identity, &connections.at_contract(Some(scene.contract))).await?;
    Ok(())
}
