use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use emr_core::Role;
use emr_crypto::key_wrap::WrappedKey;
use emr_crypto::{
    EncryptionSecret, Identity, IdentityError, IdentityFile, IdentityFileError, KeyProfile, KeyUnwrap, KeyWrap,
    MAX_FORMER_KEYS, Overwrite, RsaBits, ScryptCost,
};
use emr_durable::crash::{ALL, Journal, no_sync};
use secrecy::SecretString;

use crate::fixtures::{DOCTOR, OTHER_DOCTOR, hybrid};

fn identity() -> Identity {
    Identity::with_encryption(Role::Doctor, DOCTOR.clone())
}

fn passphrase() -> SecretString {
    SecretString::from("correct horse battery staple")
}

fn sealed() -> Vec<u8> {
    IdentityFile::seal(&identity(), &passphrase(), ScryptCost::Development).unwrap()
}

fn same_keys(a: &EncryptionSecret, b: &EncryptionSecret) -> bool {
    *a.rsa().to_der() == *b.rsa().to_der() && a.xwing() == b.xwing()
}

fn same(a: &Identity, b: &Identity) -> bool {
    a.role() == b.role()
        && same_keys(a.encryption(), b.encryption())
        && a.former().len() == b.former().len()
        && a.former().iter().zip(b.former()).all(|(a, b)| same_keys(a, b))
        && a.rollup_seed() == b.rollup_seed()
        && a.ethereum_secret() == b.ethereum_secret()
        && a.commitment_salt() == b.commitment_salt()
}

/// The new rollup key is in the file before L1 hears of it, and the old one until the new one counts.
#[test]
fn a_rotation_begins_and_ends() {
    let before = identity();
    assert!(before.rotated().is_none());
    let begun = reopened(&before.clone().with_next_rollup_key());
    assert!(same(&begun, &before));
    let after = begun.rotated().unwrap();
    assert!(same(&begun.with_next_rollup_key().rotated().unwrap(), &after), "there is one next key");
    assert_ne!(after.rollup_seed(), before.rollup_seed());
    assert!(same(&reopened(&after), &after) && reopened(&after).rotated().is_none());
    let expected = before.clone().with_rollup_seed(after.rollup_seed());
    assert_ne!(after.commitment_salt(), expected.commitment_salt());
    assert_eq!(after.commitment_salt(), before.commitment_salt());
    assert_eq!(after.ethereum_secret(), before.ethereum_secret());
    assert_eq!(*after.rsa().to_der(), *before.rsa().to_der());
}

#[test]
fn a_written_identity_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("doctor.identity");
    let identity = identity();
    IdentityFile::create(&path, &identity, &passphrase(), ScryptCost::Development, Overwrite::Never).unwrap();
    assert!(same(&IdentityFile::open(&path, &passphrase()).unwrap(), &identity));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // No other file stays in the folder.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_standard_cost_is_n_2_to_the_17() {
    let file = IdentityFile::seal(&identity(), &passphrase(), ScryptCost::default()).unwrap();
    assert_eq!((&file[..12], file[12], file[13]), (&b"emr-identity"[..], 3, 17));
    IdentityFile::unseal(&file, &passphrase()).unwrap();
}

#[test]
fn an_identity_is_not_overwritten_unless_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("identity");
    let (first, second) = (identity(), identity());
    let create =
        |identity, overwrite| IdentityFile::create(&path, identity, &passphrase(), ScryptCost::Development, overwrite);
    create(&first, Overwrite::Never).unwrap();
    assert!(matches!(create(&second, Overwrite::Never), Err(IdentityFileError::Exists(_))));
    assert!(same(&IdentityFile::open(&path, &passphrase()).unwrap(), &first));
    create(&second, Overwrite::Replace).unwrap();
    assert!(same(&IdentityFile::open(&path, &passphrase()).unwrap(), &second));
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("identity");
    IdentityFile::create(&path, &identity(), &passphrase(), ScryptCost::Development, Overwrite::Never).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let error = IdentityFile::open(&path, &passphrase()).unwrap_err();
    assert!(matches!(error, IdentityFileError::Permissions { mode: 0o640, .. }));
    assert!(error.to_string().contains("chmod 600"));
}

#[test]
fn missing_files_and_folders() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none").join("identity");
    assert!(matches!(IdentityFile::open(&path, &passphrase()), Err(IdentityFileError::NotFound(_))));
    let created = IdentityFile::create(&path, &identity(), &passphrase(), ScryptCost::Development, Overwrite::Never);
    assert!(matches!(created, Err(IdentityFileError::Io { .. })));
}

