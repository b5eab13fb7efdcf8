//! The whole way of a batch: it is sealed, proved, settled on the embedded chain by the real verifier, and read back.

use std::sync::{Arc, Mutex};

use alloy::providers::Provider;
use emr_api::{
    AccountView, AuditPage, BatchView, NodeStatus, OperationStatus, OwnGrantsView, ProofJob, RecordSummary, RecordView,
    Submission, SubtreeView,
};
use emr_chain::{BatchContent, QueueName, Rollup, SettlementLayer, endpoint::Endpoint};
use emr_core::{Class, Rights, Role, UnixTime, Uses};
use emr_devnet::EmbeddedChain;
use emr_node::{DerivationError, FollowError, Node, NodeConfig, StartError};
use emr_rollup::{
    batch::{Batch, D1Entry, Prover as _},
    l1_operation::L1Operation,
    primitive::field,
    prover::{Prover, default_cache},
    setup::SetupChoice,
    state::{
        leaf::{AuditEntry, MedicalLeaf, extend_head},
        ledger::Ledger,
        state_root,
    },
    version::{CircuitSizes, CircuitVersion},
};

use crate::stage::*;

/// The prover of a size. Tests share it.
fn prover(size: CircuitVersion) -> Outcome<Arc<Prover>> {
    static PROVERS: Mutex<Vec<(CircuitVersion, Arc<Prover>)>> = Mutex::new(Vec::new());
    let mut provers = PROVERS.lock().map_err(|_| "another test failed")?;
    if let Some((_, prover)) = provers.iter().find(|(of, _)| *of == size) {
        return Ok(Arc::clone(prover));
    }
    let cache = default_cache().ok_or("a home folder")?;
    let said = |stage| eprintln!("{stage}");
    let prover = Arc::new(Prover::load_or_generate(&cache, size, SetupChoice::InsecureDevelopment, said)?);
    provers.push((size, Arc::clone(&prover)));
    Ok(prover)
}

pub(crate) async fn prove(job: ProofJob) -> Outcome<Vec<u8>> {
    let proof = tokio::task::spawn_blocking(move || Ok(prover(job.witness.version)?.prove(&job.witness, &job.public)?));
    proof.await?
}

async fn job(scene: &Scene) -> Outcome<ProofJob> {
    until(|| async { matches!(scene.hospital.get::<Option<ProofJob>>("v1/prover/job").await, Ok(Some(_))) }).await?;
    Ok(scene.hospital.get::<Option<ProofJob>>("v1/prover/job").await?.ok_or("no job")?)
}

async fn seal(scene: &Scene) -> Answer<BatchView> {
    scene.hospital.post("v1/batches/seal", &()).await
}

async fn settled(scene: &Scene, number: u64) -> Outcome<BatchView> {
    let path = format!("v1/batches/{number}");
    let path = path.as_str();
    until(|| async { scene.hospital.get::<BatchView>(path).await.is_ok_and(|batch| batch.state == "settled") }).await?;
    // The batch is durably settled a moment before the state that is served has it.
    let shown = async || scene.hospital.get::<NodeStatus>("v1/status").await;
    until(|| async { shown().await.is_ok_and(|status| status.batches >= number) }).await?;
    Ok(scene.hospital.get(path).await?)
}

async fn offer(scene: &Scene, number: u64, proof: Vec<u8>) -> Answer<Vec<u8>> {
    scene.hospital.post_bytes(&format!("v1/prover/jobs/{number}"), proof).await
}

async fn status(scene: &Scene, submission: &Submission) -> Outcome<OperationStatus> {
    let id = submission.signed.id(scene.world.domain());
    Ok(scene.patient.get(&format!("v1/operations/{id}")).await?)
}

