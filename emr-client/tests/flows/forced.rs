//! A patient revokes on L1: at once at the hospital's node, and without it if it does not answer or does not settle.

use std::time::Duration;

use alloy::primitives::Address;
use alloy::providers::Provider;
use emr_chain::{
    Revert, Revocation, Rollup, RollupError, RollupInstance, SettlementLayer, SignedChange, SignedRevocation,
    endpoint::Endpoint,
};
use emr_client::{
    ClientError, L1Client,
    flow::{
        account_change::AccountChangeError,
        settle_queue::{OverdueBatch, SettleQueueError},
    },
    node::NodeError,
    profile::Profile,
};
use emr_core::{Class, ClassMask, GrantSlot, Rights, Version};
use emr_devnet::EmbeddedChain;
use emr_rollup::{
    batch::{Batch, Prover as _, Sealed},
    prover::{Prover, default_cache},
    setup::SetupChoice,
};

use crate::{
    lying_l1::{self, Lie},
    scene::*,
};
use emr_testkit::people::{Member, registrar};

const ALL: Revocation = Revocation { slot: None, directory: None };

async fn pass(chain: &EmbeddedChain, seconds: u64) -> TestResult {
    let provider = Endpoint::in_process(chain.transport()).connect(None)?;
    let _: serde_json::Value = provider.raw_request("evm_increaseTime".into(), (seconds,)).await?;
    let _: serde_json::Value = provider.raw_request("evm_mine".into(), ()).await?;
    Ok(())
}

/// The node serves nothing more as soon as the entry is on L1. Once it is settled, the patient's next run closes the keys,
/// and the patient can grant again in the same slot.
#[tokio::test(flavor = "multi_thread")]
async fn the_node_stops_serving_at_once_and_the_patient_goes_on() -> TestResult {
    let scene = Scene::proving_for([PATIENT.address()]).await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let card = handed_over(&patient);
    let written = doctor.upload(&card, Class::Summary, &record("before")).await?;
    scene.next_batch().await?;
    let slot = written.slot;
    doctor.request(&card, Class::Summary, emr_core::Reason::Treatment).await?;
    doctor.retrieve(&card, slot, None).await?;
    let account = card.registered()?;
    doctor.node().record(account, slot).await?;

    drop(patient);
    let forced = scene.on_l1(PATIENT).await?.force_revoke(&ALL).await?;
    assert_eq!(forced.queued.index, 0);
    let denied = async || {
        for _ in 0..200 {
            // Asked without the client's own checks, which refuse too.
            if matches!(doctor.node().record(account, slot).await, Err(NodeError::Refused { .. })) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    };
    assert!(denied().await, "the node still serves");
    assert_eq!(doctor.node().status().await?.batches, 1, "nothing is settled yet");

    // A run before it is settled shows what is settled, signs nothing, and does not forget that new keys are due.
    let early = scene.client(PATIENT).await?;
    early.resume().await?;
    assert_eq!(early.own_leaves().await?.grants().len(), 1);
    let repaired = early.repair_directory().await;
    assert!(matches!(repaired, Err(ClientError::ChangeWaits(_))), "{repaired:?}");
    assert!(early.profile().keys_wait());
    drop(early);

    scene.next_batch().await?;
    let patient = scene.client(PATIENT).await?;
    patient.resume().await?;
    assert!(patient.own_leaves().await?.grants().is_empty());
    let repaired = patient.repair_directory().await?.ok_or("the doctor still has the keys")?;
    assert_eq!(repaired.new_epochs, ClassMask::ALL);
    scene.next_batch().await?;
    patient.resume().await?;

    // The slot was emptied, but the patient's versions go on: the grant was 1, the new directory's Revoke 2.
    let granted = patient.grant(&handed_over(&doctor), &terms(Rights::READ, ClassMask::ALL)).await?;
    assert_eq!((granted.slot, granted.grant.version), (GrantSlot::FIRST_ORDINARY, Version::new(3)?));
    scene.next_batch().await?;
    patient.light_check().await?;
    Ok(())
}

/// The patient revoked before. An Ethereum node that drops the second transaction cannot pass off the first entry, which has the
/// same words, as the second.
#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_revocation_is_not_taken_for_this_one() -> TestResult {
    let scene = Scene::proving_for([PATIENT.address()]).await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    scene.next_batch().await?;
    drop((patient, doctor));
    scene.on_l1(PATIENT).await?.force_revoke(&ALL).await?;
    scene.next_batch().await?;
    let lying = async |lie| {
        let (profile, identity) = scene.profile(PATIENT)?;
        TestResult::Ok(L1Client::over(profile, identity, None, (&[lying_l1::shown(&scene, lie)], None)).await?)
    };
    let refused = lying(Lie::FirstEntry).await?.force_revoke(&ALL).await;
    assert!(matches!(refused, Err(ClientError::AccountChange(AccountChangeError::NotQueued))), "{refused:?}");
    scene.next_batch().await?;
    assert_eq!(lying(Lie::Honest).await?.force_revoke(&ALL).await?.queued.index, 2);
    Ok(())
}