#[test]
fn every_truncation_is_an_error() {
    let file = sealed();
    for length in 0..file.len() {
        let error = IdentityFile::unseal(&file[..length], &passphrase()).unwrap_err();
        match length {
            0 => assert!(matches!(error, IdentityFileError::NotAnIdentityFile)),
            _ => assert!(matches!(error, IdentityFileError::Truncated), "{length}: {error}"),
        }
    }
    let longer = [&file[..], b"\n"].concat();
    assert!(matches!(IdentityFile::unseal(&longer, &passphrase()), Err(IdentityFileError::TrailingBytes)));
}

/// Any altered byte is noticed. In the encrypted part, it looks like a wrong passphrase.
#[test]
fn every_altered_byte_is_an_error() {
    let file = sealed();
    let altered = |position: usize| {
        let mut file = file.clone();
        file[position] ^= 1;
        IdentityFile::unseal(&file, &passphrase()).unwrap_err()
    };
    for position in 0..12 {
        assert!(matches!(altered(position), IdentityFileError::NotAnIdentityFile));
    }
    assert!(matches!(altered(12), IdentityFileError::Version(2)));
    for position in (14..58).chain((62..file.len()).step_by(61)).chain([file.len() - 1]) {
        assert!(matches!(altered(position), IdentityFileError::WrongPassphrase), "{position}");
    }
    // The cost: 2^11 derives another key, and 2^21 and 2^9 are refused before any work.
    assert!(matches!(altered(13), IdentityFileError::WrongPassphrase));
    for cost in [0, 9, 21, 63, 255] {
        let mut file = file.clone();
        file[13] = cost;
        assert!(matches!(IdentityFile::unseal(&file, &passphrase()), Err(IdentityFileError::Cost(c)) if c == cost));
    }
}

#[test]
fn passphrases() {
    let file = sealed();
    for wrong in ["", "correct horse battery stapl", "Correct horse battery staple"] {
        let error = IdentityFile::unseal(&file, &SecretString::from(wrong)).unwrap_err();
        assert!(matches!(error, IdentityFileError::WrongPassphrase));
    }
    let empty = IdentityFile::seal(&identity(), &SecretString::from(""), ScryptCost::Development);
    assert!(matches!(empty, Err(IdentityFileError::EmptyPassphrase)));
}

#[test]
fn other_files_are_not_identity_files() {
    for bytes in [&b"-----BEGIN PRIVATE KEY-----"[..], b"\0", b"{}", &[b'e'; 1 << 20]] {
        let error = IdentityFile::unseal(bytes, &passphrase()).unwrap_err();
        assert!(matches!(error, IdentityFileError::NotAnIdentityFile));
    }
}

/// Two files of the same identity share only the constants of the header.
#[test]
fn salts_and_nonces_are_fresh() {
    let identity = identity();
    let seal = || IdentityFile::seal(&identity, &passphrase(), ScryptCost::Development).unwrap();
    let (a, b) = (seal(), seal());
    assert_ne!(a[14..46], b[14..46]);
    assert_ne!(a[46..58], b[46..58]);
    assert_ne!(a[62..], b[62..]);
}

#[test]
fn ethereum_keys_are_scalars() {
    let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    let order: [u8; 32] = hex::decode(order).unwrap().try_into().unwrap();
    let mut greatest = order;
    greatest[31] -= 1;
    assert!(identity().with_ethereum(&greatest).is_ok_and(|identity| *identity.ethereum_secret() == greatest));
    for bad in [[0; 32], order, [0xff; 32]] {
        assert_eq!(identity().with_ethereum(&bad).unwrap_err(), IdentityError::Ethereum);
    }
}

#[test]
fn generated_identities_work_and_print_nothing_secret() {
    let identity = Identity::generate(Role::Patient, RsaBits::MIN, KeyProfile::Hybrid);
    assert_eq!(identity.rsa().public().bits(), RsaBits::MIN);
    assert_eq!(identity.commitment_salt(), identity.clone().commitment_salt());
    assert_ne!(identity.commitment_salt(), *identity.rollup_seed());
    let debug = format!("{identity:?}");
    assert!(debug.len() < 200, "{debug}");
    let seed = identity.encryption().xwing().unwrap().seed();
    for secret in [identity.rollup_seed(), identity.ethereum_secret(), seed, &identity.commitment_salt()] {
        assert!(!debug.contains(&hex::encode(secret)[..16]), "{debug}");
    }
}