/// A batch is sealed, proved elsewhere and settled. Then its grants open records, and a Revoke closes them. The node
/// restarts in between.
#[tokio::test(flavor = "multi_thread")]
async fn from_submission_to_settlement_and_service() -> Outcome {
    let world = World::new().await?;
    let scene = Scene::set(world).await?;
    let (patient, doctor, stranger, accounts) = (&scene.patient, &scene.doctor, &scene.stranger, scene.accounts);
    let classes = [Class::Summary, Class::Laboratory];
    patient.grant(FIRST, accounts.doctor, Rights::READ | Rights::WRITE, &classes, next_year()).await?;
    let record = doctor.upload(&[b"key", b"sealed", b"content"]).await?;
    let put = doctor.put_record(accounts.patient, 0, Class::Summary, &record);
    doctor.submit(&put).await?;
    let second = slot(65);
    patient.grant(second, accounts.stranger, Rights::READ, &[Class::Summary], next_year()).await?;
    stranger.submit(&stranger.request_access(accounts.patient, second, Uses::ZERO, Class::Summary)).await?;
    let first = format!("v1/patients/{}/records/0", accounts.patient);
    assert_eq!(code(stranger.get::<RecordView>(&first).await), "unavailable");

    seal(&scene).await?;
    let wanted = job(&scene).await?;
    let proof = prove(wanted.clone()).await?;

    // A false proof, or a proof of another batch, costs no gas.
    let sender = people().hospital.address();
    let provider = scene.world.rollup.provider();
    let nonce = provider.get_transaction_count(sender).await?;
    let mut altered = proof.clone();
    altered[100] ^= 1;
    for bad in [vec![], vec![0; proof.len()], altered, proof[1..].to_vec(), [&proof[..], &[0]].concat()] {
        assert_eq!(code(offer(&scene, 1, bad).await), "refused");
    }
    assert_eq!(code(offer(&scene, 2, proof.clone()).await), "not-found");
    assert_eq!(provider.get_transaction_count(sender).await?, nonce);
    let untouched: BatchView = scene.hospital.get("v1/batches/1").await?;
    assert_eq!(untouched.state, "sealed");

    offer(&scene, 1, proof.clone()).await?;
    let batch = settled(&scene, 1).await?;
    assert_eq!(batch.public, wanted.public);
    assert_eq!(batch.proof_bytes, Some(proof.len() as u64));
    let gas = batch.gas_used.ok_or("gas")?;
    println!("settlement of {} operations: {gas} gas, proof of {} bytes", batch.operations, proof.len());
    assert!(gas < 900_000);
    let head = scene.world.rollup.head().await?;
    assert_eq!((head.batch_count, head.state_root), (1, wanted.public.post));
    assert_eq!(status(&scene, &put).await?, OperationStatus::Settled { batch: 1 });
    assert_eq!(code(offer(&scene, 1, proof).await), "not-found");

    // A settled record is served with its proof.
    let view: RecordView = stranger.get(&first).await?;
    let record_proof = view.proof.ok_or("a proof")?;
    assert_eq!(record_proof.record_path.root(0, view.leaf.hash()), record_proof.medical.records_root);
    let at = accounts.patient.get() as u32;
    assert_eq!(record_proof.medical_path.root(at, record_proof.medical.hash()), record_proof.medical_root);
    let author = accounts.doctor.get() as u32;
    assert_eq!(record_proof.author_path.root(author, view.author.hash()), record_proof.identity_root);
    assert_eq!(state_root(record_proof.identity_root, record_proof.medical_root), wanted.public.post);
    assert_eq!(stranger.block(&record).await?.len(), manifest(&[record; 3]).len());
    let account: AccountView = stranger.get(&format!("v1/accounts/{}", accounts.doctor)).await?;
    let identity = account.proof.ok_or("a proof")?;
    assert_eq!(identity.path.root(author, account.identity.hash()), identity.identity_root);
    assert!(account.settled && identity.batch == 1);
    // The doctor has the right, but has not requested access.
    assert_eq!(code(doctor.get::<RecordView>(&first).await), "no-session");
    assert_eq!(code(doctor.block(&record).await), "no-session");
    doctor.submit(&doctor.request_access(accounts.patient, FIRST, Uses::ZERO, Class::Summary)).await?;
    doctor.get::<RecordView>(&first).await?;
    let audit = light_check(&scene, 1).await?;
    assert_eq!(audit.len(), 4);
    let newest = audit_page(&scene, 4, 3).await?;
    assert_eq!((newest.first, &newest.entries[..]), (1, &audit[1..]));

    // A Revoke ends access at once, also for an open session. A new grant needs a new request.
    let revoke = patient.revoke(second).await?;
    assert_eq!(code(stranger.get::<RecordView>(&first).await), "revoked");
    assert_eq!(code(stranger.block(&record).await), "revoked");
    patient.grant(second, accounts.stranger, Rights::READ, &[Class::Summary], next_year()).await?;
    assert_eq!(code(stranger.get::<RecordView>(&first).await), "unavailable");

    // The next batch is settled after a restart.
    let sealed = seal(&scene).await?;
    assert_eq!((sealed.number, sealed.public.n1, sealed.public.n), (2, 0, 3));
    assert_eq!(sealed.public.pre, wanted.public.post);
    let wanted = job(&scene).await?;
    let saved = copy_of_chain(&scene)?;
    let scene = scene.restart().await?;
    assert_eq!(job(&scene).await?, wanted);
    let proof = prove(wanted.clone()).await?;
    offer(&scene, 2, proof).await?;
    settled(&scene, 2).await?;
    let now = light_check(&scene, 2).await?;
    assert_eq!((now.len(), &now[..4]), (7, &audit[..]));
    // An older page, after a page that was read before the batch. Both are of the same chain.
    let oldest = audit_page(&scene, newest.first, 3).await?;
    assert_eq!((oldest.first, &oldest.entries[..]), (0, &audit[..1]));
    assert_eq!(oldest.entries[0].extend(oldest.before), newest.before);
    let all = audit_page(&scene, 7, usize::MAX).await?;
    assert_eq!((all.first, all.before, &all.entries), (0, field::Fr::zero(), &now));
    assert_eq!(code(audit_page(&scene, 8, 3).await), "stale");
    assert_eq!(code(audit_page(&scene, 7, 0).await), "malformed");
    let own: OwnGrantsView = scene.patient.get(&format!("v1/patients/{}/grants", scene.accounts.patient)).await?;
    assert_eq!((own.batch, own.grants.len(), own.pending.len()), (2, 2, 0));
    assert_eq!(status(&scene, &revoke).await?, OperationStatus::Settled { batch: 2 });
    assert_eq!(
        code(scene.stranger.get::<RecordView>(&first).await),
        "no-session",
        "the old session was for the old grant"
    );
    // The doctor's session is still open after the restart, and ends after a day.
    scene.doctor.get::<RecordView>(&first).await?;
    let root = wanted.public.post;
    let scene = scene.restart().await?;
    let now: NodeStatus = scene.patient.get("v1/status").await?;
    assert_eq!((now.batches, now.state_root, now.pending), (2, root, 0));
    advance(&scene.world, 25 * 3600).await?;
    let scene = scene.log_in_again().await?;
    assert_eq!(code(scene.doctor.get::<RecordView>(&first).await), "no-session");

    // Without the mempool that sealed them, batches with operations cannot be applied. The error says so.
    let empty = NodeConfig { data_dir: scene.world.folder.path().join("another"), ..scene.world.config()? };
    let error = Node::start(empty).await.map(drop).expect_err("the operations are unknown");
    assert!(matches!(error, StartError::Follow(FollowError::Derive(DerivationError::UnknownOperations(1)))), "{error}");

    // L1 loses the second batch. Its operations wait again, in their order, and are sealed again.
    let Scene { world, node, .. } = scene;
    node.shutdown().await;
    let World { chain, rollup, record, folder } = world;
    let (instance, deployed_at) = (*rollup.instance(), rollup.deployed_at());
    drop((chain, rollup));
    std::fs::copy(saved, folder.path().join("chain").join("chain.redb"))?;
    let chain = EmbeddedChain::open(&folder.path().join("chain"), &prefunded())?;
    let provider = Endpoint::in_process(chain.transport()).connect(Some(people().hospital.ethereum.clone()))?;
    let rollup = Rollup::attach(provider, instance.contract, deployed_at).await?;
    let world = World { chain, rollup, record, folder };
    let node = Node::start(world.config()?).await?;
    let scene = Scene::log_all_in(world, node, accounts).await?;
    let now: NodeStatus = scene.patient.get("v1/status").await?;
    assert_eq!((now.batches, now.pending), (1, 3));
    assert_eq!(status(&scene, &revoke).await?, OperationStatus::Pending);
    assert_eq!(code(scene.stranger.get::<RecordView>(&first).await), "unavailable");
    let sealed = seal(&scene).await?;
    assert_eq!((sealed.number, sealed.public.pre, sealed.public.n), (2, wanted.public.pre, 3));
    scene.node.shutdown().await;
    Ok(())
}

