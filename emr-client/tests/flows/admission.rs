//! The registrar admits exactly the keys on the card that the owner shows.

use emr_client::{
    ClientError,
    flow::{
        admission::{AdmissionError, admit, reinstate, suspend},
        register::RegisterError,
    },
    verify::card::{Card, CardError},
};
use emr_core::Role;

use crate::scene::*;

/// Changes a card. The second card can be a source of false data.
type Lie = fn(&mut Card, &Card);

#[tokio::test(flavor = "multi_thread")]
async fn only_the_keys_on_the_card_are_admitted() -> TestResult {
    let scene = Scene::new().await?;
    let registrar = scene.client(REGISTRAR).await?;
    let stranger = scene.client(STRANGER).await?;
    // The card may be older than the registration.
    let card = handed_over(&stranger);
    assert_eq!(card.account, None);
    let early = admit(registrar.rollup(), &card).await;
    assert!(matches!(early, Err(ClientError::Admission(AdmissionError::NotRegistered(_)))), "{early:?}");
    let hospital = scene.client(HOSPITAL).await?;
    // A failed attempt does not change the client. The same value can register afterwards.
    let uninvited = stranger.register(None, None).await;
    assert!(matches!(uninvited, Err(ClientError::Register(RegisterError::NotInvited))), "{uninvited:?}");
    let account = stranger.register(None, Some(&invitation(&hospital)?)).await?;
    assert_eq!(stranger.account()?, account);
    drop(hospital);

    // The registration has other keys than the card that the person shows.
    let other = handed_over(&scene.registered(DOCTOR).await?);
    let lies: [(&str, Lie); 7] = [
        ("account", |card, other| card.account = other.account),
        ("role", |card, _| card.role = Role::Hospital),
        ("rollup key", |card, other| (card.key_x, card.key_y) = (other.key_x, other.key_y)),
        ("encryption key", |card, other| card.rsa.clone_from(&other.rsa)),
        ("encryption key", |card, other| card.xwing.clone_from(&other.xwing)),
        ("encryption key", |card, _| card.xwing = None),
        ("rollup key", |card, other| *card = Card { account: None, ethereum: card.ethereum, ..other.clone() }),
    ];
    for (differs, lie) in lies {
        let mut shown = handed_over(&stranger);
        lie(&mut shown, &other);
        match admit(registrar.rollup(), &shown).await {
            Err(ClientError::Card(CardError::Forged { account: of, field })) => {
                assert_eq!((of, field), (account, differs));
            }
            admitted => return Err(format!("{differs}: {admitted:?}").into()),
        }
    }
    let elsewhere = Card { chain_id: 1, ..card.clone() };
    for refused in
        [admit(registrar.rollup(), &elsewhere).await.map(drop), suspend(registrar.rollup(), &elsewhere).await.map(drop)]
    {
        assert!(matches!(refused, Err(ClientError::Card(CardError::OtherInstance { .. }))), "{refused:?}");
    }
    // A hospital that is not the registrar.
    let hospital = scene.client(HOSPITAL).await?;
    let refused = admit(hospital.rollup(), &card).await;
    assert!(matches!(&refused, Err(ClientError::Rollup(error)) if error.revert().is_some()), "{refused:?}");

    let (held, _) = suspend(registrar.rollup(), &card).await?;
    assert_eq!(held, account);
    assert!(matches!(
        admit(registrar.rollup(), &card).await,
        Err(ClientError::Admission(AdmissionError::NotWaiting(_)))
    ));
    assert_eq!(reinstate(registrar.rollup(), &card).await?.0, account);
    let (admitted, _) = admit(registrar.rollup(), &card).await?;
    assert_eq!((admitted.account, admitted.role, admitted.org), (account, Role::Doctor, None));
    let again = admit(registrar.rollup(), &card).await;
    assert!(matches!(again, Err(ClientError::Admission(AdmissionError::NotWaiting(_)))), "{again:?}");
    Ok(())
}
