//! A patient shows some fields of a settled record, and somebody without an account checks them: alone, and with the chain.

use std::collections::BTreeSet;

use emr_api::NodeStatus;
use emr_chain::{header::Finality, nodes::EthereumNodes};
use emr_client::{
    Client, ClientError,
    flow::{
        disclose::{DisclosingError, InChain, confirm},
        next_version::EditClass,
    },
    verify::disclosed::{CardOf, CheckedDisclosure, DisclosedError, verify},
};
use emr_core::{Class, Key, KeyPattern, Record, RecordSlot, Value, key_pattern::select};

use crate::{
    lying_l1::{Lie, shown},
    proxy::{Proxy, lie},
    scene::*,
};

fn observation(value: &str) -> TestResult<Record> {
    let mut record = Record::new();
    for (key, value) in [
        ("Observation.code.text", "potassium"),
        ("Observation.note.0.text", "a secret note"),
        ("Observation.valueString", value),
    ] {
        record.insert(key.parse()?, Value::Text(value.to_owned()))?;
    }
    Ok(record)
}

async fn disclose(patient: &Client, slot: RecordSlot, pattern: &str) -> TestResult<Vec<u8>> {
    let disclosable = patient.disclosable(slot).await?;
    assert!(disclosable.is_final(), "a development chain");
    let keys: BTreeSet<Key> = select(disclosable.record(), &[pattern.parse::<KeyPattern>()?])?;
    Ok(disclosable.disclose(&keys)?)
}