/// The hospital is silent. The patient has no ether, so a stranger relays what they signed, and settles it with nothing but
/// L1's data.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_hospital_cannot_keep_a_grant_alive() -> TestResult {
    let scene = Scene::proving_for([DOCTOR.address()]).await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let card = handed_over(&patient);
    doctor.upload(&card, Class::Summary, &record("before")).await?;
    scene.next_batch().await?;
    drop((patient, doctor));
    let Scene { folder, chain, node, contract } = scene;
    node.shutdown().await;

    let on_l1 = async |person: Member| {
        let profile = Profile::open(&folder.path().join(person.name))?;
        let identity = profile.identity(&PASSPHRASE.into())?;
        let endpoint = Endpoint::in_process(chain.transport());
        TestResult::Ok(L1Client::over(profile, identity, None, (&[endpoint], None)).await?)
    };
    // The hospital's node told the stranger a wrong block of the deployment, and so hides what came before.
    let path = folder.path().join(DOCTOR.name).join("profile.json");
    let mut settings: serde_json::Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    settings["deployed_at"] = 1_000_000.into();
    std::fs::write(&path, settings.to_string())?;
    let patient = on_l1(PATIENT).await?;
    let broke = patient.force_revoke(&ALL).await;
    assert!(matches!(broke, Err(ClientError::NoEther(_))), "{broke:?}");
    let signed = patient.sign_revocation(ALL).await?;
    let SignedChange::Revocation(revocation) = &signed else { return Err("a revocation was signed".into()) };
    let instance = RollupInstance { contract: Address::repeat_byte(9), ..revocation.instance };
    let moved = SignedChange::Revocation(SignedRevocation { instance, ..revocation.clone() });
    let moved = on_l1(DOCTOR).await?.relay(&moved).await;
    assert!(matches!(moved, Err(ClientError::AccountChange(AccountChangeError::OtherRollup(at))) if at == instance));
    let stranger = on_l1(DOCTOR).await?;
    assert_eq!(stranger.rollup().instance().contract, contract);
    let forced = stranger.relay(&signed).await?;
    assert!(stranger.relay(&signed).await.is_err(), "it counts once");
    assert!(stranger.overdue_batch().await?.is_none());

    pass(&chain, 6 * 3600 + 60).await?;
    assert!(stranger.rollup().block_time(stranger.rollup().head().await?.block_number).await? > forced.strangers_from);
    // A halt is everybody's: the stranger would prove in vain.
    let guardian = Endpoint::in_process(chain.transport()).connect(Some(registrar()))?;
    let guardian = Rollup::attach(guardian, contract, 0).await?;
    guardian.agree_to_halt().await?;
    let halted = stranger.overdue_batch().await.expect_err("a halt");
    assert!(matches!(halted, ClientError::SettleQueue(SettleQueueError::Halted(_))), "{halted:?}");
    guardian.agree_to_resume().await?;
    // A younger one comes along: it could become overdue while the stranger proves.
    let younger = Revocation { slot: Some(GrantSlot::FIRST_ORDINARY), directory: None };
    stranger.relay(&patient.sign_revocation(younger).await?).await?;
    let (batch, proof) = proved(&stranger).await?;
    assert_eq!(batch.entries(), 2);
    stranger.settle_overdue(batch, proof).await?;
    let head = stranger.rollup().head().await?;
    assert_eq!((head.queues.urgent.head, head.batch_count), (2, 2));
    assert!(stranger.overdue_batch().await?.is_none());
    Ok(())
}

/// The sequencer is slow: while a stranger proves, it settles the revocation after all. The stranger's proof is void, and
/// nothing is left to settle.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_sequencer_and_a_stranger_settle_it_once() -> TestResult {
    let scene = Scene::proving_for([PATIENT.address(), DOCTOR.address()]).await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    scene.next_batch().await?;
    drop((patient, doctor));
    scene.on_l1(PATIENT).await?.force_revoke(&ALL).await?;
    pass(&scene.chain, 6 * 3600 + 60).await?;
    let stranger = scene.on_l1(DOCTOR).await?;
    let (batch, proof) = proved(&stranger).await?;
    assert_eq!(batch.entries(), 1);

    scene.next_batch().await?;
    let late = stranger.settle_overdue(batch, proof).await;
    let stale = matches!(late, Err(ClientError::Rollup(RollupError::Reverted(Revert::StaleBatch(_)))));
    assert!(stale, "{late:?}");
    assert!(stranger.overdue_batch().await?.is_none());
    let head = stranger.rollup().head().await?;
    assert_eq!((head.queues.urgent.head, head.batch_count), (1, 2));
    Ok(())
}

/// The batch of the overdue entries, and its proof.
pub(crate) async fn proved(stranger: &L1Client) -> TestResult<(OverdueBatch, Vec<u8>)> {
    let batch = stranger.overdue_batch().await?.ok_or("nothing is overdue")?;
    let proof = proof_of(&batch.sealed).await?;
    Ok((batch, proof))
}

pub(crate) async fn proof_of(batch: &Batch<Sealed>) -> TestResult<Vec<u8>> {
    let (witness, public) = (batch.witness().clone(), *batch.public());
    let proof = tokio::task::spawn_blocking(move || -> TestResult<Vec<u8>> {
        let cache = default_cache().ok_or("a home folder")?;
        let prover = Prover::load_or_generate(&cache, witness.version, SetupChoice::InsecureDevelopment, |_| {})?;
        Ok(prover.prove(&witness, &public)?)
    });
    proof.await?
}
