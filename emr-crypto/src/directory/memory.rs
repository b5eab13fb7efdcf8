//! Tests that no keys stay in a process's memory after it opened or changed a directory.

use std::fs;
use std::path::Path;

use emr_core::{AccountIndex, ClassMask};

use super::*;
use crate::memory_search::{Outcome, Watched, child_folder, handle_and_wait};
use crate::{EncryptionSecret, Past, PatientDirectory, RsaSecret, XWingSecret};

const DOCTOR: &str = include_str!("../../tests/fixtures/doctor-3072.pem");
const PATIENT: &str = include_str!("../../tests/fixtures/patient-3072.pem");

/// Writes the blocks, and a file with this name that holds the root.
fn write(folder: &Path, name: &str, directory: &KeyDirectory) -> Outcome {
    for (cid, block) in directory.blocks() {
        fs::write(folder.join(cid.to_string()), block)?;
    }
    Ok(fs::write(folder.join(name), directory.root().to_bytes())?)
}

fn read(folder: &Path, name: &str) -> Outcome<KeyDirectory> {
    let root = DirectoryRoot::from_bytes(&fs::read(folder.join(name))?)?;
    let blocks: Vec<_> = root.links().map(|link| fs::read(folder.join(link.to_string()))).collect::<Result<_, _>>()?;
    Ok(KeyDirectory::assemble(root, blocks)?)
}

/// Hybrid keys with this X-Wing seed.
fn keys(pem: &str, seed: u8) -> Outcome<EncryptionSecret> {
    let seed = XWingSecret::from_seed(&[seed; 32]);
    Ok(EncryptionSecret::new(RsaSecret::from_pem(pem)?, Some(seed)))
}

/// The secrets of a directory that its first reader can open.
#[derive(Default)]
struct Secrets {
    /// The keys of the reader's and the owner's section.
    sections: Vec<[u8; 32]>,
    segments: Vec<[u8; 32]>,
    epochs: Vec<[u8; 32]>,
}

impl Secrets {
    fn of(published: &KeyDirectory) -> Outcome<Self> {
        let (patient, doctor) = (keys(PATIENT, 1)?, keys(DOCTOR, 2)?);
        let aad = published.classes_digest();
        let reader = &published.sections[0];
        let part: ReaderPart = reader.open(SectionKind::Reader, &doctor, &aad)?;
        let mut secrets = Self {
            sections: vec![
                *reader.unwrap_key(SectionKind::Reader, &doctor)?,
                *published.root.owner.unwrap_key(SectionKind::Owner, &patient)?,
            ],
            segments: part.iter().map(|(_, (_, key))| *key.as_bytes()).collect(),
            epochs: Vec::new(),
        };
        for (code, link) in part {
            let keys = published.class_keys(Class::from_code(code).ok_or("a class")?, link)?;
            secrets.epochs.extend(keys.secrets.iter().map(|secret| *secret.seed().as_bytes()));
        }
        Ok(secrets)
    }

    /// How many of the keys of sections, segments and epochs a process remembers.
    fn in_memory_of(&self, child: &Watched) -> Outcome<[usize; 3]> {
        Ok([child.remembers(&self.sections)?, child.remembers(&self.segments)?, child.remembers(&self.epochs)?])
    }
}

#[test]
fn keys_do_not_stay_in_memory() -> Outcome {
    if let Some(folder) = child_folder() {
        return handle_and_wait(&folder, |folder| Ok(read(folder, "directory")?.open_for(&keys(DOCTOR, 2)?)?));
    }
    let (patient, doctor) = (keys(PATIENT, 1)?, keys(DOCTOR, 2)?);
    let mut directory = PatientDirectory::create(&patient);
    directory.grant(AccountIndex::new(7)?, doctor.public(), ClassMask::ALL, Past::Included)?;
    let folder = tempfile::tempdir()?;
    write(folder.path(), "directory", directory.published())?;
    let secrets = Secrets::of(directory.published())?;
    assert_eq!((secrets.segments.len(), secrets.epochs.len()), (16, 16));

    let start = |keeps| Watched::start("directory::memory::keys_do_not_stay_in_memory", folder.path(), keeps);
    // The search does find keys that the child keeps. The keys of sections and segments are not needed any more.
    assert_eq!(secrets.in_memory_of(&start(true)?)?, [0, 0, 16]);
    assert_eq!(secrets.in_memory_of(&start(false)?)?, [0, 0, 0]);
    Ok(())
}

/// The patient opens their directory, begins new epochs for a reader, and publishes it.
#[test]
fn the_owners_keys_do_not_stay_in_memory() -> Outcome {
    if let Some(folder) = child_folder() {
        return handle_and_wait(&folder, |folder| {
            let (patient, doctor) = (keys(PATIENT, 1)?, keys(DOCTOR, 2)?);
            let mut directory = PatientDirectory::open(read(folder, "before")?, &patient)?;
            directory.grant(AccountIndex::new(7)?, doctor.public(), ClassMask::ALL, Past::Closed)?;
            write(folder, "after", directory.published())?;
            Ok(directory)
        });
    }
    let (patient, doctor) = (keys(PATIENT, 1)?, keys(DOCTOR, 2)?);
    let mut directory = PatientDirectory::create(&patient);
    directory.grant(AccountIndex::new(8)?, doctor.public(), ClassMask::ALL, Past::Included)?;
    let folder = tempfile::tempdir()?;
    write(folder.path(), "before", directory.published())?;
    let before = Secrets::of(directory.published())?;
    for (keeps, epochs) in [(true, 16), (false, 0)] {
        let child = Watched::start("directory::memory::the_owners_keys_do_not_stay_in_memory", folder.path(), keeps)?;
        let after = Secrets::of(&read(folder.path(), "after")?)?;
        assert_eq!(before.in_memory_of(&child)?, [0, 0, epochs]);
        // The keys of the new epochs too, and the keys with which the child sealed sections and segments.
        assert!(after.epochs.len() >= 16 && after.segments.len() == 16);
        assert_eq!(after.in_memory_of(&child)?, [0, 0, if keeps { after.epochs.len() } else { 0 }]);
    }
    Ok(())
}