fn value(checked: &CheckedDisclosure) -> Option<String> {
    assert_eq!(checked.fields().len(), 1);
    checked.fields().values().next().map(Value::to_string)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_discloses_and_anyone_checks() -> TestResult {
    let scene = Scene::proving().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let stranger = scene.registered(STRANGER).await?;
    let card = handed_over(&patient);
    let written = doctor.upload(&card, Class::Laboratory, &observation("4.1")?).await?;
    let own = patient.upload(&card, Class::Document, &observation("mine")?).await?;
    let early = patient.disclosable(written.slot).await;
    let not_settled = |slot| DisclosingError::NotSettled(slot);
    assert!(matches!(&early, Err(ClientError::Disclosing(error)) if *error == not_settled(written.slot)), "{early:?}");
    scene.next_batch().await?;

    // Offline, from the bytes alone.
    let bytes = disclose(&patient, written.slot, "Observation.value*").await?;
    let checked = verify(&bytes, None)?;
    assert_eq!(value(&checked).as_deref(), Some("4.1"));
    assert!(!bytes.windows(6).any(|window| window == b"secret"), "the bytes hold another field");
    assert_eq!((checked.hidden(), *checked.instance()), (2, patient.instance()));
    let authorship = checked.authorship();
    assert_eq!(
        (authorship.patient, authorship.slot, authorship.version),
        (patient.account()?, written.slot, written.version)
    );
    assert_eq!(checked.author(), doctor.account()?);
    assert_eq!(checked.compare(&handed_over(&doctor))?, CardOf::Author);
    assert_eq!(checked.compare(&card)?, CardOf::Patient);
    assert_eq!(checked.compare(&handed_over(&stranger)), Err(DisclosedError::OtherCard(stranger.account()?)));
    let of_own = verify(&disclose(&patient, own.slot, "**.valueString").await?, None)?;
    assert_eq!((value(&of_own).as_deref(), of_own.author()), (Some("mine"), patient.account()?));
    assert_eq!(of_own.compare(&card)?, CardOf::Author);

    // One byte in each part of the file.
    for at in (0..bytes.len()).step_by(101) {
        let mut altered = bytes.clone();
        altered[at] ^= 0x10;
        assert!(verify(&altered, None).is_err(), "byte {at}");
    }

    nobody_else_discloses(&scene, &patient, &doctor, written.slot).await?;
    the_chain_confirms_its_own_blocks(&scene, &checked).await?;

    // A newer version waits. The old file still holds, and says which version it is of.
    doctor.request(&card, Class::Laboratory, emr_core::Reason::Treatment).await?;
    doctor.edit(&card, written.slot, EditClass::Proved, &observation("4.2")?).await?;
    let waits = patient.disclosable(written.slot).await;
    assert!(matches!(&waits, Err(ClientError::Disclosing(error)) if *error == not_settled(written.slot)), "{waits:?}");
    scene.next_batch().await?;
    let newer = verify(&disclose(&patient, written.slot, "Observation.value*").await?, None)?;
    assert_eq!((value(&newer).as_deref(), newer.authorship().version.get()), (Some("4.2"), 2));
    assert!(newer.header().number() > checked.header().number());
    assert_eq!(verify(&bytes, None)?.authorship().version.get(), 1);

    drop((patient, doctor, stranger));
    a_lying_node_makes_no_disclosure(&scene, written.slot).await
}

async fn nobody_else_discloses(scene: &Scene, patient: &Client, doctor: &Client, slot: RecordSlot) -> TestResult {
    let reader = doctor.disclosable(slot).await;
    assert!(matches!(reader, Err(ClientError::Disclosing(DisclosingError::NotAPatient))), "{reader:?}");
    let other = scene.registered(OTHER_PATIENT).await?;
    let none = other.disclosable(slot).await;
    assert!(none.is_err(), "{none:?}");
    let disclosable = patient.disclosable(slot).await?;
    let missing: Key = "Observation.status".parse()?;
    for keys in [BTreeSet::new(), BTreeSet::from([missing])] {
        let refused = disclosable.disclose(&keys);
        assert!(matches!(refused, Err(ClientError::Disclosing(DisclosingError::Fields(_)))), "{refused:?}");
    }
    Ok(())
}

async fn the_chain_confirms_its_own_blocks(scene: &Scene, checked: &CheckedDisclosure) -> TestResult {
    let nodes = |lies: &[Lie]| {
        let endpoints: Vec<_> = lies.iter().map(|lie| shown(scene, *lie)).collect();
        EthereumNodes::of(&endpoints, None)
    };
    let honest = nodes(&[Lie::Honest])?;
    assert_eq!(confirm(checked, &honest, Finality::Latest).await?, InChain::WithoutFinality);
    assert_eq!(confirm(checked, &honest, Finality::Depth(0)).await?, InChain::WithoutFinality);
    assert_eq!(confirm(checked, &honest, Finality::Depth(1_000_000)).await?, InChain::NotYetFinal);
    // Blocks after it do not matter.
    scene.pass(12).await?;
    assert_eq!(confirm(checked, &honest, Finality::Depth(1)).await?, InChain::Deep(1));
    assert_eq!(
        confirm(checked, &nodes(&[Lie::Honest, Lie::Shifts(5), Lie::Honest])?, Finality::Latest).await?,
        InChain::WithoutFinality
    );

    // A node whose chain has another block at this height, and nodes that do not agree.
    let other = confirm(checked, &nodes(&[Lie::Shifts(5)])?, Finality::Latest).await;
    let Err(ClientError::Disclosing(DisclosingError::OtherBlock { number, shown, actual })) = other else {
        return Err(format!("{other:?}").into());
    };
    assert!(number == checked.header().number() && shown == checked.header().hash() && actual != shown);
    let split = confirm(checked, &nodes(&[Lie::Shifts(5), Lie::Honest, Lie::Shifts(7)])?, Finality::Latest).await;
    assert!(matches!(split, Err(ClientError::Header(_))), "{split:?}");
    // The same contract's other chain: it has other blocks, or none at this height.
    let elsewhere = Scene::new().await?;
    let nodes = EthereumNodes::of(&[elsewhere.endpoint()], None)?;
    assert!(confirm(checked, &nodes, Finality::Latest).await.is_err());
    Ok(())
}

/// The node says that the contract was made from something else: the file would not hold for anybody.
async fn a_lying_node_makes_no_disclosure(scene: &Scene, slot: RecordSlot) -> TestResult {
    let proxy = Proxy::new(scene.node.url())?;
    let patient = scene.client_at(PATIENT, &proxy.address).await?;
    proxy.set(lie("GET /v1/status".to_owned(), |status: &mut NodeStatus| {
        status.deployment.registration_fee += alloy::primitives::U256::from(1);
    }));
    let refused = patient.disclosable(slot).await;
    assert!(matches!(refused, Err(ClientError::Deployment(_))), "{refused:?}");
    proxy.clear();
    patient.disclosable(slot).await?;
    Ok(())
}
