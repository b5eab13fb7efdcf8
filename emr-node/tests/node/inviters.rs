//! Who invites at the hospital's expense, when accounts get other owners: an account decides, and not its owner's address.

use std::time::Duration;

use alloy::{primitives::B256, signers::local::PrivateKeySigner};
use emr_api::{BatchView, InviterView, NodeStatus, invitation::Invitation};
use emr_core::{AccountIndex, UnixTime};
use emr_node::{
    Node, NodeConfig, ProverConfig, RunningNode, StoppedNode, adopt,
    mempool::{InvitationUse, Invited, Mempool},
};

use crate::{
    invitations::*,
    mempool::anchor,
    stage::*,
    succession::{hand_over, settled},
};

/// An invitation that this key signs as an account.
fn invite(world: &World, key: &PrivateKeySigner, account: AccountIndex) -> Outcome<Invitation> {
    Ok(Invitation::issue(world.rollup.instance(), key, account, soon())?)
}

/// Registers person `number` with this invitation, as soon as the node takes it: it may still rely on the owner of before.
async fn taken_soon(world: &World, caller: &Caller, number: u32, invitation: Invitation) -> Outcome {
    let relay = asked(world, number, Some(invitation))?;
    let mut last = None;
    for _ in 0..60 {
        match post(caller, &relay).await {
            Ok(_) => return Ok(()),
            Err(refused) => last = Some(refused),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Err(format!("it is not taken: {last:?}").into())
}

/// Waits until the node refuses this invitation with these words.
async fn refused_soon(world: &World, caller: &Caller, number: u32, invitation: Invitation, words: &str) -> Outcome {
    let relay = asked(world, number, Some(invitation))?;
    let mut last = Ok(());
    for _ in 0..60 {
        last = said(post(caller, &relay).await, "refused", words);
        if last.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    last
}

/// The operator of this hospital's node, who has the RSA key of its account, whoever owns it.
async fn operator(world: &World, node: &RunningNode, hospital: AccountIndex) -> Outcome<Caller> {
    Caller::log_in(node.url().clone(), world.domain(), &people().hospital, hospital).await
}

fn path(inviter: &Person) -> String {
    format!("v1/inviters/{}", inviter.address())
}

const ENDED: &str = "no more invitations of this inviter";

#[tokio::test(flavor = "multi_thread")]
async fn an_inviter_stays_ended_when_the_hospital_has_another_owner() -> Outcome {
    let world = World::new().await?;
    let accounts = world.register_all().await?;
    let (doctor, old, new) = (&people().doctor, &people().hospital, &people().registrar);
    let node = world.start().await?;
    let caller = anyone(&world, &node)?;
    let by_doctor = || invite(&world, &doctor.ethereum, accounts.doctor);
    post(&caller, &asked(&world, 1, Some(by_doctor()?))?).await?;
    operator(&world, &node, accounts.hospital).await?.delete(&path(doctor)).await?;
    said(post(&caller, &asked(&world, 2, Some(by_doctor()?))?).await, "refused", ENDED)?;
    node.shutdown().await;

    // The new owner of the account takes the office too, and adopts the folder.
    world.rollup.offer_office(Some(new.address())).await?;
    world.rollup_as(new.ethereum.clone()).await?.accept_office().await?;
    hand_over(&world, accounts.hospital, old, &new.ethereum).await?;
    let folder = tempfile::tempdir()?;
    let to = folder.path().join("node");
    let stopped = StoppedNode::hold(&world.node_folder())?;
    adopt(&stopped, &to)?;
    drop(stopped);
    let config = NodeConfig { data_dir: to, hospital: new.ethereum.clone(), ..world.config()? };
    let node = Node::start(config).await?;
    let caller = anyone(&world, &node)?;
    said(post(&caller, &asked(&world, 2, Some(by_doctor()?))?).await, "refused", ENDED)?;
    let hospital = operator(&world, &node, accounts.hospital).await?;
    let listed: Vec<InviterView> = hospital.get("v1/inviters").await?;
    assert!(listed.iter().any(|one| one.address == doctor.address() && one.ended.is_some()), "{listed:?}");

    // The hospital itself cannot be ended, under the address that registered it or under its owner's.
    for own in [old, new] {
        assert_eq!(code(hospital.delete(&path(own)).await), "refused", "{}", own.name);
    }
    let listed: Vec<InviterView> = hospital.get("v1/inviters").await?;
    assert_eq!(listed.iter().filter(|one| one.ended.is_some()).count(), 1, "{listed:?}");
    post(&caller, &asked(&world, 3, Some(invite(&world, &new.ethereum, accounts.hospital)?))?).await?;

    hospital.send(hospital.http.put(hospital.join(&path(doctor)))).await?;
    post(&caller, &asked(&world, 2, Some(by_doctor()?))?).await?;
    node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_stays_ended_with_a_new_identity() -> Outcome {
    let world = World::new().await?;
    let accounts = world.register_all().await?;
    let doctor = &people().doctor;
    let identity = PrivateKeySigner::from_bytes(&B256::repeat_byte(0x5d))?;
    let node = world.start().await?;
    let caller = anyone(&world, &node)?;
    let by_doctor = |key: &PrivateKeySigner| invite(&world, key, accounts.doctor);
    post(&caller, &asked(&world, 1, Some(by_doctor(&doctor.ethereum)?))?).await?;
    let hospital = operator(&world, &node, accounts.hospital).await?;
    hospital.delete(&path(doctor)).await?;
    let before = by_doctor(&doctor.ethereum)?;

    hand_over(&world, accounts.doctor, doctor, &identity).await?;
    refused_soon(&world, &caller, 2, by_doctor(&identity)?, ENDED).await?;
    said(post(&caller, &asked(&world, 2, Some(before))?).await, "refused", "not signed by account")?;
    node.shutdown().await;
    // Also on a node that knows only the new owner.
    let node = world.start().await?;
    let caller = anyone(&world, &node)?;
    said(post(&caller, &asked(&world, 2, Some(by_doctor(&identity)?))?).await, "refused", ENDED)?;

    // The hospital takes it back under the address that it knows.
    let hospital = operator(&world, &node, accounts.hospital).await?;
    hospital.send(hospital.http.put(hospital.join(&path(doctor)))).await?;
    post(&caller, &asked(&world, 2, Some(by_doctor(&identity)?))?).await?;
    let listed: Vec<InviterView> = hospital.get("v1/inviters").await?;
    let today = listed.iter().find(|one| one.address == doctor.address()).map(|one| one.today);
    assert_eq!(today, Some(2), "both owners count as one: {listed:?}");
    node.shutdown().await;
    Ok(())
}

/// The node goes on with the key of the former owner, who is still the sequencer.
#[tokio::test(flavor = "multi_thread")]
async fn the_hospitals_invitations_are_those_of_its_present_owner() -> Outcome {
    let world = World::new().await?;
    let accounts = world.register_all().await?;
    let (old, new) = (&people().hospital, &people().registrar);
    let config = world.config()?;
    let prover = ProverConfig { local: true, ..config.prover.clone() };
    let node = Node::start(NodeConfig { prover, ..config }).await?;
    let caller = anyone(&world, &node)?;
    let hospital = operator(&world, &node, accounts.hospital).await?;
    // Once the hospital is settled, the account is this hospital's, whoever owns it.
    hospital.post::<BatchView>("v1/batches/seal", &()).await?;
    settled(&async || hospital.get::<NodeStatus>("v1/status").await, 1).await?;
    let by = |key: &PrivateKeySigner| invite(&world, key, accounts.hospital);
    post(&caller, &asked(&world, 1, Some(by(&old.ethereum)?))?).await?;
    let too_early = asked(&world, 2, Some(by(&new.ethereum)?))?;
    said(post(&caller, &too_early).await, "refused", "not signed by account 1")?;
    let before = by(&old.ethereum)?;

    hand_over(&world, accounts.hospital, old, &new.ethereum).await?;
    // The node still relies on the owner that it knew, but asks L1 before it pays.
    let after = by(&old.ethereum)?;
    for formers in [before, after] {
        said(post(&caller, &asked(&world, 2, Some(formers))?).await, "refused", "cannot invite")?;
    }
    taken_soon(&world, &caller, 2, by(&new.ethereum)?).await?;
    for formers in [before, after] {
        said(post(&caller, &asked(&world, 3, Some(formers))?).await, "refused", "not signed by account 1")?;
    }
    // Its doctors are still its doctors.
    let by_doctor = invite(&world, &people().doctor.ethereum, accounts.doctor)?;
    post(&caller, &asked(&world, 3, Some(by_doctor))?).await?;
    for own in [old, new] {
        assert_eq!(code(hospital.delete(&path(own)).await), "refused", "{}", own.name);
    }
    node.shutdown().await;

    let node = world.start().await?;
    let caller = anyone(&world, &node)?;
    post(&caller, &asked(&world, 4, Some(by(&new.ethereum)?))?).await?;
    said(post(&caller, &asked(&world, 5, Some(after))?).await, "refused", "not signed by account 1")?;
    node.shutdown().await;
    Ok(())
}

/// The folder may come from another hospital, which ended this one there.
#[test]
fn an_end_stops_doctors_and_never_the_hospital() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mempool = Mempool::open(folder.path(), &anchor())?;
    let now = UnixTime::new(1_000_000)?;
    let of_hospital = use_of(1, 7, 1, 1_000_100)?;
    let of_doctor = InvitationUse { quota: Some(20), ..of_hospital };
    assert!(mempool.end_inviter(of_hospital.inviter, now)?);
    assert_eq!(mempool.invited(&of_doctor, now)?, Invited::Ended);
    assert_eq!(mempool.invited(&of_hospital, now)?, Invited::First);
    Ok(())
}