fn copy_of_chain(scene: &Scene) -> Outcome<std::path::PathBuf> {
    let folder = scene.world.folder.path();
    let saved = folder.join("chain-before.redb");
    std::fs::copy(folder.join("chain").join("chain.redb"), &saved)?;
    Ok(saved)
}

async fn audit_page(scene: &Scene, end: u64, limit: usize) -> Answer<AuditPage> {
    let patient = scene.accounts.patient;
    scene.patient.get(&format!("v1/patients/{patient}/audit?end={end}&limit={limit}")).await
}

/// The whole audit chain, from pages of three entries.
async fn audit_chain(scene: &Scene, length: u64) -> Outcome<Vec<AuditEntry>> {
    let mut chain = Vec::new();
    let mut end = length;
    while end > 0 {
        let page = audit_page(scene, end, 3).await?;
        assert_eq!(page.first, end.saturating_sub(3));
        chain.splice(..0, page.entries);
        end = page.first;
    }
    Ok(chain)
}

/// Checks a patient's subtree, as the patient's client does. Returns the entries of the patient's audit chain.
async fn light_check(scene: &Scene, batch: u64) -> Outcome<Vec<AuditEntry>> {
    let patient = scene.accounts.patient;
    let view: SubtreeView = scene.patient.get(&format!("v1/patients/{patient}/subtree")).await?;
    assert_eq!(view.batch, batch);
    let version = CircuitVersion::V1;
    let mut grants = emr_rollup::state::tree::SparseMerkleTree::new(version.grant_depth);
    for grant in &view.grants {
        grants.set(grant.slot.get() as u32, grant.grant.hash());
    }
    let mut records = emr_rollup::state::tree::SparseMerkleTree::new(version.record_depth);
    for record in &view.records {
        assert!(record.settled);
        records.set(record.slot.get() as u32, record.leaf.hash());
    }
    let audit = audit_chain(scene, view.audit_length).await?;
    let audit_head = audit.iter().fold(field::Fr::zero(), |head, entry| extend_head(head, entry.hash()));
    let key_directory = view.medical.key_directory;
    let recomputed =
        MedicalLeaf { grants_root: grants.root(), records_root: records.root(), audit_head, key_directory };
    assert_eq!(recomputed, view.medical);
    let directory = view.directory.ok_or("a directory")?;
    assert_eq!(emr_rollup::operation::DirectoryCommitment::of(&directory), key_directory);
    let at = patient.get() as u32;
    assert_eq!(view.medical_path.root(at, view.medical.hash()), view.medical_root);
    assert_eq!(view.identity_path.root(at, view.identity.hash()), view.identity_root);
    let root = state_root(view.identity_root, view.medical_root);
    assert_eq!(scene.world.rollup.state_root().await?, root);
    let listed: Vec<RecordSummary> = scene.patient.get(&format!("v1/patients/{patient}/records")).await?;
    assert_eq!(listed, view.records);
    Ok(audit)
}

