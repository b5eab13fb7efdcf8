//! What a delegate hands in with a grant, and who gets the keys that it hands on.

use emr_api::{DelegatedGrant, ManagedGrants, StoredAt, Submission};
use emr_core::{Class, Opaque, Rights, Uses, Version, cid::Codec};
use emr_crypto::{DelegatedKeys, Past, PatientDirectory};
use emr_rollup::{
    operation::{Action, DirectoryCommitment, Operation, Revoke, SetGrant, SignedOperation},
    state::leaf::GrantLeaf,
};
use emr_testkit::people::people;

use crate::stage::*;

const LAB: Class = Class::Laboratory;

/// A directory in which the doctor reads laboratory records.
fn directory(scene: &Scene) -> Outcome<PatientDirectory> {
    let mut directory = PatientDirectory::create(&people().patient.identity);
    directory.grant(scene.accounts.doctor, people().doctor.identity.encryption_key(), LAB.into(), Past::Included)?;
    Ok(directory)
}

/// Keys of the doctor for the stranger.
fn handed_on(directory: &PatientDirectory) -> Outcome<DelegatedKeys> {
    let published = directory.published();
    let links = published.links_of(&people().doctor.identity)?;
    Ok(DelegatedKeys::hand_on(&links, published, LAB.into(), &people().stranger.identity.encryption_key())?)
}

/// The doctor's grant to the stranger, which commits to these keys.
fn grant(scene: &Scene, before: DirectoryCommitment, keys: StoredAt) -> Outcome<SignedOperation> {
    let leaf = GrantLeaf {
        grantee: Some(scene.accounts.stranger),
        rights: Rights::READ,
        scope: LAB.into(),
        not_after: next_year(),
        uses: Uses::ZERO,
        version: Version::new(1)?,
        salt: random_element(),
    };
    let (directory_before, directory_after) = (before, before);
    let set = SetGrant { slot: slot(70), expected: Version::ZERO, leaf, directory_before, directory_after };
    let signed = scene.doctor.sign(scene.accounts.patient, Action::SetGrant(set));
    let salt = element(Opaque::handed_on(&keys.manifest, &keys.salt));
    let operation = Operation { salt, ..signed.operation };
    Ok(operation.sign(scene.world.domain(), &people().doctor.key, signed.authority))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegates_grant_comes_with_the_keys_that_it_commits_to() -> Outcome {
    let scene = World::populated().await?;
    let (patient, doctor, stranger, accounts) = (&scene.patient, &scene.doctor, &scene.stranger, scene.accounts);
    let own = directory(&scene)?;
    let until = next_year().saturating_add(60);
    patient.grant_with(FIRST, accounts.doctor, Rights::READ | Rights::MANAGE, &[LAB], until, &own).await?;
    let before = doctor.view(accounts.patient).await?.directory_commitment;

    let keys = handed_on(&own)?;
    let at = StoredAt { manifest: keys.cid(), salt: [7; 32] };
    let signed = grant(&scene, before, at)?;
    let good = Submission { signed, stored: Some(at), epoch: None, directory: None };
    // Somebody else uploaded them.
    stranger.put_block(Codec::DagCbor, keys.to_bytes()).await?;
    assert_eq!(code(doctor.submit(&good).await), "refused");
    doctor.put_block(Codec::DagCbor, keys.to_bytes()).await?;

    // Without keys, and with others than the signature covers.
    assert_eq!(code(doctor.submit(&Submission { stored: None, ..good.clone() }).await), "malformed");
    let salted = Some(StoredAt { salt: [8; 32], ..at });
    assert_eq!(code(doctor.submit(&Submission { stored: salted, ..good.clone() }).await), "refused");
    let others = handed_on(&own)?;
    doctor.put_block(Codec::DagCbor, others.to_bytes()).await?;
    let swapped = Some(StoredAt { manifest: others.cid(), ..at });
    assert_eq!(code(doctor.submit(&Submission { stored: swapped, ..good.clone() }).await), "refused");
    // Something that holds no keys, and a new key directory.
    let manifest = doctor.upload(&[b"no keys"]).await?;
    let wrong = StoredAt { manifest, salt: [7; 32] };
    let lie = Submission { signed: grant(&scene, before, wrong)?, stored: Some(wrong), ..good.clone() };
    assert_eq!(code(doctor.submit(&lie).await), "refused");
    let replacing = Submission { directory: Some(own.published().cid()), ..good.clone() };
    assert_eq!(code(doctor.submit(&replacing).await), "stale");
    // Nobody hands in for somebody else.
    assert_eq!(code(stranger.submit(&good).await), "forbidden");
    doctor.submit(&good).await?;

    // The patient gets the keys. The reader gets them when the grant is settled, because it may still give way. To others they are not there, and
    // neither is the delegate's list.
    assert_eq!(code(stranger.block(&keys.cid()).await), "not-found");
    for (caller, served) in [(patient, true), (stranger, true), (&scene.other, false), (&scene.hospital, false)] {
        let block = if served { patient.block(&keys.cid()).await } else { caller.block(&keys.cid()).await };
        let list: Answer<Vec<DelegatedGrant>> =
            caller.get(&format!("v1/patients/{}/delegated-grants", accounts.patient)).await;
        if served {
            block?;
            let list = list?;
            assert_eq!((list.len(), list[0].signed, list[0].keys, list[0].batch), (1, good.signed, Some(at), None));
        } else {
            assert_eq!((code(block).as_str(), code(list).as_str()), ("not-found", "forbidden"));
        }
    }
    let managed = |caller: &Caller| {
        let (caller, path) = (caller.clone(), format!("v1/patients/{}/managed-grants", accounts.patient));
        async move { code(caller.get::<ManagedGrants>(&path).await) }
    };
    assert_eq!(managed(stranger).await, "revoked", "a reader is no delegate");
    assert_eq!(managed(&scene.other).await, "forbidden");
    assert_eq!(managed(doctor).await, "unavailable", "the patient is not settled yet");

    // A delegate's Revoke has no part in the capacity for patients' Revokes.
    let expected = Version::new(1)?;
    let (directory_before, directory_after) = (before, before);
    let end = Revoke { slot: slot(70), expected, leaf_salt: random_element(), directory_before, directory_after };
    let signed = doctor.sign(accounts.patient, Action::Revoke(end));
    let end = Submission { signed, stored: None, epoch: None, directory: None };
    assert_eq!(code(doctor.post::<serde_json::Value>("v1/revokes", &end).await), "refused");

    // All of this is on disk.
    let scene = scene.restart().await?;
    assert!(scene.patient.block(&keys.cid()).await.is_ok());
    scene.doctor.post::<serde_json::Value>("v1/operations", &end).await?;
    assert_eq!(code(scene.stranger.block(&keys.cid()).await), "not-found");
    assert!(scene.patient.block(&keys.cid()).await.is_ok());
    scene.node.shutdown().await;
    Ok(())
}
