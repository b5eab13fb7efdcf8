//! The hospital pays for people whom it or one of its doctors invited, once for each invitation.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::Path,
};

use alloy::{
    primitives::{Address, B256},
    providers::Provider,
    signers::local::PrivateKeySigner,
};
use emr_api::{InviterView, Registered, RelayRegistration, invitation::Invitation};
use emr_chain::RollupInstance;
use emr_core::{AccountIndex, UnixTime};
use emr_node::{
    Limits, Node, NodeConfig, RunningNode,
    mempool::{Anchor, InvitationUse, Invited, Mempool},
};
use emr_testkit::again::{Again, job};
use tokio::task::JoinSet;

use crate::{mempool::anchor, registration::relay, stage::*};

pub(crate) fn account(number: u64) -> Outcome<AccountIndex> {
    Ok(AccountIndex::new(number)?)
}

pub(crate) fn soon() -> UnixTime {
    UnixTime::now().saturating_add(600)
}

/// Makes a person without ether, a different one for each number.
fn owner(number: u32) -> Outcome<Person> {
    let mut key = [0x77; 32];
    key[..4].copy_from_slice(&number.to_be_bytes());
    Ok(Person { ethereum: PrivateKeySigner::from_bytes(&B256::from(key))?, ..people().patient.clone() })
}

/// A request to relay the registration of person `number` with this invitation.
pub(crate) fn asked(world: &World, number: u32, invitation: Option<Invitation>) -> Outcome<RelayRegistration> {
    Ok(RelayRegistration { invitation, ..relay(world, &owner(number)?, soon())? })
}

pub(crate) fn anyone(world: &World, node: &RunningNode) -> Outcome<Caller> {
    Ok(Caller::anonymous(node.url().clone(), world.domain(), &people().patient, account(1)?))
}

pub(crate) async fn post(caller: &Caller, relay: &RelayRegistration) -> Answer<Registered> {
    caller.post("v1/accounts", relay).await
}

/// What the hospital has spent: its number of transactions, and its balance in wei.
async fn spent(world: &World) -> Outcome<(u64, alloy::primitives::U256)> {
    let (provider, hospital) = (world.rollup.provider(), people().hospital.address());
    Ok((provider.get_transaction_count(hospital).await?, provider.get_balance(hospital).await?))
}

