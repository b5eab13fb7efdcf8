//! The outbox keeps operations until they are settled, discarded, or replaced.

use std::{fs, path::PathBuf};

use emr_api::Receipt;
use emr_client::profile::{
    FileError, Profile, ProfileError,
    outbox::{NewEntry, Refusal},
};
use emr_core::UnixTime;
use emr_durable::Disk;
use tempfile::TempDir;

use crate::{
    fixtures::TestResult,
    operation::{blocks, entry, id},
};

/// A data folder, to inspect its outbox.
struct Kept(TempDir);

impl Kept {
    fn new() -> Result<(Self, Profile), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let profile = Profile::create_for_device(folder.path())?;
        Ok((Self(folder), profile))
    }

    /// Opens the folder again, as the next process does.
    fn reopen(&self, profile: Profile) -> Result<Profile, ProfileError> {
        drop(profile);
        Profile::open(self.0.path())
    }

    fn outbox(&self, name: &str) -> PathBuf {
        self.0.path().join("outbox").join(name)
    }
}

#[test]
fn an_entry_lives_until_it_is_removed() -> TestResult {
    let (kept, profile) = Kept::new()?;
    for salt in 0..3 {
        let intent = (salt == 1).then(|| "intent".to_owned());
        profile.outbox().add(NewEntry { intent, ..entry(salt)? })?;
    }
    let before = profile.outbox().entries();
    let profile = kept.reopen(profile)?;
    assert_eq!(profile.outbox().entries(), before);
    assert_eq!(before[0].blocks().collect::<Result<Vec<_>, _>>()?, blocks(0));
    assert!(profile.outbox().find("intent", UnixTime::new(1000)?).is_some());
    assert!(profile.outbox().find("intent", UnixTime::new(1001)?).is_none());

    let operation = id(1)?;
    let (acknowledged, settle_by) = (UnixTime::new(1)?, UnixTime::new(2)?);
    let receipt = Receipt { operation, acknowledged, settle_by, signature: [0; 65] };
    profile.outbox().acknowledge(operation, &receipt)?;
    let profile = kept.reopen(profile)?;
    let entry_of = |salt: usize| profile.outbox().entries()[salt].clone();
    assert_eq!(entry_of(1).receipt(), Some(&receipt));
    assert_eq!(entry_of(1).blocks().count(), 2, "the node may lose it");
    profile.outbox().remove(operation)?;
    let receipts = kept.0.path().join(format!("receipts/{operation}.json"));
    let promised: serde_json::Value = serde_json::from_slice(&fs::read(receipts)?)?;
    assert_eq!(promised["receipt"]["operation"], serde_json::Value::from(operation.to_string()));
    assert_eq!(profile.outbox().entries().len(), 2);
    // Numbers are not used again while a later entry exists, so the order stays.
    let profile = kept.reopen(profile)?;
    profile.outbox().add(entry(9)?)?;
    let order: Vec<_> = profile.outbox().entries().iter().map(|entry| entry.draft().operation).collect();
    assert_eq!(order, [id(0)?, id(2)?, id(9)?]);
    Ok(())
}

#[test]
fn an_undelivered_operation_stays_until_it_is_replaced_or_discarded() -> TestResult {
    let (kept, profile) = Kept::new()?;
    for salt in 0..2 {
        profile.outbox().add(entry(salt)?)?;
    }
    let refusal = Refusal { time: UnixTime::new(5)?, reason: "the slot is taken".to_owned() };
    profile.outbox().refuse(id(0)?, refusal.clone())?;
    let profile = kept.reopen(profile)?;
    assert_eq!(profile.outbox().entries().len(), 1);
    let refused = profile.outbox().refused();
    assert_eq!(refused[0].refusal(), Some(&refusal));
    assert_eq!(refused[0].blocks().collect::<Result<Vec<_>, _>>()?, blocks(0));

    // After a crash between keeping the successor and removing the old entry, the old folder is still there.
    let (old, copy) = (kept.outbox("0000000000"), kept.0.path().join("copy"));
    fs::create_dir(&copy)?;
    for file in fs::read_dir(&old)? {
        let file = file?;
        fs::copy(file.path(), copy.join(file.file_name()))?;
    }
    profile.outbox().add(NewEntry { replaces: Some(id(0)?), ..entry(7)? })?;
    assert!(profile.outbox().refused().is_empty() && !old.exists());
    Disk::default().rename(&copy, &old)?;
    let before = profile.outbox().entries();
    let profile = kept.reopen(profile)?;
    assert!(profile.outbox().refused().is_empty() && !old.exists());
    assert_eq!(profile.outbox().entries(), before);
    Ok(())
}

#[test]
fn crash_remains_are_removed_and_damage_is_reported() -> TestResult {
    let (kept, profile) = Kept::new()?;
    fs::create_dir(kept.outbox(".new-half"))?;
    fs::write(kept.outbox(".new-half").join("entry.json"), "{")?;
    profile.outbox().add(entry(0)?)?;
    let profile = kept.reopen(profile)?;
    assert_eq!(profile.outbox().entries().len(), 1);
    assert!(!kept.outbox(".new-half").exists());

    let folder = kept.outbox("0000000000");
    fs::write(folder.join(blocks(0)[0].0.to_string()), "c")?;
    assert!(profile.outbox().entries()[0].blocks().any(|block| matches!(block, Err(FileError::Damaged { .. }))));
    fs::write(folder.join("entry.json"), "{")?;
    let damaged = kept.reopen(profile);
    assert!(matches!(damaged, Err(ProfileError::File(FileError::Damaged { .. }))), "{damaged:?}");
    Ok(())
}
