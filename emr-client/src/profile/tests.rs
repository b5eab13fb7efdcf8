//! What a data folder keeps.

use emr_core::{AccountEpoch, Role};
use emr_crypto::{KeyProfile, RsaBits, RsaSecret};

use super::*;

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn new_profile(folder: &Path) -> Result<Profile, Box<dyn std::error::Error>> {
    let identity = Identity::with_rsa(Role::Patient, RsaSecret::generate(RsaBits::MIN), KeyProfile::Hybrid);
    Ok(Profile::create(folder, &identity, &"correct horse".into(), ScryptCost::Development)?)
}

fn settings(node: &str) -> Settings {
    Settings {
        node: node.to_owned(),
        rpc: vec!["http://127.0.0.1:8545".to_owned()],
        agree: None,
        chain_id: 31337,
        contract: Address::repeat_byte(1),
        deployed_at: 7,
        hospital: None,
        account: None,
    }
}

#[test]
fn what_was_noted_is_there_after_reopening() -> TestResult {
    let folder = tempfile::tempdir()?;
    let profile = new_profile(folder.path())?;
    assert!(matches!(profile.settings(), Err(ProfileError::NotJoined(_))));
    profile.join(settings("http://127.0.0.1:1"))?;
    let addresses = vec!["http://127.0.0.1:8545".to_owned(), "http://127.0.0.1:8546".to_owned()];
    let several = Settings { rpc: addresses, agree: Some(2), ..settings("http://127.0.0.1:2") };
    profile.join(several.clone())?;
    let owned = |account, owner| -> Result<_, emr_core::OutOfRange> {
        Ok(OwnedAccount { account: AccountIndex::new(account)?, owner: Address::repeat_byte(owner) })
    };
    let (patient, slot, first) = (owned(4, 1)?, GrantSlot::new(64)?, AccountEpoch::FIRST);
    profile.note_version(patient, slot, Version::new(3)?)?;
    profile.note_version(patient, slot, Version::new(2)?)?;
    let emergency =
        |slot, version| -> Result<_, emr_core::OutOfRange> { Ok((GrantSlot::new(slot)?, Version::new(version)?)) };
    assert_eq!(profile.note_emergencies((patient, first), [emergency(0, 1)?, emergency(9, 1)?])?, 2);
    drop(profile);

    let profile = Profile::open(folder.path())?;
    assert_eq!(profile.settings()?, several);
    assert_eq!(profile.highest_signed(patient, slot), Version::new(3)?);
    assert_eq!(profile.highest_signed(patient, GrantSlot::new(65)?), Version::ZERO);
    assert_eq!(profile.note_emergencies((patient, first), [emergency(0, 1)?, emergency(9, 1)?])?, 0);
    assert_eq!(profile.note_emergencies((patient, first), [emergency(0, 1)?, emergency(9, 2)?])?, 1);
    assert_eq!(profile.note_emergencies((owned(4, 2)?, first), [emergency(0, 1)?])?, 1, "another patient's");
    let next = (patient, first.next()?);
    assert_eq!(profile.note_emergencies(next, [emergency(0, 1)?])?, 1, "versions began again");
    // Nothing was signed under another account index, or for another owner of this one: the earlier versions do not count there.
    for other in [owned(5, 1)?, owned(4, 2)?] {
        assert_eq!(profile.highest_signed(other, slot), Version::ZERO);
    }
    assert!(profile.identity(&"wrong".into()).is_err());
    assert_eq!(profile.identity(&"correct horse".into())?.role(), Role::Patient);

    let elsewhere = Settings { chain_id: 1, ..settings("http://127.0.0.1:2") };
    assert!(matches!(profile.join(elsewhere), Err(ProfileError::OtherInstance { .. })));
    Ok(())
}

#[test]
fn one_process_at_a_time() -> TestResult {
    let folder = tempfile::tempdir()?;
    assert!(matches!(Profile::open(folder.path()), Err(ProfileError::NotFound(_))));
    let profile = new_profile(folder.path())?;
    assert!(matches!(Profile::open(folder.path()), Err(ProfileError::InUse(_))));
    drop(profile);
    assert!(Profile::open(folder.path()).is_ok());
    assert!(new_profile(folder.path()).is_err());
    Ok(())
}

#[test]
fn a_damaged_profile_says_so() -> TestResult {
    let folder = tempfile::tempdir()?;
    drop(new_profile(folder.path())?);
    fs::write(folder.path().join("profile.json"), "{\"node\": 1}")?;
    let Err(error) = Profile::open(folder.path()) else { return Err("opened".into()) };
    assert!(error.to_string().contains("restore it from a backup"), "{error}");
    fs::write(folder.path().join("profile.json"), vec![b' '; 70_000])?;
    assert!(matches!(Profile::open(folder.path()), Err(ProfileError::File(FileError::Damaged { .. }))));
    Ok(())
}

#[test]
fn settled_records_of_imports_are_known_by_their_request() -> TestResult {
    let folder = tempfile::tempdir()?;
    let profile = new_profile(folder.path())?;
    let imported = Imported {
        patient: AccountIndex::new(4)?,
        slot: emr_core::RecordSlot::new(7)?,
        version: Version::new(1)?,
        class: emr_core::Class::Laboratory,
        operation: format!("{:064x}", 9).parse()?,
    };
    let (intent, other) = (format!("{}{:064x}", imports::IMPORT, 1), format!("{}{:064x}", imports::IMPORT, 2));
    assert_eq!(profile.imported(&intent)?, None);
    profile.note_imported(&intent, &imported)?;
    // The intent of an upload is none of an import, and an intent is never a path.
    profile.note_imported(&format!("{:064x}", 1), &imported)?;
    profile.note_imported(&format!("{}../../versions", imports::IMPORT), &imported)?;
    drop(profile);
    assert_eq!(fs::read_dir(folder.path().join("imports"))?.count(), 1);
    assert!(!folder.path().join("versions.json").exists());
    let profile = Profile::open(folder.path())?;
    assert_eq!(profile.imported(&intent)?, Some(imported));
    assert_eq!(profile.imported(&other)?, None);
    fs::write(folder.path().join(format!("imports/{:064x}.json", 2)), "{}")?;
    assert!(matches!(profile.imported(&other), Err(FileError::Damaged { .. })));
    Ok(())
}