/// A stranger settles overdue queue entries. Then the sequencer continues with its own operations.
#[tokio::test(flavor = "multi_thread")]
async fn overdue_registrations_that_a_stranger_settles_are_followed() -> Outcome {
    let world = World::new().await?;
    let scene = Scene::set(world).await?;
    // The sequencer has settled nothing for a day.
    advance(&scene.world, 24 * 3600 + 60).await?;
    let scene = scene.log_in_again().await?;
    let record = scene.patient.upload(&[b"content"]).await?;
    let put = scene.patient.put_record(scene.accounts.patient, 0, Class::Summary, &record);
    scene.patient.submit(&put).await?;

    let head = scene.world.rollup.head().await?;
    assert_eq!(head.queues.ordinary.overdue, 5);
    let provider = scene.world.rollup.provider();
    let newest = provider.get_block_by_number(head.block_number.into()).await?.ok_or("no block")?.header.timestamp;
    let genesis = Ledger::genesis(scene.world.domain(), CircuitVersion::V1);
    let mut batch = Batch::open(genesis, 1, UnixTime::new(newest)?);
    for entry in scene.world.rollup.queue_entries(QueueName::Ordinary, 0..5, 0).await? {
        batch.push_l1(&L1Operation::from_entry(&D1Entry::from_bytes(&entry.words)?)?)?;
    }
    let (sealed, after) = batch.seal();
    let (witness, public) = (sealed.witness().clone(), *sealed.public());
    let proof = prove(ProofJob { number: 1, witness, public }).await?;
    let size = CircuitSizes::v1().position(&CircuitVersion::V1).ok_or("no size")?;
    let content = BatchContent {
        size,
        pre: public.pre,
        post: public.post,
        time: sealed.time(),
        commitment: field::to_bytes(&public.commitment),
        urgent: 0,
        d1: sealed.data().d1.iter().map(D1Entry::to_bytes).collect(),
        d2: Vec::new(),
        proof,
    };
    scene.world.rollup_as(people().stranger.ethereum.clone()).await?.settle(&content).await?;

    until(|| async { scene.hospital.get::<NodeStatus>("v1/status").await.is_ok_and(|status| status.batches == 1) })
        .await?;
    let now: NodeStatus = scene.patient.get("v1/status").await?;
    assert_eq!((now.state_root, now.queued, now.pending), (after.trees().root(), 0, 1));
    assert_eq!(status(&scene, &put).await?, OperationStatus::Pending);
    let scene = scene.restart().await?;
    let sealed = seal(&scene).await?;
    assert_eq!((sealed.number, sealed.public.pre, sealed.public.n), (2, public.post, 1));
    scene.node.shutdown().await;
    Ok(())
}

