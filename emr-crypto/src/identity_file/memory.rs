//! Tests that no keys stay in a process's memory after it opened an identity file.

use emr_core::Role;

use super::*;
use crate::key_wrap::{KeyUnwrap, KeyWrap, WrappedKey};
use crate::memory_search::{Outcome, Watched, child_folder, handle_and_wait};
use crate::{EncryptionSecret, KeyProfile, RsaSecret};

const DOCTOR: &str = include_str!("../../tests/fixtures/doctor-2048.pem");

fn keys() -> Outcome<EncryptionSecret> {
    Ok(EncryptionSecret::with_rsa(RsaSecret::from_pem(DOCTOR)?, KeyProfile::Hybrid))
}

/// The child opens the file, and unwraps a key with the present encryption keys and one with the former ones. It keeps the identity on the heap,
/// because moving a value on the stack leaves a copy.
#[test]
fn seeds_do_not_stay_in_memory() -> Outcome {
    let passphrase = SecretString::from("passphrase");
    if let Some(folder) = child_folder() {
        return handle_and_wait(&folder, |folder| {
            let identity = IdentityFile::open(&folder.join("identity"), &passphrase)?;
            for name in ["present", "former"] {
                let wrapped = WrappedKey::from_bytes(&fs::read(folder.join(name))?)?;
                identity.unwrap_key(&wrapped, b"context")?;
            }
            Ok(Box::new(identity))
        });
    }
    let identity = Identity::with_encryption(Role::Doctor, keys()?);
    let identity = identity.with_next_rollup_key().with_next_encryption(keys()?).rotated().ok_or("begun")?;
    let identity = identity.with_next_rollup_key().with_next_encryption(keys()?);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("identity");
    IdentityFile::create(&file, &identity, &passphrase, ScryptCost::Development, Overwrite::Never)?;
    let wrapped = [random::bytes(), random::bytes()];
    for (name, pair, key) in
        [("present", identity.encryption(), &wrapped[0]), ("former", &identity.former()[0], &wrapped[1])]
    {
        fs::write(folder.path().join(name), pair.public().wrap_key(key, b"context").to_bytes())?;
    }
    let pairs = [Some(identity.encryption()), identity.next_encryption(), identity.former().first()];
    let seeds: Vec<[u8; 32]> =
        pairs.into_iter().flatten().filter_map(EncryptionSecret::xwing).map(|xwing| *xwing.seed()).collect();
    let secrets = [*identity.rollup_seed(), *identity.ethereum_secret()];
    for (keeps, of_seeds, of_secrets) in [(true, 3, 2), (false, 0, 0)] {
        let child = Watched::start("identity_file::memory::seeds_do_not_stay_in_memory", folder.path(), keeps)?;
        assert_eq!(child.remembers(&seeds)?, of_seeds);
        assert_eq!(child.remembers(&secrets)?, of_secrets);
        assert_eq!(child.remembers(&wrapped)?, 0);
    }
    Ok(())
}
