//! Which block a participant takes for the newest one, with Ethereum nodes that lie, are silent, or are behind.

use std::time::{Duration, Instant};

use alloy::{
    network::TransactionBuilder,
    primitives::{Address, U256},
    providers::Provider,
    rpc::types::TransactionRequest,
};
use emr_chain::header::{
    HeaderError,
    age::{HeaderAge, HeaderAgeError},
};
use emr_client::{
    Client, ClientError, Connections, ErrorKind,
    flow::{grant::History, submit::Fate},
};
use emr_core::{Class, ClassMask, Reason, Rights, UnixTime};
use emr_testkit::people::Member;

use crate::{
    lying_l1::{Lie, shown},
    scene::*,
};

/// Forty minutes, in seconds.
const OLD: Lie = Lie::Shifts(-2_400);

/// A participant who asks Ethereum nodes with these lies.
async fn client(scene: &Scene, person: Member, lies: &[Lie]) -> TestResult<Result<Client, ClientError>> {
    let (profile, identity) = scene.profile(person)?;
    let endpoints: Vec<_> = lies.iter().map(|lie| shown(scene, *lie)).collect();
    let connections = Connections::over_several(scene.node.url().as_str(), &endpoints, None)?;
    Ok(Client::join_through(profile, identity, &connections).await)
}

/// The same on a chain where the age of blocks counts.
async fn checked(scene: &Scene, person: Member, lies: &[Lie]) -> TestResult<Client> {
    Ok(client(scene, person, lies).await??.with_header_age(HeaderAge::Checked))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_ethereum_nodes_stops_nobody() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let card = handed_over(&patient);
    drop((patient, doctor));
    for (number, lie) in [Lie::Invents(7), Lie::Silent, OLD].into_iter().enumerate() {
        // The faulty node is the one that is named first.
        let lies = [lie, Lie::Honest, Lie::Honest];
        let doctor = client(&scene, DOCTOR, &lies).await??;
        let patient = client(&scene, PATIENT, &lies).await??;
        let began = Instant::now();
        let state = patient.settled_state().await?;
        assert!(began.elapsed() < Duration::from_secs(5), "{lie:?}: {:?}", began.elapsed());
        assert_eq!(state, scene.client(HOSPITAL).await?.settled_state().await?, "{lie:?}");
        let text = format!("record {number}");
        let written = doctor.upload(&card, Class::Laboratory, &record(&text)).await?;
        let (read, _) = patient.retrieve(&card, written.slot, None).await?;
        assert_eq!(read.unproven().record(), &record(&text));
        patient.revoke(doctor.account()?, ClassMask::ALL).await?;
        patient.grant(&handed_over(&doctor), &terms(Rights::READ | Rights::WRITE, ClassMask::ALL)).await?;
    }
    Ok(())
}

/// A block that goes between its header and the proof of its state is no lie: the next one is proved.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_goes_is_asked_for_again() -> TestResult {
    let scene = Scene::where_these_have_ether([STRANGER.address()]).await?;
    drop(scene.registered(PATIENT).await?);
    let sender = scene.client(STRANGER).await?;
    let provider = sender.rollup().provider();
    // The newest block changes the state, so that the block which takes its place has another one.
    let pay = || async {
        let payment = TransactionRequest::default().with_to(Address::repeat_byte(9)).with_value(U256::from(1));
        provider.send_transaction(payment).await?.get_receipt().await
    };
    pay().await?;
    let patient = client(&scene, PATIENT, &[Lie::Reorganises { proofs: 1 }]).await??;
    let settled = patient.settled_state().await?;
    assert_eq!(settled, scene.client(HOSPITAL).await?.settled_state().await?);
    // The node took the payment back, so this proves that the first proof was for a block that went.
    assert_eq!(provider.get_balance(Address::repeat_byte(9)).await?, U256::ZERO);

    drop(patient);
    pay().await?;
    let patient = client(&scene, PATIENT, &[Lie::Reorganises { proofs: 1 }]).await??;
    assert_eq!(patient.waiting_recovery().await?, None);
    assert_eq!(provider.get_balance(Address::repeat_byte(9)).await?, U256::ZERO);
    Ok(())
}

