//! A delegate whose own program hands on false keys. It hurts nobody but their accomplice.

use emr_api::{AccountView, StoredAt, Submission};
use emr_client::{Client, ClientError, flow::retrieve::ReadError, node::NodeError};
use emr_core::{
    AccountEpoch, AccountIndex, Class, ClassMask, GrantSlot, Opaque, Reason, Rights, Uses, Version, cid::Codec,
};
use emr_crypto::{DelegatedKeys, Past, PatientDirectory};
use emr_rollup::{
    operation::{Action, CLIENT_VALIDITY, Operation, SetGrant},
    primitive::{eddsa::SigningKey, field},
    state::leaf::GrantLeaf,
};

use crate::{
    delegate::{family, grants_lab, lab, soon},
    from_now::keys,
    proxy::{Proxy, lie},
    scene::*,
};

/// The slot in which a patient of [`family`] named the delegate.
const MANAGE: GrantSlot = GrantSlot::FIRST_ORDINARY;

/// The delegate signs a grant to read with these keys, and hands it in without any check of the client.
async fn by_hand(
    patient: &Client,
    delegate: &Client,
    reader: AccountIndex,
    slot: u64,
    keys: &DelegatedKeys,
) -> TestResult<Result<(), NodeError>> {
    let directory = patient.node().patient(patient.account()?).await?.directory_commitment;
    let leaf = GrantLeaf {
        grantee: Some(reader),
        rights: Rights::READ,
        scope: lab(),
        not_after: soon(),
        uses: Uses::ZERO,
        version: Version::ZERO.next()?,
        salt: field::from_opaque(&rand::random()),
    };
    let at = StoredAt { manifest: keys.cid(), salt: rand::random() };
    let (directory_before, directory_after) = (directory, directory);
    let slot = GrantSlot::new(slot)?;
    let set = SetGrant { slot, expected: Version::ZERO, leaf, directory_before, directory_after };
    let operation = Operation {
        signer: delegate.account()?,
        signer_epoch: AccountEpoch::FIRST,
        patient: patient.account()?,
        patient_epoch: AccountEpoch::FIRST,
        valid_until: emr_core::UnixTime::now().saturating_add(CLIENT_VALIDITY),
        salt: field::from_opaque(Opaque::handed_on(&at.manifest, &at.salt).as_bytes()),
        action: Action::SetGrant(set),
    };
    let key = SigningKey::from_seed(DOCTOR.identity.rollup_seed());
    let signed = operation.sign(patient.domain(), &key, Some(MANAGE));
    delegate.node().put_block(Codec::DagCbor, keys.to_bytes()).await?;
    let submission = Submission { signed, stored: Some(at), epoch: None, directory: None };
    Ok(delegate.node().submit(&submission).await.map(drop))
}

/// The reader gets into no directory, because the patient finds no key of theirs. When the grant ends, new keys begin all the same.
#[tokio::test(flavor = "multi_thread")]
async fn false_keys_of_a_delegate_stop_nobody() -> TestResult {
    let scene = Scene::proving().await?;
    let (patient, delegate, reader, written) = family(&scene).await?;
    let (card, account) = (handed_over(&patient), patient.account()?);
    let readers = STRANGER.identity.encryption_key();

    // Keys of a directory that the delegate made, with the reader's key sealed to it.
    let mut other = PatientDirectory::create(&DOCTOR.identity);
    other.grant(delegate.account()?, DOCTOR.identity.encryption_key(), lab(), Past::Included)?;
    let links = other.published().links_of(&DOCTOR.identity)?;
    let elsewhere = DelegatedKeys::hand_on(&links, other.published(), lab(), &readers)?;
    // Keys of the patient's directory, with the key of somebody else in place of the reader's.
    let cid = patient.node().patient(account).await?.directory.ok_or("published")?;
    let directory = patient.directory(&cid).await?;
    let links = directory.links_of(&DOCTOR.identity)?;
    let somebody = HOSPITAL.identity.encryption_key();
    let for_another = DelegatedKeys::hand_on(&links, &directory, lab(), &somebody)?;

    let nobody = by_hand(&patient, &delegate, AccountIndex::new(900)?, 200, &for_another).await?;
    assert!(nobody.is_err_and(|error| error.to_string().contains("is not registered")));
    for (slot, keys) in [(201, &elsewhere), (202, &for_another)] {
        by_hand(&patient, &delegate, reader.account()?, slot, keys).await??;
    }
    scene.next_batch().await?;
    let read = reader.retrieve(&card, written.slot, Some(Reason::Treatment)).await;
    assert!(matches!(read, Err(ClientError::Read(ReadError::NoKeys))), "{read:?}");

    // The patient goes on. The next directory has the same keys, and neither the reader nor the one whose key it was.
    assert_eq!(patient.repair_directory().await?, None);
    let epoch = keys(&patient, &delegate).await?.epochs(Class::Laboratory).ok_or("read")?.1;
    let hospital = scene.client(HOSPITAL).await?;
    patient.grant(&handed_over(&hospital), &terms(Rights::READ, Class::Imaging.into())).await?;
    assert!(keys(&patient, &hospital).await?.epochs(Class::Laboratory).is_none());
    drop(hospital);
    assert!(keys(&patient, &reader).await.is_err());
    scene.next_batch().await?;
    patient.resume().await?;
    delegate.revoke_for(&card, &handed_over(&reader), ClassMask::ALL).await?;
    scene.next_batch().await?;
    delegate.resume().await?;
    assert_eq!(patient.repair_directory().await?.ok_or("new keys")?.new_epochs, lab());
    assert!(keys(&patient, &delegate).await?.epochs(Class::Laboratory).ok_or("read")?.1 > epoch);
    scene.next_batch().await?;
    patient.resume().await?;
    assert_eq!(patient.repair_directory().await?, None);

    // A reader whose account the node does not show is left out, and does not keep the patient from revoking.
    grants_lab(&delegate, &card, &reader).await?;
    scene.next_batch().await?;
    let (stranger, doctor) = (reader.account()?, delegate.account()?);
    drop(patient);
    let proxy = Proxy::new(scene.node.url())?;
    let patient = scene.client_at(PATIENT, &proxy.address).await?;
    proxy.set(lie(format!("GET /v1/accounts/{stranger}"), |view: &mut AccountView| view.proof = None));
    let ended = patient.revoke(doctor, ClassMask::ALL).await?;
    assert_eq!(ended.new_epochs.bits() & lab().bits(), lab().bits());
    assert!(keys(&patient, &reader).await.is_err());
    proxy.clear();
    scene.next_batch().await?;
    patient.resume().await?;
    patient.light_check().await?;
    Ok(())
}