/// More registrations than fit beside operations are proved and settled at once, in the size for the queue.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_is_settled_in_the_size_for_the_queue() -> Outcome {
    let world = World::new().await?;
    let scene = Scene::set(world).await?;
    let rollup = &scene.world.rollup;
    for number in 0..7 {
        let person = Person::fresh(Role::Patient, [0x30 + number; 32].into());
        let registration = person.registration(rollup.instance(), None);
        let deadline = UnixTime::new(UnixTime::MAX)?;
        let signed = registration.sign(rollup.instance(), person.address(), &person.ethereum, deadline)?;
        rollup.register_for(&signed).await?;
    }
    until(|| async { scene.hospital.get::<NodeStatus>("v1/status").await.is_ok_and(|status| status.queued == 12) })
        .await?;
    let record = scene.patient.upload(&[b"content"]).await?;
    let put = scene.patient.put_record(scene.accounts.patient, 0, Class::Summary, &record);
    scene.patient.submit(&put).await?;
    for (number, entries, operations, size) in
        [(1, 12, 0, CircuitVersion::V1_QUEUE), (2, 0, 1, CircuitVersion::V1_SMALL)]
    {
        let sealed = seal(&scene).await?;
        assert_eq!((sealed.public.n1, sealed.public.n), (entries, operations));
        let job = job(&scene).await?;
        assert_eq!(job.witness.version, size);
        let started = std::time::Instant::now();
        let proof = prove(job).await?;
        println!("{entries} + {operations}: proved in {:.1} s", started.elapsed().as_secs_f64());
        offer(&scene, number, proof).await?;
        settled(&scene, number).await?;
    }
    let sizes: Vec<_> = rollup.batches(0).await?.iter().map(|batch| batch.content.size).collect();
    assert_eq!(sizes, [2, 0]);
    assert_eq!(status(&scene, &put).await?, OperationStatus::Settled { batch: 2 });
    scene.node.shutdown().await;
    Ok(())
}

