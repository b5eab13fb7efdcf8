//! A registrar has only an older card of an account, which has another owner now.

use alloy::{
    primitives::{Address, B256},
    providers::DynProvider,
    signers::local::PrivateKeySigner,
};
use emr_chain::{Rollup, SignedTakeover, Standing, Takeover};
use emr_client::{
    ClientError,
    flow::admission::{AdmissionError, account_of_card, reinstate, suspend},
    verify::card::Card,
};
use emr_core::{AccountIndex, Role, UnixTime};

use crate::{anew::as_guardian, scene::*};

fn key(byte: u8) -> TestResult<PrivateKeySigner> {
    Ok(PrivateKeySigner::from_bytes(&B256::repeat_byte(byte))?)
}

/// A request for an account, from somebody who has nothing but an Ethereum key.
async fn asked_by(
    key: &PrivateKeySigner,
    rollup: &Rollup<DynProvider>,
    account: AccountIndex,
) -> TestResult<SignedTakeover> {
    let owner = rollup.account(account).await?.ok_or("an account")?.owner;
    let takeover = Takeover {
        instance: *rollup.instance(),
        account,
        owner,
        new_owner: key.address(),
        nonce: rollup.nonce_of(owner).await?,
        round: rollup.recovery_of(account).await?.round,
        deadline: UnixTime::now().saturating_add(3600),
    };
    Ok(takeover.sign(key)?)
}

/// A doctor hands the account to a colleague, who hands it on. Each of their cards still finds it, with and without its number.
#[tokio::test(flavor = "multi_thread")]
async fn a_registrar_finds_an_account_by_the_card_of_any_of_its_owners() -> TestResult {
    let scene = Scene::proving_for([DOCTOR.address(), STRANGER.address()]).await?;
    let doctor = scene.registered(DOCTOR).await?;
    let (account, numbered) = (doctor.account()?, handed_over(&doctor));
    drop(doctor);
    // Made before the registration.
    let unnumbered = Card { account: None, ..numbered.clone() };
    // Only a settled registration is followed by a suspension.
    scene.next_batch().await?;

    let request = as_guardian(&scene, STRANGER).await?.request_takeover(account).await?;
    scene.on_l1(DOCTOR).await?.hand_over(&request, STRANGER.address()).await?;
    let last = key(0x79)?;
    let between = as_guardian(&scene, STRANGER).await?;
    let request = asked_by(&last, between.rollup(), account).await?;
    between.hand_over(&request, last.address()).await?;
    let of_between = Card::of(&STRANGER.identity, between.rollup().instance(), None);

    let client = scene.client(REGISTRAR).await?;
    let registrar = client.rollup();
    let owners = [DOCTOR.address(), STRANGER.address(), last.address()];
    assert_eq!(registrar.owners_of(account).await?, owners);
    let of_last = Card { ethereum: last.address(), ..of_between.clone() };
    let numbered_between = Card { account: Some(account), ..of_between.clone() };
    for card in [&unnumbered, &numbered, &of_between, &numbered_between, &of_last] {
        assert_eq!(account_of_card(registrar, card).await?, account, "{card:?}");
    }
    // Who never owned an account has none, whatever number is on the card.
    for number in [None, Some(account)] {
        let nobody = Card { account: number, ethereum: Address::repeat_byte(9), ..unnumbered.clone() };
        let refused = account_of_card(registrar, &nobody).await;
        assert!(matches!(refused, Err(ClientError::Admission(AdmissionError::NotRegistered(_)))), "{refused:?}");
    }

    let standing = async || TestResult::Ok(registrar.account(account).await?.ok_or("an account")?.standing);
    assert_eq!(suspend(registrar, &unnumbered).await?.0, account);
    assert_eq!(standing().await?, Standing::Suspended);
    scene.next_batch().await?;
    assert_eq!(reinstate(registrar, &numbered).await?.0, account);
    assert_eq!(standing().await?, Standing::Admitted);
    scene.next_batch().await?;
    assert_eq!(suspend(registrar, &of_between).await?.0, account);
    assert_eq!(standing().await?, Standing::Suspended);
    Ok(())
}

/// The colleague registers too, and hands that account on as well. Their card without a number could be of either account.
#[tokio::test(flavor = "multi_thread")]
async fn a_card_of_several_accounts_needs_a_number() -> TestResult {
    let scene = Scene::where_these_have_ether([DOCTOR.address(), STRANGER.address()]).await?;
    let doctor = scene.registered(DOCTOR).await?;
    let first = doctor.account()?;
    drop(doctor);
    let request = as_guardian(&scene, STRANGER).await?.request_takeover(first).await?;
    scene.on_l1(DOCTOR).await?.hand_over(&request, STRANGER.address()).await?;
    let (one, other) = (key(0x79)?, key(0x7a)?);
    let between = as_guardian(&scene, STRANGER).await?;
    between.hand_over(&asked_by(&one, between.rollup(), first).await?, one.address()).await?;
    drop(between);

    let stranger = scene.client(STRANGER).await?;
    let second = stranger.register_on_l1(None).await?;
    scene.admit(&stranger).await?;
    let client = scene.client(REGISTRAR).await?;
    let registrar = client.rollup();
    let unnumbered = Card { account: None, ..handed_over(&stranger) };
    // The account that its owner has now, if it is of the card's role.
    assert_eq!(account_of_card(registrar, &unnumbered).await?, second);
    let patients = Card { role: Role::Patient, rsa: None, ..unnumbered.clone() };
    let refused = account_of_card(registrar, &patients).await;
    assert!(matches!(refused, Err(ClientError::Admission(AdmissionError::NotRegistered(_)))), "{refused:?}");
    drop(stranger);

    let between = scene.on_l1(STRANGER).await?;
    between.hand_over(&asked_by(&other, between.rollup(), second).await?, other.address()).await?;
    let both = account_of_card(registrar, &unnumbered).await.expect_err("two accounts");
    assert!(both.to_string().contains(&format!("the accounts {first}, {second} and owns none")), "{both}");
    let ClientError::Admission(AdmissionError::Several { owner, accounts }) = &both else {
        return Err(format!("{both:?}").into());
    };
    assert_eq!((*owner, accounts.as_slice()), (STRANGER.address(), &[first, second][..]));
    for account in [first, second] {
        let named = Card { account: Some(account), ..unnumbered.clone() };
        assert_eq!(account_of_card(registrar, &named).await?, account);
    }
    Ok(())
}
