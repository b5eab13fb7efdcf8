//! What the offices decide, and what a node makes of it: another sequencer, a halt, other verifiers.

use alloy::signers::local::PrivateKeySigner;
use emr_api::{BatchView, NodeStatus, OperationStatus};
use emr_chain::{Change, Revocation, SettlementLayer, Size, Takeover};
use emr_core::{AccountIndex, Class, Rights, UnixTime};
use emr_node::{AdoptError, Node, NodeConfig, ProverConfig, StartError, StoppedNode, adopt};

use crate::stage::*;

const DAY: u64 = 24 * 3600;

/// Waits for a batch, also on a machine that makes the proving key first.
pub(crate) async fn settled(status: &impl AsyncFn() -> Answer<NodeStatus>, batches: u64) -> Outcome {
    for _ in 0..9 {
        if until(|| async { status().await.is_ok_and(|status| status.batches >= batches) }).await.is_ok() {
            return Ok(());
        }
    }
    Err("the batch is not settled".into())
}

/// Gives somebody's account to another key, at once.
pub(crate) async fn hand_over(world: &World, account: AccountIndex, from: &Person, to: &PrivateKeySigner) -> Outcome {
    let rollup = world.rollup_as(from.ethereum.clone()).await?;
    let takeover = Takeover {
        instance: *rollup.instance(),
        account,
        owner: from.address(),
        new_owner: to.address(),
        nonce: rollup.nonce_of(from.address()).await?,
        round: 0,
        deadline: UnixTime::now().saturating_add(3600),
    };
    rollup.hand_over(&takeover.sign(to)?).await?;
    Ok(())
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
    let folder = tempfile::tempdir()?;
    let to = folder.path().join("node");
    assert!(matches!(StoppedNode::hold(&world.node_folder()), Err(AdoptError::Running(_))));
    node.shutdown().await;
    let refused = Node::start(world.config()?).await.map(|_| ()).expect_err("it is not the sequencer any more");
    assert!(matches!(refused, StartError::NotSequencer { sequencer, .. } if sequencer == next.address()), "{refused}");

    let config = NodeConfig { data_dir: to.clone(), hospital: next.ethereum.clone(), prover, ..world.config()? };
    assert!(matches!(StoppedNode::hold(folder.path()), Err(AdoptError::NotANode(_))));
    let stopped = StoppedNode::hold(&world.node_folder())?;
    adopt(&stopped, &to)?;
    assert!(matches!(adopt(&stopped, &to), Err(AdoptError::Exists(_))));
    drop(stopped);
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

/// Guardians halt settlement: the node promises nothing that it could not keep, but denies at once. It goes on when they say so.
#[tokio::test(flavor = "multi_thread")]
async fn during_a_halt_a_node_takes_only_revokes() -> Outcome {
    let scene = World::populated().await?;
    let (patient, accounts) = (&scene.patient, &scene.accounts);
    let status = async || scene.hospital.get::<NodeStatus>("v1/status").await;
    let halted = async || Ok::<_, Box<dyn std::error::Error + Send + Sync>>(status().await?.health.halted);
    let grant =
        async |number| patient.grant(slot(number), accounts.doctor, Rights::READ, &[Class::Summary], next_year()).await;
    patient.grant(FIRST, accounts.doctor, Rights::READ, &[Class::Summary], next_year()).await?;
    let guardian = scene.world.rollup_as(registrar()).await?;
    guardian.agree_to_halt().await?;
    until(|| async { halted().await.is_ok_and(|halted| halted.is_some()) }).await?;
    let said = halted().await?.unwrap_or_default();
    assert!(said.contains("takes only Revokes") && said.contains("guardians halted"), "{said}");
    let refused = grant(65).await.map(|_| ()).expect_err("a promise that the halt would break");
    assert!(refused.to_string().contains("guardians halted"), "{refused}");
    patient.revoke(FIRST).await?;

    guardian.agree_to_resume().await?;
    until(|| async { halted().await.is_ok_and(|halted| halted.is_none()) }).await?;
    grant(65).await?;
    scene.node.shutdown().await;
    Ok(())
}

/// Registrars give the rollup these sizes. The node stops settling then.
async fn change_sizes(scene: &Scene, sizes: Vec<Size>) -> Outcome {
    let registrar = scene.world.rollup_as(registrar()).await?;
    let change = Change::Sizes { circuit_version: 1, sizes };
    registrar.propose(&change, Default::default()).await?;
    advance(&scene.world, 14 * DAY + 600).await?;
    registrar.execute(&change, Default::default()).await?;
    let halted =
        async || scene.hospital.get::<NodeStatus>("v1/status").await.is_ok_and(|it| it.health.halted.is_some());
    until(halted).await
}

/// A node that starts again has the keys of all verifiers, whatever their order. Batches of before name positions that now are other sizes'.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_goes_on_when_sizes_changed() -> Outcome {
    let world = World::new().await?;
    let accounts = world.register_all().await?;
    let config = world.config()?;
    let prover = ProverConfig { local: true, ..config.prover.clone() };
    let node = Node::start(NodeConfig { prover: prover.clone(), ..config }).await?;
    let scene = Scene::log_all_in(world, node, accounts).await?;
    let status = async || scene.hospital.get::<NodeStatus>("v1/status").await;
    scene.hospital.post::<BatchView>("v1/batches/seal", &()).await?;
    settled(&status, 1).await?;
    let mut sizes = scene.world.rollup.sizes().await?;
    sizes.reverse();
    change_sizes(&scene, sizes).await?;

    let Scene { world, node, .. } = scene;
    node.shutdown().await;
    // Without snapshots, the first batch is executed again.
    std::fs::remove_dir_all(world.node_folder().join("snapshots"))?;
    let node = Node::start(NodeConfig { prover, ..world.config()? }).await?;
    let operator = Caller::log_in(node.url().clone(), world.domain(), &people().hospital, accounts.hospital).await?;
    let status = async || operator.get::<NodeStatus>("v1/status").await;
    let patient = world.rollup_as(people().patient.ethereum.clone()).await?;
    patient.force_revoke(&Revocation { slot: None, directory: None }).await?;
    until(|| async { status().await.is_ok_and(|status| status.queued == 1) }).await?;
    let sealed: BatchView = operator.post("v1/batches/seal", &()).await?;
    settled(&status, 2).await?;
    assert_eq!(world.rollup.head().await?.state_root, sealed.public.post);
    // The small size, which is the last one now.
    assert_eq!(world.rollup.batch(2).await?.map(|batch| batch.content.size), Some(2));
    node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verifier_without_a_key_keeps_a_node_from_starting() -> Outcome {
    let scene = World::populated().await?;
    let mut sizes = scene.world.rollup.sizes().await?;
    // Any contract can be called a verifier.
    let other = *scene.world.rollup.contract().address();
    sizes[0].verifier = other;
    change_sizes(&scene, sizes).await?;
    let Scene { world, node, .. } = scene;
    node.shutdown().await;
    let refused = Node::start(world.config()?).await.map(|_| ()).expect_err("another verifier");
    assert!(matches!(refused, StartError::OtherVerifiers { verifier, .. } if verifier == other), "{refused}");
    Ok(())
}

/// The hospital's account gets another owner. Its node goes on with the sequencer's office, and sees what patients revoke on L1, also after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_hospital_with_another_owner_goes_on() -> Outcome {
    let world = World::new().await?;
    let accounts = world.register_all().await?;
    let config = world.config()?;
    let prover = ProverConfig { local: true, ..config.prover.clone() };
    let node = Node::start(NodeConfig { prover, ..config }).await?;
    let scene = Scene::log_all_in(world, node, accounts).await?;
    let status = async || scene.hospital.get::<NodeStatus>("v1/status").await;
    // The hospital is settled, so the folder belongs to it.
    scene.hospital.post::<BatchView>("v1/batches/seal", &()).await?;
    settled(&status, 1).await?;
    let (old, new, rollup) = (&people().hospital, &people().registrar, &scene.world.rollup);
    hand_over(&scene.world, accounts.hospital, old, &new.ethereum).await?;
    assert_eq!(rollup.account_of(old.address()).await?, None);
    let patient = scene.world.rollup_as(people().patient.ethereum.clone()).await?;
    patient.force_revoke(&Revocation { slot: None, directory: None }).await?;
    until(|| async { status().await.is_ok_and(|status| status.queued == 1) }).await?;
    let before = status().await?;
    assert_eq!((before.health.halted, before.hospital), (None, Some(accounts.hospital)));
    let scene = scene.restart().await?;
    let after: NodeStatus = scene.hospital.get("v1/status").await?;
    assert_eq!((after.queued, after.health.halted, after.hospital), (1, None, Some(accounts.hospital)));
    scene.node.shutdown().await;
    Ok(())
}