/// A participant who registers sends transactions over several nodes.
#[tokio::test(flavor = "multi_thread")]
async fn a_participant_registers_over_several_nodes() -> TestResult {
    let scene = Scene::where_these_have_ether([PATIENT.address()]).await?;
    let patient = client(&scene, PATIENT, &[Lie::Invents(7), Lie::Honest, Lie::Honest]).await??;
    let account = patient.register_on_l1(None).await?;
    drop(patient);
    assert_eq!(scene.client(PATIENT).await?.account()?, account);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_three_ethereum_nodes_that_lie_are_not_believed() -> TestResult {
    let scene = Scene::new().await?;
    drop(scene.registered(PATIENT).await?);
    let lies = [Lie::Shifts(-5), Lie::Honest, Lie::Shifts(5)];
    let Err(error) = client(&scene, PATIENT, &lies).await? else { return Err("believed one of them".into()) };
    assert!(matches!(error, ClientError::Header(HeaderError::Disagree { agree: 2, .. })), "{error}");
    assert_eq!((error.code(), error.kind()), ("l1-disagrees", ErrorKind::Unverified));
    assert_eq!(error.to_string().matches("block ").count(), 4, "{error}");

    let Err(error) = client(&scene, PATIENT, &[Lie::Silent, Lie::Honest, Lie::Silent]).await? else {
        return Err("believed one of them".into());
    };
    assert!(error.is_temporary() && error.to_string().contains("no answer in 5 s"), "{error}");

    // Both liars show an invented contract too.
    let lies = [Lie::Invents(7), Lie::Honest, Lie::Invents(8)];
    assert!(client(&scene, PATIENT, &lies).await?.is_err());
    Ok(())
}

/// All nodes are 40 minutes behind: what was revoked since would look valid. Only what ends rights goes on.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_block_stops_everything_but_a_revocation() -> TestResult {
    let scene = Scene::proving().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let stranger = scene.registered(STRANGER).await?;
    let (card, reader) = (handed_over(&patient), handed_over(&stranger));
    let lab = ClassMask::from(Class::Laboratory);
    let until = UnixTime::now().saturating_add(3600);
    patient.delegate(&handed_over(&doctor), ClassMask::ALL, until, History::Included).await?;
    let written = patient.upload(&card, Class::Laboratory, &record("potassium 4.1")).await?;
    scene.next_batch().await?;
    let given = doctor.grant_for(&card, &reader, Rights::READ, lab, UnixTime::now().saturating_add(1800)).await?;
    scene.next_batch().await?;
    drop((patient, doctor));

    // One node, or three that are all behind.
    for lies in [&[OLD][..], &[OLD; 3], &[Lie::Shifts(7_200)]] {
        let doctor = checked(&scene, DOCTOR, lies).await?;
        let patient = checked(&scene, PATIENT, lies).await?;
        let refused = [
            doctor.retrieve(&card, written.slot, Some(Reason::Treatment)).await.err(),
            doctor.upload(&card, Class::Laboratory, &record("x")).await.err(),
            patient.light_check().await.err(),
            patient.grant(&reader, &terms(Rights::READ, lab)).await.err(),
            patient.repair_directory().await.err(),
        ];
        let (code, says) = match lies[0] {
            Lie::Shifts(0..) => ("l1-ahead", "correct this machine's clock"),
            // A burst of blocks can be some seconds ahead of the clock.
            _ => ("l1-old", " minutes old"),
        };
        for error in refused {
            let error = error.ok_or("an old block was accepted")?;
            assert_eq!(error.code(), code, "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    // What was signed before is seen to, and the delegate's and the patient's revocation take effect at the node.
    let doctor = checked(&scene, DOCTOR, &[OLD]).await?;
    assert!(doctor.resume().await?.iter().any(|one| matches!(one.fate, Fate::Settled { .. })));
    let revoked = doctor.revoke_for(&card, &reader, ClassMask::ALL).await?;
    assert_eq!(revoked.changed.iter().map(|(slot, _)| *slot).collect::<Vec<_>>(), [given.slot]);
    assert!(matches!(revoked.overlooked, Some(HeaderAgeError::Old { .. })), "{:?}", revoked.overlooked);

    let patient = checked(&scene, PATIENT, &[OLD; 3]).await?;
    let revoked = patient.revoke(doctor.account()?, ClassMask::ALL).await?;
    assert!(matches!(revoked.overlooked, Some(HeaderAgeError::Old { .. })), "{:?}", revoked.overlooked);
    assert_eq!((revoked.changed.len(), revoked.new_epochs), (2, ClassMask::ALL));
    assert_eq!(patient.overlooked(), None, "nothing but the revocation goes on");
    let read = doctor.node().patient(patient.account()?).await;
    assert!(read.is_err(), "the node denies at once: {read:?}");
    drop(patient);
    scene.next_batch().await?;

    // With a recent block there is nothing to warn of.
    let patient = checked(&scene, PATIENT, &[Lie::Honest]).await?;
    let doctors = Some(doctor.account()?);
    assert!(patient.grants().await?.iter().all(|view| view.grant.grantee != doctors));
    patient.grant(&handed_over(&doctor), &terms(Rights::READ, lab)).await?;
    assert_eq!(patient.revoke(doctor.account()?, ClassMask::ALL).await?.overlooked, None);
    Ok(())
}