/// After a power cut, a created identity is there, and a replaced one is either the old or the new one.
#[test]
fn it_survives_a_power_cut() -> Result<(), Box<dyn std::error::Error>> {
    let journal = Journal::new()?;
    let path = journal.root().join("identity");
    let mut written = Vec::new();
    for (operation, overwrite) in [("create", Overwrite::Never), ("replace", Overwrite::Replace)] {
        journal.begin(operation);
        IdentityFile::create_on(
            &journal.disk(),
            &path,
            &identity(),
            &passphrase(),
            ScryptCost::Development,
            overwrite,
        )?;
        written.push((journal.steps(), fs::read(&path)?));
    }
    let check = |steps: usize, image: &Path| {
        let found = fs::read(image.join("identity")).ok();
        let last = written.iter().rposition(|(returned, _)| *returned <= steps);
        let is_next =
            written.get(last.map_or(0, |last| last + 1)).is_some_and(|(_, next)| found.as_ref() == Some(next));
        let is_last = found.as_ref() == last.map(|last| &written[last].1);
        if is_last || is_next { Ok(()) } else { Err("lost or damaged") }
    };
    journal.check(&ALL, no_sync, check)?;
    let syncs: Vec<_> = journal.syncs().iter().map(ToString::to_string).collect();
    assert_eq!(syncs, ["create: file *", "create: folder .", "replace: file *", "replace: folder ."]);
    assert_eq!(journal.unneeded_syncs(&ALL, check), [""; 0]);
    Ok(())
}

fn wrapped(to: &EncryptionSecret) -> WrappedKey {
    to.public().wrap_key(&[9; 32], b"context")
}

fn reopened(identity: &Identity) -> Identity {
    let file = IdentityFile::seal(identity, &passphrase(), ScryptCost::Development).unwrap();
    IdentityFile::unseal(&file, &passphrase()).unwrap()
}

/// New encryption keys are in the file before L1 hears of them. Former ones open what was wrapped to them, at most 16.
#[test]
fn encryption_keys_are_replaced_and_former_ones_kept() {
    let opens = |identity: &Identity, wrapped: &WrappedKey| identity.unwrap_key(wrapped, b"context").is_ok();
    let mut identity = identity();
    let mut wraps = vec![wrapped(identity.encryption())];
    for number in 1..=18 {
        let next = hybrid(DOCTOR.rsa());
        wraps.push(wrapped(&next));
        let begun = identity.clone().with_next_encryption(next.clone());
        assert!(begun.rotated().is_none(), "encryption keys change together with the rollup key");
        let begun = begun.with_next_rollup_key().with_next_encryption(hybrid(DOCTOR.rsa()));
        assert!(begun.next_encryption().is_some_and(|kept| same_keys(kept, &next)), "there is one next pair");
        assert!(same_keys(begun.encryption(), identity.encryption()));
        assert!(opens(&begun, &wraps[number]) && opens(&begun, &wraps[number - 1]));
        identity = begun.rotated().unwrap();
        assert!(same_keys(identity.encryption(), &next) && identity.next_encryption().is_none());
        assert_eq!(identity.former().len(), number.min(MAX_FORMER_KEYS));
    }
    let identity = reopened(&identity.with_next_rollup_key().with_next_encryption(hybrid(DOCTOR.rsa())));
    let opened: Vec<_> = wraps.iter().map(|wrapped| opens(&identity, wrapped)).collect();
    assert_eq!(opened, [[false; 2].as_slice(), &[true; 17]].concat());
    assert!(identity.next_encryption().is_some());
    assert_eq!(identity.recipient().public_bytes(), identity.encryption_key().to_bytes());
}

/// An identity with RSA alone gets an X-Wing key beside the same RSA key. What was wrapped to RSA alone stays readable.
#[test]
fn an_identity_with_rsa_alone_becomes_hybrid() {
    let before = Identity::with_rsa(Role::Patient, OTHER_DOCTOR.rsa().clone(), KeyProfile::RsaAlone);
    assert!(before.encryption().xwing().is_none() && before.committed_key().kem.is_none());
    let next = hybrid(before.rsa());
    let after = before.clone().with_next_rollup_key().with_next_encryption(next.clone()).rotated().unwrap();
    assert_eq!(after.rsa().public(), before.rsa().public());
    assert_eq!(after.committed_key().salt, Some(before.commitment_salt()));
    assert_ne!(after.committed_key().commitment(), before.committed_key().commitment());
    assert!(after.committed_key().is_of(&next.public()) && !before.committed_key().is_of(&next.public()));
    for pair in [before.encryption(), &next] {
        assert!(after.unwrap_key(&wrapped(pair), b"context").is_ok());
    }
    assert!(before.unwrap_key(&wrapped(&next), b"context").is_err());
    assert!(next.unwrap_key(&wrapped(before.encryption()), b"context").is_err(), "a pair opens one algorithm");
    let doctor = Identity::with_rsa(Role::Doctor, OTHER_DOCTOR.rsa().clone(), KeyProfile::default());
    assert!(doctor.encryption().xwing().is_some() && doctor.committed_key().salt.is_none());
}
