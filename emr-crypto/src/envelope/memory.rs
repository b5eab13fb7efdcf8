//! Tests that no keys stay in a process's memory after it sealed or opened a record.

use std::fs;
use std::path::Path;

use emr_core::{Class, ClassMask, RecordSlot, Version};

use super::*;
use crate::key_wrap::{Algorithm, WrappedKey};
use crate::memory_search::{Outcome, Watched, child_folder, handle_and_wait};
use crate::{DirectoryRoot, EncryptionKey, KeyDirectory, Past, PatientDirectory, RsaSecret};

const DOCTOR: &str = include_str!("../../tests/fixtures/doctor-3072.pem");
const PATIENT: &str = include_str!("../../tests/fixtures/patient-3072.pem");
/// Three chunks.
const RECORD_BYTES: usize = 600_000;

fn context() -> Outcome<RecordContext> {
    Ok(RecordContext {
        domain: [1; 32],
        patient: AccountIndex::new(5)?,
        slot: RecordSlot::new(0)?,
        version: Version::new(1)?,
        class: Class::Laboratory,
    })
}

/// A record by the doctor, with an attachment.
fn authored() -> Outcome<AuthoredRecord> {
    let author = RsaSecret::from_pem(DOCTOR)?;
    Ok(AuthoredRecord {
        record: vec![7; RECORD_BYTES],
        authorship: b"authorship".to_vec(),
        signature: author.sign_pss(SigningContext::AUTHORSHIP, b"authorship"),
        author: AccountIndex::new(7)?,
        author_key: EncryptionKey::from(author.public()).committed(None),
        commitment_seed: [2; 32],
        attachments: vec![AttachmentKey {
            manifest: cid_of(Codec::Raw, b"image"),
            key: ContentKey::generate(),
            length: 5,
        }],
    })
}

fn store(folder: &Path, sealed: &SealedRecord) -> Outcome {
    for (cid, bytes) in &sealed.blocks {
        fs::write(folder.join(cid.to_string()), bytes)?;
    }
    let kept = sealed.key.wrap(&RsaSecret::from_pem(DOCTOR)?.public(), &context()?);
    fs::write(folder.join("kept-key"), kept.ciphertext)?;
    Ok(fs::write(folder.join("manifest"), sealed.manifest.to_bytes())?)
}

fn directory(folder: &Path) -> Outcome<KeyDirectory> {
    let block = |index| fs::read(folder.join(format!("directory-{index}")));
    // Sections, segments, the list of readers, and the root.
    let root = DirectoryRoot::from_bytes(&block(3)?)?;
    Ok(KeyDirectory::assemble(root, [block(0)?, block(1)?, block(2)?])?)
}

fn content_key(folder: &Path) -> Outcome<ContentKey> {
    let wrapped = WrappedKey { algorithm: Algorithm::RsaOaep256, ciphertext: fs::read(folder.join("kept-key"))? };
    Ok(ContentKey::unwrap(&RsaSecret::from_pem(DOCTOR)?, &wrapped, &context()?)?)
}

fn reopen(folder: &Path) -> Outcome<AuthoredRecord> {
    let manifest = Cid::try_from(fs::read(folder.join("manifest"))?)?;
    let fetch = |cid: &Cid| fs::read(folder.join(cid.to_string()));
    Ok(AuthoredRecord::reopen(&manifest, fetch, &content_key(folder)?, &context()?)?)
}

/// All keys of the record in a folder: its content key, its attachment's, and those of the sealed part and of the record.
fn keys(folder: &Path) -> Outcome<[SecretBytes; 4]> {
    let (key, context) = (content_key(folder)?, context()?);
    let attachment = reopen(folder)?.attachments.pop().ok_or("attached")?.key;
    let [part, record] = [sealed_part_key(&key, &context), record_key(&key, &context)];
    Ok([key.secret().clone(), attachment.secret().clone(), SecretBytes::new(&part), SecretBytes::new(&record)])
}

fn secrets(folder: &Path) -> Outcome<[[u8; 32]; 4]> {
    Ok(keys(folder)?.map(|key| *key.as_bytes()))
}

/// A folder with a patient's directory. The doctor may read.
fn folder() -> Outcome<tempfile::TempDir> {
    let doctor = RsaSecret::from_pem(DOCTOR)?;
    let mut directory = PatientDirectory::create(&RsaSecret::from_pem(PATIENT)?);
    directory.grant(AccountIndex::new(7)?, doctor.public(), ClassMask::ALL, Past::Included)?;
    let folder = tempfile::tempdir()?;
    for (index, (_, block)) in directory.published().blocks().enumerate() {
        fs::write(folder.path().join(format!("directory-{index}")), block)?;
    }
    Ok(folder)
}

#[test]
fn keys_of_a_sealed_record_do_not_stay_in_memory() -> Outcome {
    if let Some(folder) = child_folder() {
        return handle_and_wait(&folder, |folder| {
            let to = directory(folder)?.current_public(Class::Laboratory);
            let sealed = SealedRecord::seal(&authored()?, &context()?, &to)?;
            store(folder, &sealed)?;
            Ok(sealed)
        });
    }
    let folder = folder()?;
    for (keeps, remembered) in [(true, 1), (false, 0)] {
        let child =
            Watched::start("envelope::memory::keys_of_a_sealed_record_do_not_stay_in_memory", folder.path(), keeps)?;
        // A sealed record holds its content key. Only the keys that are made of it are not needed any more.
        assert_eq!(child.remembers(&secrets(folder.path())?)?, remembered);
    }
    Ok(())
}

#[test]
fn keys_of_an_opened_record_do_not_stay_in_memory() -> Outcome {
    if let Some(folder) = child_folder() {
        return handle_and_wait(&folder, |folder| {
            let manifest = Cid::try_from(fs::read(folder.join("manifest"))?)?;
            let fetch = |cid: &Cid| fs::read(folder.join(cid.to_string()));
            let ring = directory(folder)?.open_for(&RsaSecret::from_pem(DOCTOR)?)?;
            let opened = OpenedRecord::open(&manifest, fetch, &ring, &context()?)?;
            assert!(reopen(folder)? == opened.authored && opened.authored.record.len() == RECORD_BYTES);
            keys(folder)
        });
    }
    let folder = folder()?;
    let to = directory(folder.path())?.current_public(Class::Laboratory);
    store(folder.path(), &SealedRecord::seal(&authored()?, &context()?, &to)?)?;
    let secrets = secrets(folder.path())?;
    // With `keys`, the child keeps all of them.
    for (keeps, remembered) in [(true, 4), (false, 0)] {
        let child =
            Watched::start("envelope::memory::keys_of_an_opened_record_do_not_stay_in_memory", folder.path(), keeps)?;
        assert_eq!(child.remembers(&secrets)?, remembered);
    }
    Ok(())
}
