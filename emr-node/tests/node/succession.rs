//! Another hospital becomes the sequencer: it goes on with a copy of the operation log, and the one before stops taking operations.

use emr_api::{BatchView, NodeStatus, OperationStatus};
use emr_chain::{Change, SettlementLayer};
use emr_core::{Class, Rights};
use emr_node::{AdoptError, Node, NodeConfig, ProverConfig, StartError, adopt};

use crate::stage::*;

const DAY: u64 = 24 * 3600;

/// Waits for a batch, also on a machine that makes the proving key first.
async fn settled(status: &impl AsyncFn() -> Answer<NodeStatus>, batches: u64) -> Outcome {
    for _ in 0..9 {
        if until(|| async { status().await.is_ok_and(|status| status.batches >= batches) }).await.is_ok() {
            return Ok(());
        }
    }
    Err("the batch is not settled".into())
}

/// What was acknowledged by the sequencer of before is settled by the next one, which has another key and its own account.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_sequencer_settles_what_the_one_before_acknowledged() -> Outcome {
    let world = World::new().await?;
    let accounts = world.register_all().await?;
    // Another hospital. Its Ethereum key belongs to the registrar here.
    let (next, old) = (&people().registrar, &people().hospital);
    let successor = world.register(next, None).await?;
    let config = world.config()?;
    let prover = ProverConfig { local: true, ..config.prover.clone() };
    let node = Node::start(NodeConfig { prover: prover.clone(), ..config }).await?;
    let scene = Scene::log_all_in(world, node, accounts).await?;
    let (world, patient) = (&scene.world, &scene.patient);
    // The registrations are settled, so the log belongs to the hospital, and its account has sent a settlement.
    let status = async || scene.hospital.get::<NodeStatus>("v1/status").await;
    scene.hospital.post::<BatchView>("v1/batches/seal", &()).await?;
    settled(&status, 1).await?;
    let grant = patient.grant(FIRST, accounts.doctor, Rights::READ, &[Class::Summary], next_year()).await?;

    world.rollup.offer_office(Some(next.address())).await?;
    world.rollup_as(next.ethereum.clone()).await?.accept_office().await?;
    until(|| async { status().await.is_ok_and(|status| status.health.halted.is_some()) }).await?;
    let halted = status().await?.health.halted.ok_or("it goes on")?;
    assert!(halted.contains(&next.address().to_string()), "{halted}");
    // It promises nothing more that it cannot keep, not even to revoke.
    let second = patient.grant(slot(65), accounts.stranger, Rights::READ, &[Class::Summary], next_year()).await;
    assert!(second.is_err());
    assert_eq!(code(scene.hospital.post::<BatchView>("v1/batches/seal", &()).await), "unavailable");
    assert!(patient.revoke(FIRST).await.is_err());

    let Scene { world, node, .. } = scene;
    node.shutdown().await;
    let refused = Node::start(world.config()?).await.map(|_| ()).expect_err("it is not the sequencer any more");
    assert!(matches!(refused, StartError::NotSequencer { sequencer, .. } if sequencer == next.address()), "{refused}");

    let folder = tempfile::tempdir()?;
    let to = folder.path().join("node");
    let config = NodeConfig { data_dir: to.clone(), hospital: next.ethereum.clone(), prover, ..world.config()? };
    assert!(matches!(adopt(folder.path(), &to), Err(AdoptError::NotANode(_))));
    adopt(&world.node_folder(), &to)?;
    assert!(matches!(adopt(&world.node_folder(), &to), Err(AdoptError::Exists(_))));
    let node = Node::start(config).await?;
    let operator = Caller::log_in(node.url().clone(), world.domain(), next, successor).await?;
    let sealed: BatchView = operator.post("v1/batches/seal", &()).await?;
    assert_eq!(sealed.public.n, 1, "the grant");
    let served = async || operator.get::<NodeStatus>("v1/status").await;
    settled(&served, 2).await?;
    assert_eq!(world.rollup.head().await?.state_root, sealed.public.post);
    let patient = Caller::log_in(node.url().clone(), world.domain(), &people().patient, accounts.patient).await?;
    let id = grant.signed.id(world.domain());
    let known: OperationStatus = patient.get(&format!("v1/operations/{id}")).await?;
    assert_eq!(known, OperationStatus::Settled { batch: 2 });

    // The registrars give the office back.
    let registrar = world.rollup_as(next.ethereum.clone()).await?;
    let appoint = Change::Appoint(old.address());
    registrar.propose(&appoint, Default::default()).await?;
    advance(&world, 14 * DAY + 600).await?;
    registrar.execute(&appoint, Default::default()).await?;
    until(|| async { served().await.is_ok_and(|status| status.health.halted.is_some()) }).await?;
    node.shutdown().await;
    Ok(())
}