pub(crate) fn said(answer: Answer<Registered>, code: &str, words: &str) -> Outcome {
    match answer {
        Err(refused) if refused.code == code && refused.message.contains(words) => Ok(()),
        other => Err(format!("not {code} with {words:?}: {other:?}").into()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_hospital_and_its_own_active_doctors_invite() -> Outcome {
    let world = World::new().await?;
    let (people, instance) = (people(), *world.rollup.instance());
    let hospital = world.register(&people.hospital, None).await?;
    let stranger = world.register(&people.stranger, None).await?;
    let patient = world.register(&people.patient, None).await?;
    // A doctor of this hospital who is not admitted yet.
    world.rollup.endorse(people.doctor.address()).await?;
    let own = world.rollup_as(people.doctor.ethereum.clone()).await?;
    let (doctor, _) = own.register(&people.doctor.registration(&instance, Some(hospital))).await?;
    let node = world.start().await?;
    let anyone = anyone(&world, &node)?;
    let before = spent(&world).await?;

    let issue = |instance: &RollupInstance, person: &Person, account, expires| {
        Invitation::issue(instance, &person.ethereum, account, expires)
    };
    let sign = |person: &Person, account| issue(&instance, person, account, soon());
    let now = UnixTime::now().get();
    let at = |time: u64| UnixTime::new(time).map_err(|error| error.to_string());
    let elsewhere = RollupInstance { contract: Address::repeat_byte(9), ..instance };
    let main_net = RollupInstance { chain_id: 1, ..instance };
    for (invitation, words) in [
        (None, "register --invite CODE"),
        (None, "register --own-ether"),
        (Some(issue(&instance, &people.hospital, hospital, at(now - 5)?)?), "no longer valid"),
        (Some(issue(&instance, &people.hospital, hospital, at(now + 91 * 86_400)?)?), "more than 90 days"),
        (Some(sign(&people.patient, patient)?), "cannot invite"),
        (Some(sign(&people.stranger, stranger)?), "cannot invite"),
        (Some(sign(&people.doctor, doctor)?), "cannot invite"),
        (Some(sign(&people.hospital, account(77)?)?), "cannot invite"),
        (Some(sign(&people.stranger, hospital)?), "not signed by account 1"),
        (Some(issue(&elsewhere, &people.hospital, hospital, soon())?), "is for contract"),
        (Some(issue(&main_net, &people.hospital, hospital, soon())?), "on chain 1:"),
    ] {
        said(post(&anyone, &asked(&world, 1, invitation)?).await, "refused", words)?;
    }
    // The registrar suspends the doctor, and later admits them.
    let registrar = world.rollup_as(registrar()).await?;
    registrar.suspend(doctor).await?;
    let of_doctor = sign(&people.doctor, doctor)?;
    said(post(&anyone, &asked(&world, 1, Some(of_doctor))?).await, "refused", "cannot invite")?;
    registrar.reinstate(doctor).await?;
    world.admit(doctor).await?;
    let by_doctor = asked(&world, 1, Some(of_doctor))?;
    // A mistyped code, and a text that is no code.
    for wrong in [of_doctor.to_string().replace("emr1", "emr1a"), "please".to_owned()] {
        let mut body = serde_json::to_value(&by_doctor)?;
        body["invitation"] = wrong.into();
        assert_eq!(code(anyone.post::<Registered>("v1/accounts", &body).await), "malformed");
    }
    assert_eq!(spent(&world).await?, before, "nothing of this cost the hospital anything");
    until(|| async { post(&anyone, &by_doctor).await.is_ok() }).await?;
    // The owner of the inviter's account must sign. Here the hospital signs for the doctor's account.
    said(
        post(&anyone, &asked(&world, 2, Some(sign(&people.hospital, doctor)?))?).await,
        "refused",
        "not signed by account 4",
    )?;
    node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_used_once() -> Outcome {
    let world = World::new().await?;
    let hospital = world.register(&people().hospital, None).await?;
    let node = world.start().await?;
    let caller = anyone(&world, &node)?;
    let invitation = world.invitation(&people().hospital, hospital)?;
    let first = asked(&world, 1, Some(invitation))?;
    let registered = post(&caller, &first).await?;
    let before = spent(&world).await?;
    // The same owner gets the same account again. Nobody else gets one.
    assert_eq!(post(&caller, &first).await?, registered);
    assert_eq!(post(&caller, &asked(&world, 1, Some(invitation))?).await?, registered, "signed again");
    let other = asked(&world, 2, Some(invitation))?;
    said(post(&caller, &other).await, "refused", "used by somebody else")?;
    node.shutdown().await;
    let node = world.start().await?;
    let caller = anyone(&world, &node)?;
    said(post(&caller, &other).await, "refused", "used by somebody else")?;
    assert_eq!(post(&caller, &first).await?, registered);
    assert_eq!(spent(&world).await?, before);

    // Of many at once, one is registered.
    let invitation = world.invitation(&people().hospital, hospital)?;
    let mut all = JoinSet::new();
    for number in 10..22_u32 {
        // At different addresses, so that no other limit refuses first.
        let (caller, relay) = (caller.at([127, 0, 0, number as u8]), asked(&world, number, Some(invitation))?);
        all.spawn(async move { post(&caller, &relay).await });
    }
    let answers = all.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    assert!(
        answers.iter().flat_map(|answer| answer.as_ref().err()).all(|refused| refused.code == "refused"),
        "{answers:?}"
    );
    assert_eq!(spent(&world).await?.0, before.0 + 1);

    // If L1 refuses the registration, the invitation is not used.
    let invitation = world.invitation(&people().hospital, hospital)?;
    for _ in 0..6 {
        said(post(&caller, &asked(&world, 1, Some(invitation))?).await, "refused", "")?;
    }
    post(&caller, &asked(&world, 3, Some(invitation))?).await?;
    node.shutdown().await;
    Ok(())
}

/// The node dies after the use is on disk, and before the transaction is sent.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_an_invitation_is_its_owners() -> Outcome {
    let world = World::new().await?;
    let hospital = world.register(&people().hospital, None).await?;
    world.start().await?.shutdown().await;
    let instance = world.rollup.instance();
    let deployed_at = world.rollup.deployed_at();
    let block = world.rollup.provider().get_block_by_number(deployed_at.into()).await?.ok_or("a block")?;
    let anchor = Anchor {
        chain_id: instance.chain_id,
        contract: instance.contract.to_string(),
        deployed_at,
        block_hash: block.header.hash.to_string(),
    };
    let invitation = world.invitation(&people().hospital, hospital)?;
    let mempool = Mempool::open(&world.node_folder(), &anchor)?;
    let used = InvitationUse {
        inviter: people().hospital.address(),
        signer: people().hospital.address(),
        nonce: invitation.nonce(),
        expires: invitation.expires(),
        owner: owner(1)?.address(),
        quota: None,
    };
    assert_eq!(mempool.use_invitation(&used, UnixTime::now())?, Invited::First);
    drop(mempool);

    let node = world.start().await?;
    let caller = anyone(&world, &node)?;
    said(post(&caller, &asked(&world, 2, Some(invitation))?).await, "refused", "used by somebody else")?;
    let first = asked(&world, 1, Some(invitation))?;
    let registered = post(&caller, &first).await?;
    assert_eq!(post(&caller, &first).await?, registered);
    node.shutdown().await;
    Ok(())
}

async fn started(world: &World, limits: Limits) -> Outcome<RunningNode> {
    Ok(Node::start(NodeConfig { limits, ..world.config()? }).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_invites_so_many_a_day_and_the_hospital_ends_it() -> Outcome {
    let world = World::new().await?;
    let accounts = world.register_all().await?;
    let limits = Limits { doctor_invites: 2, ..Limits::default() };
    let node = started(&world, limits).await?;
    let caller = anyone(&world, &node)?;
    let by_doctor = || world.invitation(&people().doctor, accounts.doctor);
    let by_hospital = || world.invitation(&people().hospital, accounts.hospital);
    // A registration that L1 refuses does not count.
    let registered = RelayRegistration { invitation: Some(by_doctor()?), ..relay(&world, &people().patient, soon())? };
    said(post(&caller, &registered).await, "refused", "")?;
    let last = asked(&world, 2, Some(by_doctor()?))?;
    for relay in [&asked(&world, 1, Some(by_doctor()?))?, &last] {
        post(&caller, relay).await?;
    }
    let third = asked(&world, 3, Some(by_doctor()?))?;
    said(post(&caller, &third).await, "refused", "today")?;
    post(&caller, &last).await?;
    for number in 10..14 {
        post(&caller, &asked(&world, number, Some(by_hospital()?))?).await?;
    }
    node.shutdown().await;

    let node = started(&world, limits).await?;
    let caller = anyone(&world, &node)?;
    said(post(&caller, &third).await, "refused", "today")?;
    let log_in = |person, account| Caller::log_in(node.url().clone(), world.domain(), person, account);
    let hospital = log_in(&people().hospital, accounts.hospital).await?;
    let doctor = people().doctor.address();
    let path = format!("v1/inviters/{doctor}");
    let today = |list: &[InviterView]| list.iter().map(|one| (one.address, one.today)).collect::<BTreeMap<_, _>>();
    let listed: Vec<InviterView> = hospital.get("v1/inviters").await?;
    let expected = BTreeMap::from([(doctor, 2), (people().hospital.address(), 4)]);
    assert_eq!(today(&listed), expected);
    // Only the hospital decides who may invite.
    for caller in [
        &caller,
        &log_in(&people().doctor, accounts.doctor).await?,
        &log_in(&people().patient, accounts.patient).await?,
    ] {
        let refused = [code(caller.get::<Vec<InviterView>>("v1/inviters").await), code(caller.delete(&path).await)];
        assert!(refused.iter().all(|code| code == "forbidden" || code == "unauthorized"), "{refused:?}");
    }
    hospital.delete(&path).await?;
    node.shutdown().await;

    let limits = Limits { doctor_invites: 1000, ..limits };
    let node = started(&world, limits).await?;
    let caller = anyone(&world, &node)?;
    said(post(&caller, &third).await, "refused", "no more invitations of this inviter")?;
    post(&caller, &last).await?;
    let hospital = Caller {
        url: node.url().clone(),
        ..Caller::log_in(node.url().clone(), world.domain(), &people().hospital, accounts.hospital).await?
    };
    assert_eq!(code(hospital.delete(&format!("v1/inviters/{}", people().hospital.address())).await), "refused");
    assert_eq!(code(hospital.delete("v1/inviters/2").await), "malformed");
    let listed: Vec<InviterView> = hospital.get("v1/inviters").await?;
    assert!(listed.iter().any(|one| one.address == doctor && one.ended.is_some()), "{listed:?}");
    hospital.send(hospital.http.put(hospital.url.join(&path)?)).await?;
    post(&caller, &third).await?;
    node.shutdown().await;
    Ok(())
}

/// There are no free accounts. Each account that fills the mempool was invited or paid for.
#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_registrations_without_an_invitation_cost_the_hospital_nothing() -> Outcome {
    let world = World::new().await?;
    let hospital = world.register(&people().hospital, None).await?;
    let node = world.start().await?;
    let caller = anyone(&world, &node)?;
    let before = spent(&world).await?;
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..500 {
        // Half of them sign their own invitations.
        let own = world.invitation(&owner(number)?, hospital)?;
        // At four addresses, because each address has a limit too.
        let caller = if number % 125 == 0 { caller.at([127, 0, 0, 30 + (number / 125) as u8]) } else { caller.clone() };
        let relay = asked(&world, number, (number % 2 == 0).then_some(own))?;
        *refused.entry(code(post(&caller, &relay).await)).or_default() += 1;
    }
    assert!(
        refused.keys().all(|code| code == "refused" || code == "too-many") && refused["refused"] > 100,
        "{refused:?}"
    );
    assert_eq!(spent(&world).await?, before);
    post(&caller.at([127, 0, 0, 40]), &asked(&world, 1, Some(world.invitation(&people().hospital, hospital)?))?)
        .await?;
    node.shutdown().await;
    Ok(())
}

pub(crate) fn use_of(inviter: u8, nonce: u32, owner: u8, expires: u64) -> Outcome<InvitationUse> {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&nonce.to_be_bytes());
    let (inviter, owner) = (Address::repeat_byte(inviter), Address::repeat_byte(owner));
    Ok(InvitationUse { inviter, signer: inviter, nonce: bytes, expires: UnixTime::new(expires)?, owner, quota: None })
}

/// Not a separate test: it runs in a child process, and uses invitations one by one until it is killed.
#[test]
fn until_it_is_killed() -> Outcome {
    let Some(folder) = job() else { return Ok(()) };
    let mempool = Mempool::open(Path::new(&folder), &anchor())?;
    for nonce in 0.. {
        mempool.use_invitation(&use_of(1, nonce, 1, 2_000_000)?, UnixTime::new(1_000_000)?)?;
        println!("used {nonce}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

#[test]
fn a_used_invitation_stays_used_through_a_kill() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut child = Again::new("invitations::until_it_is_killed", folder.path()).start()?;
    let mut seen = BTreeSet::new();
    while seen.len() < 20 {
        seen.insert(child.next("used")?);
    }
    seen.extend(child.kill("used")?);
    let mempool = Mempool::open(folder.path(), &anchor())?;
    let now = UnixTime::new(1_000_000)?;
    for nonce in &seen {
        let nonce = nonce.trim().parse()?;
        assert_eq!(mempool.use_invitation(&use_of(1, nonce, 2, 2_000_000)?, now)?, Invited::Used);
        assert_eq!(mempool.invited(&use_of(1, nonce, 1, 2_000_000)?, now)?, Invited::Again);
    }
    Ok(())
}

#[test]
fn nonces_are_an_inviters_own_and_are_forgotten_when_they_lapsed() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mempool = Mempool::open(folder.path(), &anchor())?;
    let now = UnixTime::new(1_000_000)?;
    let first = use_of(1, 7, 1, 1_000_100)?;
    assert_eq!(mempool.use_invitation(&first, now)?, Invited::First);
    // Somebody who knows a nonce cannot use it up by signing another invitation with it.
    assert_eq!(mempool.use_invitation(&use_of(2, 7, 2, 1_000_100)?, now)?, Invited::First);
    // The hospital pays five times at most.
    for _ in 0..4 {
        assert_eq!(mempool.use_invitation(&first, now)?, Invited::Again);
    }
    assert_eq!(mempool.use_invitation(&first, now)?, Invited::Exhausted);
    assert_eq!(mempool.invited(&first, now)?, Invited::Exhausted);

    // A use is kept for a week after the invitation expired, even if the clock jumps.
    let other = InvitationUse { owner: Address::repeat_byte(3), ..first };
    let tick = |nonce, now: u64| -> Outcome<Invited> {
        mempool.use_invitation(&use_of(5, nonce, 5, now)?, UnixTime::new(now)?)?;
        Ok(mempool.invited(&other, UnixTime::new(1_000_000)?)?)
    };
    assert_eq!(tick(1, 1_000_100 + 7 * 86_400)?, Invited::Used);
    assert_eq!(tick(2, 1_000_101 + 7 * 86_400)?, Invited::First);

    // The count starts again each day.
    let of_doctor = |nonce| use_of(9, nonce, 9, 9_000_000).map(|used| InvitationUse { quota: Some(1), ..used });
    let day = |number: u64| UnixTime::new(number * 86_400);
    assert_eq!(mempool.use_invitation(&of_doctor(1)?, day(30)?)?, Invited::First);
    assert_eq!(mempool.use_invitation(&of_doctor(2)?, day(31)?.saturating_add(0))?, Invited::First);
    assert_eq!(mempool.use_invitation(&of_doctor(3)?, day(31)?.saturating_add(86_399))?, Invited::OverQuota);
    Ok(())
}
