//! When a node starts, and when it refuses to start.

use std::time::Duration;

use alloy::primitives::B256;
use emr_api::{NodeStatus, OperationStatus};
use emr_chain::{
    DeploymentRecord, RollupError,
    endpoint::{Endpoint, EndpointError},
};
use emr_core::Class;
use emr_devnet::{ChainConfig, EmbeddedChain};
use emr_node::{FollowError, Node, NodeConfig, StartError, mempool::MempoolError};

use crate::stage::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_rollup_is_served() -> Outcome {
    let world = World::new().await?;
    let node = world.start().await?;
    let anyone = Caller::anonymous(node.url().clone(), world.domain(), &people().patient, 1.try_into()?);
    let status: NodeStatus = anyone.get("v1/status").await?;
    assert_eq!(status.chain_id, 31337);
    assert_eq!(status.contract, world.rollup.instance().contract);
    assert_eq!((status.batches, status.queued, status.pending), (0, 0, 0));
    assert_eq!(status.hospital, None);
    assert_eq!(status.activity, "idle");
    let genesis = emr_rollup::state::ledger::Ledger::genesis(world.domain(), emr_rollup::version::CircuitVersion::V1);
    assert_eq!(status.state_root, genesis.trees().root());
    node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_chain_contract_or_key_is_refused() -> Outcome {
    let world = World::new().await?;
    let good = world.config()?;

    let elsewhere = NodeConfig { chain_id: 1, ..good.clone() };
    let error = Node::start(elsewhere).await.map(|_| ()).expect_err("must be refused");
    assert!(matches!(error, StartError::Endpoint(EndpointError::ChainId { expected: 1, actual: 31337, .. })));
    assert!(error.to_string().contains("chain 31337"), "{error}");

    let record = DeploymentRecord { salt: B256::repeat_byte(9), ..good.deployment.clone() };
    let nothing_there = NodeConfig { deployment: record, ..good.clone() };
    let error = Node::start(nothing_there).await.map(|_| ()).expect_err("must be refused");
    assert!(matches!(error, StartError::Rollup(RollupError::NoContract { .. })), "{error}");

    let other_key = NodeConfig { hospital: people().doctor.ethereum.clone(), ..good.clone() };
    let error = Node::start(other_key).await.map(|_| ()).expect_err("must be refused");
    assert!(matches!(error, StartError::NotSequencer { .. }), "{error}");

    let gone = NodeConfig { endpoint: "http://127.0.0.1:9".parse::<Endpoint>()?, ..good.clone() };
    let error = Node::start(gone).await.map(|_| ()).expect_err("must be refused");
    assert!(matches!(error, StartError::Endpoint(EndpointError::Unreachable { .. })), "{error}");

    let node = Node::start(good.clone()).await?;
    let error = Node::start(good).await.map(|_| ()).expect_err("must be refused");
    assert!(matches!(error, StartError::Mempool(MempoolError::Busy)), "{error}");
    node.shutdown().await;
    Ok(())
}

/// A node that was stopped can be started again at once, even if it was busy.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_node_frees_its_folder() -> Outcome {
    let mut scene = World::populated().await?;
    for round in 0..10_u64 {
        let patient = scene.patient.clone();
        let account = scene.accounts.patient;
        let busy: Vec<_> = (0..8_u64)
            .map(|number| {
                let patient = patient.clone();
                tokio::spawn(async move {
                    let record = patient.upload(&[&(8 * round + number).to_be_bytes()]).await?;
                    // Some arrive. Others reach a node that is stopping.
                    let put = patient.put_record(account, 8 * round + number, Class::Summary, &record);
                    Ok::<_, Box<dyn std::error::Error + Send + Sync>>(patient.submit(&put).await?)
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(7 * round)).await;
        scene = scene.restart().await?;
        for upload in busy {
            if let Ok(receipt) = upload.await? {
                let status: OperationStatus =
                    scene.patient.get(&format!("v1/operations/{}", receipt.operation)).await?;
                assert_eq!(status, OperationStatus::Pending);
            }
        }
    }
    scene.node.shutdown().await;
    Ok(())
}

/// On a restarted chain, the same address is another rollup. Their operations must not be mixed.
#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_chain_is_told_from_the_old_one() -> Outcome {
    let world = World::new().await?;
    world.start().await?.shutdown().await;
    // Blocks contain their time. In another second the same transactions make other blocks.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let restarted = World::new().await?;
    assert_eq!(restarted.rollup.instance(), world.rollup.instance());
    let mixed = NodeConfig { data_dir: world.node_folder(), ..restarted.config()? };
    let error = Node::start(mixed).await.map(|_| ()).expect_err("must be refused");
    assert!(matches!(error, StartError::Mempool(MempoolError::OtherChain { .. })), "{error}");
    assert!(error.to_string().contains("choose another folder"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_knows_more_than_its_l1_says_so() -> Outcome {
    let chain = EmbeddedChain::temporary(&ChainConfig::default())?;
    let world = World::new().await?;
    let wrong = NodeConfig { endpoint: Endpoint::in_process(chain.transport()), ..world.config()? };
    let error = Node::start(wrong).await.map(|_| ()).expect_err("must be refused");
    assert!(matches!(error, StartError::Rollup(RollupError::NoContract { .. })), "{error}");
    let beyond = NodeConfig { deployed_at: 1000, ..world.config()? };
    let error = Node::start(beyond).await.map(|_| ()).expect_err("must be refused");
    assert!(matches!(error, StartError::Follow(FollowError::Block(1000))), "{error}");
    Ok(())
}