/// The keys do not belong to the deployment, or the Ethereum node lies. The proof is made again, but only a few times.
#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_l1_refuses_is_made_again_three_times() -> Outcome {
    // Each size has the key of another one.
    let mut deployment = deployment();
    let mut keys: Vec<_> = deployment.sizes.iter().map(|size| size.verifier_code.clone()).collect();
    keys.rotate_left(1);
    for (size, key) in deployment.sizes.iter_mut().zip(keys) {
        size.verifier_code = key;
    }
    let world = World::with(&deployment).await?;
    let scene = Scene::set(world).await?;
    seal(&scene).await?;
    let wanted = job(&scene).await?;
    let proof = prove(wanted.clone()).await?;
    for round in 0..3 {
        assert_eq!(job(&scene).await?, wanted, "round {round}");
        offer(&scene, 1, proof.clone()).await?;
        let gone = || async { scene.hospital.get::<Option<ProofJob>>("v1/prover/job").await == Ok(None) };
        until(gone).await?;
    }
    until(|| async {
        let status = scene.hospital.get::<NodeStatus>("v1/status").await;
        status.is_ok_and(|status| status.activity.contains("L1 has refused 3 proofs"))
    })
    .await?;
    assert_eq!(code(offer(&scene, 1, proof.clone()).await), "not-found");
    let kept: BatchView = scene.hospital.get("v1/batches/1").await?;
    assert_eq!((kept.state.as_str(), kept.public, kept.proof_bytes), ("sealed", wanted.public, None));
    // With the right keys the batch is settled.
    let scene = scene.restart().await?;
    assert_eq!(job(&scene).await?, wanted);
    scene.node.shutdown().await;
    Ok(())
}

/// A batch whose time L1 no longer accepts can never be settled. Its operations go into another batch.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_comes_too_late_is_sealed_again() -> Outcome {
    let world = World::new().await?;
    let scene = Scene::set(world).await?;
    let record = scene.patient.upload(&[b"content"]).await?;
    let put = scene.patient.put_record(scene.accounts.patient, 0, Class::Summary, &record);
    scene.patient.submit(&put).await?;
    seal(&scene).await?;
    let late = job(&scene).await?;
    let proof = prove(late.clone()).await?;
    advance(&scene.world, 2 * 3600).await?;
    let scene = scene.log_in_again().await?;
    offer(&scene, 1, proof).await?;
    until(|| async {
        scene.hospital.get::<NodeStatus>("v1/status").await.is_ok_and(|status| status.activity == "idle")
    })
    .await?;
    assert_eq!(scene.world.rollup.head().await?.batch_count, 0);
    let again = seal(&scene).await?;
    assert_eq!(again.number, 1);
    assert!(again.public.time > late.public.time);
    assert_eq!(again.public.n, 1);
    scene.node.shutdown().await;
    Ok(())
}
