//! An identity file. The cost of the passphrase is always the lowest one: what the header says of it is checked before any work.

use emr_core::Role;
use emr_crypto::{EncryptionSecret, Identity, IdentityFile, IdentityFileError, KeyProfile, RsaSecret, ScryptCost};
use secrecy::SecretString;

/// The position of log2 N.
const COST: usize = 13;

pub(crate) fn check(data: &[u8]) -> bool {
    let mut file = data.to_vec();
    if let Some(cost) = file.get_mut(COST).filter(|cost| (10..=20).contains(*cost)) {
        *cost = 10;
    }
    match IdentityFile::unseal(&file, &SecretString::from("passphrase")) {
        Ok(_) => true,
        // The decryption failed: the header was accepted.
        Err(IdentityFileError::WrongPassphrase) => true,
        Err(error) => {
            crate::one_line(&error);
            false
        }
    }
}

pub(crate) fn seeds() -> crate::Seeds {
    let rsa = || RsaSecret::from_pem(crate::public_key::DOCTOR);
    let alone = Identity::with_rsa(Role::Doctor, rsa()?, KeyProfile::RsaAlone);
    let next = EncryptionSecret::with_rsa(rsa()?, KeyProfile::Hybrid);
    let rotated = alone.clone().with_next_rollup_key().with_next_encryption(next).rotated().ok_or("begun")?;
    let seal = |identity| IdentityFile::seal(identity, &SecretString::from("passphrase"), ScryptCost::Development);
    Ok(vec![seal(&alone)?, seal(&rotated)?])
}
